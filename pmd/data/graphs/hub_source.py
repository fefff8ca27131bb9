"""A graph from a dataset of the Hugging Face Hub, or from a local folder in one of the Hub's file formats.

Any dataset with a head, a relation and a tail column loads, whatever their names. Ids stay text: `00260881` does not become
a number nor the entity `NA` a missing value, as CSV readers would have it. `datasets` is imported only when a graph is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.tsv import SPELLINGS, closest, graph_of_ids, quote, words_of

_SPLITS = {"train": ("train", "training"), "valid": ("validation", "valid", "dev", "val"), "test": ("test",)}
_NAMES = ("name", "label", "text")
_DESCRIPTIONS = ("description", "desc")
_TEXT_COLUMNS = [f"{part}_{text}" for part in ("head", "tail") for text in ("name", "description")] + ["relation_name"]
_FORMATS = ("parquet", "jsonl", "json", "csv")

Columns = dict[str, list[str]]
"""The columns of a split: our names, and values as text."""


def is_dataset_folder(folder: Path) -> bool:
    """Whether a folder, or a folder in it such as `data/`, has files that `datasets` reads."""
    return any(next(folder.glob(f"{depth}*.{ending}"), None) for ending in _FORMATS for depth in ("", "*/"))


def load_dataset_graph(
    source: str,
    name: str,
    subset: str | None = None,
    columns: Mapping[str, str] | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
) -> KnowledgeGraph:
    """Load a Hub dataset (`user/name`) or a local folder of CSV, JSON lines or Parquet files.

    Entities and relations are sorted by id. Without a column of names an id is its own name, with blanks for underscores.

    Args:
        subset: configuration of the dataset.
        columns: from our names of columns (head, relation, tail, head_name, head_description, tail_name, tail_description,
            relation_name) to the dataset's, where these are unusual.
        revision, cache_dir: as in `datasets.load_dataset`.

    Raises:
        PmdError: if the dataset cannot be reached, or lacks a split, a column or a value.
    """
    dataset = _load_dataset(source, subset, revision=revision, cache_dir=cache_dir)
    splits: dict[str, Columns] = {}
    for ours, spellings in _SPLITS.items():
        theirs = next((split for split in spellings if split in dataset), None)
        if theirs is None or not len(dataset[theirs]):
            raise PmdError(
                f"dataset '{source}': {'no' if theirs is None else 'empty'} split {' or '.join(spellings)} among "
                f"{', '.join(dataset)}; train, validation and test are needed: choose another subset, "
                f"or split it once and save it as a folder"
            )
        splits[ours] = _read_split(dataset[theirs], columns or {}, f"dataset '{source}', split {theirs}")
    return _to_graph(name, splits)


def _load_dataset(source: str, subset: str | None, **options: Any) -> Mapping[str, Any]:
    """The dataset's splits. Every error of the libraries becomes a PmdError of one line."""
    import datasets

    try:
        config = datasets.load_dataset_builder(source, subset, **options).config
        if type(config).__name__ == "CsvConfig":
            # A .tsv has no quoting; a .csv without quoting could not hold "Paris, France".
            literal = {"keep_default_na": False, "quoting": 3 if config.sep == "\t" else 0}
            stream = datasets.load_dataset(source, subset, streaming=True, **literal, **options)
            header = next((row for split in stream.values() for row in split), ())
            text = datasets.Features({column: datasets.Value("string") for column in header})
            options |= {"features": text, **literal}
        return datasets.load_dataset(source, subset, **options)
    except ConnectionError as error:
        raise PmdError(
            f"'{source}': there is no such folder, and the Hugging Face Hub cannot be reached "
            f"({_one_line(error)}); correct the path, or check the network and HF_HUB_OFFLINE"
        ) from error
    except Exception as error:
        raise PmdError(
            f"dataset '{source}' cannot be loaded ({type(error).__name__}: {_one_line(error)}); "
            f"check its name, its subset and its files"
        ) from error


def _one_line(error: BaseException, limit: int = 300) -> str:
    # `datasets` hides what is wrong with a file behind "An error occurred while generating the dataset".
    text = " ".join(str(error.__cause__ or error).split())
    return text if len(text) <= limit else text[:limit] + "…"


def _read_split(split: Any, wanted: Mapping[str, str], place: str) -> Columns:
    table, columns = split.with_format("arrow")[:], {}
    for ours, theirs in _choose_columns(split.column_names, wanted, place).items():
        kind = str(table.schema.field(theirs).type)
        if not kind.startswith(("string", "large_string", "int", "uint", "null")):
            hint = " (JSON files lose the spelling of dates: use CSV or Parquet)" if "timestamp" in kind else ""
            raise PmdError(f"{place}: column '{theirs}' holds {kind} values; store it as text{hint}")
        values = table.column(theirs).cast("large_string").fill_null("").to_pylist()
        if ours not in SPELLINGS:
            values = [" ".join(value.split()) for value in values]
        elif "" in values:
            row = values.index("") + 1
            raise PmdError(f"{place}, row {row}: '{theirs}' is empty; every triple needs head, relation, tail")
        columns[ours] = values
    return columns


def _choose_columns(present: list[str], wanted: Mapping[str, str], place: str) -> dict[str, str]:
    """The dataset's column for each of ours: as `wanted` says, or by its usual spellings."""
    allowed = [*SPELLINGS, *_TEXT_COLUMNS]
    for ours, theirs in wanted.items():
        if ours not in allowed:
            known = ", ".join(allowed)
            raise PmdError(f"columns: '{ours}' is not one of {known}{closest(ours, allowed)}")
        if theirs not in present:
            raise PmdError(f"{place}: no column '{theirs}' among {', '.join(present)}{closest(theirs, present)}")
    by_lower = {column.lower(): column for column in reversed(present)}

    def first_present(spellings: list[str] | tuple[str, ...]) -> str | None:
        return next((by_lower[word] for word in spellings if word in by_lower), None)

    chosen = dict(wanted)
    for part, spellings in SPELLINGS.items():
        column = chosen.setdefault(part, first_present(spellings))
        if column is None:
            raise PmdError(
                f"{place}: no {part} column among {', '.join(map(quote, present))}; name it, for example "
                f"columns={{'{part}': {quote(present[0])}}}"
            )
        for suffixes in (_NAMES, _DESCRIPTIONS):
            text = first_present([f"{stem}_{suffix}" for stem in (part, column.lower()) for suffix in suffixes])
            if text is not None and f"{part}_{suffixes[0]}" in allowed:
                chosen.setdefault(f"{part}_{suffixes[0]}", text)
    return chosen


def _to_graph(name: str, splits: Mapping[str, Columns]) -> KnowledgeGraph:
    triples = {split: [columns[part] for part in SPELLINGS] for split, columns in splits.items()}
    entity_ids = sorted({key for heads, _, tails in triples.values() for key in (*heads, *tails)})
    relation_ids = sorted({key for _, relations, _ in triples.values() for key in relations})
    names, descriptions = (_texts(splits, ("head", "tail"), kind) for kind in ("name", "description"))
    relation_names = _texts(splits, ("relation",), "name")
    return graph_of_ids(
        name,
        entity_ids,
        [names.get(key) or words_of(key) for key in entity_ids],
        [descriptions.get(key, "") for key in entity_ids],
        relation_ids,
        [relation_names.get(key) or words_of(key) for key in relation_ids],
        {split: split for split in splits},
        triples,
    )


def _texts(splits: Mapping[str, Columns], parts: tuple[str, ...], kind: str) -> dict[str, str]:
    """By id, the first text that it has in any split."""
    texts: dict[str, str] = {}
    for columns in splits.values():
        for part in parts:
            for key, text in zip(columns[part], columns.get(f"{part}_{kind}", ())):
                if text:
                    texts.setdefault(key, text)
    return texts

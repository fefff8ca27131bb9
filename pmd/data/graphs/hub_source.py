"""A graph out of a dataset of the Hugging Face Hub, or of a local folder in one of the Hub's file formats.

Any dataset with a head, a relation and a tail column loads, whatever they are called. Two traps are closed:
`00260881` stays text, and so does the entity `NA`, although CSV readers like numbers and missing values.
`datasets` is imported here and only when such a graph is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.text_folders import words_of
from pmd.data.graphs.tsv import SPELLINGS, closest, quote

_SPLITS = {"train": ("train", "training"), "valid": ("validation", "valid", "dev", "val"), "test": ("test",)}
_NAMES = ("name", "label", "text")
_DESCRIPTIONS = ("description", "desc")
_TEXT_COLUMNS = [f"{part}_{text}" for part in ("head", "tail") for text in ("name", "description")] + ["relation_name"]
_FORMATS = ("parquet", "jsonl", "json", "csv")

Split = dict[str, list[str]]
"""One split: our column names, and their values as text."""


def is_dataset_folder(folder: Path) -> bool:
    """Whether a folder (or its direct subfolders, as in `data/`) has files that `datasets` reads."""
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

    `subset` picks a configuration; `columns` maps our names (head, relation, tail, head_name,
    head_description, tail_name, tail_description, relation_name) to the dataset's, where these are unusual.
    Entities and relations are sorted by id; without a name column an id is its own name, underscores as
    blanks. Raises PmdError if the dataset cannot be reached, or lacks a split, a column or a value.
    """
    dataset = _open(source, subset, revision=revision, cache_dir=cache_dir)
    splits: dict[str, Split] = {}
    for ours, theirs in _SPLITS.items():
        found = next((split for split in theirs if split in dataset), None)
        if found is None or not len(dataset[found]):
            raise PmdError(
                f"dataset '{source}': {'no' if found is None else 'empty'} split {' or '.join(theirs)} among "
                f"{', '.join(dataset)}; train, validation and test are needed: choose another subset, "
                f"or split it once and save it as a folder"
            )
        place = f"dataset '{source}', split {found}"
        splits[ours] = _read_split(dataset[found], columns or {}, place)
    return _to_graph(name, splits)


def _open(source: str, subset: str | None, **options: Any) -> Mapping[str, Any]:
    """The dataset's splits. Everything that the libraries raise becomes a PmdError of one line."""
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
    # `datasets` hides what went wrong in a file behind "An error occurred while generating the dataset".
    text = " ".join(str(error.__cause__ or error).split())
    return text if len(text) <= limit else text[:limit] + "…"


def _read_split(split: Any, wanted: Mapping[str, str], place: str) -> Split:
    chosen = _choose_columns(split.column_names, wanted, place)
    table = split.with_format("arrow")[:]
    read = {}
    for ours, theirs in chosen.items():
        kind = str(table.schema.field(theirs).type)
        if not kind.startswith(("string", "large_string", "int", "uint", "null")):
            hint = " (JSON files lose the spelling of dates: use CSV or Parquet)" if "timestamp" in kind else ""
            raise PmdError(f"{place}: column '{theirs}' holds {kind} values; store it as text{hint}")
        values = table.column(theirs).to_pylist()
        if ours in SPELLINGS:
            read[ours] = ["" if value is None else str(value) for value in values]
            if "" in read[ours]:
                row = read[ours].index("") + 1
                raise PmdError(f"{place}, row {row}: '{theirs}' is empty; every triple needs head, relation, tail")
        else:
            read[ours] = ["" if value is None else " ".join(str(value).split()) for value in values]
    return read


def _choose_columns(present: list[str], wanted: Mapping[str, str], place: str) -> dict[str, str]:
    """The dataset's column for each of ours: as `wanted` says, else by its usual spellings."""
    allowed = [*SPELLINGS, *_TEXT_COLUMNS]
    for ours, theirs in wanted.items():
        if ours not in allowed:
            known = ", ".join(allowed)
            raise PmdError(f"columns: '{ours}' is not one of {known}{closest(ours, allowed)}")
        if theirs not in present:
            raise PmdError(f"{place}: no column '{theirs}' among {', '.join(present)}{closest(theirs, present)}")
    by_lower = {column.lower(): column for column in reversed(present)}
    chosen = dict(wanted)
    for part, spellings in SPELLINGS.items():
        spelt = next((by_lower[word] for word in spellings if word in by_lower), None)
        if part not in chosen and spelt is None:
            raise PmdError(
                f"{place}: no {part} column among {', '.join(map(quote, present))}; name it, for example "
                f"columns={{'{part}': {quote(present[0])}}}"
            )
        chosen.setdefault(part, spelt)
        for suffixes in (_NAMES, _DESCRIPTIONS):
            words = [f"{stem}_{suffix}" for stem in (part, chosen[part].lower()) for suffix in suffixes]
            text = next((by_lower[word] for word in words if word in by_lower), None)
            if text is not None and f"{part}_{suffixes[0]}" in allowed:
                chosen.setdefault(f"{part}_{suffixes[0]}", text)
    return chosen


def _to_graph(name: str, splits: Mapping[str, Split]) -> KnowledgeGraph:
    entity_ids = sorted(set().union(*(split[part] for split in splits.values() for part in ("head", "tail"))))
    relation_ids = sorted(set().union(*(split["relation"] for split in splits.values())))
    entities = {key: position for position, key in enumerate(entity_ids)}
    relations = {key: position for position, key in enumerate(relation_ids)}
    names = _texts(splits, ("head", "tail"), "name")
    descriptions = _texts(splits, ("head", "tail"), "description")
    relation_names = _texts(splits, ("relation",), "name")

    def encode(split: Split) -> torch.Tensor:
        parts = ((split["head"], entities), (split["relation"], relations), (split["tail"], entities))
        return torch.tensor([[known[key] for key in keys] for keys, known in parts]).T.contiguous()

    return KnowledgeGraph(
        name=name,
        entity_ids=entity_ids,
        entity_names=[names.get(key) or words_of(key) for key in entity_ids],
        entity_descriptions=[descriptions.get(key, "") for key in entity_ids],
        relation_ids=relation_ids,
        relation_names=[relation_names.get(key) or words_of(key) for key in relation_ids],
        **{split: encode(values) for split, values in splits.items()},
    )


def _texts(splits: Mapping[str, Split], parts: tuple[str, ...], kind: str) -> dict[str, str]:
    """The first text that each id comes with."""
    texts: dict[str, str] = {}
    for split in splits.values():
        for part in parts:
            for key, text in zip(split[part], split.get(f"{part}_{kind}", ())):
                if text:
                    texts.setdefault(key, text)
    return texts

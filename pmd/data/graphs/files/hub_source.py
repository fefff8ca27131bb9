"""A graph from a dataset of the Hugging Face Hub, or from a local folder in one of the Hub's file formats.

Any dataset with a head, a relation and a tail column loads, whatever their names. Ids stay text: `00260881` does not become
a number nor the entity `NA` a missing value, as CSV readers would have it. `datasets` is imported only when a graph is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd.core.errors import PmdError
from pmd.data.graphs.build import Texts, graph_of
from pmd.data.graphs.files.columns import kinds_of
from pmd.data.graphs.files.tables import as_text, encoded_table
from pmd.data.graphs.files.triples import DEFAULTS, Options, refuse_unknown_columns, triples_of
from pmd.data.graphs.graph import KnowledgeGraph

if TYPE_CHECKING:
    import pyarrow as pa

_SPLITS = {"train": ("train", "training"), "valid": ("validation", "valid", "dev", "val"), "test": ("test",)}
_FORMATS = ("parquet", "jsonl", "json", "csv")


def is_dataset_folder(folder: Path) -> bool:
    """Whether a folder, or a folder in it such as `data/`, has files that `datasets` reads."""
    return any(next(folder.glob(f"{depth}*.{ending}"), None) for ending in _FORMATS for depth in ("", "*/"))


def load_dataset_graph(
    source: str,
    name: str,
    options: Options = DEFAULTS,
    subset: str | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
) -> KnowledgeGraph:
    """Load a Hub dataset (`user/name`) or a local folder of CSV, JSON lines or Parquet files.

    Entities and relations are sorted by id. Without a column of names an id is its own name, with blanks for underscores.

    Args:
        subset: configuration of the dataset.
        revision, cache_dir: as in `datasets.load_dataset`.

    Raises:
        PmdError: if the dataset cannot be reached, or lacks a split, a column or a value.
    """
    dataset = _load_dataset(source, subset, revision=revision, cache_dir=cache_dir)
    rows, places, notes = {}, {}, []
    for ours, spellings in _SPLITS.items():
        theirs = next((split for split in spellings if split in dataset), None)
        if theirs is None or not len(dataset[theirs]):
            remedy = (
                "give the file itself, if it is one, and it is split here"
                if Path(source).is_dir()
                else "choose another subset, or split it once and save it as a folder"
            )
            raise PmdError(
                f"dataset '{source}': {'no' if theirs is None else 'empty'} split {' or '.join(spellings)} among "
                f"{', '.join(dataset)}; train, validation and test are needed: {remedy}"
            )
        place = f"dataset '{source}', split {theirs}"
        table = encoded_table(as_text(rows_of(dataset[theirs]), place))
        rows[ours], places[ours] = table, place
    refuse_unknown_columns(rows, places, options)
    kind_of = kinds_of(rows.values())
    tables = {split: triples_of(table, places[split], options, notes, kind_of) for split, table in rows.items()}
    for triples in tables.values():
        triples.refuse_breaks()
    return graph_of(name, source, tables, Texts(), notes)


def rows_of(dataset: Any) -> pa.Table:
    """The rows of a `datasets.Dataset`, with the names of class labels in place of their numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = dataset.with_format("arrow")[:]
    for position, name in enumerate(table.column_names):
        if type(feature := dataset.features[name]).__name__ == "ClassLabel":
            numbers = table.column(name)  # -1 where there is no label
            numbers = pc.if_else(pc.less(numbers, 0), None, numbers)
            table = table.set_column(position, name, pa.array(feature.names).take(numbers))
    return table


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
        remedy = "check its name, its subset and its files"
        if Path(source).is_dir() and isinstance(error, datasets.exceptions.DatasetGenerationError):
            remedy = (
                "the files of a folder are read as parts of one table: where only one holds triples, give that file, with "
                "names and descriptions in a table called nodes beside it"
            )
        raise PmdError(
            f"dataset '{source}' cannot be loaded ({type(error).__name__}: {_one_line(error)}); {remedy}"
        ) from error


def _one_line(error: BaseException, limit: int = 300) -> str:
    # `datasets` hides what is wrong with a file behind "An error occurred while generating the dataset".
    text = " ".join(str(error.__cause__ or error).split())
    return text if len(text) <= limit else text[:limit] + "…"

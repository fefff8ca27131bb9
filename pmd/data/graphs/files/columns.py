"""The columns of a table of triples: which are head, relation and tail, and what the others hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pmd.core.errors import PmdError
from pmd.data.graphs.files.tsv import SPELLINGS, at, closest, quote

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("head", "relation", "tail")
_TEXTS = {"name": ("name", "label", "text"), "description": ("description", "desc"), "type": ("type", "kind")}
TEXT_COLUMNS = [f"{part}_{text}" for part in PARTS for text in _TEXTS if part != "relation" or text == "name"]
_TRUE, _FALSE = {"1", "true"}, {"-1", "0", "false"}
_TIME = re.compile(r"-?\d{3,4}-\d\d(-\d\d)?([ T].*)?|\d{1,2}[./]\d{1,2}[./]\d{4}|####-##-##")
_NUMBER = re.compile(r"-?\d*\.?\d+([eE][+-]?\d+)?")
_TIME_NAMES = (
    "time",
    "date",
    "year",
    "timestamp",
    "since",
    "until",
    "start_time",
    "end_time",
    "valid_from",
    "valid_to",
)
_WEIGHT_NAMES = ("weight", "confidence", "score", "probability", "conf")
_LABEL_NAMES = ("label", "truth", "is_true", "true")

DROPPED: dict[str, set[str]] = {
    "times": {"time"},
    "weights": {"weight"},
    "numbers": {"time", "weight"},
    "values": set(),
    "nothing": set(),
}
"""By kind of a column, the words of `drop` that leave it out."""


def choose_columns(
    present: Sequence[str], columns: Mapping[str, str | int], dropped: Collection[str], place: str, first_line: int
) -> dict[str, str]:
    """The file's column for each of ours: as `columns` says, or by its usual names, but none that is dropped."""
    chosen = {part: str(column) for part, column in columns.items()}
    for part, column in chosen.items():
        if part not in (*PARTS, *TEXT_COLUMNS):
            raise PmdError(
                f"columns: '{part}' is not one of {', '.join((*PARTS, *TEXT_COLUMNS))}{closest(part, PARTS)}"
            )
        if column not in present:
            raise PmdError(f"{place}: no column '{column}' among {', '.join(present)}{closest(column, present)}")
        if column in dropped:
            raise PmdError(f"drop: column '{column}' is the {part} of the triples; leave one of the two out")
        if other := next((other for other in chosen if other != part and chosen[other] == column), None):
            raise PmdError(f"columns: '{part}' and '{other}' are both column '{column}'; name two")
    if present[0].isdigit():  # without names: head, relation and tail stand in this order
        free = [column for column in present if column not in (*chosen.values(), *dropped)]
        order = dict(zip([part for part in PARTS if part not in chosen], free))
        if len(order.keys() | chosen.keys() & set(PARTS)) < 3:
            count = len(set(present).difference(dropped))
            separators = ", separated by tabs, commas, semicolons or blanks" if len(present) == 1 else ""
            raise PmdError(
                f"{at(place, first_line)}: {count} column{'s' * (count != 1)}, but 3 are needed (head, relation, tail)"
                f"{separators}"
            )
        return chosen | order
    by_lower = {bare(column): column for column in reversed(present) if column not in dropped}
    for part, spellings in SPELLINGS.items():
        column = chosen.setdefault(part, next((by_lower[word] for word in spellings if word in by_lower), ""))
        if not column:
            raise PmdError(
                f"{place}: no {part} column among {', '.join(map(quote, present))}; name it, for example "
                f"--data.columns '{{{part}: {present[0]}}}'"
            )
        stem = bare(column)
        stems = (part, stem, re.sub(r"_?(id|index)$", "", stem))
        for kind, words in _TEXTS.items():
            names = [f"{stem}_{word}" for stem in stems for word in words]
            names += [f"display_{stem}"] if part == "relation" and kind == "name" else []
            text = next((by_lower[name] for name in names if name in by_lower), column)
            if text != column and f"{part}_{kind}" in TEXT_COLUMNS:
                chosen.setdefault(f"{part}_{kind}", text)
    return chosen


def bare(column: str) -> str:
    """A column's name as it is looked up: `:START_ID ` -> `start_id`."""
    return column.lower().strip(":# ")


def kinds_of(tables: Collection[pa.Table]) -> Callable[[str], str]:
    """What the column of a name holds, by all splits together: 0 is a label where another split has 0 and 1."""

    @cache
    def kind(name: str) -> str:
        columns = [table.column(name) for table in tables if name in table.column_names]
        return kind_of(name, set().union(*(values_of(reduced(as_dictionary(column))) for column in columns)))

    return kind


def kind_of(name: str, values: set[str]) -> str:
    """What a column holds, by its name or by its values."""
    lowered, some = name.lower(), list(values)[:1000]
    words = {value.lower() for value in some}
    if words == {""}:
        return "nothing"
    if words <= _TRUE | _FALSE and (
        len(words) == 2 or lowered in _LABEL_NAMES or (words in ({"1"}, {"-1"}) and name.isdigit())
    ):
        return "labels"
    if lowered in _TIME_NAMES or all(map(_TIME.fullmatch, some)):
        return "times"
    if lowered in _WEIGHT_NAMES:
        return "weights"
    if name.isdigit() and all(map(_NUMBER.fullmatch, some)):
        return "weights" if any("." in value for value in some) else "numbers"
    return "values"


def labels_of(column: pa.ChunkedArray, place: str) -> np.ndarray:
    """bool (n,): whether each triple is true."""
    is_true = np.array([word.lower() in _TRUE for word in dictionary_of(column)])
    return is_true[one_chunk(column).indices.to_numpy()]


def weights_of(column: pa.ChunkedArray, place: str) -> np.ndarray:
    """Weights, float32 (n,). PmdError for one that is no number from 0 up, or too large."""
    words = dictionary_of(column)
    wrong = next((word for word in words if not _NUMBER.fullmatch(word) or not 0 <= float(word) < 1e30), None)
    if wrong is not None:
        raise PmdError(f"{place} holds {quote(wrong)}; a weight is a number from 0 up")
    return np.array([float(word) for word in words], dtype=np.float32)[one_chunk(column).indices.to_numpy()]


def unknown_column(place: str, name: str, kind: str, values: set[str]) -> str:
    examples = ", ".join(map(quote, sorted(values)[:3]))
    weight = f", weigh the triples by it with --data.weight '{name}'" if kind in ("weights", "numbers") else ""
    return (
        f"{place}: column {name} holds {kind} ({examples}), which triples do not have; leave it out with "
        f"--data.drop '[{name}]'{weight}, or name the columns of the triples with --data.columns"
    )


def as_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text or numbers as a dictionary of text."""
    return (
        column if str(column.type).startswith("dictionary") else column.cast("string").fill_null("").dictionary_encode()
    )


def one_chunk(column: pa.ChunkedArray) -> pa.DictionaryArray:
    import pyarrow as pa

    column = column.combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def dictionary_of(column: pa.ChunkedArray) -> list[str]:
    return one_chunk(column).dictionary.to_pylist()


def values_of(column: pa.ChunkedArray) -> set[str]:
    return set(dictionary_of(column))


def reduced(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with a dictionary of the values that it holds: a slice keeps those of the rows cut off."""
    import pyarrow as pa

    array = one_chunk(column)
    indices = array.indices.to_numpy()
    held = np.flatnonzero(np.bincount(indices, minlength=len(array.dictionary)))
    if len(held) == len(array.dictionary):
        return pa.chunked_array([array])
    position = np.zeros(len(array.dictionary), dtype=np.int32)
    position[held] = np.arange(len(held), dtype=np.int32)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array(position[indices]), array.dictionary.take(held))])

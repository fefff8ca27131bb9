"""Tables of triples: which columns of a file are head, relation and tail, and what its other columns hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pmd.core.errors import PmdError
from pmd.data.graphs.files.tables import read_table
from pmd.data.graphs.files.tsv import SPELLINGS, at, closest, quote
from pmd.data.graphs.split import Shares

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


@dataclass(frozen=True)
class Options:
    """What the user says about a source.

    Args:
        columns: the file's name or number of a column for ours, such as `{head: subject}` or `{head: 1}`.
        drop: columns to leave out: names, numbers, or the kinds `time` and `weight`.
        weight: the column that holds the confidence of each triple.
        language: of names and descriptions, where a source has several.
        shares: how splits that the source lacks are taken from its training triples. By default that is refused, but for one
            list of triples, which is split by the default shares.
    """

    columns: Mapping[str, str | int] = field(default_factory=dict)
    drop: Sequence[str | int] = ()
    weight: str | None = None
    language: str = "en"
    shares: Shares | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.columns, Mapping):
            raise PmdError(f"columns: {self.columns!r} is no mapping; write for example {{'head': 'subject'}}")
        if isinstance(self.drop, str):
            raise PmdError(f"drop: {self.drop!r} is no list; write [{self.drop!r}]")
        if not isinstance(self.shares, Shares | None):
            raise PmdError(f"shares: {self.shares!r} is no pmd.Shares; write pmd.Shares(valid=0.05, test=0.1)")

    @property
    def dropped(self) -> set[str]:
        return set(map(str, self.drop))


DEFAULTS = Options()


@dataclass(frozen=True)
class TripleTable:
    """The triples of a split, as columns of dictionaries.

    Args:
        columns: head, relation and tail.
        place: the file, or what else the triples come from, for errors.
        first_line: lines of the file before the first triple.
        texts: columns of names, descriptions and types, such as `head_name`.
        is_true: bool (n,), False for triples that are known to be false; None if all are true.
        weights: float32 (n,), or None.
    """

    columns: Mapping[str, pa.ChunkedArray]
    place: str
    first_line: int = 0
    texts: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)
    is_true: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.columns["head"])

    def ids(self, *parts: str) -> set[str]:
        """The distinct ids of some columns."""
        return set().union(*(_values(self.columns[part]) for part in parts))

    def texts_of(self, part: str, kind: str) -> dict[str, str]:
        """By id of a part, its first name, description or type, where the table has such a column."""
        column = self.texts.get(f"{part}_{kind}")
        if column is None:
            return {}
        import pyarrow as pa

        pairs = pa.table({"id": self.columns[part].cast(pa.string()), "text": column.cast(pa.string())})
        pairs = pairs.filter(pa.compute.not_equal(pairs.column("text"), ""))
        first = pairs.group_by("id", use_threads=False).aggregate([("text", "first")]).to_pydict()
        return {key: " ".join(text.split()) for key, text in zip(first["id"], first["text_first"])}

    def with_negatives(self, other: TripleTable) -> TripleTable:
        """This table, followed by the triples of another one as false."""
        import pyarrow as pa

        columns = {
            part: pa.chunked_array(self.columns[part].chunks + other.columns[part].chunks).unify_dictionaries()
            for part in PARTS
        }
        nothing = np.zeros(len(other))
        is_true = np.ones(len(self), dtype=bool) if self.is_true is None else self.is_true
        weights = None if self.weights is None else np.concatenate([self.weights, nothing.astype(np.float32)])
        is_true = np.concatenate([is_true, nothing.astype(bool)])
        return replace(self, columns=columns, is_true=is_true, weights=weights)

    def encode(self, entities: Mapping[str, int], relations: Mapping[str, int]) -> np.ndarray:
        """Positions of the ids, int64 (n, 3). PmdError at the first id that is not known."""
        encoded = np.empty((len(self), 3), dtype=np.int64)
        for column, (part, known) in enumerate(zip(PARTS, (entities, relations, entities))):
            array = _one_chunk(self.columns[part])
            ids = array.dictionary.to_pylist()
            positions = np.array([known.get(key, -1) for key in ids], dtype=np.int64)
            encoded[:, column] = positions[array.indices.to_numpy()]
        if len(unknown := np.argwhere(encoded < 0)):
            row, column = unknown[0].tolist()
            raise self._unknown_id(row, PARTS[column], relations if column == 1 else entities)
        return encoded

    def _unknown_id(self, row: int, part: str, known: Mapping[str, int]) -> PmdError:
        key = self.columns[part][row].as_py()
        kind, role = ("relation", "") if part == "relation" else ("entity", f" as {part}")
        return PmdError(
            f"{at(self.place, self.first_line + row)}: unknown {kind} id {quote(key)}{role}{closest(key, known)}; "
            f"correct it, or add it to the {kind} file"
        )


def read_triples(files: Mapping[str, Path], options: Options, notes: list[str]) -> dict[str, TripleTable]:
    """The triples of each split. What was understood is added to `notes`.

    Whether the files begin with a header is decided by all of them together: see `_header`.

    Raises:
        PmdError: for columns that cannot be told apart, or that would be lost in silence.
    """
    tables = {split: read_table(path, encoded=True) for split, path in files.items()}
    unnamed = {split: table for split, table in tables.items() if table.column_names[0] == "1"}
    header = _header(unnamed, files, options) if unnamed else None
    if header:
        notes.append(f"the first line is a header: {', '.join(header)}")
    triples = {}
    for split, table in tables.items():
        first_line = int(split in unnamed and header is not None)
        if first_line:
            table = table.slice(1)
            if _are_column_names(header) or _chooses(options, header):
                table = table.rename_columns(_distinct_names(header))
        triples[split] = triples_of(table, str(files[split]), options, notes, first_line)
    return triples


def _header(tables: Mapping[str, pa.Table], files: Mapping[str, Path], options: Options) -> list[str] | None:
    """The first line of all files, if it is a header: if its words

    - are chosen by the user as names of columns;
    - are usual names of columns, and no relation is called so;
    - or occur nowhere else, in several files with the same first line, or in one with few relations.

    Raises:
        PmdError: if some files begin with usual names of columns, and others do not.
    """
    rows = {split: [str(column[0]) for column in table.columns] for split, table in tables.items()}
    first = next(iter(rows.values()))
    if min(map(len, rows.values())) < len(PARTS):
        return None
    is_same = all(row == first for row in rows.values())
    if is_same and _chooses(options, first):
        return first
    named = [split for split, row in rows.items() if _are_column_names(row)]
    if named and _count(tables, 1, rows[named[0]][1]) == len(named):
        if is_same:
            return first
        other = next(split for split in rows if rows[split] != rows[named[0]])
        raise PmdError(
            f"{at(files[named[0]], 0)}: a header ({', '.join(rows[named[0]])}), but {files[other].name} begins with "
            f"{', '.join(map(quote, rows[other]))}; delete the line, or give every file the same header"
        )
    lines = sum(map(len, tables.values()))
    is_long = min(map(len, tables.values())) > 1 if len(rows) > 1 else lines > 20 * _distinct(tables, 1)
    is_alone = all(_count(tables, column, word) == len(rows) for column, word in enumerate(first[:3]))
    return first if is_same and is_long and is_alone and not named else None


def _chooses(options: Options, header: Sequence[str]) -> bool:
    chosen = [*options.columns.values(), *options.drop, *([options.weight] if options.weight else [])]
    return any(str(column) in header for column in chosen if not str(column).isdigit())


def _are_column_names(row: Sequence[str]) -> bool:
    """Whether words are usual names for head, relation and tail."""
    words = {word.lower().lstrip(":#") for word in row}
    return all(words & set(spellings) for spellings in SPELLINGS.values())


def _count(tables: Mapping[str, pa.Table], column: int, word: str) -> int:
    """How often a word stands in a column of all files."""
    import pyarrow.compute as pc

    return sum(pc.sum(pc.equal(table.column(column), word)).as_py() or 0 for table in tables.values())


def _distinct(tables: Mapping[str, pa.Table], column: int) -> int:
    return sum(len(_dictionary(table.column(column))) for table in tables.values())


def triples_of(table: pa.Table, place: str, options: Options, notes: list[str], first_line: int = 0) -> TripleTable:
    """The triples of a table of text whose columns have names, or numbers from 1 where the file names none.

    Raises:
        PmdError: for a column that is missing, an empty id, and a column of times, weights or unknown contents that the
            options do not mention.
    """
    if not len(table):
        raise PmdError(f"{place}: is empty; every split needs at least one triple")
    chosen = _choose_columns(table.column_names, options, place, first_line)
    for part, name in chosen.items():
        _refuse_floats(table.column(name), part, name, place, first_line)
    triples = {part: reduced(table.column(chosen[part])) for part in PARTS}
    for part, column in triples.items():
        if "" in _values(column):
            raise _empty(column.to_pylist().index(""), part, chosen[part], place, first_line)
    texts = {text: table.column(chosen[text]) for text in chosen if text not in PARTS}
    if options.weight and options.weight not in table.column_names:
        known = ", ".join(table.column_names)
        raise PmdError(
            f"{place}: no column '{options.weight}' of weights among {known}{closest(options.weight, known)}"
        )
    is_true = weights = None
    for name in table.column_names:
        if name in chosen.values() and name != options.weight:
            continue
        values = reduced(_encoded(table.column(name)))
        if name == options.weight:
            weights = _numbers(values, f"{place}: column {name}")
            continue
        kind = _kind(name, _values(values))
        if kind == "labels":
            is_true = _labels(values, f"{place}: column {name}")
        elif options.dropped & {name, *_DROPPED[kind]}:
            add_note(notes, f"column {name} ({kind}) is left out")
        elif kind in ("times", "weights") or table.column_names[0].isdigit():
            raise PmdError(_unknown_column(place, name, kind, _values(values)))
        else:
            add_note(notes, f"column {name} is left out")
    return TripleTable(triples, place, first_line, texts, is_true, weights)


def _refuse_floats(column: pa.ChunkedArray, part: str, name: str, place: str, first_line: int) -> None:
    if column.type not in ("float", "double"):
        return
    if part in PARTS and column.null_count:  # whole numbers and missing values are floats for pandas
        raise _empty(column.to_pylist().index(None), part, name, place, first_line)
    raise PmdError(
        f"{_row(place, first_line)}: column '{name}' holds {column.type} values ({column[0].as_py()}); store it as text"
    )


def _empty(row: int, part: str, name: str, place: str, first_line: int) -> PmdError:
    column = "" if name == part or name.isdigit() else f" (column '{name}')"
    return PmdError(f"{_row(place, first_line + row)}: the {part}{column} is empty; every triple needs all three")


_DROPPED: dict[str, set[str]] = {
    "times": {"time"},
    "weights": {"weight"},
    "numbers": {"time", "weight"},
    "values": set(),
}
"""By kind of a column, the words of `drop` that leave it out."""


def add_note(notes: list[str], note: str) -> None:
    """Adds a note once: each split has the same columns."""
    notes += [note] * (note not in notes)


def _row(place: str, row: int) -> str:
    return at(place, row) if Path(place).suffix not in ("", ".parquet") else f"{place}, row {row + 1}"


def _kind(name: str, values: set[str]) -> str:
    """What a column holds, by its name or by its values."""
    lowered, some = name.lower(), list(values)[:1000]
    words = {value.lower() for value in some}
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


def _labels(column: pa.ChunkedArray, place: str) -> np.ndarray:
    """bool (n,): whether each triple is true."""
    is_true = np.array([word.lower() in _TRUE for word in _dictionary(column)])
    return is_true[_one_chunk(column).indices.to_numpy()]


def _numbers(column: pa.ChunkedArray, place: str) -> np.ndarray:
    """Weights, float32 (n,). PmdError for one that is no number from 0 up, or too large."""
    words = _dictionary(column)
    wrong = next((word for word in words if not _NUMBER.fullmatch(word) or not 0 <= float(word) < 1e30), None)
    if wrong is not None:
        raise PmdError(f"{place} holds {quote(wrong)}; a weight is a number from 0 up")
    return np.array([float(word) for word in words], dtype=np.float32)[_one_chunk(column).indices.to_numpy()]


def _unknown_column(place: str, name: str, kind: str, values: set[str]) -> str:
    examples = ", ".join(map(quote, sorted(values)[:3]))
    drop = {"times": "time", "weights": "weight"}.get(kind, name)
    weight = f", weigh the triples by it with --data.weight '{name}'" if kind in ("weights", "numbers") else ""
    return (
        f"{place}: column {name} holds {kind} ({examples}), which triples do not have; leave it out with "
        f"--data.drop '[{drop}]'{weight}, or name the columns of the triples with --data.columns"
    )


def _encoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text or numbers as a dictionary of text."""
    return (
        column if str(column.type).startswith("dictionary") else column.cast("string").fill_null("").dictionary_encode()
    )


def _one_chunk(column: pa.ChunkedArray) -> pa.DictionaryArray:
    import pyarrow as pa

    column = column.combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _dictionary(column: pa.ChunkedArray) -> list[str]:
    return _one_chunk(column).dictionary.to_pylist()


def _values(column: pa.ChunkedArray) -> set[str]:
    return set(_dictionary(column))


def reduced(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with a dictionary of the values that it holds: a slice keeps those of the rows cut off."""
    import pyarrow as pa

    array = _one_chunk(column)
    indices = array.indices.to_numpy()
    held = np.flatnonzero(np.bincount(indices, minlength=len(array.dictionary)))
    if len(held) == len(array.dictionary):
        return pa.chunked_array([array])
    position = np.zeros(len(array.dictionary), dtype=np.int32)
    position[held] = np.arange(len(held), dtype=np.int32)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array(position[indices]), array.dictionary.take(held))])


def _distinct_names(header: Sequence[str]) -> list[str]:
    """A header as names of columns: a repeated word gets its position."""
    return [word if header.index(word) == column else f"{word} {column + 1}" for column, word in enumerate(header)]


def _choose_columns(present: Sequence[str], options: Options, place: str, first_line: int) -> dict[str, str]:
    """The file's column for each of ours: as the options say, or by its usual names."""
    chosen = {part: str(column) for part, column in options.columns.items()}
    for part, column in chosen.items():
        if part not in (*PARTS, *TEXT_COLUMNS):
            raise PmdError(
                f"columns: '{part}' is not one of {', '.join((*PARTS, *TEXT_COLUMNS))}{closest(part, PARTS)}"
            )
        if column not in present:
            raise PmdError(f"{place}: no column '{column}' among {', '.join(present)}{closest(column, present)}")
    if present[0].isdigit():  # without names: head, relation and tail stand in this order
        free = [column for column in present if column not in chosen.values()]
        order = dict(zip([part for part in PARTS if part not in chosen], free))
        if len(order.keys() | chosen.keys() & set(PARTS)) < 3:
            raise PmdError(
                f"{at(place, first_line)}: {len(present)} column{'s' * (len(present) != 1)}, but 3 are needed (head, relation, tail)"
            )
        return chosen | order
    by_lower = {column.lower().lstrip(":#"): column for column in reversed(present)}
    for part, spellings in SPELLINGS.items():
        column = chosen.setdefault(part, next((by_lower[word] for word in spellings if word in by_lower), ""))
        if not column:
            raise PmdError(
                f"{place}: no {part} column among {', '.join(map(quote, present))}; name it, for example "
                f"--data.columns '{{{part}: {present[0]}}}'"
            )
        stem = column.lower().lstrip(":#")
        stems = (part, stem, re.sub(r"_?(id|index)$", "", stem))
        for kind, words in _TEXTS.items():
            names = [f"{stem}_{word}" for stem in stems for word in words]
            names += [f"display_{stem}"] if part == "relation" and kind == "name" else []
            text = next((by_lower[name] for name in names if name in by_lower), column)
            if text != column and f"{part}_{kind}" in TEXT_COLUMNS:
                chosen.setdefault(f"{part}_{kind}", text)
    return chosen

"""Tables of triples: what the user says about a source, and the triples of a split with what stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pmd.core.errors import PmdError
from pmd.data.graphs.files.columns import (
    DROPPED,
    PARTS,
    as_dictionary,
    choose_columns,
    labels_of,
    one_chunk,
    reduced,
    unknown_column,
    values_of,
    weights_of,
)
from pmd.data.graphs.files.tsv import at, closest, quote
from pmd.data.graphs.split import Shares
from pmd.data.texts.strings import Strings

if TYPE_CHECKING:
    import pyarrow as pa


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


class Positions:
    """Where each of the ids of a graph stands in their list."""

    def __init__(self, ids: Sequence[str]):
        self.ids = ids

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {key: position for position, key in enumerate(self.ids)}

    def __contains__(self, key: str) -> bool:
        return key in self._by_id

    def of(self, ids: pa.Array) -> np.ndarray:
        """The positions (n,) of ids (n,), −1 for those that are not in the list."""
        if not isinstance(self.ids, Strings):
            return np.array([self._by_id.get(key, -1) for key in ids.to_pylist()], dtype=np.int64)
        import pyarrow.compute as pc

        positions = pc.index_in(ids.cast("large_string"), value_set=self.ids.arrow())
        return positions.fill_null(-1).to_numpy().astype(np.int64)


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
        return set().union(*(values_of(self.columns[part]) for part in parts))

    def lacked(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that are neither head nor tail."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for part in ("head", "tail"):
            known = one_chunk(self.columns[part]).dictionary
            ids = [
                key
                for key, is_known in zip(ids, pc.is_in(pa.array(ids, known.type), known).to_pylist())
                if not is_known
            ]
        return ids

    def number_of_heads(self, ids: Sequence[str]) -> int:
        """How many of the ids are heads."""
        import pyarrow as pa
        import pyarrow.compute as pc

        heads = one_chunk(self.columns["head"]).dictionary
        return pc.sum(pc.is_in(pa.array(ids, heads.type), value_set=heads)).as_py() or 0

    def refuse_breaks(self) -> None:
        """PmdError for an id with a tab or a line break, which the files of a trained model cannot hold."""
        import pyarrow.compute as pc

        for part, column in self.columns.items():
            ids = one_chunk(column).dictionary
            is_broken = pc.match_substring_regex(ids, "[\t\n\r]")
            if pc.any(is_broken).as_py():
                broken = ids.filter(is_broken)[0].as_py()
                row = _row(self.place, self.first_line + column.to_pylist().index(broken))
                raise PmdError(f"{row}: the {part} {quote(broken)} holds a tab or a line break; replace it by a blank")

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

    def encode(self, entities: Positions, relations: Positions) -> np.ndarray:
        """Positions of the ids, int64 (n, 3). PmdError at the first id that is not known."""
        encoded = np.empty((len(self), 3), dtype=np.int64)
        for column, (part, known) in enumerate(zip(PARTS, (entities, relations, entities))):
            array = one_chunk(self.columns[part])
            encoded[:, column] = known.of(array.dictionary)[array.indices.to_numpy()]
        if len(unknown := np.argwhere(encoded < 0)):
            row, column = unknown[0].tolist()
            raise self._unknown_id(row, PARTS[column], (relations if column == 1 else entities).ids)
        return encoded

    def _unknown_id(self, row: int, part: str, known: Sequence[str]) -> PmdError:
        key = self.columns[part][row].as_py()
        kind, role = ("relation", "") if part == "relation" else ("entity", f" as {part}")
        return PmdError(
            f"{at(self.place, self.first_line + row)}: unknown {kind} id {quote(key)}{role}{closest(key, known)}; "
            f"correct it, or add it to the {kind} file"
        )


def triples_of(
    table: pa.Table,
    place: str,
    options: Options,
    notes: list[str],
    kind_of: Callable[[str], str],
    first_line: int = 0,
) -> TripleTable:
    """The triples of a table of text whose columns have names, or numbers from 1 where the file names none.

    Args:
        kind_of: what the column of a name holds, see `kinds_of`.

    Raises:
        PmdError: for a column that is missing, an empty id, and a column of times, weights or unknown contents that the
            options do not mention.
    """
    import pyarrow.compute as pc

    if not len(table):
        raise PmdError(f"{place}: is empty; every split needs at least one triple")
    chosen = choose_columns(table.column_names, options.columns, options.dropped, place, first_line)
    for part, name in chosen.items():
        _refuse_floats(table.column(name), part, name, place, first_line)
    triples = {part: reduced(table.column(chosen[part])) for part in PARTS}
    for part, column in triples.items():
        if pc.any(pc.equal(one_chunk(column).dictionary, "")).as_py():
            raise _empty(column.to_pylist().index(""), part, chosen[part], place, first_line)
    texts = {text: table.column(chosen[text]) for text in chosen if text not in PARTS}
    is_true = weights = None
    for name in table.column_names:
        if name in chosen.values() and name != options.weight:
            continue
        values = reduced(as_dictionary(table.column(name)))
        if name == options.weight:
            weights = weights_of(values, f"{place}: column {name}")
            continue
        kind = kind_of(name)
        if kind == "labels" and name not in options.dropped:
            is_true = labels_of(values, f"{place}: column {name}")
        elif kind == "nothing" or options.dropped & {name, *DROPPED.get(kind, ())}:
            note_left_out(notes, f"{name} ({kind})")
        elif kind in ("times", "weights") or table.column_names[0].isdigit():
            raise PmdError(unknown_column(place, name, kind, values_of(values)))
        else:
            note_left_out(notes, name)
    return TripleTable(triples, place, first_line, texts, is_true, weights)


def refuse_unknown_columns(tables: Mapping[str, pa.Table], places: Mapping[str, str], options: Options) -> None:
    """PmdError for a column to drop that no split has, and one of weights that the training triples lack."""
    known = list(dict.fromkeys(name for table in tables.values() for name in table.column_names))
    unknown = next((name for name in map(str, options.drop) if name not in (*known, "time", "weight")), None)
    if unknown is not None:
        raise PmdError(
            f"{places['train']}: no column '{unknown}' to drop among {', '.join(known)}{closest(unknown, known)}"
        )
    present = tables["train"].column_names
    if options.weight and options.weight not in present:
        raise PmdError(
            f"{places['train']}: no column '{options.weight}' of weights among {', '.join(present)}"
            f"{closest(options.weight, present)}"
        )


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


def add_note(notes: list[str], note: str) -> None:
    """Adds a note once: each split has the same columns."""
    notes += [note] * (note not in notes)


def note_left_out(notes: list[str], column: str) -> None:
    list_in_note(notes, "columns left out: ", column)


def list_in_note(notes: list[str], start: str, item: str) -> None:
    """Adds an item to the one note that starts so and lists such: `texts come from a.tsv, b.tsv`."""
    position = next((i for i, note in enumerate(notes) if note.startswith(start)), None)
    if position is None:
        notes.append(start + item)
    elif item not in notes[position][len(start) :].split(", "):
        notes[position] += f", {item}"


def _row(place: str, row: int) -> str:
    return at(place, row) if Path(place).suffix not in ("", ".parquet") else f"{place}, row {row + 1}"

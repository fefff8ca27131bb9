"""Whether files of triples begin with a header, decided by all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pmd.core.errors import PmdError
from pmd.data.graphs.files.columns import PARTS, bare, kinds_of, one_chunk
from pmd.data.graphs.files.tables import read_table
from pmd.data.graphs.files.triples import Options, TripleTable, add_note, refuse_unknown_columns, triples_of
from pmd.data.graphs.files.tsv import SPELLINGS, at, quote

if TYPE_CHECKING:
    import pyarrow as pa


READ_AS_A_TRIPLE = "is read as a triple"
"""What the note of a first line says that may be a header; where all ids are listed, it cannot be one."""


def read_triples(files: Mapping[str, Path], options: Options, notes: list[str]) -> dict[str, TripleTable]:
    """The triples of each split. What was understood is added to `notes`.

    Whether the files begin with a header is decided by all of them together: see `_header`.

    Raises:
        PmdError: for columns that cannot be told apart, or that would be lost in silence.
    """
    tables = {split: read_table(path, encoded=True) for split, path in files.items()}
    unnamed = {split: table for split, table in tables.items() if table.column_names[0] == "1"}
    header = _header(unnamed, files, options) if unnamed else None
    if unnamed and not header:
        _doubt_first_lines(unnamed, files, notes)
    if header:
        notes.append(f"the first line is a header: {', '.join(header)}")
        is_named = _are_column_names(header) or _chooses(options, header)
        for split, table in unnamed.items():
            tables[split] = table.slice(1)
            if is_named:
                tables[split] = tables[split].rename_columns(_distinct_names(header))
    places, triples, kind_of = {split: str(path) for split, path in files.items()}, {}, kinds_of(tables.values())
    refuse_unknown_columns(tables, places, options)
    for split, table in tables.items():
        first_line = int(split in unnamed and header is not None)
        triples[split] = triples_of(table, places[split], options, notes, kind_of, first_line)
        triples[split].refuse_breaks()
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
    bare_rows = {split: [bare(word) for word in row] for split, row in rows.items()}
    named = [split for split, row in rows.items() if _are_column_names(row)]
    if named and all(_count(tables, 1, rows[split][1]) <= len(named) for split in named):
        other = next((split for split in rows if bare_rows[split] != bare_rows[named[0]]), None)
        if other is None:
            return first
        raise PmdError(
            f"{at(files[named[0]], 0)}: a header ({', '.join(rows[named[0]])}), but {files[other].name} begins with "
            f"{', '.join(map(quote, rows[other]))}; delete the line, or give every file the same header"
        )
    lines = sum(map(len, tables.values()))
    is_long = min(map(len, tables.values())) > 1 if len(rows) > 1 else lines > 20 * _distinct(tables, 1)
    is_alone = all(_count(tables, column, word) == len(rows) for column, word in enumerate(first[:3]))
    return first if is_same and is_long and is_alone and not named else None


def _doubt_first_lines(tables: Mapping[str, pa.Table], files: Mapping[str, Path], notes: list[str]) -> None:
    """Notes first lines that may be headers, but that are no usual ones and not those of all files: all their words are alone."""
    if sum(map(len, tables.values())) <= len(PARTS):
        return
    rows = {split: [str(column[0]) for column in table.columns[:3]] for split, table in tables.items()}
    for split, row in rows.items():
        same = sum(other == row for other in rows.values())
        if len(row) == len(PARTS) and all(_count(tables, column, word) == same for column, word in enumerate(row)):
            line = at(files[split].name, 0)
            add_note(
                notes, f"{line}, {READ_AS_A_TRIPLE} ({', '.join(row)}): if it is a header, delete it in every file"
            )


def _chooses(options: Options, header: Sequence[str]) -> bool:
    chosen = [*options.columns.values(), *options.drop, *([options.weight] if options.weight else [])]
    return any(str(column) in header for column in chosen if not str(column).isdigit())


def _are_column_names(row: Sequence[str]) -> bool:
    """Whether words are usual names for head, relation and tail."""
    words = set(map(bare, row))
    return all(words & set(spellings) for spellings in SPELLINGS.values())


def _count(tables: Mapping[str, pa.Table], column: int, word: str) -> int:
    """How often a word stands in a column of all files."""
    import pyarrow.compute as pc

    count = 0
    for table in (table for table in tables.values() if column < table.num_columns):
        words = one_chunk(table.column(column))
        if (position := pc.index(words.dictionary, word).as_py()) >= 0:
            count += pc.sum(pc.equal(words.indices, position)).as_py()
    return count


def _distinct(tables: Mapping[str, pa.Table], column: int) -> int:
    return sum(len(one_chunk(table.column(column)).dictionary) for table in tables.values())


def _distinct_names(header: Sequence[str]) -> list[str]:
    """A header as names of columns: a repeated word gets its position."""
    return [word if header.index(word) == column else f"{word} {column + 1}" for column, word in enumerate(header)]

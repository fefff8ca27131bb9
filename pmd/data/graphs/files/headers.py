"""Whether files of triples begin with a header, decided by all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pmd.core.errors import PmdError
from pmd.data.graphs.files.columns import PARTS, dictionary_of
from pmd.data.graphs.files.tables import read_table
from pmd.data.graphs.files.triples import Options, TripleTable, triples_of
from pmd.data.graphs.files.tsv import SPELLINGS, at, quote

if TYPE_CHECKING:
    import pyarrow as pa


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
    return sum(len(dictionary_of(table.column(column))) for table in tables.values())


def _distinct_names(header: Sequence[str]) -> list[str]:
    """A header as names of columns: a repeated word gets its position."""
    return [word if header.index(word) == column else f"{word} {column + 1}" for column, word in enumerate(header)]

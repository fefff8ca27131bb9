"""Reading and writing the plain text files of graphs, with errors that name file, line, value and remedy.

There is no quoting and no escaping: columns are separated by tabs, and rows end with a line feed and nothing else
(`str.splitlines` would also break at a U+2028 inside a description). A file may be gzipped. Whatever cannot be used
raises a PmdError of one line.
"""

from __future__ import annotations

import difflib
import gzip
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from pmd.core.errors import PmdError, not_utf8
from pmd.data.texts.strings import GrowingStrings, Strings

SPELLINGS = {
    "head": (
        *("head", "head_id", "h", "head_entity", "subject", "subject_id", "subj", "s"),
        *("source", "source_id", "src", "start_id", "x_index", "from", "node1"),
    ),
    "relation": (
        *("relation", "relation_id", "r", "rel", "predicate", "predicate_id", "pred", "p", "relation_type"),
        *("metaedge", "edge", "edge_type", "property", "type"),
    ),
    "tail": (
        *("tail", "tail_id", "t", "tail_entity", "object", "object_id", "obj", "o"),
        *("target", "target_id", "dst", "end_id", "y_index", "to", "node2"),
    ),
}
"""Usual names of the three columns of a triple, the most likely first."""

_ID_HEADERS = {"id", "entity", "entity_id", "entity id", "relation", "relation_id", "relation id"}
_NAME_HEADERS = {
    "name",
    "label",
    "title",
    "text",
    "entity_name",
    "relation_name",
    "entity name",
    "relation name",
    "entity_label",
    "relation_label",
}
_CAMEL = re.compile(r"(?<=[a-z][a-z])(?=[A-Z])")
_MANY = 100_000
BLOCK = 1 << 24
"""Bytes of a file that are read at a time. The columns of a larger file are kept as arrays, not as lists of strings."""


def quote(value: str, limit: int = 60) -> str:
    """A value for a message: on one line, and cut at `limit` characters."""
    return repr(value if len(value) <= limit else value[:limit] + "…")


def closest(value: str, known: Collection[str]) -> str:
    """The part of a message that proposes the most similar known value; empty if none is similar."""
    if len(known) > _MANY:  # difflib compares one pair at a time: minutes for a million ids
        known = [other for other in known if other[:2] == value[:2] and abs(len(other) - len(value)) <= 2][:_MANY]
    best = difflib.get_close_matches(value, known, n=1, cutoff=0.6)
    return f" (did you mean {quote(best[0], 200)}?)" if best else ""


def at(path: Path | str, index: int) -> str:
    """File and line of the row at `index`, counted from 0, as an editor counts lines."""
    return f"{path}, line {index + 1}"


def words_of(identifier: str) -> str:
    """A readable name for an id: blanks for underscores, and between the words of `camelCase`."""
    return " ".join(_CAMEL.sub(" ", identifier.replace("_", " ")).split()) or identifier


def find_file(folder: Path, *names: str) -> Path | None:
    """The first of these files that the folder has, plain or with `.gz`, in small or capital letters.

    Raises:
        PmdError: if it has one in both forms.
    """
    paths = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    for name in map(str.lower, names):
        plain, zipped = paths.get(name), paths.get(f"{name}.gz")
        if plain and zipped:
            raise PmdError(f"{folder}: has both {plain.name} and {zipped.name}; delete one of them")
        if plain or zipped:
            return plain or zipped
    return None


def need_file(folder: Path, *names: str) -> Path:
    """As `find_file`, but PmdError, saying what the folder has, if it has none of them."""
    path = find_file(folder, *names)
    if path is None:
        raise PmdError(f"{folder}: no {' or '.join(names)} (plain or .gz); add it. {listing(folder)}")
    return path


def listing(folder: Path) -> str:
    """A sentence about what a folder holds."""
    entries = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return f"The folder has {', '.join(entries[:12]) + ', …' * (len(entries) > 12) or 'no files'}"


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file. PmdError if it is empty, damaged or not UTF-8."""
    return [line for block in blocks_of_lines(path) for line in block]


def blocks_of_lines(path: Path) -> Iterator[list[str]]:
    """The lines of a UTF-8 file, in blocks of about `BLOCK` bytes. PmdError if it is empty, damaged or not UTF-8."""
    lines_before = 0
    with _opened(path) as file:
        while data := file.read(BLOCK) + file.readline():
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError as error:
                raise not_utf8(path, error, lines_before) from None
            if not lines_before:
                text = text.removeprefix("\ufeff")
            if text:
                lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
                lines_before += len(lines)
                yield lines
    if not lines_before:
        raise PmdError(f"{path}: is empty; every file needs at least one line, without a header")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked. PmdError, also while they are read, if it is damaged or cannot be read."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise PmdError(f"{path}: damaged gzip file ({error}); download or compress it again") from None
    except OSError as error:
        raise PmdError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None


def count_lines(path: Path) -> int:
    """How many lines a file has. PmdError if it cannot be read."""
    count, last = 0, b"\n"
    with _opened(path) as file:
        while data := file.read(BLOCK):
            count, last = count + data.count(b"\n"), data[-1:]
    return count + (last != b"\n")


def read_columns(path: Path, names: Sequence[str], kept: int | None = None) -> list[Sequence[str]]:
    """The columns of a file, or the first `kept` ones; row i is line i + 1. PmdError for a line with fewer or more columns."""
    numbers = range(len(names) if kept is None else kept)
    growing = [GrowingStrings() for _ in numbers]
    columns: list[list[str]] = []
    lines_before = 0
    for lines in blocks_of_lines(path):
        for grown, column in zip(growing, columns):
            grown.add(column)
        for index, line in enumerate(lines, lines_before):
            if line.count("\t") != len(names) - 1:
                raise PmdError(f"{at(path, index)}: {_wrong_columns(line, names)}")
        # One flat split: a small list for each of a million lines would cost several times as much.
        values = "\t".join(lines).split("\t")
        columns = [values[column :: len(names)] for column in numbers]
        lines_before += len(lines)
    if len(columns[0]) == lines_before:
        return columns
    for grown, column in zip(growing, columns):
        grown.add(column)
    return [grown.whole() for grown in growing]


def _wrong_columns(line: str, names: Sequence[str]) -> str:
    row = line.split("\t")
    needed = f"{len(names)} are needed ({', '.join(names)})"
    if row == [""]:
        return f"is blank, but {needed}, separated by tabs; delete the line"
    values = ", ".join(quote(value, 20) for value in row[:5]) + (", …" if len(row) > 5 else "")
    if len(row) > len(names):
        remedy = "remove the columns that are too many, or tabs inside a text"
    elif len(row) == len(names) - 1 and names[-1] == "description":
        remedy = "end the line with a tab if there is no description"
    else:
        remedy = "add what is missing; columns are separated by a tab"
    return f"{len(row)} column{'s' * (len(row) != 1)} ({values}), but {needed}; {remedy}"


def index_ids(path: Path, kind: str, ids: Sequence[str]) -> dict[str, int]:
    """The position of each id. PmdError for an empty id or one that is listed twice."""
    index = {key: position for position, key in enumerate(ids)}
    if "" in index:
        raise PmdError(f"{at(path, index[''])}: the {kind} id is empty; every {kind} needs one")
    if len(index) < len(ids):  # `index` has the last position of an id
        key = next(key for position, key in enumerate(ids) if index[key] != position)
        first, again = [position for position, other in enumerate(ids) if other == key][:2]
        raise PmdError(f"{at(path, again)}: {kind} id {quote(key)} is also on line {first + 1}; keep one")
    return index


def check_ids(path: Path, kind: str, ids: Sequence[str]) -> None:
    """PmdError for an empty id or one that is listed twice."""
    if isinstance(ids, Strings):
        import pyarrow.compute as pc

        if ids.rows.lengths.all() and pc.count_distinct(ids.arrow()).as_py() == len(ids):
            return
    index_ids(path, kind, ids)


def lengths_of(texts: Sequence[str]) -> np.ndarray:
    """A number (n,) for each text that is 0 if it is empty."""
    if isinstance(texts, Strings):
        return texts.rows.lengths
    return np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))


def refuse_header(path: Path, ids: Sequence[str], names: Sequence[str], used: Callable[[], Collection[str]]) -> None:
    """PmdError if the first row of an entity or relation file is a header: its words are usual ones, or that of the name is,
    and no triple mentions the id (`used` gives those that triples mention)."""
    if names[0].lower() in _NAME_HEADERS and (ids[0].lower().lstrip(":") in _ID_HEADERS or ids[0] not in used()):
        raise PmdError(f"{at(path, 0)}: a header ({ids[0]}, {names[0]}, …) where data starts; delete this line")


def write_columns(path: Path, columns: Sequence[Sequence[str]]) -> None:
    """Write rows, separated by tabs. PmdError for a value with a tab or a line break."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for index, row in enumerate(zip(*columns)):
            for value in row:
                if "\t" in value or "\n" in value or value.endswith("\r"):
                    raise PmdError(
                        f"{path.name}, line {index + 1}: {quote(value)} contains a tab or a line break; "
                        f"replace it with a blank before writing"
                    )
            file.write("\t".join(row) + "\n")

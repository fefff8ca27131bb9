"""Reading and writing the plain text files that graphs come in, with errors that point at the line.

There is no quoting and no escaping: rows end with a line feed and nothing else (`str.splitlines` would also
break at a U+2028 inside a description), columns are separated by tabs. A file may be gzipped. Whatever cannot
be used raises a PmdError of one line: file, line number, the value, and the way out.
"""

from __future__ import annotations

import difflib
import gzip
import shlex
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pmd.core.errors import PmdError

SPELLINGS = {
    "head": ("head", "head_id", "h", "subject", "subject_id", "subj", "s", "source", "src", "head_entity"),
    "relation": ("relation", "relation_id", "r", "rel", "predicate", "pred", "p", "relation_type", "edge"),
    "tail": ("tail", "tail_id", "t", "object", "object_id", "obj", "o", "target", "dst", "tail_entity"),
}
"""Names under which people store the three columns of a triple, the most likely first."""

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
}
_MANY = 100_000
_Vocabularies = tuple[tuple[str, dict[str, int]], ...]


def quote(value: str, limit: int = 60) -> str:
    """A value as it stands in a message: on one line and not endless."""
    return repr(value if len(value) <= limit else value[:limit] + "…")


def closest(value: str, known: Collection[str]) -> str:
    """The end of a message that proposes the most similar known value; empty if nothing is similar."""
    if len(known) > _MANY:  # difflib looks at one pair at a time: minutes for a million ids
        known = [other for other in known if other[:2] == value[:2] and abs(len(other) - len(value)) <= 2][:_MANY]
    best = difflib.get_close_matches(value, known, n=1, cutoff=0.6)
    return f" (did you mean {quote(best[0])}?)" if best else ""


def at(path: Path, index: int) -> str:
    """The place of a row, counted from 0, as the line that an editor shows."""
    return f"{path}, line {index + 1}"


def find_file(folder: Path, *names: str) -> Path | None:
    """The first of these files that the folder has, plain or with `.gz`."""
    for name in names:
        plain, zipped = folder / name, folder / f"{name}.gz"
        if plain.is_file() and zipped.is_file():
            raise PmdError(f"{folder}: has both {name} and {name}.gz; delete one of them")
        if plain.is_file() or zipped.is_file():
            return plain if plain.is_file() else zipped
    return None


def need_file(folder: Path, *names: str) -> Path:
    """Like `find_file`, but a folder without any of them raises PmdError and says what it has."""
    path = find_file(folder, *names)
    if path is None:
        found = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        listed = ", ".join(found[:12]) + (", …" if len(found) > 12 else "")
        raise PmdError(
            f"{folder}: no {' or '.join(names)} (plain or .gz); add it. The folder has {listed or 'no files'}"
        )
    return path


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file. Raises PmdError if it is empty, damaged, not UTF-8 or has CRLF line ends."""
    data = _read_bytes(path)
    if b"\r\n" in data:
        line = data.count(b"\n", 0, data.index(b"\r\n"))
        remedy = f"sed -i 's/\\r$//' {shlex.quote(str(path.with_suffix('') if path.suffix == '.gz' else path))}"
        unzip = "gunzip it, then " if path.suffix == ".gz" else ""
        raise PmdError(f"{at(path, line)}: ends with CRLF (Windows line ends); {unzip}run: {remedy}")
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start)
        raise PmdError(
            f"{at(path, line)}: not UTF-8 at byte offset {error.start} (byte 0x{data[error.start]:02x}); "
            f"convert the file, for example: iconv -f latin1 -t utf-8"
        ) from None
    if not text:
        raise PmdError(f"{path}: is empty; every file needs at least one line, without a header")
    return text.removesuffix("\n").split("\n")


def _read_bytes(path: Path) -> bytes:
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            return file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise PmdError(f"{path}: damaged gzip file ({error}); download or compress it again") from None
    except OSError as error:
        raise PmdError(f"{path}: cannot be read ({error.strerror}); check the path and its rights") from None


def read_columns(path: Path, names: Sequence[str]) -> list[list[str]]:
    """The columns of a file, one list each, row i being line i + 1; every line must have all of them."""
    lines = read_lines(path)
    for index, line in enumerate(lines):
        if line.count("\t") != len(names) - 1:
            raise PmdError(f"{at(path, index)}: {_wrong_columns(line, names)}")
    # One flat split: a small list for each of a million lines would cost several times as much.
    values = "\t".join(lines).split("\t")
    return [values[column :: len(names)] for column in range(len(names))]


def _wrong_columns(line: str, names: Sequence[str]) -> str:
    row = line.split("\t")
    needed = f"{len(names)} are needed ({', '.join(names)})"
    if row == [""]:
        return f"is blank, but {needed}, separated by tabs; delete the line"
    found = ", ".join(quote(value, 20) for value in row[:5]) + (", …" if len(row) > 5 else "")
    if len(row) > len(names):
        remedy = "remove what is too much, or tabs inside a text"
    elif len(row) == len(names) - 1 and names[-1] == "description":
        remedy = "end the line with a tab if there is no description"
    else:
        remedy = "add what is missing; columns are separated by a tab"
    return f"{len(row)} column{'s' * (len(row) != 1)} ({found}), but {needed}; {remedy}"


def index_ids(path: Path, kind: str, ids: Sequence[str]) -> dict[str, int]:
    """Position by id. Raises PmdError for an empty id or one that comes twice."""
    index = {key: position for position, key in enumerate(ids)}
    if "" in index:
        raise PmdError(f"{at(path, index[''])}: the {kind} id is empty; every {kind} needs one")
    if len(index) < len(ids):
        seen: dict[str, int] = {}
        for position, key in enumerate(ids):
            if key in seen:
                raise PmdError(
                    f"{at(path, position)}: {kind} id {quote(key)} is also on line {seen[key] + 1}; keep one"
                )
            seen[key] = position
    return index


def refuse_header(path: Path, ids: Sequence[str], names: Sequence[str]) -> None:
    """Raise PmdError where the first row of an entity or relation file is a header."""
    if ids[0].lower() in _ID_HEADERS and names[0].lower() in _NAME_HEADERS:
        raise PmdError(f"{at(path, 0)}: a header ({ids[0]}, {names[0]}, …) where data starts; delete this line")


def read_triples(path: Path) -> list[list[str]]:
    """The head, relation and tail ids of a triple file, three lists."""
    return read_columns(path, ("head", "relation", "tail"))


def encode_triples(path: Path, columns: list[list[str]], entities: dict[str, int], relations: dict[str, int]) -> Tensor:
    """Ids to positions: an int64 tensor (n, 3). Raises PmdError at the first id that is not known."""
    vocabularies = (("entity", entities), ("relation", relations), ("entity", entities))
    try:
        parts = [
            np.fromiter((known[key] for key in column), dtype=np.int64, count=len(column))
            for column, (_, known) in zip(columns, vocabularies)
        ]
    except KeyError:
        raise _unknown_id(path, columns, vocabularies) from None
    return torch.from_numpy(np.stack(parts, axis=1))


def _unknown_id(path: Path, columns: list[list[str]], vocabularies: _Vocabularies) -> PmdError:
    for index, row in enumerate(zip(*columns)):
        for part, value, (kind, known) in zip(SPELLINGS, row, vocabularies):
            if value in known:
                continue
            if index == 0 and all(word.lower() in SPELLINGS[place] for place, word in zip(SPELLINGS, row)):
                return PmdError(f"{at(path, 0)}: a header ({', '.join(row)}) where data starts; delete this line")
            place = "" if kind == part else f" as {part}"
            return PmdError(
                f"{at(path, index)}: unknown {kind} id {quote(value)}{place}{closest(value, known)}; "
                f"correct it, or add it to the {kind} file"
            )
    raise AssertionError("unreachable: every id is known")


def write_columns(path: Path, columns: Sequence[Sequence[str]]) -> None:
    """Write rows, tab-separated. Raises PmdError for a value that would break the format."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for index, row in enumerate(zip(*columns)):
            for value in row:
                if "\t" in value or "\n" in value or value.endswith("\r"):
                    raise PmdError(
                        f"{path.name}, line {index + 1}: {quote(value)} contains a tab or a line break; "
                        f"replace it by a blank before writing"
                    )
            file.write("\t".join(row) + "\n")

"""Reading a file of rows, whatever its ending, as columns of text: the readers are pyarrow's.

Tab-separated files have no quoting, as published triples and descriptions contain lone quotes; files separated by commas
or semicolons have.
Nothing becomes a number or a missing value: `00260881`, `nan` and `NA` stay text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pmd.core.errors import PmdError, not_utf8
from pmd.data.graphs.files.tsv import at, quote

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = (".txt", ".tsv", ".csv", ".sif", ".dict", ".jsonl", ".json", ".parquet")
PACKINGS = (".gz", ".zst", ".bz2")
_SAMPLE = 1 << 16
_QUOTED = (",", ";")
_SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", " ": "blank"}
_CONTENTS = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file", "fetch it with `git lfs pull`"),
    (b"\x1f\x8b", "is compressed by gzip", "add .gz to its name"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd", "add .zst to its name"),
    (b"BZh", "is compressed by bzip2", "add .bz2 to its name"),
    (b"PK\x03\x04", "is a zip archive", "unpack it"),
    (b"PAR1", "is a Parquet file", "give its name the ending .parquet"),
)
"""How files begin that hold no text, what they are, and the remedy."""
_STATEMENT = re.compile(r"\s*(<[^>\s]+>|_:\S+)\s+<[^>\s]+>\s.*\.\s*$")


def visible_files(folder: Path) -> list[Path]:
    """The files of a folder by name, without those that editors and systems hide, such as `._train.txt`."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def stem_of(path: Path) -> str | None:
    """The name of a file of rows without its endings, in lower case: `Train.tsv.gz` -> `train`. None for other files."""
    name = path.name.lower()
    for packing in PACKINGS:
        name = name.removesuffix(packing)
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), None)
    return name.removesuffix(ending) if ending and name != ending else None


def read_table(path: Path, encoded: bool = False, skip: int = 0) -> pa.Table:
    """The rows of a file as text; columns without a header, as all of the delimited files, are called 1, 2, 3, …

    Args:
        encoded: as dictionaries, which hold each value once: millions of triples repeat few ids.
        skip: leading lines to leave out.

    Raises:
        PmdError: for a file that is empty, damaged, not UTF-8, or has rows of different lengths.
    """
    import pyarrow as pa

    name = path.name.lower()
    for packing in PACKINGS:
        name = name.removesuffix(packing)
    try:
        with open_packed(path) as file:
            if name.endswith(".parquet"):
                table = as_text(_read_parquet(path, file), str(path))
            elif name.endswith((".jsonl", ".json")):
                table = as_text(_read_json(file), str(path))
            else:
                return _read_delimited(path, file, name.endswith(".csv"), encoded, skip)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:  # the last in the name of a column
        if isinstance(error, UnicodeDecodeError) or (isinstance(error, pa.ArrowInvalid) and "UTF8" in str(error)):
            raise _not_utf8(path, text=not name.endswith(".parquet")) from None
        packing = {".gz": "gzip ", ".zst": "zstd ", ".bz2": "bzip2 "}.get(path.suffix.lower(), "")
        raise PmdError(f"{path}: damaged {packing}file ({_one_line(error)}); download it again, or mend it") from None
    return encoded_table(table) if encoded else table


def first_lines(path: Path, number: int = 5) -> list[str]:
    """The first lines of a text file, without line ends. PmdError if it is not UTF-8."""
    with open_packed(path) as file:
        return _decoded(path, file.read(_SAMPLE)).splitlines()[:number]


def open_packed(path: Path) -> IO[bytes]:
    """A file's bytes, unpacked as its ending says."""
    import pyarrow as pa

    packing = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}.get(path.suffix.lower())
    return pa.CompressedInputStream(pa.OSFile(str(path)), packing) if packing else pa.OSFile(str(path))


def _read_parquet(path: Path, file: IO[bytes]) -> pa.Table:
    import pyarrow.parquet as parquet

    if path.suffix.lower() in PACKINGS:
        raise PmdError(f"{path}: a compressed Parquet file; unpack it first, Parquet compresses its columns itself")
    table = parquet.read_table(str(path))
    table.validate(full=True)
    return table


def _read_json(file: IO[bytes]) -> pa.Table:
    from pyarrow import json

    table = json.read_json(file)
    table.validate(full=True)  # which alone looks at the text's bytes
    return table


def _read_delimited(path: Path, file: IO[bytes], comma: bool, encoded: bool, skip: int) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    head = file.read(_SAMPLE)
    _refuse_other_contents(path, head)
    sample = _decoded(path, head)
    lines = sample.replace("\r\n", "\n").replace("\r", "\n").split("\n")[skip:]  # as pyarrow ends lines
    if not any(lines):
        raise PmdError(f"{path}: is empty; every file needs at least one line")
    if all(map(_STATEMENT.match, filter(None, lines[:20]))):
        raise PmdError(f"{path}: holds N-Triples; give its name the ending .nt")
    delimiter = _delimiter(lines[:20], comma)
    if delimiter == " " and any("  " in line.strip() for line in lines[:20]):
        raise PmdError(f"{at(path, skip)}: columns are separated by several blanks; separate them by one tab")
    first = next(csv_rows(lines, delimiter))
    names = [str(number + 1) for number in range(len(first))]
    text = pa.dictionary(pa.int32(), pa.string()) if encoded else pa.string()
    bad: list[Any] = []

    def refuse(row: Any) -> str:
        bad.append(row)
        return "error"

    source = pa.PythonFile(_Rejoined(head, file), mode="r")
    try:
        table = csv.read_csv(
            source,
            csv.ReadOptions(column_names=names, skip_rows=skip, use_threads=False, block_size=1 << 24),
            csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if delimiter in _QUOTED else False,
                newlines_in_values=delimiter in _QUOTED,
                ignore_empty_lines=False,
                invalid_row_handler=refuse,
            ),
            csv.ConvertOptions(column_types=dict.fromkeys(names, text), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        if bad:
            row = bad[0]
            place = at(path, skip + row.number - 1) if row.number else str(path)
            raise PmdError(
                f"{place}: {_count(row.actual_columns)} ({quote(row.text or '')}), but the first line has "
                f"{row.expected_columns}; mend the line: columns are separated by a {_SEPARATORS[delimiter]}"
            ) from None
        raise
    table = _without_blank_end(table.unify_dictionaries() if encoded else table)
    if not len(table):
        raise PmdError(f"{path}: is empty; every file needs at least one line")
    return _trimmed(table) if delimiter in _QUOTED else table


def _refuse_other_contents(path: Path, head: bytes) -> None:
    for start, contents, remedy in _CONTENTS:
        if head.startswith(start):
            raise PmdError(f"{path}: {contents}; {remedy}")


def _without_blank_end(table: pa.Table) -> pa.Table:
    """The rows before the blank lines at the end of a file."""
    rows = len(table)
    while rows and not any(column[rows - 1].as_py() for column in table.columns):
        rows -= 1
    return table.slice(0, rows)


def _trimmed(table: pa.Table) -> pa.Table:
    """The values without the blanks that people write after commas."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for number, column in enumerate(table.columns):
        is_encoded = pa.types.is_dictionary(column.type)
        values = column.chunk(0).dictionary if is_encoded else column
        if pc.any(pc.match_substring_regex(values, "^ | $")).as_py():
            column = pc.utf8_trim(column.cast(pa.string()), " ")
            column = column.dictionary_encode() if is_encoded else column
            table = table.set_column(number, table.column_names[number], column)
    return table


def _count(columns: int) -> str:
    return f"{columns} column{'s' * (columns != 1)}"


def csv_rows(lines: Sequence[str], delimiter: str) -> Any:
    """Rows of the first lines, split as pyarrow splits them."""
    import csv

    return csv.reader(
        (line.replace("\0", " ") for line in lines),  # which the reader of Python 3.10 refuses
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if delimiter in _QUOTED else csv.QUOTE_NONE,
    )


class _Rejoined:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self.head, self.rest, self.closed = head, rest, False

    def read(self, size: int = -1) -> bytes:
        if self.head:
            part = self.head if size < 0 else self.head[:size]
            self.head = self.head[len(part) :]
            return part + self.rest.read() if size < 0 else part
        return self.rest.read(size) if size >= 0 else self.rest.read()

    def close(self) -> None:
        self.closed = True


def _delimiter(lines: Sequence[str], comma: bool) -> str:
    """Tab, comma, semicolon or blank: what the file's ending says, or else what every one of the first lines has."""
    whole = [line for line in lines if line.strip()]
    if all("\t" in line for line in whole):
        return "\t"
    if all(line.count(",") >= 2 for line in whole):
        return ","
    if all(line.count(";") >= (1 if comma else 2) for line in whole) and not all("," in line for line in whole):
        return ";"  # spreadsheets write it where a comma marks decimals
    if comma:
        return ","
    return " " if all(line.strip().count(" ") >= 1 for line in whole) else "\t"


def _decoded(path: Path, data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PmdError(f"{path}: is UTF-16; convert it: iconv -f utf-16 -t utf-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(data) == _SAMPLE and error.start > _SAMPLE - 4:  # a character cut at the end of the sample
            return data[: error.start].decode("utf-8-sig")
        raise not_utf8(path, error) from None


def _not_utf8(path: Path, text: bool) -> PmdError:
    """The error about the first byte of a file that is not UTF-8; a file that is no text has no lines."""
    with open_packed(path) as file:
        for number, line in enumerate(io.BufferedReader(file) if text else ()):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return not_utf8(path, error, number)
    return PmdError(f"{path}: holds text that is not UTF-8; write the file anew from text that is")


def as_text(table: pa.Table, place: str) -> pa.Table:
    """A typed table as text, but for numbers with a point, whose text may not be the source's.

    Raises:
        PmdError: for a column, such as of lists or dates, that has no one spelling.
    """
    import pyarrow as pa

    columns = {}
    for name in table.column_names:
        kind = table.schema.field(name).type
        if not str(kind).startswith(
            ("string", "large_string", "dictionary", "int", "uint", "null", "bool", "float", "double")
        ):
            hint = " (JSON files lose the spelling of dates: use CSV or Parquet)" if "timestamp" in str(kind) else ""
            raise PmdError(f"{place}: column '{name}' holds {kind} values; store it as text{hint}")
        column = table.column(name)
        columns[name] = column if pa.types.is_floating(kind) else column.cast(pa.string()).fill_null("")
    return pa.table(columns)


def encoded_table(table: pa.Table) -> pa.Table:
    """A table of text as dictionaries; numbers stay."""
    columns = [column.dictionary_encode() if column.type == "string" else column for column in table.columns]
    return type(table).from_arrays(columns, names=table.column_names).unify_dictionaries()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

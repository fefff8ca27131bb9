"""Columns of a safetensors file, read where they are looked at: the texts of millions of entities take gigabytes, and an answer
names ten of them. They are written one after the other, too; the library puts all of them together in memory first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

_TYPES = {
    "I64": np.int64,
    "F64": np.float64,
    "F32": np.float32,
    "I32": np.int32,
    "F16": np.float16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
"""In the order in which the library writes columns of several types."""


def write_columns(file: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write the file that `safetensors.numpy.save_file` writes, byte for byte."""
    codes = {np.dtype(kind): code for code, kind in _TYPES.items()}
    order, header, end = [*codes], {}, 0
    names = sorted(columns, key=lambda name: (order.index(columns[name].dtype), name))
    for name in names:
        begin, end = end, end + columns[name].nbytes
        header[name] = {
            "dtype": codes[columns[name].dtype],
            "shape": columns[name].shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with open(file, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            out.write(memoryview(np.ascontiguousarray(columns[name])).cast("B") if columns[name].size else b"")


class MappedColumns(Mapping[str, np.ndarray]):
    """The columns of a file by name, memory-mapped. A file that another takes the place of can be read on."""

    def __init__(self, file: Path):
        self.file = file
        with open(file, "rb") as stored:
            self.start = 8 + int.from_bytes(stored.read(8), "little")
            self.header = json.loads(stored.read(self.start - 8))
        self.header.pop("__metadata__", None)
        self.bytes = np.memmap(file, np.uint8, "c")  # writing changes nothing on disk

    def __contains__(self, name: object) -> bool:
        return name in self.header

    def __iter__(self) -> Iterator[str]:
        return iter(self.header)

    def __len__(self) -> int:
        return len(self.header)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column. ValueError if the file ends before it."""
        about = self.header[name]
        begin, end = about["data_offsets"]
        part = np.asarray(self.bytes[self.start + begin : self.start + end])
        return part.view(_TYPES[about["dtype"]]).reshape(about["shape"])

"""Columns of a safetensors file, read where they are looked at: the texts of millions of entities take gigabytes, and an answer
names ten of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

_TYPES = {
    "I64": np.int64,
    "I32": np.int32,
    "I8": np.int8,
    "U8": np.uint8,
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BOOL": np.bool_,
}


class MappedColumns:
    """The columns of a file by name, memory-mapped. A file that another takes the place of can be read on."""

    def __init__(self, file: Path):
        self.file = file
        with open(file, "rb") as stored:
            self.start = 8 + int.from_bytes(stored.read(8), "little")
            self.header = json.loads(stored.read(self.start - 8))
        self.bytes = np.memmap(file, np.uint8, "c")  # writing changes nothing on disk

    def __contains__(self, name: str) -> bool:
        return name in self.header

    def __getitem__(self, name: str) -> np.ndarray:
        """A column. ValueError if the file ends before it."""
        about = self.header[name]
        begin, end = about["data_offsets"]
        part = np.asarray(self.bytes[self.start + begin : self.start + end])
        return part.view(_TYPES[about["dtype"]]).reshape(about["shape"])

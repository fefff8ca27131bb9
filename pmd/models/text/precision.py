"""Weights and entity vectors in fewer bits, in NumPy. The type of a stored array says how it is read; all are computed with in
single precision.

Weights in model.safetensors: `fp16` as they are; `int8` for matrices, each row with a factor under the name of the matrix and
`_scale` behind it, what is no matrix in fp32.

Entity vectors (n, d): an approximation is centre + scale · codes, with a scale for each row.

    fp32, fp16    the vectors themselves
    int8          codes from −127 to 127 (n, d); the centre is 0
    binary        signs, eight to a byte (n, ⌈d/8⌉); the centre is the mean of all vectors, and adds the same to all scores of a
                  query; the scale is the mean distance from it

Example: (0.6, −0.8) in int8 has the scale 0.8 / 127 and the codes (95, −127).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from pmd.settings.shrink import Encoders, Vectors

SCALE = "_scale"
LARGEST = 127
HALF_FROM = 1 << 29
"""Numbers in the vectors of all entities from which they are kept in fp16: 2 GB in fp32. What that costs is in docs/scale.md."""


@dataclass(frozen=True, eq=False)
class CodedVectors:
    """Entity vectors as they are stored: codes, and for `int8` and `binary` scales (n,) fp16 and a centre (d,) fp32."""

    codes: np.ndarray
    scales: np.ndarray | None = None
    centre: np.ndarray | None = None

    @property
    def decoded(self) -> np.ndarray:
        """The vectors (n, d) fp32 that they stand for."""
        if self.scales is None:
            return self.codes.astype(np.float32, copy=False)
        codes = self.codes
        if codes.dtype == np.uint8:
            codes = np.unpackbits(codes, axis=1, count=len(self.centre)).astype(np.float32) * 2 - 1
        return self.centre + self.scales.astype(np.float32)[:, None] * codes.astype(np.float32)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What stands beside the codes, by name; nothing for numbers that stand for themselves."""
        return {} if self.scales is None else {"scales": self.scales, "centre": self.centre}

    @property
    def nbytes(self) -> int:
        """The bytes that they take."""
        return self.codes.nbytes + sum(column.nbytes for column in self.columns.values())


def coded(vectors: np.ndarray, kind: Vectors) -> CodedVectors:
    """Vectors (n, d) in the codes of a kind."""
    if kind in ("fp32", "fp16"):
        return CodedVectors(vectors.astype(np.float32 if kind == "fp32" else np.float16, copy=False))
    if kind == "int8":
        codes, scales = _rows_as_int8(vectors, np.float16)
        return CodedVectors(codes, scales, np.zeros(vectors.shape[1], dtype=np.float32))
    centre = vectors.mean(0, dtype=np.float64).astype(np.float32)
    scales = np.abs(vectors - centre).mean(1).astype(np.float16)
    return CodedVectors(np.packbits(vectors > centre, axis=1), scales, centre)


def compressed(weights: Mapping[str, np.ndarray], precision: Encoders) -> dict[str, np.ndarray]:
    """Weights fp32 by name, as they are stored in a precision."""
    if precision == "fp32":
        return dict(weights)
    if precision == "fp16":
        return {name: array.astype(np.float16) for name, array in weights.items()}
    stored = {}
    for name, array in weights.items():
        stored[name] = array
        if array.ndim == 2:
            stored[name], stored[name + SCALE] = _rows_as_int8(array, np.float32)
    return stored


def stored_bytes(shapes: Sequence[tuple[int, ...]], precision: Encoders) -> int:
    """The bytes that `compressed` makes of weights of these shapes."""
    if precision != "int8":
        return sum(math.prod(shape) * (4 if precision == "fp32" else 2) for shape in shapes)
    return sum(math.prod(shape) + 4 * shape[0] if len(shape) == 2 else 4 * math.prod(shape) for shape in shapes)


def decompressed(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stored weights by name, in fp32."""
    weights = {}
    for name, array in stored.items():
        if not name.endswith(SCALE):
            scales = stored.get(name + SCALE)
            weights[name] = array.astype(np.float32, copy=False)
            if scales is not None:
                weights[name] *= scales[:, None]
    return weights


def read_weights(file: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """The weights in a file whose names begin with a prefix, in fp32, by the rest of their names."""
    with safe_open(file, "numpy") as stored:
        names = [name for name in stored.keys() if name.startswith(prefix)]  # noqa: SIM118  it is no dict
        return decompressed({name.removeprefix(prefix): stored.get_tensor(name) for name in names})


def write_coded(file: Path, vectors: CodedVectors, metadata: dict[str, str]) -> None:
    """Write entity vectors to a file, as `read_coded` reads them."""
    columns = {"entities": vectors.codes, **vectors.columns}
    save_file({name: np.ascontiguousarray(column) for name, column in columns.items()}, file, metadata)
    _sort_metadata(file)


def _sort_metadata(file: Path) -> None:
    """Put the metadata of a file of safetensors, whose order is another one in each process, in the order of the keys."""
    with open(file, "r+b") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        opened.seek(8)
        opened.write(written)


def read_coded(file: Path) -> tuple[CodedVectors, str | None]:
    """The entity vectors in a file, and the checksum of their graph."""
    with safe_open(file, "numpy") as stored:
        names = ("entities", "scales", "centre")
        columns: list[Any] = [stored.get_tensor(name) if name in stored.keys() else None for name in names]  # noqa: SIM118
        return CodedVectors(*columns), (stored.metadata() or {}).get("graph")


def _rows_as_int8(array: np.ndarray, scale_type: type) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n, d) from −127 to 127, and the factor (n,) of each row, as it is stored."""
    smallest = np.finfo(scale_type).tiny
    scales = np.maximum(np.abs(array).max(1) / LARGEST, smallest).astype(scale_type)
    codes = np.rint(array / scales.astype(np.float32)[:, None])
    return np.clip(codes, -LARGEST, LARGEST).astype(np.int8), scales

"""Rows of different lengths in one flat array, so that texts are put together without a Python loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK = 8192
"""Rows that are copied at a time: the positions of their items take several times the memory of the items."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """Row i is `flat[offsets[i] : offsets[i + 1]]`; the rows (1, 2) and (3) are flat 1 2 3 with offsets 0 2 3. An item may be
    an array: flat is (items, …)."""

    flat: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Row lengths (n,)."""
        return np.diff(self.offsets)

    @property
    def columns(self) -> list[np.ndarray]:
        """The arrays that make up all rows."""
        return [self.flat, self.offsets]

    @classmethod
    def from_lengths(cls, flat: np.ndarray, lengths: np.ndarray) -> Ragged:
        return cls(flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    @classmethod
    def from_rows(cls, rows: list[list[int]]) -> Ragged:
        flat = np.fromiter((item for row in rows for item in row), dtype=np.int32)
        return cls.from_lengths(flat, np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows)))

    def take(self, rows: np.ndarray, longest: np.ndarray | int | None = None) -> Ragged:
        """These rows in this order, each cut after its first `longest` items."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        if longest is not None:
            lengths = np.minimum(lengths, longest)
        taken = Ragged.from_lengths(np.empty((lengths.sum(), *self.flat.shape[1:]), dtype=self.flat.dtype), lengths)
        for part in row_blocks(len(rows)):
            starts = taken.offsets[:-1][part]
            within = np.arange(starts[0], taken.offsets[part.stop]) - np.repeat(starts, lengths[part])
            positions = np.repeat(self.offsets[rows[part]], lengths[part]) + within
            taken.flat[starts[0] : taken.offsets[part.stop]] = self.flat[positions]
        return taken

    def join(self, pieces: Ragged) -> Ragged:
        """Row i of the result is the rows of `self` that `pieces[i]` lists, one after the other."""
        taken = self.take(pieces.flat)
        return Ragged(taken.flat, taken.offsets[pieces.offsets])

    @classmethod
    def stack(cls, parts: list[Ragged]) -> Ragged:
        """The rows of several, one after the other."""
        return cls.from_lengths(np.concatenate([p.flat for p in parts]), np.concatenate([p.lengths for p in parts]))


def row_blocks(rows: int) -> Iterator[slice]:
    """Slices of at most `BLOCK` of so many rows."""
    return (slice(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK))

"""Millions of texts in two arrays: a Python string takes fifty bytes beside its own, and a list of them is slow to make."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from pmd.data.texts.ragged import Ragged, row_blocks

if TYPE_CHECKING:
    import pyarrow as pa


class Strings(Sequence[str]):
    """A sequence of texts, stored as the rows of one array of UTF-8 bytes."""

    def __init__(self, rows: Ragged):
        self.rows = rows

    @classmethod
    def of(cls, texts: Sequence[str]) -> Strings:
        """The same texts in this form."""
        if isinstance(texts, Strings):
            return texts
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        return cls(Ragged.from_lengths(np.frombuffer(b"".join(encoded), dtype=np.uint8), lengths))

    @classmethod
    def of_arrow(cls, texts: pa.Array) -> Strings:
        """The texts of an Arrow column, which has no missing values."""
        texts = texts.cast("large_string")
        _, offsets, flat = texts.buffers()
        offsets = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        return cls(Ragged(np.frombuffer(flat or b"", np.uint8), offsets))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> list[str]: ...

    def __getitem__(self, row):
        if isinstance(row, slice):
            start, stop, step = row.indices(len(self))
            return self._block(start, stop) if step == 1 else [self[i] for i in range(start, stop, step)]
        if not -len(self) <= row < len(self):
            raise IndexError(f"text {row} of {len(self)}")
        return self.rows[row % len(self)].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        for part in row_blocks(len(self)):
            yield from self[part]

    def __eq__(self, other: object) -> bool:
        """Whether another sequence, a list too, has the same texts."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None

    def _block(self, start: int, stop: int) -> list[str]:
        ends = self.rows.offsets[start : max(start, stop) + 1].tolist()
        whole = self.rows.flat[ends[0] : ends[-1]].tobytes()
        return [whole[begin - ends[0] : end - ends[0]].decode() for begin, end in itertools.pairwise(ends)]

    def take(self, rows: np.ndarray) -> Strings:
        """The texts of these rows, in this order."""
        return Strings(self.rows.take(rows))

    def replaced(self, rows: np.ndarray, texts: Sequence[str]) -> Strings:
        """The same texts but for those of some rows (m,), which others (m,) take the place of."""
        order = np.arange(len(self))
        order[rows] = len(self) + np.arange(len(rows))
        return Strings(Ragged.stack([self.rows, Strings.of(texts).rows]).take(order))

    def rows_like(self, folded: str, score: float) -> list[int]:
        """The rows of all texts whose similarity to a folded text (`rapidfuzz.fuzz.ratio`) may reach a score: others have too few
        of its letters, or too many besides. It is decided without reading any text.

        2 m / (a + b) is the similarity of a and b characters, of which m are common in this order. Of a text in ASCII m is at
        most the number of its bytes that are letters of the other, and all blanks of that one; and b at least the number of
        bytes that are no blanks, several of which may be folded into one. Any other text may be like it.
        """
        counted = np.zeros((3, 256), dtype=bool)  # of each byte: a letter of the other, no blank, not in ASCII
        letters = {
            ord(case) for letter in folded for case in (letter, letter.upper()) if len(case) == 1 and case.isascii()
        }
        counted[1] = [not chr(byte).isspace() and chr(byte) != "_" for byte in range(256)]
        counted[0, [*letters]] = True
        counted[0] &= counted[1]
        counted[2, 128:] = True
        length, blanks = len(folded), folded.count(" ")
        rows = []
        for part in row_blocks(len(self)):
            offsets = self.rows.offsets[part.start : part.stop + 1]
            flat = self.rows.flat[offsets[0] : offsets[-1]]
            shared, solid, other = (
                np.diff(np.concatenate([[0], np.cumsum(kind[flat])])[offsets - offsets[0]]) for kind in counted
            )
            common = np.minimum(shared, length - blanks) + blanks
            like = 200 * common >= score * (length + solid) - 1e-6
            rows += (part.start + np.flatnonzero(like | (other > 0))).tolist()
        return rows

    def arrow(self) -> pa.LargeStringArray:
        """The same arrays as an Arrow column."""
        import pyarrow as pa

        offsets = np.ascontiguousarray(self.rows.offsets, dtype=np.int64)
        return pa.LargeStringArray.from_buffers(len(self), pa.py_buffer(offsets), pa.py_buffer(self.rows.flat))


class GrowingStrings:
    """Texts that are added block by block, in one array that grows: at no time are all of them there twice."""

    def __init__(self) -> None:
        self.flat, self.lengths = bytearray(), [np.zeros(0, dtype=np.int64)]

    def add(self, texts: Sequence[str]) -> None:
        encoded = [text.encode() for text in texts]
        self.flat += b"".join(encoded)
        self.lengths.append(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))

    def whole(self) -> Strings:
        return Strings(Ragged.from_lengths(np.frombuffer(self.flat, np.uint8), np.concatenate(self.lengths)))


class Composed(Sequence[str]):
    """Texts that are made of other columns when they are read.

    Args:
        columns: sequences of the same length.
        text: of a value of each column.
    """

    def __init__(self, text: Callable[..., str], *columns: Sequence[str]):
        self.text, self.columns = text, columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, row):
        parts = (column[row] for column in self.columns)
        return [*map(self.text, *parts)] if isinstance(row, slice) else self.text(*parts)

    def __iter__(self) -> Iterator[str]:
        for part in row_blocks(len(self)):
            yield from self[part]

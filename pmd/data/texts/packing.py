"""Several texts in a row: a batch without most of the padding that different lengths need.

In: a padded batch of texts. Out: fewer rows, whose texts do not see each other: positions start again with each text, and a
token attends only to its own text. So a BERT computes for every text what it computes for it alone, except for dropout.

Example: texts of 4, 3 and 1 tokens take 12 places padded, and 8 as two rows of 4, [a a a a] and [b b b c].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pmd.core.types import moved
from pmd.data.texts.batches import Chunk

ROW_LENGTHS = (1, 1.25, 1.5, 1.75, 2)
"""Lengths of rows that are tried, in lengths of the longest text: longer rows waste less room, but attention costs more."""

ATTENTION_LENGTH = 700
"""Tokens in a row for which attention takes as long as the linear layers: about right for a 6-layer MiniLM on a CPU."""


@dataclass(frozen=True, eq=False)
class Packed:
    """b texts in r <= b rows of L tokens.

    `input_ids`, `token_type_ids` and `position_ids` (r, L); `text` (r, L), the number of each token's text, from 1, or 0 for
    padding; `first_tokens` (2, b), row and column of every text's first token, in the order of the padded batch.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    text: Tensor
    first_tokens: Tensor

    def to(self, device: torch.device) -> Packed:
        return moved(self, device)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The arguments of a BERT. The mask (r, 1, L, L) is true where two tokens see each other. Padding sees padding, since a
        softmax over nothing is undefined."""
        mask = self.text[:, None, :, None] == self.text[:, None, None, :]
        names = ("input_ids", "token_type_ids", "position_ids")
        return {**{name: getattr(self, name) for name in names}, "attention_mask": mask}


def pack(texts: Chunk) -> Packed:
    """Pack a chunk on the CPU at the least cost; best if its texts are sorted by falling length."""
    real = texts.attention_mask.numpy().astype(bool)
    lengths = real.sum(1)
    sizes = sorted({math.ceil(times * lengths.max()) for times in ROW_LENGTHS})
    packings = ((*first_fit(lengths, size), size) for size in sizes)
    rows, columns, size = min(packings, key=lambda packing: cost(packing[0], packing[2]))
    positions = np.nonzero(real)[1]  # of every token in its text
    flat_index = np.repeat(rows * size + columns, lengths) + positions

    def packed(values: np.ndarray) -> Tensor:
        table = np.zeros((rows.max() + 1, size), dtype=np.int64)
        table.flat[flat_index] = values
        return torch.from_numpy(table)

    return Packed(
        packed(texts.input_ids.numpy()[real]),
        packed(texts.token_type_ids.numpy()[real]),
        packed(positions),
        packed(np.repeat(np.arange(1, len(lengths) + 1), lengths)),
        torch.from_numpy(np.stack([rows, columns])),
    )


def first_fit(lengths: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (n,) where each of n texts, none longer than `room`, begins: in the first row that has room for it."""
    used, rows = np.zeros(len(lengths), dtype=np.int64), np.zeros(len(lengths), dtype=np.int64)
    columns = np.zeros_like(rows)
    for i, length in enumerate(lengths):  # each depends on those before it
        rows[i] = np.argmax(used + length <= room)
        columns[i] = used[rows[i]]
        used[rows[i]] += length
    return rows, columns


def cost(rows: np.ndarray, size: int) -> float:
    """The time, in tokens of the linear layers, to encode n texts in rows (n,) of a size."""
    return (rows.max() + 1) * size * (1 + size / ATTENTION_LENGTH)

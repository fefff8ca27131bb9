"""Several texts in a row: a batch without the padding that different lengths bring.

A padded batch of texts goes in; fewer rows come out, whose texts do not see each other: positions begin anew with each text,
and a token attends to those of its own text. So a BERT says of every text what it says of it alone, but for dropout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from pmd.data.texts.batches import Chunk

LONGER = (1, 1.25, 1.5, 1.75, 2)
"""Rows so many times as long as the longest text are tried: in longer rows less room is left over, but attention costs more."""

ATTENTION = 700
"""In rows of so many tokens attention takes as long as all linear layers: about that for a 6-layer MiniLM on a CPU."""


@dataclass(frozen=True, eq=False)
class Packed:
    """b texts in r <= b rows of L tokens.

    `input_ids`, `token_type_ids`, `position_ids` and `owner` (r, L), which numbers the texts from 1, 0 for padding;
    `first` (2, b), row and column of every text's first token, in the order of the padded batch.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    owner: Tensor
    first: Tensor

    def to(self, device: torch.device) -> Packed:
        return Packed(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What a BERT takes. The mask (r, 1, L, L) says which tokens see each other; those of padding do, for a token
        that sees nothing would have no attention to share out."""
        mask = self.owner[:, None, :, None] == self.owner[:, None, None, :]
        names = ("input_ids", "token_type_ids", "position_ids")
        return {**{name: getattr(self, name) for name in names}, "attention_mask": mask}


def pack(texts: Chunk) -> Packed:
    """A chunk on the CPU in as few tokens as pays; the fewest if its texts are sorted by falling length."""
    real = texts.attention_mask.numpy().astype(bool)
    lengths = real.sum(1)
    sizes = sorted({math.ceil(times * lengths.max()) for times in LONGER})
    rows, columns, size = min(((*first_fit(lengths, size), size) for size in sizes), key=lambda of: cost(of[0], of[2]))
    within = np.nonzero(real)[1]  # the position of every token in its text
    places = np.repeat(rows * size + columns, lengths) + within
    shape = (rows.max() + 1, size)

    def placed(values: np.ndarray) -> Tensor:
        filled = np.zeros(shape, dtype=np.int64)
        filled.flat[places] = values
        return torch.from_numpy(filled)

    return Packed(
        placed(texts.input_ids.numpy()[real]),
        placed(texts.token_type_ids.numpy()[real]),
        placed(within),
        placed(np.repeat(np.arange(1, len(lengths) + 1), lengths)),
        torch.from_numpy(np.stack([rows, columns])),
    )


def first_fit(lengths: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (n,) where each of n texts, none longer than `room`, begins: in the first row with room left for it."""
    used, rows = np.zeros(len(lengths), dtype=np.int64), np.zeros(len(lengths), dtype=np.int64)
    columns = np.zeros_like(rows)
    for i, length in enumerate(lengths):  # each depends on those before it
        rows[i] = np.argmax(used + length <= room)
        columns[i] = used[rows[i]]
        used[rows[i]] += length
    return rows, columns


def cost(rows: np.ndarray, size: int) -> float:
    """What it costs to read texts that lie in these rows (n,) of a size, in tokens."""
    return (rows.max() + 1) * size * (1 + size / ATTENTION)

"""Counting, width by width, how many candidates are ahead of a true answer and which are too near to tell."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

NONE_NEAR = torch.empty(0, dtype=torch.long)


class RankCounter:
    """Counts for n widths, in tables of margins (b, c), the candidates that are ahead and those that are not behind.

    A candidate whose margin is at most the slack away from 0 is *near*: it is counted as not behind, not as ahead, and
    noted, so that `near` can tell which they are.

    Example, one row, slack 0.5, margins (2, 0.1, −1, −0.3, −4, −4, −4, −4): one is ahead, three are not behind, and
    columns 1 and 3 are near.

    On a CPU, eight marks of one byte are read as one 64-bit word, and words are added instead of marks. The marks of 16
    candidates 1 1 1 0 0 0 0 0 and 1 0 0 0 0 0 0 1 add up, byte by byte, to 2 1 1 0 0 0 0 1, and these bytes to 5. A byte
    counts to 255, so c is at most 8 · 255; on any device it is a multiple of eight.
    """

    def __init__(self, n: int, b: int, c: int, device: torch.device):
        self.on_cpu = device.type == "cpu"
        # Ahead, and not behind; used for every width anew.
        self.marks = torch.empty(2, b, c, dtype=torch.bool, device=device)
        self.words = self.marks.view(torch.int64)
        self.sums = torch.empty(2, n, b, dtype=torch.int64, device=device)
        if self.on_cpu:  # NumPy's views of the same memory: both marks as bytes, then both as words
            self.flat = (*self.marks.view(2, -1).numpy(), *self.words.view(2, -1).numpy())
        # For each width, where candidates are near: places in the flat table, or on a CPU words, and which of their bytes.
        self.near_places: list[np.ndarray | Tensor] = []
        self.near_bytes: list[np.ndarray] = []

    def count_all(self, margins_by_width: Iterable[tuple[Tensor, float]]) -> Tensor:
        """Count anew, from the margins and the slack of each width; returns the margins of the last."""
        self.near_places, self.near_bytes = [], []
        for margins, slack in margins_by_width:
            self._count(margins, slack)
        return margins

    def _count(self, margins: Tensor, slack: float) -> None:
        i = len(self.near_places)
        if not self.on_cpu:
            ahead, not_behind = self.marks
            torch.gt(margins, slack, out=ahead)
            torch.ge(margins, -slack, out=not_behind)
            torch.sum(self.marks, 2, out=self.sums[:, i])
            self.near_places.append((ahead != not_behind).view(-1).nonzero().squeeze(1) if slack else NONE_NEAR)
            return
        # NumPy compares several times faster than PyTorch, and fastest with a number of the table's own type.
        ahead, not_behind, ahead_words, not_behind_words = self.flat
        flat_margins = margins.view(-1).numpy()
        bound = flat_margins.dtype.type(slack)
        np.greater(flat_margins, bound, out=ahead)
        np.greater_equal(flat_margins, -bound, out=not_behind)
        torch.sum(self.words, 2, out=self.sums[:, i])
        near = np.flatnonzero(ahead_words != not_behind_words) if slack else NONE_NEAR.numpy()
        self.near_places.append(near)
        # Who is ahead is not behind either, so the exclusive or has a byte 1 where only the latter is marked: the near ones.
        self.near_bytes.append(ahead_words[near] ^ not_behind_words[near])

    def counts(self) -> Tensor:
        """(2, n, b) integers: how many candidates are ahead, and how many are not behind."""
        return self.sums.view(torch.uint8).unflatten(-1, (-1, 8)).sum(-1) if self.on_cpu else self.sums

    def num_near(self) -> int:
        """How many candidates are near, over all rows and widths."""
        if self.on_cpu:
            return sum(np.count_nonzero(marks.view(bool)) for marks in self.near_bytes)
        return sum(map(len, self.near_places))

    def near(self) -> tuple[Tensor, Tensor, Tensor]:
        """The near candidates: position of the width (ascending), row and column, (m,) each."""
        counts = torch.tensor([len(places) for places in self.near_places])
        width = torch.arange(len(counts)).repeat_interleave(counts)
        if self.on_cpu:
            # A word is eight bytes, each 0 or 1: as truth values, eight columns for each word.
            word, byte = np.concatenate(self.near_bytes).view(bool).reshape(-1, 8).nonzero()
            width, place = width[word], torch.from_numpy(np.concatenate(self.near_places)[word] * 8 + byte)
        else:
            width, place = width.to(self.marks.device), torch.cat(self.near_places)
        return width, place // self.marks.shape[2], place % self.marks.shape[2]

"""Counting who is ahead and who is near, over the scores of a block of candidates, width by width."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

NO_PLACES = torch.empty(0, dtype=torch.long)


class Tally:
    """Counts, for each of n widths, in rows of b scores: how many of c candidates are ahead, and how many not behind.

    c is a multiple of eight.
    """

    def __init__(self, n: int, b: int, c: int, device: torch.device):
        self.on_cpu = device.type == "cpu"
        self.marks = torch.empty(2, b, c, dtype=torch.bool, device=device)  # used for one width after the other
        self.eights = self.marks.view(torch.int64)
        self.sums = torch.empty(2, n, b, dtype=torch.int64, device=device)
        if self.on_cpu:
            self.flat = (*self.marks.view(2, -1).numpy(), *self.eights.view(2, -1).numpy())
        self.places: list[np.ndarray | Tensor] = []  # where differences are near zero; on a CPU by eights,
        self.lanes: list[np.ndarray] = []  # and which of them

    def num_near(self) -> int:
        """How many differences are within the slack."""
        return (
            sum(np.count_nonzero(lanes.view(bool)) for lanes in self.lanes)
            if self.on_cpu
            else sum(map(len, self.places))
        )

    def count_all(self, widths: Iterable[tuple[Tensor, float]]) -> Tensor:
        """Count anew, from differences and slack of each width as `count` takes them; the last differences."""
        self.places, self.lanes = [], []
        for ahead, slack in widths:
            self.count(ahead, slack)
        return ahead

    def count(self, ahead: Tensor, slack: float) -> None:
        """The next width: candidates that are ahead (b, c) by more than `slack`, and by no less than −`slack`."""
        i = len(self.places)
        if not self.on_cpu:
            above, not_below = self.marks
            torch.gt(ahead, slack, out=above)
            torch.ge(ahead, -slack, out=not_below)
            torch.sum(self.marks, 2, out=self.sums[:, i])
            self.places.append((above != not_below).view(-1).nonzero().squeeze(1) if slack else NO_PLACES)
            return
        # NumPy compares several times faster, fastest with one number; eight bytes are added as one.
        above, not_below, eights_above, eights_not_below = self.flat
        scores = ahead.view(-1).numpy()
        bound = scores.dtype.type(slack)
        np.greater(scores, bound, out=above)
        np.greater_equal(scores, -bound, out=not_below)
        torch.sum(self.eights, 2, out=self.sums[:, i])
        found = np.flatnonzero(eights_above != eights_not_below) if slack else NO_PLACES.numpy()
        self.places.append(found)
        self.lanes.append(eights_above[found] ^ eights_not_below[found])

    def counts(self) -> Tensor:
        """(2, n, b)"""
        return self.sums.view(torch.uint8).unflatten(-1, (-1, 8)).sum(-1) if self.on_cpu else self.sums

    def near(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the differences within the slack: place of the width, increasing, row and column, (m,) each."""
        width = torch.arange(len(self.places)).repeat_interleave(torch.tensor([len(found) for found in self.places]))
        if self.on_cpu:
            eight, lane = np.concatenate(self.lanes).view(bool).reshape(-1, 8).nonzero()
            width, place = width[eight], torch.from_numpy(np.concatenate(self.places)[eight] * 8 + lane)
        else:
            width, place = width.to(self.marks.device), torch.cat(self.places)
        return width, place // self.marks.shape[2], place % self.marks.shape[2]

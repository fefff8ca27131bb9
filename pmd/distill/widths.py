"""What objectives of croppable models share, embeddings and BERTs: the widths of a step, and MED's learned weights.

Zhu et al., ACL 2025: w1 and w2 weigh true triples and negatives (Eq. 3-4), w3 the loss of a width (Eq. 6).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pmd.core.distributed import broadcast_first
from pmd.core.types import LossTerms, Objective
from pmd.settings.med import MedConfig

Positions = list[int] | slice
"""Positions, among the model's widths, of the sub-models that learn in a step."""


class CroppableObjective(Objective):
    """An objective of several widths.

    Args:
        widths: of the model, narrowest first.
        med: what is learned together, every choice made.
        evolutionary: whether w1 and w2 are used.
    """

    def __init__(self, widths: Sequence[int], med: MedConfig, evolutionary: bool):
        super().__init__()
        self.widths, self.med, self.evolutionary = list(widths), med, evolutionary
        share = torch.tensor(self.widths, dtype=torch.float) / self.widths[-1]  # (n,) of the widest
        self.register_buffer("share", share, persistent=False)
        # A weight that no term reads gets no gradient, and processes that share gradients would wait for it.
        used = {"w1": evolutionary, "w2": evolutionary, "w3": med.dynamic}
        self.learned = [name for name in used if med.learned and used[name]]
        for name in used:
            start = torch.tensor(float(getattr(med, name)))
            self.register_parameter(name, nn.Parameter(start, requires_grad=name in self.learned))
        if med.weight_lr is not None:
            self.rates = dict.fromkeys(self.learned, med.weight_lr)

    def draw_widths(self) -> tuple[Positions, list[int]]:
        """The sub-models of this step, as positions and as widths, the same in all processes.

        All of them, or `draw` drawn anew, among them always the widest, without which a step would not train the last
        dimensions.
        """
        n = len(self.widths)
        if not self.med.draw or self.med.draw >= n:
            return slice(None), self.widths
        others = broadcast_first(torch.randperm(n - 1), self.share.device)[: self.med.draw - 1]
        positions = [*others.sort().values.tolist(), n - 1]
        return positions, [self.widths[i] for i in positions]

    def mean_over_widths(self, losses: Tensor, positions: Positions) -> Tensor:
        """The mean of the losses (n,) of some widths, each times exp(w3 · width / widest) with `dynamic` (Eq. 6)."""
        return (losses * (self.w3 * self.share[positions]).exp() if self.med.dynamic else losses).mean()

    def taught_pairs(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The scores (n - 1, …) of all sub-models but the widest, and those of their teachers, which get no gradient: each
        is taught by the next wider one or by the widest."""
        teachers = scores[1:] if self.med.teacher == "next" else scores[-1:].expand_as(scores[1:])
        return scores[:-1], teachers.detach()

    def learned_weights(self) -> LossTerms:
        """The learned ones of w1, w2 and w3, to be logged: each can lower the loss by making its own task easy."""
        return {name: getattr(self, name) for name in self.learned}

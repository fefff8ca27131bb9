"""What objectives of croppable models share, be they embeddings or BERTs: the widths of a step, and MED's weights.

Zhu et al., ACL 2025: w1 and w2 of the weights of true triples and negatives (Eq. 3-4), w3 of a width's loss (Eq. 6).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pmd.core.distributed import broadcast_first
from pmd.core.types import LossTerms, Objective
from pmd.settings.med import MedConfig

Positions = list[int] | slice
"""Of the sub-models that learn in a step."""


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
        share = torch.tensor(self.widths, dtype=torch.float) / self.widths[-1]  # (n,)
        self.register_buffer("share", share, persistent=False)
        # What no term reads is not learned: processes that share gradients would wait for it.
        used = {"w1": evolutionary, "w2": evolutionary, "w3": med.dynamic}
        self.learned = [name for name in used if med.learned and used[name]]
        for name in used:
            start = torch.tensor(float(getattr(med, name)))
            self.register_parameter(name, nn.Parameter(start, requires_grad=name in self.learned))

    def drawn(self) -> tuple[Positions, list[int]]:
        """The sub-models of this step, as positions and widths: all, or so many drawn anew, the widest always among
        them. Without the widest a step would leave the last dimensions as they are. All processes have the same."""
        n = len(self.widths)
        if not self.med.draw or self.med.draw >= n:
            return slice(None), self.widths
        others = broadcast_first(torch.randperm(n - 1), self.share.device)[: self.med.draw - 1]
        chosen = [*others.sort().values.tolist(), n - 1]
        return chosen, [self.widths[i] for i in chosen]

    def weighted(self, hard: Tensor, chosen: Positions) -> Tensor:
        """The losses (n,) of the chosen widths -> their mean, with `dynamic` each exp(w3 · width / widest) times."""
        return (hard * (self.w3 * self.share[chosen]).exp() if self.med.dynamic else hard).mean()

    def learned_weights(self) -> LossTerms:
        """Logged beside the terms: each can make its own task easy."""
        return {name: getattr(self, name) for name in self.learned}

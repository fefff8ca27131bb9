"""A frozen teacher: in eval mode, without gradients, and no part of what is trained, saved or counted."""

from __future__ import annotations

import torch
from torch import nn


class Frozen:
    """Holds a model outside the module tree of its objective.

    So `train()` does not turn on its dropout, data parallelism does not copy it, and checkpoints of the student
    do not contain it.
    """

    def __init__(self, model: nn.Module, device: torch.device | str = "cpu"):
        self.model = model.eval().requires_grad_(False).to(device)

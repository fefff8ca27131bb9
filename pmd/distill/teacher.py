"""A frozen teacher: in eval mode, without gradients, and no part of what is trained, saved or counted; a bridge to it."""

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


def bridge(student: int, teacher: int, trained: bool = True) -> nn.Module:
    """From the student's width to the teacher's, where the two are compared: learned, and thrown away after training.

    A layer that no term reads is not `trained`: it gets no gradient, and processes that share gradients would wait for it.
    """
    return nn.Identity() if student == teacher else nn.Linear(student, teacher, bias=False).requires_grad_(trained)

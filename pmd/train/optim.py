"""AdamW with linear warm-up and decay."""

from __future__ import annotations

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def adamw(module: nn.Module, lr: float, weight_decay: float) -> AdamW:
    """AdamW over what is trainable; matrices decay, biases, norms and scalars do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=lr)


def linear_schedule(optimizer: AdamW, warmup: int, steps: int) -> LambdaLR:
    """Up from 0 to the peak in `warmup` steps, then down to 0 at `steps`."""

    def factor(step: int) -> float:
        return (step + 1) / (warmup + 1) if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))

    return LambdaLR(optimizer, factor)

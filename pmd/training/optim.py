"""Optimisers by name, and the schedule of their learning rate."""

from __future__ import annotations

from torch import nn
from torch.optim import Adagrad, Adam, AdamW, Optimizer, SparseAdam
from torch.optim.lr_scheduler import LambdaLR


def optimizer_for(name: str, module: nn.Module, lr: float, weight_decay: float = 0.0) -> Optimizer:
    """`adamw`, `adam`, `adagrad` or `sparse_adam` over what is trainable.

    Weights decay with AdamW alone: matrices do, biases, norms and scalars do not. SparseAdam needs tables
    with sparse gradients, and moves only the rows that a batch has read.
    """
    # Fused (all that can be): one pass over a table, its gradient and its moments in place of a dozen.
    trained = [p for p in module.parameters() if p.requires_grad]
    if name == "adamw":
        groups = [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
            {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return AdamW([group for group in groups if group["params"]], lr=lr, fused=True)
    kinds = {
        "adam": lambda: Adam(trained, lr=lr, fused=True),
        "adagrad": lambda: Adagrad(trained, lr=lr),
        "sparse_adam": lambda: SparseAdam(trained, lr=lr),
    }
    return kinds[name]()


def schedule_for(name: str, optimizer: Optimizer, warmup: int, steps: int) -> LambdaLR:
    """Up from 0 to the peak in `warmup` steps, then down to 0 at `steps` (`linear`) or level (`constant`)."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 1.0 if name == "constant" else max(0.0, (steps - step) / max(1, steps - warmup))

    return LambdaLR(optimizer, factor)

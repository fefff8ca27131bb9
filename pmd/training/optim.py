"""Optimisers by name, and the schedule of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.optim import Adagrad, Adam, AdamW, Optimizer, SparseAdam
from torch.optim.lr_scheduler import LambdaLR


def optimizer_for(
    name: str, module: nn.Module, lr: float, weight_decay: float = 0.0, rates: Mapping[str, float] | None = None
) -> Optimizer:
    """`adamw`, `adam`, `adagrad` or `sparse_adam` for the trainable parameters; `rates` are those of the parameters, by
    name, that have one of their own, and do not decay.

    Only AdamW decays weights: those of matrices, not biases, norms and scalars. SparseAdam needs tables with sparse
    gradients, and updates only the rows that a batch has read.
    """
    # Fused where possible: one pass over a table, its gradient and its moments instead of a dozen.
    rates = rates or {}
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    parameters = [p for name, p in trained.items() if name not in rates]
    own = [{"params": [trained[name]], "lr": rate, "weight_decay": 0.0} for name, rate in rates.items()]
    if name == "adamw":
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return AdamW([group for group in [*groups, *own] if group["params"]], lr=lr, fused=True)
    groups = [{"params": parameters}, *own]
    makers = {
        "adam": lambda: Adam(groups, lr=lr, fused=True),
        "adagrad": lambda: Adagrad(groups, lr=lr),
        "sparse_adam": lambda: SparseAdam(parameters, lr=lr),
    }
    return makers[name]()


def schedule_for(name: str, optimizer: Optimizer, warmup: int, steps: int) -> LambdaLR:
    """Rises from 0 to the peak in `warmup` steps, then falls to 0 at `steps` (`linear`) or stays (`constant`)."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 1.0 if name == "constant" else max(0.0, (steps - step) / max(1, steps - warmup))

    return LambdaLR(optimizer, factor)

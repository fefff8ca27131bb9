"""How strongly each term of a loss pulls at the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from pmd.core.types import LossTerms


def gradient_norms(
    weights: Mapping[str, float], terms: LossTerms, parameters: Sequence[Tensor], accelerator: Accelerator
) -> dict[str, float]:
    """The norm, over all parameters, of the gradient of each weighted term, as `grad_` and the term's name.

    The graph and the parameters' own gradients stay as they are. Data parallelism averages the gradients of processes, and
    so does this: all processes must call it. Norms too large for half precision are left out.

    Example: the terms a = x² and b = 3y with the weights 1 and 0.5 have, at x = 2, the norms 4 and 1.5.
    """
    # In half precision small gradients would vanish; the loss is scaled for the same reason.
    scale = float(accelerator.scaler.get_scale()) if accelerator.scaler is not None else 1.0
    norms = {}
    for name, term in terms.items():
        if name in weights:
            norm = _norm(scale * weights[name] * term, parameters, accelerator) / scale
            if math.isfinite(norm):
                norms[f"grad_{name}"] = norm
    return norms


def _norm(loss: Tensor, parameters: Sequence[Tensor], accelerator: Accelerator) -> float:
    gradients: Sequence[Tensor | None] = [None] * len(parameters)
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    norms = []
    for parameter, gradient in zip(parameters, gradients):
        # Every process sends as many numbers, whichever parameters its texts have reached.
        gradient = torch.zeros_like(parameter) if gradient is None else gradient.to_dense()
        norms.append(float(accelerator.reduce(gradient, "mean").norm()))
    return math.hypot(*norms)

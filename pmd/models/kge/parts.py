"""Arithmetic of embeddings (…, 2, dim), whose two parts are real and imaginary, or two vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

EPSILON = 1e-24
"""Least number under a square root, far below what sums of squares in single precision can tell from zero."""


def root(total: Tensor) -> Tensor:
    """Square root with a gradient of 0 at 0, where a triple fits exactly."""
    return total.clamp(min=EPSILON).sqrt()


def modulus(z: Tensor) -> Tensor:
    """(…, 2, dim) -> (…, dim): the moduli of complex numbers."""
    real, imaginary = split(z)
    return root(real.square() + imaginary.square()).squeeze(-2)  # many times faster than a norm over two numbers


def split(r: Tensor) -> tuple[Tensor, Tensor]:
    """The two parts, (…, 1, dim) each, of (…, 2, dim)."""
    return r[..., :1, :], r[..., 1:, :]


def project(x: Tensor, w: Tensor) -> Tensor:
    """x without its component along w."""
    w = normalize(w, dim=-1)
    return x - (x * w).sum(-1, keepdim=True) * w


def times(x: Tensor, y: Tensor) -> Tensor:
    """The product of complex numbers, part by part."""
    (a, b), (c, d) = split(x), split(y)
    return torch.cat(torch.broadcast_tensors(a * c - b * d, a * d + b * c), dim=-2)


def conjugate(z: Tensor) -> Tensor:
    real, imaginary = split(z)
    return torch.cat([real, -imaginary], dim=-2)


def rotation(phase: Tensor) -> Tensor:
    """(…, 1, dim) radians -> (…, 2, dim) unit complex numbers."""
    return torch.cat([phase.cos(), phase.sin()], dim=-2)

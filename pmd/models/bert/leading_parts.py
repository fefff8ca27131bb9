"""The leading parts of linear layers, norms and their parameters, of which the sub-models of a croppable BERT are made.

Example: of a layer from 4 to 8 numbers, an input of width 2 reads the leading 2 · 8 / 4 = 4 rows and 2 columns of the weight,
and 4 numbers of the bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import layer_norm, linear

from pmd.core.errors import PmdError


class LeadingLinear(nn.Linear):
    """Inputs (…, w) of any width w -> (…, w · out / in), by the leading parts of weight and bias."""

    def forward(self, input: Tensor) -> Tensor:
        width, (rows, columns) = input.shape[-1], self.weight.shape
        if width == columns:  # of the full model, or of parameters that are cropped already
            return super().forward(input)
        # Also under `forward_widths` with gradient checkpointing, whose second forward pass finds whole parameters again.
        out = rows * width // columns
        return linear(input, self.weight[:out, :width], self.bias[:out])


class LeadingLayerNorm(nn.LayerNorm):
    """Inputs (…, w) of any width w -> (…, w), normalised over the last dimension."""

    def forward(self, input: Tensor) -> Tensor:
        width = input.shape[-1]
        return layer_norm(input, (width,), self.weight[:width], self.bias[:width], self.eps)


CROPPABLE_CLASSES = {nn.Linear: LeadingLinear, nn.LayerNorm: LeadingLayerNorm}
"""The class that replaces each of PyTorch's in a croppable model."""


class LeadingParts(Function):
    """A parameter and some shapes, increasing -> its leading parts of these shapes, as views.

    The gradients of all parts are added up in one tensor. Plain slices would fill a tensor of the parameter's size with zeros
    for each of them.
    """

    @staticmethod
    def forward(whole: Tensor, *shapes: Sequence[int]) -> tuple[Tensor, ...]:
        return tuple(whole[leading_slices(shape)] for shape in shapes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *narrow, widest = grads
        if widest.shape == ctx.shape:
            total = widest.clone()
        else:
            total = widest.new_zeros(ctx.shape)
            narrow.append(widest)
        for grad in narrow:
            total[leading_slices(grad.shape)] += grad
        return total, *(None for _ in grads)


def leading_slices(shape: Sequence[int]) -> tuple[slice, ...]:
    """The index of the leading part of a shape: (4, 2) -> [:4, :2]."""
    return tuple(slice(size) for size in shape)


def croppable_parameters(module: nn.Module, module_name: str) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters of all linear layers and norms in a module.

    Raises:
        PmdError: for any other parameter, such as that of an adapter, whose axes are not widths.
    """
    for name, parameter in module.named_parameters():
        owner, _, leaf = name.rpartition(".")
        croppable = isinstance(module.get_submodule(owner), (*CROPPABLE_CLASSES.values(),))
        if not croppable or leaf not in ("weight", "bias"):
            raise PmdError(f"'{module_name}.{name}' cannot be cropped to a width; merge adapters into the model first")
        yield name, parameter

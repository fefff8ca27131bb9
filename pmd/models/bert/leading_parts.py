"""The leading parts of linear layers, norms and their parameters, of which the sub-models of a croppable BERT are made.

An input of width w, or the shape of a part, goes in; what the leading part of a module or parameter makes of it comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import layer_norm, linear

from pmd.core.errors import PmdError


class LeadingLinear(nn.Linear):
    """(…, w) -> (…, w · out / in) by the leading part of weight and bias, for any input width w."""

    def forward(self, input: Tensor) -> Tensor:
        width, (rows, columns) = input.shape[-1], self.weight.shape
        if width == columns:  # of the whole model, or cut already
            return super().forward(input)
        # Gradient checkpointing computes again in the backward pass, when whole parameters are back in their place.
        out = rows * width // columns
        return linear(input, self.weight[:out, :width], self.bias[:out])


class LeadingLayerNorm(nn.LayerNorm):
    """(…, w) -> (…, w), over the last dimension, whatever its width."""

    def forward(self, input: Tensor) -> Tensor:
        width = input.shape[-1]
        return layer_norm(input, (width,), self.weight[:width], self.bias[:width], self.eps)


LEADING = {nn.Linear: LeadingLinear, nn.LayerNorm: LeadingLayerNorm}


class LeadingParts(Function):
    """A parameter and some shapes -> its leading parts of these shapes, as views.

    The gradients of all parts are added up in one tensor. Plain slices would fill a tensor of the whole parameter's size
    with zeros for each of them.
    """

    @staticmethod
    def forward(whole: Tensor, *shapes: Sequence[int]) -> tuple[Tensor, ...]:
        return tuple(whole[leading(shape)] for shape in shapes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        ctx.size = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *narrow, widest = grads
        if widest.shape == ctx.size:
            total = widest.clone()
        else:
            total = widest.new_zeros(ctx.size)
            narrow.append(widest)
        for grad in narrow:
            total[leading(grad.shape)] += grad
        return total, *(None for _ in grads)


def leading(shape: Sequence[int]) -> tuple[slice, ...]:
    """The index of the leading part of a shape."""
    return tuple(slice(size) for size in shape)


Cut = dict[int, dict[str, dict[str, Tensor]]]
"""By width and module the leading parts of parameters."""


def leading_parameters(module: nn.Module, place: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters below a module, all of linear layers and norms that can be cut.

    Raises:
        PmdError: for any other, such as those of an adapter, whose axes are no widths.
    """
    for name, parameter in module.named_parameters():
        owner, _, leaf = name.rpartition(".")
        if not isinstance(module.get_submodule(owner), (*LEADING.values(),)) or leaf not in ("weight", "bias"):
            raise PmdError(f"'{place}.{name}' cannot be cut to a width; merge adapters into the model first")
        yield name, parameter

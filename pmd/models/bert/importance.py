"""The best part first: heads, neurons and dimensions of a BERT in the order of what they are worth.

A croppable BERT keeps the leading part of everything, so what leads before the training decides what the narrow
sub-models start from. Heads and intermediate neurons can change places within their layer, the dimensions of the
hidden state everywhere at once (embeddings, residual stream and LayerNorms share one order), and so can those of the
pooled vector: the function stays the same. What a unit is worth is said by

- `magnitude`, without data: dimensions by the LayerNorms' squared scales (the variance of what they put out), heads
  and neurons by the product of the norms of the weights that lead in and out;
- `taylor`: the sum of |w · ∂L/∂w| over the weights that vanish with the unit, the first order of the change of a loss
  L (Molchanov et al., ICLR 2017; heads: Michel et al., NeurIPS 2019; before a width-adaptive training: DynaBERT, Hou et
  al., NeurIPS 2020).

Measured before any training: Spearman correlation on 400 pairs of STS-B (validation), mean-pooled 6-layer MiniLM, by
hidden size; `taylor` from 128 training pairs and an in-batch contrastive loss:

    order                         64     128    256    384
    as it comes                   0.438  0.545  0.824  0.922
    magnitude, hidden             0.618  0.705  0.863  0.922
    magnitude, heads and neurons  0.434  0.452  0.790  0.922
    taylor, hidden                0.600  0.717  0.866  0.922
    taylor, heads and neurons     0.479  0.514  0.837  0.922
    taylor, all three             0.572  0.765  0.879  0.922

So without data the dimensions alone are best reordered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pmd.core.errors import PmdError

Space = str
"""What an axis of a tensor runs over: `hidden`, `pooled`, `heads.3` (of layer 3) or `neurons.3`."""

GROUPS = ("heads", "neurons", "hidden", "pooled")

# The axes of every parameter by the end of its name, the longest end that fits; None: an axis without an order.
_AXES: dict[str, tuple[str | None, ...]] = {
    "_embeddings.weight": (None, "hidden"),
    "LayerNorm.weight": ("hidden",),
    "LayerNorm.bias": ("hidden",),
    **{f"self.{role}.weight": ("heads", "hidden") for role in ("query", "key", "value")},
    **{f"self.{role}.bias": ("heads",) for role in ("query", "key", "value")},
    "attention.output.dense.weight": ("hidden", "heads"),
    "intermediate.dense.weight": ("neurons", "hidden"),
    "intermediate.dense.bias": ("neurons",),
    "output.dense.weight": ("hidden", "neurons"),
    "output.dense.bias": ("hidden",),
    "pooler.dense.weight": ("pooled", "hidden"),
    "pooler.dense.bias": ("pooled",),
    "classifier.weight": (None, "pooled"),
    "classifier.bias": (None,),
}


@torch.no_grad()
def magnitude(model: PreTrainedModel) -> dict[Space, Tensor]:
    """The worth of every unit by the size of its weights."""
    bert, heads = model.base_model, model.config.num_attention_heads
    norms = [module for module in bert.modules() if isinstance(module, nn.LayerNorm)]
    worth = {"hidden": torch.stack([norm.weight.square() for norm in norms]).sum(0)}
    for i, layer in enumerate(bert.encoder.layer):
        value, mixed = layer.attention.self.value.weight, layer.attention.output.dense.weight
        worth[f"heads.{i}"] = value.view(heads, -1).norm(dim=1) * mixed.T.reshape(heads, -1).norm(dim=1)
        worth[f"neurons.{i}"] = layer.intermediate.dense.weight.norm(dim=1) * layer.output.dense.weight.norm(dim=0)
    if bert.pooler is not None:
        worth["pooled"] = bert.pooler.dense.weight.norm(dim=1)
    return worth


def taylor(model: PreTrainedModel, losses: Iterable[Tensor]) -> dict[Space, Tensor]:
    """The worth of every unit by the gradients of losses.

    Args:
        losses: scalars with a graph, one per batch; a generator, so that one graph lives at a time. The model's mode
            (dropout or not) is the caller's.

    Raises:
        PmdError: for no loss, one that does not depend on the model, or a model whose weights are all frozen.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not parameters:
        raise PmdError("importance: all weights are frozen; give a model whose weights require gradients")
    heads, total = model.config.num_attention_heads, {}
    for loss in losses:
        gradients = torch.autograd.grad(loss, [*parameters.values()], allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise PmdError("importance: the loss does not depend on the model's weights; give one computed by it")
        for (name, weight), gradient in zip(parameters.items(), gradients):
            change = torch.zeros_like(weight) if gradient is None else (weight * gradient).detach().abs()
            for axis, space in enumerate(_spaces(name)):
                if space is not None:
                    count = heads if space.startswith("heads") else weight.shape[axis]
                    units = change.movedim(axis, 0).reshape(count, -1).sum(1)
                    total[space] = total.get(space, 0) + units
    if not total:
        raise PmdError("importance: no loss to judge by; give at least one batch, or order by magnitude")
    return total


@torch.no_grad()
def reorder_(
    model: PreTrainedModel, importance: dict[Space, Tensor], groups: Iterable[str] = GROUPS
) -> dict[Space, Tensor]:
    """Put the most important units first, in place; the loss of the model stays what it was.

    Args:
        model: a `BertModel` or `BertForSequenceClassification`, croppable or plain.
        importance: from `magnitude` or `taylor`.
        groups: what to reorder, of `heads`, `neurons`, `hidden` and `pooled`.

    Returns:
        The order of each space: the old place of each unit. A `BertModel`'s outputs are its old ones in the order of
        `hidden` (last hidden state) and `pooled`; logits and inner products of vectors do not change.

    Raises:
        PmdError: for a group that there is not.
    """
    wanted = set(groups)
    if unknown := sorted(wanted - set(GROUPS)):
        raise PmdError(f"groups: no '{unknown[0]}' in a BERT; choose among {', '.join(GROUPS)}")
    orders = {
        space: worth.argsort(descending=True, stable=True)
        for space, worth in importance.items()
        if space.partition(".")[0] in wanted
    }
    for name, parameter in model.named_parameters():
        for axis, space in enumerate(_spaces(name)):
            if space in orders:
                places = torch.arange(parameter.shape[axis], device=parameter.device)
                order = places.view(len(orders[space]), -1)[orders[space]].flatten()  # whole heads move
                parameter.copy_(parameter.index_select(axis, order))
    return orders


def _spaces(name: str) -> tuple[Space | None, ...]:
    """The space of each axis of a parameter."""
    end = max((end for end in _AXES if name.endswith(end)), key=len, default=None)
    if end is None:
        raise PmdError(f"importance: no order is known for '{name}'; give a BERT with a classifier or without a head")
    layer = re.search(r"\.layer\.(\d+)\.", f".{name}")
    return tuple(f"{axis}.{layer[1]}" if layer and axis in ("heads", "neurons") else axis for axis in _AXES[end])

"""The most important first: heads, neurons and dimensions of a BERT in order of importance.

The sub-models of a croppable BERT are its leading parts, so what leads before the training decides what the narrow ones
start from. These units can change places without changing the function: heads and intermediate neurons within their
layer, the dimensions of the hidden state everywhere at once (embeddings, residual stream and LayerNorms share one order),
and those of the pooled vector. The importance of a unit is estimated by

- `magnitude`, without data: dimensions by the LayerNorms' squared scales (the variance of their outputs), heads and
  neurons by the product of the norms of the weights that lead in and out;
- `taylor`: the sum of |w · ∂L/∂w| over the weights that vanish with the unit, to first order the change of a loss L
  (Molchanov et al., ICLR 2017; heads: Michel et al., NeurIPS 2019; before a width-adaptive training: DynaBERT, Hou et
  al., NeurIPS 2020).

Example: a neuron with the weights (3, 4) in and (0, 2) out has the magnitude 5 · 2 = 10. With gradients (0.1, −0.5) and
(7, 1) of the same weights, its taylor importance is |3 · 0.1| + |4 · −0.5| + |0 · 7| + |2 · 1| = 4.3.

Measured before any training: Spearman correlation on 400 pairs of STS-B (validation), mean-pooled 6-layer MiniLM, by
hidden size; `taylor` from 128 training pairs and an in-batch contrastive loss:

    order                         64     128    256    384
    as it comes                   0.438  0.545  0.824  0.922
    magnitude, hidden             0.618  0.705  0.863  0.922
    magnitude, heads and neurons  0.434  0.452  0.790  0.922
    taylor, hidden                0.600  0.717  0.866  0.922
    taylor, heads and neurons     0.479  0.514  0.837  0.922
    taylor, all three             0.572  0.765  0.879  0.922

So without data it is best to reorder the dimensions alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pmd.core.errors import PmdError

GROUPS = ("heads", "neurons", "hidden", "pooled")

# What the axes of a parameter run over: `hidden`, `pooled`, or the heads or neurons of its layer; None is an axis that is not
# reordered. The longest end of the name counts: bert.encoder.layer.3.attention.output.dense.weight ends like both
# "output.dense.weight" and "attention.output.dense.weight", and its axes are those of the latter, hidden and heads.3.
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
def magnitude(model: PreTrainedModel) -> dict[str, Tensor]:
    """The importance of every unit by the size of its weights: a tensor (units,) for each space."""
    bert, heads = model.base_model, model.config.num_attention_heads
    norms = [module for module in bert.modules() if isinstance(module, nn.LayerNorm)]
    importance = {"hidden": torch.stack([norm.weight.square() for norm in norms]).sum(0)}
    for i, layer in enumerate(bert.encoder.layer):
        value, output = layer.attention.self.value.weight, layer.attention.output.dense.weight
        importance[f"heads.{i}"] = value.view(heads, -1).norm(dim=1) * output.T.reshape(heads, -1).norm(dim=1)
        neurons_in, neurons_out = layer.intermediate.dense.weight, layer.output.dense.weight
        importance[f"neurons.{i}"] = neurons_in.norm(dim=1) * neurons_out.norm(dim=0)
    if bert.pooler is not None:
        importance["pooled"] = bert.pooler.dense.weight.norm(dim=1)
    return importance


def taylor(model: PreTrainedModel, losses: Iterable[Tensor]) -> dict[str, Tensor]:
    """The importance of every unit by the gradients of losses: a tensor (units,) for each space.

    Args:
        losses: scalars with a graph, one for each batch; a generator, so that there is one graph at a time. The caller
            chooses the model's mode (dropout or not).

    Raises:
        PmdError: for no loss, one that does not depend on the model, or a model whose weights are all frozen.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not parameters:
        raise PmdError("importance: all weights are frozen; give a model whose weights require gradients")
    heads, importance = model.config.num_attention_heads, {}
    for loss in losses:
        gradients = torch.autograd.grad(loss, [*parameters.values()], allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise PmdError("importance: the loss does not depend on the model's weights; compute it with this model")
        for (name, weight), gradient in zip(parameters.items(), gradients):
            change = torch.zeros_like(weight) if gradient is None else (weight * gradient).detach().abs()
            for axis, space in enumerate(_spaces(name)):
                if space is not None:
                    count = heads if space.startswith("heads") else weight.shape[axis]
                    units = change.movedim(axis, 0).reshape(count, -1).sum(1)  # rows of one head are summed together
                    importance[space] = importance.get(space, 0) + units
    if not importance:
        raise PmdError("importance: no loss to judge by; give at least one batch, or order by magnitude")
    return importance


@torch.no_grad()
def reorder_(
    model: PreTrainedModel, importance: dict[str, Tensor], groups: Iterable[str] = GROUPS
) -> dict[str, Tensor]:
    """Put the most important units first, in place; the model's loss does not change.

    Example: two heads of size 2 with the importances (1, 3) get the order (1, 0), and their rows 0 1 2 3 become 2 3 0 1.

    Args:
        model: a `BertModel` or `BertForSequenceClassification`, croppable or plain.
        importance: from `magnitude` or `taylor`.
        groups: what to reorder, among `heads`, `neurons`, `hidden` and `pooled`.

    Returns:
        The order of each space: the old position of each unit. The outputs of a `BertModel` are the old ones in the orders of
        `hidden` (last hidden state) and `pooled`; logits and inner products of vectors do not change.

    Raises:
        PmdError: for an unknown group.
    """
    wanted = set(groups)
    if unknown := sorted(wanted - set(GROUPS)):
        raise PmdError(f"groups: no '{unknown[0]}' in a BERT; choose among {', '.join(GROUPS)}")
    orders = {
        space: units.argsort(descending=True, stable=True)
        for space, units in importance.items()
        if space.partition(".")[0] in wanted
    }
    for name, parameter in model.named_parameters():
        for axis, space in enumerate(_spaces(name)):
            if space in orders:
                positions = torch.arange(parameter.shape[axis], device=parameter.device)
                # (units, numbers of a unit): a head is several rows of a matrix, a neuron one.
                order = positions.view(len(orders[space]), -1)[orders[space]].flatten()
                parameter.copy_(parameter.index_select(axis, order))
    return orders


def _spaces(name: str) -> tuple[str | None, ...]:
    """What each axis of the parameter of this name runs over."""
    end = max((end for end in _AXES if name.endswith(end)), key=len, default=None)
    if end is None:
        raise PmdError(f"importance: '{name}' is unknown; give a plain BERT or one with a classifier")
    layer = re.search(r"\.layer\.(\d+)\.", f".{name}")
    return tuple(f"{axis}.{layer[1]}" if layer and axis in ("heads", "neurons") else axis for axis in _AXES[end])

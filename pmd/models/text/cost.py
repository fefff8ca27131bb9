"""What a training step of a bi-encoder costs, counted on a model without weights: nothing is computed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from pmd.data.texts.batches import TripleBatch
from pmd.models.families import num_parameters
from pmd.models.text.adapters import add_adapters
from pmd.models.text.bi_encoder import BiEncoder, Role
from pmd.settings.text import LoraConfig

Shape = tuple[Role, int, int]
"""Of a chunk: whose texts, how many, and of how many tokens each."""
GRADIENT, MOMENTS = 4, 8
"""Bytes of the gradient of a trained weight, and of the two moments that AdamW keeps of it."""


@dataclass(frozen=True)
class StepCost:
    """Counts of one training step.

    `parameters` and how many of them are `trained`; `flops` of the matrix products, forward and backward, what is computed again
    included; `weights`, `optimizer` (gradients and moments) and `activations` in bytes, the last at their peak.
    """

    parameters: int
    trained: int
    flops: int
    weights: int
    optimizer: int
    activations: int

    @property
    def memory(self) -> int:
        """Bytes in all."""
        return self.weights + self.optimizer + self.activations

    def steps_per_second(self, flops_per_second: float) -> float:
        """On a machine that does so many operations a second, at the speed that it reaches, not at its peak."""
        return flops_per_second / self.flops


def step_cost(
    model: BiEncoder, shapes: Sequence[Shape], *, recompute: bool = False, lora: LoraConfig | None = None
) -> StepCost:
    """The cost of a step that reads chunks of these shapes.

    Args:
        model: on the meta device, as `pmd.models.text.teachers.described_teacher` makes it.
        recompute, lora: as in `pmd.settings.text.TrainConfig`.
    """
    model = copy.deepcopy(model).halve().train()
    parameters = num_parameters(model)
    if lora is not None:
        add_adapters(model, lora)
    costs = {shape: _chunk_cost(model, *shape, recompute) for shape in dict.fromkeys(shapes)}
    flops, saved = zip(*(costs[shape] for shape in shapes))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    kept = max(saved) if recompute else sum(saved)
    return StepCost(parameters, trained, sum(flops), weights, trained * (GRADIENT + MOMENTS), kept)


def shapes_of(batch: TripleBatch) -> list[Shape]:
    """The shapes of a batch's chunks."""
    roles = (("query", batch.queries), ("entity", batch.entities))
    return [(role, *chunk.input_ids.shape) for role, chunks in roles for chunk in chunks]


def _chunk_cost(model: BiEncoder, role: Role, texts: int, length: int, recompute: bool) -> tuple[int, int]:
    """The operations of a chunk, and the bytes that its forward pass leaves for the backward pass, computed again or not."""
    ids = torch.zeros(texts, length, dtype=torch.long, device="meta")

    # A mask of pairs: of one that says where padding is, transformers would ask whether there is any.
    pairs = torch.ones(texts, 1, length, length, dtype=torch.bool, device="meta")

    def read() -> Tensor:
        hidden = model.encoder(role)(input_ids=ids, attention_mask=pairs).last_hidden_state
        return model.pool(hidden, torch.ones_like(ids))

    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    saved: dict[int, int] = {}
    alive: list[Tensor] = []  # else a storage may get the address of one that is gone

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with FlopCounterMode(display=False) as counter:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            pooled = read()
        again = counter.get_total_flops() if recompute else 0
        pooled.sum().backward()
    model.zero_grad()
    return counter.get_total_flops() + again, sum(saved.values())

"""Chunks of texts in, vectors out: the one way in which teacher, student and scorer read.

Chunks are length-sorted (`pmd.data.texts.batches`); their results are put back into the order of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from pmd.data.texts.batches import Chunk
from pmd.models.text.bi_encoder import BiEncoder, Role


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the encoder made of n texts.

    `pooled` (n, d) unit vectors; `masked` (m, d) last hidden states at the m masked positions and
    `masked_text` (m,) their texts; `layers` {layer: (n, d)} unit vectors pooled from middle layers.
    """

    pooled: Tensor
    masked: Tensor
    masked_text: Tensor
    layers: dict[int, Tensor]


def encode(
    model: BiEncoder,
    role: Role,
    chunks: Sequence[Chunk],
    *,
    masks: Sequence[Tensor] | None = None,
    layers: Sequence[int] = (),
    recompute: bool = False,
) -> Encoded:
    """Encode length-sorted chunks and put the results back in order.

    Args:
        masks: for each chunk, which positions (c, L) bool were masked; their hidden states are returned.
        layers: also pool the outputs of these layers (1 is the first layer; 0 the embeddings).
        recompute: drop activations and compute them again in the backward pass, chunk by chunk.
    """

    def run(
        input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, states: Tensor | None, mask: Tensor | None
    ) -> list[Tensor]:
        hidden = model(role, input_ids, attention_mask, token_type_ids, all_layers=bool(layers), states=states)
        masked = hidden[-1][:0, 0] if mask is None else hidden[-1][mask]
        return [
            model.pool(hidden[-1], attention_mask, model.dim),
            masked,
            *(model.pool(hidden[layer], attention_mask) for layer in layers),
        ]

    outputs = []
    for position, chunk in enumerate(chunks):
        texts = chunk.input_ids, chunk.attention_mask, chunk.token_type_ids, chunk.states
        arguments = (*texts, masks[position] if masks else None)
        if recompute and torch.is_grad_enabled():
            outputs.append(checkpoint(run, *arguments, use_reentrant=False))
        else:
            outputs.append(run(*arguments))
    columns = [torch.cat(column) for column in zip(*outputs)]
    rows = torch.cat([chunk.rows for chunk in chunks])
    order = rows.argsort()
    text = torch.cat([chunk.rows[mask.nonzero()[:, 0]] for chunk, mask in zip(chunks, masks)]) if masks else rows[:0]
    return Encoded(columns[0][order], columns[1], text, {n: c[order] for n, c in zip(layers, columns[2:])})


def pool_masked(encoded: Encoded) -> Tensor:
    """The `pooled` masked feature: mean over the masked positions of a text, then L2: (texts with any, d)."""
    texts, inverse, counts = encoded.masked_text.unique(return_inverse=True, return_counts=True)
    sums = encoded.masked.new_zeros(len(texts), encoded.masked.shape[-1]).index_add_(0, inverse, encoded.masked)
    return normalize(sums / counts.unsqueeze(-1), dim=-1)

"""Which tokens of a text are masked, and how many: what the paper of PMD leaves open (adaptive positions and rates).

A choice gives every token a weight, and positions are drawn by these without replacement, so that as many are masked as the
mask rate says (`pmd.data.texts.masking`):

- `rare`: the information of the token, −log of its share in the graph's texts. Needs no model.
- `attention`: how much the pooled vector's tokens attend to the position in the teacher's last layer, the mean over heads and
  over the real tokens, whose mean the vector is.
- `uncertainty`: how far the teacher's vector turns, 1 − cosine, when the token's own last hidden state is left out of the mean.

`attention` and `uncertainty` take one more pass of the teacher over the texts that are masked.

A rate by `uncertainty` asks how sure the teacher is of the batch's answers to a query (and queries of an answer): u is the
entropy of its softmax over them, of at most 1 = evenly spread. A text's rate is the stage's times (1 − u) over the mean of 1 − u:
what the teacher is sure of is read with more masks, and the mean rate stays. It takes a pass of the teacher over whole texts,
which `masked_view: separate` makes anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pmd.core.errors import PmdError
from pmd.data.texts.batches import Chunk, TripleBatch
from pmd.data.texts.graph_text import GraphText
from pmd.models.text.bi_encoder import BiEncoder, Role
from pmd.models.text.encode import Encoded
from pmd.settings.text import MaskChoice

HIGHEST_RATE = 0.9
"""Of a text's tokens, whatever the teacher says."""


def token_information(text: GraphText) -> Tensor:
    """−log of the share of every token id in the texts of the graph's entities and relations, smoothed by one: (ids,)."""
    never_read = [*text.special, text.mask]
    counts = text.counts(size=1 + max(never_read))
    np.add.at(counts, never_read, 1)
    counts = torch.from_numpy(counts).float() + 1
    return -(counts / counts.sum()).log()


def token_weights(
    choice: MaskChoice, information: Tensor | None, teacher: BiEncoder, role: Role, chunk: Chunk
) -> Tensor | None:
    """The weights (c, L) of a chunk's tokens; None for `random`. Those of special tokens and padding mean nothing."""
    if choice == "random":
        return None
    if choice == "rare":
        return information[chunk.input_ids.clamp(max=len(information) - 1)]
    with torch.no_grad():
        if choice == "attention":
            return attention_received(teacher, role, chunk)
        (hidden,) = teacher(role, chunk.input_ids, chunk.attention_mask, chunk.token_type_ids)
        return turn_without(hidden.float(), chunk.attention_mask)


def attention_received(model: BiEncoder, role: Role, chunk: Chunk) -> Tensor:
    """The attention (c, L) that real tokens pay to each position in the last layer, the mean over them and over heads.

    PmdError for an encoder that does not give its attention.
    """
    arguments = {"input_ids": chunk.input_ids, "attention_mask": chunk.attention_mask}
    if model.reads_types:
        arguments["token_type_ids"] = chunk.token_type_ids
    with eager_attention(model.encoder(role)) as encoder:
        attentions = getattr(encoder(**arguments, output_attentions=True), "attentions", None)
    if not attentions or attentions[-1] is None:
        raise PmdError(
            f"distill.mask_choice: a '{model.config.encoder.model_type}' encoder gives no attention; choose random, rare "
            "or uncertainty"
        )
    real = chunk.attention_mask.to(attentions[-1].dtype)
    mean_of_heads = attentions[-1].mean(1)  # (c, L, L), from row to column
    return (mean_of_heads * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)


@contextmanager
def eager_attention(encoder: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The encoder with the attention that can be returned; fused kernels do not compute it."""
    before = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")
    try:
        yield encoder
    finally:
        encoder.set_attn_implementation(before)


def turn_without(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """1 − cosine of the mean of the real hidden states (c, L, d) and that without each one: (c, L)."""
    total = (hidden * attention_mask.unsqueeze(-1)).sum(1, keepdim=True)
    return 1 - cosine_similarity(total, total - hidden, dim=-1)


def rates_by_sureness(
    rate: float, whole: tuple[Encoded, Encoded], teacher: BiEncoder, batch: TripleBatch
) -> list[Tensor]:
    """The rates of the batch's distinct queries and of its distinct entities, from the teacher's vectors of whole texts.

    A text that stands in several examples has the mean of their entropies; one that is only a head the stage's rate.
    """
    query, entity = whole[0].pooled[batch.query].float(), whole[1].pooled[batch.entity].float()
    with torch.autocast(query.device.type, enabled=False):
        logits = query @ entity.T * teacher.inverse_temperature
    rates = []
    for scores, text, count in (
        (logits, batch.query, len(whole[0].pooled)),
        (logits.T, batch.entity, len(whole[1].pooled)),
    ):
        log_shares = scores.log_softmax(-1)
        entropy = -(log_shares.exp() * log_shares).sum(-1) / np.log(max(2, len(scores)))  # (b,) in [0, 1]
        examples = torch.bincount(text, minlength=count)
        sure = 1 - torch.zeros(count, device=text.device).index_add_(0, text, entropy) / examples.clamp(min=1)
        mean = sure[examples > 0].mean().clamp(min=1e-6)
        scale = torch.where(examples > 0, sure / mean, torch.ones_like(sure))
        rates.append((rate * scale).clamp(0, HIGHEST_RATE))
    return rates

"""Grade 0: an encoder without attention or layers. A text is the mean of its word pieces' vectors.

The idea is that of static embeddings distilled from a transformer (model2vec: Tulkens and van Dongen, 2024): a table of
vectors, begun from what the teacher makes of each piece alone and weighted by how rare it is. The order of the pieces does
not count. A query's relation, the second segment, changes the sum: with r the mean of its vectors, the vector x of a piece of
the first segment becomes x ∘ (1 + gate(r)), and shift(r) is added to every piece.

It is built like any encoder of `transformers`, so that a `BiEncoder` of it is trained, saved, cropped and asked as others are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, gelu
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class BagConfig(PreTrainedConfig):
    """Configuration of a `Bag`: the sizes of its table, and the `special` pieces, which count nothing."""

    model_type = "pmd_bag"

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 384,
        type_vocab_size: int = 2,
        special: Sequence[int] = (),
        **kwargs: Any,
    ):
        self.vocab_size, self.hidden_size, self.type_vocab_size = vocab_size, hidden_size, type_vocab_size
        self.special, self.num_hidden_layers = list(special), 0
        super().__init__(**kwargs)


class Bag(PreTrainedModel):
    """Word pieces (b, L) to their vectors (b, L, d), which the bi-encoder averages."""

    config_class = BagConfig
    base_model_prefix = "bag"

    def __init__(self, config: BagConfig, add_pooling_layer: bool = False):
        super().__init__(config)
        d = config.hidden_size
        self.pieces = nn.Embedding(config.vocab_size, d)
        # Without biases: a text without a second segment passes unchanged.
        self.relation = nn.Linear(d, d, bias=False)
        self.gate = nn.Linear(d, d, bias=False)
        self.shift = nn.Linear(d, d, bias=False)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.shift.weight)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the layers have initialised themselves."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: Any,
    ) -> BaseModelOutput:
        """The vectors of the pieces, as the only hidden states."""
        x = self.pieces(input_ids) * self.counted(input_ids).unsqueeze(-1)
        if token_type_ids is not None:
            second = (token_type_ids * attention_mask).unsqueeze(-1).to(x.dtype)
            mean = (x * second).sum(1, keepdim=True) / second.sum(1, keepdim=True).clamp(min=1)
            hidden = gelu(self.relation(mean))
            x = x * (1 + self.gate(hidden) * (1 - second)) + self.shift(hidden)
        return BaseModelOutput(last_hidden_state=x, hidden_states=(x,) if output_hidden_states else None)

    def counted(self, input_ids: Tensor) -> Tensor:
        """Which pieces (…) are not special."""
        special = torch.tensor(self.config.special, dtype=torch.long, device=input_ids.device)
        return (input_ids.unsqueeze(-1) != special).all(-1)

    def sums(self, input_ids: Tensor, starts: Tensor, seconds: Tensor, lengths: Tensor) -> Tensor:
        """The sums (n, d) of what `forward` makes of n texts, without their padding: ten times as fast, to be read only.

        Args:
            input_ids: (t,), one text after the other.
            starts: (n,), where each text begins in them.
            seconds, lengths: (n,), how many pieces come before its second segment, and how many it has.
        """
        weights = self.counted(input_ids).to(self.pieces.weight.dtype)
        offsets = torch.stack([starts, starts + seconds], dim=1).flatten()  # two bags for each text
        bags = embedding_bag(input_ids, self.pieces.weight, offsets, mode="sum", per_sample_weights=weights)
        first, second = bags.unflatten(0, (-1, 2)).unbind(1)
        if self.config.type_vocab_size == 1:
            return first + second
        hidden = gelu(self.relation(second / (lengths - seconds).clamp(min=1).unsqueeze(1)))
        return first * (1 + self.gate(hidden)) + second + self.shift(hidden) * lengths.unsqueeze(1)


AutoConfig.register(BagConfig.model_type, BagConfig)
AutoModel.register(BagConfig, Bag)

"""The text bi-encoder of SimKGC and PMD: a query encoder, an entity encoder, and a cosine between them.

Wang et al., *SimKGC*, ACL 2022, section 3.2; Fan et al., *PMD*, AAAI 2024. Texts go in as token ids, unit
vectors come out; their inner product is the score of a triple. Teacher and student are this one class
with different depths.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoModel, BertConfig, PreTrainedConfig, PreTrainedModel

Role = Literal["query", "entity"]


class BiEncoderConfig(PreTrainedConfig):
    """Configuration of a `BiEncoder`.

    Args:
        encoder: configuration of the BERT-like encoder (a config, or its dictionary).
        tied: one encoder for both roles.
        init_temperature: start of the learned temperature.
        max_tokens, neighbours_below, max_neighbours: how texts are formed, see `pmd.data.text.Reading`.
        layers: for each layer, which layer of the original checkpoint it descends from.
    """

    model_type = "pmd_bi_encoder"

    def __init__(
        self,
        encoder: PreTrainedConfig | dict[str, Any] | None = None,
        tied: bool = False,
        init_temperature: float = 0.05,
        max_tokens: int = 50,
        neighbours_below: int = 20,
        max_neighbours: int = 10,
        layers: list[int] | None = None,
        **kwargs: Any,
    ):
        if isinstance(encoder, dict):
            encoder = AutoConfig.for_model(**encoder)
        self.encoder = encoder if encoder is not None else BertConfig()
        self.tied = tied
        self.init_temperature = init_temperature
        self.max_tokens = max_tokens
        self.neighbours_below = neighbours_below
        self.max_neighbours = max_neighbours
        self.layers = list(range(self.encoder.num_hidden_layers)) if layers is None else list(layers)
        super().__init__(**kwargs)

    def to_dict(self) -> dict[str, Any]:
        encoder = self.encoder.to_dict() if isinstance(self.encoder, PreTrainedConfig) else self.encoder
        return {**super().to_dict(), "encoder": encoder}


class BiEncoder(PreTrainedModel):
    """Two BERT-like encoders (one if tied), mean pooling, L2 normalisation and a learned temperature."""

    config_class = BiEncoderConfig
    base_model_prefix = "bi_encoder"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: BiEncoderConfig):
        super().__init__(config)
        self.query_encoder = _encoder(config.encoder)
        # A tied model registers its encoder once and picks it by role: nothing to tie when saving.
        self.entity_encoder = None if config.tied else _encoder(config.encoder)
        self.log_inverse_temperature = nn.Parameter(torch.tensor(-math.log(config.init_temperature)))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Only what `from_pretrained` does not find: the encoders have initialised themselves."""

    def encoder(self, role: Role) -> nn.Module:
        """The encoder of a role."""
        return self.query_encoder if role == "query" or self.entity_encoder is None else self.entity_encoder

    @property
    def inverse_temperature(self) -> Tensor:
        """exp of the learned logarithm, a scalar: logit = cosine × this."""
        return self.log_inverse_temperature.exp()

    @property
    def depth(self) -> int:
        """Layers of each encoder."""
        return self.config.encoder.num_hidden_layers

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.config.encoder.hidden_size

    def forward(
        self,
        role: Role,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        all_layers: bool = False,
    ) -> list[Tensor]:
        """Hidden states (b, L, d) of the last layer, or of the embeddings and all layers, as a list."""
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask}
        if getattr(self.config.encoder, "type_vocab_size", 0) > 1:
            arguments["token_type_ids"] = token_type_ids
        output = self.encoder(role)(**arguments, output_hidden_states=all_layers)
        return list(output.hidden_states) if all_layers else [output.last_hidden_state]


def pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean over the real tokens, then L2 normalisation: (b, L, d), (b, L) -> (b, d)."""
    weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)


def _encoder(config: PreTrainedConfig) -> nn.Module:
    try:
        return AutoModel.from_config(config, add_pooling_layer=False)
    except TypeError:  # encoders that have no pooling layer to leave out
        return AutoModel.from_config(config)


AutoConfig.register(BiEncoderConfig.model_type, BiEncoderConfig)
AutoModel.register(BiEncoderConfig, BiEncoder)

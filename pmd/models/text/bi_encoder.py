"""The text bi-encoder of SimKGC and PMD: a query encoder, an entity encoder, and a cosine between them.

Wang et al., *SimKGC*, ACL 2022, section 3.2; Fan et al., *PMD*, AAAI 2024. Texts go in as token ids, unit
vectors come out; their inner product is the score of a triple. Teacher and student are this one class
with different depths. The leading dimensions of a vector, rescaled to length 1, are a vector too, and a good one
if the model was trained at several `widths`.
"""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, BertConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_TEXT_ENCODING_MAPPING,
)

from pmd.models.families import check_width
from pmd.models.text import bag  # noqa: F401  its model is registered, so that a folder of one is read
from pmd.models.text.lower_layers import from_states, lower_modules
from pmd.settings.catalogue import FAMILIES
from pmd.settings.text import Pooling

Role = Literal["query", "entity"]


class BiEncoderConfig(PreTrainedConfig):
    """Configuration of a `BiEncoder`.

    Args:
        encoder: configuration of the BERT-like encoder (a config, or its dictionary).
        tied: one encoder for both roles.
        init_temperature: start of the learned temperature.
        max_tokens, neighbours_below, max_neighbours: how texts are formed, see `pmd.data.texts.graph_text.Reading`.
        layers: for each layer, which layer of the original checkpoint it descends from.
        widths: of the vectors that it was trained at, increasing, the last one its own; null for that alone.
        width: of the vectors of a cropped model; null for the encoder's hidden size.
        pooling: a vector is the `mean` of the tokens' hidden states, or that of the `first` or `last` one.
        prompts: what stands before queries and before entities, for an encoder or decoder of any kind; null for BERT's kind.
        half: whether the encoders' weights are kept in bf16.
        kwargs: as of `transformers.PreTrainedConfig`.

    Example:
        >>> from transformers import BertConfig
        >>> encoder = BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
        >>> model = pmd.BiEncoder(pmd.BiEncoderConfig(encoder=encoder, widths=[16, 32]))
        >>> model.depth, model.widths
        (2, (16, 32))
    """

    model_type = FAMILIES["text"].model_type

    def __init__(
        self,
        encoder: PreTrainedConfig | dict[str, Any] | None = None,
        tied: bool = False,
        init_temperature: float = 0.05,
        max_tokens: int = 50,
        neighbours_below: int = 20,
        max_neighbours: int = 10,
        layers: list[int] | None = None,
        widths: list[int] | None = None,
        width: int | None = None,
        pooling: Pooling = "mean",
        prompts: list[str] | None = None,
        half: bool = False,
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
        self.widths = None if widths is None else list(widths)
        self.width = width
        self.pooling = pooling
        self.prompts = None if prompts is None else list(prompts)
        self.half = half
        super().__init__(**kwargs)

    def to_dict(self) -> dict[str, Any]:
        encoder = self.encoder.to_dict() if isinstance(self.encoder, PreTrainedConfig) else self.encoder
        return {**super().to_dict(), "encoder": encoder}


class BiEncoder(PreTrainedModel):
    """Two BERT-like encoders (one if tied), mean pooling, L2 normalisation and a learned temperature.

    Args:
        config: a `BiEncoderConfig`.

    Example:
        >>> model = pmd.BiEncoder.from_pretrained("runs/world-…/grade1")
        >>> ids = torch.tensor([[2, 7, 8, 3]])
        >>> mask, types = torch.ones_like(ids), torch.zeros_like(ids)
        >>> [states] = model("query", ids, mask, types)
        >>> model.pool(states, mask).shape == (1, model.dim)
        True
    """

    config_class = BiEncoderConfig
    base_model_prefix = "bi_encoder"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    frozen_layers = 0
    """Layers, from the lowest, that do not learn (`pmd.models.text.lower_layers.freeze`)."""

    def __init__(self, config: BiEncoderConfig):
        super().__init__(config)
        self.query_encoder = new_encoder(config.encoder, config.layers)
        # A tied model registers its encoder once and picks it by role: nothing to tie when saving.
        self.entity_encoder = None if config.tied else new_encoder(config.encoder, config.layers)
        self.log_inverse_temperature = nn.Parameter(torch.tensor(-math.log(config.init_temperature)))
        self.post_init()

    @classmethod
    def from_pretrained(cls, *arguments: Any, **options: Any) -> Any:
        """The model of a folder; arguments and options as of `transformers.PreTrainedModel.from_pretrained`."""
        loaded = super().from_pretrained(*arguments, **options)
        (loaded[0] if isinstance(loaded, tuple) else loaded).halve()
        return loaded

    def halve(self) -> BiEncoder:
        """Keep the weights of the encoders in bf16, if the config says so. Positions stay finer, and so does the temperature."""
        if self.config.half:
            for encoder in self.encoders:
                for parameter in encoder.parameters():
                    parameter.data = parameter.data.bfloat16()
        return self

    def train(self, mode: bool = True) -> BiEncoder:
        """Training `mode`, or not; frozen layers drop nothing."""
        super().train(mode)
        for encoder in self.encoders if self.frozen_layers else ():
            for module in lower_modules(encoder, self.frozen_layers):
                module.eval()
        return self

    def _init_weights(self, module: nn.Module) -> None:
        """Only what `from_pretrained` does not find: the encoders have initialised themselves."""

    def encoder(self, role: Role) -> nn.Module:
        """The encoder of a role, `query` or `entity`."""
        return self.query_encoder if role == "query" or self.entity_encoder is None else self.entity_encoder

    @property
    def encoders(self) -> list[nn.Module]:
        """Both encoders, or the one that is both."""
        return [encoder for encoder in (self.query_encoder, self.entity_encoder) if encoder is not None]

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
        return self.config.width or self.hidden_size

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return self.config.encoder.hidden_size

    @property
    def reads_types(self) -> bool:
        """Whether its encoders tell the first segment of a text from the second."""
        return getattr(self.config.encoder, "type_vocab_size", 0) > 1

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of the vectors that it was trained at, the last one `dim`."""
        return tuple(self.config.widths or (self.dim,))

    def crop(self, width: int) -> BiEncoder:
        """A stand-alone model with the leading `width` dimensions of these vectors; its widths are those that fit.

        Its encoders are the same: what is narrower are the vectors that it makes. PmdError for a width that it
        has not.
        """
        check_width(width, self.dim)
        small = copy.deepcopy(self)
        small.config.width = width if width < self.hidden_size else None
        small.config.widths = [w for w in self.widths if w < width] + [width] if self.config.widths else None
        return small

    def forward(
        self,
        role: Role,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        all_layers: bool = False,
        states: Tensor | None = None,
    ) -> list[Tensor]:
        """Hidden states (b, L, d) of the last layer, or of the embeddings and `all_layers`, as a list. `input_ids`,
        `attention_mask` and `token_type_ids` are (b, L), the `role` is `query` or `entity`. A model with frozen layers goes on
        from `states` (b, L, d), what they made of the texts, unless all layers are wanted."""
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.reads_types:
            arguments["token_type_ids"] = token_type_ids
        encoder, goes_on = self.encoder(role), self.frozen_layers and states is not None and not all_layers
        with from_states(encoder, self.frozen_layers, states) if goes_on else nullcontext():
            output = encoder(**arguments, output_hidden_states=all_layers)
        states = list(output.hidden_states) if all_layers else [output.last_hidden_state]
        # Weights kept in half precision make states in it; vectors are compared more finely.
        return [state.float() for state in states] if self.config.half else states

    def pool(self, hidden: Tensor, attention_mask: Tensor, width: int | None = None) -> Tensor:
        """Hidden states (b, L, d) and `attention_mask` (b, L) -> unit vectors (b, width), by this model's way of pooling."""
        return pool(hidden, attention_mask, width, self.config.pooling)


def pool(hidden: Tensor, attention_mask: Tensor, width: int | None = None, pooling: Pooling = "mean") -> Tensor:
    """Mean over the real tokens, or the first or last of them, wherever padding stands; then L2 normalisation of the
    leading `width` dimensions, by default of all d: (b, L, d), (b, L) -> (b, width)."""
    if pooling != "mean":
        rank = torch.arange(1, hidden.shape[1] + 1, device=hidden.device)
        rank = rank if pooling == "last" else rank.flip(0)
        position = (attention_mask * rank).argmax(1).view(-1, 1, 1).expand(-1, 1, hidden.shape[-1])
        return normalize(hidden.gather(1, position)[:, 0, :width], dim=-1)
    weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return normalize((hidden * weights).sum(1)[:, :width] / weights.sum(1), dim=-1)


def auto_class(config: PreTrainedConfig) -> type[AutoModel] | type[AutoModelForTextEncoding]:
    """What loads an encoder of this config: of T5 and its kind, which have a decoder too, the encoder alone."""
    both = type(config) in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING and type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    return AutoModelForTextEncoding if both else AutoModel


def new_encoder(config: PreTrainedConfig, layers: list[int]) -> nn.Module:
    """An encoder whose layers descend from `layers` of the original checkpoint."""
    kind = auto_class(config)
    try:
        encoder = kind.from_config(config, add_pooling_layer=False)
    except TypeError:  # encoders that have no pooling layer to leave out
        encoder = kind.from_config(config)
    # ModernBERT has no norm in front of the attention of its first layer alone. That layer has none wherever it stands
    # in a student, and a later one keeps its norm when it comes first.
    for layer, original in zip(getattr(encoder, "layers", ()), layers):
        if hasattr(layer, "attn_norm") and isinstance(layer.attn_norm, nn.Identity) != (original == 0):
            layer.attn_norm = nn.Identity() if original == 0 else copy.deepcopy(layer.mlp_norm)
    return encoder


AutoConfig.register(BiEncoderConfig.model_type, BiEncoderConfig)
AutoModel.register(BiEncoderConfig, BiEncoder)

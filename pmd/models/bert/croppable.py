"""BERT-MED: one BERT that holds a narrower BERT in the leading part of every one of its matrices.

Zhu et al., *MED*, ACL 2025, section 5.5 and appendix D.3, with whole heads: of a matrix x × y the sub-model of
hidden size w reads the leading (w/d)·x × (w/d)·y part, and of embeddings, biases and LayerNorms the leading part
too. A LayerNorm is taken over the w numbers that are there; attention is scaled by the size of a head, which is
the same at every width.

Token ids go in; hidden states or logits of one sub-model or of all come out.

The classes are `transformers`' own with two kinds of module exchanged: a linear layer and a LayerNorm that use as
much of themselves as their input is wide. A sub-model then runs through `transformers`' code unchanged, because a
hidden state of width w asks each layer for no more than w, and everything that BERT can do (any attention kernel,
gradient checkpointing, `save_pretrained`, a `Trainer`) works at full width as ever. Nothing is copied to crop: views
of the weights go to the kernels as they lie. `forward_widths` makes these views once for all widths and puts them in the
place of the parameters.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import linear
from transformers import BertConfig, BertForSequenceClassification, BertModel, PretrainedConfig, PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling

from pmd.core.errors import PmdError
from pmd.models.bert.leading_parts import LEADING, Cut, LeadingParts, leading, leading_parameters
from pmd.models.text.start import locate


class CroppableBertConfig(BertConfig):
    """Configuration of a BERT with sub-models. To `transformers` it is that of a BERT with one more attribute.

    Args:
        widths: hidden sizes of the sub-models, increasing, the last one `hidden_size`; None for that alone.
    """

    widths: list[int] | None = None

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As `transformers` has it, for checkpoints of BERT only (it would warn and go on with random weights)."""
        found, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        kind = found.get("model_type", "bert")
        if kind != "bert":
            raise PmdError(
                f"'{pretrained_model_name_or_path}' is a '{kind}' model; only a 'bert' can be made croppable"
            )
        return found, kwargs


class _Croppable:
    """What both croppable models share: their widths, loading, saving and cropping."""

    config_class = CroppableBertConfig
    plain_class: type[PreTrainedModel]

    @property
    def widths(self) -> tuple[int, ...]:
        """Hidden sizes of the sub-models, increasing."""
        return tuple(self.config.widths)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str, *args: Any, widths: Sequence[int] | None = None, **kwargs: Any
    ):
        """Any BERT: a Hub id, a folder, or `package:NAME/FOLDER`.

        Args:
            widths: of the sub-models; default those that the folder was saved with, else the full width alone.
            args, kwargs: as in `transformers`, among them `num_labels`.

        Raises:
            PmdError: if it cannot be loaded, is no BERT, lacks weights of the encoder, or has no such widths.
        """
        name = str(pretrained_model_name_or_path)
        wants_loading = kwargs.pop("output_loading_info", False)
        if widths is not None and isinstance(kwargs.get("config"), PretrainedConfig):
            kwargs["config"] = copy.copy(kwargs["config"])
            kwargs["config"].widths = list(widths)
        elif widths is not None:
            kwargs["widths"] = list(widths)
        try:
            model, loading = super().from_pretrained(locate(name), *args, output_loading_info=True, **kwargs)
        except PmdError:
            raise
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise PmdError(f"cannot load '{name}' ({reason}); give a Hub id or folder of a BERT") from None
        missing = sorted(key for key in loading["missing_keys"] if not ("pooler." in key or "classifier." in key))
        if missing:
            raise PmdError(
                f"'{name}' has no weights for {missing[0]}; give a folder that `transformers` reads as a BERT"
            )
        return (model, loading) if wants_loading else model

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """An ordinary BERT folder of the full model, with `widths` in its config."""
        plain = self._plain(self._config_at(self.config.hidden_size), self.state_dict())
        plain.config.widths = list(self.widths)
        plain.save_pretrained(save_directory, *args, **kwargs)

    def crop(self, width: int) -> PreTrainedModel:
        """The stand-alone sub-model: a plain `BertModel` or `BertForSequenceClassification` with weights of its own.

        Args:
            width: any hidden size that cuts whole heads, in `widths` or not.

        Raises:
            PmdError: for a width that does not.
        """
        check_widths([width], self.config)
        return self._plain(self._config_at(width), self.state_dict()).train(self.training)

    def _config_at(self, width: int) -> BertConfig:
        settings = self.config.to_dict()  # a copy
        del settings["widths"]
        for size in ("num_attention_heads", "intermediate_size", "hidden_size"):
            settings[size] = settings[size] * width // self.config.hidden_size
        return BertConfig.from_dict(settings)

    def _plain(self, config: BertConfig, state: dict[str, Tensor]) -> PreTrainedModel:
        """A plain BERT of the leading parts of `state`, copied."""
        with torch.device("meta"):
            plain = self.plain_class(config, **self._options())
        shapes = {name: tensor.shape for name, tensor in plain.state_dict().items()}
        if missing := sorted(shapes.keys() - state.keys()):
            raise PmdError(f"the model has no '{missing[0]}' to crop; merge adapters into it first")
        parts = {name: state[name][leading(shape)] for name, shape in shapes.items()}
        plain.load_state_dict({name: tensor.detach().clone() for name, tensor in parts.items()}, assign=True)
        for name, buffer in self.named_buffers():  # positions: in no state dict, and the same at every width
            owner, _, leaf = name.rpartition(".")
            plain.get_submodule(owner).register_buffer(leaf, buffer.clone(), persistent=False)
        return plain

    def _options(self) -> dict[str, Any]:
        return {}


class CroppableBert(_Croppable, BertModel):
    """A `BertModel` with sub-models.

    Args:
        config: of the full model, with `widths`.
        add_pooling_layer: as in `BertModel`.

    Raises:
        PmdError: for widths that do not increase up to the hidden size, or cut a head or a neuron in two.
    """

    plain_class = BertModel

    def __init__(self, config: CroppableBertConfig, add_pooling_layer: bool = True):
        if config.is_decoder:
            raise PmdError("is_decoder: a decoder cannot be made croppable; set it to false for an encoder")
        config.widths = check_widths(getattr(config, "widths", None) or [config.hidden_size], config, full=True)
        super().__init__(config, add_pooling_layer)
        for module in self.modules():
            if type(module) in LEADING:  # parameters stay where they are and keep their names
                module.__class__ = LEADING[type(module)]

    def forward_widths(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        widths: Sequence[int] | None = None,
        first: Tensor | None = None,
    ) -> list[BaseModelOutputWithPooling]:
        """The outputs of sub-models for a batch, narrowest first.

        Embeddings are gathered and the mask is built once. At full width this is `forward`.

        Args:
            input_ids: (b, L) integers; the others, of the same shape, as in `BertModel`. For rows of several texts
                (`pmd.data.texts.packing`) the mask is (b, 1, L, L), true where a token sees another (with attention `sdpa`).
            widths: of which sub-models, increasing; all in `widths` by default.
            first: (2, t) row and column of the tokens that are pooled; default the first of every row, t = b.

        Returns:
            For each width w `last_hidden_state` (b, L, w) and `pooler_output` (t, w), None without a pooling layer.

        Raises:
            PmdError: for widths that do not cut whole heads, or parameters that a BERT has not.
        """
        embeddings, outputs = self.embeddings, []
        if position_ids is None:
            position_ids = embeddings.position_ids[:, : input_ids.shape[1]]
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        summed = embeddings.word_embeddings(input_ids) + embeddings.token_type_embeddings(token_type_ids)
        summed = summed + embeddings.position_embeddings(position_ids)  # (b, L, d)
        mask = create_bidirectional_mask(self.config, summed, attention_mask)
        for width, parts in self._cut(self.widths if widths is None else check_widths(widths, self.config)).items():
            norm = functional_call(embeddings.LayerNorm, parts["embeddings.LayerNorm"], (summed[..., :width],))
            hidden = embeddings.dropout(norm)  # (b, L, w)
            masked = {"attention_mask": mask}
            hidden = functional_call(self.encoder, parts["encoder"], (hidden,), masked).last_hidden_state
            pooled = None
            if self.pooler is not None:
                texts = hidden if first is None else hidden[first[0], first[1], None]  # (b, L, w) or (t, 1, w)
                pooled = functional_call(self.pooler, parts["pooler"], (texts,))
            outputs.append(BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled))
        return outputs

    def _cut(self, widths: Sequence[int]) -> Cut:
        """The parameters of sub-models, as parts of this model's own through which gradients reach it."""
        parts: Cut = {width: {} for width in widths}
        for place in ("embeddings.LayerNorm", "encoder", *(["pooler"] if self.pooler is not None else [])):
            for name, whole in leading_parameters(self.get_submodule(place), place):
                shapes = [[size * width // self.config.hidden_size for size in whole.shape] for width in widths]
                for own, part in zip(parts.values(), LeadingParts.apply(whole, *shapes)):
                    own.setdefault(place, {})[name] = part
        return parts

    def _options(self) -> dict[str, Any]:
        return {"add_pooling_layer": self.pooler is not None}


class CroppableBertForSequenceClassification(_Croppable, BertForSequenceClassification):
    """A `BertForSequenceClassification` with sub-models: `num_labels` classes, or a regression with one.

    Args:
        config: of the full model, with `widths`.

    Raises:
        PmdError: for widths that do not increase up to the hidden size, or cut a head or a neuron in two.
    """

    plain_class = BertForSequenceClassification

    def __init__(self, config: CroppableBertConfig):
        super().__init__(config)
        self.bert = CroppableBert(config)

    def forward_widths(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        widths: Sequence[int] | None = None,
        first: Tensor | None = None,
    ) -> Tensor:
        """The logits of sub-models for a batch, (n, t, num_labels), narrowest first; arguments and t as in `CroppableBert`."""
        outputs = self.bert.forward_widths(input_ids, attention_mask, token_type_ids, position_ids, widths, first)
        return torch.stack([self._logits(output.pooler_output) for output in outputs])

    def _logits(self, pooled: Tensor) -> Tensor:
        """(b, w) -> (b, num_labels): every width has all classes."""
        return linear(self.dropout(pooled), self.classifier.weight[:, : pooled.shape[-1]], self.classifier.bias)


def allowed_widths(config: BertConfig) -> list[int]:
    """All hidden sizes that a BERT can be cropped to: whole heads, and a whole number of intermediate neurons."""
    head = config.hidden_size // config.num_attention_heads
    sizes = range(head, config.hidden_size + 1, head)
    return [size for size in sizes if config.intermediate_size * size % config.hidden_size == 0]


def check_widths(widths: Sequence[int], config: BertConfig, full: bool = False, option: str = "") -> list[int]:
    """The widths as a list.

    Args:
        full: the last one must be the hidden size.
        option: where they come from, for messages.

    Raises:
        PmdError: if they do not increase, or a BERT of this `config` cannot be cropped to one of them.
    """
    allowed, widths, place = allowed_widths(config), list(widths), option and f"{option}: "
    hint = f"choose among {', '.join(map(str, allowed))}"
    for width in widths:
        if width not in allowed:
            head = config.hidden_size // config.num_attention_heads
            why = (
                f"exceeds the hidden size {config.hidden_size}"
                if width > config.hidden_size
                else f"does not cut whole heads of {head}"
                if width < 1 or width % head
                else f"cuts the intermediate size {config.intermediate_size} to no whole number"
            )
            raise PmdError(f"{place}width {width} {why}; {hint}")
    if not widths or sorted(set(widths)) != widths:
        raise PmdError(f"{place}widths {widths}: must be at least one and increase; {hint}")
    if full and widths[-1] != config.hidden_size:
        raise PmdError(f"{place}widths {widths}: the last must be the hidden size {config.hidden_size}; {hint}")
    return widths


def flops(config: BertConfig, length: int) -> int:
    """Floating point operations (2 per multiply-add) to encode a sequence of `length` tokens: the linear layers and
    the two products of attention of every layer; embeddings, norms, pooling and heads are left out."""
    d = config.hidden_size
    linears = 4 * d * d + 2 * d * config.intermediate_size
    return 2 * length * config.num_hidden_layers * (linears + 2 * length * d)

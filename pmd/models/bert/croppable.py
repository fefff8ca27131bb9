"""BERT-MED: one BERT that holds a narrower BERT in the leading part of every one of its matrices.

Zhu et al., *MED*, ACL 2025, section 5.5 and appendix D.3, with whole heads: of a matrix x × y the sub-model of
hidden size w reads the leading (w/d)·x × (w/d)·y part, and likewise the leading parts of embeddings, biases and
LayerNorms. A LayerNorm normalises the w numbers that it is given; attention is scaled by the size of a head, which
is the same at every width.

In: token ids. Out: hidden states or logits of one sub-model or of all.

The classes are those of `transformers` with two kinds of module exchanged: a linear layer and a LayerNorm that use
only as much of themselves as their input is wide. A sub-model then runs through the code of `transformers` unchanged,
because a hidden state of width w asks each layer for no more than w; and everything that a BERT can do (any attention
kernel, gradient checkpointing, `save_pretrained`, a `Trainer`) works at full width as before. Nothing is copied for a
sub-model: it computes with views of the weights. `forward_widths` makes these views once for all widths and puts them in
the place of the parameters.
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
from pmd.core.packages import model_source
from pmd.models.bert.leading_parts import CROPPABLE_CLASSES, LeadingParts, croppable_parameters, leading_slices


class CroppableBertConfig(BertConfig):
    """Configuration of a BERT with sub-models: for `transformers`, that of a BERT with one more attribute.

    Args:
        widths: hidden sizes of the sub-models, increasing, the last one `hidden_size`; None for that alone.
    """

    widths: list[int] | None = None

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As in `transformers`, but checkpoints of other models are refused (it would warn and use random weights)."""
        settings, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        model_type = settings.get("model_type", "bert")
        if model_type != "bert":
            raise PmdError(
                f"'{pretrained_model_name_or_path}' is a '{model_type}' model; only a 'bert' can be made croppable"
            )
        return settings, kwargs


class _Croppable:
    """What both croppable models share: widths, loading, saving and cropping."""

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
            pretrained_model_name_or_path: which of them.
            widths: of the sub-models; default those that the folder was saved with, or else the full width alone.
            args, kwargs: as in `transformers`, for example `num_labels`.

        Raises:
            PmdError: if it cannot be loaded, is not a BERT, lacks weights of the encoder, or cannot have these widths.
        """
        name = str(pretrained_model_name_or_path)
        wants_loading = kwargs.pop("output_loading_info", False)
        if widths is not None and isinstance(kwargs.get("config"), PretrainedConfig):
            kwargs["config"] = copy.copy(kwargs["config"])
            kwargs["config"].widths = list(widths)
        elif widths is not None:
            kwargs["widths"] = list(widths)
        try:
            model, loading = super().from_pretrained(model_source(name), *args, output_loading_info=True, **kwargs)
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
        """Save the full model in `save_directory` as an ordinary BERT folder, with `widths` in its config; `args` and `kwargs` as of
        `transformers`."""
        plain = self._plain(self._config_at(self.config.hidden_size), self.state_dict())
        plain.config.widths = list(self.widths)
        plain.save_pretrained(save_directory, *args, **kwargs)

    def crop(self, width: int) -> PreTrainedModel:
        """The stand-alone sub-model: a plain `BertModel` or `BertForSequenceClassification` with weights of its own.

        Args:
            width: any hidden size of whole heads, in `widths` or not.

        Raises:
            PmdError: for a width that would cut a head or a neuron in two.
        """
        check_bert_widths([width], self.config)
        return self._plain(self._config_at(width), self.state_dict()).train(self.training)

    def _config_at(self, width: int) -> BertConfig:
        settings = self.config.to_dict()  # a copy
        del settings["widths"]
        for size in ("num_attention_heads", "intermediate_size", "hidden_size"):
            settings[size] = settings[size] * width // self.config.hidden_size
        return BertConfig.from_dict(settings)

    def _plain(self, config: BertConfig, state: dict[str, Tensor]) -> PreTrainedModel:
        """A plain BERT with copies of the leading parts of `state`."""
        with torch.device("meta"):
            plain = self.plain_class(config, **self._options())
        shapes = {name: tensor.shape for name, tensor in plain.state_dict().items()}
        if missing := sorted(shapes.keys() - state.keys()):
            raise PmdError(f"the model has no '{missing[0]}' to crop; merge adapters into it first")
        parts = {name: state[name][leading_slices(shape)] for name, shape in shapes.items()}
        plain.load_state_dict({name: tensor.detach().clone() for name, tensor in parts.items()}, assign=True)
        for name, buffer in self.named_buffers():  # positions, which are in no state dict and the same at every width
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

    Example:
        >>> model = pmd.CroppableBert.from_pretrained("runs/glue-stsb-…/med").eval()
        >>> outputs = model.forward_widths(torch.tensor([[2, 7, 8, 3]]), widths=[64, 128])
        >>> [tuple(output.last_hidden_state.shape) for output in outputs]
        [(1, 4, 64), (1, 4, 128)]
    """

    plain_class = BertModel

    def __init__(self, config: CroppableBertConfig, add_pooling_layer: bool = True):
        if config.is_decoder:
            raise PmdError("is_decoder: a decoder cannot be made croppable; set it to false for an encoder")
        config.widths = check_bert_widths(getattr(config, "widths", None) or [config.hidden_size], config, full=True)
        super().__init__(config, add_pooling_layer)
        for module in self.modules():
            if type(module) in CROPPABLE_CLASSES:  # parameters and their names stay as they are
                module.__class__ = CROPPABLE_CLASSES[type(module)]

    def forward_widths(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        widths: Sequence[int] | None = None,
        first_tokens: Tensor | None = None,
    ) -> list[BaseModelOutputWithPooling]:
        """The outputs of sub-models for a batch, narrowest first.

        Embeddings are looked up and the mask is built once for all. At full width this is `forward`.

        Args:
            input_ids: (b, L) integers.
            attention_mask, token_type_ids, position_ids: of the same shape, as in `BertModel`. For rows of several texts (`pmd.data.texts.packing`) the mask is (b, 1, L, L), true where one
                token sees the other (with attention `sdpa`).
            widths: of the sub-models, increasing; default all.
            first_tokens: (2, t) row and column of the tokens that are pooled; default the first of every row, t = b.

        Returns:
            For each width w `last_hidden_state` (b, L, w) and `pooler_output` (t, w), None without a pooling layer.

        Raises:
            PmdError: for widths that cut a head or a neuron in two, or parameters that a BERT does not have.
        """
        embeddings, outputs = self.embeddings, []
        if position_ids is None:
            position_ids = embeddings.position_ids[:, : input_ids.shape[1]]
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        summed = embeddings.word_embeddings(input_ids) + embeddings.token_type_embeddings(token_type_ids)
        summed = summed + embeddings.position_embeddings(position_ids)  # (b, L, d)
        mask = create_bidirectional_mask(self.config, summed, attention_mask)
        widths = self.widths if widths is None else check_bert_widths(widths, self.config)
        for width, parts in self._cropped_parameters(widths).items():
            norm = functional_call(embeddings.LayerNorm, parts["embeddings.LayerNorm"], (summed[..., :width],))
            hidden = embeddings.dropout(norm)  # (b, L, w)
            masked = {"attention_mask": mask}
            hidden = functional_call(self.encoder, parts["encoder"], (hidden,), masked).last_hidden_state
            pooled = None
            if self.pooler is not None:
                # (b, L, w) or (t, 1, w), of which the pooler reads the first token
                texts = hidden if first_tokens is None else hidden[first_tokens[0], first_tokens[1], None]
                pooled = functional_call(self.pooler, parts["pooler"], (texts,))
            outputs.append(BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled))
        return outputs

    def _cropped_parameters(self, widths: Sequence[int]) -> dict[int, dict[str, dict[str, Tensor]]]:
        """The parameters of sub-models, by width, module and name: parts of this model's own, through which gradients
        reach them."""
        by_width: dict[int, dict[str, dict[str, Tensor]]] = {width: {} for width in widths}
        for module in ("embeddings.LayerNorm", "encoder", *(["pooler"] if self.pooler is not None else [])):
            for name, whole in croppable_parameters(self.get_submodule(module), module):
                shapes = [[size * width // self.config.hidden_size for size in whole.shape] for width in widths]
                for modules, part in zip(by_width.values(), LeadingParts.apply(whole, *shapes)):
                    modules.setdefault(module, {})[name] = part
        return by_width

    def _options(self) -> dict[str, Any]:
        return {"add_pooling_layer": self.pooler is not None}


class CroppableBertForSequenceClassification(_Croppable, BertForSequenceClassification):
    """A `BertForSequenceClassification` with sub-models: `num_labels` classes, or a regression with one.

    Args:
        config: of the full model, with `widths`.

    Raises:
        PmdError: for widths that do not increase up to the hidden size, or cut a head or a neuron in two.

    Example:
        >>> model = pmd.CroppableBertForSequenceClassification.from_pretrained("runs/glue-stsb-…/med").eval()
        >>> model.forward_widths(torch.tensor([[2, 7, 8, 3]])).shape
        torch.Size([4, 1, 1])
        >>> model.crop(128).config.hidden_size
        128
    """

    plain_class = BertForSequenceClassification

    def __init__(self, config: CroppableBertConfig):
        super().__init__(config)
        self.bert = CroppableBert(config)

    def forward_widths(self, input_ids: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The logits of sub-models for a batch `input_ids` (b, L), narrowest first: (n, t, num_labels).

        The other arguments (args, kwargs), t and errors as for `CroppableBert.forward_widths`.
        """
        outputs = self.bert.forward_widths(input_ids, *args, **kwargs)
        return torch.stack([self._logits(output.pooler_output) for output in outputs])

    def _logits(self, pooled: Tensor) -> Tensor:
        """(t, w) -> (t, num_labels): the classifier is cropped on its input only."""
        return linear(self.dropout(pooled), self.classifier.weight[:, : pooled.shape[-1]], self.classifier.bias)


def allowed_widths(config: BertConfig) -> list[int]:
    """All hidden sizes that a BERT can be cropped to: whole heads, and a whole number of intermediate neurons."""
    head_size = config.hidden_size // config.num_attention_heads
    sizes = range(head_size, config.hidden_size + 1, head_size)
    return [size for size in sizes if config.intermediate_size * size % config.hidden_size == 0]


def check_bert_widths(widths: Sequence[int], config: BertConfig, full: bool = False, option: str = "") -> list[int]:
    """The widths as a list.

    Args:
        full: whether the last one must be the hidden size.
        option: the setting that they come from, for messages.

    Raises:
        PmdError: if they do not increase, or a BERT of this `config` cannot be cropped to one of them.
    """
    allowed, widths, prefix = allowed_widths(config), list(widths), option and f"{option}: "
    hint = f"choose among {', '.join(map(str, allowed))}"
    for width in widths:
        if width not in allowed:
            head_size = config.hidden_size // config.num_attention_heads
            why = (
                f"exceeds the hidden size {config.hidden_size}"
                if width > config.hidden_size
                else f"is not a multiple of the heads' size {head_size}"
                if width < 1 or width % head_size
                else f"cannot cut the intermediate size {config.intermediate_size} in proportion"
            )
            raise PmdError(f"{prefix}width {width} {why}; {hint}")
    if not widths or sorted(set(widths)) != widths:
        raise PmdError(f"{prefix}widths {widths}: give at least one, in increasing order; {hint}")
    if full and widths[-1] != config.hidden_size:
        raise PmdError(f"{prefix}widths {widths}: the last must be the hidden size {config.hidden_size}; {hint}")
    return widths


def flops(config: BertConfig, length: int) -> int:
    """Floating point operations (2 for each multiply-add) to encode `length` tokens: those of the linear layers and of the
    two matrix products of attention. Embeddings, norms, pooling and classifiers are left out."""
    d = config.hidden_size
    linears = 4 * d * d + 2 * d * config.intermediate_size
    return 2 * length * config.num_hidden_layers * (linears + 2 * length * d)

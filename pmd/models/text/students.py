"""Students: the same bi-encoder, or classifier, with some of the layers of a deeper one."""

from __future__ import annotations

import copy

from torch import Tensor
from transformers import BertForSequenceClassification

from pmd.core.errors import PmdError
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig


def evenly_spaced(layers: int, of: int) -> list[int]:
    """`layers` of the layers 0 … `of` − 1, each from the middle of its share.

    3 of 12 gives 2, 6, 10 and 6 of 12 gives 1, 3, 5, 7, 9, 11, as the PMD paper has them.
    """
    return [(2 * i + 1) * of // (2 * layers) for i in range(layers)]


def student_of(source: BiEncoder, layers: list[int], widths: list[int] | None = None) -> BiEncoder:
    """A new bi-encoder with the given layers of `source`, everything else copied. Its vectors are as wide as the
    encoder, and will be trained at `widths`, by default at that one.

    Raises:
        PmdError: if the encoder has no such layers.
    """
    prefix = _layer_prefix(source)
    if not layers or not all(0 <= layer < source.depth for layer in layers):
        raise PmdError(f"layers {layers}: choose at least one of the encoder's layers, 0 to {source.depth - 1}")
    encoder = copy.deepcopy(source.config.encoder)
    encoder.num_hidden_layers = len(layers)
    settings = {**source.config.to_dict(), "layers": [source.config.layers[layer] for layer in layers]}
    settings |= {"encoder": encoder, "widths": widths, "width": None}
    student = BiEncoder(BiEncoderConfig(**settings))
    student.load_state_dict(_kept(source.state_dict(), prefix, layers), strict=True)
    return student


def shallower(source: BertForSequenceClassification, layers: int) -> BertForSequenceClassification:
    """A new classifier with so many of the layers of `source`, evenly taken, everything else copied.

    Raises:
        PmdError: if it has fewer.
    """
    depth = source.config.num_hidden_layers
    if not 1 <= layers <= depth:
        raise PmdError(f"layers: {layers} of a BERT of {depth}; choose 1 to {depth}")
    config = copy.deepcopy(source.config)
    config.num_hidden_layers = layers
    student = BertForSequenceClassification(config)
    state = _kept(source.state_dict(), ".encoder.layer.", evenly_spaced(layers, depth))
    student.load_state_dict(state, strict=True)
    return student.train(source.training)


def _kept(state: dict[str, Tensor], prefix: str, layers: list[int]) -> dict[str, Tensor]:
    """A state with the given layers alone, numbered anew."""
    kept = {}
    for name, tensor in state.items():
        front, found, rest = name.partition(prefix)
        if not found:
            kept[name] = tensor
            continue
        old, rest = rest.split(".", 1)
        for new in (new for new, layer in enumerate(layers) if layer == int(old)):
            kept[f"{front}{prefix}{new}.{rest}"] = tensor
    return kept


def _layer_prefix(model: BiEncoder) -> str:
    for prefix in (".encoder.layer.", ".transformer.layer."):
        if any(prefix in name for name in model.state_dict()):
            return prefix
    raise PmdError(f"cannot choose layers of a '{model.config.encoder.model_type}' encoder; use a BERT-like one")

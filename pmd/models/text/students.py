"""Students: the same bi-encoder, or classifier, with some of the layers of a deeper one, or without any."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from pmd.core.errors import PmdError, first_line
from pmd.data.texts.graph_text import GraphText
from pmd.data.texts.ragged import Ragged
from pmd.models.text.bag import BagConfig
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.encoders import layer_lists, with_layers
from pmd.models.text.scorer import encode_texts

COMMON = 1e-3
"""A word piece with this share of all pieces of a graph's texts weighs half of a rare one (Arora et al., ICLR 2017)."""


def evenly_spaced(layers: int, depth: int) -> list[int]:
    """`layers` of the layers 0 … `depth` − 1, each from the middle of its share.

    3 of 12 gives 2, 6, 10 and 6 of 12 gives 1, 3, 5, 7, 9, 11, as the PMD paper has them.
    """
    return [(2 * i + 1) * depth // (2 * layers) for i in range(layers)]


def student_of(source: BiEncoder, layers: list[int], widths: list[int] | None = None) -> BiEncoder:
    """A new bi-encoder with the given layers of `source`, everything else copied. Its vectors are as wide as the
    encoder, and will be trained at `widths`, by default at that one.

    Raises:
        PmdError: if the encoder has no such layers.
    """
    if not layers or not all(0 <= layer < source.depth for layer in layers):
        raise PmdError(f"layers {layers}: choose at least one of the encoder's layers, 0 to {source.depth - 1}")
    student = BiEncoder(_student_config(source, layers, widths))
    student.load_state_dict(_kept(source.state_dict(), layer_lists(source.query_encoder), layers), strict=True)
    return student


def bag_of(source: BiEncoder, text: GraphText, widths: list[int] | None = None) -> BiEncoder:
    """A new bi-encoder without layers, grade 0: its word pieces begin as what `source` makes of each of them alone, weighted
    by their rarity in the graph's texts. `widths` as for `student_of`."""
    vocab_size = source.config.encoder.vocab_size
    encoder = BagConfig(vocab_size, source.dim, 1 + source.reads_types, text.special)
    settings = {**source.config.to_dict(), "layers": [], "widths": widths, "width": None}
    student = BiEncoder(BiEncoderConfig(**settings | {"encoder": encoder}))
    counts = text.counts(variants=True, size=vocab_size)
    rarity = torch.from_numpy(COMMON / (COMMON + counts / counts.sum())).float()
    alone = text.frame.around(Ragged.from_rows([[piece] for piece in range(vocab_size)]))
    with torch.no_grad():
        student.log_inverse_temperature.copy_(source.log_inverse_temperature)
        for role in ("entity",) if source.entity_encoder is None else ("query", "entity"):
            vectors = encode_texts(source, role, alone, text.pad).cpu()
            student.encoder(role).pieces.weight.copy_(vectors * rarity.unsqueeze(1))
    return student


def check_students(source: BiEncoder) -> None:
    """Refuse an encoder whose students would need other weights than those of their layers, without making any.

    Raises:
        PmdError: naming the encoder and what it lacks.
    """
    kept = _kept(source.state_dict(), layer_lists(source.query_encoder), [source.depth - 1])
    try:
        with torch.device("meta"):
            needed = BiEncoder(_student_config(source, [source.depth - 1])).state_dict()
        wrong = [name for name in needed.keys() | kept.keys() if name not in needed or name not in kept]
        wrong += [name for name in needed.keys() & kept.keys() if needed[name].shape != kept[name].shape]
        reason = f"another {min(wrong)}" if wrong else ""
    except Exception as error:  # whatever an encoder of another kind says
        reason = first_line(error)
    if reason:
        kind = source.config.encoder.model_type
        raise PmdError(f"encoder.name: a '{kind}' encoder of fewer layers needs {reason}; choose a BERT-like encoder")


def _student_config(source: BiEncoder, layers: list[int], widths: list[int] | None = None) -> BiEncoderConfig:
    encoder = copy.deepcopy(source.config.encoder)
    with_layers(encoder, layers)
    settings = {**source.config.to_dict(), "layers": [source.config.layers[layer] for layer in layers]}
    return BiEncoderConfig(**settings | {"encoder": encoder, "widths": widths, "width": None})


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
    state = _kept(source.state_dict(), ["encoder.layer"], evenly_spaced(layers, depth))
    student.load_state_dict(state, strict=True)
    return student.train(source.training)


def _kept(state: dict[str, Tensor], lists: list[str], layers: list[int]) -> dict[str, Tensor]:
    """A state with the given layers alone, numbered anew; `lists` are the names in an encoder of what holds them."""
    kept = {}
    for name, tensor in state.items():
        encoder, _, inside = name.partition(".")
        prefix = next((f"{listed}." for listed in lists if inside.startswith(f"{listed}.")), None)
        if prefix is None:
            kept[name] = tensor
            continue
        old, rest = inside.removeprefix(prefix).split(".", 1)
        kept |= {f"{encoder}.{prefix}{new}.{rest}": tensor for new, layer in enumerate(layers) if layer == int(old)}
    return kept

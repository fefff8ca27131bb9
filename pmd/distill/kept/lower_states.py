"""Frozen lower layers read every text of a training once: the states of its tokens are kept (`pmd.distill.kept.rows`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from pmd.core.errors import PmdError
from pmd.data.texts.batches import TripleCollator, chunks
from pmd.data.texts.compose import Texts
from pmd.data.texts.graph_text import GraphText
from pmd.distill.kept.rows import Form, RowFile, keep
from pmd.models.text.bi_encoder import BiEncoder, Role
from pmd.models.text.lower_layers import noted_states

TOLERANCE = 0.01
"""Largest difference of a vector's numbers that the rounding of states to 16 bits may make."""


def keep_lower_states(
    student: BiEncoder, text: GraphText, collate: TripleCollator, folder: Path, *, label: str = ""
) -> tuple[RowFile, RowFile]:
    """What the frozen layers of a student make of the tokens of all queries and entities of a training, in fp16, by the keys
    of `TripleCollator.distinct_texts`.

    Args:
        folder: of the files; those of other weights or of other texts are removed.
        label: heading of the progress bar.

    Raises:
        PmdError: if the disk has no room, or the upper layers cannot go on from such states.
    """
    off = "train.frozen_share to 0"
    form = Form(student.hidden_size, np.float16, True, "the states of frozen layers", off)
    make = partial(_read, student, text.pad, collate.tokens)
    training = student.training
    student.eval()
    check_states(student, text)
    files = keep(student, text, collate, form, make, folder, [student.frozen_layers, collate.tokens], label)
    student.train(training)
    return files


@torch.no_grad()
def _read(student: BiEncoder, pad: int, tokens: int, role: Role, texts: Texts) -> np.ndarray:
    """The states (m, d) of the tokens of texts, one text after the other."""
    states = np.empty((int(texts.ids.offsets[-1]), student.hidden_size), dtype=np.float16)
    starts = texts.ids.offsets[:-1]
    for chunk in chunks(texts, pad, tokens):
        moved = chunk.to(student.device)
        with noted_states(student.encoder(role), student.frozen_layers) as noted:
            student(role, moved.input_ids, moved.attention_mask, moved.token_type_ids)
        real = chunk.attention_mask.numpy() > 0
        places = (starts[chunk.rows.numpy()][:, None] + np.arange(real.shape[1]))[real]
        with np.errstate(over="ignore"):  # it is refused below
            states[places] = noted[0].float().cpu().numpy()[real]
    if not np.isfinite(states).all():
        raise PmdError(
            f"train.frozen_share: what {student.frozen_layers} layers of the encoder make of a text is too large for 16 bits; "
            "set it to 0"
        )
    return states


@torch.no_grad()
def check_states(student: BiEncoder, text: GraphText) -> None:
    """Refuse an encoder whose upper layers need more than the states of the lower ones. PmdError, with the remedy."""
    (chunk,) = chunks(text.entities(np.arange(1)), text.pad, text.max_length)
    whole = chunk.to(student.device)
    states = torch.from_numpy(_read(student, text.pad, text.max_length, "entity", text.entities(np.arange(1))))
    arguments = ("entity", whole.input_ids, whole.attention_mask, whole.token_type_ids)
    vectors = [
        student.pool(student(*arguments, states=given)[-1], whole.attention_mask)
        for given in (None, states[None].to(student.device))
    ]
    if (vectors[0] - vectors[1]).abs().max() > TOLERANCE:
        raise PmdError(
            f"train.frozen_share: the upper layers of a '{student.config.encoder.model_type}' encoder need more than what the "
            "lower ones make of a text; set it to 0"
        )

"""A frozen teacher of texts is asked once: what it makes of every text of a training is kept (`pmd.distill.kept.rows`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pmd.data.texts.batches import TripleCollator, chunks
from pmd.data.texts.compose import Texts
from pmd.data.texts.graph_text import GraphText
from pmd.distill.kept.rows import Form, RowFile, keep
from pmd.models.text.bi_encoder import BiEncoder, Role
from pmd.models.text.encode import Encoded, encode


def ask_once(
    teacher: BiEncoder,
    text: GraphText,
    collate: TripleCollator,
    layers: Sequence[int],
    folder: Path,
    *,
    label: str = "",
) -> tuple[RowFile, RowFile]:
    """What a teacher makes of all queries and entities of a training, by the keys of `TripleCollator.distinct_texts`.

    Args:
        text: the graph's texts as the teacher reads them.
        layers: middle layers whose pooled states are kept behind the vectors.
        folder: of the files; those of another teacher or of other texts are removed.
        label: heading of the progress bar.

    Raises:
        PmdError: if the disk has no room.
    """
    width = teacher.dim + len(layers) * teacher.hidden_size
    form = Form(width, np.float32, False, "the teacher's vectors", "distill.ask_once to false")
    make = partial(_ask, teacher, text.pad, collate.tokens, layers)
    return keep(teacher, text, collate, form, make, folder, [*layers, collate.tokens], label)


@torch.no_grad()
def _ask(teacher: BiEncoder, pad: int, tokens: int, layers: Sequence[int], role: Role, texts: Texts) -> np.ndarray:
    """The vectors of texts, with the pooled states of `layers` behind them: (n, width)."""
    moved = [chunk.to(teacher.device) for chunk in chunks(texts, pad, tokens)]
    encoded = encode(teacher, role, moved, layers=layers)
    return torch.cat([encoded.pooled, *encoded.layers.values()], dim=1).float().cpu().numpy()


def as_encoded(rows: Tensor, dim: int, layers: Sequence[int]) -> Encoded:
    """What `_ask` put side by side."""
    pooled, others = rows[:, :dim], rows[:, dim:].chunk(max(1, len(layers)), dim=1)
    nothing = torch.empty(0, dtype=torch.long, device=rows.device)
    return Encoded(pooled, rows[:0], nothing, dict(zip(layers, others)))

"""What an index has of an earlier state of its graph: a text that was encoded then is not encoded again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from pmd.data.texts.compose import Frame
from pmd.data.texts.ragged import Ragged
from pmd.use.index import Index

if TYPE_CHECKING:
    from pmd.data.texts.graph_text import GraphText


@dataclass(frozen=True, eq=False)
class EarlierTexts:
    """The entities of an index: names, descriptions, tokens of the texts that were read, and the text part of their vectors.

    Args:
        form: what stands around the tokens, as the index has it.
    """

    entity_names: Sequence[str]
    entity_descriptions: Sequence[str]
    tokens: Ragged
    vectors: np.ndarray
    form: str

    @classmethod
    def of(cls, index: Index) -> EarlierTexts:
        """Those of the index of a text model, or of a fused one, whose vectors begin with the text."""
        form = _form(index.texts.frame, index.metadata["pad"], index.metadata["max_length"])
        vectors = index.vectors[:, : index.metadata.get("text_dim")]
        names, descriptions = [*index.entities.names], [*index.entities.descriptions]
        return cls(names, descriptions, index.texts.rows, vectors, form)

    def rows_of(self, text: GraphText) -> np.ndarray:
        """For each entity of a newer state the row (num_entities,) here that has its very tokens; −1 where none has."""
        if _form(text.frame, text.pad, text.max_length) != self.form:  # of a version that read texts in another way
            return np.full(text.num_entities, -1)
        rows = {tokens: row for row, tokens in enumerate(_as_bytes(self.tokens))}
        newer = text.rows.take(np.arange(text.num_entities))
        return np.array([rows.get(tokens, -1) for tokens in _as_bytes(newer)], dtype=np.int64)

    def are_new(self, tokens: Ragged) -> np.ndarray:
        """Which texts (n,), given as the tokens of a newer index, are not among these."""
        known = {*_as_bytes(self.tokens)}
        return np.array([row not in known for row in _as_bytes(tokens)])


def _form(frame: Frame, pad: int, max_length: int) -> str:
    return json.dumps([asdict(frame), pad, max_length])


def _as_bytes(rows: Ragged) -> list[bytes]:
    """Each row as bytes."""
    whole, bounds = rows.flat.astype("<i4").tobytes(), (4 * rows.offsets).tolist()
    return [whole[begin:end] for begin, end in itertools.pairwise(bounds)]

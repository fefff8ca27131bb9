"""Embedding models that answer questions and can be cropped. torch is imported where a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pmd.core.errors import PmdError
from pmd.use.answer_records import Question
from pmd.use.answers import TrainedModel
from pmd.use.explaining import normalised
from pmd.use.index import Columns, Index

if TYPE_CHECKING:
    from pmd.data.graphs.graph import KnowledgeGraph
    from pmd.models.kge.model import KgeModel


def open_model(folder: Path, settings: Mapping[str, Any], open_index: Callable[[], Index]) -> TrainedKge:
    """The model of a folder."""
    from pmd.models.kge.folder import load_counted

    return TrainedKge(load_counted(folder), folder, open_index)


def write_part(
    index: Path, model: Path, graph: KnowledgeGraph, cache: str | None = None, earlier: Index | None = None
) -> tuple[dict[str, Any], Columns]:
    """The metadata of a new index, which holds nothing of an embedding model. PmdError if it was trained on another graph."""
    from pmd.models.kge.folder import load_for

    return {"dim": load_for(model, graph).dim}, {}


def crop_part(index: Index, folder: Path, model: Path, width: int) -> tuple[dict[str, Any], Columns]:
    """The metadata of an index in a new folder, for the first `width` dimensions of its model."""
    return {"dim": width}, {}


@dataclass(frozen=True, eq=False, repr=False)
class TrainedKge(TrainedModel):
    """An embedding model that answers questions.

    Args:
        model: its tables and interaction.
        folder: where the vocabulary of its graph is, which says what its rows are.
        open_index: opens the index of its graph, which questions need.
    """

    model: KgeModel
    folder: Path
    open_index: Callable[[], Index] | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The trained widths, in dimensions, increasing; the last one is the model's own."""
        return self.model.widths

    @property
    def is_whole(self) -> bool:
        return self.model.dim == self.index.metadata["dim"]

    def crop(self, width: int) -> TrainedKge:
        """The model of the leading `width` dimensions, at best one of `widths`. PmdError if it does not have so many."""
        return replace(self, model=self.model.crop(width))

    def scores(self, questions: Sequence[Question]) -> np.ndarray:
        """The scores (b, num_entities) of all entities as answers to the questions (b)."""
        import torch

        scores = np.empty((len(questions), self.model.num_entities), dtype=np.float32)
        for target in ("head", "tail"):
            rows = [row for row, question in enumerate(questions) if question.target == target]
            # The entry at `target` is not read.
            triples = [(questions[row].entity, questions[row].relation, questions[row].entity) for row in rows]
            if rows:
                with torch.no_grad():
                    scores[rows] = self.model.eval().score_all(torch.tensor(triples), target).numpy()
        return scores

    def unit_vectors(self, entities: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return normalised(self.model.entity_vectors(torch.from_numpy(entities)).numpy())

    def check_text(self, text: str) -> None:
        raise PmdError("text: an embedding model knows the entities of its graph alone; ask a text model")

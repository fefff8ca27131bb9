"""Trained models as scorers of a graph, for `pmd.rank`."""

from __future__ import annotations

from pathlib import Path

import torch

from pmd.core.types import TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.models.families import ranking_family, stored_settings
from pmd.use.locate import check_folder


def load_scorer(
    folder: str | Path, graph: KnowledgeGraph, *, device: torch.device | str = "cpu", cache: str | None = None
) -> TripleScorer:
    """A trained text or embedding model as a scorer of a graph.

    Args:
        folder: a stage's folder in a run, or a Hub id.
        graph: the graph to score. A text model reads any; an embedding model only its own.
        cache: folder for tokenised texts.

    Raises:
        PmdError: if there is no such model, or if it cannot score this graph.
    """
    check_folder("load_scorer", str(folder))
    family = ranking_family(stored_settings(folder), folder)
    return family.load_module().scorer(folder, graph, device=device, cache=cache)


def num_parameters(scorer: TripleScorer) -> int:
    """The parameters of a scorer's model; the encoded entities of a text model are not counted."""
    model = getattr(scorer, "model", scorer)
    return sum(parameter.numel() for parameter in model.parameters())

"""A trained model of either kind as a scorer of a graph, ready for `pmd.rank`."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download

from pmd.core.errors import PmdError
from pmd.core.types import TripleScorer
from pmd.data.graph import KnowledgeGraph
from pmd.recipes.kge_model import load_for
from pmd.recipes.text_model import text_scorer


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
    if is_embedding_model(folder):
        return load_for(folder, graph).to(device).eval()
    return text_scorer(folder, graph, device=device, cache=cache)


def is_embedding_model(folder: str | Path) -> bool:
    """Whether the folder's (or Hub id's) config.json names an interaction."""
    file = Path(folder) / "config.json"
    try:
        if not file.is_file():
            file = Path(hf_hub_download(str(folder), "config.json"))
        return "interaction" in json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PmdError(f"cannot load a model from '{folder}': {str(error).strip().splitlines()[0]}") from None


def num_parameters(scorer: TripleScorer) -> int:
    """Trained numbers of a scorer's model; the encoded entities of a text model are not counted."""
    model = getattr(scorer, "model", scorer)
    return sum(parameter.numel() for parameter in model.parameters())

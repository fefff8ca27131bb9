"""A trained model of either kind as a scorer of a graph, ready for `pmd.rank`."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from pmd.core.errors import PmdError
from pmd.core.types import TripleScorer
from pmd.data.graph import KnowledgeGraph
from pmd.models.kge_folder import load_for, stored_file
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
    check_folder("load_scorer", str(folder))
    if is_embedding_model(folder):
        return load_for(folder, graph).to(device).eval()
    return text_scorer(folder, graph, device=device, cache=cache)


def is_embedding_model(folder: str | Path) -> bool:
    """Whether the folder's (or Hub id's) config.json names an interaction."""
    try:
        return "interaction" in json.loads(stored_file(folder, "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise PmdError(f"cannot read the config.json of '{folder}': {error}") from None


def num_parameters(scorer: TripleScorer) -> int:
    """Trained numbers of a scorer's model; the encoded entities of a text model are not counted."""
    model = getattr(scorer, "model", scorer)
    return sum(parameter.numel() for parameter in model.parameters())


def check_folder(option: str, model: str) -> None:
    """Refuse what is plainly no model, before the Hub is asked for something of that name."""
    folder = Path(model)
    if (folder / "config.yaml").is_file():
        stages = sorted(path.parent.name for path in folder.glob("*/config.json"))
        raise PmdError(
            f"{option}: '{model}' is a run; choose one of its stages: {', '.join(stages) or 'none is finished'}"
        )
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise PmdError(f"{option}: '{model}' holds no model (no config.json); give a stage's folder in a run")
    if not folder.is_dir() and (model.count("/") != 1 or folder.parent.is_dir()):
        raise PmdError(f"{option}: no folder '{model}'; give a stage's folder in a run, or a Hub id")

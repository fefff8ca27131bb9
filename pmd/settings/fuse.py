"""Settings of `pmd fuse`: a text model and an embedding model of one graph as one model. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pmd.settings.shared import DataConfig, EvaluationConfig

FuseWeights = Literal["common", "relation", "query"]


@dataclass
class FuseConfig:
    """Put a text model and an embedding model of one graph side by side in one index, weighted by validation.

    Args:
        text: of the text model: a run folder, a stage's folder in one, or a Hub id.
        structure: the same of the embedding model: a product, or a squared distance (model.norm squared).
        out: the new folder, a run with the stage `fused`.
        text_stage, structure_stage: stages of run folders; by default the last finished ones.
        weights: how much the structure counts: one share for all queries (`common`), one for each relation and direction,
            drawn to the common one where it has few queries (`relation`), or one for each query by its score lists (`query`).
        max_triples: validation triples that choose the weights, at most; 0 for all.
        data: the graph; by default that of the text model's run.
        evaluation: what is ranked at the end, and how.
        threads: CPU threads; 0 for OMP_NUM_THREADS, or else for all free cores.
    """

    text: str
    structure: str
    out: str
    text_stage: str | None = None
    structure_stage: str | None = None
    weights: FuseWeights = "relation"
    max_triples: int = 5000
    data: DataConfig | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    threads: int = 0

"""Knowledge graph completion with language models, distilled until they are small enough to use.

Names are loaded on first use, so that importing the package is instant.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "load_graph": "pmd.data.graphs.sources",
    "graph_from": "pmd.data.graphs.files.frames",
    "Shares": "pmd.data.graphs.split",
    "KnowledgeGraph": "pmd.data.graphs.graph",
    "KgeModel": "pmd.models.kge.model",
    "BiEncoder": "pmd.models.text.bi_encoder",
    "BiEncoderConfig": "pmd.models.text.bi_encoder",
    "CroppableBert": "pmd.models.bert.croppable",
    "CroppableBertForSequenceClassification": "pmd.models.bert.croppable",
    "TextScorer": "pmd.models.text.scorer",
    "VectorScorer": "pmd.models.vectors",
    "load": "pmd.use.load",
    "load_scorer": "pmd.use.load",
    "rank": "pmd.evaluation.ranking",
    "ranks": "pmd.evaluation.ranking",
    "rank_widths": "pmd.evaluation.width_ranking",
    "RankingMetrics": "pmd.evaluation.metrics",
    "PmdError": "pmd.core.errors",
    "PmdWarning": "pmd.core.errors",
    "TrainedRun": "pmd.api.trained",
    "fit": "pmd.api.fitting.fit",
    "progressive": "pmd.api.runs",
    "train": "pmd.api.runs",
    "glue": "pmd.api.runs",
    "tune": "pmd.api.tuning.tune",
    "fuse": "pmd.api.runs",
    "shrink": "pmd.api.runs",
    "update": "pmd.api.calls",
    "evaluate": "pmd.api.calls",
    "crop": "pmd.api.calls",
    "export": "pmd.api.calls",
    "push": "pmd.api.calls",
    "report": "pmd.api.calls",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pmd' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

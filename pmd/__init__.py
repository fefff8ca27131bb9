"""Knowledge graph completion with language models, distilled until they are small enough to use.

Names are loaded on first use, so that importing the package is instant.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "load_graph": "pmd.data.sources",
    "KnowledgeGraph": "pmd.data.graph",
    "KgeModel": "pmd.models.kge",
    "BiEncoder": "pmd.models.bi_encoder",
    "BiEncoderConfig": "pmd.models.bi_encoder",
    "CroppableBert": "pmd.models.croppable_bert",
    "CroppableBertForSequenceClassification": "pmd.models.croppable_bert",
    "TextScorer": "pmd.models.text_scorer",
    "load": "pmd.recipes.trained",
    "load_scorer": "pmd.recipes.scorers",
    "rank": "pmd.evaluation.ranking",
    "ranks": "pmd.evaluation.ranking",
    "rank_widths": "pmd.evaluation.width_ranking",
    "RankingMetrics": "pmd.evaluation.metrics",
    "PmdError": "pmd.core.errors",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pmd' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

"""A run's metrics as `model-index` entries, which the Hub shows beside a model; the values are the run's, unrounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huggingface_hub import EvalResult

from pmd.hub.facts import Facts, Metrics

RANKING = {"mrr": "MRR", "hits_at_1": "Hits@1", "hits_at_3": "Hits@3", "hits_at_10": "Hits@10", "mr": "MR"}
"""Names of ranking metrics as they are printed."""

SIDES = {"head": "(?, r, t)", "tail": "(h, r, ?)"}
"""The two kinds of queries, by what they ask for."""

NARROWER = ("mrr", "hits_at_10")
"""What is said of the widths below the published one."""


def eval_results(facts: Facts) -> list[EvalResult]:
    """All entries: of the published width in full, of narrower ones that can be cropped MRR and Hits@10."""
    found = []
    for split, cells in facts.by_width.items():
        for width, metrics in sorted(cells.items(), reverse=True):
            named = _classified(metrics) if facts.kind == "bert" else _ranked(metrics, width == facts.dim)
            for key, name, value, of in named:
                if width != facts.dim:
                    name, of = f"{name}, width {width}", {**of, "width": width}
                found.append(
                    EvalResult(
                        **_task(facts),
                        dataset_split=split,
                        metric_type=key,
                        metric_name=name,
                        metric_value=value,
                        metric_args=of or None,
                    )
                )
    return found


def _task(facts: Facts) -> dict[str, Any]:
    if facts.kind == "bert":
        task = facts.config["task"]
        return {
            "task_type": "text-classification",
            "dataset_type": facts.dataset or "glue",
            "dataset_config": task,
            "dataset_name": f"GLUE {task}",
        }
    return {
        "task_type": "graph-ml",
        "task_name": "Link prediction",
        "dataset_type": facts.dataset or facts.graph.name,
        "dataset_name": facts.graph.name,
    }


Entry = tuple[str, str, float, dict[str, Any]]
"""Type, name, value and arguments of a metric."""


def _ranked(metrics: Metrics, whole: bool) -> Iterator[Entry]:
    for key, name in RANKING.items():
        if whole or key in NARROWER:
            yield key, name, metrics[key], {}
    for side, query in SIDES.items():
        if whole and side in metrics:
            yield "mrr", f"MRR of {query}", metrics[side]["mrr"], {"target": side}


def _classified(metrics: Metrics) -> Iterator[Entry]:
    for key, value in metrics.items():
        yield key, key, value, {}

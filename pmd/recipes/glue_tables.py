"""Tables of GLUE results: one run's, and the layout of Table 6 of the MED paper (Zhu et al., ACL 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pmd.recipes.tables import markdown, spread
from pmd.settings.tasks import TASKS, GlueTask

SHORT = {
    "accuracy": "acc.",
    "f1": "F1",
    "matthews_correlation": "Matthews",
    "pearson": "Pearson",
    "spearmanr": "Spearman",
}


@dataclass(frozen=True)
class Column:
    """A task, or one of its validation splits, in a table.

    `metrics` are in the order of the paper: F1 before accuracy.
    """

    title: str
    task: str
    split: str
    metrics: tuple[str, ...]

    @property
    def header(self) -> str:
        return f"{self.title} {'/'.join(SHORT[metric] for metric in self.metrics)}"


COLUMNS = tuple(
    Column(title, key, split, TASKS[key].metrics[::-1] if "f1" in TASKS[key].metrics else TASKS[key].metrics)
    for title, key, split in (
        ("MNLI-m", "mnli", "validation_matched"),
        ("MNLI-mm", "mnli", "validation_mismatched"),
        *(
            (TASKS[key].title, key, "validation")
            for key in ("mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "cola", "wnli")
        ),
    )
)
"""The paper's columns in the paper's order, then the tasks that it leaves out."""


Runs = Mapping[str, Sequence[Mapping[str, dict[str, Any]]]]
"""By task, the `results` of the runs of every seed."""

CONSTANT = "†"
MAJORITY = "majority class"


def run_table(results: Mapping[str, dict[str, Any]], task: GlueTask) -> str:
    """One row for every finished stage and width: size, speed, and the metrics of validation ×100; below it what it takes
    to read them."""
    runs = {task.key: [results]}
    names = [(split, metric) for split in task.validation for metric in task.metrics]
    rows = [
        (
            name,
            width,
            result["layers"],
            f"{of['parameters']:,}",
            f"{of['flop_ratio']:.2f}×",
            f"{of['speedup']:.2f}×" if "speedup" in of else "",
            *(_shown([of["metrics"][split][metric]]) + _mark([of], [split]) for split, metric in names),
            _shown([of["score"]]) + _mark([of], task.validation),
        )
        for name, result in results.items()
        for width, of in result["widths"].items()
    ]
    if majority := _majority(runs, task.key):
        scores = [majority[split][metric] for split, metric in names]
        score = fmean(fmean(of.values()) for of in majority.values())
        rows.append((MAJORITY, *[""] * 5, *(f"{100 * value:.1f}" for value in [*scores, score])))
    shown = [f"{SHORT[metric]}{split.removeprefix('validation').replace('_', ' ')}" for split, metric in names]
    headers = ("model", "width", "layers", "parameters", "fewer FLOPs", "speed-up", *shown, "score")
    return markdown(headers, rows) + legend(runs)


def legend(runs: Runs) -> str:
    """The lines below a table, each after an empty one: how many examples a score is of, and what marks mean."""
    every = {key: [result for results in seeds for result in results.values()] for key, seeds in runs.items()}
    stages = [result for results in every.values() for result in results]
    counts = {key: next((of["examples"] for of in results if "examples" in of), None) for key, results in every.items()}
    known = [column for column in COLUMNS if counts.get(column.task)]
    sizes = ", ".join(f"{column.title} {counts[column.task][column.split]:,}" for column in known)
    lines = [f"Validation examples: {sizes}."] if sizes else []
    if any(_majority(runs, key) for key in runs):
        lines.append(f"{MAJORITY}: every example answered with the most frequent class of the training examples.")
    if any(of.get("constant") for result in stages for of in result["widths"].values()):
        several = " (k/n: in k of n seeds)" if any(len(seeds) > 1 for seeds in runs.values()) else ""
        lines.append(f"{CONSTANT} All examples of the split got the same answer{several}: nothing was learned.")
    if {"med", "hat"} <= {result.get("method") for result in stages}:
        lines.append(
            "An epoch of `med` trains every width on every example; one of `hat` trains in each step one width, drawn."
        )
    return "".join(f"\n\n{line}" for line in lines)


def _majority(runs: Runs, task: str) -> dict[str, dict[str, float]]:
    """The metrics by split of always answering the majority class; empty for a regression, and for results that are older
    than this row."""
    every = (result.get("majority", {}) for results in runs[task] for result in results.values())
    return next((found for found in every if any(found.values())), {})


def _mark(cell: Sequence[Mapping[str, Any]], splits: Sequence[str]) -> str:
    """The mark of models, one a seed, that answer all examples of one of the splits alike."""
    marked = sum(any(split in of.get("constant", ()) for split in splits) for of in cell)
    if not marked:
        return ""
    return f" {CONSTANT}" if marked == len(cell) else f" {CONSTANT}{marked}/{len(cell)}"


def _shown(values: Sequence[float]) -> str:
    return spread([100 * value for value in values], digits=1)

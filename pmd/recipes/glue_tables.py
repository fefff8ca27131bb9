"""Tables of GLUE results, ×100: one run's here, those of several runs in `pmd.papers.glue_layout`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pmd.core.results import Metrics, StageResult, SubModelResult
from pmd.evaluation.tables import Table, mean_and_deviation, table_of
from pmd.settings.catalogue import METRICS, TASKS, GlueTask


@dataclass(frozen=True)
class Column:
    """A task, or one of its validation splits, in a table.

    `metrics` are in the order of the MED paper (Zhu et al., ACL 2025, Table 6): F1 before accuracy.
    """

    title: str
    task: str
    split: str
    metrics: tuple[str, ...]

    @property
    def header(self) -> str:
        return f"{self.title} {'/'.join(METRICS['glue'][metric].title for metric in self.metrics)}"


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

Runs = Mapping[str, Sequence[Mapping[str, StageResult]]]
"""By task, the `results` of the runs of every seed."""

CONSTANT = "†"
MAJORITY = "majority class"


def run_table(results: Mapping[str, StageResult], task: GlueTask) -> Table:
    """One row for every finished stage and width: size, speed, and the metrics of validation."""
    runs = {task.key: [results]}
    columns = {
        f"{METRICS['glue'][metric].title}{split.removeprefix('validation').replace('_', ' ')}": (split, metric)
        for split in task.validation
        for metric in task.metrics
    }
    rows = []
    for name, result in results.items():
        for width, model in result.sub_models.items():
            cells = {
                column: percent([model.metrics[split][metric]]) + constant_mark([model], [split])
                for column, (split, metric) in columns.items()
            }
            sizes = {
                "model": name,
                "width": str(width),
                "layers": str(result.layers),
                "parameters": f"{model.parameters:,}",
                "fewer FLOPs": f"{model.flop_ratio:.2f}×",
                "speed-up": f"{model.speedup:.2f}×" if model.speedup else "",
            }
            rows.append({**sizes, **cells, "score": percent([model.score]) + constant_mark([model], task.validation)})
    if rows and (majority := majority_metrics(runs, task.key)):
        scores = {column: percent([majority[split][metric]]) for column, (split, metric) in columns.items()}
        mean = percent([fmean(fmean(metrics.values()) for metrics in majority.values())])
        rows.append({**dict.fromkeys(rows[0], ""), "model": MAJORITY, **scores, "score": mean})
    return table_of(rows, notes=legend(runs))


def legend(runs: Runs) -> list[str]:
    """The notes below a table: how many examples a score is of, and what the marks mean."""
    by_task = {task: [result for results in seeds for result in results.values()] for task, seeds in runs.items()}
    every = [result for results in by_task.values() for result in results]
    examples = {task: next((r.examples for r in results if r.examples), {}) for task, results in by_task.items()}
    sizes = [f"{c.title} {examples[c.task][c.split]:,}" for c in COLUMNS if examples.get(c.task)]
    notes = [f"Validation examples: {', '.join(sizes)}."] if sizes else []
    if any(majority_metrics(runs, task) for task in runs):
        notes.append(f"{MAJORITY}: every example answered with the most frequent class of the training examples.")
    if any(model.constant for result in every for model in result.sub_models.values()):
        several = " (k/n: in k of n seeds)" if any(len(seeds) > 1 for seeds in runs.values()) else ""
        notes.append(f"{CONSTANT} All examples of the split got the same answer{several}: nothing was learned.")
    if {"med", "hat"} <= {result.method for result in every}:
        notes.append(
            "An epoch of `med` trains every width on every example; one of `hat` trains one width, drawn anew, in each step."
        )
    return notes


def majority_metrics(runs: Runs, task: str) -> dict[str, Metrics]:
    """The metrics by split of always answering the majority class; empty for a regression, and for results that are older
    than this row."""
    stored = (result.majority or {} for results in runs[task] for result in results.values())
    return next((by_split for by_split in stored if any(by_split.values())), {})


def constant_mark(models: Sequence[SubModelResult], splits: Sequence[str]) -> str:
    """The mark of models, one for each seed, that give all examples of one of the splits the same answer."""
    marked = sum(any(split in (model.constant or ()) for split in splits) for model in models)
    if not marked:
        return ""
    return f" {CONSTANT}" if marked == len(models) else f" {CONSTANT}{marked}/{len(models)}"


def percent(values: Sequence[float]) -> str:
    """Mean and standard deviation, ×100."""
    return mean_and_deviation([100 * value for value in values], digits=1)

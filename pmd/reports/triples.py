"""The section of a report about relations and verdicts, where `pmd evaluate --tasks` has measured them."""

from __future__ import annotations

from pmd.evaluation.tables import table_of
from pmd.recipes.triples.measure import CAPTIONS, task_cells
from pmd.reports.page import Section
from pmd.reports.record import RunRecord


def triples_section(record: RunRecord) -> Section | None:
    """A table of relation prediction and one of verdicts, a row for each stage and split."""
    blocks = []
    for task, caption in CAPTIONS.items():
        measured = [
            {"stage": stage, "split": split, **task_cells(metrics)}
            for stage, result in record.results.items()
            for split, metrics in (getattr(result, task) or {}).items()
        ]
        blocks += [table_of(measured, caption, left=("stage", "split"))] if measured else []
    return Section("Relations and verdicts", blocks) if blocks else None

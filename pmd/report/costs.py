"""The sections of a report on what accuracy costs: widths, parameters, and the time of a query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pmd.core.results import StageResult
from pmd.recipes.tables import Table, parameters_at, seeds_table, table_of, widths_tables
from pmd.report.page import Pictures, Section
from pmd.report.pictures import lines, numbered, points
from pmd.report.record import RunRecord

Files = Callable[[str], Path]
"""The file of a picture, without its ending, by its name."""


def widths_section(record: RunRecord, details: Mapping[str, Any], files: Files) -> Section | None:
    """Croppable models, width by width, and what wide ones retain of narrow ones; None where there are none."""
    croppable = {name: result for name, result in record.ranked().items() if result.widths}
    if not croppable:
        return None
    split = record.splits[0]
    mrr = {
        name: {w: metrics["mrr"] for w, metrics in result.by_width(split).items()} for name, result in croppable.items()
    }
    tables = [replace(table, caption=f"{table.caption}, {split}") for table in widths_tables(croppable, split)]
    draw = partial(lines, x="width", y=f"MRR, {split}", widths=True)
    pictures = numbered(files("widths"), mrr, f"MRR by width, {split}", draw)
    widths = sorted({width for by_width in mrr.values() for width in by_width})
    retention = {name: [stage["retention"]] for name, stage in details.items() if stage["retention"]}
    ratios = [retention_table(retention, widths, f", {split}")] if retention else []
    return Section("Widths", [*tables, Pictures(pictures), *ratios])


def retention_table(
    retention: Mapping[str, Sequence[Mapping[str, Sequence[int]]]],
    widths: Sequence[int],
    of_split: str = "",
    titles: Mapping[str, str] | None = None,
) -> Table:
    """Models down; the ratio, then that of the queries that each width is the narrowest to answer. Nothing is wider than
    the widest, so it has no column.

    Args:
        retention: answered and retained queries by model, seed and width.
    """
    columns = {"all": widths, **{f"from {width}": [width] for width in widths[:-1]}}
    rows = {
        name: {column: retention_ratios(seeds, narrowest) for column, narrowest in columns.items()}
        for name, seeds in retention.items()
    }
    caption = (
        f"Ability retention ratio{of_split}: of the queries that some width answers within the first 10, the share that "
        "all wider ones answer too; and by the narrowest that answers"
    )
    return seeds_table(["method" if titles else "model"], [*columns], rows, caption, titles=titles)


def retention_ratios(seeds: Sequence[Mapping[str, Sequence[int]]], narrowest: Sequence[int]) -> list[float]:
    """The ability retention ratio of each seed, of the queries that one of these widths is the narrowest to answer; seeds
    without such a query have nothing to retain, and are left out."""
    from pmd.evaluation.retention import retention_ratio  # loads torch

    counts = [[by_width[str(width)] for width in narrowest if str(width) in by_width] for by_width in seeds]
    return [retention_ratio(pairs) for pairs in counts if any(answered for answered, _ in pairs)]


def cost_section(record: RunRecord, latency: Mapping[str, Any], files: Files) -> Section | None:
    """Accuracy against parameters and against the time of a query."""
    results = record.ranked()
    if not results:
        return None
    split, times = record.splits[0], latency.get("milliseconds", {})
    sizes = {name: parameters_and_mrr(result, split) for name, result in results.items()}
    timed = {
        name: {int(width): (ms, sizes[name][int(width)][1]) for width, ms in by_width.items()}
        for name, by_width in times.items()
    }
    pictures = []
    for file, values, x, caption in (
        ("parameters", sizes, "parameters", f"MRR against parameters, {split}"),
        ("latency", timed, "milliseconds a query", f"MRR against the time of one query, {split}"),
    ):
        pairs = {name: [*by_width.values()] for name, by_width in values.items()}
        pictures += numbered(files(file), pairs, caption, partial(points, x=x, y=f"MRR, {split}"), [*sizes])
    rows = [
        {
            "model": name,
            "width": str(width),
            "parameters": f"{sizes[name][width][0]:,}",
            f"MRR, {split}": f"{mrr:.3f}",
            "milliseconds": f"{milliseconds:.3g}",
        }
        for name, by_width in timed.items()
        for width, (milliseconds, mrr) in by_width.items()
    ]
    if not rows:
        return Section("Accuracy and cost", [Pictures(pictures)])
    machine = latency["of"]["machine"]
    caption = (
        f"One query (h, r, ?) at a time, scored with every entity, whose vectors are at hand: median of "
        f"{latency['rounds']}, models in turns, one thread of {machine['processor']} ({machine['cores']} cores), "
        f"{latency['date']}"
    )
    return Section("Accuracy and cost", [Pictures(pictures), table_of(rows, caption)])


def parameters_and_mrr(result: StageResult, split: str) -> dict[int, tuple[int, float]]:
    """Parameters and MRR by width."""
    return {w: (parameters_at(result, w), metrics["mrr"]) for w, metrics in result.by_width(split).items()}


def glue_section(record: RunRecord, files: Files) -> Section | None:
    """A task's score against parameters and measured time at batch 32."""
    if not record.results:
        return None
    pictures = []
    for key, factor, label in (("parameters", 1, "parameters"), ("seconds", 1000, "milliseconds a batch of up to 32")):
        values = {
            name: [
                (factor * value, 100 * model.score)
                for model in result.sub_models.values()
                if (value := getattr(model, key)) is not None
            ]
            for name, result in record.results.items()
        }
        values = {name: pairs for name, pairs in values.items() if pairs}
        draw = partial(points, x=label, y="score, validation")
        pictures += numbered(files(key), values, f"Validation score against {label}", draw)
    return Section("Accuracy and cost", [Pictures(pictures)])

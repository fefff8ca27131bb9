"""The sections of a report on what accuracy costs: widths, parameters, and the time of a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pmd.report.page import Picture, Pictures, Section, Table
from pmd.report.pictures import chunked, lines, points
from pmd.report.record import Record


def widths_section(record: Record, found: Mapping[str, Any], folder: Path, key: str) -> Section | None:
    """Croppable models, width by width, and what wide ones retain of narrow ones; None where there are none."""
    split = record.splits[0]
    croppable = {name: result["widths"][split] for name, result in record.ranked(split).items() if "widths" in result}
    if not croppable:
        return None
    widths = sorted({int(width) for of in croppable.values() for width in of})
    blocks: list[Any] = []
    for title, metric in (("MRR", "mrr"), ("Hits@10", "hits_at_10")):
        rows = [
            [name, *(f"{of[str(w)][metric]:.3f}" if str(w) in of else "" for w in widths)]
            for name, of in croppable.items()
        ]
        blocks.append(Table(("model", *map(str, widths)), rows, f"{title} by width, {split}"))
    pictures = []
    for place, names in enumerate(chunked([*croppable])):
        series = {name: {int(w): of["mrr"] for w, of in croppable[name].items()} for name in names}
        file = lines(folder / f"{key}widths-{place + 1}.svg", series, "width", f"MRR, {split}", widths=True)
        pictures.append(Picture(file, f"MRR by width, {split}"))
    blocks.append(Pictures(pictures))
    kept = {name: of["retention"] for name, of in found.items() if of["retention"]}
    if kept:
        columns = ["model", "all", *(f"from {width}" for width in widths[:-1])]
        rows = [
            [name, *(share(parts) for parts in ([*of.values()], *([of.get(str(w), (0, 0))] for w in widths[:-1])))]
            for name, of in kept.items()
        ]
        caption = (
            f"Ability retention ratio, {split}: of the queries that some width answers within the first 10, the share "
            "that all wider ones answer too; and by the narrowest width that answers"
        )
        blocks.append(Table(columns, rows, caption))
    return Section("Widths", blocks)


def share(counts: Sequence[Sequence[int]]) -> str:
    """Kept by answered, over all counts; empty where nothing was answered."""
    answered, kept = (sum(part) for part in zip(*counts))
    return f"{kept / answered:.3f}" if answered else ""


def cost_section(record: Record, latency: Mapping[str, Any], folder: Path, key: str) -> Section | None:
    """Accuracy against parameters and against the time of a query."""
    split = record.splits[0]
    found = record.ranked(split)
    if not found:
        return None
    sizes = {name: by_size(result, split) for name, result in found.items()}
    pictures = []
    for place, names in enumerate(chunked([*sizes])):
        groups = {name: [(of["parameters"], of["mrr"]) for of in sizes[name].values()] for name in names}
        file = points(folder / f"{key}parameters-{place + 1}.svg", groups, "parameters", f"MRR, {split}")
        pictures.append(Picture(file, f"MRR against parameters, {split}"))
    blocks: list[Any] = []
    times = latency.get("milliseconds", {})
    if times:
        for place, names in enumerate(chunked([name for name in sizes if name in times])):
            groups = {name: [(ms, sizes[name][width]["mrr"]) for width, ms in times[name].items()] for name in names}
            file = points(folder / f"{key}latency-{place + 1}.svg", groups, "milliseconds a query", f"MRR, {split}")
            pictures.append(Picture(file, f"MRR against the time of one query, {split}"))
        rows = [
            [name, width, f"{sizes[name][width]['parameters']:,}", f"{sizes[name][width]['mrr']:.3f}", f"{ms:.3g}"]
            for name in times
            for width, ms in times[name].items()
        ]
        of = latency["of"]["machine"]
        caption = (
            f"One query (h, r, ?) at a time, scored with every entity, whose vectors are at hand: median of "
            f"{latency['rounds']}, models in turns, one thread of {of['processor']} ({of['cores']} cores), {latency['date']}"
        )
        blocks.append(Table(("model", "width", "parameters", f"MRR, {split}", "milliseconds"), rows, caption))
    return Section("Accuracy and cost", [Pictures(pictures), *blocks])


def by_size(result: Mapping[str, Any], split: str) -> dict[str, dict[str, Any]]:
    """MRR and parameters by width. Of a croppable embedding model a narrow one has its share of the parameters; a text
    model has the same encoder at each."""
    widths = (result.get("widths") or {}).get(split) or {str(result["dim"]): result["metrics"][split]}
    shrinks = "interaction" in result
    return {
        width: {
            "mrr": of["mrr"],
            "parameters": result["parameters"] * int(width) // result["dim"] if shrinks else result["parameters"],
        }
        for width, of in widths.items()
    }


def glue_section(record: Record, folder: Path, key: str) -> Section | None:
    """A task's score against parameters and measured time at batch 32."""
    if not record.results:
        return None
    pictures = []
    for place, names in enumerate(chunked([*record.results])):
        for what, x, label in (
            ("parameters", lambda of: of["parameters"], "parameters"),
            ("seconds", lambda of: 1000 * of["seconds"], "milliseconds a batch of up to 32"),
        ):
            groups = {
                name: [(x(of), 100 * of["score"]) for of in record.results[name]["widths"].values() if what in of]
                for name in names
            }
            groups = {name: found for name, found in groups.items() if found}
            if groups:
                file = points(folder / f"{key}{what}-{place + 1}.svg", groups, label, "score, validation")
                pictures.append(Picture(file, f"Validation score against {label}"))
    return Section("Accuracy and cost", [Pictures(pictures)])

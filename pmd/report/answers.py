"""The sections of a report on what a model gets right and wrong: directions, relations, examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmd.report.page import Picture, Pictures, Section, Strong, Table, Text
from pmd.report.pictures import SHOWN, chunked, marks
from pmd.report.record import Record

SIDES = ("head", "tail")
LARGEST, HARDEST = 15, 10
"""Relations in the table of the largest ones, and in that of the hardest."""


def directions_section(record: Record, found: Mapping[str, Any], folder: Path, key: str) -> Section | None:
    """Questions for the head beside those for the tail."""
    split = record.splits[0]
    stages = {
        name: result["metrics"][split]
        for name, result in record.ranked(split).items()
        if all(side in result["metrics"][split] for side in SIDES)
    }
    if not stages:
        return None
    rows = []
    for name, metrics in stages.items():
        error = (found.get(name) or {}).get("standard_error")
        both = f"{metrics['mrr']:.3f}" + (f" ± {error:.3f}" if error is not None else "")
        sides = [f"{metrics[side][of]:.3f}" for side in SIDES for of in ("mrr", "hits_at_10")]
        rows.append([name, both, *sides, f"{metrics['num_queries']:,}"])
    columns = ("model", "MRR", "MRR, head", "Hits@10, head", "MRR, tail", "Hits@10, tail", "queries")
    caption = f"{split}: (?, r, t) asks for the head, (h, r, ?) for the tail"
    if any("±" in row[1] for row in rows):
        caption += "; ± is the standard error of the MRR over draws of triples (bootstrap)"
    pictures = []
    for place, names in enumerate(chunked([*stages])):
        series = {f"for the {side}": [stages[name][side]["mrr"] for name in names] for side in SIDES}
        file = marks(folder / f"{key}directions-{place + 1}.svg", names, series, f"MRR, {split}")
        pictures.append(Picture(file, f"MRR by direction, {split}"))
    return Section("Directions", [Table(columns, rows, caption), Pictures(pictures)])


def relations_section(record: Record, found: Mapping[str, Any], least: int, folder: Path, key: str) -> Section | None:
    """MRR of the largest relations and of the hardest."""
    if not found:
        return None
    split, stages = record.splits[0], [*found]
    of = {stage: {relation["id"]: relation for relation in found[stage]["relations"]} for stage in stages}
    last = of[stages[-1]]
    by_size = sorted(last, key=lambda name: (-last[name]["num_queries"], name))
    enough = [name for name in by_size if last[name]["num_queries"] >= least]
    hardest = sorted(enough, key=lambda name: last[name]["mrr"])[:HARDEST]
    columns = ["relation", "queries", *(f"MRR, {stage}" for stage in stages), "MRR, head", "MRR, tail", "Hits@10"]
    of_last = f"; the last three columns are of {stages[-1]}" if len(stages) > 1 else ""

    def row(name: str) -> list[str]:
        own = last[name]
        sides = [f"{own[side]['mrr']:.3f}" if side in own else "" for side in SIDES]
        counts = [f"{own['num_queries']:,}", *(f"{of[stage][name]['mrr']:.3f}" for stage in stages)]
        return [own["name"] or name, *counts, *sides, f"{own['hits_at_10']:.3f}"]

    shown = by_size[:LARGEST]
    rest = f", the {len(shown)} largest of {len(by_size)}" if len(by_size) > len(shown) else ""
    names = [last[name]["name"] or name for name in shown]
    series = {stage: [of[stage][name]["mrr"] for name in shown] for stage in stages[-SHOWN:]}
    file = marks(folder / f"{key}relations.svg", names, series, f"MRR, {split}")
    blocks = [
        Table(columns, [row(name) for name in shown], f"MRR by relation, {split}, by size{rest}{of_last}"),
        Pictures([Picture(file, f"MRR by relation, {split}, the largest on top")]),
    ]
    if hardest:
        caption = f"Hardest relations of {stages[-1]}, {split}, of those with at least {least} queries{of_last}"
        blocks.append(Table(columns, [row(name) for name in hardest], caption))
    return Section("Relations", blocks)


def examples_section(record: Record, found: Mapping[str, Any]) -> Section | None:
    """Queries that the last of the models answers first, and its worst."""
    if not found:
        return None
    stage, split = [*found][-1], record.splits[0]
    examples = found[stage]["examples"]
    blocks: list[Any] = [
        Text(
            f"Of {stage}, {split}. Ranks leave out the other answers that the graph knows; among the first three they "
            "stand, marked “known”, and the wanted one is bold."
        )
    ]
    for title, right in (("Right: the wanted answer ranks first", True), ("Wrong: the worst ranks", False)):
        rows = [example_row(example) for example in examples if (example["rank"] == 1) == right]
        if rows:
            columns = ("query", "wanted", "rank", "first", "second", "third")
            blocks.append(Table(columns, rows, title, words=("wanted", "first", "second", "third")))
    return Section("Examples", blocks)


def example_row(example: Mapping[str, Any]) -> list[str]:
    def named(of: Mapping[str, str]) -> str:
        return of["name"] or of["id"]

    ends = {side: "?" if side == example["target"] else named(example[side]) for side in SIDES}
    first = [
        Strong(named(of)) if of["wanted"] else f"{named(of)} (known)" if of["known"] else named(of)
        for of in example["first"]
    ]
    query = f"({ends['head']}, {named(example['relation'])}, {ends['tail']})"
    return [query, named(example[example["target"]]), f"{example['rank']:,.10g}", *first, *[""] * (3 - len(first))]

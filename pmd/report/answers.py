"""The sections of a report on what a model gets right and wrong: directions, relations, examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmd.recipes.tables import Strong, Table, table_of
from pmd.report.costs import Files
from pmd.report.page import Block, Picture, Pictures, Section, Text
from pmd.report.pictures import marks, numbered
from pmd.report.plotting import SHOWN
from pmd.report.record import RunRecord

SIDES = ("head", "tail")
LARGEST, HARDEST = 15, 10
"""Relations in the table of the largest ones, and in that of the hardest."""


def directions_section(record: RunRecord, details: Mapping[str, Any], files: Files) -> Section | None:
    """Questions for the head beside those for the tail."""
    ranked = {name: result.metrics[record.splits[0]] for name, result in record.ranked().items()}
    stages = {name: metrics for name, metrics in ranked.items() if all(side in metrics for side in SIDES)}
    if not stages:
        return None
    split, rows = record.splits[0], []
    for name, metrics in stages.items():
        error = details.get(name, {}).get("standard_error")
        row = {"model": name, "MRR": f"{metrics['mrr']:.3f}" + (f" ± {error:.3f}" if error is not None else "")}
        for side in SIDES:
            row[f"MRR, {side}"] = f"{metrics[side]['mrr']:.3f}"
            row[f"Hits@10, {side}"] = f"{metrics[side]['hits_at_10']:.3f}"
        rows.append({**row, "queries": f"{metrics['num_queries']:,}"})
    caption = f"{split}: (?, r, t) asks for the head, (h, r, ?) for the tail"
    if any("±" in row["MRR"] for row in rows):
        caption += "; ± is the standard error of the MRR over draws of triples (bootstrap)"

    def draw(path: Path, shown: Mapping[str, Any]) -> None:
        series = {f"for the {side}": [metrics[side]["mrr"] for metrics in shown.values()] for side in SIDES}
        marks(path, [*shown], series, f"MRR, {split}")

    pictures = numbered(files("directions"), stages, f"MRR by direction, {split}", draw)
    return Section("Directions", [table_of(rows, caption), Pictures(pictures)])


def relations_section(record: RunRecord, details: Mapping[str, Any], min_queries: int, files: Files) -> Section | None:
    """MRR of the largest relations and of the hardest; the columns beside the MRRs are of the last stage."""
    if not details:
        return None
    split, stages = record.splits[0], [*details]
    by_id = {stage: {relation["id"]: relation for relation in details[stage]["relations"]} for stage in stages}
    last = by_id[stages[-1]]
    of_last = f"; the last three columns are of {stages[-1]}" if len(stages) > 1 else ""

    def row(key: str) -> dict[str, str]:
        relation = last[key]
        return {
            "relation": relation["name"] or key,
            "queries": f"{relation['num_queries']:,}",
            **{f"MRR, {stage}": f"{by_id[stage][key]['mrr']:.3f}" for stage in stages},
            **{f"MRR, {side}": f"{relation[side]['mrr']:.3f}" if side in relation else "" for side in SIDES},
            "Hits@10": f"{relation['hits_at_10']:.3f}",
        }

    by_size = sorted(last, key=lambda key: (-last[key]["num_queries"], key))
    largest = by_size[:LARGEST]
    of_all = f", the {len(largest)} largest of {len(by_size)}" if len(by_size) > len(largest) else ""
    series = {stage: [by_id[stage][key]["mrr"] for key in largest] for stage in stages[-SHOWN:]}
    picture = files("relations").with_suffix(".svg")
    marks(picture, [last[key]["name"] or key for key in largest], series, f"MRR, {split}")
    blocks: list[Block] = [
        table_of(map(row, largest), f"MRR by relation, {split}, by size{of_all}{of_last}"),
        Pictures([Picture(picture, f"MRR by relation, {split}, the largest on top")]),
    ]
    enough = [key for key in by_size if last[key]["num_queries"] >= min_queries]
    hardest = sorted(enough, key=lambda key: last[key]["mrr"])[:HARDEST]
    if hardest:
        of_stage = f"Hardest relations of {stages[-1]}, {split}"
        caption = f"{of_stage}, of those with at least {min_queries} queries{of_last}"
        blocks.append(table_of(map(row, hardest), caption))
    return Section("Relations", blocks)


def examples_section(record: RunRecord, details: Mapping[str, Any]) -> Section | None:
    """Queries that the last of the models answers first, and its worst."""
    if not details:
        return None
    stage = [*details][-1]
    introduction = (
        f"Of {stage}, {record.splits[0]}. Ranks leave out the other answers that the graph knows; among the first three "
        "they stand, marked “known”, and the wanted one is bold."
    )
    blocks: list[Block] = [Text(introduction)]
    for title, right in (("Right: the wanted answer ranks first", True), ("Wrong: the worst ranks", False)):
        rows = [example_row(e) for e in details[stage]["examples"] if (e["rank"] == 1) == right]
        if rows:
            columns = ("query", "wanted", "rank", "first", "second", "third")
            blocks.append(Table(columns, rows, title, left=("wanted", "first", "second", "third")))
    return Section("Examples", blocks)


def example_row(example: Mapping[str, Any]) -> list[str]:
    def name_of(node: Mapping[str, str]) -> str:
        return node["name"] or node["id"]

    target = example["target"]
    head, tail = ("?" if side == target else name_of(example[side]) for side in SIDES)
    answers = [
        Strong(name_of(a)) if a["wanted"] else name_of(a) + " (known)" * bool(a["known"]) for a in example["first"]
    ]
    query = f"({head}, {name_of(example['relation'])}, {tail})"
    rank = f"{example['rank']:,.10g}"
    return [query, name_of(example[target]), rank, *answers, *[""] * (3 - len(answers))]

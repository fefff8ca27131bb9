"""The section of a report with queries that a model answers first, and its worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pmd.core.printing import answer_command
from pmd.evaluation.tables import Strong, Table
from pmd.reports.page import Block, Section, Text
from pmd.reports.record import RunRecord


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
    for title, right in (
        ("Right: the wanted answer ranks first", True),
        ("Wrong: the worst ranks, of as many relations as possible", False),
    ):
        rows = [example_row(e) for e in details[stage]["examples"] if (e["rank"] == 1) == right]
        if rows:
            columns = ("query", "wanted", "rank", "first", "second", "third")
            blocks.append(Table(columns, rows, title, left=("wanted", *columns[3:])))
    asked = max(details[stage]["examples"], key=lambda e: e["rank"] == 1, default=None)
    if asked:
        blocks += [Text("To ask one of them, or another:"), Text(question_of(record, stage, asked), "code")]
    return Section("Examples", blocks)


def question_of(record: RunRecord, stage: str, example: Mapping[str, Any]) -> str:
    """The command that asks a stage for what is missing in an example."""
    known = {part: example[part]["id"] for part in ("head", "relation", "tail") if part != example["target"]}
    return answer_command(record.folder / stage, known)


def example_row(example: Mapping[str, Any]) -> list[str]:
    target, first = example["target"], example["first"]
    names = {side: example[side]["name"] or example[side]["id"] for side in ("head", "tail", "relation")}
    question = {**names, target: "?"}
    query = f"({question['head']}, {question['relation']}, {question['tail']})"
    answers = [
        (answer["name"] or answer["id"]) + " (known)" * answer["known"] * (not answer["wanted"]) for answer in first
    ]
    answers = [Strong(text) if answer["wanted"] else text for text, answer in zip(answers, first)]
    return [query, names[target], f"{example['rank']:,.10g}", *answers, *[""] * (3 - len(answers))]

"""The section of a report about probabilities and answer sets, from what `pmd.trust.reliability` measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pmd.evaluation.tables import table_of
from pmd.reports.page import Block, Picture, Section, Text
from pmd.reports.pictures import figure, legend, look, name_axes
from pmd.trust.reliability import calibration_rows, coverage_rows

LEAST_QUESTIONS, SHOWN_COVERAGE = 30, 0.9
"""Relations in the table have so many questions of a direction; it shows one coverage."""


def trust_section(trust: Mapping[str, Any], files: Callable[[str], Path]) -> Section | None:
    """Calibration and coverage of the shown stages; None if nothing was measured."""
    blocks: list[Block] = []
    for number, (stage, measured) in enumerate(trust.items(), 1):
        if why := measured.get("missing"):
            blocks.append(Text(f"{stage}: no probabilities, for {why}.", "note"))
        if not measured.get("questions"):
            continue
        split, questions = measured["split"], f"{measured['questions']:,} questions"
        caption = f"{stage}, {split}: expected calibration error in ten bins and log loss of a question, {questions}"
        blocks.append(table_of(calibration_rows(measured), caption))
        picture = Picture(
            files(f"reliability-{number}").with_suffix(".svg"), f"How often answers hold, {stage}, {split}"
        )
        draw_reliability(picture.file, measured["calibration"])
        caption = f"{stage}, {split}: how often answer sets hold the true answer, by the coverage that was asked for"
        blocks += [[picture], table_of(coverage_rows(measured["coverage"]), caption, left=("candidates",))]
        rows = [row for row in measured["relations"] if row["questions"] >= LEAST_QUESTIONS]
        rows = [row for row in rows if (row["asked"], row["candidates"]) == (SHOWN_COVERAGE, "filtered")]
        if rows:
            caption = f"{stage}, {split}: relations and directions with {LEAST_QUESTIONS} questions or more"
            blocks.append(table_of(coverage_rows(rows), caption, left=("asks for the", "candidates")))
    return Section("Probabilities and answer sets", blocks) if blocks else None


def draw_reliability(path: Path, calibration: Mapping[str, Any]) -> None:
    """How often the ten first answers hold, against their probability, before and after."""
    with figure(path) as axis:
        for index, (when, values) in enumerate(calibration.items()):
            probabilities, shares, _ = zip(*values["ten"]["bins"])
            axis.plot(probabilities, shares, label=when, **look(index))
        axis.plot((0, 1), (0, 1), label="as said", color="0.6", linestyle=":", linewidth=1)
        axis.set(xlim=(0, 1), ylim=(0, 1))
        name_axes(axis, "probability", "share that holds")
        legend(axis, len(calibration) + 1)

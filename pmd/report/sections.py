"""The sections of a run's report, from its record and what was measured of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pmd.recipes.tables import Table, mark_best, stage_cells, stored_tables, table_of, without
from pmd.report.answers import directions_section, examples_section, relations_section
from pmd.report.costs import Files, cost_section, glue_section, widths_section
from pmd.report.curves import OF_WIDTH, terms, validation
from pmd.report.measured import Measured
from pmd.report.page import Block, Folded, Picture, Pictures, Section, Text
from pmd.report.pictures import evenly_spaced, lines, numbered
from pmd.report.plotting import SHOWN
from pmd.report.record import RunRecord
from pmd.settings.catalogue import task_of

TOLERANCE = 5e-4
"""The largest difference from an MRR that was noted: on another machine, near ties fall otherwise."""
NO_VALIDATION = "Nothing was validated in this run (train.valid_every), so the last epoch's model was kept."
NO_TABLES = "This folder is from before tables were kept for a report; repeat its command, which trains nothing again."


def run_section(record: RunRecord, sizes: Mapping[str, Any]) -> Section:
    """What was run, where, and how to run it again."""
    env, config = record.env, record.config
    data = (config.get("data") or {}).get("path") or "nyu-mll/glue"
    facts = {"data": f"{config['task']} of {data}" if record.is_glue else data}
    if sizes:
        triples = " / ".join(f"{count:,}" for count in sizes["triples"])
        counts = f"{sizes['entities']:,} entities, {sizes['relations']:,} relations"
        facts["graph"] = f"{counts}, {triples} triples (train / valid / test)"
    facts["runs"] = ", ".join(path.name for path in record.seeds)
    facts["first run started" if record.seeds else "started"] = str(env.get("started", "")).replace("T", " ")
    facts["seed"] = str(config.get("seed", "")) if record.family else ""
    if env:
        parts = {"processes": "processes", "threads": "threads of each", "cpu_count": "cores"}
        counts = ", ".join(f"{name}: {env[key]}" for key, name in parts.items() if key in env)
        facts["hardware"] = f"{env.get('device', '?')}; {counts}; {env.get('platform', '')}"
        versions = [f"{name} {version}" for name, version in (env.get("versions") or {}).items() if version]
        facts["versions"] = ", ".join([*versions, f"Python {env.get('python', '?')}"])
        facts["commit"] = env.get("commit") or "unknown"
    facts["folder"] = str(record.folder)
    blocks: list[Block] = [Text(note, "note") for note in record.notes]
    rows = [fact for fact in facts.items() if fact[1]]
    blocks.append(Table(("", "what was run"), rows, left=("what was run",)))
    if record.family:
        file = record.folder / "config.yaml"
        blocks += [
            Text("To run it again, with the same commit and versions:"),
            Text(f"pmd {record.family.command} --config {file}", "code"),
            Folded("All settings (config.yaml)", file.read_text(encoding="utf-8")),
        ]
    return Section("Run", blocks)


def results_section(record: RunRecord) -> Section:
    """A row for each finished stage, a table for each split."""
    blocks: list[Block] = []
    for split in record.splits:
        results = record.ranked(split)
        if results:
            rows = [stage_cells(name, result, split) for name, result in results.items()]
            mark_best(rows, [result.metrics[split] for result in results.values()])
            empty = [column for column in rows[0] if not any(row[column] for row in rows)]
            bold = "; the best of a column is bold" if len(rows) > 1 else ""
            caption = f"{split}: filtered realistic ranks of both directions{bold}"
            blocks.append(table_of((without(row, *empty) for row in rows), caption, left=("taught by",)))
    return Section("Results", blocks or [Text("No stage is finished yet.", "note")])


def training_section(record: RunRecord, files: Files) -> Section | None:
    """Every term of the loss by step, and validation by epoch."""
    if not record.lines:
        return None
    pictures, stages = [], [*dict.fromkeys(values["stage"] for values in record.lines)]
    for name, by_stage in terms(record.lines).items():
        label = {"loss": "Total loss", "temperature": "Temperature"}.get(name, f"Loss term {name}")
        draw = partial(lines, x="step", y=name, order=stages)
        pictures += numbered(files(f"term-{name}"), by_stage, f"{label} by step", draw, stages)
    curves = validation(record.lines)
    of_stages = {name: curve for name, curve in curves.items() if OF_WIDTH not in name}
    croppable = dict.fromkeys(name.partition(OF_WIDTH)[0] for name in curves if OF_WIDTH in name)
    mean = ", mean of the widths" if croppable else ""
    metric = "score" if record.is_glue else "MRR"
    draw = partial(lines, x="epoch", y=f"{metric}, validation")
    caption = f"Validation {metric}{mean} by epoch"
    pictures += numbered(files("valid"), of_stages, caption, partial(draw, order=stages), stages)
    for name in croppable:
        of_widths = evenly_spaced([other for other in curves if other.startswith(name + OF_WIDTH)], SHOWN)
        by_width = {other.partition(",")[2].strip(): curves[other] for other in of_widths}
        caption = f"Validation {metric} of the widths of {name} by epoch"
        pictures += numbered(files(f"valid-{name}"), by_width, caption, draw)
    return Section("Training", [Pictures(pictures), *([] if curves else [Text(NO_VALIDATION, "note")])])


def tables_section(record: RunRecord) -> Section:
    """The tables of a GLUE run or of a comparison."""
    if record.is_glue and record.results:
        from pmd.recipes.glue_tables import run_table

        table = run_table(record.results, task_of(record.config["task"]))
        return Section("Results", [replace(table, caption=f"{record.config['task']}, validation, ×100")])
    tables, file = stored_tables(record.folder), record.folder / "table.md"
    if tables or not file.is_file():
        return Section("Results", tables or [Text("There are no results yet.", "note")])
    return Section("Results", [Text(NO_TABLES, "note"), Text(file.read_text(encoding="utf-8"), "code")])


def methods_section(record: RunRecord, files: Files) -> Section | None:
    """The pictures of a table of `pmd table med`; None for other comparisons."""
    rows = record.results.get("results")
    if not isinstance(rows, dict) or "dt" not in rows:
        return None
    from pmd.report.figure_methods import by_method, by_retention

    drawings = {"methods": (by_method, "MRR by width and method; bars and bands are one standard deviation over seeds")}
    if "retention" in record.results:
        caption = "Ability retention ratio by method, and by the narrowest width that answers"
        drawings["retention"] = (by_retention, caption)
    pictures = []
    for name, (draw, caption) in drawings.items():
        pictures.append(Picture(files(name).with_suffix(".svg"), caption, wide=True))
        draw(record.folder, None, pictures[-1].file)
    return Section("Methods", [Pictures(pictures)])


def differences(record: RunRecord, details: Mapping[str, Any]) -> list[str]:
    """Where the ranking for the report gives another MRR than the run noted: its models or its code have changed."""
    notes = []
    for name, measured in details.items():
        noted, now = record.results[name].metrics[record.splits[0]]["mrr"], measured["metrics"]["mrr"]
        if abs(noted - now) > TOLERANCE:
            notes.append(
                f"Ranked again, {name} has an MRR of {now:.4f}, and not {noted:.4f} as the run noted: the model, or "
                "the program, has changed since. Relations and examples are of now."
            )
    return notes


def sections_of(
    record: RunRecord,
    measured: Measured | None,
    files: Files,
    *,
    stages: Sequence[str],
    min_queries: int,
    latency_rounds: int,
) -> list[Section]:
    """All that there is to say about a run.

    Args:
        measured: None for what ranks nothing, or shall not be ranked.
        files: where pictures are written.
        stages: whose relations and examples are shown.
        min_queries, latency_rounds: as of the report.
    """
    if not record.splits:
        pictures_of = glue_section if record.is_glue else methods_section
        sections = [
            run_section(record, {}),
            tables_section(record),
            pictures_of(record, files),
            training_section(record, files),
        ]
        return [section for section in sections if section]
    details: dict[str, Any] = {}
    latency: dict[str, Any] = {}
    if measured and record.ranked():
        details = measured.details(stages, record.splits[0])
        latency = measured.latency(record.splits[0], latency_rounds)
        record.notes.extend(differences(record, details))
        if measured.note:
            record.notes.append(
                f"{measured.note} What no earlier report measured of it (relations, examples, latency) is left out."
            )
    sections = [
        run_section(record, measured.facts.get("sizes", {}) if measured else {}),
        results_section(record),
        widths_section(record, details, files),
        cost_section(record, latency, files),
        training_section(record, files),
        directions_section(record, details, files),
        relations_section(record, details, min_queries, files),
        examples_section(record, details),
    ]
    return [section for section in sections if section]

"""The sections of a report: what was run and what it cost, its results, what the models get right and wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pmd.core.results import StageResult
from pmd.evaluation.tables import (
    Table,
    mark_best,
    parameters_at,
    stages_cells,
    stored_tables,
    table_of,
    widths_tables,
    without,
)
from pmd.reports.examples import examples_section
from pmd.reports.figure_methods import by_method, by_retention, retention_table
from pmd.reports.page import Block, Picture, Section, Text
from pmd.reports.pictures import SHOWN, evenly_spaced, lines, marks, numbered, points
from pmd.reports.record import OF_WIDTH, RunRecord, gradient_norms, terms, validation
from pmd.reports.triples import triples_section
from pmd.reports.trust import trust_section
from pmd.settings.catalogue import task_of

Files = Callable[[str], Path]
"""The file of a picture, without its ending, by its name."""
SIDES = ("head", "tail")
LARGEST, HARDEST = 15, 10
"""Relations in the table of the largest ones, and in that of the hardest."""
NO_VALIDATION = "Nothing was validated in this run (train.valid_every), so the last epoch's model was kept."
NO_TABLES = "This folder is from before tables were kept for a report; repeat its command, which trains nothing again."


def sections_of(
    record: RunRecord,
    files: Files,
    min_queries: int,
    sizes: Mapping[str, Any],
    details: Mapping[str, Any],
    latency: Mapping[str, Any],
    trust: Mapping[str, Any],
) -> list[Section]:
    """All that there is to say about a run, from its record and what was measured of its models."""
    sections = [run_section(record, sizes)]
    if not record.splits:
        sections += [tables_section(record), (glue_section if record.is_glue else methods_section)(record, files)]
        sections += [training_section(record, files)]
    else:
        sections += [
            results_section(record),
            widths_section(record, details, files),
            cost_section(record, latency, files),
            training_section(record, files),
            directions_section(record, details, files),
            relations_section(record, details, min_queries, files),
            trust_section(trust, files),
            examples_section(record, details),
            triples_section(record),
        ]
    return [section for section in sections if section]


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
    rows = [fact for fact in facts.items() if fact[1]]
    table = Table(("", "what was run"), rows, left=("what was run",))
    blocks: list[Block] = [*(Text(note, "note") for note in record.notes), table]
    if record.family:
        file = record.folder / "config.yaml"
        blocks += [
            Text("To run it again, with the same commit and versions:"),
            Text(f"pmd {record.family.command} --config {file}", "code"),
            Text(file.read_text(encoding="utf-8"), "code", summary="All settings (config.yaml)"),
        ]
    return Section("Run", blocks)


def results_section(record: RunRecord) -> Section:
    """A row for each finished stage, a table for each split."""
    blocks: list[Block] = []
    for split in record.splits:
        results = record.ranked(split)
        if results:
            rows = stages_cells(results, split)
            mark_best(rows, [result.metrics[split] for result in results.values()])
            empty = [column for column in rows[0] if not any(row[column] for row in rows)]
            bold = "; the best of a column is bold" if len(rows) > 1 else ""
            caption = f"{split}: filtered realistic ranks of both directions{bold}"
            blocks.append(table_of((without(row, *empty) for row in rows), caption, left=("taught by",)))
    return Section("Results", blocks or [Text("No stage is finished yet.", "note")])


def widths_section(record: RunRecord, details: Mapping[str, Any], files: Files) -> Section | None:
    """Croppable models, width by width, and what wide ones retain of narrow ones; None where there are none."""
    croppable = {name: result for name, result in record.ranked().items() if result.widths}
    if not croppable:
        return None
    split = record.splits[0]
    by_model = {name: result.by_width(split) for name, result in croppable.items()}
    mrr = {name: {w: metrics["mrr"] for w, metrics in by_width.items()} for name, by_width in by_model.items()}
    tables = [replace(table, caption=f"{table.caption}, {split}") for table in widths_tables(croppable, split)]
    draw = partial(lines, x="width", y=f"MRR, {split}", widths=True)
    blocks: list[Block] = [*tables, numbered(files("widths"), mrr, f"MRR by width, {split}", draw)]
    retention = {name: [stage["retention"]] for name, stage in details.items() if stage["retention"]}
    if retention:
        blocks.append(retention_table(retention, sorted(set().union(*mrr.values())), f", {split}"))
    return Section("Widths", blocks)


def cost_section(record: RunRecord, latency: Mapping[str, Any], files: Files) -> Section | None:
    """Accuracy against parameters and against the time of a query."""
    if not record.ranked():
        return None
    split, rows = record.splits[0], []
    sizes = {name: parameters_and_mrr(result, split) for name, result in record.ranked().items()}
    time_and_mrr: dict[str, dict[int, tuple[float, float]]] = {}
    for name, by_width in latency.get("milliseconds", {}).items():
        time_and_mrr[name] = {int(width): (ms, sizes[name][int(width)][1]) for width, ms in by_width.items()}
        for width, (milliseconds, mrr) in time_and_mrr[name].items():
            cells = {"model": name, "width": str(width), "parameters": f"{sizes[name][width][0]:,}"}
            rows.append({**cells, f"MRR, {split}": f"{mrr:.3f}", "milliseconds": f"{milliseconds:.3g}"})
    pictures: list[Picture] = []
    for file, by_model, x, against in (
        ("parameters", sizes, "parameters", "parameters"),
        ("latency", time_and_mrr, "milliseconds a query", "the time of one query"),
    ):
        pairs = {name: [*by_width.values()] for name, by_width in by_model.items()}
        draw = partial(points, x=x, y=f"MRR, {split}")
        pictures += numbered(files(file), pairs, f"MRR against {against}, {split}", draw, [*sizes])
    blocks: list[Block] = [pictures] if pictures else []
    if rows:
        machine = latency["of"]["machine"]
        caption = (
            f"One query (h, r, ?) at a time, scored with every entity, whose vectors are at hand: median of "
            f"{latency['rounds']}, models in turns, one thread of {machine['processor']} ({machine['cores']} cores), "
            f"{latency['date']}"
        )
        blocks.append(table_of(rows, caption))
    return Section("Accuracy and cost", blocks) if blocks else None


def parameters_and_mrr(result: StageResult, split: str) -> dict[int, tuple[int, float]]:
    """Parameters and MRR by width."""
    return {w: (parameters_at(result, w), metrics["mrr"]) for w, metrics in result.by_width(split).items()}


def glue_section(record: RunRecord, files: Files) -> Section | None:
    """A task's score against parameters and measured time at batch 32."""
    if not record.results:
        return None
    pictures: list[Picture] = []
    for key, factor, label in (("parameters", 1, "parameters"), ("seconds", 1000, "milliseconds a batch of up to 32")):
        pairs = {
            name: [
                (factor * value, 100 * model.score)
                for model in result.sub_models.values()
                if (value := getattr(model, key)) is not None
            ]
            for name, result in record.results.items()
        }
        pairs = {name: positions for name, positions in pairs.items() if positions}
        draw = partial(points, x=label, y="score, validation")
        pictures += numbered(files(key), pairs, f"Validation score against {label}", draw)
    return Section("Accuracy and cost", [pictures]) if pictures else None


def training_section(record: RunRecord, files: Files) -> Section | None:
    """Every term of the loss by step, with the norms of the gradients if they were logged, and validation by epoch."""
    if not record.lines:
        return None
    pictures, stages = [], [*dict.fromkeys(values["stage"] for values in record.lines)]
    for name, by_stage in terms(record.lines).items():
        label = {"loss": "Total loss", "temperature": "Temperature"}.get(name, f"Loss term {name}")
        draw = partial(lines, x="step", y=name, order=stages)
        pictures += numbered(files(f"term-{name}"), by_stage, f"{label} by step", draw, stages)
    for name, by_term in gradient_norms(record.lines).items():
        draw = partial(lines, x="step", y="norm", log=True)
        pictures += numbered(
            files(f"gradients-{name}"), by_term, f"Gradients of the weighted terms of {name} by step", draw
        )
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
        by_width = {other.partition(", ")[2]: curves[other] for other in of_widths}
        caption = f"Validation {metric} of the widths of {name} by epoch"
        pictures += numbered(files(f"valid-{name}"), by_width, caption, draw)
    blocks: list[Block] = [pictures] if pictures else []
    blocks += [] if curves else [Text(NO_VALIDATION, "note")]
    return Section("Training", blocks) if blocks else None


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
    drawings = {by_method: "MRR by width and method; bars and bands are one standard deviation over seeds"}
    if "retention" in record.results:
        drawings[by_retention] = "Ability retention ratio by method, and by the narrowest width that answers"
    pictures = [
        Picture(files(name).with_suffix(".svg"), caption, wide=True)
        for name, caption in zip(("methods", "retention"), drawings.values())
    ]
    for draw, picture in zip(drawings, pictures):
        draw(record.folder, None, picture.file)
    return Section("Methods", [pictures])


def directions_section(record: RunRecord, details: Mapping[str, Any], files: Files) -> Section | None:
    """Questions for the head beside those for the tail."""
    split, rows = record.splits[0], []
    ranked = {name: result.metrics[split] for name, result in record.ranked().items()}
    stages = {name: metrics for name, metrics in ranked.items() if all(side in metrics for side in SIDES)}
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
    return Section("Directions", [table_of(rows, caption), pictures]) if rows else None


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
    picture = Picture(files("relations").with_suffix(".svg"), f"MRR by relation, {split}, the largest on top")
    marks(picture.file, [last[key]["name"] or key for key in largest], series, f"MRR, {split}")
    blocks: list[Block] = [
        table_of(map(row, largest), f"MRR by relation, {split}, by size{of_all}{of_last}"),
        [picture],
    ]
    enough = [key for key in by_size if last[key]["num_queries"] >= min_queries]
    if enough:
        hardest = sorted(enough, key=lambda key: last[key]["mrr"])[:HARDEST]
        caption = f"Hardest relations of {stages[-1]}, {split}, of those with at least {min_queries} queries{of_last}"
        blocks.append(table_of(map(row, hardest), caption))
    return Section("Relations", blocks)

"""The sections of a run's report, from its record and what was measured of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pmd.recipes.tables import ranking_cells
from pmd.report.answers import directions_section, examples_section, relations_section
from pmd.report.costs import cost_section, glue_section, widths_section
from pmd.report.curves import OF_WIDTH, Curve, terms, validation
from pmd.report.measured import Measured
from pmd.report.page import (
    Folded,
    Picture,
    Pictures,
    Section,
    Strong,
    Table,
    Text,
    read_tables,
)
from pmd.report.pictures import SHOWN, chunked, lines, some
from pmd.report.record import COMMANDS, Record
from pmd.settings.tasks import task_of

RANKING = ("MRR", "Hits@1", "Hits@3", "Hits@10", "MR")
SAME = 5e-4
"""So far an MRR may be from the one noted: on another machine, near ties fall otherwise."""
NO_VALIDATION = "Nothing was validated in this run (train.valid_every), so the last epoch's model was kept."


def run_section(record: Record, sizes: Mapping[str, Any]) -> Section:
    """What was run, where, and how to run it again."""
    env, config = record.env, record.config
    data = (config.get("data") or {}).get("path") or "nyu-mll/glue"
    rows = [("data", data if record.kind != "glue" else f"{config['task']} of {data}")]
    if sizes:
        triples = " / ".join(f"{count:,}" for count in sizes["triples"])
        counts = f"{sizes['entities']:,} entities, {sizes['relations']:,} relations"
        rows.append(("graph", f"{counts}, {triples} triples (train / valid / test)"))
    if record.kind == "table":
        rows.append(("runs", ", ".join(path.name for path in record.runs)))
    rows.append(("first run started" if record.runs else "started", str(env.get("started", "")).replace("T", " ")))
    rows.append(("seed", "" if record.kind == "table" else str(config.get("seed", ""))))
    if env:
        parts = {"processes": "processes", "threads": "threads of each", "cpu_count": "cores"}
        counts = ", ".join(f"{name}: {env[key]}" for key, name in parts.items() if key in env)
        rows.append(("hardware", f"{env.get('device', '?')}; {counts}; {env.get('platform', '')}"))
        versions = [f"{name} {version}" for name, version in (env.get("versions") or {}).items() if version]
        rows.append(("versions", ", ".join([*versions, f"Python {env.get('python', '?')}"])))
        rows.append(("commit", env.get("commit") or "unknown"))
    rows.append(("folder", str(record.folder)))
    blocks: list[Any] = [Text(note, "note") for note in record.notes]
    blocks.append(Table(("", "what was run"), [row for row in rows if row[1]], words=("what was run",)))
    if record.kind in COMMANDS:
        command = f"pmd {COMMANDS[record.kind]} --config {record.folder / 'config.yaml'}"
        blocks += [Text("To run it again, with the same commit and versions:"), Text(command, "code")]
        settings = (record.folder / "config.yaml").read_text(encoding="utf-8")
        blocks.append(Folded("All settings (config.yaml)", settings))
    return Section("Run", blocks)


def results_section(record: Record) -> Section:
    """A row for each finished stage, a table for each split."""
    blocks: list[Any] = []
    for split in record.splits:
        found = record.ranked(split)
        if found:
            rows = [[name, *cells(record, result, split)] for name, result in found.items()]
            columns = columns_of(record)
            emphasise(rows, [columns.index(name) for name in RANKING], [columns.index("MR")])
            bold = "; the best of a column is bold" if len(rows) > 1 else ""
            caption = f"{split}: filtered realistic ranks of both directions{bold}"
            used = [place for place in range(len(columns)) if any(row[place] for row in rows)]
            shown = [[row[place] for place in used] for row in rows]
            blocks.append(Table([columns[place] for place in used], shown, caption, words=("taught by",)))
    return Section("Results", blocks or [Text("No stage is finished yet.", "note")])


def columns_of(record: Record) -> list[str]:
    own = ["grade", "layers", "mask rate"] if record.kind == "text" else ["model", "dim"]
    speed = "entities/s" if record.kind == "text" else "queries/s"
    return [*own, "taught by", "parameters", *RANKING, "training", speed]


def cells(record: Record, result: Mapping[str, Any], split: str) -> list[str]:
    """A row of results without its name."""
    metrics = result["metrics"][split]
    teacher = result["teacher"] if result["teacher"] != "none" else None
    if record.kind == "text":
        own = [str(result["layers"]), f"{result['mask_rate']:.0%}"]
        speed = result["entities_per_second"]
    else:
        own = [str(result["dim"])]
        seconds = (result.get("rank_seconds") or {}).get(split)
        speed = metrics["num_queries"] / seconds if seconds else None
    seconds = result.get("train_seconds")
    return [
        *own,
        teacher or "",
        f"{result['parameters']:,}",
        *ranking_cells(metrics),
        duration(seconds) if seconds else "",
        f"{speed:,.0f}" if speed else "",
    ]


def training_section(record: Record, folder: Path, key: str) -> Section | None:
    """Every term of the loss by step, and validation by epoch."""
    if not record.lines:
        return None
    value = "score" if record.kind == "glue" else "MRR"
    pictures, stages = [], [*dict.fromkeys(values["stage"] for values in record.lines)]
    for name, by_stage in terms(record.lines).items():
        label = {"loss": "Total loss", "temperature": "Temperature"}.get(name, f"Loss term {name}")
        pictures += drawn(by_stage, folder / f"{key}term-{name}", "step", name, label, stages)
    found = validation(record.lines)
    whole = {name: curve for name, curve in found.items() if OF_WIDTH not in name}
    croppable = dict.fromkeys(name.partition(OF_WIDTH)[0] for name in found if OF_WIDTH in name)
    mean = ", mean of the widths" if croppable else ""
    pictures += drawn(
        whole, folder / f"{key}valid", "epoch", f"{value}, validation", f"Validation {value}{mean}", stages
    )
    for name in croppable:
        widths = some([other for other in found if other.startswith(name + OF_WIDTH)], SHOWN)
        own = {other.partition(",")[2].strip(): found[other] for other in widths}
        file = folder / f"{key}valid-{name}"
        pictures += drawn(own, file, "epoch", f"{value}, validation", f"Validation {value} of the widths of {name}")
    blocks: list[Any] = [Pictures(pictures)]
    if not found:
        blocks.append(Text(NO_VALIDATION, "note"))
    return Section("Training", blocks)


def drawn(
    series: Mapping[str, Curve], file: Path, x: str, y: str, caption: str, order: Sequence[str] = ()
) -> list[Picture]:
    """As many pictures as the series need, six at a time; each series looks as its place in `order` says."""
    chunks = [[name for name in names if name in series] for names in chunked(order or [*series])]
    chunks = [names for names in chunks if names]
    found = []
    for place, names in enumerate(chunks):
        path = file.with_name(f"{file.name}-{place + 1}.svg")
        lines(path, {name: series[name] for name in names}, x, y, order=order)
        part = f", {place + 1} of {len(chunks)}" if len(chunks) > 1 else f", {names[0]}" if len(names) == 1 else ""
        found.append(Picture(path, f"{caption} by {x}{part}"))
    return found


def tables_section(record: Record) -> Section:
    """The tables of a GLUE run or of a comparison, as its recipe wrote them."""
    file = record.folder / "table.md"
    if record.kind == "glue" and record.results:
        from pmd.recipes.glue_tables import run_table

        table = run_table(record.results, task_of(record.config["task"]))
        return Section("Results", read_tables(f"{record.config['task']}, validation, ×100\n\n{table}"))
    tables = read_tables(file.read_text(encoding="utf-8")) if file.is_file() else []
    return Section("Results", tables or [Text("There are no results yet.", "note")])


def methods_section(record: Record, folder: Path, key: str) -> Section | None:
    """The pictures of a table of `pmd table med`; None for other comparisons."""
    rows = record.results.get("results")
    if not isinstance(rows, dict) or "dt" not in rows:
        return None
    from pmd.report.figure_methods import by_method, by_retention

    path = folder / f"{key}methods.svg"
    by_method(record.folder, None, path)
    pictures = [Picture(path, "MRR by width and method; bands are one standard deviation over seeds", wide=True)]
    if "retention" in record.results:
        path = folder / f"{key}retention.svg"
        by_retention(record.folder, None, path)
        pictures.append(
            Picture(path, "Ability retention ratio by method, and by the narrowest width that answers", True)
        )
    return Section("Methods", [Pictures(pictures)])


def emphasise(rows: list[list[str]], columns: Sequence[int], low: Sequence[int]) -> None:
    """Make the best cells of these columns stand out, where there are several rows; the least of those in `low`."""
    for column in columns if len(rows) > 1 else ():
        values = [float(row[column].replace(",", "")) for row in rows]
        best = min(values) if column in low else max(values)
        for row, value in zip(rows, values):
            if value == best:
                row[column] = Strong(row[column])


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def differences(record: Record, found: Mapping[str, Any], split: str) -> list[str]:
    """Where the ranking for the report gives another MRR than the run noted: its models or its code have changed."""
    notes = []
    for name, of in found.items():
        noted, now = record.results[name]["metrics"][split]["mrr"], of["metrics"]["mrr"]
        if abs(noted - now) > SAME:
            notes.append(
                f"Ranked again, {name} has an MRR of {now:.4f}, and not {noted:.4f} as the run noted: the model, or "
                "the program, has changed since. Relations and examples are of now."
            )
    return notes


def sections_of(record: Record, measured: Measured | None, folder: Path, key: str, options: Any) -> list[Section]:
    """All that there is to say of a run.

    Args:
        measured: None for what ranks nothing, or shall not be ranked.
        folder: of the pictures; their names begin with `key`.
        options: `stages`, `min_queries` and `latency_rounds` of a report.
    """
    sizes = measured.facts.get("sizes", {}) if measured else {}
    if not record.ranks:
        own = glue_section(record, folder, key) if record.kind == "glue" else methods_section(record, folder, key)
        sections = [run_section(record, {}), tables_section(record), own, training_section(record, folder, key)]
        return [section for section in sections if section]
    split, found, latency = record.splits[0], {}, {}
    if measured and record.ranked(split):
        found = measured.details(options.stages, split)
        latency = measured.latency(split, options.latency_rounds)
        record.notes.extend(differences(record, found, split))
        if measured.note:
            record.notes.append(
                f"{measured.note} What no earlier report measured of it (relations, examples, latency) is left out."
            )
    sections = [
        run_section(record, sizes),
        results_section(record),
        widths_section(record, found, folder, key),
        cost_section(record, latency, folder, key),
        training_section(record, folder, key),
        directions_section(record, found, folder, key),
        relations_section(record, found, options.min_queries, folder, key),
        examples_section(record, found),
    ]
    return [section for section in sections if section]

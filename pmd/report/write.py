"""`pmd report`: what a run folder holds as one page to read, in HTML and in Markdown.

What the run noted is taken as it is. Only what it did not note is measured, once, and kept in its folder: see
`pmd.report.measured`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.recipes.tables import ranking_cells
from pmd.report.costs import by_size
from pmd.report.measured import Measured
from pmd.report.page import Part, Picture, Pictures, Section, Table, write_page
from pmd.report.pictures import SHOWN, letters, points
from pmd.report.record import TITLES, Record, read_run
from pmd.report.sections import RANKING, duration, emphasise, sections_of


@dataclass
class ReportConfig:
    """Write a page about a run, which can be read without a network.

    Args:
        run: a run folder, or a folder of several runs such as `pmd table med` writes; several folders for a page that
            begins with a table of all.
        out: the page, ending in .html; by default report.html in the run folder (for several, beside the first). The
            same in Markdown is written beside it, with the pictures in a folder of that name.
        stages: stages whose relations and examples are shown; by default the first and the last finished one.
        rank: measure what the run has not: relations, examples, retention and latency.
        min_queries: least number of queries of a relation that is listed among the hardest.
        latency_rounds: single queries to time each model with; 0 for none.
        threads: CPU threads of the ranking; 0 for OMP_NUM_THREADS, or else for all free cores.
        fresh: measure again what an earlier report has measured.
    """

    run: str | list[str]
    out: str | None = None
    stages: list[str] | None = None
    rank: bool = True
    min_queries: int = 10
    latency_rounds: int = 50
    threads: int = 0
    fresh: bool = False


@dataclass(frozen=True)
class Options:
    """What a run's sections show; `stages` are its own."""

    stages: Sequence[str]
    min_queries: int
    latency_rounds: int


def report(config: ReportConfig) -> list[Path]:
    """Write the page; its files.

    Raises:
        PmdError: for what is no run, and for options that cannot be followed.
    """
    runs = [config.run] if isinstance(config.run, str) else list(config.run)
    if not runs:
        raise PmdError("--run: none is given; name a run folder: pmd report RUN")
    if config.min_queries < 1 or config.latency_rounds < 0:
        raise PmdError("--min_queries must be 1 or more, and --latency_rounds 0 or more")
    records = [read_run(run) for run in runs]
    chosen = [shown_stages(record, config.stages if record.ranks else None) for record in records]
    if config.stages and not any(record.ranks for record in records):
        raise PmdError("--stages: only runs of models of a graph have relations and examples; leave it out")
    out = Path(config.out).expanduser() if config.out else default_out(records)
    if out.suffix != ".html":
        raise PmdError(f"--out: '{out}' is no page; end it with .html")
    pictures = out.with_suffix("")
    parts = []
    with letters():
        for place, (record, stages) in enumerate(zip(records, chosen), 1):
            key = f"run{place}-" if len(records) > 1 else ""
            measured = None
            if record.ranks and config.rank:
                measured = Measured(record, threads=config.threads, fresh=config.fresh)
            options = Options(stages, config.min_queries, config.latency_rounds)
            sections = sections_of(record, measured, pictures, key, options)
            parts.append(Part(record.name, sections, lede(record)))
        if len(records) > 1:
            parts.insert(0, Part("All runs", [compared(records, pictures)]))
    title = records[0].name if len(records) == 1 else f"{len(records)} runs"
    return [out, write_page(out, title, parts)]


def default_out(records: Sequence[Record]) -> Path:
    folder = records[0].folder
    return folder / "report.html" if len(records) == 1 else folder.resolve().parent / "report.html"


def shown_stages(record: Record, asked: Sequence[str] | None) -> list[str]:
    """The stages whose relations and examples are shown, in the order of the run. PmdError if one is not finished."""
    finished = [*record.ranked(record.splits[0])] if record.ranks else []
    unknown = next((name for name in asked or () if name not in finished), None)
    if unknown is not None:
        there = ", ".join(finished) or "none"
        raise PmdError(f"--stages: '{record.folder}' has no finished stage '{unknown}'; there are {there}")
    return [name for name in finished if name in (asked or (finished[0], finished[-1]))]


def lede(record: Record) -> str:
    """The result in a sentence."""
    start = f"{TITLES[record.kind]}."
    found = record.ranked(record.splits[0]) if record.ranks else {}
    if not found:
        return start
    split = record.splits[0]
    name, best = max(found.items(), key=lambda item: item[1]["metrics"][split]["mrr"])
    metrics = best["metrics"][split]
    return (
        f"{start} {name} ranks {split} best: MRR {metrics['mrr']:.3f}, Hits@10 {metrics['hits_at_10']:.3f}, "
        f"with {best['parameters']:,} parameters."
    )


def compared(records: Sequence[Record], pictures: Path) -> Section:
    """All finished stages of all runs in one table, and in one picture as far as they can be told apart."""
    rows: list[list[str]] = []
    groups: dict[str, list[tuple[float, float]]] = {}
    for place, record in enumerate(records, 1):
        for split in record.splits if record.ranks else ():
            data = Path(record.config["data"]["path"]).name
            for name, result in record.ranked(split).items():
                cells = ranking_cells(result["metrics"][split])
                seconds = result.get("train_seconds")
                own = [f"{data}, {split}", f"{result['parameters']:,}", *cells, duration(seconds) if seconds else ""]
                rows.append([record.name, name, *own])
                sizes = [(of["parameters"], of["mrr"]) for of in by_size(result, split).values()]
                if split == record.splits[0]:
                    groups.setdefault(f"{place}: {record.name}"[:24], []).extend(sizes)
    columns = ("run", "model", "ranked", "parameters", *RANKING, "training")
    alike = len({row[2] for row in rows}) == 1
    if alike:
        emphasise(rows, range(4, 9), [8])
    note = "; the best of a column is bold" if alike and len(rows) > 1 else ""
    blocks: list[Any] = [
        Table(columns, rows, f"Filtered realistic ranks of both directions{note}", words=("model", "ranked"))
    ]
    if alike and 1 < len(groups) <= SHOWN:
        file = points(pictures / "all-parameters.svg", groups, "parameters", "MRR", joined=False)
        blocks.append(Pictures([Picture(file, "MRR against parameters, all models and widths")]))
    others = [[record.name, TITLES[record.kind]] for record in records if not record.ranks]
    if others:
        blocks.append(Table(("run", "what"), others, "In tables of their own", words=("what",)))
    return Section("Comparison", blocks)

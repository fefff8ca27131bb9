"""`pmd report`: what a run folder holds as one page to read, in HTML and in Markdown.

What the run noted is taken as it is. Only what it did not note is measured, once, and kept in its folder: see
`pmd.reports.measured`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.evaluation.tables import Table, duration, mark_best, ranking_cells, table_of
from pmd.reports.measured import Measured
from pmd.reports.page import Block, Part, Picture, Section, write_page
from pmd.reports.pictures import SHOWN, points, reproducible
from pmd.reports.record import RunRecord, read_run
from pmd.reports.sections import parameters_and_mrr, sections_of
from pmd.reports.study import is_study, read_study, study_lede, study_sections
from pmd.settings.shared import DataConfig

TOLERANCE = 5e-4
"""The largest difference from an MRR that was noted: on another machine, near ties fall otherwise."""


@dataclass
class ReportConfig:
    """Write a page about a run, which can be read without a network.

    Args:
        run: a run folder, a folder of several runs such as `pmd table med` writes, or the study of a `pmd tune`; several
            run folders for a page that begins with a table of all.
        out: the page, ending in .html; by default report.html in the run folder (for several, beside the first). The
            same in Markdown is written beside it, with the pictures in a folder of that name.
        stages: stages whose relations and examples are shown; by default the first and the last finished one.
        rank: measure what the run has not: relations, examples, retention and latency.
        min_queries: least number of queries of a relation that is listed among the hardest.
        latency_rounds: single queries to time each model with; 0 for none.
        threads: CPU threads of the ranking; 0 for OMP_NUM_THREADS, or else for all free cores.
        fresh: measure again what an earlier report has measured.
        data: the graph of the runs, if it has been moved.
    """

    run: str | list[str]
    out: str | None = None
    stages: list[str] | None = None
    rank: bool = True
    min_queries: int = 10
    latency_rounds: int = 50
    threads: int = 0
    fresh: bool = False
    data: DataConfig | None = None


def report(config: ReportConfig) -> list[Path]:
    """Write the page; its files. PmdError for what is no run, and for options that cannot be followed."""
    runs = [config.run] if isinstance(config.run, str) else list(config.run)
    if not runs:
        raise PmdError("--run: none is given; name a run folder: pmd report RUN")
    if config.min_queries < 1 or config.latency_rounds < 0:
        raise PmdError("--min_queries must be 1 or more, and --latency_rounds 0 or more")
    if any(is_study(run) for run in runs):
        return report_of_study(config, runs)
    records = [read_run(run) for run in runs]
    shown = [shown_stages(record, config.stages) for record in records]
    if config.stages and not any(record.splits for record in records):
        raise PmdError("--stages: only runs of models of a graph have relations and examples; leave it out")
    several, folder = len(records) > 1, records[0].folder
    out = page_of(config, folder.resolve().parent if several else folder)
    pictures, parts = out.with_suffix(""), []
    with reproducible():
        for number, (record, stages) in enumerate(zip(records, shown), 1):
            prefix = f"run{number}-" if several else ""
            measured = measure(record, stages, config)
            sections = sections_of(
                record, lambda name, prefix=prefix: pictures / f"{prefix}{name}", config.min_queries, **measured
            )
            parts.append(Part(record.name, sections, lede(record)))
        if several:
            parts.insert(0, Part("All runs", [compared(records, pictures)], lede_of_all(records)))
    return write_page(out, f"{len(records)} runs" if several else records[0].name, parts)


def report_of_study(config: ReportConfig, runs: Sequence[str]) -> list[Path]:
    """Write the page of a study of `pmd tune`."""
    if len(runs) > 1:
        raise PmdError("--run: a study has a page of its own; name it alone, or runs in its folder 'trials'")
    folder = Path(runs[0]).expanduser()
    study, out = read_study(folder), page_of(config, folder)
    with reproducible():
        sections = study_sections(study, lambda name: out.with_suffix("") / name)
    name = folder.resolve().name
    return write_page(out, name, [Part(name, sections, study_lede(study))])


def page_of(config: ReportConfig, folder: Path) -> Path:
    """The page to write, by default in a folder."""
    out = Path(config.out or folder / "report.html").expanduser()
    if out.suffix != ".html":
        raise PmdError(f"--out: '{out}' is no page; end it with .html")
    return out


def measure(record: RunRecord, stages: Sequence[str], config: ReportConfig) -> dict[str, dict[str, Any]]:
    """`sizes` of the graph, `details` and `trust` of the stages whose relations and examples are shown, and `latency`, as far as
    they can be measured; what cannot be, and what has changed since the run, is added to the notes of the record."""
    if not record.splits or not config.rank:
        return {"sizes": {}, "details": {}, "latency": {}, "trust": {}}
    measured = Measured(record, data=config.data, threads=config.threads, fresh=config.fresh)
    details, latency, trust = {}, {}, {}
    if record.ranked():
        split = record.splits[0]
        details, latency = measured.details(stages, split), measured.latency(split, config.latency_rounds)
        trust = measured.trust(stages, next((name for name in record.splits if "valid" not in name), "test"))
        for name, now in details.items():
            noted, mrr = record.results[name].metrics[split]["mrr"], now["metrics"]["mrr"]
            if abs(noted - mrr) > TOLERANCE:
                record.notes.append(
                    f"Ranked again, {name} has an MRR of {mrr:.4f}, and not {noted:.4f} as the run noted: the model, or the "
                    "program, has changed since. Relations and examples are of now."
                )
        if measured.note:
            left_out = "What no earlier report measured of it (relations, examples, latency) is left out."
            record.notes.append(f"{measured.note} {left_out}")
    return {"sizes": measured.facts.get("sizes", {}), "details": details, "latency": latency, "trust": trust}


def shown_stages(record: RunRecord, asked: Sequence[str] | None) -> list[str]:
    """The stages whose relations and examples are shown, in the order of the run. PmdError if one is not finished."""
    finished = [*record.ranked()]
    unknown = next((name for name in asked or () if name not in finished), None)
    if unknown is not None and record.splits:
        known = ", ".join(finished) or "none"
        raise PmdError(f"--stages: '{record.folder}' has no finished stage '{unknown}'; there are {known}")
    return [name for name in finished if name in (asked or (finished[0], finished[-1]))]


def lede(record: RunRecord) -> str:
    """The result in a sentence."""
    return " ".join([f"{record.title}.", *best_model(record)])


def best_model(record: RunRecord) -> list[str]:
    """A sentence about the best model of a run, if it has ranked one."""
    results = record.ranked()
    if not results:
        return []
    split = record.splits[0]
    name, best = max(results.items(), key=lambda item: item[1].metrics[split]["mrr"])
    metrics = best.metrics[split]
    return [
        f"{name} ranks {split} best: MRR {metrics['mrr']:.3f}, Hits@10 {metrics['hits_at_10']:.3f}, "
        f"with {best.parameters:,} parameters."
    ]


def lede_of_all(records: Sequence[RunRecord]) -> str:
    """The best of several runs in a sentence; nothing if they rank different triples."""
    ranked = [record for record in records if record.splits and record.ranked()]
    if len({(Run(record.folder).data_checksum, record.splits[0]) for record in ranked}) != 1:
        return ""

    def best(record: RunRecord) -> float:
        return max(result.metrics[record.splits[0]]["mrr"] for result in record.ranked().values())

    first = max(ranked, key=best)
    return " ".join([f"The best model is in the run {first.name}.", *best_model(first)])


def compared(records: Sequence[RunRecord], pictures: Path) -> Section:
    """All finished stages of all runs in one table, and in one picture as far as they can be told apart."""
    rows, metrics = [], []
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    ranked = [
        (n, run, split, *stage)
        for n, run in enumerate(records, 1)
        for split in run.splits
        for stage in run.ranked(split).items()
    ]
    for number, record, split, name, result in ranked:
        metrics.append(result.metrics[split])
        rows.append(
            {
                "run": record.name,
                "model": name,
                "ranked": f"{Path(record.config['data']['path']).name}, {split}",
                "parameters": f"{result.parameters:,}",
                **ranking_cells(metrics[-1]),
                "training": duration(result.train_seconds) if result.train_seconds else "",
            }
        )
        if split == record.splits[0]:
            groups[f"{number}: {record.name}"[:24]] += parameters_and_mrr(result, split).values()
    one_ranking = len({row["ranked"] for row in rows}) == 1
    if one_ranking:
        mark_best(rows, metrics)
    bold = "; the best of a column is bold" if one_ranking and len(rows) > 1 else ""
    caption = f"Filtered realistic ranks of both directions{bold}"
    blocks: list[Block] = [table_of(rows, caption, left=("model", "ranked"))] if rows else []
    if one_ranking and 1 < len(groups) <= SHOWN:
        picture = Picture(pictures / "all-parameters.svg", "MRR against parameters, all models and widths")
        points(picture.file, groups, "parameters", "MRR", joined=False)
        blocks.append([picture])
    others = [[record.name, record.title] for record in records if not record.splits]
    if others:
        blocks.append(Table(("run", "what"), others, "In tables of their own", left=("what",)))
    return Section("Comparison", blocks)

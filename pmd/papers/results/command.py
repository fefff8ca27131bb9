"""`pmd results`: from the run folders of a comparison to the tables of a page, so that no number is typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pmd.core.errors import PmdError, warn
from pmd.core.files import write_text
from pmd.evaluation.paired import Unit
from pmd.evaluation.tables import Table, joined
from pmd.papers.results.adding import added, refuse_other_draws
from pmd.papers.results.folders import cells_of
from pmd.papers.results.pages import difference_text, rendered, title
from pmd.papers.results.record import PAIRED, collected, paired_of, pairs_of, read_record, write_record


@dataclass
class CollectConfig:
    """Write the numbers of finished comparisons or runs to a small file, with what they were measured by.

    Args:
        folder: a comparison's folder (`--out` of `pmd table compare`, `med`, `dualde` or `glue`) or a run's; several are
            put together.
        name: of the file, PAGES/data/NAME.json.
        pages: folder of the pages that show it.
        against: rows that all others are compared with, by the paired bootstrap.
        command: the command of runs that did not note theirs.
        samples: resamples of the bootstrap.
        unit: what is drawn anew: each `triple` with both of its queries, which succeed and fail together, or each `query`.
        add: keep what the file has, and add these folders to it, as rows or seeds that another machine has run.
    """

    folder: str | list[str]
    name: str
    pages: str = "docs/results"
    against: list[str] = field(default_factory=list)
    command: str | None = None
    samples: int = 10_000
    unit: Unit = "triple"
    add: bool = False


@dataclass
class RenderConfig:
    """Fill the tables of all pages in from the files that `collect` wrote.

    Args:
        pages: folder of the pages, *.md, and of their data.
    """

    pages: str = "docs/results"


@dataclass
class PairedConfig:
    """Is a row of a comparison better than another? A paired bootstrap over the test triples.

    Args:
        folder: of the comparison.
        rows: two rows by their names; the first is compared with the second.
        samples: resamples.
        unit: what is drawn anew: each `triple` with both of its queries, which succeed and fail together, or each `query`.
    """

    folder: str
    rows: list[str]
    samples: int = 10_000
    unit: Literal["query", "triple"] = "triple"


def collect(config: CollectConfig) -> str:
    """Write the record; a line that says where. PmdError for folders without results, and for ranks that are missing."""
    folders = [config.folder] if isinstance(config.folder, str) else config.folder
    _check_samples(config.samples)
    if not folders:
        raise PmdError("--folder: give the folder of a comparison, or of runs")
    file = Path(config.pages) / "data" / f"{config.name}.json"
    before = read_record(file) if config.add else None
    if before:
        refuse_other_draws(before, config.samples, config.unit)
    record = collected(folders, config.against, config.command, config.samples, config.unit)
    if gaps := unfinished(record["entries"]):
        warn(f"results: not finished: {'; '.join(gaps)}; their means are over fewer seeds")
    record, lost = added(before, record) if before else (record, 0)
    write_record(file, record)
    remedy = f"; {lost} comparisons of rows with more seeds now are left out: collect all folders together to have them"
    return f"{len(record['entries'])} models -> {file}{remedy if lost else ''}"


def unfinished(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that a row has of some of its seeds alone, in words."""
    seeds: dict[tuple, set[int]] = {}
    for entry in entries:
        for place in ((entry["group"], entry["row"]), (entry["group"], entry["row"], entry["column"])):
            seeds.setdefault(place, set()).add(entry["seed"])
    return [
        f"{place[2]} of '{place[1]}', seed {seed}"
        for place, there in seeds.items()
        if len(place) == 3
        for seed in sorted(seeds[place[:2]] - there)
    ]


def render(config: RenderConfig) -> str:
    """Fill in the tables; a line for each page that has changed. PmdError for what a record does not have."""
    folder = Path(config.pages)
    if not folder.is_dir():
        raise PmdError(f"--pages: no folder '{folder}'")
    changed = []
    for page in sorted(folder.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        new = rendered(text, folder / "data")
        if new != text:
            write_text(page, new)
            changed.append(f"{page} is written anew")
    return "\n".join(changed) or f"all tables in '{folder}' are as their data say"


def paired(config: PairedConfig) -> str:
    """Tables of the differences, one for each group and split. PmdError for rows that there are not, or without ranks."""
    _check_samples(config.samples)
    if len(config.rows) != 2:
        raise PmdError(f"--rows: {len(config.rows)} given; name two, as in --rows '[PMD, LKD]'")
    row, baseline = config.rows
    cells = cells_of([config.folder])
    pairs = pairs_of(cells, baseline, config.samples, config.unit, [row])
    if not pairs:
        columns = {name: [*dict.fromkeys(cell.column for cell in cells if cell.row == name)] for name in config.rows}
        named = " and ".join(f"'{name}' (columns {', '.join(columns[name])})" for name in config.rows)
        raise PmdError(f"--rows: {named} have no column and seed in common; choose others")
    tables = [*dict.fromkeys((pair["group"], pair["split"]) for pair in pairs)]
    return joined(*(_difference_table(pairs, group, split, row, baseline) for group, split in tables))


def _difference_table(pairs: Sequence[dict], group: str, split: str, row: str, baseline: str) -> Table:
    """Columns down, metrics across: the difference, its 95 % interval and the share of resamples above 0."""
    places = {
        (pair["column"], pair["metric"]): pair for pair in pairs if (pair["group"], pair["split"]) == (group, split)
    }
    columns = [*dict.fromkeys(column for column, _ in places)]
    seeds = next(iter(places.values()))["seeds"]

    def cell(column: str, metric: str) -> str:
        pair = places[column, metric]
        text = difference_text(paired_of(pair))
        return type(text)(f"{text} {pair['above']:.1%}")

    rows = [[column, *(cell(column, metric) for metric in PAIRED)] for column in columns]
    where = ", ".join(filter(None, [group, split]))
    caption = f"{row} over {baseline}, {where}, seeds {', '.join(map(str, seeds))}: difference [95 % interval], resamples above 0"
    return Table(["column", *map(title, PAIRED)], rows, caption)


def _check_samples(samples: int) -> None:
    if samples < 100:
        raise PmdError(f"--samples: {samples} give no interval; use 1000 or more")

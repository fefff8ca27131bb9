"""Tables of results: typed once, then printed as Markdown or set on a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tabulate import tabulate

from pmd.core.files import read_object, write_json, write_text
from pmd.core.printing import printable
from pmd.core.results import Metrics, StageResult
from pmd.settings.catalogue import METRICS


class Strong(str):
    """A cell that is set in bold."""


@dataclass(frozen=True)
class Table:
    """Cells are printed as given.

    Args:
        caption: what is said above the table.
        left: columns that are aligned to the left, as the first one always is.
        notes: what is said below the table, a paragraph each.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    left: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def alignment(self) -> list[str]:
        """`left` or `right` by column."""
        return ["left" if not i or name in self.left else "right" for i, name in enumerate(self.columns)]

    def markdown(self, escape: Callable[[str], str] = str) -> str:
        """The table with its caption and notes; `escape` is applied to every text."""
        rows = [
            [f"**{escape(cell)}**" if isinstance(cell, Strong) else escape(cell) for cell in row] for row in self.rows
        ]
        table = markdown([escape(name) for name in self.columns], rows, self.alignment)
        return "\n\n".join([*filter(None, [escape(self.caption)]), table, *map(escape, self.notes)])

    def stored(self) -> dict[str, Any]:
        """The table as JSON: a cell in bold is an object."""
        rows = [[{"strong": cell} if isinstance(cell, Strong) else cell for cell in row] for row in self.rows]
        return {**asdict(self), "rows": rows}

    @classmethod
    def restored(cls, rows: Sequence[Sequence[Any]], **rest: Any) -> Table:
        """The table that `stored` wrote."""
        return cls(
            rows=[[Strong(cell["strong"]) if isinstance(cell, dict) else cell for cell in row] for row in rows], **rest
        )


def table_of(records: Iterable[Mapping[str, str]], caption: str = "", **rest: Any) -> Table:
    """A table from rows of cells by column; all rows have the same columns."""
    records = [*records]
    columns = [*records[0]] if records else []
    return Table(columns, [[*record.values()] for record in records], caption, **rest)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]], alignment: Sequence[str] = ()) -> str:
    """A pipe table; every cell is printed as given, on one line and with its `|` escaped. `alignment` is `left` or
    `right` by column, by default left for the first alone."""
    alignment = alignment or ["left", *["right"] * (len(columns) - 1)]
    rows = [[one_line(cell) for cell in row] for row in rows]
    return tabulate(rows, columns, tablefmt="pipe", colalign=alignment if rows else None, disable_numparse=True)


def one_line(cell: Any) -> str:
    """The text of a cell without what would end the cell, and `printable`; a `|` that is escaped already stays so."""
    return "" if cell is None else re.sub(r"(?<!\\)\|", r"\\|", printable(" ".join(str(cell).split())))


def write_tables(folder: Path, results: Any, tables: Sequence[Table]) -> str:
    """Write the results of several runs and the tables made from them: results.json, table.md, and tables.json, which
    a report reads. Returns what table.md holds."""
    text = joined(*tables) + "\n"
    write_json(folder / "results.json", results)
    write_json(folder / "tables.json", {"tables": [table.stored() for table in tables]})
    write_text(folder / "table.md", text)
    return text


def stored_tables(folder: Path) -> list[Table]:
    """The tables of a folder that `write_tables` filled; none of older folders."""
    stored = read_object(folder / "tables.json", "repeat the command that made it").get("tables", [])
    return [Table.restored(**table) for table in stored]


def joined(*tables: Table) -> str:
    """Tables below each other, in Markdown."""
    return "\n\n".join(table.markdown() for table in tables)


def mean_and_deviation(values: Sequence[float], *, digits: int = 3) -> str:
    """The mean, ± the standard deviation where there are several values; empty for none."""
    if not values:
        return ""
    mean = f"{round(fmean(values), digits) + 0.0:.{digits}f}"  # no "-0.0"
    return mean if len(values) == 1 else f"{mean} ± {stdev(values):.{digits}f}"


def seeds_table(
    labels: Sequence[str],
    columns: Sequence[Any],
    rows: Mapping[Any, Mapping[Any, Sequence[float]]],
    caption: str = "",
    *,
    titles: Mapping[str, str] | None = None,
    last: Mapping[str, Sequence[str]] | None = None,
    mark_best: bool = False,
    digits: int = 3,
    more_is_better: bool = True,
) -> Table:
    """A table of means over seeds, ± the standard deviation where there are several.

    Args:
        labels: headers of the columns with the rows' labels.
        columns: of the values.
        rows: the values of the seeds by label (or labels) and column; a cell without values is empty.
        titles: what is printed for a label.
        last: cells of further columns by header.
        mark_best: set the largest mean of each column in bold, among the cells with the most seeds, if they differ; where rows
            have several labels, among those that share all but the last.
        more_is_better: false where the smallest mean is the best.
    """
    by_labels = {key if isinstance(key, tuple) else (key,): cells for key, cells in rows.items()}
    most = {c: max(len(cells.get(c, ())) for cells in by_labels.values()) for c in columns}
    means = {
        (key, c): fmean(cells[c])
        for key, cells in by_labels.items()
        for c in columns
        if 0 < len(cells.get(c, ())) == most[c]
    }

    def cell(key: tuple[str, ...], column: Any) -> str:
        text = mean_and_deviation(by_labels[key].get(column, ()), digits=digits)
        rivals = [mean for (other, c), mean in means.items() if c == column and other[:-1] == key[:-1]]
        best = mark_best and len({*rivals}) > 1 and means.get((key, column)) == (max if more_is_better else min)(rivals)
        return Strong(text) if best else text

    cells = [
        [*((titles or {}).get(label, label) for label in key), *(cell(key, column) for column in columns), *more]
        for key, *more in zip(by_labels, *(last or {}).values())
    ]
    return Table([*labels, *map(str, columns), *(last or {})], cells, caption)


def ranking_cells(metrics: Metrics) -> dict[str, str]:
    """The metrics of a ranking by column, both directions together."""
    return {metric.title: metric.text(metrics.get(metric.name)) for metric in METRICS["ranking"].values()}


def mark_best(records: Sequence[dict[str, str]], metrics: Sequence[Metrics]) -> None:
    """Set the best cells of each column of `ranking_cells` in bold, where there are several rows."""
    for metric in METRICS["ranking"].values() if len(records) > 1 else ():
        values = [of_row[metric.name] for of_row in metrics if metric.name in of_row]
        best = metric.text((max if metric.more_is_better else min)(values, default=None))
        for record in records:
            if best and record[metric.title] == best:
                record[metric.title] = Strong(best)


def parameters_at(result: StageResult, width: int) -> int:
    """The parameters that a width uses: of a croppable embedding model its share; a text model has the same encoder at
    every width."""
    return result.parameters * width // result.dim if result.interaction else result.parameters


def stages_cells(results: Mapping[str, StageResult], split: str) -> list[dict[str, str]]:
    """The cells of stages, with the same columns for all."""
    mixed = len({result.layers is None for result in results.values()}) > 1
    return [stage_cells(name, result, split, mixed=mixed) for name, result in results.items()]


def stage_cells(
    name: str, result: StageResult, split: str, width: int | None = None, *, mixed: bool = False
) -> dict[str, str]:
    """All that tables say of a stage, or of one width of it, by column; `mixed` stands beside stages of another family."""
    if mixed:
        layers = "" if result.layers is None else str(result.layers)
        size, speed = {"model": name, "layers": layers, "dim": str(result.dim)}, {}
    elif result.layers is not None:
        size = {"grade": name, "layers": str(result.layers), "mask rate": f"{result.mask_rate:.0%}"}
        speed = {"entities/s": result.entities_per_second}
    else:
        size = {"model": name, "dim": str(width or result.dim)}
        seconds = (result.rank_seconds or {}).get(split)
        speed = {"queries/s": result.metrics[split]["num_queries"] / seconds if seconds else None}
    return {
        **size,
        "taught by": result.teacher if result.teacher not in (None, "none") else "",
        "parameters": f"{parameters_at(result, width or result.dim):,}",
        **({"types": result.types} if result.types else {}),
        **ranking_cells(result.by_width(split)[width] if width else result.metrics[split]),
        "training": duration(result.train_seconds) if result.train_seconds else "",
        **{column: f"{value:,.0f}" if value else "" for column, value in speed.items()},
    }


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def ranking_tables(results: Mapping[str, StageResult], splits: Iterable[str]) -> dict[str, str]:
    """By split, the tables of a run of text or embedding models in Markdown: a row for each finished stage (and width of an
    embedding model), then what each width of text models scores."""
    tables = {}
    for split in splits:
        finished = {name: result for name, result in results.items() if split in result.metrics}
        if any(result.layers is not None for result in finished.values()):
            rows = [without(cells, "taught by", "training") for cells in stages_cells(finished, split)]
            tables[split] = joined(table_of(rows), *widths_tables(finished, split))
        else:
            cells = [stage_cells(*stage, split, w) for stage in finished.items() for w in stage[1].by_width(split)]
            tables[split] = joined(table_of(without(row, "training", "queries/s") for row in cells))
    return tables


def without(cells: Mapping[str, str], *columns: str) -> dict[str, str]:
    """The cells of the other columns."""
    return {column: cell for column, cell in cells.items() if column not in columns}


def widths_tables(results: Mapping[str, StageResult], split: str) -> list[Table]:
    """MRR and Hits@10 of `split`, stages (which have ranked it) down and widths across; none where no stage has several."""
    if not any(result.widths for result in results.values()):
        return []
    stages = {name: result.by_width(split) for name, result in results.items()}
    widths = sorted({width for by_width in stages.values() for width in by_width})
    layered = any(result.layers is not None for result in results.values())
    tables = []
    for metric in (METRICS["ranking"]["mrr"], METRICS["ranking"]["hits_at_10"]):
        rows = []
        for name, by_width in stages.items():
            layers = results[name].layers
            labels = {"grade": name, "layers": "" if layers is None else str(layers)} if layered else {"model": name}
            cells = {str(width): metric.text(by_width.get(width, {}).get(metric.name)) for width in widths}
            rows.append({**labels, **cells})
        tables.append(table_of(rows, f"{metric.title} by width"))
    return tables

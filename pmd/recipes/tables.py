"""Markdown tables of results."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

GRADE_COLUMNS = ("grade", "layers", "mask rate", "parameters", "MRR", "Hits@1", "Hits@3", "Hits@10", "MR", "entities/s")


def grades_table(results: dict[str, dict[str, Any]], split: str) -> str:
    """One row per finished stage: what it is, how well it ranks `split`, how fast it encodes."""
    rows = [
        (
            name,
            result["layers"],
            f"{result['mask_rate']:.0%}",
            f"{result['parameters']:,}",
            *ranking_cells(result["metrics"][split]),
            f"{result['entities_per_second']:,.0f}",
        )
        for name, result in results.items()
        if split in result["metrics"]
    ]
    return markdown(GRADE_COLUMNS, rows)


def widths_tables(results: dict[str, dict[str, Any]], split: str) -> str:
    """MRR and Hits@10 of `split`, grades down and widths across; empty where no grade has several widths."""
    if not any("widths" in result for result in results.values()):
        return ""
    found = {
        name: {int(width): metrics for width, metrics in by_width(result, split).items()}
        for name, result in results.items()
        if split in result["metrics"]
    }
    widths = sorted({width for cells in found.values() for width in cells})
    text = ""
    for title, key in (("MRR", "mrr"), ("Hits@10", "hits_at_10")):
        rows = [
            [name, results[name]["layers"], *(f"{cells[w][key]:.3f}" if w in cells else "" for w in widths)]
            for name, cells in found.items()
        ]
        text += f"\n\n{title} by width\n\n{markdown(('grade', 'layers', *map(str, widths)), rows)}"
    return text


def models_table(results: dict[str, dict[str, Any]], split: str) -> str:
    """One row per finished embedding model and width: its size, who taught it, how well it ranks `split`."""
    rows = [
        (
            name,
            dim,
            result["teacher"] or "",
            f"{result['parameters'] * int(dim) // result['dim']:,}",
            *ranking_cells(metrics),
        )
        for name, result in results.items()
        if split in result["metrics"]
        for dim, metrics in by_width(result, split).items()
    ]
    return markdown(("model", "dim", "taught by", "parameters", "MRR", "Hits@1", "Hits@3", "Hits@10", "MR"), rows)


def by_width(result: dict[str, Any], split: str) -> dict[Any, dict[str, Any]]:
    """The metrics of each width of a croppable model, or of the one width of another."""
    return result["widths"][split] if "widths" in result else {result["dim"]: result["metrics"][split]}


def ranking_cells(metrics: dict[str, Any]) -> list[str]:
    """MRR, Hits@1, Hits@3, Hits@10 and MR of both sides, as printed."""
    return [*(f"{metrics[key]:.3f}" for key in ("mrr", "hits_at_1", "hits_at_3", "hits_at_10")), f"{metrics['mr']:.1f}"]


def markdown(columns, rows, align=None) -> str:
    """A pipe table; every cell is printed as given, on one line and with its `|` escaped. `align` is `left` or `right` by
    column, by default the first is left."""
    align = align or ["left", *["right"] * (len(columns) - 1)]
    rows = [[cell_text(cell) for cell in row] for row in rows]
    return tabulate(rows, columns, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True)


def cell_text(cell: Any) -> str:
    """What a cell holds, without what would end it; a `|` that is escaped already stays so."""
    return "" if cell is None else re.sub(r"(?<!\\)\|", r"\\|", " ".join(str(cell).split()))


def cells_of(row: str) -> list[str]:
    """The cells of a row that `markdown` wrote."""
    row = row.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row)]


def spread(values: Sequence[float], *, digits: int = 3) -> str:
    """The mean, ± the standard deviation where there are several; empty for none."""
    if not values:
        return ""
    mean = f"{round(statistics.fmean(values), digits) + 0.0:.{digits}f}"  # no "-0.0"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"

"""Pictures of a folder of `scripts/med.py`: methods by width, and what wide models retain of narrow ones."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.evaluation.retention import ratio
from pmd.recipes.med_rows import TITLES
from pmd.recipes.plotting import COLOURS, figure, name_axes

GREYS = ("#222222", "#666666", "#999999", "#bbbbbb")
DASHES = ("-", "--", ":")


def by_method(folder: Path, names: Sequence[str] | None, path: Path) -> None:
    """MRR by width, a line for each method (or those of these names), with a band of one standard deviation over seeds
    (MED's Figure 3)."""
    rows = read_table(folder)["results"]
    split, rows = split_of(rows), chosen(rows, names)
    widths = sorted({int(width) for cells in rows.values() for width in cells})
    with figure(path, size=(7.6, 4.4)) as axis:
        for row, look in looks(rows).items():
            each = {int(width): [r["metrics"][split]["mrr"] for r in results] for width, results in rows[row].items()}
            places = sorted(each)
            means = [statistics.fmean(each[width]) for width in places]
            axis.plot(places, means, marker="o", markersize=4, linewidth=2, label=TITLES.get(row, row), **look)
            if row not in TITLES and all(len(values) > 1 for values in each.values()):
                spreads = [statistics.stdev(each[width]) for width in places]
                low, high = ([m + sign * s for m, s in zip(means, spreads)] for sign in (-1, 1))
                axis.fill_between(places, low, high, alpha=0.15, color=look["color"], linewidth=0)
        width_axis(axis, widths)
        axis.legend(frameon=False, fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))
        name_axes(axis, "width", f"MRR, {split}")


def by_retention(folder: Path, names: Sequence[str] | None, path: Path) -> None:
    """The ability retention ratio of each method (or those of these names), mean and standard deviation over seeds (MED's Figure 5); beside it
    the same by the narrowest width that answers a query, which tells how easy the ratio was to come by."""
    table = read_table(folder)
    if "retention" not in table:
        raise PmdError(
            f"--run: '{folder}' was made before retention was measured; repeat its command: it ranks what is missing"
        )
    rows, split = chosen(table["retention"], names), split_of(table["results"])
    with figure(path, 2, size=(5.6, 4.4)) as (bars, lines):
        for place, (row, look) in enumerate(looks(rows).items()):
            title, seeds = TITLES.get(row, row), rows[row]
            ratios = [ratio(of.values()) for of in seeds]
            error = statistics.stdev(ratios) if len(ratios) > 1 else 0
            bar = bars.barh(place, statistics.fmean(ratios), xerr=error, color=look["color"], height=0.7)
            bars.bar_label(bar, [f"{statistics.fmean(ratios):.3f}"], padding=4, fontsize=11)
            narrow = sorted(map(int, seeds[0]))[:-1]  # nothing is wider than the widest
            each = {width: [ratio([of[str(width)]]) for of in seeds if of[str(width)][0]] for width in narrow}
            means = {width: statistics.fmean(values) for width, values in each.items() if values}
            lines.plot([*means], [*means.values()], marker="o", markersize=4, linewidth=2, label=title, **look)
        bars.set_yticks(range(len(rows)), [TITLES.get(row, row) for row in looks(rows)])
        bars.set_xlim(0, 1.2)
        bars.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        bars.invert_yaxis()
        bars.grid(visible=False, axis="y")
        name_axes(bars, "ability retention ratio", "", f"First 10 candidates, {split}")
        width_axis(lines, narrow)
        lines.legend(frameon=False, fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))
        name_axes(lines, "narrowest width that answers", "ability retention ratio")


def read_table(folder: Path) -> dict[str, Any]:
    """results.json of a folder of `scripts/med.py`: methods by width. PmdError if it is none."""
    found = read_results(folder)
    rows = found.get("results") or {}
    if "dt" not in rows or not all(width.isdigit() for cells in rows.values() for width in cells):
        raise PmdError(
            f"--run: '{folder}' is not a folder of scripts/med.py (it has no results.json of methods by width)"
        )
    return found


def read_results(folder: Path) -> dict[str, Any]:
    """results.json of a folder, empty if there is none. PmdError if it is broken."""
    file = folder / "results.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise PmdError(f"--run: '{file}' cannot be read ({error}); repeat the command that made it") from None
    if not isinstance(found, dict):
        raise PmdError(f"--run: '{file}' holds no results by name; repeat the command that made it")
    return found


def chosen(rows: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """The rows of these names, in this order; all for None. PmdError if there is none of a name."""
    unknown = next((name for name in names or () if name not in rows), None)
    if unknown is not None:
        raise PmdError(f"--rows: no row '{unknown}'; there are {', '.join(rows)}")
    return {name: rows[name] for name in names} if names else rows


def split_of(rows: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """The split that was ranked."""
    return next(iter(next(iter(rows["dt"].values()))[0]["metrics"]))


def looks(rows: Iterable[str]) -> dict[str, dict[str, str]]:
    """Colours and dashes by row: what one training gives is drawn in full colours, its rivals in shades of grey."""
    rows = [*rows]
    rivals, croppable = [row for row in rows if row in TITLES], [row for row in rows if row not in TITLES]
    found = {row: {"color": GREYS[i % len(GREYS)], "linestyle": DASHES[i % 3]} for i, row in enumerate(rivals)}
    every = len(COLOURS)
    return found | {
        row: {"color": COLOURS[i % every], "linestyle": DASHES[i // every % 3]} for i, row in enumerate(croppable)
    }


def width_axis(axis: Any, widths: list[int]) -> None:
    """Widths on a logarithmic scale, a tick each."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(widths, [str(width) for width in widths])
    axis.minorticks_off()

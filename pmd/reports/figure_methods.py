"""Figures 3 and 5 of MED (Zhu et al., ACL 2025), from a folder of `pmd table med`: methods by width, and what wide models
retain of narrow ones."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.evaluation.tables import Table, seeds_table
from pmd.reports.pictures import DASHES, MARKS, figure, look, name_axes, width_axis
from pmd.settings.catalogue import INTERACTIONS
from pmd.settings.kge import KgeConfig
from pmd.settings.med_table import TITLES
from pmd.settings.parsing.parse import read_config

GREYS = ("#000000", "#707070")
"""Of what is trained alone or cropped, and of what is taught; both dark enough for a projector."""
HATCHES = ("", "///", "\\\\\\", "xxx", "...", "---", "|||", "+++")
STEP = 1.8 / 72
"""Inches between lines that stand side by side."""
LEGEND = {"frameon": False, "fontsize": 10, "loc": "center left", "bbox_to_anchor": (1.0, 0.5), "handlelength": 3}
"""A legend beside its panel."""


def by_method(folder: Path, names: Sequence[str] | None, path: Path) -> None:
    """MRR by width, a line for each method (or those of these names), with one standard deviation over seeds (MED's
    Figure 3)."""
    rows = read_table(folder)["results"]
    split, rows = split_of(rows), chosen(rows, names)
    values = {
        row: {int(width): [result["metrics"][split]["mrr"] for result in seeds] for width, seeds in cells.items()}
        for row, cells in rows.items()
    }
    with figure(path, size=(7.6, height(rows))) as axis:
        ticks = width_axis(axis, sorted({width for by_width in values.values() for width in by_width}))
        draw_rows(axis, values, ticks)
        axis.legend(**LEGEND)
        name_axes(axis, "width", f"MRR, {split}", title_of(folder))


def by_retention(folder: Path, names: Sequence[str] | None, path: Path) -> None:
    """The ability retention ratio of each method (or those of these names), mean and standard deviation over seeds
    (MED's Figure 5); beside it the ratio by the narrowest width that answers a query, which tells how hard it was to
    earn."""
    table = read_table(folder)
    if "retention" not in table:
        raise PmdError(
            f"--run: '{folder}' was made before retention was measured; repeat its command: it ranks what is missing"
        )
    rows, split = chosen(table["retention"], names), split_of(table["results"])
    *narrow, widest = sorted(map(int, next(iter(rows.values()))[0]))  # nothing is wider than the widest
    by_width = {}
    for row, seeds in rows.items():
        ratios = {width: retention_ratios(seeds, [width]) for width in narrow}
        by_width[row] = {width: values for width, values in ratios.items() if values}
    with figure(path, 2, size=(5.6, height(rows))) as (bars, lines):
        draw_rows(lines, by_width, width_axis(lines, narrow))
        for index, (row, style) in enumerate(looks(rows).items()):
            ratios = retention_ratios(rows[row], [*narrow, widest]) or [1.0]  # nothing answered, nothing lost
            mean = statistics.fmean(ratios)
            bar = bars.barh(index, mean, xerr=deviation(ratios), height=0.7, **bar_look(row, style))
            bars.bar_label(bar, [f"{mean:.3f}"], padding=4, fontsize=11)
        bars.set_yticks(range(len(rows)), [TITLES.get(row, row) for row in looks(rows)])
        bars.set_xlim(0, 1.2)
        bars.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        bars.invert_yaxis()
        bars.grid(visible=False, axis="y")
        name_axes(bars, f"ability retention ratio, first 10 candidates, {split}", "", title_of(folder))
        lines.legend(**LEGEND)
        name_axes(lines, "narrowest width that answers", "ability retention ratio")


def retention_table(
    retention: Mapping[str, Sequence[Mapping[str, Sequence[int]]]],
    widths: Sequence[int],
    of_split: str = "",
    titles: Mapping[str, str] | None = None,
) -> Table:
    """Models down; the ratio, then that of the queries that each width is the narrowest to answer. Nothing is wider than
    the widest, so it has no column.

    Args:
        retention: answered and retained queries by model, seed and width.
    """
    columns = {"all": widths, **{f"from {width}": [width] for width in widths[:-1]}}
    rows = {
        name: {column: retention_ratios(seeds, narrowest) for column, narrowest in columns.items()}
        for name, seeds in retention.items()
    }
    caption = (
        f"Ability retention ratio{of_split}: of the queries that some width answers within the first 10, the share that "
        "all wider ones answer too; and by the narrowest that answers"
    )
    return seeds_table(["method" if titles else "model"], [*columns], rows, caption, titles=titles)


def retention_ratios(seeds: Sequence[Mapping[str, Sequence[int]]], narrowest: Sequence[int]) -> list[float]:
    """The ability retention ratio of each seed, of the queries that one of these widths is the narrowest to answer; seeds
    without such a query have nothing to retain, and are left out."""
    from pmd.evaluation.retention import retention_ratio  # loads torch

    counts = [[by_width[str(width)] for width in narrowest if str(width) in by_width] for by_width in seeds]
    return [retention_ratio(pairs) for pairs in counts if any(answered for answered, _ in pairs)]


def height(rows: Iterable[str]) -> float:
    """Inches of a picture with all these rows in its legend."""
    return max(4.4, 0.6 + 0.25 * len([*rows]))


def draw_rows(axis: Any, rows: Mapping[str, Mapping[int, Sequence[float]]], ticks: Sequence[int]) -> None:
    """For each row a line through the means of its values by width, with one standard deviation: where each width has a
    tick, as bars at the marks, which stand side by side so that none hides another; else as a band."""
    from matplotlib.transforms import ScaledTranslation

    axis.margins(x=0.07)
    few = all(width in ticks for by_width in rows.values() for width in by_width)
    for index, (row, style) in enumerate(looks(rows).items()):
        widths, values = zip(*sorted(rows[row].items()))
        means, deviations = [*map(statistics.fmean, values)], [*map(deviation, values)]
        marked = [i for i, width in enumerate(widths) if width in ticks]
        drawn = axis.plot(widths, means, markevery=marked, label=TITLES.get(row, row), **style)
        if few and any(deviations):
            bars = {"elinewidth": 1, "capsize": 1.5, "zorder": style["zorder"] - 1}
            drawn += axis.errorbar(widths, means, deviations, fmt="none", ecolor=style["color"], **bars).get_children()
        elif any(deviations):
            low, high = ([m + sign * d for m, d in zip(means, deviations)] for sign in (-1, 1))
            axis.fill_between(widths, low, high, alpha=0.15, color=style["color"], linewidth=0)
        aside = ScaledTranslation(few * STEP * (index - (len(rows) - 1) / 2), 0, axis.figure.dpi_scale_trans)
        for part in drawn:
            part.set_transform(axis.transData + aside)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation over seeds; 0 for a single one."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def title_of(folder: Path) -> str | None:
    """`title` of a folder of `pmd table med`, if its runs are still there."""
    configs = sorted(folder.glob("seed*/main/config.yaml"))
    return title(read_config(KgeConfig, ["--config", str(configs[0])])) if configs else None


def title(settings: KgeConfig) -> str:
    """Interaction and graph."""
    return f"{INTERACTIONS[settings.model.interaction].title}, {Path(settings.data.path).name}"


def read_table(folder: Path) -> dict[str, Any]:
    """results.json of a folder of `pmd table med`: methods by width. PmdError if it holds something else."""
    stored = Run(folder).stored
    rows = stored.get("results") or {}
    if "dt" not in rows or not all(width.isdigit() for cells in rows.values() for width in cells):
        raise PmdError(
            f"--run: '{folder}' is not a folder of `pmd table med` (it has no results.json of methods by width)"
        )
    return stored


def chosen(rows: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """The rows of these names, in this order; all for None. PmdError for a name without a row."""
    unknown = next((name for name in names or () if name not in rows), None)
    if unknown is not None:
        raise PmdError(f"--rows: no row '{unknown}'; there are {', '.join(rows)}")
    return {name: rows[name] for name in names} if names else rows


def split_of(rows: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> str:
    """The split that was ranked."""
    return next(iter(next(iter(rows["dt"].values()))[0]["metrics"]))


def looks(rows: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The looks of lines by row, rivals first: theirs are thin and grey with hollow marks, always the same for a method;
    croppable models are drawn in full colours. All have marks or dashes of their own, to be told apart without colours."""
    rows = [*rows]
    styles: dict[str, dict[str, Any]] = {}
    for row in [row for row in rows if row in TITLES]:
        index = [*TITLES].index(row)
        line = {"color": GREYS[index // 4], "linestyle": DASHES[index % 4], "marker": MARKS[index]}
        styles[row] = {**line, "linewidth": 1.4, "markersize": 7, "markerfacecolor": "white", "zorder": 2}
    for index, row in enumerate(row for row in rows if row not in TITLES):
        styles[row] = {**look(index), "linewidth": 2.4, "markersize": 6, "zorder": 3}
    return styles


def bar_look(row: str, style: dict[str, Any]) -> dict[str, str]:
    """The bar of a row: hatched in its grey, or filled with its colour."""
    if row in TITLES:
        return {"facecolor": "white", "edgecolor": GREYS[1], "hatch": HATCHES[[*TITLES].index(row)]}
    return {"facecolor": style["color"], "edgecolor": "white", "hatch": HATCHES[DASHES.index(style["linestyle"])]}

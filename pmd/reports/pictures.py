"""How pictures look and are saved, and those of a report: lines, points and rows of marks, told apart by dash and mark as
well as by colour. One style for all, legible on a slide."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError, need_package
from pmd.core.printing import printable
from pmd.reports.page import Picture

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
"""Distinct in print and for colour-blind readers (Okabe and Ito, 2008); used in this order."""
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKS = "os^DvPX*"
SHOWN = len(COLOURS)
"""The most lines in one picture: more could not be told apart."""
TICKS = 8
"""The most ticks of an axis of widths."""
SIZE = (5.0, 3.4)
"""Inches: legible on a phone's width."""
LONGEST_NAME = 30
"""The most letters of a name beside an axis."""
LEAST_SPAN = 0.1
"""An axis of costs goes at least this share of their middle to both sides: what cannot be told apart lies together."""


@contextmanager
def figure(path: Path, panels: int = 1, *, rows: int = 1, size: tuple[float, float] = SIZE) -> Iterator[Any]:
    """Axes (a list, if there are several panels) to draw on; saved to `path` at the end. PmdError if matplotlib is not
    installed.

    Args:
        panels: side by side, in each of the rows.
        size: of a panel, in inches.
    """
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise PmdError(f"--out: '{path.name}' is no picture that can be written; end it with .png, .pdf or .svg")
    picture = new_figure(panels, rows, size)
    yield picture.axes[0] if len(picture.axes) == 1 else picture.axes
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    # Without the date, the same picture is the same file.
    undated = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    picture.savefig(unfinished, dpi=160, format=path.suffix[1:], **undated)
    os.replace(unfinished, path)


def new_figure(panels: int = 1, rows: int = 1, size: tuple[float, float] = SIZE) -> Any:
    """An empty figure of panels in our style. PmdError if matplotlib is not installed."""
    need_package("matplotlib", "pictures need", "plot")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    picture = Figure(figsize=(size[0] * panels, size[1] * rows), layout="constrained")
    for panel in range(panels * rows):
        axis = picture.add_subplot(rows, panels, panel + 1)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
        axis.grid(alpha=0.25, linewidth=0.8)
        axis.tick_params(labelsize=11)
        axis.yaxis.set_major_locator(MaxNLocator(nbins=6))
    return picture


def line_figure(series: Mapping[str, Mapping[int, float]], x: str, y: str, *, widths: bool = False) -> Any:
    """A figure with a line for each of up to six series, evenly chosen where there are more."""
    picture = new_figure()
    shown = {name: series[name] for name in evenly_spaced([*series], SHOWN)}
    draw_lines(picture.axes[0], shown, widths=widths)
    name_axes(picture.axes[0], x, y)
    legend(picture.axes[0], len(shown))
    return picture


@contextmanager
def reproducible() -> Iterator[None]:
    """Pictures made within keep their texts as texts, and are the same each time. PmdError without matplotlib."""
    need_package("matplotlib", "reports need", "report")
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pmd"}):
        yield


def evenly_spaced(values: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the values, the first and the last among them."""
    if len(values) <= count:
        return list(values)
    return [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]


def numbered(
    file: Path,
    series: Mapping[str, Any],
    caption: str,
    draw: Callable[[Path, dict[str, Any]], None],
    order: Sequence[str] = (),
) -> list[Picture]:
    """As many pictures, in files with a number at the end, as the series need, split as evenly as possible. In all pictures
    of a report, those of one `order` are grouped alike. One of a single point, which would show nothing, is left out."""
    names = [*(order or series)]
    size = math.ceil(len(names) / max(1, math.ceil(len(names) / SHOWN)))
    groups = [[name for name in names[i : i + size] if name in series] for i in range(0, len(names), size or 1)]
    groups = [group for group in groups if sum(len(series[name]) for name in group) > 1]
    pictures = []
    for number, group in enumerate(groups, 1):
        path = file.with_name(f"{file.name}-{number}.svg")
        draw(path, {name: series[name] for name in group})
        part = f", {number} of {len(groups)}" if len(groups) > 1 else f", {group[0]}" if len(group) == 1 else ""
        pictures.append(Picture(path, caption + part))
    return pictures


def lines(
    path: Path,
    series: Mapping[str, Mapping[int, float]],
    x: str,
    y: str,
    *,
    order: Sequence[str] = (),
    widths: bool = False,
    log: bool = False,
    title: str | None = None,
    size: tuple[float, float] = SIZE,
) -> None:
    """A line for each of up to six series, which look as their place in `order` says; over widths, a tick for each. With
    `log`, the scale of the values is logarithmic."""
    with figure(path, size=size) as axis:
        if log:
            axis.set_yscale("log")
        draw_lines(axis, series, order=order, widths=widths)
        name_axes(axis, x, y, title)
        legend(axis, len(series))


def points(
    path: Path, groups: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str, *, joined: bool = True
) -> None:
    """Marks at (x, y) of up to six groups; `joined` by lines where a group is one model of several widths, at their costs."""
    with figure(path) as axis:
        for index, (name, pairs) in enumerate(groups.items()):
            dash = DASHES[index] if joined and len(pairs) > 1 else "none"
            axis.plot(*zip(*pairs), label=name, **look(index, linestyle=dash, markersize=8, linewidth=1.2))
        size_axis(axis, [x for pairs in groups.values() for x, _ in pairs], LEAST_SPAN if joined else 0)
        axis.margins(0.12)
        name_axes(axis, x, y)
        legend(axis, len(groups))


def size_axis(axis: Any, xs: Sequence[float], least: float = LEAST_SPAN) -> None:
    """Ticks for sizes or times; logarithmic where they differ much. The axis goes at least the share `least` of their middle to
    both sides."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    middle = (min(xs) + max(xs)) / 2
    axis.update_datalim([((1 + side) * middle, 0) for side in (-least, least)], updatey=False)
    axis.autoscale_view(scaley=False)
    if max(xs) > 8 * min(xs):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1,) if max(xs) > 200 * min(xs) else (1, 3)))
        axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_major_formatter(EngFormatter(sep="") if max(xs) >= 1000 else plain)


def marks(path: Path, rows: Sequence[str], series: Mapping[str, Sequence[float]], x: str) -> None:
    """A row for each name with a mark of each of up to six series, the first row on top. Marks of a row stand one below the other
    about its line, so that equal ones are seen."""
    from matplotlib.ticker import MaxNLocator

    step = min(0.3, 0.8 / len(series))
    with figure(path, size=(SIZE[0], 1.3 + 0.3 * len(rows))) as axis:
        for row, values in enumerate(zip(*series.values())):
            start = min(values) if len(series) > 1 else 0
            axis.plot([start, max(values)], [row, row], color="#999999", linewidth=1.2, zorder=1)
        for index, (name, values) in enumerate(series.items()):
            places = [row + step * (index - (len(series) - 1) / 2) for row in range(len(rows))]
            axis.plot(values, places, label=name, clip_on=False, **look(index, linestyle="none", markersize=7))
        axis.set_yticks(range(len(rows)), [shortened(name) for name in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlim(0, 1.05 * max(map(max, series.values())) or 1)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axis.grid(visible=False, axis="y")
        name_axes(axis, x, "")
        legend(axis, len(series))


def name_axes(axis: Any, x: str, y: str, title: str | None = None) -> None:
    """Labels of a panel."""
    axis.set_xlabel(x, fontsize=12)
    axis.set_ylabel(y, fontsize=12)
    if title:
        axis.set_title(title, fontsize=13, loc="left")


def legend(axis: Any, count: int, *, beside: bool = False) -> None:
    """Names under the picture, or beside it, where they cover nothing; a single one would say nothing."""
    if count > 1:
        handles, names = axis.get_legend_handles_labels()
        columns = 1 if beside else max(1, min(3, count, 40 // (max(map(len, names)) + 4)))
        # Matplotlib fills it column by column; this way it reads row by row.
        by_row = [i for column in range(columns) for i in range(column, count, columns)]
        style = {"frameon": False, "fontsize": 11, "handlelength": 2.4, "columnspacing": 1.4, "ncols": columns}
        entries = [handles[i] for i in by_row], [names[i] for i in by_row]
        axis.figure.legend(*entries, loc="outside right upper" if beside else "outside lower center", **style)


def shortened(name: str) -> str:
    """A name with its middle left out where it is long; ids of relations differ at the end."""
    half = LONGEST_NAME // 2
    name = name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"
    return printable(name).replace("$", r"\$")  # a formula to matplotlib otherwise


def look(index: int, **style: Any) -> dict[str, Any]:
    """The look of the line with this index in a picture: told apart by its colour, and without colours by its marks."""
    dash = DASHES[index // len(COLOURS) % len(DASHES)]
    marker = MARKS[index % len(MARKS)]
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": dash, "marker": marker, **style}


def draw_lines(
    axis: Any, series: Mapping[str, Mapping[int, float]], *, order: Sequence[str] = (), widths: bool = False
) -> None:
    """A line with about eight marks for each series, which looks as its place in `order` says; its x is a number of
    epochs or steps, or a width."""
    from matplotlib.ticker import MaxNLocator

    order = order or [*series]
    ticks = width_axis(axis, sorted({x for points in series.values() for x in points})) if widths else ()
    for name, points in series.items():
        xs, ys = zip(*sorted(points.items()))
        index = order.index(name)
        marked = [i for i, x in enumerate(xs) if x in ticks] if widths else max(1, len(xs) // 8)
        style = look(index, linestyle=DASHES[index % len(DASHES)], linewidth=2, markersize=5)
        axis.plot(xs, ys, label=name, markevery=marked, **style)
    if not widths:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
        axis.set_xlim(left=0)


def width_axis(axis: Any, widths: Sequence[int]) -> list[int]:
    """Ascending widths on a logarithmic scale. A tick each where they are few, or else by doubling (or more) from the
    narrowest on; its label is left out where it would touch the next one's.

    Returns:
        the widths with a tick, which are those to mark on a line, too.
    """
    narrowest, widest = widths[0], widths[-1]
    ticks = list(widths)
    if len(widths) > TICKS:
        factor = 2 ** math.ceil(math.log2(widest / narrowest) / (TICKS - 1))
        even = [width for width in (narrowest * factor**i for i in range(TICKS)) if width < widest]
        ticks = sorted({*(min(widths, key=lambda width: abs(width - wanted)) for wanted in even), widest})
    labelled = [widest]
    for tick in ticks[-2::-1]:
        if labelled[-1] / tick >= (widest / narrowest) ** 0.1:
            labelled.append(tick)
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [str(tick) if tick in labelled else "" for tick in ticks])
    axis.minorticks_off()
    return ticks

"""The pictures of a report: lines, points and rows of marks, told apart by dash and mark as well as by colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.report.plotting import COLOURS, DASHES, MARKS, figure, name_axes, whole_ticks, width_axis

SHOWN = len(COLOURS)
"""Lines in one picture, at most: more could not be told apart."""
SIZE = (5.0, 3.4)
"""Inches: legible on a phone's width."""
SHORT = 30
"""Letters of a name beside an axis."""


@contextmanager
def letters() -> Iterator[None]:
    """Pictures made meanwhile keep their texts as texts, and are the same each time. PmdError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise PmdError("reports need matplotlib: pip install 'pmd[report]'") from None
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pmd"}):
        yield


def chunked(names: Sequence[str]) -> list[list[str]]:
    """Names by picture, as evenly as possible."""
    pictures = -(-len(names) // SHOWN)
    size = -(-len(names) // max(1, pictures))
    return [list(names[start : start + size]) for start in range(0, len(names), size or 1)]


def lines(
    path: Path,
    series: Mapping[str, Mapping[int, float]],
    x: str,
    y: str,
    *,
    order: Sequence[str] = (),
    widths: bool = False,
) -> Path:
    """A line for each of up to six series, which look as their place in `order` says; over widths, a tick for each."""
    order = order or [*series]
    with figure(path, size=SIZE) as axis:
        for name, points in series.items():
            place = order.index(name) % SHOWN
            few = widths or len(points) < 20
            xs, ys = zip(*sorted(points.items()))
            style = {"marker": MARKS[place] if few else None, "markersize": 5, "linewidth": 2}
            axis.plot(xs, ys, color=COLOURS[place], linestyle=DASHES[place], label=name, **style)
        if widths:
            width_axis(axis, sorted({width for points in series.values() for width in points}))
        else:
            whole_ticks(axis)
        name_axes(axis, x, y)
        legend(axis, len(series))
    return path


def points(
    path: Path, groups: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str, *, joined: bool = True
) -> Path:
    """Marks at (x, y) of up to six groups; `joined` by lines where a group is one model of several widths."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    with figure(path, size=SIZE) as axis:
        for place, (name, found) in enumerate(groups.items()):
            xs, ys = zip(*found)
            dash = DASHES[place] if joined and len(found) > 1 else "none"
            style = {"marker": MARKS[place], "markersize": 8, "linewidth": 1.2, "linestyle": dash}
            axis.plot(xs, ys, color=COLOURS[place], label=name, **style)
        xs = [x for found in groups.values() for x, _ in found]
        if max(xs) > 8 * min(xs):
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1,) if max(xs) > 200 * min(xs) else (1, 3)))
            axis.xaxis.set_minor_formatter(NullFormatter())
        else:
            axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
        large = EngFormatter(sep="")
        axis.xaxis.set_major_formatter(large if max(xs) >= 1000 else FuncFormatter(lambda value, _: f"{value:g}"))
        axis.margins(0.12)
        name_axes(axis, x, y)
        legend(axis, len(groups))
    return path


def marks(path: Path, rows: Sequence[str], series: Mapping[str, Sequence[float | None]], x: str) -> Path:
    """A row for each name with a mark of each of up to six series, the first row on top."""
    from matplotlib.ticker import MaxNLocator

    height = 1.3 + 0.3 * len(rows)
    with figure(path, size=(SIZE[0], height)) as axis:
        places = range(len(rows))
        for place in places:
            found = [values[place] for values in series.values() if values[place] is not None]
            start = min(found) if len(series) > 1 else 0
            axis.plot([start, max(found)], [place, place], color="#999999", linewidth=1.2, zorder=1)
        for place, (name, values) in enumerate(series.items()):
            there = [row for row in places if values[row] is not None]
            style = {"marker": MARKS[place], "markersize": 7, "linestyle": "none", "label": name}
            axis.plot([values[row] for row in there], there, color=COLOURS[place], **style)
        axis.set_yticks(places, [shortened(name) for name in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.margins(x=0.06)
        axis.set_xlim(left=0)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axis.grid(visible=False, axis="y")
        name_axes(axis, x, "")
        legend(axis, len(series))
    return path


def legend(axis: Any, count: int) -> None:
    """Names under the picture, where they cover nothing; a lone one says nothing."""
    if count > 1:
        longest = max(map(len, axis.get_legend_handles_labels()[1]))
        columns = max(1, min(3, count, 40 // (longest + 4)))
        style = {"frameon": False, "fontsize": 11, "handlelength": 2.4, "columnspacing": 1.4, "ncols": columns}
        # Filled column by column, to be read row by row.
        named = list(zip(*axis.get_legend_handles_labels()))
        rows = [named[place] for column in range(columns) for place in range(column, count, columns)]
        axis.figure.legend(*zip(*rows), loc="outside lower center", **style)


def some(values: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the values, the first and the last among them."""
    if len(values) <= count:
        return list(values)
    return [values[round(place * (len(values) - 1) / (count - 1))] for place in range(count)]


def shortened(name: str) -> str:
    """A name with its middle left out where it is long; ids of relations differ at the end."""
    half = SHORT // 2
    name = name if len(name) <= SHORT else f"{name[: half - 1]}…{name[-half:]}"
    return name.replace("$", r"\$")  # a formula to matplotlib otherwise

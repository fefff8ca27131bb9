"""The pictures of a report: lines, points and rows of marks, told apart by dash and mark as well as by colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pmd.core.errors import need_package
from pmd.report.page import Picture
from pmd.report.plotting import COLOURS, DASHES, MARKS, SHOWN, draw_lines, figure, name_axes

SIZE = (5.0, 3.4)
"""Inches: legible on a phone's width."""
LONGEST_NAME = 30
"""The most letters of a name beside an axis."""


@contextmanager
def reproducible() -> Iterator[None]:
    """Pictures made within keep their texts as texts, and are the same each time. PmdError without matplotlib."""
    need_package("matplotlib", "reports need", "report")
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pmd"}):
        yield


def split_evenly(names: Sequence[str]) -> list[list[str]]:
    """Names by picture, as evenly as possible."""
    pictures = -(-len(names) // SHOWN)
    size = -(-len(names) // max(1, pictures))
    return [list(names[start : start + size]) for start in range(0, len(names), size or 1)]


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
    """As many pictures as the series need, in files with a number at the end. In all pictures of a report, those of one
    `order` are grouped alike."""
    groups = [[name for name in names if name in series] for names in split_evenly(order or [*series])]
    groups = [names for names in groups if names]
    pictures = []
    for number, names in enumerate(groups, 1):
        path = file.with_name(f"{file.name}-{number}.svg")
        draw(path, {name: series[name] for name in names})
        part = f", {number} of {len(groups)}" if len(groups) > 1 else f", {names[0]}" if len(names) == 1 else ""
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
    title: str | None = None,
    size: tuple[float, float] = SIZE,
) -> None:
    """A line for each of up to six series, which look as their place in `order` says; over widths, a tick for each."""
    with figure(path, size=size) as axis:
        draw_lines(axis, series, order=order, widths=widths)
        name_axes(axis, x, y, title)
        legend(axis, len(series))


def points(
    path: Path, groups: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str, *, joined: bool = True
) -> None:
    """Marks at (x, y) of up to six groups; `joined` by lines where a group is one model of several widths."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    with figure(path, size=SIZE) as axis:
        for index, (name, pairs) in enumerate(groups.items()):
            dash = DASHES[index] if joined and len(pairs) > 1 else "none"
            style = {"marker": MARKS[index], "markersize": 8, "linewidth": 1.2, "linestyle": dash}
            axis.plot(*zip(*pairs), color=COLOURS[index], label=name, **style)
        xs = [x for pairs in groups.values() for x, _ in pairs]
        if max(xs) > 8 * min(xs):
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1,) if max(xs) > 200 * min(xs) else (1, 3)))
            axis.xaxis.set_minor_formatter(NullFormatter())
        else:
            axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
        plain = FuncFormatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_major_formatter(EngFormatter(sep="") if max(xs) >= 1000 else plain)
        axis.margins(0.12)
        name_axes(axis, x, y)
        legend(axis, len(groups))


def marks(path: Path, rows: Sequence[str], series: Mapping[str, Sequence[float]], x: str) -> None:
    """A row for each name with a mark of each of up to six series, the first row on top."""
    from matplotlib.ticker import MaxNLocator

    with figure(path, size=(SIZE[0], 1.3 + 0.3 * len(rows))) as axis:
        for row, values in enumerate(zip(*series.values())):
            start = min(values) if len(series) > 1 else 0
            axis.plot([start, max(values)], [row, row], color="#999999", linewidth=1.2, zorder=1)
        for index, (name, values) in enumerate(series.items()):
            style = {"marker": MARKS[index], "markersize": 7, "linestyle": "none", "label": name}
            axis.plot(values, range(len(rows)), color=COLOURS[index], **style)
        axis.set_yticks(range(len(rows)), [shortened(name) for name in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.margins(x=0.06)
        axis.set_xlim(left=0)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axis.grid(visible=False, axis="y")
        name_axes(axis, x, "")
        legend(axis, len(series))


def legend(axis: Any, count: int) -> None:
    """Names under the picture, where they cover nothing; a single one would say nothing."""
    if count > 1:
        handles, names = axis.get_legend_handles_labels()
        columns = max(1, min(3, count, 40 // (max(map(len, names)) + 4)))
        # Matplotlib fills it column by column; this way it reads row by row.
        by_row = [i for column in range(columns) for i in range(column, count, columns)]
        style = {"frameon": False, "fontsize": 11, "handlelength": 2.4, "columnspacing": 1.4, "ncols": columns}
        entries = [handles[i] for i in by_row], [names[i] for i in by_row]
        axis.figure.legend(*entries, loc="outside lower center", **style)


def shortened(name: str) -> str:
    """A name with its middle left out where it is long; ids of relations differ at the end."""
    half = LONGEST_NAME // 2
    name = name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"
    return name.replace("$", r"\$")  # a formula to matplotlib otherwise

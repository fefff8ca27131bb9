"""How pictures look, and how they are saved: one style for all, legible on a slide."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError, need_package

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
"""Distinct in print and for colour-blind readers (Okabe and Ito, 2008); used in this order."""
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKS = "os^DvPX*"
SHOWN = len(COLOURS)
"""The most lines in one picture: more could not be told apart."""
TICKS = 8
"""The most ticks of an axis of widths."""


@contextmanager
def figure(path: Path, panels: int = 1, *, rows: int = 1, size: tuple[float, float] = (6.4, 4.0)) -> Iterator[Any]:
    """Axes (a list, if there are several panels) to draw on; saved to `path` at the end.

    Args:
        panels: side by side, in each of the rows.
        size: of a panel, in inches.

    Raises:
        PmdError: if matplotlib is not installed.
    """
    need_package("matplotlib", "pictures need", "plot")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if path.suffix not in (".png", ".pdf", ".svg"):
        raise PmdError(f"--out: '{path.name}' is no picture that can be written; end it with .png, .pdf or .svg")
    picture = Figure(figsize=(size[0] * panels, size[1] * rows), layout="constrained")
    axes = [picture.add_subplot(rows, panels, panel + 1) for panel in range(panels * rows)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
        axis.grid(alpha=0.25, linewidth=0.8)
        axis.tick_params(labelsize=11)
        axis.yaxis.set_major_locator(MaxNLocator(nbins=6))
    yield axes[0] if len(axes) == 1 else axes
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    # Without the date, the same picture is the same file.
    undated = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    picture.savefig(unfinished, dpi=160, format=path.suffix[1:], **undated)
    os.replace(unfinished, path)


def name_axes(axis: Any, x: str, y: str, title: str | None = None) -> None:
    """Labels of a panel."""
    axis.set_xlabel(x, fontsize=12)
    axis.set_ylabel(y, fontsize=12)
    if title:
        axis.set_title(title, fontsize=13, loc="left")


def look(index: int) -> dict[str, Any]:
    """The look of the line with this index in a picture: told apart by its colour, and without colours by its marks."""
    dash = DASHES[index // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": dash, "marker": MARKS[index % len(MARKS)]}


def draw_lines(
    axis: Any, series: Mapping[str, Mapping[int, float]], *, order: Sequence[str] = (), widths: bool = False
) -> None:
    """A line with about eight marks for each series, which looks as its place in `order` says; its x is a number of
    epochs or steps, or a width."""
    order = order or [*series]
    ticks = width_axis(axis, sorted({x for points in series.values() for x in points})) if widths else whole_ticks(axis)
    for name, points in series.items():
        xs, ys = zip(*sorted(points.items()))
        index = order.index(name)
        marked = [i for i, x in enumerate(xs) if x in ticks] if widths else max(1, len(xs) // 8)
        style = {**look(index), "linestyle": DASHES[index % len(DASHES)], "linewidth": 2, "markersize": 5}
        axis.plot(xs, ys, label=name, markevery=marked, **style)
    if not widths:
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


def whole_ticks(axis: Any) -> None:
    """Ticks at whole numbers, of epochs or steps."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))

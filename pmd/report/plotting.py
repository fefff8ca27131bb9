"""How pictures look, and how they are saved: one style for all, legible on a slide."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
"""Distinct in print and for colour-blind readers (Okabe and Ito, 2008); used in this order."""
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKS = "os^DvPX*"
TICKS = 8
"""Ticks of an axis of widths, at most."""


@contextmanager
def figure(path: Path, panels: int = 1, *, rows: int = 1, size: tuple[float, float] = (6.4, 4.0)) -> Iterator[Any]:
    """Axes (a list, if there are several panels) to draw on; saved to `path` at the end.

    Args:
        panels: side by side, in each of the rows.
        size: of a panel, in inches.

    Raises:
        PmdError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise PmdError("pictures need matplotlib: pip install 'pmd[plot]'") from None
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
    aside = path.with_name(f".{path.name}")
    picture.savefig(aside, dpi=160, format=path.suffix[1:])
    os.replace(aside, path)


def name_axes(axis: Any, x: str, y: str, title: str | None = None) -> None:
    """Labels of a panel."""
    axis.set_xlabel(x, fontsize=12)
    axis.set_ylabel(y, fontsize=12)
    if title:
        axis.set_title(title, fontsize=13, loc="left")


def look(place: int) -> dict[str, Any]:
    """How the line at this place among others looks: told apart by its colour, and without colours by its marks."""
    dash = DASHES[place // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": dash, "marker": MARKS[place % len(MARKS)]}


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
        places = [place for place in (narrowest * factor**i for i in range(TICKS)) if place < widest]
        ticks = sorted({*(min(widths, key=lambda width: abs(width - place)) for place in places), widest})
    named = [widest]
    for tick in ticks[-2::-1]:
        if named[-1] / tick >= (widest / narrowest) ** 0.1:
            named.append(tick)
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [str(tick) if tick in named else "" for tick in ticks])
    axis.minorticks_off()
    return ticks


def whole_ticks(axis: Any) -> None:
    """Ticks at whole numbers, of epochs or steps."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))

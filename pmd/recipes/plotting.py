"""How pictures look, and how they are saved: one style for all, legible on a slide."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
"""Distinct in print and for colour-blind readers (Okabe and Ito, 2008); used in this order."""


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

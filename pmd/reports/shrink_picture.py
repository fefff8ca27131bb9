"""The picture of `pmd shrink`: MRR against megabytes and against milliseconds, of every model that was compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pmd.recipes.shrink.candidates import Candidate, Shrunk, front
from pmd.reports.pictures import figure, name_axes, size_axis

COSTS = {"megabytes": "MB", "milliseconds": "ms, one thread, here"}
PRECISIONS = {"fp32": "o", "fp16": "^", "int8": "s", "binary": "X"}
"""From fine to coarse, and their marks."""
NARROWEST, WIDEST = 3.5, 8.0
"""The sizes of marks, in points."""
GREY = "#777777"
"""Of an embedding model alone, and of what the legend says of all colours."""


def picture(path: Path, shrunk: Shrunk) -> None:
    """Colour: the stage; mark: the coarser precision of its weights and its vectors; size: the width; hollow: fused with an embedding
    model; pale: another of that stage, fused or not, has more MRR at no more cost. The front is a line, and the model that was written
    has a ring."""
    rows = sorted(shrunk.candidates, key=lambda row: row.part == "fused")
    colours, sizes = colours_of(rows), sizes_of(rows)
    with figure(path, panels=2, size=(5.0, 4.4)) as axes:
        for axis, (cost, title) in zip(axes, COSTS.items()):
            groups = {(row.stage, row.part): [] for row in rows}
            for row in rows:
                groups[row.stage, row.part].append(row)
            for group in groups.values():
                best = front(group, cost)
                for row in group:
                    alpha = 0.9 if row in best else 0.12
                    axis.plot(
                        getattr(row, cost), row.mrr, **look_of(row, colours[row.stage], sizes[row.width]), alpha=alpha
                    )
            best = [(getattr(row, cost), row.mrr) for row in front(rows, cost)]
            axis.plot(*zip(*best), color="black", linewidth=1.2, zorder=1)
            axis.plot(getattr(shrunk.chosen, cost), shrunk.chosen.mrr, **RING)
            axis.axhline(shrunk.teacher["mrr"], **LEVEL)
            size_axis(axis, [getattr(row, cost) for row in rows])
            name_axes(axis, title, "MRR, validation" if axis is axes[0] else "")
        handles = legend_of(rows, colours, sizes, shrunk.teacher["stage"])
        axes[0].figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=10, handlelength=1.6)


RING = {"marker": "o", "markersize": 15, "markerfacecolor": "none", "color": "black", "linestyle": "none"}
LEVEL = {"color": "#999999", "linewidth": 1, "linestyle": "--", "zorder": 0}


def colours_of(rows: Sequence[Candidate]) -> dict[str, Any]:
    """A colour for each stage of text, in the order of the run from dark to light; grey for an embedding model."""
    from matplotlib import colormaps

    stages = [*dict.fromkeys(row.stage for row in rows if row.part != "structure")]
    shades = {stage: colormaps["plasma"](0.9 * at / max(1, len(stages) - 1)) for at, stage in enumerate(stages)}
    return {row.stage: GREY for row in rows} | shades


def sizes_of(rows: Sequence[Candidate]) -> dict[int, float]:
    """The size of the marks of each width."""
    widths = sorted({row.width for row in rows})
    step = (WIDEST - NARROWEST) / max(1, len(widths) - 1)
    return {width: WIDEST - step * (len(widths) - 1 - at) for at, width in enumerate(widths)}


def look_of(row: Candidate, colour: Any, size: float) -> dict[str, Any]:
    face = "none" if row.part == "fused" else colour
    shape = PRECISIONS[coarser(row)]
    return {
        "marker": shape,
        "color": colour,
        "markerfacecolor": face,
        "markersize": size,
        "linestyle": "none",
    }


def coarser(row: Candidate) -> str:
    """The coarser of a model's precisions; an embedding model alone has no encoders."""
    return max((kind for kind in (row.encoders, row.vectors) if kind), key=[*PRECISIONS].index)


def legend_of(rows: Sequence[Candidate], colours: dict[str, Any], sizes: dict[int, float], teacher: str) -> list[Any]:
    """What each colour, mark, size and line is."""
    from matplotlib.lines import Line2D

    def mark(label: str, shape: str = "o", colour: Any = GREY, size: float = WIDEST, hollow: bool = False) -> Line2D:
        face = "none" if hollow else colour
        return Line2D(
            [], [], marker=shape, color=colour, markerfacecolor=face, markersize=size, linestyle="none", label=label
        )

    handles = [mark(stage, colour=colour) for stage, colour in colours.items()]
    if any(row.part == "fused" for row in rows):
        handles.append(mark("hollow: fused", hollow=True))
    shown = {coarser(row) for row in rows}
    handles += [mark(kind, shape) for kind, shape in PRECISIONS.items() if kind in shown]
    if len(sizes) > 1:
        handles += [mark(f"{width} wide", size=size) for width, size in sizes.items()]
    handles.append(Line2D([], [], color="black", linewidth=1.2, label="none better"))
    handles.append(Line2D([], [], label="written", **{**RING, "markersize": 11}))
    return [*handles, Line2D([], [], label=f"MRR of {teacher}", **LEVEL)]

"""The table and the picture of what growth.py measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pmd.evaluation.tables import markdown


def sizes_of(rows: list[dict]) -> dict[str, int]:
    """Entities of each graph, ascending."""
    return dict(
        sorted(((row["graph"], row["entities"]) for row in rows if "entities" in row), key=lambda size: size[1])
    )


def table(rows: list[dict], steps: Iterable[str]) -> str:
    sizes = sizes_of(rows)
    cells = {(row["step"], row["graph"]): f"{row['seconds']:,.1f} s, {row['gb']:.2f} GB" for row in rows}
    body = [[name, *(cells.get((name, graph), "") for graph in sizes)] for name in steps]
    return markdown(("step", *(f"{size / 1e6:.1f} M entities" for size in sizes.values())), body)


def draw(rows: list[dict], steps: Iterable[str], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "pmd"
    sizes = sizes_of(rows)
    figure, panels = plt.subplots(1, 2, figsize=(11, 5), sharex=True)
    for panel, key, label in zip(panels, ("seconds", "gb"), ("seconds of one core", "peak memory, GB")):
        for number, name in enumerate(steps):
            of_step = {row["graph"]: row[key] for row in rows if row["step"] == name}
            points = [(size, max(of_step[graph], 1e-2)) for graph, size in sizes.items() if graph in of_step]
            if points:
                style = ("-", "--", ":")[number // 10]
                panel.plot(*zip(*points), style, marker="o", markersize=3, linewidth=1, label=name)
        panel.set(xscale="log", yscale="log", xlabel="entities", ylabel=label)
        panel.grid(alpha=0.3)
    panels[1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)

"""Graphs in memory, for runs that read theirs from a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pmd.core.files import folder_name
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_graph

HELD = "graphs"
"""The folder, among the runs, of the graphs that were in memory."""


def data_settings(graph: Any, runs: str, settings: Any) -> dict[str, Any]:
    """The settings `data` of a graph, or of what names one.

    A graph in memory is written once to RUNS/graphs/CHECKSUM/NAME, so that its runs can go on and answer later.

    Args:
        settings: what the caller says of `data` beside the graph.
    """
    more = dict(settings or {})
    if isinstance(graph, (str, os.PathLike)):
        return {**more, "path": os.fspath(graph)}
    if not isinstance(graph, KnowledgeGraph):
        from pmd.data.graphs.files.frames import graph_from

        reading = {name: more[name] for name in ("columns", "drop", "weight", "language") if more.get(name)}
        graph = graph_from(graph, **reading)
    folder = Path(runs) / HELD / graph.checksum()[:12] / folder_name(graph.name)
    if not folder.is_dir():
        write_graph(graph, folder)
    weight = {"weight": "4"} if graph.weights else {}
    return {"path": str(folder.resolve()), **weight}

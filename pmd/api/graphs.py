"""Graphs in memory, for runs that read theirs from a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError, options_of, refuse_unknown
from pmd.core.files import folder_name
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_graph
from pmd.settings.shared import DataConfig

HELD = "graphs"
"""The folder, among the runs, of the graphs that were in memory."""
READING = ("columns", "drop", "weight", "language")
"""The settings that say how a data frame or another object is read."""


def data_settings(graph: Any, runs: str, settings: Any) -> dict[str, Any]:
    """The settings `data` of a graph, or of what names one.

    A graph in memory is written once to RUNS/graphs/CHECKSUM/NAME, so that its runs can go on and answer later.

    Args:
        settings: what the caller says of `data` beside the graph.
    """
    more = dict(settings or {})
    if isinstance(graph, (str, os.PathLike)):
        return {**more, "path": os.fspath(graph)}
    graph = in_memory(graph, more)
    folder = Path(runs) / HELD / _key(graph) / folder_name(graph.name)
    if not folder.is_dir():
        write_graph(graph, folder)
    weight = {"weight": "4"} if graph.weights else {}
    cache = {"cache": more["cache"]} if more.get("cache") else {}
    return {"path": str(folder.resolve()), **weight, **cache}


def in_memory(graph: Any, settings: Mapping[str, Any]) -> KnowledgeGraph:
    """The graph that a value holds, read as the settings `data` say. PmdError for those that say nothing of it."""
    refuse_unknown("data", settings, options_of(DataConfig))
    reads = () if isinstance(graph, KnowledgeGraph) else READING
    unused = [name for name, value in settings.items() if value is not None and name not in (*reads, "cache")]
    if unused:
        raise PmdError(f"data.{unused[0]}: says how a graph is read, and this one is in memory; leave it out")
    if isinstance(graph, KnowledgeGraph):
        return graph
    from pmd.data.graphs.files.frames import graph_from

    return graph_from(graph, **{name: settings[name] for name in reads if settings.get(name)})


def _key(graph: KnowledgeGraph) -> str:
    """What names the folder of a graph: its checksum, with that of what `checksum()` does not count, where it has some."""
    digest = hashlib.sha256(graph.checksum().encode())
    for split, triples in graph.negatives.items():
        digest.update(f"{split} {triples.tolist()}".encode())
    digest.update(repr([sorted((key, [*texts]) for key, texts in part.items()) for part in _further(graph)]).encode())
    has_more = graph.negatives or any(_further(graph))
    return (digest.hexdigest() if has_more else graph.checksum())[:12]


def _further(graph: KnowledgeGraph) -> list[Mapping[str, Sequence[str]]]:
    return [graph.aliases, graph.types]

"""Graphs from the shell: what is in one, and one layout written as another."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.layouts import convert
from pmd.data.graphs.profile import FEWEST, SUSPECT, Profile, profile
from pmd.data.graphs.sources import load_graph
from pmd.recipes.tables import markdown
from pmd.settings.shared import DataConfig

LARGEST = 12
"""So many relations, and suspected ones, are listed."""


@dataclass
class InfoConfig:
    """Describe a graph: splits, degrees, texts, relations, and what may make its test split too easy.

    Args:
        data: the graph.
        share: a relation is suspected to repeat another if at least this share of its training triples does.
        fewest: relations with fewer training triples than this are not suspected.
        json: print a JSON object instead of tables.
    """

    data: DataConfig = field(default_factory=DataConfig)
    share: float = SUSPECT
    fewest: int = FEWEST
    json: bool = False


@dataclass
class ConvertConfig:
    """Convert a graph to another layout.

    Args:
        out: the new folder.
        to: `tsv`, the layout of this package; `kg-bert`, which SimKGC reads too; or `parquet`, for the Hub.
        data: the graph.
    """

    out: str
    to: Literal["tsv", "kg-bert", "parquet"] = "tsv"
    data: DataConfig = field(default_factory=DataConfig)


def info(config: InfoConfig) -> str:
    """The tables, or the JSON, of a graph. PmdError if it cannot be loaded."""
    graph = load_graph(config.data.path, **config.data.options)
    found = profile(graph, config.share, config.fewest)
    return json.dumps(numbers(graph, found), ensure_ascii=False) if config.json else tables(graph, found)


def convert_graph(config: ConvertConfig) -> str:
    """Write the folder; a line that says what was written. PmdError if the graph or the place cannot be used."""
    graph = load_graph(config.data.path, **config.data.options)
    folder = convert(graph, config.to, Path(config.out).expanduser())
    triples = " / ".join(f"{len(graph.split(name)):,}" for name in graph.split_names)
    return f"{folder}: {graph.num_entities:,} entities, {graph.num_relations} relations, {triples} triples"


def numbers(graph: KnowledgeGraph, found: Profile) -> dict[str, Any]:
    """A profile as plain numbers and names."""
    suspects = [dataclasses.asdict(one) for one in found.suspects]
    for one in suspects:
        one |= {part: graph.relation_ids[one[part]] for part in ("relation", "other")}
    return {
        "name": graph.name,
        "entities": graph.num_entities,
        "relations": graph.num_relations,
        "splits": {name: dataclasses.asdict(split) for name, split in found.splits.items()},
        "degrees": spread_of(found.degrees),
        "described": found.described,
        "named": found.named,
        "words": spread_of(found.words) if len(found.words) else None,
        "suspects": suspects,
        "checksum": graph.checksum(),
    }


def spread_of(values: np.ndarray) -> dict[str, float]:
    """Least, median, mean and greatest."""
    return {
        "min": int(values.min()),
        "median": float(np.median(values)),
        "mean": round(float(values.mean()), 2),
        "max": int(values.max()),
    }


def tables(graph: KnowledgeGraph, found: Profile) -> str:
    """A profile for people."""
    n = graph.num_entities
    columns = (
        "split",
        "triples",
        "entities",
        "relations",
        "repeated",
        "in train",
        "with unseen entities",
        "suspected leaks",
    )
    rows = [(name, *(f"{value:,}" for value in dataclasses.astuple(split))) for name, split in found.splits.items()]
    spreads = [("training triples of an entity", found.degrees), ("words of a description", found.words)]
    spread_rows = [
        (what, of["min"], f"{of['median']:g}", f"{of['mean']:g}", f"{of['max']:,}")
        for what, of in ((what, spread_of(values)) for what, values in spreads if len(values))
    ]
    alone = int((found.degrees == 0).sum())
    parts = [
        f"{graph.name}: {n:,} entities, {graph.num_relations:,} relations",
        markdown(columns, rows),
        f"{found.named / n:.1%} of the entities have a name that is not their id, {found.described / n:.1%} a description; "
        f"{alone:,} stand in no training triple",
        markdown(("", "least", "median", "mean", "greatest"), spread_rows),
        relations_table(graph),
        suspects_table(graph, found),
    ]
    return "\n\n".join(parts)


def relations_table(graph: KnowledgeGraph) -> str:
    """The largest relations, by training triples, and how many tails a head has in them, and heads a tail."""
    train = np.unique(graph.train.numpy(), axis=0)
    counts = np.bincount(train[:, 1], minlength=graph.num_relations)
    rows = []
    for relation in np.argsort(-counts, kind="stable")[:LARGEST].tolist():
        own = train[train[:, 1] == relation]
        each = [f"{len(own) / max(1, len(np.unique(own[:, end]))):.1f}" for end in (0, 2)]
        rows.append((graph.relation_names[relation], f"{len(own):,}", *each))
    rest = graph.num_relations - len(rows)
    table = markdown(("relation", "training triples", "tails of a head", "heads of a tail"), rows)
    return table + (f"\n\nand {rest:,} more" if rest > 0 else "")


def suspects_table(graph: KnowledgeGraph, found: Profile) -> str:
    """Relations that others say again."""
    if not found.suspects:
        return "no relation says again what most training triples of another say"
    rows = []
    for one in found.suspects[:LARGEST]:
        kind = "symmetric" if one.relation == one.other else "inverse" if one.inverse else "duplicate"
        names = (graph.relation_names[one.relation], graph.relation_names[one.other])
        rows.append((*names, kind, f"{one.share:.0%}", f"{one.triples:,}"))
    rest = len(found.suspects) - len(rows)
    table = markdown(("relation", "said again by", "as its", "of its triples", "which are"), rows)
    return table + (f"\n\nand {rest:,} more" if rest > 0 else "")

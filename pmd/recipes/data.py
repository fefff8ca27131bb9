"""Graphs from the shell: what is in one, and one layout written as another."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pmd.core.errors import PmdError
from pmd.data.graphs.answers import distinct_triples
from pmd.data.graphs.build import SPLIT_HERE
from pmd.data.graphs.files.layouts import convert
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.profile import FEWEST, SUSPECT, Profile, profile
from pmd.data.graphs.sources import load_graph, write_graph
from pmd.data.graphs.split import WHERE_POSSIBLE, Shares
from pmd.evaluation.tables import markdown
from pmd.settings.shared import DataConfig

LARGEST = 12
"""The number of relations, and of suspected ones, that are listed."""


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
        out: the new folder; with `nt` a file if it ends in `.nt`.
        to: `tsv`, the layout of this package; `kg-bert`, which SimKGC reads too; `parquet`, for the Hub; or `nt`, N-Triples.
        base: with `nt`, the IRI that ids are put under that are none.
        data: the graph.
    """

    out: str
    to: Literal["tsv", "kg-bert", "parquet", "nt"] = "tsv"
    base: str = "http://example.org/"
    data: DataConfig = field(default_factory=DataConfig)


@dataclass
class SplitConfig:
    """Split one list of triples into train, valid and test, or take the splits that a folder lacks from its train.

    Every entity and relation keeps a training triple; triples between the same two entities stay together, so that no test
    triple has its inverse or its duplicate in train; relations have equal shares.

    Args:
        out: the new folder, in the layout of this package.
        data: the triples.
        valid: share of the triples in the validation split.
        test: share of the triples in the test split.
        seed: of the choice.
        inductive: share of the entities that make a second graph without a common entity; 0 for none.
    """

    out: str
    data: DataConfig = field(default_factory=DataConfig)
    valid: float = Shares.valid
    test: float = Shares.test
    seed: int = Shares.seed
    inductive: float = Shares.inductive


def info(config: InfoConfig) -> str:
    """What is in a graph, as tables or as JSON, split or not. PmdError if it cannot be loaded."""
    graph = load_graph(config.data.path, shares=WHERE_POSSIBLE, **config.data.options)
    facts = profile(graph, config.share, config.fewest)
    return json.dumps(numbers(graph, facts), ensure_ascii=False) if config.json else tables(graph, facts)


def convert_graph(config: ConvertConfig) -> str:
    """Write the folder; returns a line about it. PmdError if the graph or the folder cannot be used."""
    graph = load_graph(config.data.path, **config.data.options)
    return _written(convert(graph, config.to, Path(config.out).expanduser(), config.base), graph)


def split_graph(config: SplitConfig) -> str:
    """Write the folder; returns a line about it. PmdError if the triples cannot be split so."""
    shares = Shares(config.valid, config.test, config.seed, config.inductive)
    graph = load_graph(config.data.path, shares=shares, **config.data.options)
    if not any(note.startswith(SPLIT_HERE) for note in graph.notes):
        raise PmdError(
            f"{config.data.path}: is split already into {', '.join(graph.split_names)}; give one file to split it anew"
        )
    return _written(write_graph(graph, Path(config.out).expanduser()), graph)


def _written(folder: Path, graph: KnowledgeGraph) -> str:
    return f"{folder}: {graph.sizes}"


def numbers(graph: KnowledgeGraph, facts: Profile) -> dict[str, Any]:
    """A profile as plain numbers and ids."""
    suspects = [dataclasses.asdict(suspect) for suspect in facts.suspects]
    for suspect in suspects:
        suspect |= {part: graph.relation_ids[suspect[part]] for part in ("relation", "other")}
    return {
        "name": graph.name,
        "entities": graph.num_entities,
        "relations": graph.num_relations,
        "splits": {name: dataclasses.asdict(split) for name, split in facts.splits.items()},
        "degrees": distribution(facts.degrees),
        "described": facts.described,
        "named": facts.named,
        "types": dict(facts.types),
        "words": distribution(facts.words) if len(facts.words) else None,
        "suspects": suspects,
        "checksum": graph.checksum(),
    }


def distribution(values: np.ndarray) -> dict[str, float]:
    """Minimum, median, mean and maximum."""
    return {
        "min": int(values.min()),
        "median": float(np.median(values)),
        "mean": round(float(values.mean()), 2),
        "max": int(values.max()),
    }


def tables(graph: KnowledgeGraph, facts: Profile) -> str:
    """A profile as tables."""
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
    rows = [(name, *(f"{value:,}" for value in dataclasses.astuple(split))) for name, split in facts.splits.items()]
    counts = {"training triples of an entity": facts.degrees, "words of a description": facts.words}
    distributions = {what: distribution(values) for what, values in counts.items() if len(values)}
    count_rows = [
        (what, values["min"], f"{values['median']:g}", f"{values['mean']:g}", f"{values['max']:,}")
        for what, values in distributions.items()
    ]
    alone = int((facts.degrees == 0).sum())
    parts = [
        f"{graph.name}: {n:,} entities, {graph.num_relations:,} relations",
        markdown(columns, rows),
        f"{facts.named / n:.1%} of the entities have a name that says more than their id, {facts.described / n:.1%} a description; "
        f"{alone:,} are in no training triple",
        *[types_line(facts)] * bool(facts.types),
        markdown(("", "least", "median", "mean", "greatest"), count_rows),
        relations_table(graph),
        suspects_table(graph, facts),
    ]
    return "\n\n".join(parts)


def types_line(facts: Profile) -> str:
    """How many declared types there are, and the most frequent ones."""
    listed = ", ".join(f"{name} ({count:,})" for name, count in [*facts.types.items()][:LARGEST])
    more = f" and {len(facts.types) - LARGEST:,} more" if len(facts.types) > LARGEST else ""
    return f"{len(facts.types):,} declared types: {listed}{more}"


def relations_table(graph: KnowledgeGraph) -> str:
    """The relations with the most training triples: how many tails a head has on average, and heads a tail."""
    train = distinct_triples(graph.train.numpy(), graph.num_relations)
    counts = np.bincount(train[:, 1], minlength=graph.num_relations)
    rows = []
    for relation in np.argsort(-counts, kind="stable")[:LARGEST].tolist():
        triples = train[train[:, 1] == relation]
        means = [f"{len(triples) / max(1, len(np.unique(triples[:, end]))):.1f}" for end in (0, 2)]
        rows.append((graph.relation_names[relation], f"{len(triples):,}", *means))
    rest = graph.num_relations - len(rows)
    table = markdown(("relation", "training triples", "tails of a head", "heads of a tail"), rows)
    return table + (f"\n\nand {rest:,} more" if rest > 0 else "")


def suspects_table(graph: KnowledgeGraph, facts: Profile) -> str:
    """Relations that repeat others."""
    if not facts.suspects:
        return "no relation repeats most training triples of another"
    rows = []
    for suspect in facts.suspects[:LARGEST]:
        same = suspect.relation == suspect.other
        kind = "symmetric" if same else "inverse" if suspect.inverse else "duplicate"
        names = (graph.relation_names[suspect.relation], graph.relation_names[suspect.other])
        rows.append((*names, kind, f"{suspect.share:.0%}", f"{suspect.triples:,}"))
    rest = len(facts.suspects) - len(rows)
    table = markdown(("relation", "repeated by", "as its", "of its triples", "which are"), rows)
    return table + (f"\n\nand {rest:,} more" if rest > 0 else "")

"""Writing a graph as N-Triples that `pmd.data.graphs.rdf` reads as the same graph again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote as percent_encode

import torch

from pmd.core.errors import PmdError, need_package
from pmd.core.files import new_folder, write_folder
from pmd.data.graphs.files.tsv import quote
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.rdf.iris import BASE, IRI, base_line, check_ending
from pmd.data.graphs.rdf.statements import ALIASES, DESCRIPTIONS, NAMES, TEXTS, TYPE

if TYPE_CHECKING:
    from pyoxigraph import NamedNode, Triple


@dataclass(frozen=True)
class _Iris:
    """The IRIs of entities and types by id, and of relations by position."""

    resources: Mapping[str, NamedNode]
    relations: Sequence[NamedNode]


def write_ntriples(graph: KnowledgeGraph, path: Path, base: str = BASE) -> Path:
    """Write one file if the path ends in `.nt`, otherwise a new folder with a file for each split, and `texts.nt`.

    Ids that are IRIs stay as they are. Others, those of blank nodes too, are percent-encoded and put under `base`, relations
    under `base` + `relation/`; a first line says so, by which they are read as what they were. Names become `rdfs:label`,
    descriptions `schema:description`, aliases `skos:altLabel`, all without a language, and types `rdf:type`. From a folder
    the same graph is read; from one file all splits as one, and types as triples too.

    Raises:
        PmdError: if there is something at the path, the base is no IRI, or two resources would become one.
    """
    need_package("pyoxigraph", "RDF files need", "rdf")
    _check_base(base)
    keys = dict.fromkeys(chain(graph.entity_ids, *graph.types.values()))
    iris = _Iris({key: _iri(key, base) for key in keys}, [_iri(key, f"{base}relation/") for key in graph.relation_ids])
    _refuse_collisions(graph, iris)
    first_line = _base_line(graph, iris, base)
    parts = {split: _triples(graph, split, iris) for split in graph.split_names if len(graph.split(split))}
    parts[TEXTS] = chain(_texts(graph, iris), _types(graph, iris))
    if path.suffix.lower() == ".nt":
        _write_one(path, first_line, chain.from_iterable(parts.values()))
        return path
    folder = new_folder(path)
    write_folder(folder, lambda new: [_write(new / f"{part}.nt", first_line, rows) for part, rows in parts.items()])
    return folder


def _check_base(base: str) -> None:
    from pyoxigraph import NamedNode

    try:
        NamedNode(base)
    except ValueError as error:
        raise PmdError(f"base: {quote(base)} is no IRI ({error}); write one such as {BASE}") from None
    check_ending(base)


def _iri(key: str, under: str) -> NamedNode:
    """The IRI of an id: itself, or percent-encoded under something."""
    from pyoxigraph import NamedNode

    try:
        return NamedNode(key if IRI.match(key) else "")
    except ValueError:
        return NamedNode(under + percent_encode(key, safe=""))


def _base_line(graph: KnowledgeGraph, iris: _Iris, base: str) -> str:
    """The comment that restores ids under the base; empty if there are none."""
    pairs = [*iris.resources.items(), *zip(graph.relation_ids, iris.relations)]
    if all(iri.value == key for key, iri in pairs):
        return ""
    below = next((key for key, iri in pairs if iri.value == key and key.startswith(base)), None)
    if below is not None:
        raise PmdError(f"base: id {quote(below)} is below {base} already; choose another with --base")
    return base_line(base)


def _refuse_collisions(graph: KnowledgeGraph, iris: _Iris) -> None:
    names = dict(zip(graph.entity_ids, graph.entity_names))
    for iri, key, name in zip(iris.relations, graph.relation_ids, graph.relation_names):
        if iri.value == key and names.get(key, name) != name:
            raise PmdError(
                f"{quote(key)} is an entity called {quote(names[key])} and a relation called {quote(name)}, but a resource of "
                f"RDF has one name; give them the same name, or different ids"
            )


def _triples(graph: KnowledgeGraph, split: str, iris: _Iris) -> Iterator[Triple]:
    from pyoxigraph import Triple

    entities = [iris.resources[key] for key in graph.entity_ids]
    for head, relation, tail in graph.split(split).tolist():
        yield Triple(entities[head], iris.relations[relation], entities[tail])


def _texts(graph: KnowledgeGraph, iris: _Iris) -> Iterator[Triple]:
    from pyoxigraph import Literal, NamedNode, Triple

    label, description, alias = (NamedNode(properties[0]) for properties in (NAMES, DESCRIPTIONS, ALIASES))
    for key, name, text in zip(graph.entity_ids, graph.entity_names, graph.entity_descriptions):
        iri = iris.resources[key]
        yield Triple(iri, label, Literal(name))
        if text:
            yield Triple(iri, description, Literal(text))
        for other in graph.aliases.get(key, ()):
            yield Triple(iri, alias, Literal(other))
    for iri, name in zip(iris.relations, graph.relation_names):
        yield Triple(iri, label, Literal(name))


def _types(graph: KnowledgeGraph, iris: _Iris) -> Iterator[Triple]:
    """The types that no triple of a split says."""
    from pyoxigraph import NamedNode, Triple

    said: set[tuple[str, str]] = set()
    if TYPE in graph.relation_ids:
        relation = list(graph.relation_ids).index(TYPE)
        triples = torch.cat([graph.split(split) for split in graph.split_names])
        pairs = triples[triples[:, 1] == relation][:, [0, 2]].tolist()
        said = {(graph.entity_ids[head], graph.entity_ids[tail]) for head, tail in pairs}
    for key, kinds in graph.types.items():
        for kind in kinds:
            if (key, kind) not in said:
                yield Triple(iris.resources[key], NamedNode(TYPE), iris.resources[kind])


def _write(path: Path, first_line: str, triples: Iterable[Triple]) -> None:
    from pyoxigraph import RdfFormat, serialize

    with open(path, "wb") as file:
        file.write(first_line.encode())
        serialize(triples, output=file, format=RdfFormat.N_TRIPLES)


def _write_one(path: Path, first_line: str, triples: Iterable[Triple]) -> None:
    """Write a file, all of it or nothing."""
    if path.exists():
        raise PmdError(f"{path}: exists; choose another name, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
        _write(new := Path(temporary) / path.name, first_line, triples)
        os.replace(new, path)

"""Writing a graph as N-Triples that `pmd.data.graphs.rdf` reads as the same graph again."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote as percent_encode

from pmd.core.errors import PmdError, need_package
from pmd.core.files import new_folder, write_folder
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.rdf_statements import ALIASES, DESCRIPTIONS, NAMES, TEXTS
from pmd.data.graphs.tsv import quote

if TYPE_CHECKING:
    from pyoxigraph import NamedNode, Triple

BASE = "http://example.org/"
"""What ids that are no IRIs are put under if nothing else is said."""


_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(urn|tag|info|mailto|tel|doi|did|geo|ark):", re.IGNORECASE)
"""How ids begin that are IRIs; `Gene::9021` and `currency:EUR` have the form of one, but a kind in place of the scheme."""


def write_ntriples(graph: KnowledgeGraph, path: Path, base: str = BASE) -> Path:
    """Write one file if the path ends in `.nt`, otherwise a new folder with a file for each split, and `texts.nt`.

    Ids that are IRIs stay as they are. Others, those of blank nodes too, are percent-encoded and put under `base`, relations
    under `base` + `relation/`; a first line says so, by which they are read as what they were. Names become `rdfs:label`,
    descriptions `schema:description`, aliases `skos:altLabel`, all without a language.

    Raises:
        PmdError: if there is something at the path, the base is no IRI, or two resources would become one.
    """
    need_package("pyoxigraph", "RDF files need", "rdf")
    _check_base(base)
    entities, relations = _iris(graph.entity_ids, base), _iris(graph.relation_ids, f"{base}relation/")
    _refuse_collisions(graph, entities, relations, base)
    moved = any(
        iri.value != key for iri, key in chain(zip(entities, graph.entity_ids), zip(relations, graph.relation_ids))
    )
    first_line = f"# pmd base <{base}>\n" if moved else ""
    parts = {
        split: _triples(graph, split, entities, relations) for split in graph.split_names if len(graph.split(split))
    }
    parts[TEXTS] = _texts(graph, entities, relations)
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
    if not base.endswith(("/", "#")):
        raise PmdError(
            f"base: {quote(base)} ends in neither / nor #, so ids would run into it; write {quote(base + '/')}"
        )


def _iris(ids: Sequence[str], under: str) -> list[NamedNode]:
    """An IRI for each id: itself, or percent-encoded under something."""
    from pyoxigraph import NamedNode

    iris = []
    for key in ids:
        try:
            iris.append(NamedNode(key if _IRI.match(key) else ""))
        except ValueError:
            iris.append(NamedNode(under + percent_encode(key, safe="")))
    return iris


def _refuse_collisions(
    graph: KnowledgeGraph, entities: Sequence[NamedNode], relations: Sequence[NamedNode], base: str
) -> None:
    pairs = [*zip(entities, graph.entity_ids), *zip(relations, graph.relation_ids)]
    is_moved = any(iri.value != key for iri, key in pairs)
    below = next((key for iri, key in pairs if is_moved and iri.value == key and key.startswith(base)), None)
    if below is not None:
        raise PmdError(f"base: id {quote(below)} is below {base} already; choose another with --base")
    names = dict(zip(graph.entity_ids, graph.entity_names))
    for iri, key, name in zip(relations, graph.relation_ids, graph.relation_names):
        if iri.value == key and names.get(key, name) != name:
            raise PmdError(
                f"{quote(key)} is an entity called {quote(names[key])} and a relation called {quote(name)}, but a resource of "
                f"RDF has one name; give them the same name, or different ids"
            )


def _triples(
    graph: KnowledgeGraph, split: str, entities: Sequence[NamedNode], relations: Sequence[NamedNode]
) -> Iterator[Triple]:
    from pyoxigraph import Triple

    for head, relation, tail in graph.split(split).tolist():
        yield Triple(entities[head], relations[relation], entities[tail])


def _texts(graph: KnowledgeGraph, entities: Sequence[NamedNode], relations: Sequence[NamedNode]) -> Iterator[Triple]:
    from pyoxigraph import Literal, NamedNode, Triple

    label, description, alias = (NamedNode(properties[0]) for properties in (NAMES, DESCRIPTIONS, ALIASES))
    aliases = getattr(graph, "aliases", {})
    columns = (entities, graph.entity_ids, graph.entity_names, graph.entity_descriptions)
    for iri, key, name, text in zip(*columns):
        yield Triple(iri, label, Literal(name))
        if text:
            yield Triple(iri, description, Literal(text))
        for other in aliases.get(key, ()):
            yield Triple(iri, alias, Literal(other))
    for iri, name in zip(relations, graph.relation_names):
        yield Triple(iri, label, Literal(name))


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

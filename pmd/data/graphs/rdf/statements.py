"""What the statements of RDF are for a knowledge graph: triples, texts, types, or left out.

- A statement between two resources (IRIs or blank nodes) is a triple.
- `rdf:type` is a type of the resource, and a triple of the relation `type` as well, unless the type is a class of RDF,
  RDFS, OWL, SKOS or Wikibase themselves (`owl:Class`, `owl:NamedIndividual`, `rdf:Property`, `skos:Concept`,
  `wikibase:Item`, …), which says nothing about the world.
- Some properties with a literal are names, descriptions and aliases; other literals are left out and counted.

Entities are what the triples mention. Texts of other resources name relations, or are left out and counted.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np

from pmd.core.errors import PmdError
from pmd.data.graphs.files.tsv import quote, words_of

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
OWL = "http://www.w3.org/2002/07/owl#"
SKOS = "http://www.w3.org/2004/02/skos/core#"
DC, DCTERMS = "http://purl.org/dc/elements/1.1/", "http://purl.org/dc/terms/"
SCHEMA = ("https://schema.org/", "http://schema.org/")
OBO_SYNONYM = "http://www.geneontology.org/formats/oboInOwl#hasExactSynonym"
GEONAMES = "http://www.geonames.org/ontology#"
WIKIDATA = "http://www.wikidata.org/"

TYPE = f"{RDF}type"
META = (RDF, RDFS, OWL, SKOS, "http://wikiba.se/ontology#")
"""A type in one of these vocabularies is no triple."""

NAMES = (
    f"{RDFS}label",
    f"{SKOS}prefLabel",
    *(f"{schema}name" for schema in SCHEMA),
    "http://xmlns.com/foaf/0.1/name",
    f"{DCTERMS}title",
    f"{DC}title",
    f"{GEONAMES}name",
)
DESCRIPTIONS = (
    *(f"{schema}description" for schema in SCHEMA),
    f"{DCTERMS}description",
    f"{DC}description",
    f"{SKOS}definition",
    "http://purl.obolibrary.org/obo/IAO_0000115",  # definition
    "http://dbpedia.org/ontology/abstract",
    f"{RDFS}comment",
)
ALIASES = (
    f"{SKOS}altLabel",
    *(f"{schema}alternateName" for schema in SCHEMA),
    OBO_SYNONYM,
    f"{GEONAMES}alternateName",
)
"""Properties of texts, the preferred first."""

TEXTS = "texts"
"""In the place of a split: files whose texts and types are read, and whose triples are left out."""

_ROLES = {
    predicate: (role, preference)
    for role, predicates in (("name", NAMES), ("description", DESCRIPTIONS), ("alias", ALIASES))
    for preference, predicate in enumerate(predicates)
}
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
_OTHER_LANGUAGE = 3
_LISTED = 5


@dataclass(frozen=True, eq=False)
class RdfTriples:
    """A graph as read from RDF: ids are IRIs, or `_:label` for blank nodes, and sorted.

    `splits` holds int64 arrays (n, 3) of positions of head, relation and tail; a source without splits has `train` alone.
    `aliases` and `types` are by entity id. `notes` say in a line each what was understood and left out.
    """

    splits: dict[str, np.ndarray]
    entity_ids: list[str]
    entity_names: list[str]
    entity_descriptions: list[str]
    relation_ids: list[str]
    relation_names: list[str]
    aliases: dict[str, list[str]]
    types: dict[str, list[str]]
    notes: tuple[str, ...]


class _BestTexts:
    """The best text of each node so far: by language, then by property, then the first."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.grades: dict[int, int] = {}
        self.languages: dict[int, str] = {}
        self.offered = 0

    def offer(self, node: int, text: str, language: str | None, language_rank: int, preference: int) -> None:
        self.offered += 1
        grade = language_rank * len(_ROLES) + preference
        if node in self.grades and self.grades[node] <= grade:
            return
        self.texts[node], self.grades[node] = text, grade
        if language_rank == _OTHER_LANGUAGE:
            self.languages[node] = str(language)
        else:
            self.languages.pop(node, None)


class Statements:
    """Takes the statements one by one, after `begin`, and keeps integers and the best texts.

    Args:
        language: of texts, as a tag such as `en`. Where there is none, a text without language is taken, then one of a
            variant such as `en-GB`, then the first.
    """

    def __init__(self, language: str = "en") -> None:
        if not _LANGUAGE.fullmatch(language):
            raise PmdError(f"language: {quote(language)} is no language tag; write one such as en, de or pt-BR")
        self.language = language.lower()
        self.nodes: dict[str, int] = {}
        self.relations: dict[str, int] = {}
        self.splits: dict[str, array[int]] = {}
        self.types = array("i")  # node and type in turns
        self.names, self.descriptions = _BestTexts(), _BestTexts()
        self.aliases: dict[int, list[str]] = {}
        self.left_out: Counter[str] = Counter()
        self.foreign_aliases = self.quoted = self.statements = 0
        self.bases: set[str] = set()
        self._ranks: dict[str | None, int] = {None: 1}

    def begin(self, split: str) -> None:
        """The statements that follow belong to this split, or to `TEXTS`."""
        self._triples = self.splits.setdefault(split, array("i"))
        self._is_texts = split == TEXTS

    def link(self, subject: str, predicate: str, object: str) -> None:
        """A statement between two resources."""
        nodes = self.nodes
        head = nodes.setdefault(subject, len(nodes))
        tail = nodes.setdefault(object, len(nodes))
        if predicate == TYPE:
            self.types.extend((head, tail))
            if self._is_texts or object.startswith(META):
                return
        self._triples.extend((head, self.relations.setdefault(predicate, len(self.relations)), tail))

    def literal(self, subject: str, predicate: str, value: str, language: str | None) -> None:
        """A statement whose object is a text, a number, a date, …"""
        role, preference = _ROLES.get(predicate, ("", 0))
        text = " ".join(value.split()) if role else ""
        if not text:
            self.left_out[predicate] += 1
            return
        node = self.nodes.setdefault(subject, len(self.nodes))
        rank = self._rank(language)
        if role == "name":
            self.names.offer(node, text, language, rank, preference)
        elif role == "description":
            self.descriptions.offer(node, text, language, rank, preference)
        elif rank < _OTHER_LANGUAGE:
            self.aliases.setdefault(node, []).append(text)
        else:
            self.foreign_aliases += 1

    def _rank(self, language: str | None) -> int:
        if language not in self._ranks:
            tag = str(language).lower()
            same = tag.split("-")[0] == self.language.split("-")[0]
            self._ranks[language] = 0 if tag == self.language else 2 if same else _OTHER_LANGUAGE
        return self._ranks[language]

    def result(self, source: str) -> RdfTriples:
        """What was taken. PmdError if no statement is a triple."""
        texts_only = self.splits.pop(TEXTS, None)
        splits = {split: np.frombuffer(rows, dtype=np.int32).reshape(-1, 3) for split, rows in self.splits.items()}
        if not any(map(len, splits.values())):
            raise PmdError(
                f"{source}: none of its {self.statements:,} statements links two resources, only literals or classes; "
                f"give a file with triples"
            )
        nodes, node_ids, node_position = _sorted(
            self.nodes, [rows[:, [0, 2]] for rows in splits.values()], self._entity_id
        )
        relations, relation_ids, relation_position = _sorted(
            self.relations, [rows[:, 1] for rows in splits.values()], self._relation_id
        )
        lookup = (node_position, relation_position, node_position)
        iris = list(self.nodes), list(self.relations)
        names, aliases = self.names.texts, self._aliases(nodes, node_ids)
        named_by = [self._named_by(iris[1][row]) for row in relations]
        return RdfTriples(
            splits={s: np.stack([at[rows[:, c]] for c, at in enumerate(lookup)], axis=1) for s, rows in splits.items()},
            entity_ids=node_ids,
            entity_names=[names.get(row) or readable(key) for row, key in zip(nodes, node_ids)],
            entity_descriptions=[self.descriptions.texts.get(row, "") for row in nodes],
            relation_ids=relation_ids,
            relation_names=[names.get(row, "") or readable(key) for row, key in zip(named_by, relation_ids)],
            aliases=aliases,
            types=self._types(nodes, node_ids),
            notes=tuple(self._notes(splits, nodes, node_ids, named_by, texts_only)),
        )

    def _entity_id(self, iri: str) -> str:
        """The id of an entity that `write_ntriples` put under a base; any other IRI is its own id."""
        base = next((base for base in self.bases if iri.startswith(base)), None)
        return unquote(iri[len(base) :]) if base else iri

    def _relation_id(self, iri: str) -> str:
        base = next((f"{base}relation/" for base in self.bases if iri.startswith(f"{base}relation/")), None)
        return unquote(iri[len(base) :]) if base else iri

    def _named_by(self, relation: str) -> int:
        """The node that has the relation's label, −1 for none. Wikidata's are labelled as `entity/P31`."""
        node = self.nodes.get(relation, -1)
        if node not in self.names.texts and relation.startswith(f"{WIKIDATA}prop/"):
            node = self.nodes.get(f"{WIKIDATA}entity/{relation.rpartition('/')[2]}", -1)
        return node

    def _aliases(self, nodes: Iterable[int], ids: Iterable[str]) -> dict[str, list[str]]:
        names = self.names.texts
        distinct = {
            key: [alias for alias in dict.fromkeys(self.aliases[row]) if alias != names.get(row)]
            for row, key in zip(nodes, ids)
            if row in self.aliases
        }
        return {key: aliases for key, aliases in distinct.items() if aliases}

    def _types(self, nodes: Iterable[int], ids: Iterable[str]) -> dict[str, list[str]]:
        key_of, iris = dict(zip(nodes, ids)), list(self.nodes)
        types: dict[str, dict[str, None]] = {}
        for node, kind in zip(self.types[::2], self.types[1::2]):
            if node in key_of:
                types.setdefault(key_of[node], {})[key_of.get(kind) or self._entity_id(iris[kind])] = None
        return {key: list(kinds) for key, kinds in types.items()}

    def _notes(
        self,
        splits: Mapping[str, np.ndarray],
        nodes: list[int],
        node_ids: list[str],
        named_by: list[int],
        texts_only: array[int] | None,
    ) -> Iterable[str]:
        names, kept = self.names.texts, {*nodes, *named_by}
        triples = sum(map(len, splits.values()))
        yield f"RDF: {self.statements:,} statements, of which {triples:,} are triples"
        if texts_only:
            yield f"left out: {len(texts_only) // 3:,} triples of files that are no split"
        if self.types:
            relation = self.relations.get(TYPE, -1)
            as_triples = sum(int((rows[:, 1] == relation).sum()) for rows in splits.values())
            yield (
                f"{len(self.types) // 2:,} statements say a type; {as_triples:,} of them are triples of the relation 'type' "
                f"too, but none whose type is a class of RDF, RDFS, OWL, SKOS or Wikibase"
            )
        if self.left_out:
            yield f"left out: {sum(self.left_out.values()):,} literals ({_listed(self.left_out, local_name)})"
        if self.quoted:
            yield f"left out: {self.quoted:,} statements about statements"
        for kind, best in (("name", self.names), ("description", self.descriptions)):
            languages = Counter(language for node, language in best.languages.items() if node in kept)
            if languages:
                yield f"{sum(languages.values()):,} have no {kind} in '{self.language}': taken from {_listed(languages)}"
        texts = (self.names, self.descriptions)
        further = sum(best.offered - len(best.texts) for best in texts) + self.foreign_aliases
        if further:
            yield f"left out: {further:,} texts in other languages, or beside the one that was chosen"
        unmentioned = len(set().union(*(best.texts for best in texts), self.aliases) - kept)
        if unmentioned:
            yield f"left out: the texts of {unmentioned:,} resources that no triple mentions"
        blank = sum(key.startswith("_:") for key in node_ids)
        if blank:
            yield f"{blank:,} entities are blank nodes; their ids begin with _:"
        unnamed = [
            f"{missing:,} of {len(rows):,} {kind}"
            for kind, rows in (("entities", nodes), ("relations", named_by))
            if (missing := sum(row not in names for row in rows))
        ]
        if unnamed:
            yield f"{' and '.join(unnamed)} have no name: the last part of the IRI serves as one"


def _sorted(
    numbers: Mapping[str, int], mentioned: Iterable[np.ndarray], id_of: Callable[[str], str]
) -> tuple[list[int], list[str], np.ndarray]:
    """The numbers that are mentioned, ordered by id; their ids; and the new position of each number."""
    is_used = np.zeros(len(numbers), dtype=bool)
    for part in mentioned:
        is_used[part] = True
    pairs = sorted((id_of(iri), number) for iri, number in numbers.items() if is_used[number])
    order = [number for _, number in pairs]
    position = np.zeros(len(numbers), dtype=np.int64)
    position[order] = np.arange(len(order))
    return order, [key for key, _ in pairs], position


def _listed(counts: Counter[str], spelling: Callable[[str], str] = str) -> str:
    most = ", ".join(f"{spelling(key)} {count:,}" for key, count in counts.most_common(_LISTED))
    return most + (f", and {len(counts) - _LISTED:,} more" if len(counts) > _LISTED else "")


def local_name(iri: str) -> str:
    """The last part of an IRI: `http://dbpedia.org/ontology/birthPlace` -> `birthPlace`."""
    trimmed = iri.rstrip("/#:")
    return re.split("[/#]", trimmed)[-1] if re.search("[/#]", trimmed) else trimmed.rpartition(":")[2]


def readable(key: str) -> str:
    """A name for an id: of an IRI the last part, percent-decoded, in words.

    `http://dbpedia.org/resource/Z%C3%BCrich_Airport` -> `Zürich Airport`; a blank node keeps its id.
    """
    if key.startswith("_:") or ":" not in key:
        return key if ":" in key else words_of(key)
    local = local_name(key)
    decoded = unquote(local)
    return words_of(local if "\ufffd" in decoded else decoded) or key

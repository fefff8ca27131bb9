"""Graphs that are written as N-Triples and read again."""

import json

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.files.layouts import convert
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.rdf.read import (
    load_rdf,
    load_rdf_files,
    load_rdf_graph,
    rdf_files,
)
from pmd.data.graphs.rdf.statements import RdfTriples
from pmd.data.graphs.rdf.write import write_ntriples
from pmd.data.graphs.sources import load_graph
from tests.says import says

from .samples import DBPEDIA, ONTOLOGY, PERSON, same, sample, spelled, whole

pytest.importorskip("pyoxigraph")


AWKWARD = KnowledgeGraph(
    "awkward",
    [
        "00260881",
        "Ann B",
        "a/b",
        "http://x.org/é",
        "tab\\n",
        "東京",
        "%41",
        "<x>",
        "urn:isbn:1",
        "_:b0",
        "Gene::9021",
        "http://x.org/a b",
    ],
    [
        '"quoted"',
        "Ann B",
        "ends in \\",
        "é",
        "back\\slash",
        "東京 @en",
        "same",
        "same",
        "isbn",
        "_:b0",
        "TP53",
        "a blank",
    ],
    ["", "text@en", "x " * 3000 + "x", "", "", 'a "b" .', "", "", "", "nameless", "", ""],
    ["near", "/people/person/nationality", "http://x.org/r"],
    ["is near", "nationality", "r"],
    torch.tensor([[i, i % 3, (i + 1) % 12] for i in range(12)]),
    torch.tensor([[0, 1, 2]]),
    torch.tensor([[2, 1, 0], [3, 2, 2]]),
    splits={"inductive_train": torch.tensor([[1, 1, 1]])},
    aliases={"a/b": ["a or b", "b/a"], "Gene::9021": ["p53"]},
    types={"Gene::9021": ["Gene", "http://x.org/T"], "a/b": ["東京"]},
)


def ids_of(graph: KnowledgeGraph, split: str) -> list[tuple[str, str, str]]:
    ids = (graph.entity_ids, graph.relation_ids, graph.entity_ids)
    return [tuple(keys[i] for keys, i in zip(ids, row)) for row in graph.split(split).tolist()]


def facts(graph: KnowledgeGraph, read: RdfTriples) -> None:
    for split, rows in read.splits.items():
        expected = ids_of(graph, split)
        assert spelled(read, split) == set(expected) and len(rows) == len(expected)
    entities = dict(zip(graph.entity_ids, zip(graph.entity_names, graph.entity_descriptions)))
    assert dict(zip(read.entity_ids, zip(read.entity_names, read.entity_descriptions))) == entities
    assert dict(zip(read.relation_ids, read.relation_names)) == dict(zip(graph.relation_ids, graph.relation_names))
    assert read.aliases == graph.aliases and read.types == graph.types


@pytest.mark.parametrize("base", ["http://example.org/", "https://my.site/kg#"])
def test_awkward_ids_and_texts_come_back(base, tmp_path):
    convert(AWKWARD, "nt", tmp_path / "new", base)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "inductive_train.nt",
        "test.nt",
        "texts.nt",
        "train.nt",
        "valid.nt",
    ]
    read = load_rdf_files(rdf_files(tmp_path / "new"))
    assert read.splits.keys() == set(AWKWARD.split_names)
    facts(AWKWARD, read)


def test_other_programs_read_what_is_written(tmp_path):
    rdflib = pytest.importorskip("rdflib")
    path = write_ntriples(AWKWARD, tmp_path / "new" / "awkward.nt")
    graph = rdflib.Graph().parse(path, format="nt")
    assert len(list(graph.triples((None, rdflib.RDF.type, None)))) == 3
    triples = [t for t in graph if not isinstance(t[2], rdflib.Literal) and t[1] != rdflib.RDF.type]
    assert len(triples) == len({tuple(row) for row in AWKWARD.known_triples().tolist()} | {(1, 1, 1)})
    assert (rdflib.URIRef("http://example.org/00260881"), rdflib.RDFS.label, rdflib.Literal('"quoted"')) in graph
    assert (rdflib.URIRef("http://example.org/Gene%3A%3A9021"), rdflib.RDFS.label, rdflib.Literal("TP53")) in graph
    nationality = "http://example.org/relation/%2Fpeople%2Fperson%2Fnationality"
    assert graph.value(rdflib.URIRef(nationality), rdflib.RDFS.label) == rdflib.Literal("nationality")
    assert [entry.name for entry in path.parent.iterdir()] == ["awkward.nt"]


@pytest.mark.parametrize(
    ("name", "text"), [("a.nt", DBPEDIA), ("zoo.owl", ONTOLOGY), ("people.jsonld", json.dumps(PERSON))]
)
def test_loaded_written_and_loaded(name, text, tmp_path):
    read = load_rdf(sample(tmp_path, name, text))
    path = write_ntriples(whole(read), tmp_path / "out.nt")
    assert same(load_rdf(path), read)
    assert path.read_text().startswith("# pmd base") == any(key.startswith("_:") for key in read.entity_ids)


def test_aliases_come_back(tmp_path):
    text = '<http://a> <http://r> <http://b> .\n<http://a> <http://www.w3.org/2004/02/skos/core#altLabel> "A", "B" .'
    read = load_rdf(sample(tmp_path, "a.ttl", text))
    assert read.aliases == {"http://a": ["A", "B"]}
    assert same(load_rdf(write_ntriples(whole(read), tmp_path / "out.nt")), read)


def test_the_bundled_graph_comes_back(tmp_path):
    graph = load_graph("world")
    convert(graph, "nt", tmp_path / "new")
    again = load_rdf_graph(tmp_path / "new", "world")
    assert sorted(again.entity_ids) == sorted(graph.entity_ids) and again.name == "world"
    facts(graph, load_rdf_files(rdf_files(tmp_path / "new")))
    for split in graph.split_names:
        assert ids_of(again, split) == ids_of(graph, split)


@pytest.mark.parametrize(
    ("changes", "base", "message"),
    [
        ({}, "example", "base: 'example' is no IRI"),
        ({}, "http://example.org", "base: 'http://example.org' ends in…'http://example.org/'"),
        ({}, "http://x.org/", "base: id 'http://x.org/é' is below http://x.org/…--base"),
        ({"relation_ids": ["urn:isbn:1", "s", "t"]}, "http://b/", "'urn:isbn:1'…'isbn'…'is near'…same name"),
    ],
)
def test_what_cannot_be_written(changes, base, message, tmp_path):
    graph = KnowledgeGraph(**{**vars(AWKWARD), **changes})
    with pytest.raises(PmdError) as caught:
        write_ntriples(graph, tmp_path / "new", base)
    assert says(str(caught.value), message) and not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["here.nt", "here"])
def test_nothing_is_overwritten(name, tmp_path):
    write_ntriples(AWKWARD, tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PmdError, match=f"{name}: exists"):
        write_ntriples(AWKWARD, tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before

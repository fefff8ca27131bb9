"""Folders of RDF, and what cannot be read."""

import bz2
import gzip

import pytest

from pmd.core.errors import PmdError
from pmd.data.graphs.files.triples import Options
from pmd.data.graphs.rdf.read import (
    from_rdflib,
    is_rdflib_graph,
    load_rdf,
    load_rdf_files,
    load_rdf_graph,
    rdf_files,
)
from pmd.data.graphs.split import Shares
from tests.says import says

from .samples import DBPEDIA, DBR, ONTOLOGY, RDFS, names, sample, spelled

pytest.importorskip("pyoxigraph")


BAD = "<http://a/b> <http://a/p> <http://a/o> .\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nt", BAD + "<http://a/b c> <http://a/p> <http://a/o> .", "a.nt, line 2: …' '…percent-encode…%20"),
        ("a.nt", BAD * 2 + "<http://a/b> <http://a/p> <http://a/o<x> .", "a.nt, line 3: …'<'…%3C"),
        ("a.nt", BAD + "<b> <http://a/p> <http://a/o> .", "a.nt, line 2: …whole IRIs"),
        ("a.nt", BAD + "<http://a/b> <http://a/p>\n", "a.nt, line …mend"),
        ("a.ttl", "\n@prefix a: <http://a/> .\na:x b:y a:z .", "a.ttl, line 3: …b:…mend"),
        ("a.nt", BAD.encode() + '<http://a> <http://b> "é" .'.encode("latin1"), "a.nt, line 2: …UTF-8…iconv"),
        ("a.nt", BAD.encode("utf-16"), "a.nt: is UTF-16…iconv"),
        ("a.nt.gz", b"hello", "a.nt.gz: cannot be read (…download"),
        ("a.nt.bz2", bz2.compress(BAD.encode())[:-5], "a.nt.bz2: cannot be read (…download"),
        ("a.nt", "", "a.nt: none of its 0 statements"),
        ("a.nt", f'<http://a> <{RDFS}label> "a" .', "a.nt: none of its 1 statements links two resources"),
        ("a.owl", '<Ontology xmlns="http://www.w3.org/2002/07/owl#"/>', "a.owl: is not RDF/XML…owl#Ontology…RDF/XML"),
        ("a.owl", "Prefix(:=<http://a/>)\nOntology(<http://a/>)", "a.owl: is not RDF/XML…no XML"),
        (
            "a.rdf",
            ONTOLOGY.replace('about="#leo"', 'about="http://le o"'),
            "a.rdf, line 15: …'http://le o'…percent-encode",
        ),
        ("a.rdf", ONTOLOGY.replace('xml:base="http://x.org/zoo" ', ""), "a.rdf, line 8: …'#eatsFor_lunch'…xml:base"),
        ("a.rdf", ONTOLOGY.replace("</owl:Class>", ""), "a.rdf…mend"),
    ],
)
def test_what_cannot_be_read(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PmdError) as caught:
        load_rdf(path)
    assert says(str(caught.value), message), caught.value


def test_a_language_that_is_none():
    with pytest.raises(PmdError, match=r"'English please'.*such as en"):
        from_rdflib([], "English please")


def test_a_missing_package(monkeypatch, tmp_path):
    monkeypatch.setattr("pmd.core.errors.find_spec", lambda name: None)
    with pytest.raises(PmdError, match=r"pyoxigraph.*pmd\[rdf\]"):
        load_rdf(sample(tmp_path, "a.nt", BAD))


def test_a_folder_of_splits(tmp_path):
    for name, (head, tail) in {"train.nt": "ab", "dev.ttl": "bc", "Test.nt": "ca"}.items():
        sample(tmp_path, name, f"<http://{head}> <http://r> <http://{tail}> .\n_:x <http://r> <http://{tail}> .")
    sample(tmp_path, "labels.nt", f'<http://a> <{RDFS}label> "Anna" .\n<http://a> <http://r> <http://leak> .')
    sample(tmp_path, "README.md", "not RDF")
    files = rdf_files(tmp_path)
    assert {split: [path.name for path in paths] for split, paths in files.items()} == {
        "train": ["train.nt"],
        "valid": ["dev.ttl"],
        "test": ["Test.nt"],
        "texts": ["labels.nt"],
    }
    read = load_rdf_files(files)
    assert spelled(read, "valid") == {("http://b", "http://r", "http://c"), ("_:dev.ttl.b0", "http://r", "http://c")}
    assert spelled(read, "test") == {("http://c", "http://r", "http://a"), ("_:Test.nt.x", "http://r", "http://a")}
    assert names(read)["http://a"] == "Anna" and "http://leak" not in read.entity_ids
    assert any(says(note, "left out: 1 triples of files that are no split") for note in read.notes)


def test_a_graph_of_one_file_is_split(tmp_path):
    lines = [f"<http://e{i}> <http://r> <http://e{j}> ." for i in range(12) for j in range(i)]
    lines += [f"<http://e{i}> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://T> ." for i in range(12)]
    # More relations than entities, and relations that are entities, are no sign of confused columns here.
    lines += [f"<http://p{i}> <{RDFS}domain> <http://T> .\n<http://e1> <http://p{i}> <http://e2> ." for i in range(30)]
    path = sample(tmp_path, "Small.nt.gz", "")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    graph = load_rdf_graph(path, "small", Options(shares=Shares(valid=0.1, test=0.1, seed=3)))
    sizes = [len(graph.split(split)) for split in graph.split_names]
    assert sum(sizes) == len(set(lines)) + 30 and min(sizes) >= 5
    assert graph.types["http://e3"] == ["http://T"] and graph.name == "small"
    assert any("seed 3" in note for note in graph.notes) and any("a type; 12 of them" in note for note in graph.notes)


@pytest.mark.parametrize("option", [{"columns": {"head": 1}}, {"drop": ["time"]}, {"weight": "w"}])
def test_options_of_columns_do_not_apply(option, tmp_path):
    with pytest.raises(PmdError) as caught:
        load_rdf_graph(sample(tmp_path, "a.nt", BAD), "a", Options(**option))
    assert says(str(caught.value), f"a.nt: {next(iter(option))} does not apply to RDF")


@pytest.mark.parametrize(("files", "split"), [({"test": BAD}, "train"), ({"train": BAD, "valid": "# none"}, "valid")])
def test_splits_without_triples(files, split, tmp_path):
    for name, text in files.items():
        sample(tmp_path, f"{name}.nt", text)
    with pytest.raises(PmdError, match=rf"no triple of the split {split} .* {split}\.nt"):
        load_rdf_graph(tmp_path, "a")


def test_a_folder_without_splits_is_one_graph(tmp_path):
    assert rdf_files(tmp_path) == {}
    sample(tmp_path, "cities.nt", "<http://a> <http://r> <http://b> .")
    sample(tmp_path, "rivers.ttl", "<http://b> <http://r> <http://c> .")
    read = load_rdf_files(rdf_files(tmp_path))
    assert read.splits.keys() == {"train"} and read.entity_ids == ["http://a", "http://b", "http://c"]
    assert spelled(read) == {("http://a", "http://r", "http://b"), ("http://b", "http://r", "http://c")}


def test_rdflib_says_the_same(tmp_path):
    rdflib = pytest.importorskip("rdflib")
    path = sample(tmp_path, "dbpedia.nt", DBPEDIA)
    graph = rdflib.Graph().parse(path, format="nt")
    assert is_rdflib_graph(graph) and is_rdflib_graph(rdflib.Dataset()) and not is_rdflib_graph([("a", "b", "c")])
    read, parsed = from_rdflib(graph), load_rdf(path)
    assert spelled(read) == spelled(parsed) and read.types.keys() == parsed.types.keys()
    assert {**names(read), f"{DBR}Switzerland": ""} == {**names(parsed), f"{DBR}Switzerland": ""}
    assert names(read)[f"{DBR}Switzerland"] in ("Schweiz", "Suisse fédérale")  # rdflib keeps no order
    quads = rdflib.Dataset()
    quads.graph(rdflib.URIRef("http://g")).add(
        (rdflib.BNode("x"), rdflib.URIRef("http://r"), rdflib.URIRef("http://b"))
    )
    assert spelled(from_rdflib(quads)) == {("_:x", "http://r", "http://b")}


@pytest.mark.parametrize("iri", ["http://a b", "relative", "http://a<b"])
def test_rdflib_with_an_iri_that_is_none(iri):
    rdflib = pytest.importorskip("rdflib")
    with pytest.raises(PmdError) as caught:
        from_rdflib([(rdflib.URIRef("http://a"), rdflib.URIRef("http://r"), rdflib.URIRef(iri))])
    assert says(str(caught.value), f"rdflib graph: {iri!r} is no IRI…%20")

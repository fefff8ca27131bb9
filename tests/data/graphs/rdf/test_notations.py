"""RDF in its notations: what is a fact, a name, a description."""

import bz2
import gzip
import json

import numpy as np
import pyarrow as pa
import pytest

from pmd.core.errors import PmdError
from pmd.data.graphs.rdf.read import (
    is_rdf_file,
    load_rdf,
)
from pmd.data.graphs.rdf.statements import readable
from tests.says import says

from .samples import DBO, DBPEDIA, DBR, ONTOLOGY, PERSON, RDFS, XSD, names, same, sample, spelled

pytest.importorskip("pyoxigraph")


def test_dbpedia(tmp_path):
    read = load_rdf(sample(tmp_path, "dbpedia.nt", DBPEDIA))
    zurich, airport, swiss = f"{DBR}Zürich", f"{DBR}Z%C3%BCrich_Airport", f"{DBR}Switzerland"
    kind = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
    assert spelled(read) == {
        (zurich, f"{DBO}country", swiss),
        (airport, f"{DBO}cityServed", zurich),
        (swiss, kind, f"{DBO}Country"),
    }
    assert read.splits.keys() == {"train"} and read.splits["train"].dtype == np.int64
    assert read.entity_ids == sorted([zurich, airport, swiss, f"{DBO}Country"])
    assert names(read) == {
        zurich: "Zurich",
        airport: "Zürich Airport",
        swiss: "Schweiz",
        f"{DBO}Country": "Country",
    }
    assert read.entity_descriptions[read.entity_ids.index(zurich)] == 'The largest city of "Switzerland".'
    relations = {f"{DBO}cityServed": "city Served", f"{DBO}country": "country", kind: "type"}
    assert dict(zip(read.relation_ids, read.relation_names)) == relations
    assert read.types == {swiss: [f"{DBO}Country", "http://www.w3.org/2002/07/owl#Thing"]}
    for note in (
        "16 statements…3 are triples",
        "2 statements say a type; 1 of them are triples",
        "left out: 3 literals (populationTotal 2, areaCode 1)",
        "1 have no name in 'en'…de 1",
        "left out: the texts of 1 resources",
        "2 of 4 entities and 2 of 3 relations have no name",
    ):
        assert any(says(line, note) for line in read.notes), (note, read.notes)


LABELS = [
    '"French"@fr',
    '"British"@en-GB',
    '"plain"',
    '"second English"@en',
    '"German"@de',
]


@pytest.mark.parametrize(
    ("language", "left", "name"),
    [
        ("en", 5, "second English"),
        ("EN", 5, "second English"),
        ("de", 5, "German"),
        ("en", 3, "plain"),
        ("en", 2, "British"),
        ("en-US", 2, "British"),
        ("it", 2, "French"),
    ],
)
def test_the_language_of_a_name(language, left, name, tmp_path):
    lines = [f"<http://a> <{RDFS}label> {label} ." for label in LABELS[:left]]
    path = sample(tmp_path, "a.nt", "\n".join([*lines, "<http://a> <http://r> <http://b> ."]))
    read = load_rdf(path, language)
    assert names(read) == {"http://a": name, "http://b": "b"}
    assert any("no name" in note and "fr 1" in note for note in read.notes) == (name == "French")


def test_nothing_is_said_of_what_all_have(tmp_path):
    """Where all entities have a name, the relations that have none are named alone."""
    lines = [f'<http://{key}> <{RDFS}label> "{key}" .' for key in "ab"]
    path = sample(tmp_path, "a.nt", "\n".join([*lines, "<http://a> <http://r> <http://b> ."]))
    assert "1 of 1 relations have no name: the last part of the IRI serves as one" in load_rdf(path).notes


def test_the_property_of_a_name_and_of_a_description(tmp_path):
    skos = "http://www.w3.org/2004/02/skos/core#"
    read = load_rdf(
        sample(
            tmp_path,
            "a.ttl",
            f"""@prefix : <http://a/> . @prefix skos: <{skos}> . @prefix rdfs: <{RDFS}> .
            :x :r :y ; skos:prefLabel "preferred"@en, "second preferred"@en ; <http://schema.org/name> "http name" ;
               skos:altLabel "ex"@en, "X"@en, "preferred"@en, "ex"@en, "auf Deutsch"@de ; rdfs:comment "a comment"@en ;
               <https://schema.org/description> "\\t an  https\\n description "@en .
            :y <http://xmlns.com/foaf/0.1/name> "foaf" ; <http://purl.org/dc/terms/title> "title" ;
               <https://schema.org/alternateName> "why" ; skos:definition "defined"@en ; rdfs:label ""@en .""",
        )
    )
    assert names(read) == {"http://a/x": "preferred", "http://a/y": "foaf"}
    assert read.entity_descriptions == ["an https description", "defined"]
    assert read.aliases == {"http://a/x": ["ex", "X"], "http://a/y": ["why"]}
    assert any(says(note, "left out: 5 texts in other languages, or beside") for note in read.notes)
    assert any(says(note, "left out: 1 literals (label 1)") for note in read.notes)  # the empty one


def test_wikidata_properties_are_named_by_their_entities(tmp_path):
    wd, wdt = "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/direct/"
    read = load_rdf(
        sample(
            tmp_path,
            "truthy.nt",
            f"""<{wd}Q42> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://wikiba.se/ontology#Item> .
<{wd}Q42> <{RDFS}label> "Douglas Adams"@en .
<{wd}Q42> <http://www.w3.org/2004/02/skos/core#prefLabel> "Douglas Adams"@en .
<{wd}Q42> <http://schema.org/description> "English writer"@en .
<{wd}Q42> <http://www.w3.org/2004/02/skos/core#altLabel> "Douglas No\\u00ebl Adams"@en .
<{wd}Q42> <{wdt}P31> <{wd}Q5> .
<{wd}Q42> <{wdt}P569> "1952-03-11T00:00:00Z"^^<{XSD}dateTime> .
<{wd}P31> <{RDFS}label> "instance of"@en .
""",
        )
    )
    assert spelled(read) == {(f"{wd}Q42", f"{wdt}P31", f"{wd}Q5")}
    assert read.relation_names == ["instance of"] and names(read)[f"{wd}Q5"] == "Q5"
    assert read.aliases == {f"{wd}Q42": ["Douglas Noël Adams"]}
    assert not any("texts of" in note for note in read.notes)


@pytest.mark.parametrize("name", ["zoo.owl", "zoo.rdf", "zoo.xml"])
def test_an_ontology(name, tmp_path):
    path = sample(tmp_path, name, ONTOLOGY)
    assert is_rdf_file(path)
    read, zoo = load_rdf(path), "http://x.org/zoo#"
    kind, sub = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type", f"{RDFS}subClassOf"
    assert spelled(read) == {
        (f"{zoo}BigCat", sub, f"{zoo}Animal"),
        (f"{zoo}BigCat", sub, "_:b0"),
        ("_:b0", "http://www.w3.org/2002/07/owl#onProperty", "http://www.w3.org/2002/07/owl#topObjectProperty"),
        (f"{zoo}leo", kind, f"{zoo}BigCat"),
        (f"{zoo}leo", f"{zoo}livesIn", f"{zoo}Zürich_zoo"),
    }
    assert names(read)["_:b0"] == "_:b0" and names(read)[f"{zoo}BigCat"] == "big cat"
    assert names(read)[f"{zoo}Zürich_zoo"] == "Zürich zoo"
    assert dict(zip(read.entity_ids, read.entity_descriptions))[f"{zoo}BigCat"] == "A large felid."
    assert dict(zip(read.relation_ids, read.relation_names)) == {
        kind: "type",
        sub: "sub Class Of",
        f"{zoo}livesIn": "lives in",
        "http://www.w3.org/2002/07/owl#onProperty": "on Property",
    }
    assert read.types[f"{zoo}leo"] == [f"{zoo}BigCat", "http://www.w3.org/2002/07/owl#NamedIndividual"]
    assert any(says(note, "1 entities are blank nodes") for note in read.notes)


def test_json_ld(tmp_path):
    path = sample(tmp_path, "people.jsonld", json.dumps(PERSON))
    read, schema = load_rdf(path), "https://schema.org/"
    triples = spelled(read)
    assert ("http://ex.org/ada", f"{schema}spouse", "http://ex.org/william") in triples
    assert len(triples) == 7 and {key for key in read.entity_ids if key.startswith("_:")} == {"_:b0", "_:b1"}
    assert sorted(names(read).values()) == [
        "Ada Lovelace",
        "Charles Babbage",
        "Mary Somerville",
        "Person",
        "William King",
    ]
    assert read.types["http://ex.org/ada"] == [f"{schema}Person"]
    assert any("birthDate 1" in note for note in read.notes)
    again = load_rdf(path)
    assert same(read, again) and again.notes == read.notes  # the parser's own labels of blank nodes are random


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"@context": "https://schema.org/"},
            "people.jsonld…@context…'https://schema.org/'…nothing is downloaded…@vocab",
        ),
        (
            {"@context": ["https://schema.org/", {"ex": "http://ex.org/"}]},
            "'https://schema.org/'…nothing is downloaded",
        ),
        ({"@id": "#me"}, "people.jsonld: '#me' is relative…@base"),
        ({"@context": {"ex": "http://ex.org/", "knows": "http://ex.org/knows"}}, "'Person' is relative…@vocab"),
    ],
)
def test_json_ld_that_needs_what_is_not_in_the_file(change, message, tmp_path):
    path = sample(tmp_path, "people.jsonld", json.dumps(PERSON | change))
    with pytest.raises(PmdError) as caught:
        load_rdf(path)
    assert says(str(caught.value), message)


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".zst", ".GZ"])
def test_packed_files_of_several_members(ending, tmp_path):
    head, rest = "\ufeff" + DBPEDIA[:600], DBPEDIA[600:].replace("\n", "\r\n")
    parts = [head.encode(), rest.encode()]
    path = tmp_path / f"dbpedia.nt{ending}"
    if ending == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(b"".join(parts))
    else:
        pack = {"": bytes, ".bz2": bz2.compress}.get(ending, gzip.compress)
        path.write_bytes(b"".join(map(pack, parts)))
    assert is_rdf_file(path)
    assert same(load_rdf(path), load_rdf(sample(tmp_path, "plain.nt", DBPEDIA)))


def test_which_files_are_rdf(tmp_path):
    for name in ("a.nt", "a.nq", "a.ttl", "a.trig", "a.jsonld", "a.NT.gz", "b.owl"):
        assert is_rdf_file(sample(tmp_path, name, ""))
    others = {
        "a.txt": "",
        "a.tsv.gz": "",
        "nt": "",
        ".nt": "",
        "a.xml": "<kml/>",
        "b.xml": "no XML",
        "c.xml": "<a><rdf:RDF/></a>",
    }
    for name, text in others.items():
        assert not is_rdf_file(sample(tmp_path, name, text)), name
    (tmp_path / "folder.nt").mkdir()
    assert not is_rdf_file(tmp_path / "folder.nt") and not is_rdf_file(tmp_path / "missing.nt")
    turtle = sample(tmp_path, "t.owl", "# made by an editor\n@prefix : <http://a/> . :a :b :c .")
    assert spelled(load_rdf(turtle)) == {("http://a/a", "http://a/b", "http://a/c")}


def test_statements_about_statements_and_graphs(tmp_path):
    star = sample(tmp_path, "a.ttl", "@prefix : <http://a/> . :a :p :b . << :a :p :b >> :since :c .")
    read = load_rdf(star)
    assert ("http://a/a", "http://a/p", "http://a/b") in spelled(read)
    assert any(says(note, "left out: 1 statements about statements") for note in read.notes)
    quads = sample(
        tmp_path, "a.nq", "<http://a> <http://p> <http://b> <http://g> .\n<http://b> <http://p> _:x <http://h> .\n"
    )
    assert spelled(load_rdf(quads)) == {("http://a", "http://p", "http://b"), ("http://b", "http://p", "_:x")}


@pytest.mark.parametrize(
    ("iri", "name"),
    [
        (f"{DBO}birthPlace", "birth Place"),
        ("http://x/hasDNASequence", "has DNASequence"),
        ("http://x/HumanGene", "Human Gene"),
        (f"{DBR}Ronald_McDonald", "Ronald McDonald"),
        (f"{DBR}Star_Wars:_Episode_IV", "Star Wars: Episode IV"),
        ("http://x/a%20b%2Fc", "a b/c"),
        ("http://x/caf%E9", "caf%E9"),
        ("http://x.org/", "x.org"),
        ("http://x.org/zoo#", "zoo"),
        ("urn:isbn:0451450523", "0451450523"),
        ("http://www.wikidata.org/entity/Q42", "Q42"),
        ("http://x/%E6%9D%B1%E4%BA%AC", "東京"),
        ("_:b12", "_:b12"),
        ("plain_id", "plain id"),
    ],
)
def test_readable(iri, name):
    assert readable(iri) == name

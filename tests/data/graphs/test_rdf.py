"""RDF in its notations, small samples in the shape of published data."""

import bz2
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.files.layouts import convert
from pmd.data.graphs.files.triples import Options
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.rdf.read import (
    from_rdflib,
    is_rdf_file,
    is_rdflib_graph,
    load_rdf,
    load_rdf_files,
    load_rdf_graph,
    rdf_files,
)
from pmd.data.graphs.rdf.statements import RdfTriples, readable
from pmd.data.graphs.rdf.write import write_ntriples
from pmd.data.graphs.sources import load_graph
from pmd.data.graphs.split import Shares
from tests.says import says

pytest.importorskip("pyoxigraph")

DBR, DBO = "http://dbpedia.org/resource/", "http://dbpedia.org/ontology/"
RDFS, XSD = "http://www.w3.org/2000/01/rdf-schema#", "http://www.w3.org/2001/XMLSchema#"
DBPEDIA = f"""# started 2022-12-01
<{DBR}Zürich> <{RDFS}label> "Zurigo"@it .
<{DBR}Zürich> <{RDFS}label> "Zurich"@en .

<{DBR}Zürich> <{DBO}abstract> "The largest city\\nof \\"Switzerland\\"."@en .
<{DBR}Zürich> <{DBO}abstract> "La plus grande ville."@fr .
<{DBR}Zürich> <{DBO}country> <{DBR}Switzerland> .   # a comment
<{DBR}Z%C3%BCrich_Airport> <{DBO}cityServed> <{DBR}Zürich> .
<{DBR}Zürich> <{DBO}populationTotal> "421878"^^<{XSD}integer> .
<{DBR}Switzerland> <{DBO}populationTotal> "8902308"^^<{XSD}integer> .
<{DBR}Switzerland> <{DBO}areaCode> "+41" .
<{DBR}Switzerland> <{RDFS}label> "Schweiz"@de .
<{DBR}Switzerland> <{RDFS}label> "Suisse f\\u00e9d\\u00e9rale"@fr .
<{DBR}Switzerland> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <{DBO}Country> .
<{DBR}Switzerland> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://www.w3.org/2002/07/owl#Thing> .
<{DBO}country> <{RDFS}label> "land"@nl .
<{DBO}country> <{RDFS}label> "country"@en .
<{DBR}Nowhere> <{RDFS}label> "Nowhere"@en .
"""


def sample(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def spelled(read: RdfTriples, split: str = "train") -> set[tuple[str, str, str]]:
    ids = (read.entity_ids, read.relation_ids, read.entity_ids)
    return {tuple(keys[position] for keys, position in zip(ids, row)) for row in read.splits[split].tolist()}


def names(read: RdfTriples) -> dict[str, str]:
    return dict(zip(read.entity_ids, read.entity_names))


def whole(read: RdfTriples) -> KnowledgeGraph:
    """All triples as the training split."""
    none = torch.empty(0, 3, dtype=torch.long)
    texts = (read.entity_ids, read.entity_names, read.entity_descriptions, read.relation_ids, read.relation_names)
    train = torch.from_numpy(read.splits["train"])
    return KnowledgeGraph("g", *texts, train, none, none, aliases=read.aliases, types=read.types)


def same(one: RdfTriples, other: RdfTriples) -> bool:
    texts = ("entity_ids", "entity_names", "entity_descriptions", "relation_ids", "relation_names", "aliases", "types")
    return all(getattr(one, name) == getattr(other, name) for name in texts) and all(
        spelled(one, split) == spelled(other, split) for split in {*one.splits, *other.splits}
    )


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


ONTOLOGY = """<?xml version="1.0"?>
<!DOCTYPE rdf:RDF [ <!ENTITY owl "http://www.w3.org/2002/07/owl#" > ]>
<!-- an ontology -->
<rdf:RDF xml:base="http://x.org/zoo" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
  xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#" xmlns:owl="http://www.w3.org/2002/07/owl#"
  xmlns:obo="http://purl.obolibrary.org/obo/" xmlns="http://x.org/zoo#">
<owl:Ontology rdf:about="http://x.org/zoo"/>
<owl:ObjectProperty rdf:about="#eatsFor_lunch"/>
<owl:ObjectProperty rdf:about="#livesIn"><rdfs:label xml:lang="en">lives in</rdfs:label></owl:ObjectProperty>
<owl:Class rdf:about="#BigCat"><rdfs:label xml:lang="en">big cat</rdfs:label>
  <obo:IAO_0000115>A large felid.</obo:IAO_0000115><rdfs:comment>edited</rdfs:comment>
  <rdfs:subClassOf rdf:resource="#Animal"/>
  <rdfs:subClassOf><owl:Restriction><owl:onProperty rdf:resource="&owl;topObjectProperty"/></owl:Restriction></rdfs:subClassOf>
</owl:Class>
<BigCat rdf:about="#leo"><rdf:type rdf:resource="&owl;NamedIndividual"/><livesIn rdf:resource="#Zürich_zoo"/></BigCat>
</rdf:RDF>
"""


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


PERSON = {
    "@context": {"@vocab": "https://schema.org/", "ex": "http://ex.org/"},
    "@id": "ex:ada",
    "@type": "Person",
    "name": {"@value": "Ada Lovelace", "@language": "en"},
    "birthDate": "1815-12-10",
    "spouse": {"@id": "ex:william", "@type": "Person", "name": "William King"},
    "knows": [{"@type": "Person", "name": "Charles Babbage"}, {"@type": "Person", "name": "Mary Somerville"}],
}


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

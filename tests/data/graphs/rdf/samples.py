"""Small samples of RDF in the shape of published data, and what the tests look at in what is read."""

from pathlib import Path

import torch

from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.rdf.statements import RdfTriples

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


PERSON = {
    "@context": {"@vocab": "https://schema.org/", "ex": "http://ex.org/"},
    "@id": "ex:ada",
    "@type": "Person",
    "name": {"@value": "Ada Lovelace", "@language": "en"},
    "birthDate": "1815-12-10",
    "spouse": {"@id": "ex:william", "@type": "Person", "name": "William King"},
    "knows": [{"@type": "Person", "name": "Charles Babbage"}, {"@type": "Person", "name": "Mary Somerville"}],
}

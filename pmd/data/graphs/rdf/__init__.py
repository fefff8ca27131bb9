"""RDF: N-Triples, Turtle, RDF/XML, JSON-LD and rdflib graphs in, N-Triples out."""

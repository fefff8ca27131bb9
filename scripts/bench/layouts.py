"""Small samples of graphs in every layout that is read: files by name."""

from __future__ import annotations

import bz2
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

SPLITS = ("train", "valid", "test")
TRIPLES = [(f"e{i % 20}", f"r{i % 3}", f"e{(i * 7 + i // 20 + 1) % 20}") for i in range(40)]


def lines(rows: Any, separator: str = "\t", *, header: str = "", count: bool = False) -> bytes:
    """Rows as text, below a header or their number."""
    above = [header] * bool(header) + [str(len(rows))] * count
    return "".join(f"{line}\n" for line in [*above, *(separator.join(map(str, row)) for row in rows)]).encode()


def by_split(name: str, write: Callable[[list[tuple[str, str, str]]], bytes] = lines) -> dict[str, bytes]:
    """A file for each split."""
    return {name.format(split): write(TRIPLES[i : 40 - i]) for i, split in enumerate(SPLITS)}


def jsonl(rows: list[tuple[str, str, str]]) -> bytes:
    return "".join(json.dumps(dict(zip(("head", "relation", "tail"), row))) + "\n" for row in rows).encode()


def parquet(rows: list[tuple[str, str, str]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table(dict(zip(("head", "relation", "tail"), map(list, zip(*rows))))), out)
    return out.getvalue()


def numbers(rows: list[tuple[str, str, str]]) -> bytes:
    """OpenKE's: head, tail, relation."""
    return lines([(head[1:], tail[1:], relation[1:]) for head, relation, tail in rows], " ", count=True)


def nodes(kind: str, count: int, first: bool = True) -> bytes:
    """Names and numbers, in either order."""
    return lines([(f"{kind}{i}", i) if first else (i, f"{kind}{i}") for i in range(count)])


TEXTS = lines([(f"e{i}", f"name {i}", f"text of {i}") for i in range(20)])
NAMES = lines([(f"e{i}", f"name {i}") for i in range(20)])
KINDS = lines([(f"r{i}", f"relation {i}") for i in range(3)])
LABELS = json.dumps({f"e{i}": {"label": f"name {i}", "description": "text"} for i in range(20)}).encode()
LAYOUTS: dict[str, dict[str, bytes]] = {
    "our folder": {
        **by_split("{}.tsv"),
        "entities.tsv": TEXTS + lines([("x", "ex", ""), ("y", "why", "text")]),
        "relations.tsv": KINDS,
        "inductive_train.tsv": lines([("x", "r1", "y")]),
        "inductive_test.tsv": lines([("y", "r1", "x")]),
        "valid_negatives.tsv": lines([("e1", "r1", "e2")]),
        "aliases.tsv": lines([("e1", "one"), ("e2", "two")]),
        "types.tsv": lines([(f"e{i}", "kind") for i in range(20)]),
    },
    "triples": by_split("{}.txt"),
    "CSV": by_split("{}.csv", lambda rows: lines(rows, ",", header="head,relation,tail")),
    "JSON lines": by_split("{}.jsonl", jsonl),
    "Parquet": by_split("{}.parquet", parquet),
    "gzip": by_split("{}.txt.gz", lambda rows: gzip.compress(lines(rows), mtime=0)),
    "bzip2": by_split("{}.tsv.bz2", lambda rows: bz2.compress(lines(rows))),
    "one file": {"edges.tsv": lines(TRIPLES)},
    "KG-BERT": {**by_split("{}.tsv"), "entity2text.txt": NAMES, "relation2text.txt": KINDS},
    "RotatE": {
        **by_split("{}.txt"),
        "entities.dict": nodes("e", 20, first=False),
        "relations.dict": nodes("r", 3, first=False),
    },
    "OpenKE": {
        **by_split("{}2id.txt", numbers),
        "entity2id.txt": b"20\n" + nodes("e", 20),
        "relation2id.txt": b"3\n" + nodes("r", 3),
    },
    "ILPC": {
        **by_split("{}.txt"),
        **{
            f"{name}.txt": lines([("x", "r1", "y")]) for name in ("inference", "inference_validation", "inference_test")
        },
    },
    "CoDEx": {
        **by_split("triples/codex-s/{}.txt"),
        "triples/codex-s/valid_negatives.txt": lines([("e1", "r1", "e2")]),
        "entities/en/entities.json": LABELS,
        "relations/en/relations.json": LABELS.replace(b'"e', b'"r'),
    },
    "Wikidata5M": {
        **by_split("wikidata5m_transductive_{}.txt"),
        "wikidata5m_entity.txt": TEXTS,
        "wikidata5m_relation.txt": KINDS,
        "wikidata5m_text.txt": NAMES,
    },
    "Hetionet": {
        "hetionet-v1.0-edges.sif": lines(TRIPLES, header="source\tmetaedge\ttarget"),
        "hetionet-v1.0-nodes.tsv": lines([(f"e{i}", f"name {i}", "kind") for i in range(20)], header="id\tname\tkind"),
    },
}
GRAPH_FOLDERS = {"CoDEx": "triples/codex-s", "one file": "edges.tsv"}
"""Where a layout's graph lies in its folder, if that is not the folder itself."""
BASE = "http://a.org/"
STATEMENTS = [f"<{BASE}{h}> <{BASE}{r}> <{BASE}{t}> ." for h, r, t in TRIPLES]
LABELLED = [f'<{BASE}e{i}> <http://www.w3.org/2000/01/rdf-schema#label> "name {i}"@en .' for i in range(20)]
RDF = {
    "facts.nt": "\n".join([*STATEMENTS, *LABELLED]) + "\n",
    "facts.ttl": f"@prefix a: <{BASE}> .\n" + "".join(f"a:{h} a:{r} a:{t} ; a:note 'x' .\n" for h, r, t in TRIPLES),
    "facts.nq": "\n".join(f"{line[:-1]}<{BASE}g> ." for line in STATEMENTS) + "\n",
    "facts.rdf": '<?xml version="1.0"?>\n<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    f'xmlns:a="{BASE}">\n'
    + "".join(
        f'<rdf:Description rdf:about="{BASE}{h}"><a:{r} rdf:resource="{BASE}{t}"/></rdf:Description>\n'
        for h, r, t in TRIPLES
    )
    + "</rdf:RDF>\n",
    "facts.jsonld": json.dumps([{"@id": BASE + h, BASE + r: [{"@id": BASE + t}]} for h, r, t in TRIPLES]),
}

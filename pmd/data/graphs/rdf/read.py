"""Reading RDF: N-Triples, N-Quads, Turtle, TriG, RDF/XML and JSON-LD files, and `rdflib` graphs.

Files are parsed by `pyoxigraph` (the extra `rdf`) as they are read: no statement is held as an object. What becomes of the
statements is said in `pmd.data.graphs.rdf.statements`; `pmd.data.graphs.rdf.write` writes N-Triples.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

import numpy as np

from pmd.core.errors import MEND_UTF8, PmdError, need_package
from pmd.data.graphs.build import Texts, graph_of
from pmd.data.graphs.files.columns import PARTS
from pmd.data.graphs.files.folders import split_of
from pmd.data.graphs.files.tables import PACKINGS, open_packed
from pmd.data.graphs.files.triples import DEFAULTS, Options, TripleTable
from pmd.data.graphs.files.tsv import quote
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.rdf.statements import RDF, TEXTS, RdfTriples, Statements

if TYPE_CHECKING:
    import pyoxigraph

FORMATS = {
    ".nt": "N_TRIPLES",
    ".nq": "N_QUADS",
    ".ttl": "TURTLE",
    ".trig": "TRIG",
    ".rdf": "RDF_XML",
    ".owl": "RDF_XML",
    ".xml": "RDF_XML",
    ".jsonld": "JSON_LD",
}
"""By ending, what pyoxigraph calls the format."""

_SAMPLE = 1 << 16
_RELATIVE = "http://relative.invalid/"
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\]*")
_BASE_LINE = re.compile(rb"# pmd base <([^>]+)>")
_TURTLE = re.compile(rb"(\xef\xbb\xbf)?\s*(#|@prefix|@base|prefix\s+\S*:\s*<|base\s*<)", re.IGNORECASE)
_REMOTE_CONTEXT = re.compile(rb'"@(?:context|import)"\s*:\s*\[?\s*"([^"]+)"')
_PARSER_PLACE = re.compile(r"^Parser error at .*?: ")


def rdf_stem(path: Path) -> str | None:
    """The name of an RDF file without its endings, in lower case: `Train.nt.gz` -> `train`. None for other files."""
    name = path.name.lower()
    for packing in PACKINGS:
        name = name.removesuffix(packing)
    stem, _, ending = name.rpartition(".")
    return stem if stem and f".{ending}" in FORMATS else None


def is_rdf_file(path: Path) -> bool:
    """Whether a file's ending is one of RDF, plain or packed; of `.xml`, whether its root is `rdf:RDF`."""
    if rdf_stem(path) is None or not path.is_file():
        return False
    return _ending(path) != ".xml" or _xml_root(path) == f"{RDF}RDF"


def load_rdf(path: Path, language: str = "en") -> RdfTriples:
    """Read one file. PmdError, with file, line and remedy, for what cannot be used."""
    return load_rdf_files({"train": [path]}, language)


def load_rdf_files(files: Mapping[str, Sequence[Path]], language: str = "en") -> RdfTriples:
    """Read several files as one graph: by split, its files. Those of `TEXTS` give texts and types alone.

    A label of a blank node holds within its file: of several files, its name is put before the label.
    """
    need_package("pyoxigraph", "RDF files need", "rdf")
    statements = Statements(language)
    paths = [path for several in files.values() for path in several]
    for split, several in files.items():
        statements.begin(split)
        for path in several:
            _read(path, statements, f"{path.name}." if len(paths) > 1 else "")
    return statements.result(str(paths[0] if len(paths) == 1 else paths[0].parent))


def rdf_files(source: Path) -> dict[str, list[Path]]:
    """By split, the RDF files of a folder, or the one file that it is; empty if there are none.

    In a folder with splits, files of other names are under `TEXTS`; in one without, all files are one graph.
    """
    if not source.is_dir():
        return {"train": [source]} if is_rdf_file(source) else {}
    by_split: dict[str, list[Path]] = {}
    paths = [path for path in sorted(source.iterdir()) if is_rdf_file(path)]
    for path in paths:
        by_split.setdefault(split_of(rdf_stem(path) or "") or TEXTS, []).append(path)
    return by_split if by_split.keys() - {TEXTS} else {"train": paths} if paths else {}


def load_rdf_graph(source: Path, name: str, options: Options = DEFAULTS) -> KnowledgeGraph:
    """The graph of a file or folder for which `rdf_files` is not empty. PmdError for what cannot be used."""
    return graph_of_rdf(load_rdf_files(rdf_files(source), options.language), str(source), name, options)


def graph_of_rdf(read: RdfTriples, source: str, name: str, options: Options = DEFAULTS) -> KnowledgeGraph:
    """The graph of what was read. Without splits it is split as one file of triples is."""
    for option in ("columns", "drop", "weight"):
        if getattr(options, option):
            raise PmdError(f"{source}: {option} does not apply to RDF, which has no columns; leave it out")
    for split in ("train", *read.splits):
        if not len(read.splits.get(split, ())):
            raise PmdError(
                f"{source}: no triple of the split {split} in its RDF files; add some, for example as {split}.nt"
            )
    texts = Texts(
        dict(zip(read.entity_ids, read.entity_names)),
        dict(zip(read.entity_ids, read.entity_descriptions)),
        dict(zip(read.relation_ids, read.relation_names)),
        read.aliases,
        read.types,
        read.entity_ids,
        read.relation_ids,
    )
    tables = {split: _table(rows, read, source) for split, rows in read.splits.items()}
    return graph_of(name, source, tables, texts, read.notes, options.shares, doubt_order=False)


def _table(rows: np.ndarray, read: RdfTriples, source: str) -> TripleTable:
    import pyarrow as pa

    columns = {}
    for column, (part, ids) in enumerate(zip(PARTS, (read.entity_ids, read.relation_ids, read.entity_ids))):
        numbers = pa.array(rows[:, column].astype(np.int32))
        columns[part] = pa.chunked_array([pa.DictionaryArray.from_arrays(numbers, pa.array(ids, pa.string()))])
    return TripleTable(columns, source)


def is_rdflib_graph(value: object) -> bool:
    """Whether a value is an `rdflib.Graph` or a subclass, without importing rdflib."""
    return any(f"{kind.__module__}.{kind.__name__}" == "rdflib.graph.Graph" for kind in type(value).__mro__)


def from_rdflib(
    graphs: Iterable[Sequence[Any]] | Mapping[str, Iterable[Sequence[Any]]], language: str = "en"
) -> RdfTriples:
    """Read an `rdflib.Graph`, or a `Dataset` without the names of its graphs, or one for each split.

    The statements are sorted, as rdflib keeps them in no order.
    """
    statements = Statements(language)
    for split, graph in (graphs if isinstance(graphs, Mapping) else {"train": graphs}).items():
        statements.begin(split)
        for subject, predicate, object, *_ in sorted(graph, key=repr):
            statements.statements += 1
            keys = [_rdflib_key(subject), str(predicate)]
            if _rdflib_kind(type(object)) == "Literal":
                statements.literal(*keys, str(object), object.language)
            else:
                statements.link(*keys, _rdflib_key(object))
    return statements.result("the rdflib graph")


@lru_cache
def _rdflib_kind(kind: type) -> str | None:
    names = {parent.__name__ for parent in kind.__mro__}
    return next((name for name in ("URIRef", "BNode", "Literal") if name in names), None)


def _rdflib_key(term: Any) -> str:
    kind = _rdflib_kind(type(term))
    if kind == "BNode":
        return f"_:{term}"
    if kind != "URIRef" or not _IRI.fullmatch(term):
        raise PmdError(
            f"the rdflib graph: {quote(str(term))} is no IRI; write it whole, as http://…, and percent-encode what IRIs do "
            f"not allow (a blank is %20)"
        )
    return str(term)


def _read(path: Path, statements: Statements, prefix: str) -> None:
    """Take the statements of a file."""
    import pyoxigraph

    try:
        format = _format(path)
        base = (
            _RELATIVE if format == "JSON_LD" else None
        )  # without one, the parser drops nodes of relative ids in silence
        with _open(path) as file:
            head = file.peek(_SAMPLE)
            if head.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise PmdError(f"{path}: is UTF-16; convert it: iconv -f utf-16 -t utf-8")
            if head.startswith(b"\xef\xbb\xbf"):
                file.read(3)
            if match := _BASE_LINE.match(head):
                statements.bases.add(match[1].decode(errors="replace"))
            quads = pyoxigraph.parse(file, format=getattr(pyoxigraph.RdfFormat, format), base_iri=base)
            _take(quads, statements, prefix, renumber=format not in ("N_TRIPLES", "N_QUADS"))
    except SyntaxError as error:
        raise PmdError(_syntax_error(path, error)) from None
    except (OSError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PmdError(f"{path}: cannot be read ({reason}); check it, or download it again") from None
    if base:
        _refuse_relative(path, statements)


def _take(quads: pyoxigraph.QuadParser, statements: Statements, prefix: str, renumber: bool) -> None:
    """Link what is between resources, keep the texts of literals.

    Args:
        renumber: blank nodes by appearance, where the parser makes up random labels.
    """
    from pyoxigraph import BlankNode, Literal, NamedNode

    labels: dict[str, str] = {}
    link, literal = statements.link, statements.literal
    number = 0
    for quad in quads:
        number += 1
        subject, object = quad.subject, quad.object
        kind = type(object)
        if type(subject) is NamedNode:
            key = subject.value
        else:
            label = labels.setdefault(subject.value, f"b{len(labels)}") if renumber else subject.value
            key = f"_:{prefix}{label}"
        if kind is NamedNode:
            link(key, quad.predicate.value, object.value)
        elif kind is Literal:
            literal(key, quad.predicate.value, object.value, object.language)
        elif kind is BlankNode:
            label = labels.setdefault(object.value, f"b{len(labels)}") if renumber else object.value
            link(key, quad.predicate.value, f"_:{prefix}{label}")
        else:
            statements.quoted += 1
    statements.statements += number


def _ending(path: Path) -> str:
    return next(suffix for suffix in map(str.lower, reversed(path.suffixes)) if suffix not in PACKINGS)


def _format(path: Path) -> str:
    """The format of a file. PmdError for an `.owl`, `.rdf` or `.xml` in another notation."""
    format = FORMATS[_ending(path)]
    if format != "RDF_XML" or (root := _xml_root(path)) == f"{RDF}RDF":
        return format
    with _open(path) as file:
        if _TURTLE.match(file.peek(_SAMPLE)):
            return "TURTLE"  # what ontology editors also call .owl
    content = f"its root is {quote(root)}" if root else "it is no XML"
    raise PmdError(f"{path}: is not RDF/XML, {content}; save it as RDF/XML (root rdf:RDF) or as Turtle")


def _xml_root(path: Path) -> str:
    """The namespace and name of a file's first element; empty if there is none near its begin."""
    names: list[str] = []
    parser = expat.ParserCreate(namespace_separator="")
    parser.StartElementHandler = lambda name, _: names.append(name)
    with contextlib.suppress(OSError, EOFError, expat.ExpatError), _open(path) as file:
        parser.Parse(file.peek(_SAMPLE)[:_SAMPLE], False)
    return names[0] if names else ""


def _open(path: Path) -> io.BufferedReader:
    return io.BufferedReader(open_packed(path), _SAMPLE)


def _syntax_error(path: Path, error: SyntaxError) -> str:
    message = " ".join(_PARSER_PLACE.sub("", str(error.msg)).split())
    if "LoadDocumentCallback" in message:
        with _open(path) as file:
            match = _REMOTE_CONTEXT.search(file.read())
        address = f" {quote(match[1].decode())}" if match else ""
        return (
            f"{path}: its @context is the web address{address}, and nothing is downloaded; write the context into the file, "
            f'for example "@context": {{"@vocab": "https://schema.org/"}}'
        )
    if "UTF-8" in message:
        remedy = MEND_UTF8
    elif "No scheme" in message:
        remedy = (
            "write whole IRIs, or the base that they are relative to (Turtle: @base <http://…/> . RDF/XML: xml:base)"
        )
    elif "IRI" in message:
        remedy = "percent-encode what IRIs do not allow (a blank is %20, < is %3C)"
    else:
        remedy = "mend the statement"
    line = error.lineno or _line_of(path, message)
    return f"{path}{f', line {line}' if line else ''}: {message}; {remedy}"


def _line_of(path: Path, message: str) -> int | None:
    """The line with the IRI that a message quotes: the parser of RDF/XML counts none."""
    match = re.search("'([^']{2,})'", message)
    with _open(path) as file:
        return next((number for number, line in enumerate(file, 1) if match and match[1].encode() in line), None)


def _refuse_relative(path: Path, statements: Statements) -> None:
    for iri in (*statements.nodes, *statements.relations):
        if iri.startswith(_RELATIVE):
            raise PmdError(
                f"{path}: {quote(iri.removeprefix(_RELATIVE))} is relative; write whole IRIs, or add @base, and for types "
                f"@vocab, to the @context"
            )

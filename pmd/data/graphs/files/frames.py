"""Graphs out of what a Python program holds: frames, Arrow tables, tuples, data sets, networkx and rdflib graphs.

All meet the files in `triples_of` and `graph_of`. Types are recognised by their names, so that none of their packages is
imported for it. `pmd.data.graphs.to_frames` is the way back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pmd.core.errors import PmdError, refuse_unknown
from pmd.data.graphs.build import Texts, graph_of
from pmd.data.graphs.files.arrow import columns_of_texts, text_or_none, text_table
from pmd.data.graphs.files.columns import kinds_of
from pmd.data.graphs.files.folders import split_of
from pmd.data.graphs.files.hub_source import rows_of
from pmd.data.graphs.files.tables import encoded_table
from pmd.data.graphs.files.texts import add_nodes
from pmd.data.graphs.files.triples import (
    Options,
    TripleTable,
    add_note,
    note_left_out,
    refuse_unknown_columns,
    triples_of,
)
from pmd.data.graphs.files.tsv import quote
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.rdf.read import from_rdflib, graph_of_rdf, is_rdflib_graph
from pmd.data.graphs.sources import READER_OPTIONS, warn_of_remarks

if TYPE_CHECKING:
    import pyarrow as pa

_ACCEPTED = (
    "a pandas or Polars frame, an Arrow table, a datasets.Dataset, an iterable of (head, relation, tail), a networkx or "
    "rdflib graph, or a mapping of splits to these"
)
_FRAMES = {
    "pandas.DataFrame": "the pandas frame",
    "polars.DataFrame": "the Polars frame",
    "pyarrow.Table": "the Arrow table",
    "datasets.Dataset": "the data set",
}
_EDGE_RELATIONS = ("relation", "key", "label", "type")


def graph_from(
    source: Any,
    name: str = "graph",
    *,
    entities: Any = None,
    relations: Any = None,
    **options: Any,
) -> KnowledgeGraph:
    """A graph out of values, as `load_graph` makes one out of files; it warns of the same.

    - A frame (pandas, Polars, Arrow, `datasets.Dataset`) has columns for head, relation and tail under any usual name, or,
      without names, in this order. A column `split` divides it; without one it is split by `shares`. Ids are text or whole
      numbers, which become text.
    - Tuples are (head, relation, tail), or with a weight, a float, as the fourth. Arrays (n, 3) count as tuples.
    - The edges of a directed networkx graph have their relation as attribute `relation`, as a text key, or as attribute
      `label` or `type`, the first of these that any edge has. Nodes may have the attributes name or label, description, type
      and aliases.
    - An rdflib graph is read as RDF files are, texts included.
    - A mapping, such as a `datasets.DatasetDict`, has one of these for each split, under any usual name of it.
    - A `KnowledgeGraph` is returned as it is.

    Args:
        source: one of these.
        name: of the graph.
        entities: texts, which need not be complete: a frame with columns id, name, description, type; or a mapping of ids to
            names, or to mappings with these keys.
        relations: the same with ids and names.
        options: columns, drop, weight, language and shares, see `pmd.data.graphs.files.triples.Options`.

    Returns:
        The graph, with its splits.

    Raises:
        PmdError: for whatever cannot be used; rows are counted from 1.

    Example:
        >>> facts = [("Ada", "knows", "Charles"), ("Charles", "built", "engine"), ("Ada", "programmed", "engine")]
        >>> graph = pmd.graph_from({"train": facts, "valid": facts[:1], "test": facts[1:2]}, "computing")
        >>> graph.num_entities, graph.num_relations, len(graph.train)
        (3, 3, 3)
    """
    refuse_unknown("graph_from", options, READER_OPTIONS)
    texts = {kind: value for kind, value in (("entities", entities), ("relations", relations)) if value is not None}
    if isinstance(source, KnowledgeGraph):
        if given := [*options, *texts]:
            raise PmdError(
                f"graph_from: {', '.join(given)} given with a KnowledgeGraph, which is complete; leave it out"
            )
        return source
    try:
        graph = _graph(source, name, Options(**options), texts)
    except PmdError as error:
        raise PmdError(_as_keywords(str(error))) from None
    warn_of_remarks(graph)
    return graph


def _graph(source: Any, name: str, options: Options, texts: Mapping[str, Any]) -> KnowledgeGraph:
    parts = _by_split(source) if isinstance(source, Mapping) else {"train": source}
    if any(map(is_rdflib_graph, parts.values())):
        if texts or not all(map(is_rdflib_graph, parts.values())):
            raise PmdError(
                "an rdflib graph holds its texts itself; give rdflib graphs alone, without entities and relations"
            )
        return graph_of_rdf(from_rdflib(parts, options.language), "the rdflib graph", name, options)
    reader = _Reader(options)
    tables = reader.read(source)
    for kind, value in texts.items():
        reader.add_texts(kind, value)
    missing = [split for split in ("valid", "test") if split not in tables]
    if missing and len(tables) > 1 and options.shares is None:
        raise PmdError(
            f"no split {missing[0]} beside {', '.join(tables)}; add it, or take it from train with shares=pmd.Shares()"
        )
    if reader.listed:
        unmentioned = reader.listed.difference(*(table.ids("head", "tail") for table in tables.values()))
        reader.notes += [f"entities that no triple mentions are left out: {len(unmentioned):,}"] * bool(unmentioned)
    is_networkx = any(_package(part) == "networkx" for part in parts.values())
    return graph_of(
        name, f"graph '{name}'", tables, reader.texts, reader.notes, options.shares, doubt_order=not is_networkx
    )


def _by_split(source: Mapping[Any, Any]) -> dict[str, Any]:
    """The values of a mapping under our names of the splits."""
    parts: dict[str, Any] = {}
    for name, part in source.items():
        split = split_of(str(name).lower()) or str(name)
        if split in parts:
            raise PmdError(f"two splits are called {split}, one of them {quote(str(name))}; give one")
        if "_neg" in split:
            raise PmdError(
                f"{quote(split)}: false triples are no split; mark them by 0 in a column label, and others by 1"
            )
        parts[split] = part
    if "train" not in parts:
        raise PmdError(
            f"no split train among {', '.join(map(quote, parts)) or 'none'}; give a mapping of splits to triples"
        )
    return parts


def _package(value: Any) -> str:
    return next((kind.__module__.partition(".")[0] for kind in type(value).__mro__ if kind.__name__ == "Graph"), "")


@dataclass
class _Reader:
    """Reads values as tables of triples, and gathers the texts, the ids and the notes that come with them."""

    options: Options
    notes: list[str] = field(default_factory=list)
    texts: Texts = field(default_factory=Texts)
    listed: set[str] = field(default_factory=set)

    def read(self, source: Any) -> dict[str, TripleTable]:
        """The triples of each split: of a mapping, or of those that a column `split` names, or `train` alone."""
        if isinstance(source, Mapping):
            parts = {split: self._rows(part, f", split {split}") for split, part in _by_split(source).items()}
        else:
            parts = self._by_column(*self._rows(source))
        tables = {split: encoded_table(table) for split, (table, _) in parts.items()}
        places = {split: place for split, (_, place) in parts.items()}
        options, kind_of = self._options(tables["train"]), kinds_of(tables.values())
        refuse_unknown_columns(tables, places, replace(options, drop=()))  # what is dropped is gone already
        return {split: triples_of(tables[split], places[split], options, self.notes, kind_of) for split in tables}

    def _by_column(self, table: pa.Table, place: str) -> dict[str, tuple[pa.Table, str]]:
        import pyarrow.compute as pc

        column = table.column("split") if "split" in table.column_names else []
        names = pc.unique(column).to_pylist() if column and str(column.type) == "string" else []
        if "train" not in map(split_of, map(str.lower, names)) or "split" in self.options.columns.values():
            return {"train": (table, place)}
        if "" in names:
            row = column.to_pylist().index("") + 1
            raise PmdError(
                f"{place}, row {row}: the split is empty; name one, or leave the column out with drop=['split']"
            )
        add_note(self.notes, "the column 'split' says which split a triple belongs to")
        rows = {name: table.filter(pc.equal(column, name)).drop_columns("split") for name in names}
        return {split: (part, f"{place}, split {split}") for split, part in _by_split(rows).items()}

    def _options(self, train: pa.Table) -> Options:
        """The options, by which a fourth value of tuples is a weight if it is a float."""
        is_weighed = train.column_names == ["1", "2", "3", "4"] and train.schema.field("4").type == "double"
        if not is_weighed or self.options.columns:
            return self.options
        add_note(self.notes, "the fourth column is the weight")
        return replace(self.options, weight=self.options.weight or "4")

    def _rows(self, source: Any, split: str = "") -> tuple[pa.Table, str]:
        """The rows as columns of text, but for floats, and what they are called in errors."""
        if _package(source) == "networkx":
            place = f"the networkx graph{split}"
            columns = self._edges(source, place)
            self._add_entities(columns_of_texts(dict(source.nodes(data=True))))
        elif (kind := _frame_kind(source)) is not None:
            place = f"{_FRAMES[kind]}{split}"
            columns = _frame_columns(source, kind, place)
        else:
            place = f"the tuples{split}"
            columns = _tuple_columns(source, place)
        for name in [name for name in columns if name in self.options.dropped]:
            note_left_out(self.notes, name)
            del columns[name]
        return text_table(columns, place), place

    def _edges(self, source: Any, place: str) -> dict[str, Any]:
        """Columns of the edges: head, relation, tail and all attributes."""
        if not source.is_directed():
            raise PmdError(
                f"{place} is undirected, so nothing says which end of an edge is the head; give a DiGraph (to_directed() takes "
                f"each edge in both directions)"
            )
        if not source.number_of_edges():
            raise PmdError(f"{place} has no edges; every split needs at least one")
        with_keys = {"keys": True} if source.is_multigraph() else {}
        heads, tails, *keys, attributes = zip(*source.edges(data=True, **with_keys))
        names = dict.fromkeys(name for edge in attributes for name in edge)
        columns: dict[str, Any] = {str(name): [edge.get(name) for edge in attributes] for name in names}
        chosen = self.options.columns.get("relation")
        for column in keys:  # networkx numbers edges that have no key of their own
            if chosen == "key" or any(isinstance(key, str) for key in column):
                columns["key"] = [key if chosen == "key" or isinstance(key, str) else None for key in column]
        if chosen is None:
            attribute = next((name for name in _EDGE_RELATIONS if name in columns), None)
            if attribute is None:
                raise PmdError(
                    f"{place}: edges have no attribute relation, label or type and no text key; name the attribute that holds the "
                    f"relation, such as columns={{'relation': 'kind'}}"
                )
            columns["relation"] = columns.pop(attribute)
            add_note(self.notes, f"the relation of an edge is its {attribute}")
        return {**columns, "head": heads, "tail": tails}

    def add_texts(self, kind: str, source: Any) -> None:
        """Adds the texts of `entities` or `relations`, before those that were read already."""
        if isinstance(source, Mapping):
            columns = columns_of_texts(source)
        elif (frame := _frame_kind(source)) is not None:
            table = text_table(_frame_columns(source, frame, kind), kind)
            rows = (map(text_or_none, column.to_pylist()) for column in table.columns)
            columns = {name.lower(): list(column) for name, column in zip(table.column_names, rows)}
        else:
            raise PmdError(f"{kind}: a {type(source).__name__}; give a frame, or a mapping of ids to names")
        if kind == "entities":
            self._add_entities(columns)
        else:
            texts = Texts()
            add_nodes({name.removeprefix("relation_") or name: column for name, column in columns.items()}, kind, texts)
            self.texts.relations |= texts.names

    def _add_entities(self, columns: Mapping[str, Any]) -> None:
        keys = add_nodes(columns, "entities", self.texts)
        self.texts.aliases |= {key: names for key, names in zip(keys, columns.get("aliases", ())) if names}
        self.listed.update(keys)


def _frame_kind(source: Any) -> str | None:
    """The key of `_FRAMES` that a value's class, or a parent of it, has."""
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(source).__mro__}
    return next((kind for kind in _FRAMES if kind in kinds), None)


def _frame_columns(source: Any, kind: str, place: str) -> dict[str, Any]:
    if kind == "pandas.DataFrame":
        names, columns = list(map(str, source.columns)), [source.iloc[:, number] for number in range(source.shape[1])]
    else:
        table = rows_of(source) if kind == "datasets.Dataset" else source.to_arrow() if "polars" in kind else source
        names, columns = table.column_names, table.columns
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise PmdError(f"{place}: two columns are called {quote(name)}; rename one")
    return dict(zip(names, columns))


def _tuple_columns(source: Any, place: str) -> dict[str, Any]:
    """Columns 1, 2, 3, … of rows."""
    if not isinstance(source, Iterable) or isinstance(source, str | bytes | os.PathLike | Mapping):
        hint = "; paths and names are for pmd.load_graph" if isinstance(source, str | os.PathLike) else ""
        raise PmdError(f"graph_from: a {type(source).__name__} is no graph; it takes {_ACCEPTED}{hint}")
    if isinstance(source, set | frozenset):
        source = sorted(source, key=repr)  # the same order in every process
    rows = list(source.tolist() if hasattr(source, "tolist") else source)
    if not rows:
        raise PmdError(f"{place}: there are none; every split needs at least one triple")
    for number, row in enumerate(rows):
        if not isinstance(row, list | tuple) or len(row) < 3 or len(row) != len(rows[0]):
            raise PmdError(
                f"{place}, row {number + 1}: {quote(repr(row))}; give (head, relation, tail) in every row, perhaps a weight, "
                f"and nothing else"
            )
    return {str(number): column for number, column in enumerate(zip(*rows), start=1)}


def _as_keywords(message: str) -> str:
    """A message whose remedies are options of the command line, as arguments of a function."""

    def quoted(match: re.Match[str]) -> str:
        columns = re.sub(r"(\w+): ([^,]+)", r"'\1': '\2'", match[2])
        return f"{match[1]}={{{columns}}}"

    message = re.sub(r"--data\.(\w+) '\{([^{}]*)\}'", quoted, message)
    message = re.sub(r"--data\.(\w+) '\[([^\[\]]*)\]'", r"\1=['\2']", message)
    return re.sub(r"--data\.(\w+) '", r"\1='", message).replace("--data.", "")

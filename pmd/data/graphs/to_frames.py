"""Graphs as frames, tables, tuples, data sets and networkx graphs; `pmd.data.graphs.files.frames` reads all of them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pmd.core.errors import need_package

if TYPE_CHECKING:
    import datasets
    import networkx
    import pandas
    import polars
    import pyarrow as pa

_CHUNK = 1 << 20  # rows: a column of text may hold 2 GB in one piece


class ToFrames:
    """The methods of a `KnowledgeGraph` that write it for other packages.

    Each takes one split, or all of them (`split=None`), which a column `split` then tells apart. Columns are head, relation and
    tail, and `weight` where triples have one. With `texts` come names and descriptions; with `negatives` the triples that are
    known to be false, which a column `label` (1 or 0) tells apart. Types and aliases are written by `to_networkx` alone.
    """

    name: str
    entity_ids: Sequence[str]
    entity_names: Sequence[str]
    entity_descriptions: Sequence[str]
    relation_ids: Sequence[str]
    relation_names: Sequence[str]
    negatives: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    aliases: Mapping[str, Sequence[str]]
    types: Mapping[str, Sequence[str]]
    split_names: list[str]

    def to_arrow(self, split: str | None = None, texts: bool = False, negatives: bool = False) -> pa.Table:
        """The triples of a `split`, by default of all, as an Arrow table: with `texts` names and descriptions too, with `negatives` also
        the triples that are known to be false."""
        import pyarrow as pa

        columns = {"head": (0, self.entity_ids), "relation": (1, self.relation_ids), "tail": (2, self.entity_ids)}
        if texts:
            columns["relation_name"] = (1, self.relation_names)
            for part, position in (("head", 0), ("tail", 2)):
                columns[f"{part}_name"] = (position, self.entity_names)
                columns[f"{part}_description"] = (position, self.entity_descriptions)
        values = {name: (position, pa.array(texts, pa.string())) for name, (position, texts) in columns.items()}
        tables = []
        for name in [split] if split else self.split_names:
            true = self.split(name).numpy()
            false = self.negatives[name].numpy() if negatives and name in self.negatives else true[:0]
            rows = np.concatenate([true, false])
            table = {column: _taken(texts, rows[:, position]) for column, (position, texts) in values.items()}
            if name in self.weights:
                table["weight"] = np.concatenate([self.weights[name].numpy(), np.zeros(len(false), dtype=np.float32)])
            if negatives:
                table["label"] = np.repeat([1, 0], [len(true), len(false)])
            tables.append(pa.table(table if split else table | {"split": pa.array([name] * len(rows), pa.string())}))
        return pa.concat_tables(tables, promote_options="default")

    def to_pandas(self, split: str | None = None, texts: bool = False, negatives: bool = False) -> pandas.DataFrame:
        """The same as a pandas frame: of a `split` or all, with `texts`, with `negatives`."""
        need_package("pandas", "pandas frames need", "frames")
        return self.to_arrow(split, texts, negatives).to_pandas()

    def to_polars(self, split: str | None = None, texts: bool = False, negatives: bool = False) -> polars.DataFrame:
        """The same as a Polars frame: of a `split` or all, with `texts`, with `negatives`."""
        need_package("polars", "Polars frames need", "frames")
        import polars

        return polars.from_arrow(self.to_arrow(split, texts, negatives))

    def to_datasets(
        self, split: str | None = None, texts: bool = False, negatives: bool = False
    ) -> datasets.Dataset | datasets.DatasetDict:
        """The same as a `datasets.Dataset` of a `split`, or a `DatasetDict` of all, where `valid` is called `validation` as on the Hub;
        with `texts`, with `negatives`."""
        from datasets import Dataset, DatasetDict

        if split:
            return Dataset(self.to_arrow(split, texts, negatives))
        names = {"valid": "validation"}
        return DatasetDict(
            {names.get(name, name): self.to_datasets(name, texts, negatives) for name in self.split_names}
        )

    def to_tuples(self, split: str | None = None) -> list[tuple[Any, ...]] | dict[str, list[tuple[Any, ...]]]:
        """A split as tuples (head, relation, tail), with the weight as the fourth where there is one; or all, by split."""
        if split is None:
            return {name: self.to_tuples(name) for name in self.split_names}
        return list(zip(*(column.to_pylist() for column in self.to_arrow(split).columns)))

    def to_networkx(self, split: str | None = None) -> networkx.MultiDiGraph:
        """A directed graph of all entities, whose edges have the relation as key. Of equal triples there is one edge, with the
        first one's split and weight."""
        need_package("networkx", "networkx graphs need", "frames")
        import networkx

        graph = networkx.MultiDiGraph(name=self.name)
        for key, name, description in zip(self.entity_ids, self.entity_names, self.entity_descriptions):
            lists = {"type": list(self.types.get(key, ())), "aliases": list(self.aliases.get(key, ()))}
            attributes = {"name": name, "description": description, **lists}
            graph.add_node(key, **{word: text for word, text in attributes.items() if text})
        names = dict(zip(self.relation_ids, self.relation_names))
        for edge in self.to_arrow(split).to_pylist():
            head, relation, tail = (edge.pop(part) for part in ("head", "relation", "tail"))
            if not graph.has_edge(head, tail, relation):
                graph.add_edge(head, tail, relation, relation_name=names[relation], **edge)
        return graph


def _taken(texts: pa.Array, positions: np.ndarray) -> pa.ChunkedArray:
    import pyarrow as pa

    pieces = [texts.take(pa.array(positions[start : start + _CHUNK])) for start in range(0, len(positions), _CHUNK)]
    return pa.chunked_array(pieces, pa.string())

"""Writing a graph in layouts that other programs read; all of them load again with `load_graph`.

- `tsv`: ours, see `pmd.data.graphs.sources.write_graph`;
- `kg-bert`: `entity2text.txt`, `entity2textlong.txt`, `relation2text.txt`, `entities.txt`, `relations.txt`, and
  `train.tsv`, `dev.tsv`, `test.tsv` (Yao, Mao and Luo, 2019), as SimKGC's preprocessing reads them too;
- `parquet`: a file for each split with heads, relations and tails, their names and descriptions, for the Hub;
- `nt`: N-Triples, see `pmd.data.graphs.rdf.write`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.core.files import new_folder, write_folder
from pmd.data.graphs.files.tsv import write_columns
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.rdf.write import BASE, write_ntriples
from pmd.data.graphs.sources import columns_of_ids, write_graph


def convert(graph: KnowledgeGraph, layout: str, folder: Path, base: str = BASE) -> Path:
    """Write a graph as a new folder, all of it or nothing.

    Args:
        layout: `tsv`, `kg-bert`, `parquet` or `nt`.
        folder: a new or an empty one; for `nt` also a new file that ends in `.nt`.
        base: for `nt`, what ids that are no IRIs are put under.

    Raises:
        PmdError: if the folder is not empty, or the layout cannot hold all of the graph's splits or texts.
    """
    if layout == "tsv":
        return write_graph(graph, folder)
    if layout == "nt":
        return write_ntriples(graph, folder, base)
    if graph.splits:
        raise PmdError(f"to: {layout} cannot hold split '{next(iter(graph.splits))}'; use tsv")
    folder = new_folder(folder)
    write_folder(folder, lambda temporary: WRITERS[layout](graph, temporary))
    return folder


def _write_kg_bert(graph: KnowledgeGraph, folder: Path) -> None:
    write_columns(folder / "entities.txt", [graph.entity_ids])
    write_columns(folder / "relations.txt", [graph.relation_ids])
    write_columns(folder / "entity2text.txt", [graph.entity_ids, graph.entity_names])
    write_columns(folder / "entity2textlong.txt", [graph.entity_ids, graph.entity_descriptions])
    write_columns(folder / "relation2text.txt", [graph.relation_ids, graph.relation_names])
    for split, file in (("train", "train"), ("valid", "dev"), ("test", "test")):
        write_columns(folder / f"{file}.tsv", columns_of_ids(graph, graph.split(split)))


def _write_parquet(graph: KnowledgeGraph, folder: Path) -> None:
    for split, dataset in graph.to_datasets(texts=True).items():
        dataset.to_parquet(folder / f"{split}.parquet")


WRITERS: dict[str, Callable[[KnowledgeGraph, Path], None]] = {"kg-bert": _write_kg_bert, "parquet": _write_parquet}
"""By name, what writes a layout other than ours."""

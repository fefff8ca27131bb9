"""Where graphs come from: bundled names, folders, the Hugging Face Hub. All end in a `KnowledgeGraph`.

A folder in the TSV layout needs no code; a named data set is one function under `@register`. Loading writes nothing (only
`datasets` fills its own cache), and a broken input raises a PmdError of one line.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pmd.core.errors import PmdError
from pmd.core.files import new_folder, write_folder
from pmd.data.graphs.answers import distinct, triple_keys
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.hub_source import is_dataset_folder, load_dataset_graph
from pmd.data.graphs.text_folders import is_text_folder, load_text_folder
from pmd.data.graphs.tsv import (
    at,
    closest,
    find_file,
    graph_of_ids,
    index_ids,
    need_file,
    quote,
    read_columns,
    read_triples,
    refuse_header,
    write_columns,
)

_REGISTERED: dict[str, tuple[Callable[[], KnowledgeGraph], str | None]] = {}
_INDUCTIVE = ("inductive_train", "inductive_valid", "inductive_test")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_OPTIONS = ("subset", "columns", "revision", "cache_dir")


def register(
    name: str, terms: str | None = None
) -> Callable[[Callable[[], KnowledgeGraph]], Callable[[], KnowledgeGraph]]:
    """Decorator of a function that loads the graph of this name.

    `terms` says where its facts come from and under which licence, in a sentence for the cards of models.
    """

    def add(load: Callable[[], KnowledgeGraph]) -> Callable[[], KnowledgeGraph]:
        _REGISTERED[name] = load, terms
        return load

    return add


@register(
    "world",
    "Facts from the Unicode CLDR by way of Babel, under the Unicode licence (https://www.unicode.org/license.txt).",
)
def _world() -> KnowledgeGraph:
    """The bundled graph of countries and languages; its folder has counts, sources and licences."""
    return load_folder(Path(__file__).parents[1] / "world", name="world")


def registered_names() -> list[str]:
    """The names that `load_graph` knows without a folder."""
    return sorted(_REGISTERED)


def terms_of(name: str) -> str | None:
    """Where a registered graph comes from and under which licence; None for any other path."""
    return _REGISTERED[name][1] if name in _REGISTERED else None


def load_graph(path: str | os.PathLike[str], **options: Any) -> KnowledgeGraph:
    """Load a graph by registered name, folder, or Hugging Face Hub dataset name, tried in this order.

    A folder has one of three layouts: ours (`train.tsv`, `valid.tsv`, `test.tsv`, `entities.tsv`, `relations.tsv`,
    optional `inductive_train/valid/test.tsv`), KG-BERT's or SimKGC's, or files that `datasets` reads (Parquet, JSON
    lines, CSV). For a folder with a registered name, write `./name`. Duplicate triples and overlapping splits cause a
    warning.

    Args:
        options: for datasets only: subset, columns, revision, cache_dir (see `load_dataset_graph`).

    Raises:
        PmdError: for whatever cannot be used.
    """
    graph = _load(path, options)
    _warn_of_duplicates(graph)
    return graph


def _load(path: str | os.PathLike[str], options: dict[str, Any]) -> KnowledgeGraph:
    for option in options:
        if option not in _HUB_OPTIONS:
            raise PmdError(
                f"load_graph: unknown option '{option}'{closest(option, _HUB_OPTIONS)}; "
                f"there are {', '.join(_HUB_OPTIONS)}"
            )
    text, folder = os.fspath(path), Path(path).expanduser()
    if text in _REGISTERED:
        _refuse_options(text, options)
        return _REGISTERED[text][0]()
    if folder.is_dir():
        return _load_any_folder(folder, options)
    if folder.exists():
        raise PmdError(f"{folder}: is a file; give the folder that holds train.tsv, entities.tsv, relations.tsv")
    if isinstance(path, str) and _HUB_NAME.fullmatch(path):
        return load_dataset_graph(path, path, **options)
    raise PmdError(
        f"{quote(text, 200)} is neither a folder, nor a registered graph ({', '.join(registered_names())}), "
        f"nor a Hub name (user/name){closest(text, _REGISTERED)}"
    )


def _load_any_folder(folder: Path, options: dict[str, Any]) -> KnowledgeGraph:
    name = folder.resolve().name
    if not find_file(folder, "entities.tsv"):
        if is_text_folder(folder):
            _refuse_options(str(folder), options)
            return load_text_folder(folder, name)
        if not find_file(folder, "train.tsv") and is_dataset_folder(folder):
            return load_dataset_graph(str(folder), name, **options)
    _refuse_options(str(folder), options)
    return load_folder(folder, name)


def _refuse_options(source: str, options: dict[str, Any]) -> None:
    if options:
        raise PmdError(f"{source}: {', '.join(options)} apply to Hub datasets only; leave them out")


def load_folder(folder: Path, name: str) -> KnowledgeGraph:
    """Read a folder in the TSV layout; each file may be gzipped, none has a header. PmdError if one cannot be used."""
    paths = {split: need_file(folder, f"{split}.tsv") for split in ("train", "valid", "test")}
    paths |= {split: path for split in _INDUCTIVE if (path := find_file(folder, f"{split}.tsv"))}
    if len(paths) > 3:
        need_file(folder, "inductive_train.tsv")  # the only triples that a model may see of the inductive graph
    if not any(find_file(folder, file) for file in ("entities.tsv", "relations.tsv")):
        return _without_texts(name, paths)
    path = need_file(folder, "entities.tsv")
    entity_ids, names, descriptions = read_columns(path, ("id", "name", "description"))
    refuse_header(path, entity_ids, names)
    index_ids(path, "entity", entity_ids)
    for index, texts in enumerate(zip(names, descriptions)):
        if not any(texts):
            key = quote(entity_ids[index])
            raise PmdError(f"{at(path, index)}: entity {key} has neither name nor description; write one")
    path = need_file(folder, "relations.tsv")
    relation_ids, relation_names = read_columns(path, ("id", "name"))
    refuse_header(path, relation_ids, relation_names)
    index_ids(path, "relation", relation_ids)
    entity_names = [text or key for text, key in zip(names, entity_ids)]
    relation_names = [text or key for text, key in zip(relation_names, relation_ids)]
    return graph_of_ids(name, entity_ids, entity_names, descriptions, relation_ids, relation_names, paths)


def _without_texts(name: str, paths: dict[str, Path]) -> KnowledgeGraph:
    """A graph of triples alone, enough for an embedding model: ids are sorted, and serve as names."""
    columns = {split: read_triples(path) for split, path in paths.items()}
    entity_ids = sorted({key for heads, _, tails in columns.values() for key in (*heads, *tails)})
    relation_ids = sorted({key for _, relations, _ in columns.values() for key in relations})
    warnings.warn(f"graph '{name}' has no entities.tsv and relations.tsv: ids serve as names", stacklevel=5)
    descriptions = [""] * len(entity_ids)
    return graph_of_ids(name, entity_ids, entity_ids, descriptions, relation_ids, relation_ids, paths, columns)


def write_graph(graph: KnowledgeGraph, folder: str | os.PathLike[str]) -> Path:
    """Write a graph in the TSV layout, all of it or nothing; loaded again it has the same checksum.

    Raises:
        PmdError: if the folder exists and is not empty, a text contains a tab or a line break, or a split is empty or has a
            name that the layout does not know.
    """
    for split in graph.split_names:
        if split not in ("train", "valid", "test", *_INDUCTIVE):
            raise PmdError(
                f"split '{split}' has no file in the TSV layout; drop it, or call it {', '.join(_INDUCTIVE)}"
            )
        if not len(graph.split(split)):
            raise PmdError(f"split '{split}' of graph '{graph.name}' is empty; such a folder could not be loaded")
    folder = new_folder(folder)
    write_folder(folder, lambda temporary: _write_files(graph, temporary))
    return folder


def write_vocabulary(folder: Path, graph: Any) -> None:
    """Write entities.tsv and relations.tsv of a graph, or of anything with its ids, names and descriptions."""
    write_columns(folder / "entities.tsv", (graph.entity_ids, graph.entity_names, graph.entity_descriptions))
    write_columns(folder / "relations.tsv", (graph.relation_ids, graph.relation_names))


def _write_files(graph: KnowledgeGraph, folder: Path) -> None:
    write_vocabulary(folder, graph)
    vocabularies = (graph.entity_ids, graph.relation_ids, graph.entity_ids)
    for split in graph.split_names:
        parts = zip(graph.split(split).T.tolist(), vocabularies)
        write_columns(folder / f"{split}.tsv", [[ids[position] for position in column] for column, ids in parts])


def _warn_of_duplicates(graph: KnowledgeGraph) -> None:
    """One warning with the counts: such data loads, but a test triple that is in train measures nothing."""
    warned = []
    train = _distinct_keys(graph, "train")
    for split in graph.split_names:
        keys = train if split == "train" else _distinct_keys(graph, split)
        if len(keys) < len(graph.split(split)):
            warned.append(f"duplicate triples in {split}: {len(graph.split(split)) - len(keys)}")
        if split in ("valid", "test") and (shared := int(np.isin(keys, train, assume_unique=True).sum())):
            warned.append(f"triples of {split} that are in train as well: {shared}")
    if warned:
        warnings.warn(f"graph '{graph.name}': {'; '.join(warned)}", stacklevel=3)


def _distinct_keys(graph: KnowledgeGraph, split: str) -> np.ndarray:
    return distinct(triple_keys(graph.split(split), graph.num_entities, graph.num_relations).numpy())

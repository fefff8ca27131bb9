"""Where graphs come from: bundled names, folders, the Hugging Face Hub. All end in a `KnowledgeGraph`.

A folder in the TSV layout needs no code; a named data set is one function under `@register`. Loading writes nothing (only
`datasets` fills its own cache), and a broken input raises a PmdError of one line.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pmd.core.errors import GraphWarning, PmdError, refuse_unknown, warn
from pmd.core.files import new_folder, write_folder
from pmd.data.graphs.answers import distinct, triple_keys
from pmd.data.graphs.files.folders import load_file, load_folder, split_files
from pmd.data.graphs.files.hub_source import is_dataset_folder, load_dataset_graph
from pmd.data.graphs.files.tables import ENDINGS, stem_of
from pmd.data.graphs.files.triples import Options
from pmd.data.graphs.files.tsv import closest, quote, write_columns
from pmd.data.graphs.graph import KnowledgeGraph, relation_texts
from pmd.data.graphs.rdf.read import is_rdf_file, load_rdf_graph, rdf_files, rdf_stem

_REGISTERED: dict[str, tuple[Callable[[], KnowledgeGraph], str | None]] = {}
INDUCTIVE = ("inductive_train", "inductive_valid", "inductive_test")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_OPTIONS = ("subset", "revision", "cache_dir")
READER_OPTIONS = [option.name for option in dataclasses.fields(Options)]
_OPTIONS = [*_HUB_OPTIONS, *READER_OPTIONS]


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

    A folder, or one file of triples, has any of the layouts in docs/graphs.md; one file is split. For a folder with a
    registered name, write `./name`. What the reader understood is in the graph's `notes`; these, duplicate triples and
    overlapping splits cause a warning.

    Args:
        path: the name, folder, file or Hub id.
        options: columns, drop, weight, language and shares (see `Options`); for Hub datasets also subset, revision and cache_dir
            (see `load_dataset_graph`).

    Returns:
        The graph, with its splits.

    Raises:
        PmdError: for whatever cannot be used.

    Example:
        >>> graph = pmd.load_graph("world")
        >>> graph.sizes
        '1,887 entities, 15 relations, 3,793 / 192 / 485 triples'
    """
    graph = read_graph(path, **options)
    warn_of_remarks(graph)
    return graph


def read_graph(path: str | os.PathLike[str], **options: Any) -> KnowledgeGraph:
    """As `load_graph`, without a warning: for graphs that a model was trained on, of which it was said then."""
    refuse_unknown("load_graph", options, _OPTIONS)
    return _load(path, options)


def warn_of_remarks(graph: KnowledgeGraph) -> None:
    """Says what the reader understood, and which triples are there several times; of several processes, one does."""
    if os.environ.get("RANK", "0") == "0" and (remarks := remarks_on(graph)):
        warn(f"graph '{graph.name}': {'; '.join(remarks)}", GraphWarning)


def remarks_on(graph: KnowledgeGraph) -> list[str]:
    """What the reader understood, and what may be wrong with the graph."""
    return [*graph.notes, *_duplicates(graph), *_same_relations(graph)]


def _load(path: str | os.PathLike[str], options: dict[str, Any]) -> KnowledgeGraph:
    text, source = os.fspath(path), Path(path).expanduser()
    if text in _REGISTERED:
        _refuse_options(text, {name: value for name, value in options.items() if name != "shares"})
        return _REGISTERED[text][0]()
    reading = Options(**{name: value for name, value in options.items() if name not in _HUB_OPTIONS})
    hub = {name: options[name] for name in _HUB_OPTIONS if name in options}
    if source.is_dir():
        name = source.resolve().name
        if "train" not in split_files(source) and rdf_files(source):
            _refuse_options(text, hub)
            return load_rdf_graph(source, name, reading)
        if "train" not in split_files(source) and is_dataset_folder(source):
            return load_dataset_graph(str(source), name, reading, **hub)
        _refuse_options(text, hub)
        return load_folder(source, name, reading)
    if source.exists():
        _refuse_options(text, hub)
        if is_rdf_file(source):
            return load_rdf_graph(source, rdf_stem(source) or "", reading)
        if stem_of(source) is None:
            raise PmdError(
                f"{source}: no file of triples by its ending; there are {', '.join(ENDINGS)} and those of RDF, plain or packed"
            )
        return load_file(source, stem_of(source) or "", reading)
    nearest = closest(text, [*_REGISTERED, *_neighbours(text)])
    if isinstance(path, str) and _HUB_NAME.fullmatch(path):
        try:
            return load_dataset_graph(path, path, reading, **hub)
        except PmdError as error:
            raise PmdError(f"{error}{nearest}") from error
    raise PmdError(
        f"{quote(text, 200)} is neither a folder or file, nor a registered graph ({', '.join(registered_names())}), "
        f"nor a Hub name (user/name){nearest}"
    )


def _neighbours(path: str) -> list[str]:
    """The folders and files that may hold triples and lie where a path would, as one would write them."""
    parent = os.path.dirname(path.rstrip("/"))
    folder = Path(parent or ".").expanduser()
    if not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
        return []
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return [os.path.join(parent, e.name) for e in entries if stem_of(e) or rdf_stem(e) or e.is_dir()]


def _refuse_options(source: str, options: dict[str, Any]) -> None:
    if options:
        raise PmdError(
            f"{source}: {', '.join(options)} {'do' if len(options) > 1 else 'does'} not apply to it; leave it out"
        )


def write_graph(graph: KnowledgeGraph, folder: str | os.PathLike[str]) -> Path:
    """Write a graph in the TSV layout, all of it or nothing; loaded again it has the same checksum.

    Further names, types and false triples go into files of their own; weights are a fourth column, which
    `load_graph(folder, weight="4")` reads.

    Raises:
        PmdError: if the folder exists and is not empty, a text contains a tab or a line break, an entity has neither name nor
            description, or a split is empty or has a name that the layout does not know.
    """
    for split in graph.split_names:
        if split not in ("train", "valid", "test", *INDUCTIVE):
            raise PmdError(f"split '{split}' has no file in the TSV layout; drop it, or call it {', '.join(INDUCTIVE)}")
        if not len(graph.split(split)):
            raise PmdError(f"split '{split}' of graph '{graph.name}' is empty; such a folder could not be loaded")
    texts = zip(graph.entity_ids, graph.entity_names, graph.entity_descriptions)
    if (bare := next((key for key, name, text in texts if not (name or text)), None)) is not None:
        raise PmdError(f"entity {quote(bare)} of graph '{graph.name}' has neither name nor description; give it one")
    folder = new_folder(folder)
    write_folder(folder, lambda temporary: _write_files(graph, temporary))
    return folder


def write_vocabulary(folder: Path, graph: Any) -> None:
    """Write entities.tsv and relations.tsv of a graph, or of anything with its ids, names and descriptions."""
    write_columns(folder / "entities.tsv", (graph.entity_ids, graph.entity_names, graph.entity_descriptions))
    write_columns(folder / "relations.tsv", (graph.relation_ids, graph.relation_names))


def _write_files(graph: KnowledgeGraph, folder: Path) -> None:
    write_vocabulary(folder, graph)
    for split in graph.split_names:
        columns = columns_of_ids(graph, graph.split(split))
        if split in graph.weights:
            columns.append([f"{weight:.9g}" for weight in graph.weights[split].tolist()])
        write_columns(folder / f"{split}.tsv", columns)
    for split, triples in graph.negatives.items():
        write_columns(folder / f"{split}_negatives.tsv", columns_of_ids(graph, triples))
    for file, texts in (("aliases.tsv", graph.aliases), ("types.tsv", graph.types)):
        if rows := [(key, text) for key, values in texts.items() for text in values]:
            write_columns(folder / file, list(zip(*rows)))


def columns_of_ids(graph: KnowledgeGraph, triples: Tensor) -> list[list[str]]:
    """The columns of triples (n, 3) as ids."""
    parts = zip(triples.T.tolist(), (graph.entity_ids, graph.relation_ids, graph.entity_ids))
    return [[ids[position] for position in column] for column, ids in parts]


def _duplicates(graph: KnowledgeGraph) -> list[str]:
    """Counts to warn of: such data loads, but a test triple that is in train measures nothing."""
    warned = []
    train = _distinct_keys(graph, "train")
    for split in graph.split_names:
        keys = train if split == "train" else _distinct_keys(graph, split)
        if len(keys) < len(graph.split(split)):
            warned.append(f"duplicate triples in {split}: {len(graph.split(split)) - len(keys)}")
        if split in ("valid", "test") and (shared := _number_in(keys, train)):
            warned.append(f"triples of {split} that are in train as well: {shared}")
    return warned


def _number_in(keys: np.ndarray, known: np.ndarray) -> int:
    """How many keys are among others, which ascend."""
    places = np.searchsorted(known, keys)
    return int((known[places.clip(max=len(known) - 1)] == keys).sum()) if len(known) else 0


def _same_relations(graph: KnowledgeGraph) -> Iterator[str]:
    """Relations that have the same text, for a question about the head or the tail, as another one."""
    first: dict[str, int] = {}
    for number, text in enumerate(relation_texts(graph.relation_names)):
        if (other := first.setdefault(text, number)) != number and number < graph.num_relations:
            ids = map(quote, (graph.relation_ids[other], graph.relation_ids[number]))
            yield f"the relations {' and '.join(ids)} have the same name: text models cannot tell them apart"
        elif other != number and other < graph.num_relations:
            ids = (graph.relation_ids[other], graph.relation_ids[number - graph.num_relations])
            yield (
                f"the relation {quote(ids[0])} has the text that text models ask for heads of {quote(ids[1])} with: "
                f"they cannot tell the two apart"
            )


def _distinct_keys(graph: KnowledgeGraph, split: str) -> np.ndarray:
    return distinct(triple_keys(graph.split(split), graph.num_entities, graph.num_relations).numpy())

"""Writing the index of a model's folder (`pmd.use.index`): once for a model and graph, or cropped along with the model.

The folder is filled beside its place and then moved there; index.json is written last.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.files import READ_ONLY, write_folder, write_json
from pmd.core.manifest import MANIFEST, write_manifest
from pmd.core.types import KNOWN_COLUMN, TARGETS, Target
from pmd.data.graphs.answers import triple_keys
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.mapped import MappedColumns, write_columns
from pmd.data.texts.strings import Strings
from pmd.models.families import ranking_family, stored_settings
from pmd.settings.catalogue import FAMILIES, Family
from pmd.trust.calibration import learn_calibration
from pmd.trust.type_learning import chosen, learn_types, types_of_graph, with_setting
from pmd.trust.validation import ValidationScores
from pmd.trust.verdicts import learn as learn_verdicts
from pmd.use.answer_records import Question
from pmd.use.answers import TrainedModel
from pmd.use.index import (
    COLUMNS,
    COMPLETED,
    FORMAT,
    INDEX_JSON,
    LEARNED,
    LEARNING,
    Columns,
    FileStats,
    Index,
    file_stats,
    files_checksum,
    index_folders,
    model_files,
    ragged_columns,
)
from pmd.use.names import folded_order


def build_index(
    model: Path,
    graph: KnowledgeGraph,
    stats: FileStats,
    *,
    family: Family,
    cache: str | None = None,
    earlier: Index | None = None,
    keep_learned: bool = False,
) -> Index:
    """Write `index/` into a model's folder and open it.

    Args:
        graph: names and triples; for an embedding model, the graph that it was trained on.
        stats: of the files that the graph was read from.
        family: of the model, whose part of the index it writes.
        cache: folder for tokenised texts.
        earlier: an index of an earlier state of the graph, of the same text encoders: vectors of texts that it has are taken
            from there.
        keep_learned: take from it what was learned on validation, too.

    Raises:
        PmdError: if an embedding model was trained on another graph, and if the earlier index has learned nothing of these relations.
    """
    if keep_learned:
        _check_learned(earlier, graph)
    metadata: dict[str, Any] = {"format": FORMAT, "graph": graph.checksum(), "graph_name": graph.name}
    metadata |= {"graph_files": stats, "splits": graph.split_names, **_model_metadata(model)}
    metadata |= {"num_entities": graph.num_entities, "num_relations": graph.num_relations, "kind": family.name}
    metadata["inductive"] = graph.candidates("train") is not None
    if graph.types:
        metadata["graph_without_types"] = graph.checksum(types=False)

    def fill(folder: Path) -> None:
        more, own = family.load_use().write_part(folder, model, graph, cache, earlier)
        _write(folder, _name_columns(graph) | _triple_columns(graph) | _subgraphs(graph) | own, metadata | more)
        del own  # they are read from the file from now on
        if keep_learned:
            _take_learned(Index(folder, model), earlier, graph)
        else:
            _add_types(Index(folder, model), model, graph)
            _add_learned(Index(folder, model), model)

    return Index(write_index(model, fill), model)


def _check_learned(earlier: Index, graph: KnowledgeGraph) -> None:
    """PmdError if what an index has learned is not of the relations of a graph, in their order, or of the kinds of today."""
    if [*earlier.relations.ids] != [*graph.relation_ids]:
        raise PmdError(
            "keep_learned: the graph has other relations now, or in another order; leave it out, to learn of them"
        )
    missing = [key for key in (*COMPLETED, *LEARNED) if key not in earlier.metadata]
    if missing:
        raise PmdError(f"keep_learned: {earlier.folder} has learned nothing of {' and '.join(missing)}; leave it out")


def _take_learned(index: Index, earlier: Index, graph: KnowledgeGraph) -> None:
    """Take what an earlier index has learned on validation; which entities stand where, and fit there, is of the graph as it is now."""
    types = with_setting(types_of_graph(graph), graph, earlier.metadata["types"])
    learned = {name: column for name, column in MappedColumns(earlier.folder / COLUMNS).items() if _is_learned(name)}
    columns = {**MappedColumns(index.folder / COLUMNS), **types.columns(), **learned}
    kept = {key: earlier.metadata[key] for key in (*LEARNED, "learning") if key in earlier.metadata}
    _write(index.folder, columns, index.metadata | kept | {"types": dict(types.facts)})


def complete_index(index: Index, model: Path, graph: KnowledgeGraph) -> Index:
    """Add what an older index lacks of what is learned of a model. PmdError if no folder for it can be written."""

    def fill(folder: Path) -> None:
        for file in index.folder.iterdir():
            shutil.copyfile(file, folder / file.name)
        _add_types(Index(folder, model), model, graph)
        _add_learned(Index(folder, model), model)

    return Index(write_index(model, fill), model)


def _add_types(index: Index, model: Path, graph: KnowledgeGraph) -> None:
    """Learn what fits which questions, and how much that counts for the answers of a model. What was learned of answers in
    another order is left out."""
    types = learn_types(graph, ValidationScores(AsScorer(_answering(index, model)), graph))
    columns = {name: column for name, column in MappedColumns(index.folder / COLUMNS).items() if not _is_learned(name)}
    metadata = {key: value for key, value in index.metadata.items() if key not in LEARNED}
    _write(index.folder, columns | types.columns(), metadata | {"types": dict(types.facts), "learning": LEARNING})


def _choose_again(index: Index, model: Path) -> None:
    """Choose how much types count for the answers of another model than that of the index."""
    answering, graph = _answering(index, model), IndexedGraph(index)
    if answering.types is not None:
        types = chosen(answering.types, graph, ValidationScores(AsScorer(answering), graph))
        columns = {**MappedColumns(index.folder / COLUMNS), **types.columns()}
        _write(index.folder, columns, index.metadata | {"types": dict(types.facts)})


def _answering(index: Index, model: Path) -> TrainedModel:
    """The model of a folder, by an index that is not there yet."""
    settings = stored_settings(model)
    return ranking_family(settings, model).load_use().open_model(model, settings, lambda: index)


class IndexedGraph:
    """The graph of an index, for `pmd.trust.validation`."""

    def __init__(self, index: Index):
        self.index, self.num_entities, self.num_relations = index, index.num_entities, index.num_relations
        self.train, self.valid = (torch.from_numpy(index.triples(name)) for name in ("train", "valid"))

    def known_triples(self, split: str) -> Tensor:
        """All triples (n, 3) of the graph of training."""
        names = [name for name in self.index.metadata["splits"] if not name.startswith("inductive_")]
        return torch.from_numpy(self.index.triples(*names))

    def candidates(self, split: str) -> Tensor | None:
        """Its entities, where there is another graph."""
        subgraphs = self.index.subgraphs
        return None if subgraphs is None else torch.from_numpy(np.flatnonzero(subgraphs == 1))


class AsScorer:
    """A model that answers, as a scorer of its own graph."""

    def __init__(self, model: TrainedModel):
        self.model = model

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        known = triples[:, [KNOWN_COLUMN[target], 1]].tolist()
        return torch.from_numpy(self.model.scores([Question(target, relation, entity) for entity, relation in known]))


def crop_index(index: Index, model: Path, width: int | None) -> None:
    """Write an index into the folder of a model that is the first `width` dimensions of the index's own."""

    def fill(folder: Path) -> None:
        family = FAMILIES[index.metadata["kind"]]
        more, own = family.load_use().crop_part(index, folder, model, width)
        metadata = {key: value for key, value in index.metadata.items() if key not in LEARNED}
        columns = {
            name: column for name, column in MappedColumns(index.folder / COLUMNS).items() if not _is_learned(name)
        }
        _write(folder, columns | own, metadata | _model_metadata(model) | more | {"learning": LEARNING})
        _choose_again(Index(folder, model), model)
        _add_learned(Index(folder, model), model)

    write_index(model, fill)


def _add_learned(index: Index, model: Path) -> None:
    """Learn of a model, by the scores of its answers, what its index says beside them."""
    answering = _answering(index, model)
    facts, columns = learn_calibration(answering)
    judge = learn_verdicts(answering)
    learned = {"odds": facts, "judge": judge and judge.stored}
    _write(index.folder, {**MappedColumns(index.folder / COLUMNS), **columns}, index.metadata | learned)


def _is_learned(column: str) -> bool:
    return column.partition("_")[0] in LEARNED


def _write(folder: Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    """Write columns and metadata, which comes last. An index that is open goes on reading the columns that it had."""
    (folder / MANIFEST).unlink(missing_ok=True)
    new = folder / f"new-{COLUMNS}"
    write_columns(new, columns)
    new.replace(folder / COLUMNS)
    write_json(folder / INDEX_JSON, metadata)


def write_index(model: Path, fill: Callable[[Path], None]) -> Path:
    """Let `fill` write the index of a model's folder, into the cache if the folder is read-only; where it is. PmdError if
    both are."""
    own, cached = index_folders(model)

    def fill_and_note(folder: Path) -> None:
        fill(folder)
        write_manifest(folder, without=(INDEX_JSON,))

    for folder in (own, cached):
        try:
            write_folder(folder, fill_and_note)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            continue
        if folder == own:
            shutil.rmtree(cached, ignore_errors=True)  # of a time when the folder was read-only
        return folder
    raise PmdError(
        f"{own}: cannot be written, nor can the cache {cached.parent}; set PMD_CACHE to a folder that can be"
    )


def _model_metadata(folder: Path) -> dict[str, Any]:
    files = model_files(folder)
    stats = file_stats(folder, files)  # before reading: a file that changes meanwhile will be compared again
    return {"model": files_checksum(files), "model_files": stats}


def _name_columns(graph: KnowledgeGraph) -> Columns:
    """Ids, names and descriptions as bytes, and the orders by which ids and names are looked up."""
    texts = {"entity_ids": graph.entity_ids, "entity_names": graph.entity_names}
    texts |= {"entity_descriptions": graph.entity_descriptions}
    texts |= {"relation_ids": graph.relation_ids, "relation_names": graph.relation_names}
    columns: Columns = {}
    for name, values in texts.items():
        columns |= ragged_columns(name, Strings.of(values).rows)
        if name != "entity_descriptions":
            columns[name.replace("_", "_by_").removesuffix("s")] = folded_order(values)
    return columns


def _triple_columns(graph: KnowledgeGraph) -> Columns:
    """For each target, the sorted keys (u,) of the distinct triples of all splits, and bit i where split i has one."""
    columns: Columns = {}
    splits = [graph.split(name) for name in graph.split_names]
    bits = np.repeat(1 << np.arange(len(splits)), [len(split) for split in splits])
    for target in TARGETS:
        keys = triple_keys(torch.cat(splits), graph.num_entities, graph.num_relations, target).numpy()
        columns[f"{target}_keys"], positions = np.unique(keys, return_inverse=True)
        columns[f"{target}_splits"] = np.zeros(len(columns[f"{target}_keys"]), dtype=np.int64)
        np.bitwise_or.at(columns[f"{target}_splits"], positions, bits)
    if "valid" in graph.negatives:
        columns["valid_negatives"] = graph.negatives["valid"].to(torch.int64).numpy()
    return columns


def _subgraphs(graph: KnowledgeGraph) -> Columns:
    """The column behind `Index.subgraphs` (num_entities,) of an inductive data set."""
    if graph.candidates("train") is None:
        return {}
    subgraphs = np.zeros(graph.num_entities, dtype=np.int64)
    for number, split in ((1, "train"), (2, "inductive_train")):
        subgraphs[graph.candidates(split).numpy()] = number
    return {"parts": subgraphs}

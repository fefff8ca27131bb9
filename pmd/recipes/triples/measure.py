"""How well a model predicts relations and judges triples, on a split: `pmd evaluate --tasks relations,triples`.

Relations of true triples are ranked among all relations, filtered. Triples are judged beside as many false ones: the data set's
own, else hard negatives (`pmd.trust.hard_negatives`). Thresholds and measures are those that validation chose, so a test split is
looked at once. What comes out is noted in the run's results.json, in the keys `relations` and `triples` of the stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.evaluation.classification import classification_metrics
from pmd.evaluation.metrics import RankSummary
from pmd.evaluation.tables import Table, ranking_cells, table_of
from pmd.models.families import ranking_family, stored_settings
from pmd.recipes.ranking import refuse_unseen
from pmd.settings.shared import EvaluateConfig
from pmd.trust.hard_negatives import hard_negatives
from pmd.trust.relations import relation_ranks, relation_sides
from pmd.trust.reliability import reliability
from pmd.trust.sides import measured
from pmd.trust.verdicts import sampled
from pmd.use.load import known_graph, load, loaded

if TYPE_CHECKING:
    from pmd.data.graphs.graph import KnowledgeGraph
    from pmd.use.answers import TrainedModel

CAPTIONS = {
    "relations": "Relations of true triples, ranked among all relations, filtered",
    "triples": "True triples told from false ones, by thresholds of validation",
}
PAIRS_PER_BLOCK = 256
"""Pairs of entities whose relations are ranked together."""
SEED = 1
"""Of what is drawn here; validation draws by another."""


def task_table(config: EvaluateConfig, task: str) -> Table:
    """A row for each model and split, which is noted in the model's run. PmdError for a model that has learned nothing of a
    split, and for a graph without validation triples."""
    first = Path(config.models[0])
    graph = loaded(config.data or known_graph(first), None if config.data else first)
    rows = []
    for folder in map(Path, config.models):
        if not ranking_family(stored_settings(folder), folder).reads:
            refuse_unseen(graph, config.evaluation.splits)
        model = load(folder, graph)
        if model.judge is None:
            raise PmdError(f"--tasks {task}: graph '{graph.name}' has no validation triples to choose by; leave it out")
        for split in config.evaluation.splits:
            metrics = (relation_metrics if task == "relations" else triple_metrics)(
                model, graph, split, config.max_triples
            )
            note(folder, task, split, metrics)
            rows.append({"model": "/".join(folder.parts[-2:]), "split": split, **task_cells(metrics)})
    return table_of(rows, CAPTIONS[task], left=("model", "split"))


def relation_metrics(model: TrainedModel, graph: KnowledgeGraph, split: str, max_triples: int = 0) -> dict[str, Any]:
    """The metrics of the ranks of relations: among all of them from head to tail, and as `either_direction_mrr` among those from
    tail to head as well, which is what `pmd answer` ranks."""
    index, judge, ranks = model.index, model.judge, {1: [], 2: []}
    triples = drawn(graph.split(split), max_triples)
    for start in range(0, len(triples), PAIRS_PER_BLOCK):
        block = triples[start : start + PAIRS_PER_BLOCK]
        pairs = block[:, [0, 2]]
        forward, backward = (relation_sides(model, ends, judge.inverse_temperature) for ends in (pairs, pairs[:, ::-1]))
        shape = len(block), index.num_relations
        values = [measured(sides, judge.relations).reshape(shape) for _, sides in (forward, backward)]
        known = [(index.splits_of(tried) > 0).reshape(shape) for tried, _ in (forward, backward)]
        for directions in ranks:
            columns = (np.concatenate(parts[:directions], 1) for parts in (values, known))
            ranks[directions].append(relation_ranks(next(columns), block[:, 1], next(columns)))
    forward, either = (torch.from_numpy(np.concatenate(parts)) for parts in ranks.values())
    mrr = RankSummary.values(either)["mrr"]
    return {**RankSummary.values(forward), "either_direction_mrr": mrr, "measure": judge.relations}


def triple_metrics(model: TrainedModel, graph: KnowledgeGraph, split: str, max_triples: int = 0) -> dict[str, Any]:
    """The metrics of verdicts on the triples of a split beside false ones."""
    index, judge = model.index, model.judge
    true, labelled = drawn(graph.split(split), max_triples), graph.negatives.get(split)
    if labelled is None:
        seen = graph.visible_triples(split).numpy()
        false = hard_negatives(true, seen, index.num_relations, lambda tried: index.splits_of(tried) > 0, SEED)
    else:
        false = drawn(labelled, max_triples)
    triples = np.concatenate([true, false])
    values, labels = judge.values(judge.sides(model, triples)), np.arange(len(triples)) < len(true)
    margins = values - judge.thresholds_of(triples[:, 1])
    metrics = classification_metrics(labels, margins >= 0, margins)
    ece = reliability(judge.confidences(values, triples[:, 1]), labels)["ece"]
    return {
        **metrics,
        "confidence_ece": ece,
        "negatives": "hard" if labelled is None else "labelled",
        "measure": judge.triples,
    }


def drawn(triples: Tensor, count: int) -> np.ndarray:
    """The distinct triples (n, 3); at most `count` of them, if that is not 0."""
    distinct = np.unique(triples.numpy(), axis=0)
    return sampled(distinct, count or len(distinct), SEED)


def note(folder: Path, task: str, split: str, metrics: Mapping[str, Any]) -> None:
    """Note metrics in the results of the run that a stage's folder is in, if it is in one."""
    run = Run(folder.resolve().parent)
    stage = run.stored.get(folder.resolve().name)
    if stage is not None:
        run.add_result(folder.resolve().name, {**stage, task: {**stage.get(task, {}), split: {**metrics}}})


def task_cells(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The metrics of relations or of triples by column."""
    if "accuracy" in metrics:
        keys = {"accuracy": "accuracy", "F1": "f1", "AUC": "auc", "ECE": "confidence_ece"}
        # Earlier versions have not noted all of them.
        numbers = {title: f"{metrics[key]:.3f}" if key in metrics else "" for title, key in keys.items()}
        counts = {kind: f"{metrics[kind]:,}" for kind in ("true", "false")}
        return {**numbers, **counts, "negatives": metrics["negatives"], "by": metrics["measure"]}
    either = {"MRR, either direction": f"{metrics['either_direction_mrr']:.3f}"}
    return {**ranking_cells(metrics), **either, "triples": f"{metrics['num_queries']:,}", "by": metrics["measure"]}

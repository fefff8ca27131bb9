"""How the models of a graph are ranked as the settings say, and the ranks that a run keeps.

RUN/ranks/STAGE.safetensors holds the realistic ranks of the ranked splits by `SPLIT/WIDTH`, those of the head queries before those
of the tail queries, so that what is counted or compared later is not ranked again. Older runs hold those of the first split
alone, by `WIDTH`, and those of text models nothing. It can be made anew from the model at any time (`pmd evaluate
--keep_ranks true`).
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pmd.core.bars import shows_bars
from pmd.core.errors import PmdError, warn
from pmd.core.files import write_bytes
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.core.types import TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.negatives import KvsAll
from pmd.data.graphs.sources import load_graph
from pmd.evaluation.metrics import RankingMetrics, Ranks
from pmd.evaluation.ranking import rank, ranks
from pmd.evaluation.rerank import NeighbourRerank
from pmd.evaluation.width_ranking import Croppable, rank_widths, ranks_widths
from pmd.recipes.stages import FamilyRun
from pmd.settings.shared import EvaluationConfig
from pmd.trust.typed_ranking import AfterTypes

SHOWN = 5
"""How many relations or entities a warning lists."""


class RankingRun(FamilyRun):
    """Stages whose models complete the triples of a graph, which is the run's `data`."""

    data: KnowledgeGraph

    @property
    def run_name(self) -> str:
        return self.data.name

    @property
    def older_checksum(self) -> str:
        return self.data.checksum(types=False)

    @property
    def graph_line(self) -> str:
        """The graph's name and sizes, for the banner."""
        graph = self.data
        triples = " / ".join(f"{len(split):,}" for split in (graph.train, graph.valid, graph.test))
        return f"{graph.name}: {graph.num_entities:,} entities, {graph.num_relations} relations, {triples} triples"

    def validate(self, scorer: TripleScorer, widths: Sequence[int] | None) -> dict[str, float]:
        """The MRR on the validation triples, for several widths their mean and each."""
        graph, triples = self.data, self.config.train.valid_triples
        config = replace(self.config.evaluation, types="off")  # their weight is chosen by this very split
        if not widths or len(widths) == 1:
            return {"valid": measure(scorer, graph, config, "valid", triples=triples).mrr}
        by_width = measure_widths(scorer, graph, config, "valid", triples=triples)
        values = {f"valid_{width}": metrics.mrr for width, metrics in by_width.items()}
        return {"valid": statistics.fmean(values.values()), **values}

    def described(self, examples: Any, positions: Sequence[int]) -> list[str]:
        graph = self.data
        ids = (graph.entity_ids, graph.relation_ids, graph.entity_ids)
        if isinstance(examples, KvsAll):
            triples, missing = torch.cat([examples.queries["head"], examples.queries["tail"]]), (0, 2)
            hidden = [missing[position >= len(examples.queries["head"])] for position in positions]
        else:  # perhaps in both directions, one after the other
            triples, hidden = graph.train, [None] * len(positions)
        rows = triples[[position % len(triples) for position in positions]].tolist()
        parts = (
            ["?" if column == gap else ids[column][number] for column, number in enumerate(row)]
            for row, gap in zip(rows, hidden)
        )
        return [f"({', '.join(row)})" for row in parts]

    def summary(self, result: StageResult) -> str:
        split = self.config.evaluation.splits[0]
        metrics = result.metrics[split]
        return f"{split} MRR {metrics['mrr']:.3f}, Hits@10 {metrics['hits_at_10']:.3f}"


def load_data(config: Any) -> KnowledgeGraph:
    """The graph of the settings of a run. PmdError if it lacks a split to rank, or training triples that weigh something,
    and if it has a single entity to train on."""
    graph = load_graph(config.data.path, **config.data.options)
    entities = graph.candidates("train")
    if (graph.num_entities if entities is None else len(entities)) < 2:
        raise PmdError(f"graph '{graph.name}' has a single entity, and no other to tell it from; add triples of others")
    if config.data.weight and not graph.weights.get("train", torch.zeros(1)).any():
        raise PmdError(f"data.weight: '{config.data.weight}' gives no training triple a weight; choose another column")
    for split in config.evaluation.splits:
        warn_of_untrained(graph, split)
    return graph


def warn_of_untrained(graph: KnowledgeGraph, split: str, *, entities: bool = False) -> None:
    """Say in a line which relations of a split, or which `entities`, no training triple has."""
    columns, ids, kind = ([0, 2], graph.entity_ids, "entities") if entities else ([1], graph.relation_ids, "relations")
    trained, ranked = graph.train[:, columns].unique(), graph.split(split)[:, columns].unique()
    unseen = [ids[position] for position in ranked[~torch.isin(ranked, trained)].tolist()]
    if unseen:
        listed = ", ".join(unseen[:SHOWN]) + f" and {len(unseen) - SHOWN} more" * (len(unseen) > SHOWN)
        warn(
            f"graph '{graph.name}': {kind} of {split} that are in no training triple, so nothing is learned of them: "
            f"{listed}; put triples of them into train, or take them out of {split}",
        )


def refuse_unseen(graph: KnowledgeGraph, splits: Sequence[str]) -> None:
    """Refuse to rank splits of the other graph of an inductive data set: their entities were never trained."""
    seen = graph.candidates("train")
    for split in splits:
        if seen is not None and not torch.isin(graph.split(split)[:, [0, 2]], seen).all():
            raise PmdError(
                f"evaluation.split: an embedding model has learned nothing of the entities of '{split}'; "
                "use a text model (`pmd progressive`)"
            )


def measure(
    scorer: TripleScorer, graph: KnowledgeGraph, config: EvaluationConfig, split: str, *, triples: int = 0
) -> RankingMetrics:
    """Rank a split as the settings say; `triples` > 0 takes a fixed sample of so many."""
    if not triples and hasattr(scorer, "prepare"):  # a sample is encoded as it is ranked
        scorer.prepare(graph.split(split))
    return rank(scorer, graph, split, max_triples=triples or None, **ranking_options(scorer, graph, config, split))


def measure_widths(
    model: Croppable, graph: KnowledgeGraph, config: EvaluationConfig, split: str, *, triples: int = 0
) -> dict[int, RankingMetrics]:
    """The same of every width of a croppable model: from one pass over the candidates, or from one encoding of the
    queries and one of the entities."""
    return rank_widths(model, graph, split, max_triples=triples or None, **ranking_options(model, graph, config, split))


def ranking_options(
    scorer: TripleScorer, graph: KnowledgeGraph, config: EvaluationConfig, split: str
) -> dict[str, Any]:
    """How the settings say that a split is ranked, as options of `ranks`."""
    rerank = neighbour_rerank(graph, config, split)
    if config.types != "off":
        rerank = AfterTypes.of(scorer, graph, config.types, neighbour_rerank(graph, config, "valid"), rerank)
    return {"batch_size": config.batch_size, "rerank": rerank, "progress": shows_bars()}


def neighbour_rerank(graph: KnowledgeGraph, config: EvaluationConfig, split: str) -> NeighbourRerank | None:
    """What the settings add to the scores of entities that are near in the graph that a split may see."""
    if not config.rerank_hops:
        return None
    seen = graph.visible_triples(split)
    return NeighbourRerank(seen, graph.num_entities, config.rerank_hops, config.rerank_weight)


def types_used(config: EvaluationConfig) -> dict[str, str]:
    """What results say of types: nothing where they are off."""
    return {} if config.types == "off" else {"types": config.types}


def ranked(scorer: Any, graph: KnowledgeGraph, config: EvaluationConfig, split: str) -> dict[int, Ranks]:
    """The ranks of a split by every width of a model, as its run ranks it."""
    widths = tuple(getattr(scorer, "widths", ()))
    options = ranking_options(scorer, graph, config, split)
    if len(widths) > 1:
        return ranks_widths(scorer, graph, split, **options)
    if hasattr(scorer, "prepare"):
        scorer.prepare(graph.split(split))
    return {max(widths, default=0): ranks(scorer, graph, split, **options)}


def rank_file(stage: Path) -> Path:
    """Where the ranks of a stage's folder are: a model's folder holds nothing but the model, which is sent and indexed."""
    return stage.parent / "ranks" / f"{stage.name}.safetensors"


def write_ranks(stage: Path, split: str, by_width: Mapping[int, Ranks]) -> None:
    """Keep the ranks of a split for a stage's folder, by width, beside those of other splits."""
    # Halves of whole numbers: exact in single precision, up to eight million entities.
    new = {f"{split}/{width}": width_ranks.realistic.float() for width, width_ranks in by_width.items()}
    others = {name: ranks for name, ranks in _kept_ranks(stage).items() if name.rpartition("/")[0] != split}
    write_bytes(rank_file(stage), save({**others, **new}))


def read_ranks(stage: Path, split: str, widths: Collection[int]) -> dict[int, Tensor] | None:
    """(q,) realistic ranks of these widths: of the head queries in the order of the split, then of the tail queries. None
    where they are not kept, or cannot be read."""
    kept = _kept_ranks(stage)
    try:
        return {width: kept[f"{split}/{width}"].double() for width in widths}
    except KeyError:
        return None


def _kept_ranks(stage: Path) -> dict[str, Tensor]:
    """The ranks that are kept for a stage, by split and width; none where the file is missing or broken."""
    try:
        kept = load_file(rank_file(stage))
    except (OSError, SafetensorError):
        return {}
    if all("/" in name for name in kept):
        return kept
    first, *_ = EvaluationConfig(**Run(stage.parent).settings["evaluation"]).splits
    return {name if "/" in name else f"{first}/{name}": values for name, values in kept.items()}

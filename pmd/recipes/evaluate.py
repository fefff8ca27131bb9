"""Rank a split with models from folders, text and embedding models side by side, by the same function."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmd.core.distributed import rank, refuse_processes
from pmd.core.errors import PmdError
from pmd.core.quiet import quiet
from pmd.core.types import TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.metrics import RankingMetrics
from pmd.evaluation.tables import markdown, ranking_cells, table_of
from pmd.models.families import num_parameters, ranking_family, stored_settings
from pmd.recipes.ranking import measure, ranked, refuse_unseen, types_used, write_ranks
from pmd.recipes.triples.measure import task_table
from pmd.settings.catalogue import METRICS, Family
from pmd.settings.shared import EvaluateConfig
from pmd.settings.text import TrainConfig
from pmd.training.device import accelerator_for
from pmd.trust.reliability import calibration_rows, coverage_rows
from pmd.use.load import known_graph, load, load_scorer, loaded
from pmd.use.locate import check_folder

RANKING = tuple(row.title for row in METRICS["ranking"].values())


@dataclass(frozen=True)
class ModelMetrics:
    """How good and how fast a model is on a split.

    Args:
        model: its folder, as it was given.
        split: what was ranked.
        metrics: of the realistic, filtered ranks.
        rate: queries a second, what a text model encodes for them included.
        parameters: numbers that were learned.
    """

    model: str
    split: str
    metrics: RankingMetrics
    rate: float
    parameters: int


def evaluate(config: EvaluateConfig) -> str:
    """A Markdown table for each task.

    Raises:
        PmdError: if there is no such task, model, graph or split.
    """
    quiet()
    names = config.task_names
    if config.trust or names != ["entities"]:
        refuse_processes()
    if config.trust:
        return trust_tables(config)
    _check_models(config)
    tables = [entities_table(config)] if "entities" in names else []
    return "\n\n".join([*tables, *(task_table(config, name).markdown() for name in names if name != "entities")])


def entities_table(config: EvaluateConfig) -> str:
    """How well entities are ranked. Of one model: head, tail and both sides of every split asked for. Of several: a row
    for each and every split, with its parameters and how many queries a second it answers."""
    measured = measure_models(config)
    used = types_used(config.evaluation)
    if len(config.models) == 1:
        rows = [row for result in measured for row in side_rows(result.split, result.metrics, result.rate)]
        rows = [[*row[:2], *used.values(), *row[2:]] for row in rows]
        return markdown(("split", "side", *used, *RANKING, "queries", "queries/s"), rows)
    rows = [
        [
            _short(result.model),
            result.split,
            f"{result.parameters:,}",
            *used.values(),
            *ranking_cells(result.metrics.to_dict()).values(),
            f"{result.rate:,.0f}",
        ]
        for result in measured
    ]
    return markdown(("model", "split", "parameters", *used, *RANKING, "queries/s"), rows)


def trust_tables(config: EvaluateConfig) -> str:
    """How far the probabilities and answer sets of every model can be trusted, on every split. Errors as of `evaluate`."""
    tables = []
    for folder in config.models:
        check_folder("--model", folder)
        model = load(folder, config.data)
        for split in config.evaluation.splits:
            measured, name = model.measure_trust(split), f"{_short(folder)}, {split}"
            if not measured.get("questions"):
                raise PmdError(
                    f"--trust: {name} has no questions to measure by; {measured.get('missing', 'name another split')}"
                )
            relations = [row for row in measured["relations"] if row["candidates"] == "filtered"]
            tables += [
                table_of(
                    calibration_rows(measured),
                    f"{name}: expected calibration error (ten bins) and log loss of a question",
                ),
                table_of(coverage_rows(measured["coverage"]), f"{name}: coverage of answer sets", left=("candidates",)),
                table_of(
                    coverage_rows(relations), f"{name}: by relation and direction", left=("asks for the", "candidates")
                ),
            ]
    return "\n\n".join(table.markdown() for table in tables)


def measure_models(config: EvaluateConfig, graph: KnowledgeGraph | None = None) -> list[ModelMetrics]:
    """The metrics of every model on every split; `graph` stands for that of the settings. Errors as of `evaluate`."""
    _check_models(config)
    families: dict[str, Family] = {}
    for model in config.models:  # before any graph is read
        families[model] = ranking_family(stored_settings(model), model)
        if config.evaluation.rerank_hops and not families[model].cosines:
            raise PmdError(f"--evaluation.rerank_hops: '{model}' has no cosines to add to; leave it out")
        if config.keep_ranks and not (Path(model).parent / "config.yaml").is_file():
            raise PmdError(f"--keep_ranks: '{model}' is in no run folder that could keep them; leave it out")
    accelerator = accelerator_for(TrainConfig(threads=config.threads))
    cache = config.data.cache if config.data else None
    if graph is None:
        first = Path(config.models[0])
        data = config.data or known_graph(first)
        graph, cache = loaded(data, None if config.data else first), data.cache
    measured = []
    for model, family in families.items():
        scorer = load_scorer(model, graph, device=accelerator.device, cache=cache, shared=True)
        if not family.reads:
            refuse_unseen(graph, config.evaluation.splits)
        parameters = num_parameters(getattr(scorer, "model", scorer))
        for split in config.evaluation.splits:
            folder = Path(model) if config.keep_ranks else None
            measured.append(
                ModelMetrics(model, split, *timed_ranking(scorer, graph, config, split, folder), parameters)
            )
    return measured


def timed_ranking(
    scorer: TripleScorer, graph: KnowledgeGraph, config: EvaluateConfig, split: str, keep_for: Path | None = None
) -> tuple[RankingMetrics, float]:
    """The metrics, and queries per second. A text model's queries are encoded within that time, its entities before. The
    ranks are kept for the stage's folder `keep_for`, if there is one."""
    began = time.perf_counter()
    if keep_for is None:
        metrics = measure(scorer, graph, config.evaluation, split)
        return metrics, metrics.num_queries / (time.perf_counter() - began)
    by_width = ranked(scorer, graph, config.evaluation, split)
    metrics = RankingMetrics.from_ranks(by_width[max(by_width)])
    rate = metrics.num_queries / (time.perf_counter() - began)
    if rank() == 0:
        write_ranks(keep_for, split, by_width)
    return metrics, rate


def side_rows(split: str, metrics: RankingMetrics, rate: float) -> list[list[Any]]:
    """Both sides together, then each, then triples with the mean of their two ranks."""
    rows = []
    parts = {"both": metrics, "head": metrics.head, "tail": metrics.tail, "triples": metrics.triples}
    for side, values in parts.items():
        queries = [str(values.num_queries), f"{rate:,.0f}" if side == "both" else ""]
        rows.append([split, side, *ranking_cells(values.to_dict()).values(), *queries])
    return rows


def _check_models(config: EvaluateConfig) -> None:
    """PmdError unless there are models, each in a folder."""
    if not config.models:
        raise PmdError("--model: the list is empty; name a stage's folder in a run")
    for model in config.models:
        check_folder("--model", model)


def _short(model: str) -> str:
    """The last two parts of a folder: run and stage."""
    return "/".join(Path(model).parts[-2:])

"""What every run of stages does before the first and after the last of them."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from pmd.core.errors import PmdError
from pmd.core.files import write_json, write_text
from pmd.core.run import Run, environment
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.evaluation.metrics import RankingMetrics
from pmd.evaluation.ranking import rank, subsample
from pmd.evaluation.rerank import NeighbourRerank
from pmd.evaluation.width_ranking import AtWidth, rank_widths
from pmd.models.kge.model import KgeModel
from pmd.models.text.scorer import TextScorer
from pmd.settings.shared import EvaluationConfig
from pmd.train.loop import Interrupted


def load_data(config: Any) -> KnowledgeGraph:
    """The run's graph; PmdError if it lacks a split to rank."""
    graph = load_graph(config.data.path, **config.data.options)
    for split in config.evaluation.splits:
        graph.split(split)
    return graph


def refuse_unseen(graph: KnowledgeGraph, splits: Sequence[str]) -> None:
    """Refuse to rank splits of the other graph of an inductive data set: their entities were never trained."""
    seen = graph.candidates("train")
    for split in splits:
        if seen is not None and not torch.isin(graph.split(split)[:, [0, 2]], seen).all():
            raise PmdError(
                f"evaluation.split: an embedding model has learned nothing of the entities of '{split}'; "
                "use a text model (scripts/progressive.py)"
            )


def open_run(config: Any, run: Run | None, accelerator: Accelerator, graph: KnowledgeGraph, name: str) -> Run:
    """The run folder to go on with, or a new one named after `name`; env.json is of this start."""
    # One folder for all processes, whatever the second in which each of them looks at the clock.
    stamp = broadcast_object_list([time.strftime("%Y%m%d-%H%M%S")])[0]
    run = run or Run.create(
        config.runs, config.name or folder_name(name), config, stamp, main=accelerator.is_main_process
    )
    run.main = accelerator.is_main_process
    run.refuse_other_data(graph.checksum())
    if run.main:
        device = {"device": str(accelerator.device), "processes": accelerator.num_processes}
        write_json(run.folder / "env.json", environment(**device, threads=torch.get_num_threads(), seed=config.seed))
    return run


def close_run(run: Run, graph: KnowledgeGraph, tables: dict[str, str], accelerator: Accelerator) -> None:
    """Write the tables, by split, and remove what a finished run does not need."""
    if run.main:
        parts = [f"{graph.name}, {split} split\n\n{table}\n" for split, table in tables.items()]
        write_text(run.folder / "table.md", "\n".join(parts))
        shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)
    accelerator.wait_for_everyone()


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C in here is `Interrupted`, between trainings as well: the run goes on from what its folder has. That is the step at
    which it was asked to stop or, after a second Ctrl-C, which does not wait, what was saved last."""
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted from None


def folder_name(name: str) -> str:
    """The name of a graph as a folder's: a Hub data set has a slash in its."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


def header(run: Run, graph: KnowledgeGraph, accelerator: Accelerator, **lines: str) -> str:
    """The first lines that a run prints."""
    sizes = f"{graph.num_entities:,} entities, {graph.num_relations} relations"
    triples = " / ".join(f"{len(split):,}" for split in (graph.train, graph.valid, graph.test))
    processes = f"{accelerator.num_processes} process(es), {torch.get_num_threads()} threads"
    named = {
        "run": str(run.folder),
        "graph": f"{graph.name}: {sizes}, {triples} triples",
        **lines,
        "device": f"{accelerator.device}, {processes}",
    }
    return "\n".join(f"{name:<11}{text}" for name, text in named.items())


def measure(
    scorer: Any, graph: KnowledgeGraph, config: EvaluationConfig, split: str, *, triples: int = 0
) -> RankingMetrics:
    """Rank a split as the config says; `triples` > 0 takes a fixed sample of so many."""
    if not triples and hasattr(scorer, "prepare"):  # a sample is encoded as it is ranked
        scorer.prepare(graph.split(split))
    return rank(scorer, graph, split, max_triples=triples or None, **ranking_options(graph, config, split))


def ranking_options(graph: KnowledgeGraph, config: EvaluationConfig, split: str) -> dict[str, Any]:
    """How the config says that a split is ranked, as options of `ranks`."""
    rerank = None
    if config.rerank_hops:
        seen = graph.visible_triples(split)
        rerank = NeighbourRerank(seen, graph.num_entities, config.rerank_hops, config.rerank_weight)
    return {"batch_size": config.batch_size, "rerank": rerank, "progress": sys.stderr.isatty()}


def measure_widths(
    model: KgeModel | TextScorer, graph: KnowledgeGraph, config: EvaluationConfig, split: str, *, triples: int = 0
) -> dict[int, RankingMetrics]:
    """The same of every width of a croppable model: from one pass over the candidates, or from one encoding of the
    queries and one of the entities."""
    if isinstance(model, TextScorer):
        model.prepare(subsample(graph.split(split), triples or None, seed=0))
        return {width: measure(AtWidth(model, width), graph, config, split, triples=triples) for width in model.widths}
    return rank_widths(
        model, graph, split, batch_size=config.batch_size, max_triples=triples or None, progress=sys.stderr.isatty()
    )

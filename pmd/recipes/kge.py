"""Embedding models, from a config to a table: one model, or several that teach each other.

A run is a list of stages, as for text models, on the same loop, ranking and run folder. DualDE is a teacher, a
student taught by it, and a second stage in which both learn.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.quiet import quiet
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.core.types import Objective
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.negatives import KgeBatch, KvsAll, OneVsAll, SampledNegatives
from pmd.distill.kge_dimension_order import Order, dimension_order
from pmd.distill.kge_supervised import KgeSetup
from pmd.evaluation.metrics import RankingMetrics, Ranks
from pmd.evaluation.ranking import ranks
from pmd.evaluation.width_ranking import ranks_widths
from pmd.models.kge.folder import load, load_for, save, training_of
from pmd.models.kge.model import KgeModel
from pmd.recipes.rank_files import write_ranks
from pmd.recipes.stages import (
    close_run,
    header,
    load_data,
    measure,
    measure_widths,
    open_run,
    ranking_options,
    refuse_unseen,
    resumable,
)
from pmd.recipes.tables import markdown, models_table
from pmd.settings.catalogue import METHODS
from pmd.settings.kge import KgeConfig, KgeStageConfig, LossConfig
from pmd.settings.kge_stages import check_kge, resolve_kge_stages
from pmd.train.device import accelerator_for
from pmd.train.loop import Interrupted, fit
from pmd.use.scorers import check_folder

__all__ = ["Interrupted", "train_kge"]

EXAMPLES = 1024
"""Validation examples by which dimensions are ordered."""
SCORES = 2**15
"""Scores of them that are compared at a time."""


@dataclass(frozen=True, eq=False)
class Context:
    """What all stages of a run share."""

    config: KgeConfig
    run: Run
    accelerator: Accelerator
    graph: KnowledgeGraph
    stages: dict[str, KgeStageConfig]
    orders: dict[tuple[str, Order], Tensor] = field(default_factory=dict)
    """Of the dimensions of earlier stages, as far as they were asked for: all widths are cropped by the same."""

    def say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(text, file=sys.stderr, flush=True)

    def loss(self, stage: str) -> LossConfig:
        """The loss with the settings of a stage."""
        found = self.stages[stage]
        own = {name: getattr(found, name) for name in ("margin", "scale", "constraint", "adversarial")}
        return replace(self.config.loss, name=found.loss, **own)


def train_kge(config: KgeConfig, run: Run | None = None) -> Run:
    """Run all stages that are not finished yet, and write the table.

    Args:
        config: what to do; for a run that goes on, the config of its folder.
        run: the run folder to go on with; a new one is made otherwise.

    Raises:
        PmdError: for settings or data that cannot be used.
        Interrupted: on Ctrl-C; the run's folder goes on.
    """
    check_kge(config)
    quiet()
    stages = {stage.name: stage for stage in resolve_kge_stages(config)}
    accelerator = accelerator_for(config.train)
    if config.train.batch_size < 2 * accelerator.num_processes:
        raise PmdError(f"train.batch_size: {config.train.batch_size} is less than two triples for each process")
    graph = load_data(config)
    refuse_unseen(graph, config.evaluation.splits)
    if config.train.optimizer == "sparse_adam" and accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        raise PmdError("train.optimizer: gradients of single rows cannot be shared between GPUs; use adam")
    for stage in stages.values():
        if stage.load and (run is None or stage.name not in run.finished):
            check_load(stage, graph, config)
    run = open_run(config, run, accelerator, graph, f"{graph.name}-{config.model.interaction}")
    context = Context(config, run, accelerator, graph, stages)
    context.say(banner(context))
    with resumable():
        for position, stage in enumerate(stages.values()):
            if stage.name not in run.finished:
                run_stage(context, stage, position)
    close_run(run, graph, {split: models_table(run.results, split) for split in config.evaluation.splits}, accelerator)
    return run


KINDS = {"name": "the interaction"}


def check_load(stage: KgeStageConfig, graph: KnowledgeGraph, config: KgeConfig) -> None:
    """Refuse a model to load that does not fit this run, before anything is trained."""
    place = f"stages ({stage.name}).load"
    check_folder(place, stage.load)
    found, wanted = load_for(stage.load, graph), new_model(config, graph, stage.dim)
    for name in ("name", "dim", "norm", "reciprocal", "unit_entities"):
        ours, theirs = getattr(wanted, name), getattr(found, name)
        if ours != theirs:
            raise PmdError(f"{place}: '{stage.load}' has {KINDS.get(name, name)} {theirs}, this stage {ours}")


def banner(context: Context) -> str:
    """What is about to happen."""
    config, loss = context.config, context.config.loss
    labels = f"{loss.name} loss"
    if loss.name not in ("one_vs_all", "k_vs_all"):
        labels += f", {loss.negatives} negatives per triple"
        labels += f", shared by {loss.shared} triples" if loss.shared > 1 else ""
        labels += ", false ones left out" if loss.filtered else ""
        labels += ", self-adversarial" if loss.adversarial else ""
    top = header(
        context.run,
        context.graph,
        context.accelerator,
        model=f"{config.model.interaction}{', reciprocal relations' if config.model.reciprocal else ''}",
        loss=labels,
    )
    rows = [
        (
            stage.name,
            widths_text(stage),
            (stage.load and "loaded")
            or (stage.crop and "cropped")
            or (f"{stage.teacher}{', released' if stage.release else ''}" if stage.teacher else "labels only"),
            stage.load or stage.crop or stage.start or "random",
            stage.epochs,
            f"{stage.lr:g}",
            f"{stage.margin:g}" if loss.name not in ("softmax", "one_vs_all") else "",
        )
        for stage in context.stages.values()
    ]
    return f"{top}\n\n{markdown(('stage', 'dim', 'taught by', 'starts from', 'epochs', 'lr', 'margin'), rows)}\n"


def widths_text(stage: KgeStageConfig) -> str:
    """The width of a model, or all of a croppable one, shortened."""
    if not stage.widths:
        return str(stage.dim)
    shown = [str(width) for width in stage.widths]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "…", shown[-1]])


def run_stage(context: Context, stage: KgeStageConfig, position: int) -> None:
    """Train (or load) one model, save it, rank it, and note the result."""
    folder, graph = context.run.folder / stage.name, context.graph
    trained: dict[str, Any] = {}
    if stage.load:
        model = load(stage.load)
    elif (folder / "config.json").is_file():
        model, trained = load(folder), training_of(folder)
    elif stage.crop:
        model, trained = cropped(context, stage)
    else:
        model, trained = train_stage(context, stage, position)
    if context.run.main and not (folder / "config.json").is_file():
        save(folder, model, graph, trained)
    model.to(context.accelerator.device)
    config = context.config.evaluation
    metrics, seconds, widths = {}, {}, {}
    for split in config.splits:
        found, seconds[split] = timed_ranking(model, context, split)
        metrics[split], by_width = RankingMetrics.from_ranks(found).to_dict(), {model.dim: found}
        if stage.widths:
            shown = sys.stderr.isatty()
            by_width = ranks_widths(model, graph, split, batch_size=config.batch_size, progress=shown)
            widths[split] = {width: RankingMetrics.from_ranks(of).to_dict() for width, of in by_width.items()}
        if context.run.main and split == config.splits[0]:
            write_ranks(folder, by_width)
    context.run.add_result(
        stage.name,
        StageResult(
            interaction=model.name,
            dim=model.dim,
            method=None if stage.load or stage.crop else stage.method,
            teacher=stage.teacher,
            released=stage.release,
            start=stage.start,
            parameters=sum(p.numel() for p in model.parameters()),
            **trained,
            rank_seconds=seconds,
            metrics=metrics,
            **({"widths": widths} if stage.widths else {}),
        ),
    )
    first = metrics[config.splits[0]]
    best = f" (best epoch {trained['best_epoch']})" if "best_epoch" in trained else ""
    context.say(f"{stage.name}: MRR {first['mrr']:.3f}, Hits@10 {first['hits_at_10']:.3f}{best} -> {folder}\n")
    context.accelerator.wait_for_everyone()


def timed_ranking(model: KgeModel, context: Context, split: str) -> tuple[Ranks, float]:
    """The ranks of a split and the seconds they took: where those are few, the least of three times."""
    seconds: list[float] = []
    options = ranking_options(context.graph, context.config.evaluation, split)
    while len(seconds) < 3 and sum(seconds) < 1:
        began = time.perf_counter()
        found = ranks(model, context.graph, split, **options)
        seconds.append(time.perf_counter() - began)
    return found, round(min(seconds), 4)


def new_model(config: KgeConfig, graph: KnowledgeGraph, dim: int, widths: Sequence[int] | None = None) -> KgeModel:
    """An untrained model of this run's kind."""
    model = config.model
    return KgeModel(
        interaction=model.interaction,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        dim=dim,
        widths=widths,
        norm=model.norm,
        reciprocal=model.reciprocal,
        unit_entities=model.unit_entities,
        init=model.init,
    )


def train_stage(context: Context, stage: KgeStageConfig, position: int) -> tuple[KgeModel, dict[str, Any]]:
    """The trained model of a stage, and how its training went."""
    config, accelerator, graph = context.config, context.accelerator, context.graph
    seed = config.seed * 1000 + position
    set_seed(seed)
    model = load(context.run.folder / stage.start) if stage.start else new_model(config, graph, stage.dim, stage.widths)
    model.to(accelerator.device)
    objective = objective_for(context, stage, model).to(accelerator.device)
    collate = collator(config, graph, seed)

    def validate() -> dict[str, float]:
        triples = config.train.valid_triples
        if not stage.widths:
            return {"valid": measure(model, graph, config.evaluation, "valid", triples=triples).mrr}
        found = measure_widths(model, graph, config.evaluation, "valid", triples=triples)
        values = {f"valid_{width}": metrics.mrr for width, metrics in found.items()}
        return {"valid": statistics.fmean(values.values()), **values}

    progress = fit(
        objective,
        len(collate),
        collate,
        replace(config.train, epochs=stage.epochs, lr=stage.lr),
        accelerator,
        context.run.folder / "checkpoint" / stage.name,
        seed=seed,
        label=stage.name,
        log=context.run.log,
        validate=validate,
    )
    trained = {"epochs": progress.epoch, "train_seconds": round(progress.seconds, 3)}
    if progress.best_epoch >= 0:
        trained |= {"best_epoch": progress.best_epoch, "valid_mrr": progress.best}
    return model, trained


def cropped(context: Context, stage: KgeStageConfig) -> tuple[KgeModel, dict[str, Any]]:
    """The leading dimensions of an earlier model, in the order that the stage asks for, and the seconds that finding it
    took: it is the same for all widths, so the first stage that asks has them."""
    model = load(context.run.folder / stage.crop)
    if not stage.order:
        return model.crop(stage.dim), {}
    trained, key = {}, (stage.crop, stage.order)
    if key not in context.orders:
        began = time.perf_counter()
        context.orders[key] = dimension_order(model, stage.order, validation_batches(context), context.loss(stage.crop))
        trained["train_seconds"] = round(time.perf_counter() - began, 3)
    return model.select(context.orders[key][: stage.dim]), trained


def validation_batches(context: Context) -> Iterator[KgeBatch]:
    """A sample of the validation examples, each with negatives of its own, in batches of so many scores."""
    config, graph = context.config, context.graph
    alone = replace(config, loss=replace(config.loss, shared=1))
    collate = collator(alone, graph, config.seed, graph.split("valid"))
    drawn = torch.randperm(len(collate), generator=torch.Generator().manual_seed(config.seed))[:EXAMPLES]
    columns = 1 + config.loss.negatives if isinstance(collate, SampledNegatives) else graph.num_entities
    size = 2 * max(1, SCORES // columns // 2)  # as many heads as tails are asked for
    yield from (collate(part.tolist()) for part in drawn.split(size))


def collator(
    config: KgeConfig, graph: KnowledgeGraph, seed: int, triples: Tensor | None = None
) -> SampledNegatives | OneVsAll | KvsAll:
    """What turns positions among triples, by default those of training, into batches."""
    triples = graph.train if triples is None else triples
    loss, sizes = config.loss, (graph.num_entities, graph.num_relations)
    candidates = graph.candidates("train")  # of an inductive data set, only the entities of the training graph
    if loss.name == "one_vs_all":
        return OneVsAll(triples, candidates)
    if loss.name == "k_vs_all":
        return KvsAll(triples, *sizes, candidates)
    known = KnownAnswers(graph.train, *sizes) if loss.filtered else None
    return SampledNegatives(triples, graph.num_entities, loss.negatives, loss.shared, known, candidates, seed)


def objective_for(context: Context, stage: KgeStageConfig, model: KgeModel) -> Objective:
    """The objective of a stage; its models have sparse gradients if the optimiser wants them."""
    sparse = context.config.train.optimizer == "sparse_adam"
    model.sparse_gradients(sparse)
    teacher, teacher_loss = None, None
    if stage.teacher:
        teacher = load(context.run.folder / stage.teacher).to(context.accelerator.device).sparse_gradients(sparse)
        teacher_loss = context.loss(stage.teacher)
    setup = KgeSetup(model, teacher, context.graph, context.loss(stage.name), teacher_loss, context.config, stage)
    return METHODS["embedding"][stage.method].load().for_stage(setup)

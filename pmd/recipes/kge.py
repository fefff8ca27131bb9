"""Embedding models, from settings to a table: one model, or several that teach each other.

A run is a list of stages (`pmd.recipes.stages`). DualDE is a teacher, a student taught by it, and a second stage in which
both learn.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, set_seed
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.core.types import Objective
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.negatives import KgeBatch, KvsAll, OneVsAll, SampledNegatives
from pmd.distill.kge_dimension_order import Order, dimension_order
from pmd.distill.kge_supervised import KgeSetup
from pmd.distill.teacher import ScorerTeacher
from pmd.evaluation.metrics import RankingMetrics, Ranks
from pmd.evaluation.ranking import ranks
from pmd.evaluation.width_ranking import ranks_widths
from pmd.models.families import num_parameters
from pmd.models.kge.folder import load_for, load_model, save
from pmd.models.kge.model import KgeModel
from pmd.recipes.ranking import (
    RankingRun,
    load_data,
    ranking_options,
    refuse_unseen,
    types_used,
    warn_of_untrained,
    write_ranks,
)
from pmd.recipes.stages import Banner, run_stages
from pmd.settings.catalogue import ENTITY_ENCODERS, METHODS
from pmd.settings.entity_encoders import TABLE
from pmd.settings.kge import KgeConfig, KgeStageConfig, LossConfig
from pmd.settings.shared import OWN
from pmd.settings.stages.kge import SAMPLED, SHIFT_FREE, check_kge, resolve_kge_stages
from pmd.use.locate import check_folder

EXAMPLES = 1024
"""Validation examples that decide the order of dimensions."""
SCORES = 2**15
"""Scores of such examples that are computed at a time."""


def train_kge(config: KgeConfig, run: Run | None = None, **given: Any) -> Run:
    """Train embedding models. Arguments and errors are those of `run_stages`."""
    return run_stages(KgeRun, config, run, **given)


class KgeRun(RankingRun):
    """Embedding models; `orders` caches the orders of the dimensions of earlier stages."""

    config: KgeConfig
    stages: dict[str, KgeStageConfig]
    orders: dict[tuple[str, Order], Tensor]

    @staticmethod
    def resolve(config: KgeConfig) -> list[KgeStageConfig]:
        check_kge(config)
        return resolve_kge_stages(config)

    def load_data(self, pending: Sequence[KgeStageConfig]) -> KnowledgeGraph:
        config, accelerator = self.config, self.accelerator
        several = accelerator.num_processes > 1 and accelerator.device.type != "cpu"
        if config.train.optimizer == "sparse_adam" and several:
            raise PmdError("train.optimizer: gradients of single rows cannot be shared between GPUs; use adam")
        graph = load_data(config)
        refuse_unseen(graph, config.evaluation.splits)
        for split in config.evaluation.splits:
            warn_of_untrained(graph, split, entities=True)
        for stage in pending:
            encoder_options(config, graph, stage.encoder)
            if stage.load or (stage.start and stage.start not in self.stages):
                check_load(stage, graph, config)
        self.orders = {}
        return graph

    @property
    def run_name(self) -> str:
        return f"{self.data.name}-{self.config.model.interaction}"

    def banner(self) -> Banner:
        config, loss = self.config, self.config.loss
        labels = f"{loss.name} loss"
        if loss.name in SAMPLED:
            labels += f", {loss.negatives} negatives per triple"
            labels += f", shared by {loss.shared} triples" if loss.shared > 1 else ""
            labels += ", false ones left out" if loss.filtered else ""
            labels += ", self-adversarial" if loss.adversarial else ""
        relations = ", reciprocal relations" if config.model.reciprocal else ""
        encoders = [*dict.fromkeys(stage.encoder for stage in self.stages.values() if stage.encoder != TABLE)]
        by = f", entities by {' and '.join(ENTITY_ENCODERS[name].title for name in encoders)}" if encoders else ""
        lines = {"graph": self.graph_line, "model": f"{config.model.interaction}{relations}{by}", "loss": labels}
        rows = [
            (
                stage.name,
                widths_text(stage),
                taught_by(stage),
                stage.load or stage.crop or stage.start or "random",
                stage.epochs,
                f"{stage.lr:g}",
                f"{stage.margin:g}" if loss.name not in SHIFT_FREE else "",
            )
            for stage in self.stages.values()
        ]
        return Banner(lines, ("stage", "dim", "taught by", "starts from", "epochs", "lr", "margin"), rows)

    def make(self, stage: KgeStageConfig, seed: int) -> tuple[KgeModel, dict[str, Any]]:
        if stage.load:
            return load_model(stage.load), {}
        return self.cropped(stage) if stage.crop else self.train(stage, seed)

    def train(self, stage: KgeStageConfig, seed: int) -> tuple[KgeModel, dict[str, Any]]:
        """Train the model of a stage; returns it, and how its training went."""
        config, graph = self.config, self.data
        set_seed(seed)
        model = self.start_of(stage)
        model.to(self.accelerator.device)
        examples = collator(config, graph, seed)
        progress = self.fit(
            self.objective(stage, model),
            len(examples),
            examples,
            stage,
            seed,
            validate=lambda: self.validate(model, stage.widths),
        )
        training = {"epochs": progress.epoch, "train_seconds": round(progress.seconds, 3)}
        if progress.best_epoch >= 0:
            training |= {"best_epoch": progress.best_epoch, "valid_mrr": progress.best}
        return model, training

    def start_of(self, stage: KgeStageConfig) -> KgeModel:
        """What a stage begins with: a new model, that of an earlier stage, or one of the same graph from elsewhere."""
        if stage.start in self.stages:
            return load_model(self.run.folder / stage.start)
        if not stage.start:
            return new_model(self.config, self.data, stage)
        return load_for(stage.start, self.data)

    def objective(self, stage: KgeStageConfig, model: KgeModel) -> Objective:
        """The objective of a stage; its models have sparse gradients if the optimiser wants them."""
        sparse = self.config.train.optimizer == "sparse_adam"
        model.sparse_gradients(sparse)
        teacher, teacher_loss = None, None
        if stage.teacher == OWN:
            teacher, teacher_loss = (
                ScorerTeacher(self.own_teacher),
                replace(self.loss(stage.name), scale=1.0, margin=0.0),
            )
        elif stage.teacher:
            teacher = load_model(self.run.folder / stage.teacher).to(self.accelerator.device).sparse_gradients(sparse)
            teacher_loss = self.loss(stage.teacher)
        setup = KgeSetup(model, teacher, self.data, self.loss(stage.name), teacher_loss, self.config, stage)
        return METHODS["embedding"][stage.method].load_class().for_stage(setup)

    def loss(self, name: str) -> LossConfig:
        """The loss with the settings of a stage."""
        stage = self.stages[name]
        options = {key: getattr(stage, key) for key in ("margin", "scale", "constraint", "adversarial")}
        return replace(self.config.loss, name=stage.loss, **options)

    def cropped(self, stage: KgeStageConfig) -> tuple[KgeModel, dict[str, Any]]:
        """The leading dimensions of an earlier model, in the order that the stage asks for. The order is the same for all
        widths: the seconds that finding it took are those of the first stage that needs it."""
        model = load_model(self.run.folder / stage.crop)
        if not stage.order:
            return model.crop(stage.dim), {}
        training, key = {}, (stage.crop, stage.order)
        if key not in self.orders:
            began = time.perf_counter()
            batches = validation_batches(self.config, self.data)
            self.orders[key] = dimension_order(model, stage.order, batches, self.loss(stage.crop))
            training["train_seconds"] = round(time.perf_counter() - began, 3)
        return model.select(self.orders[key][: stage.dim]), training

    def save(self, folder: Path, model: KgeModel, training: Mapping[str, Any]) -> None:
        save(folder, model, self.data, training)

    def read(self, folder: Path) -> KgeModel:
        return load_model(folder)

    def measure(self, stage: KgeStageConfig, model: KgeModel, training: Mapping[str, Any]) -> StageResult:
        """Rank at all widths; the ranks are kept."""
        model.to(self.accelerator.device)
        config = self.config.evaluation
        metrics, seconds, widths = {}, {}, {}
        for split in config.splits:
            full_ranks, seconds[split] = self.timed_ranks(model, split)
            metrics[split], by_width = RankingMetrics.from_ranks(full_ranks).to_dict(), {model.dim: full_ranks}
            if stage.widths:
                by_width = ranks_widths(model, self.data, split, **ranking_options(model, self.data, config, split))
                widths[split] = {
                    width: RankingMetrics.from_ranks(width_ranks).to_dict() for width, width_ranks in by_width.items()
                }
            if self.run.main:
                write_ranks(self.run.folder / stage.name, split, by_width)
        return StageResult(
            interaction=model.name,
            dim=model.dim,
            method=None if stage.load or stage.crop else stage.method,
            teacher=stage.teacher,
            released=stage.release,
            start=stage.start,
            parameters=num_parameters(model),
            **({} if model.encoder == TABLE else {"entity_encoder": model.encoder}),
            **training,
            rank_seconds=seconds,
            metrics=metrics,
            **types_used(config),
            **({"widths": widths} if stage.widths else {}),
        )

    def timed_ranks(self, model: KgeModel, split: str) -> tuple[Ranks, float]:
        """The ranks of a split and the seconds they took; of up to three short rankings, the fastest counts."""
        seconds: list[float] = []
        options = ranking_options(model, self.data, self.config.evaluation, split)
        while len(seconds) < 3 and sum(seconds) < 1:
            began = time.perf_counter()
            split_ranks = ranks(model, self.data, split, **options)
            seconds.append(broadcast_object_list([time.perf_counter() - began])[0])  # all must rank as often
        return split_ranks, round(min(seconds), 4)


def check_load(stage: KgeStageConfig, graph: KnowledgeGraph, config: KgeConfig) -> None:
    """Refuse a model to load that does not fit the run."""
    key, folder = (f"stages ({stage.name}).{'load' if stage.load else 'start'}", stage.load or stage.start)
    check_folder(key, folder)
    stored, wanted = load_for(folder, graph), untrained(config, graph, stage)
    for name in ("name", "dim", "norm", "reciprocal", "unit_entities", "encoder"):
        ours, theirs = getattr(wanted, name), getattr(stored, name)
        if ours != theirs:
            setting = "interaction" if name == "name" else name
            raise PmdError(f"{key}: '{folder}' has {setting} {theirs}, this stage {ours}; load another model")


def taught_by(stage: KgeStageConfig) -> str:
    """What a model learns from, or where it comes from if it is not trained."""
    if stage.load or stage.crop:
        return "loaded" if stage.load else "cropped"
    return f"{stage.teacher}{', released' if stage.release else ''}" if stage.teacher else "labels only"


def widths_text(stage: KgeStageConfig) -> str:
    """The width of a model, or the widths of a croppable one, of many only some."""
    if not stage.widths:
        return str(stage.dim)
    shown = [str(width) for width in stage.widths]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "…", shown[-1]])


def new_model(config: KgeConfig, graph: KnowledgeGraph, stage: KgeStageConfig) -> KgeModel:
    """The model of a stage, untrained; an encoder of its entities has read the graph."""
    model = untrained(config, graph, stage)
    if model.entity_encoder is not None:
        model.entity_encoder.read_graph(graph.train)
    return model


def untrained(config: KgeConfig, graph: KnowledgeGraph, stage: KgeStageConfig) -> KgeModel:
    """A model of this run's kind, of the width and encoder of a stage."""
    model = config.model
    return KgeModel(
        interaction=model.interaction,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        dim=stage.dim,
        widths=stage.widths,
        norm=model.norm,
        reciprocal=model.reciprocal,
        unit_entities=model.unit_entities,
        init=model.init,
        entity_encoder=encoder_options(config, graph, stage.encoder),
    )


def encoder_options(config: KgeConfig, graph: KnowledgeGraph, name: str) -> dict[str, Any] | None:
    """Name and arguments of an encoder for a graph; None for a table. PmdError for settings that do not fit the graph."""
    if name == TABLE:
        return None
    options = (
        ENTITY_ENCODERS[name].load_class().options(getattr(config.model, name), graph.num_entities, len(graph.train))
    )
    return {"name": name, **options}


def validation_batches(config: KgeConfig, graph: KnowledgeGraph) -> Iterator[KgeBatch]:
    """A sample of the validation examples, each with negatives of its own, in batches of at most about `SCORES` scores."""
    alone = replace(config, loss=replace(config.loss, shared=1))
    collate = collator(alone, graph, config.seed, graph.split("valid"))
    drawn = torch.randperm(len(collate), generator=torch.Generator().manual_seed(config.seed))[:EXAMPLES]
    columns = 1 + config.loss.negatives if isinstance(collate, SampledNegatives) else graph.num_entities
    size = 2 * max(1, SCORES // columns // 2)  # as many heads as tails are asked for
    yield from (collate(part.tolist()) for part in drawn.split(size))


def collator(
    config: KgeConfig, graph: KnowledgeGraph, seed: int, triples: Tensor | None = None
) -> SampledNegatives | OneVsAll | KvsAll:
    """What turns positions among triples, by default those of training with their confidences, into batches."""
    confidences = graph.weights.get("train") if triples is None else None
    triples = graph.train if triples is None else triples
    loss, sizes = config.loss, (graph.num_entities, graph.num_relations)
    candidates = graph.candidates("train")  # of an inductive data set, only the entities of the training graph
    if loss.name == "one_vs_all":
        return OneVsAll(triples, candidates, confidences)
    if loss.name == "k_vs_all":
        return KvsAll(triples, *sizes, candidates, confidences)
    known = KnownAnswers(graph.train, *sizes) if loss.filtered else None
    sampling = (graph.num_entities, loss.negatives, loss.shared, known, candidates, seed)
    return SampledNegatives(triples, *sampling, confidences)

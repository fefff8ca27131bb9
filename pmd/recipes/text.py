"""Progressive distillation, from settings to a table: a teacher, then grades that each teach the next.

PMD, section 1.3 of the method notes. A run is a list of stages (`pmd.recipes.stages`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed

from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.queries import query_order
from pmd.data.graphs.walks import walk_order
from pmd.data.texts.batches import TripleCollator
from pmd.data.texts.graph_text import GraphText
from pmd.distill.kept.read_once import read_once
from pmd.distill.teacher import ScorerTeacher, Structure
from pmd.distill.text_supervised import TextSetup
from pmd.evaluation.metrics import RankingMetrics
from pmd.evaluation.width_ranking import ranks_widths
from pmd.models.families import num_parameters
from pmd.models.kge.model import KgeModel
from pmd.models.text.adapters import adapter_targets, add_adapters, merge_adapters
from pmd.models.text.bi_encoder import BiEncoder
from pmd.models.text.folder import TextModel, load_model, save
from pmd.models.text.load_checks import check_load
from pmd.models.text.lower_layers import freeze, layer_list
from pmd.models.text.scorer import TextScorer, timed_scorer
from pmd.models.text.start import depth_of, start, trained_settings
from pmd.models.text.students import bag_of, evenly_spaced, student_of
from pmd.models.text.teachers import check_vocabulary, described_teacher, load_teacher, reads_alike, teacher_depth
from pmd.recipes.ranking import RankingRun, load_data, ranking_options, types_used, write_ranks
from pmd.recipes.stages import Banner, run_stages
from pmd.settings.catalogue import METHODS
from pmd.settings.med import check_widths
from pmd.settings.shared import OWN
from pmd.settings.stages.text import check_progressive, resolve_stages, warn_of_listed
from pmd.settings.text import ProgressiveConfig, StageConfig
from pmd.training.batching import Order


def progressive(config: ProgressiveConfig, run: Run | None = None, **given: Any) -> Run:
    """Distil a text model, grade by grade, and fuse the last with an embedding model if there is to be one. Arguments and
    errors are those of `run_stages`."""
    if config.structure is None:
        return run_stages(TextRun, config, run, **given)
    from pmd.recipes.structure import add_structure, embedding_settings

    embedding_settings(config, Path(config.runs))  # refuses what cannot work before anything is trained
    run = run_stages(TextRun, config, run, **given)
    add_structure(config, run)
    return run


class TextRun(RankingRun):
    """Bi-encoders; `origin` is the untrained one of the run, `text` the graph's texts, tokenised for all of them."""

    config: ProgressiveConfig
    stages: dict[str, StageConfig]
    origin: TextModel
    text: GraphText
    structure: KgeModel | None = None
    """The embedding model of `distill.structure`."""
    other: TextModel | None = None
    """The first stage, where it is of `teacher.model`, without its weights."""
    other_text: GraphText | None = None
    """The graph's texts, tokenised for that stage, where its tokens are not those of `text`."""

    @staticmethod
    def resolve(config: ProgressiveConfig) -> list[StageConfig]:
        check_progressive(config)
        warn_of_listed(config)
        return resolve_stages(config, depth_of(config.encoder), teacher_depth(config.teacher))

    def load_data(self, pending: Sequence[StageConfig]) -> KnowledgeGraph:
        config = self.config
        graph = load_data(config)
        is_trained = trained_settings(config.encoder.name) is not None
        self.origin = (
            load_model(config.encoder.name) if is_trained else TextModel(*start(config.encoder, graph, config.seed))
        )
        if config.encoder.widths is not None:
            width = self.origin.model.dim
            check_widths("encoder.widths", config.encoder.widths, width, "the width of encoder.name")
        self.text = self.origin.read(graph, config.data.cache)
        if config.teacher is not None:
            self.prepare_other(graph)
        for stage in pending:
            if stage.load:
                check_load(stage, self.reader(stage), self.copied_with_widths(stage))
        if config.distill.structure is not None:
            from pmd.recipes.structure import structure_of

            self.structure = structure_of(config.distill.structure, graph).to(self.accelerator.device)
        if config.train.lora is not None:
            adapter_targets(self.origin.model, config.train.lora)
        if any(stage.frozen_layers for stage in pending):
            layer_list(self.origin.model.query_encoder)
        return graph

    def prepare_other(self, graph: KnowledgeGraph) -> None:
        """Read how `teacher.model` reads; students that cannot read as it does learn nothing of masked features."""
        config = self.config
        self.other = described_teacher(config)
        if config.teacher.lora is not None:
            adapter_targets(self.other.model, config.teacher.lora, "teacher.lora")
        self.apart = reads_alike(self.other, self.origin)
        if self.apart is None:
            return
        self.other_text = self.other.read(graph, config.data.cache)
        for name, stage in self.stages.items():
            if self.is_taught_across(stage) and METHODS["text"][stage.method].masks:
                self.stages[name] = replace(stage, mask_rate=0.0, beta=0.0)

    def is_other(self, stage: StageConfig) -> bool:
        """Whether a stage is of `teacher.model`."""
        return self.other is not None and stage.name == next(iter(self.stages))

    def is_taught_across(self, stage: StageConfig) -> bool:
        """Whether a stage learns from one that reads by another tokenizer."""
        return self.other_text is not None and stage.teacher == next(iter(self.stages))

    def reader(self, stage: StageConfig) -> TextModel:
        """A model that reads as that of a stage does."""
        return self.other if self.is_other(stage) else self.origin

    def goes_on(self, stage: StageConfig) -> bool:
        """Whether a stage begins with all of a text model that is trained already, its temperature and widths included."""
        name, widths = self.config.encoder.name, self.config.encoder.widths
        whole = stage.layers == self.origin.model.depth and stage.init == "pretrained" and not stage.pretrained_layers
        return whole and widths in (None, list(self.origin.model.widths)) and trained_settings(name) is not None

    def text_of(self, stage: StageConfig) -> GraphText:
        """The graph's texts in the tokens of a stage."""
        return self.other_text if self.is_other(stage) and self.other_text is not None else self.text

    def describe_other(self) -> dict[str, str]:
        """The lines of the banner about `teacher.model`."""
        if self.other is None:
            return {}
        teacher, model = self.config.teacher, self.other.model
        learns = "" if teacher.lora is None else f", adapters of rank {teacher.lora.r}"
        pooled = {"mean": "the mean of the tokens", "first": "the first token", "last": "the last token"}
        lines = {
            "teacher": f"{teacher.model}: {model.depth} layers, {model.dim} wide, {pooled[model.config.pooling]}{learns}"
        }
        taught = [stage for stage in self.stages.values() if self.is_taught_across(stage)]
        if names := ", ".join(stage.name for stage in taught if METHODS["text"][stage.method].masks):
            lines["features"] = f"none for {names}: {self.apart}, and masks need the same tokens"
        return lines

    def copied_with_widths(self, stage: StageConfig) -> bool:
        """Whether a student begins with the weights of a stage's model and is trained at `encoder.widths`."""
        students = (other for other in self.stages.values() if other.teacher == stage.name and not other.load)
        return self.config.encoder.widths is not None and any(student.init == "teacher" for student in students)

    def banner(self) -> Banner:
        config, origin = self.config, self.origin.model
        fused = f"{config.structure}, trained last and fused with the last grade"
        widths = f", trained at {', '.join(map(str, config.encoder.widths))}" if config.encoder.widths else ""
        lines = {
            "graph": self.graph_line,
            "encoder": f"{config.encoder.name}: {origin.depth} layers, {origin.dim} wide{widths}",
            "batches": f"{config.contrastive.batches}, {'shared' if config.contrastive.shared else 'independent'} directions",
            "negatives": f"{self.negatives} per query, false ones masked",
            **({"structure": fused} if config.structure else {}),
            **self.describe_other(),
        }
        rows = [
            (
                stage.name,
                f"{stage.layers}, {stage.frozen_layers} frozen" if stage.frozen_layers else stage.layers,
                f"{stage.teacher}, {stage.method}{structure_words(stage)}"
                if stage.teacher != "none"
                else "labels only",
                f"{stage.mask_rate:.0%}",
                f"loaded from {stage.load}" if stage.load else self.beginning(stage),
                stage.epochs,
                f"{stage.lr:g}",
            )
            for stage in self.stages.values()
        ]
        return Banner(lines, ("stage", "layers", "taught by", "mask rate", "starts from", "epochs", "lr"), rows)

    @property
    def negatives(self) -> str:
        """How many each query has, of stages that have the same."""
        names: dict[str, list[str]] = {}
        for stage in self.stages.values():
            names.setdefault(self.negatives_of(stage), []).append(stage.name)
        if len(names) == 1:
            return next(iter(names))
        return "; ".join(f"{', '.join(stages)}: {negatives}" for negatives, stages in names.items())

    def negatives_of(self, stage: StageConfig) -> str:
        examples = 2 * min(stage.batch_size, len(self.data.train))
        parts = [f"{'up to ' * (self.config.contrastive.batches == 'queries')}{examples - 1} in-batch"]
        if stage.pre_batches:
            parts.append(f"{stage.pre_batches * examples} pre-batch")
        if self.config.contrastive.self_negatives:
            parts.append("1 self")
        return " + ".join(parts)

    def beginning(self, stage: StageConfig) -> str:
        """What a student's weights are before it is trained."""
        if self.is_other(stage):
            return self.config.teacher.model
        if stage.init == "pretrained" and self.config.encoder.name == "scratch":
            return "random weights"
        source = stage.teacher if stage.init == "teacher" else self.config.encoder.name
        if not stage.layers:
            return f"word pieces of {source}"
        return f"{source} {self.starting_layers(stage)}"

    def starting_layers(self, stage: StageConfig) -> list[int]:
        """The layers of the teacher or of the checkpoint that a student starts from."""
        if stage.init == "teacher":
            return stage.teacher_layers or evenly_spaced(stage.layers, self.stages[stage.teacher].layers)
        return stage.pretrained_layers or evenly_spaced(stage.layers, self.origin.model.depth)

    def make(self, stage: StageConfig, seed: int) -> tuple[TextModel, dict[str, Any]]:
        if stage.load:
            return load_model(stage.load), {}
        config, graph = self.config, self.data
        teacher = self.teacher_of(stage)
        source = teacher if stage.init == "teacher" else self.origin.model
        if self.is_other(stage):
            student = load_teacher(config.teacher, self.other, seed)
        elif self.goes_on(stage):
            student = copy.deepcopy(self.origin.model)
        elif stage.layers:
            student = student_of(source, self.starting_layers(stage), config.encoder.widths)
        else:
            student = bag_of(source.to(self.accelerator.device), self.text, config.encoder.widths)
        set_seed(seed)
        student.to(self.accelerator.device)
        lora = config.teacher.lora if self.is_other(stage) else config.train.lora
        adapters = lora is not None and stage.layers > 0
        if adapters:
            add_adapters(student, lora)
        freeze(student, stage.frozen_layers)
        text = self.text_of(stage)
        share = stage.structure_share
        structure = Structure(self.structure, share, graph.num_relations) if share else None
        setup = TextSetup(student, teacher, graph, text, config, stage, structure)
        contrastive = config.contrastive
        weights, tokens = graph.weights.get("train"), config.train.tokens_per_chunk
        theirs = self.other_text if self.is_taught_across(stage) else None
        collate = TripleCollator(graph.train, text, tokens, weights, shared=contrastive.shared, teacher_text=theirs)
        objective = METHODS["text"][stage.method].load_class().for_stage(setup)
        reads = partial(read_once, objective, collate, theirs or text, stage.name, asks=config.distill.ask_once)
        progress = self.fit(
            objective,
            len(collate),
            collate,
            stage if contrastive.shared else replace(stage, batch_size=2 * stage.batch_size),  # of examples
            seed,
            validate=lambda: self.validate(TextScorer(student, text, shared=True), student.widths),
            order=self.order_of(collate),
            monitor=lambda: {"temperature": 1 / float(student.inverse_temperature.detach())},
            prepare=reads,
        )
        student.requires_grad_(True)
        if adapters:
            merge_adapters(student)
        freeze(student, 0)
        return TextModel(student.halve(), self.reader(stage).tokenizer), {"train_seconds": round(progress.seconds, 1)}

    def order_of(self, collate: TripleCollator) -> Order | None:
        """Of the training examples in an epoch; None at random."""
        match self.config.contrastive.batches:
            case "walks":
                return partial(walk_order, self.data.train.numpy())
            case "queries":
                return partial(query_order, collate.query_keys())
        return None

    def teacher_of(self, stage: StageConfig) -> BiEncoder | ScorerTeacher | None:
        """The model that teaches a stage, or what a program gave in its place."""
        if stage.teacher == OWN:
            return ScorerTeacher(self.own_teacher)
        if stage.teacher == "none":
            return None
        teacher = load_model(self.run.folder / stage.teacher)
        check_vocabulary(self.run.folder / stage.teacher, teacher, self.reader(self.stages[stage.teacher]))
        return teacher.model

    def save(self, folder: Path, model: TextModel, training: Mapping[str, Any]) -> None:
        save(folder, model, self.data)

    def read(self, folder: Path) -> TextModel:
        return load_model(folder)

    def measure(self, stage: StageConfig, model: TextModel, training: Mapping[str, Any]) -> StageResult:
        """Rank at all widths, keep the ranks, and save the model again with the entities that were encoded for that."""
        student = model.model.to(self.accelerator.device)
        scorer, rate = timed_scorer(student, self.text_of(stage))
        metrics, widths = {}, {}
        for split in self.config.evaluation.splits:
            by_width = ranks_widths(
                scorer, self.data, split, **ranking_options(scorer, self.data, self.config.evaluation, split)
            )
            widths[split] = {width: RankingMetrics.from_ranks(ranks).to_dict() for width, ranks in by_width.items()}
            metrics[split] = widths[split][student.dim]
            if self.run.main:
                write_ranks(self.run.folder / stage.name, split, by_width)
        if self.run.main:
            save(self.run.folder / stage.name, model, self.data, scorer.entities)
        return StageResult(
            layers=student.depth,
            mask_rate=stage.mask_rate,
            method=stage.method,
            teacher=stage.teacher,
            dim=student.dim,
            parameters=num_parameters(student),
            train_seconds=training.get("train_seconds", 0.0),
            entities_per_second=rate,
            metrics=metrics,
            **types_used(self.config.evaluation),
            **({"widths": widths} if len(student.widths) > 1 else {}),
        )


def structure_words(stage: StageConfig) -> str:
    """How much of what teaches a stage is structure, for the banner."""
    return f", structure {stage.structure_share:g}" if stage.structure_share else ""

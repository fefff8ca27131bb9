"""Progressive distillation, from a config to a table: a teacher, then grades that each teach the next.

PMD, section 1.3 of the method notes. A run is a list of stages; what is finished is never done again, so
the same run folder can be continued until its table is complete.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from peft import LoraConfig, get_peft_model

from pmd.core.errors import PmdError
from pmd.core.quiet import quiet
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.core.types import Objective
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.batches import TripleCollator
from pmd.data.texts.graph_text import GraphText
from pmd.distill.text_supervised import TextSetup
from pmd.models.text.bi_encoder import BiEncoder
from pmd.models.text.folder import TextModel, load, save
from pmd.models.text.scorer import TextScorer, encode_texts
from pmd.models.text.start import depth_of, start
from pmd.models.text.students import evenly_spaced, student_of
from pmd.recipes.stages import (
    close_run,
    header,
    load_data,
    measure,
    measure_widths,
    open_run,
    resumable,
)
from pmd.recipes.tables import grades_table, markdown, widths_tables
from pmd.settings.catalogue import METHODS
from pmd.settings.med import check_widths
from pmd.settings.text import ProgressiveConfig, StageConfig, TrainConfig
from pmd.settings.text_stages import check, resolve_stages
from pmd.train.device import accelerator_for
from pmd.train.loop import Interrupted, fit


@dataclass(frozen=True, eq=False)
class Context:
    """What all stages of a run share."""

    config: ProgressiveConfig
    run: Run
    accelerator: Accelerator
    graph: KnowledgeGraph
    text: GraphText
    origin: TextModel

    def say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(text, file=sys.stderr, flush=True)


def progressive(config: ProgressiveConfig, run: Run | None = None) -> Run:
    """Run all stages that are not finished yet, and write the table.

    Args:
        config: what to do; for a run that goes on, the config of its folder.
        run: the run folder to go on with; a new one is made otherwise.

    Raises:
        PmdError: for settings or data that cannot be used.
        Interrupted: on Ctrl-C; the run's folder goes on.
    """
    check(config)
    quiet()
    stages = resolve_stages(config, depth_of(config.encoder))
    accelerator = accelerator_for(config.train)
    if config.train.batch_size < 2 * accelerator.num_processes:
        raise PmdError(
            f"train.batch_size: {config.train.batch_size} leaves a process without a batch; use a larger one"
        )
    graph = load_data(config)
    origin = TextModel(*start(config.encoder, graph, config.seed))
    if config.encoder.widths is not None:
        check_widths("encoder.widths", config.encoder.widths, origin.model.dim, "the width of encoder.name")
    text = origin.read(graph, config.data.cache)
    check_loads(stages, origin)
    if config.train.lora is not None:
        check_adapters(origin.model, config.train)
    run = open_run(config, run, accelerator, graph, graph.name)
    context = Context(config, run, accelerator, graph, text, origin)
    context.say(banner(context, stages))
    with resumable():
        for position, stage in enumerate(stages):
            if stage.name not in run.finished:
                run_stage(context, stage, position)
    tables = {
        split: grades_table(run.results, split) + widths_tables(run.results, split)
        for split in config.evaluation.splits
    }
    close_run(run, graph, tables, accelerator)
    return run


def check_loads(stages: list[StageConfig], origin: TextModel) -> None:
    """Refuse models to load that do not fit this run, before anything is trained."""
    for stage in stages:
        if not stage.load:
            continue
        place, found = f"stages ({stage.name}).load: '{stage.load}'", load(stage.load)
        if found.model.depth != stage.layers:
            raise PmdError(f"{place} has {found.model.depth} layers, not {stage.layers}; set the stage's layers")
        if found.tokenizer.get_vocab() != origin.tokenizer.get_vocab():
            raise PmdError(f"{place} reads with another vocabulary than encoder.name")
        if found.reading != origin.reading:
            raise PmdError(
                f"{place} reads {found.reading}, this run {origin.reading}; set encoder.max_length and others"
            )


def banner(context: Context, stages: list[StageConfig]) -> str:
    """What is about to happen: the graph, the stages and the negatives."""
    config, graph = context.config, context.graph
    rows = [
        (
            stage.name,
            stage.layers,
            f"{stage.teacher}, {stage.method}" if stage.teacher != "none" else "labels only",
            f"{stage.mask_rate:.0%}",
            (stage.load and f"loaded from {stage.load}") or beginning(stage, stages, context),
            stage.epochs,
            f"{stage.lr:g}",
        )
        for stage in stages
    ]
    examples = 2 * min(config.train.batch_size, len(graph.train))
    negatives = f"{examples - 1} in-batch"
    if config.contrastive.pre_batches:
        negatives += f" + {config.contrastive.pre_batches * examples} pre-batch"
    if config.contrastive.self_negatives:
        negatives += " + 1 self"
    origin = context.origin.model
    widths = f", trained at {', '.join(map(str, config.encoder.widths))}" if config.encoder.widths else ""
    top = header(
        context.run,
        graph,
        context.accelerator,
        encoder=f"{config.encoder.name}: {origin.depth} layers, {origin.dim} wide{widths}",
        negatives=f"{negatives} per query, false ones masked",
    )
    table = markdown(("stage", "layers", "taught by", "mask rate", "starts from", "epochs", "lr"), rows)
    return f"{top}\n\n{table}\n"


def beginning(stage: StageConfig, stages: list[StageConfig], context: Context) -> str:
    """What a student's weights are before it is trained."""
    if stage.init == "pretrained" and context.config.encoder.name == "scratch":
        return "random weights"
    source = stage.teacher if stage.init == "teacher" else context.config.encoder.name
    return f"{source} {starting_layers(stage, stages, context.origin.model.depth)}"


def starting_layers(stage: StageConfig, stages: list[StageConfig], depth: int) -> list[int]:
    """The layers of the teacher or of the checkpoint that a student starts from."""
    if stage.init == "teacher":
        depth = next(other.layers for other in stages if other.name == stage.teacher)
        return stage.teacher_layers or evenly_spaced(stage.layers, depth)
    return stage.pretrained_layers or evenly_spaced(stage.layers, depth)


def run_stage(context: Context, stage: StageConfig, position: int) -> None:
    """Train (or load) one student, save it, rank it, and note the result."""
    folder = context.run.folder / stage.name
    seconds = 0.0
    if stage.load:
        student = load(stage.load)
        if student.tokenizer.get_vocab() != context.origin.tokenizer.get_vocab():
            raise PmdError(
                f"stages ({stage.name}).load: '{stage.load}' reads with another vocabulary than encoder.name"
            )
    elif (folder / "config.json").is_file():
        student = load(folder)
    else:
        student, seconds = train_stage(context, stage, position)
        if context.run.main:
            save(folder, student, context.graph)
        context.accelerator.wait_for_everyone()
    student.model.to(context.accelerator.device)
    scorer, rate = timed_scorer(student.model, context.text)
    metrics, widths = {}, {}
    for split in context.config.evaluation.splits:
        found = measure_widths(scorer, context.graph, context.config.evaluation, split)
        widths[split] = {width: of.to_dict() for width, of in found.items()}
        metrics[split] = widths[split][student.model.dim]
    if context.run.main:
        save(folder, student, context.graph, scorer.entities)
        shutil.rmtree(context.run.folder / "checkpoint", ignore_errors=True)
    context.run.add_result(
        stage.name,
        StageResult(
            layers=student.model.depth,
            mask_rate=stage.mask_rate,
            method=stage.method,
            teacher=stage.teacher,
            dim=student.model.dim,
            parameters=sum(p.numel() for p in student.model.parameters()),
            train_seconds=round(seconds, 1),
            entities_per_second=rate,
            metrics=metrics,
            **({"widths": widths} if len(student.model.widths) > 1 else {}),
        ),
    )
    first = metrics[context.config.evaluation.splits[0]]
    context.say(f"{stage.name}: MRR {first['mrr']:.3f}, Hits@10 {first['hits_at_10']:.3f} -> {folder}\n")
    context.accelerator.wait_for_everyone()


def timed_scorer(model: BiEncoder, text: GraphText) -> tuple[TextScorer, float]:
    """The scorer of a model, and how many entities per second it encoded once it was warm."""
    some = text.entities(np.arange(min(512, text.num_entities)))
    float(encode_texts(model, "entity", some, text.pad).sum())
    began = time.perf_counter()
    scorer = TextScorer(model, text)
    float(scorer.entities.sum())  # waits for the device
    return scorer, text.num_entities / (time.perf_counter() - began)


def train_stage(context: Context, stage: StageConfig, position: int) -> tuple[TextModel, float]:
    """The trained student of a stage and the seconds it took."""
    config, accelerator, graph = context.config, context.accelerator, context.graph
    teacher = None if stage.teacher == "none" else load(context.run.folder / stage.teacher).model
    stages = resolve_stages(config, context.origin.model.depth)
    source = teacher if stage.init == "teacher" else context.origin.model
    layers = starting_layers(stage, stages, context.origin.model.depth)
    student = student_of(source, layers, config.encoder.widths)
    set_seed(config.seed * 1000 + position)
    student.to(accelerator.device)
    if config.train.lora is not None:
        add_adapters(student, config.train)
    objective = objective_for(context, stage, student, teacher).to(accelerator.device)
    collate = TripleCollator(graph.train, context.text, config.train.tokens_per_chunk)
    checkpoint = context.run.folder / "checkpoint" / stage.name

    def validate() -> dict[str, float]:
        scorer, triples = TextScorer(student, context.text), config.train.valid_triples
        if len(student.widths) == 1:
            return {"valid": measure(scorer, graph, config.evaluation, "valid", triples=triples).mrr}
        found = measure_widths(scorer, graph, config.evaluation, "valid", triples=triples)
        values = {f"valid_{width}": metrics.mrr for width, metrics in found.items()}
        return {"valid": statistics.fmean(values.values()), **values}

    progress = fit(
        objective,
        len(graph.train),
        collate,
        replace(config.train, epochs=stage.epochs, lr=stage.lr),
        accelerator,
        checkpoint,
        seed=config.seed * 1000 + position,
        label=stage.name,
        log=context.run.log,
        monitor=lambda: {"temperature": 1 / float(student.inverse_temperature.detach())},
        validate=validate,
    )
    if config.train.lora is not None:
        merge_adapters(student)
    return TextModel(student, context.origin.tokenizer), progress.seconds


def objective_for(context: Context, stage: StageConfig, student: BiEncoder, teacher: BiEncoder | None) -> Objective:
    """The objective of a stage."""
    setup = TextSetup(student, teacher, context.graph, context.text, context.config, stage)
    return METHODS["text"][stage.method].load().for_stage(setup)


def add_adapters(student: BiEncoder, train: TrainConfig) -> None:
    """Freeze the encoders and give them low-rank adapters; the temperature stays trainable."""
    lora = train.lora
    settings = LoraConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets))
    student.query_encoder = get_peft_model(student.query_encoder, settings)
    if student.entity_encoder is not None:
        student.entity_encoder = get_peft_model(student.entity_encoder, settings)


def check_adapters(model: BiEncoder, train: TrainConfig) -> None:
    """Refuse adapters for layers that the encoder does not have."""
    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    for target in train.lora.targets:
        if target not in linear:
            raise PmdError(f"train.lora.targets: no linear layer '{target}'; there are {', '.join(sorted(linear))}")


def merge_adapters(student: BiEncoder) -> None:
    """Add the trained adapters to the weights, so that the saved model is a plain bi-encoder."""
    student.query_encoder = student.query_encoder.merge_and_unload()
    if student.entity_encoder is not None:
        student.entity_encoder = student.entity_encoder.merge_and_unload()


__all__ = ["Interrupted", "progressive"]

"""One GLUE task, from a config to a table: a BERT, its sub-models, and what they are compared with.

A run is a list of stages on the one loop, as for knowledge graphs; what is finished is never done again. Every
sub-model is measured by itself: metrics, parameters, and how much faster it is than the full model.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from torch import Tensor
from transformers import BertForSequenceClassification

from pmd.core.errors import PmdError
from pmd.core.quiet import quiet
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.core.types import Objective
from pmd.data.glue import EncodedSplit, GlueBatch, GlueSplit, inputs, load_diagnostics
from pmd.data.texts.batches import Chunk
from pmd.distill.bert_finetune import BertSetup
from pmd.evaluation.glue import answers, collect, glue_metrics, glue_score, majority_metrics
from pmd.evaluation.speed import seconds_of
from pmd.models.bert.croppable import flops
from pmd.models.bert.folder import Model, load, save
from pmd.models.kge.folder import training_of
from pmd.recipes.glue_context import Context, banner, prepared
from pmd.recipes.glue_files import write_answers
from pmd.recipes.glue_models import ORDER_BATCH, ORDER_EXAMPLES, first_model
from pmd.recipes.glue_tables import run_table
from pmd.recipes.stages import close_run, open_run, resumable
from pmd.settings.catalogue import METHODS
from pmd.settings.glue import GlueConfig, GlueStageConfig
from pmd.settings.glue_stages import PRETRAINED, is_croppable
from pmd.settings.tasks import AX
from pmd.train.device import accelerator_for
from pmd.train.loop import Interrupted, fit

__all__ = ["Interrupted", "train_glue"]

SPEED_BATCH = 32
"""Texts in the batch that is timed, as in the paper's Table 6."""


def train_glue(config: GlueConfig, run: Run | None = None) -> Run:
    """Run all stages that are not finished yet, and write the table.

    Args:
        config: what to do; for a run that goes on, the config of its folder.
        run: the run folder to go on with; a new one is made otherwise.

    Raises:
        PmdError: for settings, a model or data that cannot be used.
        Interrupted: on Ctrl-C; the run's folder goes on.
    """
    quiet()
    stages, full, tokenizer, data = prepared(config)
    task, accelerator = data.task, accelerator_for(config.train)
    least = min(stages, key=lambda stage: stage.batch_size)
    if least.batch_size < accelerator.num_processes:
        raise PmdError(
            f"stages ({least.name}).batch_size: {least.batch_size} leaves a process without a batch; use a larger one"
        )
    encoded = {
        name: EncodedSplit(split, tokenizer, config.model.max_length, config.data.cache)
        for name, split in data.splits.items()
        if name not in task.test
    }
    run = open_run(config, run, accelerator, data, f"glue-{task.key}")
    context = Context(config, run, accelerator, data, tokenizer, full, encoded)
    context.say(banner(context, stages))
    with resumable():
        for position, stage in enumerate(stages):
            if stage.name not in run.finished:
                run_stage(context, stage, position)
    close_run(run, data, {"validation": run_table(run.results, task)}, accelerator)
    return run


def run_stage(context: Context, stage: GlueStageConfig, position: int) -> None:
    """Train one model, save it, measure it at every width, and note the result."""
    folder, run = context.run.folder / stage.name, context.run
    if (folder / "config.json").is_file():
        model, trained = load(folder), training_of(folder)
    else:
        model, trained = train_stage(context, stage, position)
        if run.main:
            save(folder, model, context.tokenizer, trained)
            shutil.rmtree(run.folder / "checkpoint" / stage.name, ignore_errors=True)
    model.to(context.accelerator.device)
    predicted = validated(context, stage, model)
    if context.config.evaluation.predictions:
        write_predictions(context, stage, model, predicted, folder)
    if run.main:
        widths, task = measured(context, stage, model, predicted), context.data.task
        labels = {name: context.data.splits[name].labels for name in ("train", *task.validation)}
        run.add_result(
            stage.name,
            StageResult(
                task=task.key,
                method=stage.method,
                layers=model.config.num_hidden_layers,
                teacher=stage.teacher,
                start=stage.start,
                order=stage.order,
                **trained,
                examples={name: len(labels[name]) for name in task.validation},
                majority={name: majority_metrics(task, labels["train"], labels[name]) for name in task.validation},
                widths={str(width): of for width, of in widths.items()},
            ),
        )
        scores = ", ".join(f"{of['score']:.3f} ({width})" for width, of in widths.items())
        best = f" (best epoch {trained['best_epoch']})" if "best_epoch" in trained else ""
        context.say(f"{stage.name}: {scores}{best} -> {folder}\n")
    context.accelerator.wait_for_everyone()


def train_stage(context: Context, stage: GlueStageConfig, position: int) -> tuple[Model, dict[str, Any]]:
    """The trained model of a stage, and how its training went."""
    config, accelerator, train = context.config, context.accelerator, context.encoded["train"]
    seed = config.seed * 1000 + position
    set_seed(seed)
    source = config.model.name if stage.start == PRETRAINED else str(context.run.folder / stage.start)

    def batches() -> list[GlueBatch]:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        return [train(part) for part in order[:ORDER_EXAMPLES].split(ORDER_BATCH)]

    model = first_model(stage, source, config.model, context.data.task, train.split.labels, batches, accelerator.device)
    objective = objective_for(context, stage, model).to(accelerator.device)

    def validate() -> dict[str, float]:
        metrics = metrics_of(context, stage, validated(context, stage, model))
        scores = {width: glue_score(of) for width, of in metrics.items()}
        named = {f"valid_{width}": score for width, score in scores.items()} if len(scores) > 1 else {}
        return {"valid": fmean(scores.values()), **named}

    progress = fit(
        objective,
        len(train),
        train,
        replace(config.train, epochs=stage.epochs, batch_size=stage.batch_size, lr=stage.lr),
        accelerator,
        context.run.folder / "checkpoint" / stage.name,
        seed=seed,
        label=stage.name,
        log=context.run.log,
        validate=validate,
    )
    trained = {"epochs": progress.epoch, "steps": progress.step, "train_seconds": round(progress.seconds, 3)}
    if progress.best_epoch >= 0:
        trained |= {"best_epoch": progress.best_epoch, "valid": progress.best}
    return model, trained


def objective_for(context: Context, stage: GlueStageConfig, model: Model) -> Objective:
    """The objective of a stage."""

    def teacher() -> BertForSequenceClassification:
        return load(context.run.folder / stage.teacher, plain=True)

    setup = BertSetup(model, teacher, lambda: taught_logits(context, stage), context.config, stage)
    return METHODS["bert"][stage.method].load().for_stage(setup)


def taught_logits(context: Context, stage: GlueStageConfig) -> Tensor:
    """The logits (N, num_labels) of a stage's teacher for the N examples of the training split."""
    if stage.teacher not in context.taught:
        teacher = load(context.run.folder / stage.teacher, plain=True).to(context.accelerator.device)
        (context.taught[stage.teacher],) = logits_of(context, stage, teacher, context.encoded["train"])
    return context.taught[stage.teacher]


def logits_of(context: Context, stage: GlueStageConfig, model: Model, split: EncodedSplit) -> Tensor:
    """The logits (n, N, num_labels) of every width of a stage for a split's N texts; the model's mode is left as it was.

    Processes share the texts out; all must call it, and have the same model.
    """
    training, croppable = model.training, is_croppable(stage)

    def logits(chunk: Chunk) -> Tensor:
        return model.forward_widths(**inputs(chunk)) if croppable else model(**inputs(chunk)).logits[None]

    model.eval()
    tokens = context.config.evaluation.batch_size * context.config.model.max_length
    try:
        with context.accelerator.autocast():
            return collect(logits, split.chunks(tokens), context.accelerator.device)
    finally:
        model.train(training)


def validated(context: Context, stage: GlueStageConfig, model: Model) -> dict[str, np.ndarray]:
    """By validation split the answers (n, N) of every width."""
    task, encoded = context.data.task, context.encoded
    return {name: answers(task, logits_of(context, stage, model, encoded[name])) for name in task.validation}


def metrics_of(
    context: Context, stage: GlueStageConfig, predicted: Mapping[str, np.ndarray]
) -> dict[int, dict[str, dict[str, float]]]:
    """The metrics of the validation splits, by width, from the answers (n, N) of every width."""
    task, splits = context.data.task, context.data.splits
    return {
        width: {name: glue_metrics(task, own[i], splits[name].labels) for name, own in predicted.items()}
        for i, width in enumerate(context.widths(stage))
    }


def measured(
    context: Context, stage: GlueStageConfig, model: Model, predicted: Mapping[str, np.ndarray]
) -> dict[int, dict[str, Any]]:
    """Metrics, score, parameters, FLOPs and speed of a stage's models, by width; ratios are to the full BERT's.

    `constant` names the splits whose examples all get one answer.
    """
    device = context.accelerator.device
    crops = {width: model.crop(width) if is_croppable(stage) else model for width in context.widths(stage)}
    full = BertForSequenceClassification(context.full).to(device)
    sample = context.encoded[context.data.task.validation[0]]
    batch = sample(range(min(len(sample), SPEED_BATCH))).to(device)
    length = batch.texts.input_ids.shape[1]
    seconds: dict[Any, float] = {}
    if rounds := context.config.evaluation.speed_rounds:
        # What is of full size is timed once, and is neither faster nor slower than itself.
        others = {width: crop for width, crop in crops.items() if width != context.full.hidden_size or stage.layers}
        with context.accelerator.autocast():  # as what is measured beside it was read
            seconds = seconds_of({w: _forward(of.eval(), batch) for w, of in {"full": full, **others}.items()}, rounds)
    found = {}
    for i, (width, metrics) in enumerate(metrics_of(context, stage, predicted).items()):
        found[width] = {
            "score": glue_score(metrics),
            "metrics": metrics,
            "constant": [name for name, own in predicted.items() if np.ptp(own[i]) == 0],
            "parameters": sum(p.numel() for p in crops[width].parameters()),
            "flop_ratio": round(flops(context.full, length) / flops(crops[width].config, length), 3),
        }
        if seconds:
            own = seconds.get(width, seconds["full"])
            found[width] |= {"seconds": own, "speedup": round(seconds["full"] / own, 3)}
    return found


def _forward(model: Model, batch: GlueBatch) -> Callable[[], Tensor]:
    @torch.no_grad()
    def call() -> Tensor:
        return model(**batch.inputs).logits.cpu()

    return call


def write_predictions(
    context: Context, stage: GlueStageConfig, model: Model, predicted: Mapping[str, np.ndarray], folder: Path
) -> None:
    """Leaderboard files of every width, in `predictions/SPLIT/WIDTH`: of the test split, or else of validation.

    Args:
        predicted: the answers for the validation splits.
    """
    task, splits = context.data.task, context.data.splits
    tested = all(name in splits for name in task.test)
    kind, names = ("test", task.test) if tested else ("validation", task.validation)
    files = [(task, file, splits[name], predicted.get(name)) for file, name in zip(task.files, names)]
    if task.key == "mnli" and (diagnostics := load_diagnostics(context.config.data.path)) is not None:
        files.append((AX, AX.files[0], diagnostics, None))
    for asked, file, split, found in files:
        if found is None:
            found = answers(asked, logits_of(context, stage, model, encode(context, split)))
        for width, own in zip(context.widths(stage), found) if context.run.main else ():
            write_answers(folder / "predictions" / kind / str(width) / file, asked, split.idx, own)


def encode(context: Context, split: GlueSplit) -> EncodedSplit:
    config = context.config
    return EncodedSplit(split, context.tokenizer, config.model.max_length, config.data.cache)

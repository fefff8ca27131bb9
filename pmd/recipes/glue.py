"""One GLUE task, from settings to a table: a BERT, its sub-models, and what they are compared with.

A run is a list of stages (`pmd.recipes.stages`). Every sub-model is measured by itself: metrics, parameters, and how much
faster it is than the full model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from torch import Tensor
from transformers import BertForSequenceClassification, PreTrainedTokenizerBase

from pmd.core.files import write_text
from pmd.core.results import StageResult, SubModelResult
from pmd.core.run import Run
from pmd.data.glue import (
    MAX_SIMILARITY,
    EncodedSplit,
    GlueBatch,
    GlueData,
    GlueSplit,
    inputs,
    load_diagnostics,
    load_glue,
)
from pmd.data.texts.batches import Chunk
from pmd.distill.bert_finetune import BertSetup
from pmd.distill.bert_start import ORDER_BATCH, ORDER_EXAMPLES, check_stages, first_model
from pmd.evaluation.glue import collect_logits, glue_metrics, glue_score, majority_metrics, predictions_of
from pmd.evaluation.speed import median_seconds
from pmd.models.bert.croppable import CroppableBertConfig, flops
from pmd.models.bert.folder import Model, full_config, load_model, save, tokenizer_of
from pmd.models.families import num_parameters
from pmd.recipes.glue_tables import run_table
from pmd.recipes.stages import Banner, FamilyRun, run_stages
from pmd.settings.catalogue import AX, METHODS, GlueTask, task_of
from pmd.settings.glue import GlueConfig, GlueStageConfig
from pmd.settings.stages.glue import PRETRAINED, check_glue, is_croppable, resolve_glue_stages

SPEED_BATCH = 32
"""Texts in the batch that is timed, as in the paper's Table 6."""

Answers = Mapping[str, np.ndarray]
"""The answers (n, N) of all widths of a stage, by validation split."""


def train_glue(config: GlueConfig, run: Run | None = None, **given: Any) -> Run:
    """Fine-tune a BERT and its sub-models. Arguments and errors are those of `run_stages`."""
    return run_stages(GlueRun, config, run, **given)


def read_inputs(
    config: GlueConfig, stages: Sequence[GlueStageConfig]
) -> tuple[CroppableBertConfig, PreTrainedTokenizerBase, GlueData]:
    """The configuration of the BERT to start from, its tokenizer and the data. PmdError for what the stages cannot use."""
    task, full = task_of(config.task), full_config(config.model)
    check_stages(stages, full, task)
    tokenizer = tokenizer_of(config.model.name)
    return full, tokenizer, load_glue(config.data.path, task, config.data.train_examples)


class GlueRun(FamilyRun):
    """BERTs of one task; `full` is the configuration of the BERT that they start from."""

    smallest_batch = 1

    config: GlueConfig
    stages: dict[str, GlueStageConfig]
    data: GlueData
    full: CroppableBertConfig
    tokenizer: PreTrainedTokenizerBase
    encoded: dict[str, EncodedSplit]
    teacher_logits_cache: dict[str, Tensor]
    """Logits (N, num_labels) for the training split by teacher; they do not change, so they are computed once."""

    @staticmethod
    def resolve(config: GlueConfig) -> list[GlueStageConfig]:
        check_glue(config)
        return resolve_glue_stages(config)

    def load_data(self, pending: Sequence[GlueStageConfig]) -> GlueData:
        self.full, self.tokenizer, data = read_inputs(self.config, [*self.stages.values()])
        self.encoded = {name: self.encode(split) for name, split in data.splits.items() if name not in data.task.test}
        self.teacher_logits_cache = {}
        return data

    def encode(self, split: GlueSplit) -> EncodedSplit:
        return EncodedSplit(split, self.tokenizer, self.config.model.max_length, self.config.data.cache)

    def widths(self, stage: GlueStageConfig) -> list[int]:
        """The widths of a stage's sub-models, or the width of a model of one size."""
        return list(self.full.widths) if is_croppable(stage) else [stage.width or self.full.hidden_size]

    @property
    def run_name(self) -> str:
        return f"glue-{self.data.task.key}"

    def banner(self) -> Banner:
        sizes = " / ".join(f"{len(split):,}" for split in self.data.splits.values())
        depth, width = self.full.num_hidden_layers, self.full.hidden_size
        lines = {
            "task": f"{self.data.name}: {' / '.join(self.data.splits)} of {sizes} examples",
            "model": f"{self.config.model.name}: {depth} layers, {width} wide",
        }
        rows = [
            (
                stage.name,
                stage.method,
                ", ".join(map(str, self.widths(stage))),
                stage.layers or depth,
                stage.teacher or "",
                stage.start,
                stage.order,
                stage.epochs,
                stage.batch_size,
                f"{stage.lr:g}",
            )
            for stage in self.stages.values()
        ]
        columns = ("stage", "method", "widths", "layers", "taught by", "starts from", "order", "epochs", "batch", "lr")
        return Banner(lines, columns, rows, [*["left"] * 2, *["right"] * 2, *["left"] * 3, *["right"] * 3])

    def make(self, stage: GlueStageConfig, seed: int) -> tuple[Model, dict[str, Any]]:
        train, device = self.encoded["train"], self.accelerator.device
        set_seed(seed)
        source = self.config.model.name if stage.start == PRETRAINED else str(self.run.folder / stage.start)

        def batches() -> list[GlueBatch]:
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
            return [train(part) for part in order[:ORDER_EXAMPLES].split(ORDER_BATCH)]

        def validate() -> dict[str, float]:
            metrics = self.metrics(stage, self.validated(stage, model))
            scores = {width: glue_score(by_split) for width, by_split in metrics.items()}
            named = {f"valid_{width}": score for width, score in scores.items()} if len(scores) > 1 else {}
            return {"valid": fmean(scores.values()), **named}

        model = first_model(stage, source, self.config.model, self.data.task, train.split.labels, batches, device)
        setup = BertSetup(model, lambda: self.teacher(stage), lambda: self.teacher_logits(stage), self.config, stage)
        objective = METHODS["bert"][stage.method].load_class().for_stage(setup)
        progress = self.fit(objective, len(train), train, stage, seed, validate)
        training = {"epochs": progress.epoch, "steps": progress.step, "train_seconds": round(progress.seconds, 3)}
        if progress.best_epoch >= 0:
            training |= {"best_epoch": progress.best_epoch, "valid": progress.best}
        return model, training

    def teacher(self, stage: GlueStageConfig) -> BertForSequenceClassification:
        return load_model(self.run.folder / stage.teacher, plain=True)

    def teacher_logits(self, stage: GlueStageConfig) -> Tensor:
        """The logits (N, num_labels) of a stage's teacher for the N examples of the training split."""
        if stage.teacher not in self.teacher_logits_cache:
            teacher = self.teacher(stage).to(self.accelerator.device)
            (self.teacher_logits_cache[stage.teacher],) = self.logits(stage, teacher, self.encoded["train"])
        return self.teacher_logits_cache[stage.teacher]

    def save(self, folder: Path, model: Model, training: Mapping[str, Any]) -> None:
        save(folder, model, self.tokenizer, training)

    def read(self, folder: Path) -> Model:
        return load_model(folder)

    def logits(self, stage: GlueStageConfig, model: Model, split: EncodedSplit) -> Tensor:
        """The logits (n, N, num_labels) of every width of a stage for a split's N texts; the model's mode stays.

        Processes share the texts out; all must call it, and have the same model.
        """
        training, croppable = model.training, is_croppable(stage)

        def logits(chunk: Chunk) -> Tensor:
            return model.forward_widths(**inputs(chunk)) if croppable else model(**inputs(chunk)).logits[None]

        model.eval()
        tokens = self.config.evaluation.batch_size * self.config.model.max_length
        try:
            with self.accelerator.autocast():
                return collect_logits(logits, split.chunks(tokens), self.accelerator.device)
        finally:
            model.train(training)

    def validated(self, stage: GlueStageConfig, model: Model) -> Answers:
        """The answers to the validation splits."""
        task = self.data.task
        return {name: predictions_of(task, self.logits(stage, model, self.encoded[name])) for name in task.validation}

    def metrics(self, stage: GlueStageConfig, predicted: Answers) -> dict[int, dict[str, dict[str, float]]]:
        """The metrics of the validation splits, by width."""
        task, splits = self.data.task, self.data.splits
        return {
            width: {name: glue_metrics(task, answers[i], splits[name].labels) for name, answers in predicted.items()}
            for i, width in enumerate(self.widths(stage))
        }

    def measure(self, stage: GlueStageConfig, model: Model, training: Mapping[str, Any]) -> StageResult:
        """Answer the validation splits at every width, write predictions, and time the sub-models."""
        model.to(self.accelerator.device)
        predicted, task = self.validated(stage, model), self.data.task
        if self.config.evaluation.predictions:
            self.write_predictions(stage, model, predicted)
        # The other processes would only disturb the timing.
        widths = measured(self, stage, model, predicted) if self.run.main else {}
        labels = {name: self.data.splits[name].labels for name in ("train", *task.validation)}
        return StageResult(
            task=task.key,
            method=stage.method,
            layers=model.config.num_hidden_layers,
            teacher=stage.teacher,
            start=stage.start,
            order=stage.order,
            **training,
            examples={name: len(labels[name]) for name in task.validation},
            majority={name: majority_metrics(task, labels["train"], labels[name]) for name in task.validation},
            widths={str(width): vars(result) for width, result in widths.items()},
        )

    def write_predictions(self, stage: GlueStageConfig, model: Model, predicted: Answers) -> None:
        """Leaderboard files of every width, in `predictions/SPLIT/WIDTH`: of the test split, or else of validation."""
        tested = all(name in self.data.splits for name in self.data.task.test)
        folder = self.run.folder / stage.name / "predictions" / ("test" if tested else "validation")
        for task, file, split in self.published_splits(tested):
            by_width = predicted.get(split.name)
            if by_width is None:
                by_width = predictions_of(task, self.logits(stage, model, self.encode(split)))
            for width, answers in zip(self.widths(stage), by_width) if self.run.main else ():
                write_answers(folder / str(width) / file, task, split.idx, answers)

    def published_splits(self, tested: bool) -> Iterator[tuple[GlueTask, str, GlueSplit]]:
        """The splits that the leaderboard takes answers of, with the tasks and the names of the files."""
        task = self.data.task
        for file, name in zip(task.files, task.test if tested else task.validation):
            yield task, file, self.data.splits[name]
        if task.key == "mnli" and (diagnostics := load_diagnostics(self.config.data.path)) is not None:
            yield AX, AX.files[0], diagnostics

    def summary(self, result: StageResult) -> str:
        return ", ".join(f"{model.score:.3f} ({width})" for width, model in result.sub_models.items())

    def tables(self, results: Mapping[str, StageResult]) -> dict[str, str]:
        return {"validation": run_table(results, self.data.task).markdown()}


def measured(
    family_run: GlueRun, stage: GlueStageConfig, model: Model, predicted: Answers
) -> dict[int, SubModelResult]:
    """Metrics, score, parameters, FLOPs and speed of a stage's models, by width; ratios are to the full BERT's."""
    crops = {width: model.crop(width) if is_croppable(stage) else model for width in family_run.widths(stage)}
    sample = family_run.encoded[family_run.data.task.validation[0]]
    batch = sample(range(min(len(sample), SPEED_BATCH))).to(family_run.accelerator.device)
    seconds = batch_seconds(family_run, stage, crops, batch)
    length = batch.texts.input_ids.shape[1]
    results = {}
    for i, (width, metrics) in enumerate(family_run.metrics(stage, predicted).items()):
        speed = {}
        if seconds:
            width_seconds = seconds.get(width, seconds["full"])
            speed = {"seconds": width_seconds, "speedup": round(seconds["full"] / width_seconds, 3)}
        results[width] = SubModelResult(
            score=glue_score(metrics),
            metrics=metrics,
            constant=[name for name, answers in predicted.items() if np.ptp(answers[i]) == 0],
            parameters=num_parameters(crops[width]),
            flop_ratio=round(flops(family_run.full, length) / flops(crops[width].config, length), 3),
            **speed,
        )
    return results


def batch_seconds(
    family_run: GlueRun, stage: GlueStageConfig, crops: Mapping[int, Model], batch: GlueBatch
) -> dict[Any, float]:
    """The seconds that a batch takes by width, and those of the full BERT as `full`; empty if nothing is to be timed."""
    rounds = family_run.config.evaluation.speed_rounds
    if not rounds:
        return {}
    full = BertForSequenceClassification(family_run.full).to(family_run.accelerator.device)
    # A model of full size is not timed again: it is neither faster nor slower than the full BERT.
    others = {width: crop for width, crop in crops.items() if width != family_run.full.hidden_size or stage.layers}
    with family_run.accelerator.autocast():  # the precision of the metrics
        return median_seconds({key: _forward(m.eval(), batch) for key, m in {"full": full, **others}.items()}, rounds)


def _forward(model: Model, batch: GlueBatch) -> Callable[[], Tensor]:
    @torch.no_grad()
    def call() -> Tensor:
        return model(**batch.inputs).logits.cpu()

    return call


def write_answers(file: Path, task: GlueTask, idx: np.ndarray, answers: np.ndarray) -> None:
    """Predictions as the GLUE leaderboard takes them: a header, then `index<TAB>prediction` for each of n examples.

    Args:
        idx: (n,) of the examples.
        answers: (n,) label ids, or similarities, which are clipped to [0, 5].
    """
    if task.regression:
        shown = [f"{value:.3f}" for value in np.clip(answers, 0, MAX_SIMILARITY)]
    elif task.plain:
        shown = answers.astype(str)
    else:
        shown = np.array(task.labels)[answers]
    lines = ["index\tprediction", *(f"{index}\t{answer}" for index, answer in zip(idx, shown))]
    write_text(file, "\n".join(lines) + "\n")

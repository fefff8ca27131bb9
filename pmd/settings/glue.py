"""Every setting of a GLUE run, with its default, meaning and unit. As light as `config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pmd.settings.catalogue import BertMethod, TaskName
from pmd.settings.med import MedConfig
from pmd.settings.shared import LoopConfig

Order = Literal["none", "magnitude", "taylor"]


@dataclass
class GlueDataConfig:
    """Where the task's texts come from.

    Args:
        path: `nyu-mll/glue` or another data set of the Hub in its columns; or a folder with train.jsonl and
            validation.jsonl (MNLI: validation_matched.jsonl, validation_mismatched.jsonl; test files if there are), or
            with one such folder for each task (`RTE`, `sst2` …).
        cache: folder for tokenised texts; default is `pmd` in the user's cache folder.
        train_examples: train on the first so many; 0 for all.
    """

    path: str = "nyu-mll/glue"
    cache: str | None = None
    train_examples: int = 0


@dataclass
class GlueModelConfig:
    """The BERT to start from and its sub-models.

    Args:
        name: a Hub id, a folder, or `package:NAME/FOLDER` for weights that an installed Python package carries.
        widths: hidden sizes of the sub-models, in dimensions, the last one that of the BERT; null for that alone.
        max_length: texts are cut at so many tokens, special tokens included; of a pair the longer text gives way.
        dropout: hidden dropout while training; null keeps the checkpoint's own.
        order: before a croppable model or a narrower student is trained, put first what is worth most: `magnitude`
            (dimensions, by LayerNorm scales), `taylor` (heads, neurons and dimensions, by the gradients of the task's
            loss), or `none`. Null is `taylor` for what begins with a fine-tuned model of one size, which alone knows
            what the task needs, and `none` for the rest.
    """

    name: str = "bert-base-uncased"
    widths: list[int] | None = None
    max_length: int = 128
    dropout: float | None = None
    order: Order | None = None


@dataclass
class GlueTrainConfig(LoopConfig):
    """How every stage is trained, unless the stage says otherwise."""

    epochs: int = 3
    batch_size: int = 32
    lr: float = 2e-5
    weight_decay: float = 0.01
    warmup: int = 10_000
    grad_clip: float = 1.0
    valid_every: int = 1


@dataclass
class GlueDistillConfig:
    """What a student of one size learns from the fine-tuned full model. Each method reads its own settings.

    Args:
        alpha: bkd, pkd: weight of the softened logits; the labels weigh 1 − alpha.
        temperature: bkd, pkd: softens the logits of both.
        layers: pkd: weight of the distances between normalised [CLS] states.
        relations: minilm: weight of the attention and of the value relations, each.
        distance: rkd: weight of the distance relations.
        angle: rkd: weight of the angle relations.
    """

    alpha: float = 0.5
    temperature: float = 2.0
    layers: float = 1.0
    relations: float = 1.0
    distance: float = 25.0
    angle: float = 50.0


@dataclass
class GlueStageConfig:
    """One training. Settings left out are those of the run.

    Args:
        name: folder in the run.
        method: `finetune`: labels alone; `med`: all widths in one model, learning together; `hat`: all widths in one
            model, one drawn for each step, labels alone (Wang et al., ACL 2020); `bkd`, `pkd`, `minilm`, `rkd`: a
            student of one size, taught.
        width: hidden size of a model of one size; null is the full one.
        layers: depth of a model of one size, layers evenly taken; null keeps all.
        teacher: of a student: an earlier stage; default the first full `finetune`.
        start: the weights to begin with: `pretrained`, or an earlier full or croppable stage. Students begin as the
            crop of their teacher; `med` and `hat` begin with the first full `finetune` before them, if there is one
            (pretrained, widths below the full one learn next to nothing in a few epochs); the others pretrained.
        order: of `med`, `hat` and narrower models: overrides `model.order`.
        med: of `med`: overrides `med`.
        epochs: overrides `train.epochs`.
        batch_size: overrides `train.batch_size`.
        lr: overrides `train.lr`.
    """

    name: str
    method: BertMethod = "finetune"
    width: int | None = None
    layers: int | None = None
    teacher: str | None = None
    start: str | None = None
    order: Order | None = None
    med: MedConfig | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None


@dataclass
class GlueEvaluationConfig:
    """What is measured when a stage is done.

    Args:
        batch_size: texts of `model.max_length` tokens encoded at a time, or more of shorter ones: bounds the memory.
        speed_rounds: how often the full model and every sub-model take turns at a batch of 32; medians count. 0 for
            no timing.
        predictions: write leaderboard files, of the test split or, without one, of validation.
    """

    batch_size: int = 64
    speed_rounds: int = 5
    predictions: bool = True


@dataclass
class GlueConfig:
    """Fine-tune a BERT and its sub-models on one GLUE task.

    Args:
        task: in any spelling of its name: `SST-2` is `sst2`.
        name: the run's name; by default that of the task.
        seed: of everything random.
        runs: folder of the run folders.
        methods: what to train, if `stages` does not say it; students get a stage for every width below the full one.
        data: the task's texts.
        model: the BERT and its widths.
        med: how the widths of `med` learn together; prefix, power and calibrated are of embeddings.
        distill: what students learn from their teacher.
        train: training settings.
        stages: the trainings one by one, in place of `methods`.
        evaluation: what is measured.
    """

    task: TaskName = "rte"
    name: str | None = None
    seed: int = 0
    runs: str = "runs"
    methods: list[BertMethod] = field(default_factory=lambda: ["finetune", "med"])
    data: GlueDataConfig = field(default_factory=GlueDataConfig)
    model: GlueModelConfig = field(default_factory=GlueModelConfig)
    med: MedConfig = field(default_factory=MedConfig)
    distill: GlueDistillConfig = field(default_factory=GlueDistillConfig)
    train: GlueTrainConfig = field(default_factory=GlueTrainConfig)
    stages: list[GlueStageConfig] | None = None
    evaluation: GlueEvaluationConfig = field(default_factory=GlueEvaluationConfig)

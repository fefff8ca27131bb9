"""Every setting of a run of embedding models, with its default, meaning and unit. As light as `config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pmd.settings.catalogue import EmbeddingMethod, EntityEncoderName, InteractionName
from pmd.settings.entity_encoders import EarlConfig, NodePieceConfig
from pmd.settings.med import MedConfig
from pmd.settings.shared import DataConfig, EvaluationConfig, LoopConfig

Loss = Literal["margin", "logistic", "softmax", "one_vs_all", "k_vs_all"]


@dataclass
class ModelConfig:
    """The embedding model.

    Args:
        interaction: what a triple scores, in any case of letters.
        dim: width: numbers in each part of an embedding (ComplEx, RotatE and SimplE entities have two parts).
        widths: train one croppable model: its leading dimensions are models of these widths, the last one `dim`.
        norm: of a distance: l1, l2 or squared; null is the interaction's own.
        reciprocal: a second embedding of every relation for its inverse; head queries become tail queries.
        unit_entities: entities are scaled to length 1 (PairRE).
        init: entities start uniform in ±init; null gives them a length of about 1.
        encoder: what the vectors of entities come from: a `table` of them, or few parameters: `nodepiece` or `earl`.
        nodepiece: settings of that encoder.
        earl: settings of that encoder.
    """

    interaction: InteractionName = "rotate"
    dim: int = 64
    widths: list[int] | None = None
    norm: Literal["l1", "l2", "squared"] | None = None
    reciprocal: bool = False
    unit_entities: bool = False
    init: float | None = None
    encoder: EntityEncoderName = "table"
    nodepiece: NodePieceConfig = field(default_factory=NodePieceConfig)
    earl: EarlConfig = field(default_factory=EarlConfig)

    def __post_init__(self) -> None:
        self.interaction = InteractionName(self.interaction.lower())


@dataclass
class LossConfig:
    """What the model learns from.

    Args:
        name: `margin` (ranking, Bordes et al.) and `logistic` (cross-entropy of σ(score), Sun et al.) and
            `softmax` compare with sampled negatives; `one_vs_all` and `k_vs_all` with every entity.
        margin: γ: by so much a true triple should score above a false one (`margin`), or what is added to
            a score to make it a logit (`logistic`, `k_vs_all`); the others have no use for it. Null is 1 for `margin`,
            else 6 for a distance and 0 for a product.
        scale: factor on the score in a logit: scale · (score + margin).
        negatives: sampled for each triple: half of the triples of a batch get false heads, half false tails.
        shared: so many consecutive triples of a batch share their negatives; 1 gives each its own.
        filtered: leave out negatives that are known training triples.
        adversarial: temperature of the self-adversarial weights (Sun et al., Eq. 5); 0 weighs evenly.
        label_smoothing: of `one_vs_all` and `k_vs_all`.
        n3: weight of the nuclear 3-norm (Lacroix et al.), for ComplEx and SimplE.
        constraint: C: weight of the soft constraints of TransH (Wang et al., Eq. 4): entities no longer than 1, and
            translations in their hyperplanes.
    """

    name: Loss = "softmax"
    margin: float | None = None
    scale: float = 1.0
    negatives: int = 64
    shared: int = 1
    filtered: bool = False
    adversarial: float = 0.0
    label_smoothing: float = 0.0
    n3: float = 0.0
    constraint: float = 0.0


@dataclass
class KgeTrainConfig(LoopConfig):
    """How every stage is trained, unless the stage says otherwise.

    Args:
        optimizer: `adam`; `sparse_adam` updates only the rows that a batch has read; `adagrad`; `adamw`.
        schedule: of the learning rate after the warm-up: `linear` down to zero, or `constant`.
        valid_triples: validation triples to rank; 0 for all.
    """

    epochs: int = 200
    batch_size: int = 1024
    lr: float = 0.02
    weight_decay: float = 0.0
    warmup: int = 0
    grad_clip: float = 0.0
    optimizer: Literal["adam", "sparse_adam", "adagrad", "adamw"] = "adam"
    schedule: Literal["linear", "constant"] = "linear"
    valid_triples: int = 0
    log_every: int = 50
    valid_every: int = 20
    patience: int = 0


@dataclass
class DualConfig:
    """How a student learns from a wider teacher (DistilE / DualDE).

    Args:
        alpha: weight of the student's soft labels; its hard labels have 1 − alpha.
        beta: likewise of the teacher's, once it is released.
        temperature: softens the logits of both in the soft labels of all but the margin loss; 1 is the paper's.
        students: widths of students of a teacher of width `model.dim`: each is trained alone, with as many epochs as
            both stages have, and taught in two stages. Null for a single model without students.
        lrs: learning rates of the students up to the second stage, one for each width; null for `train.lr`.
        ablations: students without the first stage and students without the second, too, for as many epochs.
        second_epochs: epochs of the second stage; null for half of `train.epochs`.
        second_lr: peak learning rate of the second stage; null for `train.lr`.
    """

    alpha: float = 0.5
    beta: float = 0.5
    temperature: float = 1.0
    students: list[int] | None = None
    lrs: list[float] | None = None
    ablations: bool = False
    second_epochs: int | None = None
    second_lr: float | None = None


@dataclass
class KgeStageConfig:
    """One model. Settings left out are those of the run.

    Args:
        name: folder in the run.
        dim: width.
        teacher: name of an earlier stage that gives soft labels; default none.
        start: an earlier stage of the same width whose weights are the start, by name, or the folder of a trained model of
            the same graph; default random.
        release: the teacher learns too (stage 2 of DualDE).
        method: how it is trained; default `med` where there are widths, `dualde` where there is a teacher, or else
            `supervised`: labels alone.
        alpha: overrides `dual.alpha`.
        beta: overrides `dual.beta`.
        epochs: overrides `train.epochs`; below 1, a share of it.
        lr: overrides `train.lr`.
        margin: overrides `loss.margin`.
        scale: overrides `loss.scale`.
        constraint: overrides `loss.constraint`.
        adversarial: overrides `loss.adversarial`.
        loss: overrides `loss.name`, by another one with sampled negatives.
        widths: one model of all these widths.
        med: overrides `med`.
        crop: name of an earlier stage: take its leading dimensions, without training.
        order: of the dimensions before `crop`: as they are (null), by `loss`: how much the loss on a sample of
            1,024 validation triples rises without them, or by `value`: their mean absolute value.
        load: a folder of a trained model to take in place of training this stage.
        encoder: overrides `model.encoder`.
    """

    name: str
    dim: int | None = None
    teacher: str | None = None
    start: str | None = None
    release: bool = False
    method: EmbeddingMethod | None = None
    alpha: float | None = None
    beta: float | None = None
    epochs: float | None = None
    lr: float | None = None
    margin: float | None = None
    scale: float | None = None
    constraint: float | None = None
    adversarial: float | None = None
    loss: Loss | None = None
    widths: list[int] | None = None
    med: MedConfig | None = None
    crop: str | None = None
    order: Literal["loss", "value"] | None = None
    load: str | None = None
    encoder: EntityEncoderName | None = None


@dataclass
class KgeConfig:
    """A run of embedding models: one, or several that teach each other.

    Args:
        name: the run's name, which many configs give; otherwise that of the graph and the interaction.
        seed: of everything random.
        runs: folder of the run folders.
        data: the knowledge graph.
        model: the embedding model.
        loss: labels, negatives and regularisers.
        train: training settings.
        dual: weights of soft labels.
        med: how the widths of one croppable model learn together.
        stages: the models to train; by default those that `dual.students` asks for, or one.
        evaluation: the final ranking.
    """

    name: str | None = None
    seed: int = 0
    runs: str = "runs"
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: KgeTrainConfig = field(default_factory=KgeTrainConfig)
    dual: DualConfig = field(default_factory=DualConfig)
    med: MedConfig = field(default_factory=MedConfig)
    stages: list[KgeStageConfig] | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

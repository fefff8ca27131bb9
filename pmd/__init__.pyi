# Written by scripts/typed/stub.py; change the functions and dataclasses it reads.
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import pmd.settings.entity_encoders
import pmd.settings.glue
import pmd.settings.kge
import pmd.settings.med
import pmd.settings.shared
import pmd.settings.text
from pmd.api.fitting.fit import FitResult
from pmd.api.trained import ShrunkRun
from pmd.api.trained import TrainedRun as TrainedRun
from pmd.api.tuning.tune import TuneResult
from pmd.core.errors import PmdError as PmdError
from pmd.core.errors import PmdWarning as PmdWarning
from pmd.core.types import Rerank, TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph as KnowledgeGraph
from pmd.data.graphs.split import Shares as Shares
from pmd.evaluation.metrics import RankingMetrics as RankingMetrics
from pmd.evaluation.ranking import ranks as ranks
from pmd.evaluation.width_ranking import Croppable
from pmd.models.bert.croppable import CroppableBert as CroppableBert
from pmd.models.bert.croppable import CroppableBertForSequenceClassification as CroppableBertForSequenceClassification
from pmd.models.kge.model import KgeModel as KgeModel
from pmd.models.text.bi_encoder import BiEncoder as BiEncoder
from pmd.models.text.bi_encoder import BiEncoderConfig as BiEncoderConfig
from pmd.models.text.scorer import TextScorer as TextScorer
from pmd.models.vectors import VectorScorer as VectorScorer
from pmd.recipes.evaluate import ModelMetrics
from pmd.use.load import load as load
from pmd.use.load import load_scorer as load_scorer

__all__ = [
    "BiEncoder",
    "BiEncoderConfig",
    "CroppableBert",
    "CroppableBertForSequenceClassification",
    "KgeModel",
    "KnowledgeGraph",
    "PmdError",
    "PmdWarning",
    "RankingMetrics",
    "Shares",
    "TextScorer",
    "TrainedRun",
    "VectorScorer",
    "crop",
    "evaluate",
    "export",
    "fit",
    "fuse",
    "glue",
    "graph_from",
    "load",
    "load_graph",
    "load_scorer",
    "progressive",
    "push",
    "rank",
    "rank_widths",
    "ranks",
    "report",
    "shrink",
    "train",
    "tune",
    "update",
]

class ContrastiveSettings(TypedDict, total=False):
    """Negatives of the contrastive loss (SimKGC). False negatives are always masked out."""

    margin: float
    """subtracted from the true pair's cosine while training."""
    self_negatives: bool
    """the head as a wrong answer to its own query; without them it never counts as one."""
    in_batch_heads: bool
    """self-negatives count, too, wherever the head is among the entities of the batch or of earlier ones, as in SimKGC's code. With shared directions it always is, as the answer of the inverse query; `false` counts it once."""
    pre_batches: int
    """keep the entities of so many earlier batches as further negatives."""
    pre_batch_weight: float
    """factor on the logits of those."""
    directions: Literal["shared", "independent"]
    """of random batches: `shared` ones hold each of their triples in both directions, so that most texts are read for two examples; in `independent` ones, as many examples of either direction are drawn each by itself, as SimKGC does. Walks are shared, batches of queries independent."""
    batches: Literal["random", "walks", "queries"]
    """of `random` triples; of `walks` over the graph, whose triples share entities: fewer texts, and negatives that are harder to tell from the answer; or of `queries`, each with up to 8 of its answers: where texts of queries have many answers, far fewer texts. Their batches want 16 triples or more."""

class DataSettings(TypedDict, total=False):
    """Which knowledge graph."""

    path: str
    """`world` (bundled), a folder or a file of triples in any layout of docs/graphs.md, or the name of a data set on the Hugging Face Hub with the columns head, relation and tail."""
    columns: dict[str, str | int] | None
    """columns of the source that have other names or another order, such as {head: subject} or, by number, {head: 1, tail: 2, relation: 3}."""
    drop: list[str | int] | None
    """columns to leave out, by name or number; `time` and `weight` for those that hold such values."""
    weight: str | None
    """the column that says how certain each triple is; the losses weigh their terms by it."""
    language: str | None
    """of names and descriptions, where a source has several."""
    subset: str | None
    """configuration of a Hub data set."""
    revision: str | None
    """revision of a Hub data set."""
    cache: str | None
    """folder for tokenised texts; by default `pmd` in the user's cache folder."""

class DistillSettings(TypedDict, total=False):
    """How a student learns from the grade above. Stages after the first that have no teacher take `lr`, `batch_size` and"""

    method: Literal["none", "pmd", "pmd_no_mgfd", "lkd", "pkd"]
    """`pmd`, `pmd_no_mgfd` (labels and scores only), `lkd` (softened logits, Hinton), `pkd` (patient: middle layers too) or `none` (labels only)."""
    alpha: float
    """weight of the score (pmd) or softened-logit (lkd, pkd) term."""
    beta: float
    """weight of the masked-feature (pmd) or middle-layer (pkd) term."""
    label_weight: float | None
    """weight of the labels; null is 1 − alpha − beta (pmd) or 1 − alpha (lkd, pkd), which must be above 0. With a number, alpha and beta may be as large as you like: features take a beta of 1 or more to count."""
    score: Literal["mse", "kl"]
    """the score term of pmd: `mse` of the logits, as in the paper, or `kl` of the softened logits."""
    feature: Literal["token", "pooled"]
    """the masked-feature term on every masked `token`, or on their mean per text, `pooled`."""
    feature_norm: Literal["mean", "sum"]
    """its squared errors averaged over the hidden width (`mean`), or as a squared distance (`sum`), which weighs it as many times more as the encoder is wide."""
    feature_mean: Literal["all", "sides"]
    """the masked-feature term is one mean over the queries' and entities' features (`all`), or the mean of the queries' plus the mean of the entities' (`sides`), as the authors ran."""
    masked_view: Literal["same", "separate"]
    """`same`: labels, scores and features from the masked texts; `separate`: labels and scores from whole texts, features from a second reading of some of them with masks."""
    masked_share: float
    """the share of a batch's texts that a `separate` reading takes."""
    mask_choice: Literal["random", "rare", "attention", "uncertainty"]
    """which tokens are masked: `random` ones, or more often those that are `rare` in the graph's texts, to which the teacher's last layer pays `attention`, or without which its vector turns most (`uncertainty`)."""
    mask_rate_by: Literal["schedule", "uncertainty"]
    """how many: the mask rate of every text (`schedule`), or more where the teacher is sure of the batch's answers and fewer where it is not (`uncertainty`), as many in all."""
    init: Literal["teacher", "pretrained"]
    """start a student from layers of the `teacher` or of the original `pretrained` checkpoint."""
    temperature: float
    """softens the logits of lkd, pkd, `score: kl` and `similarity_loss: kl`."""
    similarity: float
    """weight of a term on the similarities within a batch, beside the others: the student's entities are to be as similar to each other, and its queries to each other, as the teacher's are, whatever the widths of both; 0 for none."""
    similarity_loss: Literal["kl", "mse"]
    """`kl` of each text's softened similarities to all others, or `mse` of the cosines."""
    structure: str | None
    """folder of a trained embedding model of the graph (a run or a stage of one), whose scores are mixed into the teacher's logits."""
    structure_share: float
    """its share of them, from 0 to 1."""
    ask_once: bool
    """read every text with the teacher once, before the first step, and keep its vectors in the run folder until the run ends, for all epochs and for all students of that teacher; `false` reads each batch again. What is masked is drawn anew in every step and always read again."""
    taught_by: Literal["grade_above", "teacher"]
    """every student by the `grade_above`, or all by the first `teacher`."""
    depths: list[int] | None
    """layers of the grades; default all, three quarters, half and a quarter of the checkpoint's. 0 is a student without attention, the mean of its word pieces' vectors."""
    mask_rates: list[float]
    """mask rates of the grades, as many as there are depths."""
    epochs: int | list[int] | None
    """epochs of a distilled stage, or a list of those of each grade; default `train.epochs`."""
    chain_epochs: bool
    """for comparisons of equal length. With `init: teacher`, grades that do not start where the grade above ended train as long as the chain to their depth would take: those of the first `teacher` take the `epochs` of all grades so far, those without a teacher `train.epochs` more. With `init: pretrained` no grade starts there: all take `epochs`."""
    lr: float | None
    """peak learning rate of the stages after the first; default `train.lr`."""
    bag_lr: float
    """peak learning rate of a stage without layers, whose vectors of word pieces want larger steps."""
    batch_size: int | None
    """examples in a batch of the stages after the first; default `train.batch_size`."""
    pre_batches: int | None
    """earlier batches whose entities the stages after the first keep; default `contrastive.pre_batches`."""

class DualSettings(TypedDict, total=False):
    """How a student learns from a wider teacher (DistilE / DualDE)."""

    alpha: float
    """weight of the student's soft labels; its hard labels have 1 − alpha."""
    beta: float
    """likewise of the teacher's, once it is released."""
    temperature: float
    """softens the logits of both in the soft labels of all but the margin loss; 1 is the paper's."""
    students: list[int] | None
    """widths of students of a teacher of width `model.dim`: each is trained alone, with as many epochs as both stages have, and taught in two stages. Null for a single model without students."""
    lrs: list[float] | None
    """learning rates of the students up to the second stage, one for each width; null for `train.lr`."""
    ablations: bool
    """students without the first stage and students without the second, too, for as many epochs."""
    second_epochs: int | None
    """epochs of the second stage; null for half of `train.epochs`."""
    second_lr: float | None
    """peak learning rate of the second stage; null for `train.lr`."""

class EncoderSettings(TypedDict, total=False):
    """The encoder behind queries and entities, a BERT or one of its kind, and how it reads a graph's texts."""

    name: str
    """`scratch` (random weights, vocabulary from the graph's texts), a Hub id, a local folder, or `package:NAME/FOLDER` for weights that an installed Python package carries. The folder of a trained text model is that model, which goes on to learn and reads as it did."""
    layers: int
    """depth of a `scratch` encoder; others keep their own."""
    hidden_size: int
    """width of a `scratch` encoder."""
    heads: int
    """attention heads of a `scratch` encoder."""
    intermediate_size: int
    """feed-forward width of a `scratch` encoder."""
    vocab_size: int
    """at most so many word pieces for a `scratch` encoder."""
    dropout: float | None
    """of hidden states while training, wherever the encoder has one; null keeps the checkpoint's own (0.1 for `scratch`)."""
    attention_dropout: float | None
    """likewise of attention probabilities."""
    tied: bool
    """one encoder for queries and entities in place of two."""
    max_length: int
    """texts are cut at so many tokens, special tokens included; the entity gives way to the relation, which is cut only where it would fill more than half."""
    neighbours_below: int
    """entities whose description has fewer words than this get the names of their neighbours in the training graph appended; 0 for never."""
    max_neighbours: int
    """at most so many neighbour names."""
    temperature: float
    """start of the learned temperature of the contrastive loss."""
    widths: list[int] | None
    """train the leading dimensions of a text's vector to be vectors of their own, so that one training and one index of entities serve all these widths; increasing, the last one the encoder's (`hidden_size`)."""

class EvaluationSettings(TypedDict, total=False):
    """The final ranking of every stage: exact, filtered, for heads and tails, by realistic ranks."""

    split: str | list[str]
    """the split to rank; a list of names for several."""
    batch_size: int
    """triples that are ranked at a time; the memory needed grows with it."""
    rerank_hops: int
    """add `rerank_weight` to the score of entities at most this many hops from the query's; 0 for none."""
    rerank_weight: float
    """what is added, in units of the cosine."""
    types: Literal["off", "soft", "strict"]
    """`soft` adds to the scores of entities that fit the open end of a question (docs/trust.md), by a weight that the validation split chooses; `strict` also leaves out those that do not fit."""

class GlueDataSettings(TypedDict, total=False):
    """Where the task's texts come from."""

    path: str
    """`nyu-mll/glue` or another data set of the Hub in its columns; or a folder with train.jsonl and validation.jsonl (MNLI: validation_matched.jsonl, validation_mismatched.jsonl; test files if there are), or with one such folder for each task (`RTE`, `sst2` …)."""
    cache: str | None
    """folder for tokenised texts; default is `pmd` in the user's cache folder."""
    train_examples: int
    """train on the first so many; 0 for all."""

class GlueDistillSettings(TypedDict, total=False):
    """What a student of one size learns from the fine-tuned full model. Each method reads its own settings."""

    alpha: float
    """bkd, pkd: weight of the softened logits; the labels weigh 1 − alpha."""
    temperature: float
    """bkd, pkd: softens the logits of both."""
    layers: float
    """pkd: weight of the distances between normalised [CLS] states."""
    relations: float
    """minilm: weight of the attention and of the value relations, each."""
    distance: float
    """rkd: weight of the distance relations."""
    angle: float
    """rkd: weight of the angle relations."""

class GlueEvaluationSettings(TypedDict, total=False):
    """What is measured when a stage is done."""

    batch_size: int
    """texts of `model.max_length` tokens encoded at a time, or more of shorter ones: bounds the memory."""
    speed_rounds: int
    """how often the full model and every sub-model take turns at a batch of 32; medians count. 0 for no timing."""
    predictions: bool
    """write leaderboard files, of the test split or, without one, of validation."""

class GlueModelSettings(TypedDict, total=False):
    """The BERT to start from and its sub-models."""

    name: str
    """a Hub id, a folder, or `package:NAME/FOLDER` for weights that an installed Python package carries."""
    widths: list[int] | None
    """hidden sizes of the sub-models, in dimensions, the last one that of the BERT; null for that alone."""
    max_length: int
    """texts are cut at so many tokens, special tokens included; of a pair the longer text gives way."""
    dropout: float | None
    """hidden dropout while training; null keeps the checkpoint's own."""
    order: Literal["none", "magnitude", "taylor"] | None
    """before a croppable model or a narrower student is trained, put first what is worth most: `magnitude` (dimensions, by LayerNorm scales), `taylor` (heads, neurons and dimensions, by the gradients of the task's loss), or `none`. Null is `taylor` for what begins with a fine-tuned model of one size, which alone knows what the task needs, and `none` for the rest."""

class GlueStageSettings(TypedDict, total=False):
    """One training. Settings left out are those of the run."""

    name: str
    """folder in the run."""
    method: Literal["finetune", "med", "hat", "bkd", "pkd", "minilm", "rkd"]
    """`finetune`: labels alone; `med`: all widths in one model, learning together; `hat`: all widths in one model, one drawn for each step, labels alone (Wang et al., ACL 2020); `bkd`, `pkd`, `minilm`, `rkd`: a student of one size, taught."""
    width: int | None
    """hidden size of a model of one size; null is the full one."""
    layers: int | None
    """depth of a model of one size, layers evenly taken; null keeps all."""
    teacher: str | None
    """of a student: an earlier stage; default the first full `finetune`."""
    start: str | None
    """the weights to begin with: `pretrained`, or an earlier full or croppable stage. Students begin as the crop of their teacher; `med` and `hat` begin with the first full `finetune` before them, if there is one (pretrained, widths below the full one learn next to nothing in a few epochs); the others pretrained."""
    order: Literal["none", "magnitude", "taylor"] | None
    """of `med`, `hat` and narrower models: overrides `model.order`."""
    med: pmd.settings.med.MedConfig | MedSettings | None
    """of `med`: overrides `med`."""
    epochs: int | None
    """overrides `train.epochs`."""
    batch_size: int | None
    """overrides `train.batch_size`."""
    lr: float | None
    """overrides `train.lr`."""

class GlueTrainSettings(TypedDict, total=False):
    """How every stage is trained, unless the stage says otherwise."""

    epochs: int
    """passes over the training examples."""
    epoch_steps: int
    """an epoch ends after so many steps, for examples whose whole takes too long between two validations; each epoch then has others, drawn from all. 0 for a whole pass."""
    batch_size: int
    """examples in a batch, over all processes; an example of a graph is a triple."""
    lr: float
    """peak learning rate."""
    weight_decay: float
    """weight decay of AdamW, for matrices only."""
    warmup: int
    """steps of linear warm-up, followed by linear decay to zero; at most a tenth of all steps."""
    grad_clip: float
    """largest gradient norm; 0 for no limit."""
    precision: Literal["no", "bf16", "fp16"]
    """`no` is fp32; bf16 is faster on GPUs and on CPUs that compute in it (AMX), fp16 on GPUs only."""
    log_every: int
    """steps between two lines in metrics.jsonl."""
    gradient_norms: bool
    """with each of these lines log the norms of the gradients of all weighted loss terms, before clipping, as `grad_` and the term's name: which terms count. Nothing else changes; a logged step takes a backward pass more for each term."""
    save_minutes: float
    """largest number of minutes between two checkpoints; Ctrl-C always writes one."""
    valid_every: int
    """epochs between two validations; 0 for none. If there are any, the best model is kept, by the MRR of the validation split or the score of the task, averaged over the widths."""
    patience: int
    """stop after this many validations without improvement; 0 for never."""
    threads: int
    """CPU threads of each process; 0 for what the user sets by OMP_NUM_THREADS, or else for the cores that are free at the start, shared evenly by the processes. A resumed run keeps its number."""
    workers: int
    """processes that prepare batches; 0 for the training process itself."""
    report_to: (
        Literal["tensorboard", "mlflow", "trackio", "wandb"]
        | list[Literal["tensorboard", "mlflow", "trackio", "wandb"]]
        | None
    )
    """trackers that are told, beside metrics.jsonl and results.json; one or a list. `tensorboard` and `mlflow` write to `tracking` in the run folder."""

class KgeStageSettings(TypedDict, total=False):
    """One model. Settings left out are those of the run."""

    name: str
    """folder in the run."""
    dim: int | None
    """width."""
    teacher: str | None
    """name of an earlier stage that gives soft labels; default none."""
    start: str | None
    """an earlier stage of the same width whose weights are the start, by name, or the folder of a trained model of the same graph; default random."""
    release: bool
    """the teacher learns too (stage 2 of DualDE)."""
    method: Literal["supervised", "dualde", "med"] | None
    """how it is trained; default `med` where there are widths, `dualde` where there is a teacher, or else `supervised`: labels alone."""
    alpha: float | None
    """overrides `dual.alpha`."""
    beta: float | None
    """overrides `dual.beta`."""
    epochs: float | None
    """overrides `train.epochs`; below 1, a share of it."""
    lr: float | None
    """overrides `train.lr`."""
    margin: float | None
    """overrides `loss.margin`."""
    scale: float | None
    """overrides `loss.scale`."""
    constraint: float | None
    """overrides `loss.constraint`."""
    adversarial: float | None
    """overrides `loss.adversarial`."""
    loss: Literal["margin", "logistic", "softmax", "one_vs_all", "k_vs_all"] | None
    """overrides `loss.name`, by another one with sampled negatives."""
    widths: list[int] | None
    """one model of all these widths."""
    med: pmd.settings.med.MedConfig | MedSettings | None
    """overrides `med`."""
    crop: str | None
    """name of an earlier stage: take its leading dimensions, without training."""
    order: Literal["loss", "value"] | None
    """of the dimensions before `crop`: as they are (null), by `loss`: how much the loss on a sample of 1,024 validation triples rises without them, or by `value`: their mean absolute value."""
    load: str | None
    """a folder of a trained model to take in place of training this stage."""
    encoder: Literal["table", "nodepiece", "earl"] | None
    """overrides `model.encoder`."""

class KgeTrainSettings(TypedDict, total=False):
    """How every stage is trained, unless the stage says otherwise."""

    epochs: int
    """passes over the training examples."""
    epoch_steps: int
    """an epoch ends after so many steps, for examples whose whole takes too long between two validations; each epoch then has others, drawn from all. 0 for a whole pass."""
    batch_size: int
    """examples in a batch, over all processes; an example of a graph is a triple."""
    lr: float
    """peak learning rate."""
    weight_decay: float
    """weight decay of AdamW, for matrices only."""
    warmup: int
    """steps of linear warm-up, followed by linear decay to zero; at most a tenth of all steps."""
    grad_clip: float
    """largest gradient norm; 0 for no limit."""
    precision: Literal["no", "bf16", "fp16"]
    """`no` is fp32; bf16 is faster on GPUs and on CPUs that compute in it (AMX), fp16 on GPUs only."""
    log_every: int
    """steps between two lines in metrics.jsonl."""
    gradient_norms: bool
    """with each of these lines log the norms of the gradients of all weighted loss terms, before clipping, as `grad_` and the term's name: which terms count. Nothing else changes; a logged step takes a backward pass more for each term."""
    save_minutes: float
    """largest number of minutes between two checkpoints; Ctrl-C always writes one."""
    valid_every: int
    """epochs between two validations; 0 for none. If there are any, the best model is kept, by the MRR of the validation split or the score of the task, averaged over the widths."""
    patience: int
    """stop after this many validations without improvement; 0 for never."""
    threads: int
    """CPU threads of each process; 0 for what the user sets by OMP_NUM_THREADS, or else for the cores that are free at the start, shared evenly by the processes. A resumed run keeps its number."""
    workers: int
    """processes that prepare batches; 0 for the training process itself."""
    report_to: (
        Literal["tensorboard", "mlflow", "trackio", "wandb"]
        | list[Literal["tensorboard", "mlflow", "trackio", "wandb"]]
        | None
    )
    """trackers that are told, beside metrics.jsonl and results.json; one or a list. `tensorboard` and `mlflow` write to `tracking` in the run folder."""
    optimizer: Literal["adam", "sparse_adam", "adagrad", "adamw"]
    """`adam`; `sparse_adam` updates only the rows that a batch has read; `adagrad`; `adamw`."""
    schedule: Literal["linear", "constant"]
    """of the learning rate after the warm-up: `linear` down to zero, or `constant`."""
    valid_triples: int
    """validation triples to rank; 0 for all."""

class LossSettings(TypedDict, total=False):
    """What the model learns from."""

    name: Literal["margin", "logistic", "softmax", "one_vs_all", "k_vs_all"]
    """`margin` (ranking, Bordes et al.) and `logistic` (cross-entropy of σ(score), Sun et al.) and `softmax` compare with sampled negatives; `one_vs_all` and `k_vs_all` with every entity."""
    margin: float | None
    """γ: by so much a true triple should score above a false one (`margin`), or what is added to a score to make it a logit (`logistic`, `k_vs_all`); the others have no use for it. Null is 1 for `margin`, else 6 for a distance and 0 for a product."""
    scale: float
    """factor on the score in a logit: scale · (score + margin)."""
    negatives: int
    """sampled for each triple: half of the triples of a batch get false heads, half false tails."""
    shared: int
    """so many consecutive triples of a batch share their negatives; 1 gives each its own."""
    filtered: bool
    """leave out negatives that are known training triples."""
    adversarial: float
    """temperature of the self-adversarial weights (Sun et al., Eq. 5); 0 weighs evenly."""
    label_smoothing: float
    """of `one_vs_all` and `k_vs_all`."""
    n3: float
    """weight of the nuclear 3-norm (Lacroix et al.), for ComplEx and SimplE."""
    constraint: float
    """C: weight of the soft constraints of TransH (Wang et al., Eq. 4): entities no longer than 1, and translations in their hyperplanes."""

class MedSettings(TypedDict, total=False):
    """How the sub-models of one croppable model (`model.widths`) learn together; null is the recipe's choice, unless another"""

    recipe: Literal["best", "med", "joint"]
    """`best`: what measured best here; `med`: as the paper has it; `joint`: the labels of all widths, no more."""
    evolutionary: bool | None
    """a triple, or a text, weighs the more the worse the narrower neighbour does on it (of triples it needs the logistic loss; a regression has none)."""
    improvement: Literal["literal", "bounded"] | None
    """the form of its weights of true triples: `literal`, as Eq. 3 has it, softmax of w1 / score of the narrower neighbour, for distances alone, whose scores are below zero; `bounded`: softmax of w1 / σ(logit), with σ(logit) at least 0.1, for products and texts too. Null is `literal` for distances, else `bounded`."""
    mutual: float | None
    """weight of the Huber distance between neighbours' scores, both ways, a mean over all scores; the sum that Eq. 2 writes is so many times as large as a batch has scores. 0 for none."""
    dynamic: bool | None
    """the label loss of a width counts exp(w3 · width / widest) times."""
    learned: bool | None
    """w1, w2 and w3 are learned; else they stay as they are."""
    weight_lr: float | None
    """the learning rate of w1, w2 and w3 where they are learned; null is that of the stage."""
    w1: float | None
    """of the weights of true triples, or texts' labels, as `improvement` says."""
    w2: float | None
    """of the weights of negatives, or the other labels: softmax of w2 · logit of the narrower neighbour."""
    w3: float | None
    """of `dynamic`."""
    soft: float | None
    """weight of soft labels from wider sub-models, one way; 0 for none."""
    teacher: Literal["next", "widest"] | None
    """who gives them: the `next` wider sub-model, or the `widest`."""
    temperature: float | None
    """softens the logits of both in the soft labels."""
    prefix: float | None
    """embeddings only: λ: how much of the gradient of a sub-model reaches the dimensions of narrower ones; 1 is plain joint training, 0 lets each sub-model train only what it has more than the one before."""
    power: float | None
    """embeddings only: the scores of a width are multiplied by (widest / width)^power in the loss, so that all widths start alike: with 0.5 L2 distances do, with 1 L1 distances; where entities have bounded lengths (`loss.constraint`), 0.5 gives L1 distances the range that they would have in a model of that width."""
    calibrated: bool | None
    """embeddings only: every width learns the factor of its scores, beginning with that of `power`."""
    draw: int | None
    """so many sub-models learn in a step, drawn anew, the widest always among them; 0 for all."""

class ModelSettings(TypedDict, total=False):
    """The embedding model."""

    interaction: Literal["transe", "transh", "complex", "rotate", "simple", "pairre"]
    """what a triple scores, in any case of letters."""
    dim: int
    """width: numbers in each part of an embedding (ComplEx, RotatE and SimplE entities have two parts)."""
    widths: list[int] | None
    """train one croppable model: its leading dimensions are models of these widths, the last one `dim`."""
    norm: Literal["l1", "l2", "squared"] | None
    """of a distance: l1, l2 or squared; null is the interaction's own."""
    reciprocal: bool
    """a second embedding of every relation for its inverse; head queries become tail queries."""
    unit_entities: bool
    """entities are scaled to length 1 (PairRE)."""
    init: float | None
    """entities start uniform in ±init; null gives them a length of about 1."""
    encoder: Literal["table", "nodepiece", "earl"]
    """what the vectors of entities come from: a `table` of them, or few parameters: `nodepiece` or `earl`."""
    nodepiece: pmd.settings.entity_encoders.NodePieceConfig | NodePieceSettings
    """settings of that encoder."""
    earl: pmd.settings.entity_encoders.EarlConfig | EarlSettings
    """settings of that encoder."""

class StageSettings(TypedDict, total=False):
    """One student. Settings left out are those of the run."""

    name: str
    """folder in the run."""
    layers: int | None
    """depth of the student; 0 for one without attention."""
    mask_rate: float
    """fraction of the tokens of a text that teacher and student see as [MASK]."""
    teacher: str | None
    """name of an earlier stage; by default the one before. `none` trains on labels alone."""
    pretrained_layers: list[int] | None
    """which layers to start from with `init: pretrained`; default evenly spaced."""
    teacher_layers: list[int] | None
    """which layers to start from with `init: teacher`; default evenly spaced."""
    load: str | None
    """a folder of a trained model to take in place of training this stage."""
    method: Literal["none", "pmd", "pmd_no_mgfd", "lkd", "pkd"] | None
    """overrides `distill.method`."""
    init: Literal["teacher", "pretrained"] | None
    """overrides `distill.init`."""
    alpha: float | None
    """overrides `distill.alpha`."""
    beta: float | None
    """overrides `distill.beta`."""
    epochs: int | None
    """overrides `distill.epochs` and `train.epochs`."""
    lr: float | None
    """overrides `distill.lr` and `train.lr`."""
    batch_size: int | None
    """overrides `distill.batch_size` and `train.batch_size`."""
    pre_batches: int | None
    """overrides `distill.pre_batches` and `contrastive.pre_batches`."""
    frozen_layers: int | None
    """so many of the lowest layers keep their weights, whatever `train.frozen_share` says."""
    structure_share: float | None
    """overrides `distill.structure_share`; 0 leaves the structure out."""
    feature: Literal["token", "pooled"] | None
    """overrides `distill.feature`."""
    mask_choice: Literal["random", "rare", "attention", "uncertainty"] | None
    """overrides `distill.mask_choice`."""
    mask_rate_by: Literal["schedule", "uncertainty"] | None
    """overrides `distill.mask_rate_by`."""

class TeacherSettings(TypedDict, total=False):
    """A first stage of another model than the students, any encoder or decoder of texts, which reads by a tokenizer of its own."""

    model: str
    """a Hub id, a local folder or `package:NAME/FOLDER` that sentence-transformers or transformers loads."""
    pooling: Literal["mean", "first", "last"] | None
    """a vector is the `mean` of the tokens' hidden states, or that of the `first` or `last` one; null is what the folder says to sentence-transformers, or else `last` for a decoder and `mean` for an encoder."""
    query_prompt: str | None
    """stands before every query; null is the folder's own prompt for queries, if it has one."""
    entity_prompt: str | None
    """stands before every entity; null is the folder's own prompt for documents, if it has one."""
    tied: bool
    """one encoder for queries and entities in place of two; the prompts tell it which it reads."""
    max_length: int | None
    """texts are cut at so many tokens, special tokens included, the prompt not; null is `encoder.max_length`."""
    lora: pmd.settings.text.LoraConfig | LoraSettings | None
    """low-rank adapters in place of full fine-tuning, of this stage; `train.lora` is of the others."""
    precision: Literal["no", "bf16"]
    """`bf16` keeps its weights in bf16, half the memory, while it learns (`lora` alone, whose adapters are in fp32 until they are merged) and while it teaches; `train.precision` says in what is computed."""

class TrainSettings(TypedDict, total=False):
    """How every stage of a text run is trained, unless the stage says otherwise."""

    epochs: int
    """passes over the training examples."""
    epoch_steps: int
    """an epoch ends after so many steps, for examples whose whole takes too long between two validations; each epoch then has others, drawn from all. 0 for a whole pass."""
    batch_size: int
    """examples in a batch, over all processes; an example of a graph is a triple."""
    lr: float
    """peak learning rate."""
    weight_decay: float
    """weight decay of AdamW, for matrices only."""
    warmup: int
    """steps of linear warm-up, followed by linear decay to zero; at most a tenth of all steps."""
    grad_clip: float
    """largest gradient norm; 0 for no limit."""
    precision: Literal["no", "bf16", "fp16"]
    """`no` is fp32; bf16 is faster on GPUs and on CPUs that compute in it (AMX), fp16 on GPUs only."""
    log_every: int
    """steps between two lines in metrics.jsonl."""
    gradient_norms: bool
    """with each of these lines log the norms of the gradients of all weighted loss terms, before clipping, as `grad_` and the term's name: which terms count. Nothing else changes; a logged step takes a backward pass more for each term."""
    save_minutes: float
    """largest number of minutes between two checkpoints; Ctrl-C always writes one."""
    valid_every: int
    """epochs between two validations; 0 for none. If there are any, the best model is kept, by the MRR of the validation split or the score of the task, averaged over the widths."""
    patience: int
    """stop after this many validations without improvement; 0 for never."""
    threads: int
    """CPU threads of each process; 0 for what the user sets by OMP_NUM_THREADS, or else for the cores that are free at the start, shared evenly by the processes. A resumed run keeps its number."""
    workers: int
    """processes that prepare batches; 0 for the training process itself."""
    report_to: (
        Literal["tensorboard", "mlflow", "trackio", "wandb"]
        | list[Literal["tensorboard", "mlflow", "trackio", "wandb"]]
        | None
    )
    """trackers that are told, beside metrics.jsonl and results.json; one or a list. `tensorboard` and `mlflow` write to `tracking` in the run folder."""
    tokens_per_chunk: int
    """texts are encoded sorted by length, in chunks of so many tokens."""
    recompute: bool
    """keep one chunk's activations in memory at a time and compute the others again in the backward pass; the same gradients in far less memory, about 1.3 times slower."""
    lora: pmd.settings.text.LoraConfig | LoraSettings | None
    """low-rank adapters in place of full fine-tuning."""
    frozen_share: float
    """this share of an encoder's layers (rounded down), from the lowest, and the embeddings keep their weights. What they make of every text is computed once and kept in the run folder until the run ends."""
    valid_triples: int
    """validation triples to rank; 0 for all."""

class EarlSettings(TypedDict, total=False):
    """EARL (Chen et al., AAAI 2023): an entity is computed from its relations, similar reserved entities and its neighbours."""

    reserved: float
    """the share of entities that have rows of their own, in (0, 1]."""
    selection: Literal["degree", "random", "pagerank", "mixed"]
    """of the reserved entities; the paper draws them at `random`."""
    nearest: int
    """so many of the reserved entities whose relations are most like an entity's describe it."""
    layers: int
    """of the graph network."""

class LoraSettings(TypedDict, total=False):
    """Fine-tune low-rank adapters (peft) in place of all encoder weights; merged when the stage ends."""

    r: int
    """rank."""
    alpha: int
    """scale numerator; updates are scaled by alpha / r."""
    dropout: float
    """dropout in front of the adapters."""
    targets: list[str] | None
    """names of the linear layers that get an adapter; default those that make the queries and values of the encoder's attention (`query` and `value` in BERT, `Wqkv` in ModernBERT)."""

class NodePieceSettings(TypedDict, total=False):
    """NodePiece (Galkin et al., ICLR 2022): an entity is made of tokens, its nearest anchors and its relations."""

    anchors: int
    """entities that have rows of their own."""
    selection: Literal["degree", "random", "pagerank", "mixed"]
    """of the anchors: those with the most triples (`degree`) or the highest `pagerank`, at `random`, or `mixed`: 40 % by degree, 40 % by PageRank, the others at random."""
    nearest: int
    """k: so many of the anchors nearest to an entity are tokens of it."""
    relations: int
    """m: so many of its relations, outgoing and incoming, are."""
    distances: bool
    """an anchor's row is added to one for how far away it is."""
    aggregation: Literal["mlp", "mean"]
    """of the tokens of an entity: two layers on all of them, one after the other (`mlp`), or their `mean`."""

def crop(
    model: str | os.PathLike[str],
    width: int,
    out: str | os.PathLike[str],
    *,
    stage: str | None = ...,
    revision: str | None = ...,
    structure_width: int | None = ...,
    data: pmd.settings.shared.DataConfig | DataSettings | None = ...,
) -> Path:
    """The leading dimensions of a model as a folder of its own, as `pmd crop` writes it.

    Args:
        model: a run folder, a stage's folder, or a Hub id.
        width: how many dimensions.
        out: the new folder.
        settings: the other options of `pmd crop`.

    Returns:
        The folder `out`.

    Raises:
        PmdError: for a width that the model has not.

    Example:
        >>> folder = pmd.crop("runs/world-rotate-…", 16, "small")
        >>> pmd.load(folder).answer(head="Austria", relation="official language", top_k=3).answers[0].rank
        1

    Settings:
        stage: stage of a run folder; by default its only croppable one, or else the last finished one.
        revision: branch, tag or commit of a Hub id; by default main.
        structure_width: of a fused model, number of dimensions of the structure to keep; by default all.
        data: the graph of the model's run, if it has been moved."""

def evaluate(
    model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    graph: Any = ...,
    *,
    data: pmd.settings.shared.DataConfig | DataSettings | None = ...,
    evaluation: pmd.settings.shared.EvaluationConfig | EvaluationSettings = ...,
    threads: int = ...,
    keep_ranks: bool = ...,
    trust: bool = ...,
    tasks: str = ...,
    max_triples: int = ...,
) -> list[ModelMetrics]:
    """Rank splits with trained models, as `pmd evaluate` does: a record for each model and split.

    Args:
        model: a stage's folder, or several.
        graph: a graph, or what names one; by default that of the run of the first model.
        settings: as `evaluation={"split": "valid"}`.

    Returns:
        Records: `.model`, `.split`, `.metrics` (`RankingMetrics`), `.rate` (queries a second), `.parameters`.

    Raises:
        PmdError: if there is no such model, graph or split.

    Example:
        >>> [record] = pmd.evaluate("runs/world-…/grade1", evaluation={"split": "valid"})
        >>> 0 < record.metrics.mrr <= 1
        True

    Settings:
        data: the knowledge graph; by default that of the run that holds the first folder.
        evaluation: what is ranked, and how.
        threads: CPU threads; 0 for OMP_NUM_THREADS, or else for all free cores.
        keep_ranks: write the ranks by query of every width to RUN/ranks/STAGE.safetensors, as runs do themselves, for paired comparisons of runs that have none; queries/s is then of all widths together.
        trust: instead, measure how far the probabilities of the models and their answer sets can be trusted: calibration error, and the coverage of sets by relation and direction.
        tasks: what is measured, one or several between commas: `entities` ranks entities, as runs do; `relations` ranks the relations between two entities; `triples` tells true triples from false ones. The last two are noted in the run's results.json.
        max_triples: at most so many triples of a split, drawn, for the last two; 0 for all."""

def export(
    model: str | os.PathLike[str],
    to: str,
    out: str | os.PathLike[str],
    *,
    stage: str | None = ...,
    data: pmd.settings.shared.DataConfig | DataSettings | None = ...,
    revision: str | None = ...,
) -> Path:
    """A model for other programs, as `pmd export` writes it.

    Args:
        model: a run folder, a stage's folder, or a Hub id.
        to: the form, such as `onnx`, `sentence-transformers`, `embeddings` or `parquet`.
        out: the new folder.
        settings: the other options of `pmd export`.

    Returns:
        The folder `out`, with a README that says how it is read.

    Raises:
        PmdError: for a form that such a model has not.

    Example:
        >>> folder = pmd.export("runs/world-rotate-…", "embeddings", "vectors")
        >>> (folder / "README.md").is_file()
        True

    Settings:
        stage: stage of a run folder; by default the last finished one.
        data: the graph of a text model, needed if its folder is not in a run.
        revision: branch, tag or commit of a Hub id; by default main."""

def fit(
    graph: Any = ...,
    config: Any = ...,
    *,
    data: pmd.settings.shared.DataConfig | DataSettings = ...,
    minutes: float = ...,
    kind: Literal["auto", "text", "embedding", "both"] = ...,
    runs: str = ...,
    seed: int = ...,
    from_run: str | None = ...,
    report: bool = ...,
    dry_run: bool = ...,
) -> FitResult:
    """Train on any graph what fits the time, as `pmd fit` does.

    Args:
        graph: a graph, or what names or holds one (see `pmd.graph_from` and `pmd.load_graph`).
        config: a `FitConfig`.
        settings: what differs from it, as `minutes=10`.

    Returns:
        The result: `.runs` and `.plans` by kind of model, `.best`, `.report`, `.answer(…)`.

    Raises:
        PmdError: for data or settings that cannot be used.

    Example:
        >>> result = pmd.fit("edges.tsv", minutes=10)
        >>> result.best
        'embedding'
        >>> answers = result.answer(head="Austria", relation="official language")

    Settings:
        data: the graph: a file or folder of triples in any layout of docs/graphs.md, or the name of a data set.
        minutes: the minutes that all of it may take on this machine.
        kind: `text` reads names and descriptions, `embedding` the structure alone; `auto` takes what suits the graph and fits the time, one or both.
        runs: folder of the run folders.
        seed: of everything random.
        from_run: (--from) a run, or a stage's folder in one, whose last model goes on to learn, by the settings that it had, for a third of its epochs at most; rows of an embedding are taken by id.
        report: write a web page about the runs.
        dry_run: print the settings as YAML, and train nothing."""

def fuse(
    text: str | os.PathLike[str],
    structure: str | os.PathLike[str],
    out: str | os.PathLike[str],
    graph: Any = ...,
    *,
    text_stage: str | None = ...,
    structure_stage: str | None = ...,
    weights: Literal["common", "relation", "query"] = ...,
    max_triples: int = ...,
    data: pmd.settings.shared.DataConfig | DataSettings | None = ...,
    evaluation: pmd.settings.shared.EvaluationConfig | EvaluationSettings = ...,
    threads: int = ...,
) -> TrainedRun:
    """Put a text model and an embedding model of one graph side by side, as `pmd fuse` does.

    Args:
        text, structure: run folders, stages' folders in them, or Hub ids.
        out: the new folder, a run with the stage `fused`.
        graph: a graph, or what names one; by default that of the text model's run.
        settings: as `weights="common"`.

    Returns:
        The run in `out`.

    Raises:
        PmdError: for models of other graphs, and for scores that are no inner products.

    Example:
        >>> text = pmd.progressive("my_graph", structure=None)
        >>> structure = pmd.train("my_graph", "fit/embedding")
        >>> pmd.fuse(text, structure, "both").stages
        ['fused']

    Settings:
        text_stage: stages of run folders; by default the last finished ones.
        structure_stage: stages of run folders; by default the last finished ones.
        weights: how much the structure counts: one share for all queries (`common`), one for each relation and direction, drawn to the common one where it has few queries (`relation`), or one for each query by its score lists (`query`).
        max_triples: validation triples that choose the weights, at most; 0 for all.
        data: the graph; by default that of the text model's run.
        evaluation: what is ranked at the end, and how.
        threads: CPU threads; 0 for OMP_NUM_THREADS, or else for all free cores."""

def glue(
    task: str | None = ...,
    config: Any = ...,
    *,
    resume: Any = ...,
    callback: Any = ...,
    name: str | None = ...,
    seed: int = ...,
    runs: str = ...,
    methods: list[Literal["finetune", "med", "hat", "bkd", "pkd", "minilm", "rkd"]] = ...,
    data: pmd.settings.glue.GlueDataConfig | GlueDataSettings = ...,
    model: pmd.settings.glue.GlueModelConfig | GlueModelSettings = ...,
    med: pmd.settings.med.MedConfig | MedSettings = ...,
    distill: pmd.settings.glue.GlueDistillConfig | GlueDistillSettings = ...,
    train: pmd.settings.glue.GlueTrainConfig | GlueTrainSettings = ...,
    stages: list[pmd.settings.glue.GlueStageConfig | GlueStageSettings] | None = ...,
    evaluation: pmd.settings.glue.GlueEvaluationConfig | GlueEvaluationSettings = ...,
) -> TrainedRun:
    """Fine-tune a BERT and its sub-models on a GLUE task, as `pmd glue` does.

    Args:
        task: such as `stsb`; by default that of the config.
        config: a `GlueConfig`, a YAML file or the name of a bundled config; by default `glue/bert_base`.
        resume: a run folder to go on with; no task and no settings are given then.
        callback: called with the values of every line of metrics.jsonl, such as losses and validation.
        settings: what differs from the config, as `train={"epochs": 3}`.

    Returns:
        The run: `.metrics()`, `.to_pandas()`, `.plot_widths("accuracy")`.

    Raises:
        PmdError: for settings or data that cannot be used.

    Example:
        >>> run = pmd.glue("rte", model={"name": "bert", "widths": [16, 32], "max_length": 32}, data={"path": "glue"})
        >>> run.stages
        ['finetune', 'med']

    Settings:
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
        evaluation: what is measured."""

def progressive(
    graph: Any = ...,
    config: Any = ...,
    *,
    resume: Any = ...,
    callback: Any = ...,
    teacher: Any = ...,
    name: str | None = ...,
    seed: int = ...,
    runs: str = ...,
    data: pmd.settings.shared.DataConfig | DataSettings = ...,
    encoder: pmd.settings.text.EncoderConfig | EncoderSettings = ...,
    contrastive: pmd.settings.text.ContrastiveConfig | ContrastiveSettings = ...,
    train: pmd.settings.text.TrainConfig | TrainSettings = ...,
    distill: pmd.settings.text.DistillConfig | DistillSettings = ...,
    stages: list[pmd.settings.text.StageConfig | StageSettings] | None = ...,
    evaluation: pmd.settings.shared.EvaluationConfig | EvaluationSettings = ...,
    structure: str | None = ...,
) -> TrainedRun:
    """Distil a text model, grade by grade, as `pmd progressive` does.

    Args:
        graph: a graph, or what names one (see `pmd.load_graph`); by default that of the config.
        config: a `ProgressiveConfig`, a YAML file or the name of a bundled config; by default `pmd/world`.
        resume: a run folder to go on with; no graph and no settings are given then.
        callback: called with the values of every line of metrics.jsonl, such as losses and validation.
        teacher: anything with `score_all(triples, target)` -> (b, entities): the stages whose teacher is `own` learn from
            its scores, as logits (LKD); by default one such student. Or the settings of a teacher of another kind, as
            `{"model": "Qwen/Qwen3-Embedding-0.6B"}`.
        settings: what differs from the config, as `train={"epochs": 3}`.

    Returns:
        The run: `.metrics()`, `.load()`, `.to_pandas()`, `.plot_validation()`.

    Raises:
        PmdError: for settings or data that cannot be used.

    Example:
        >>> run = pmd.progressive("my_graph", train={"epochs": 3})
        >>> run.stages[-1]
        'fused'
        >>> answers = run.load("grade1").answer(head="Austria", relation="official language")

    Settings:
        name: the run's name, which many configs give; otherwise that of the graph.
        seed: of everything random.
        runs: folder of the run folders.
        data: the knowledge graph.
        encoder: the text encoders.
        contrastive: negatives.
        train: training settings.
        distill: what is distilled.
        stages: the grades; by default a teacher, a pre-distilled one, then three quarters, half and a quarter of the layers, with mask rates of 20, 10, 5 and 0 percent.
        evaluation: the final ranking.
        structure: a config of `pmd train`, a YAML or the name of a bundled one: its embedding model is trained after the grades (with this run's data, seed, threads and precision) and fused with the last one, as `pmd fuse` does."""

def push(
    model: str | os.PathLike[str],
    repo: str,
    *,
    stage: str | None = ...,
    grade: int | None = ...,
    width: int | None = ...,
    structure_width: int | None = ...,
    private: bool = ...,
    update: bool = ...,
    revision: str | None = ...,
    license: str | None = ...,
    token: str | None = ...,
    dry_run: bool = ...,
    out: str | None = ...,
    data: pmd.settings.shared.DataConfig | DataSettings | None = ...,
) -> str:
    """Publish a model on the Hugging Face Hub, as `pmd push` does.

    Args:
        model: a run folder, a stage's folder, or the folder of an export.
        repo: `user/name`.
        settings: the other options of `pmd push`.

    Returns:
        What was sent, and where.

    Raises:
        PmdError: without a login, and for folders that are no model.

    Example:
        >>> said = pmd.push("runs/world-…", "user/name", dry_run=True, out="card")  # writes what would be sent

    Settings:
        stage: stage of a run folder; by default the last finished one.
        grade: number of layers of a grade of a progressive distillation, instead of its stage: 3 for grade3.
        width: number of leading dimensions to send; by default all. Of a fused model, those of the text.
        structure_width: the number of dimensions of a fused model's structure to send; by default all.
        private: make the repository private.
        update: replace a model that the repository already holds.
        revision: branch of the repository; by default main.
        license: licence of the model, for its card: apache-2.0, mit, cc-by-4.0 …
        token: access token; by default HF_TOKEN, or that of `hf auth login`.
        dry_run: write the folder and list what would be sent, but send nothing.
        out: where the folder is kept; needed with --dry-run.
        data: the graph of the run, if it has been moved."""

def report(
    run: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    out: str | None = ...,
    stages: list[str] | None = ...,
    rank: bool = ...,
    min_queries: int = ...,
    latency_rounds: int = ...,
    threads: int = ...,
    fresh: bool = ...,
    data: pmd.settings.shared.DataConfig | DataSettings | None = ...,
) -> list[Path]:
    """A web page about one run or several, as `pmd report` writes it.

    Args:
        run: a run folder, or several.
        settings: the other options of `pmd report`.

    Returns:
        The files, the page first.

    Raises:
        PmdError: for folders that are no runs.

    Example:
        >>> [file.name for file in pmd.report("runs/world-rotate-…")]
        ['report.html', 'report.md']

    Settings:
        out: the page, ending in .html; by default report.html in the run folder (for several, beside the first). The same in Markdown is written beside it, with the pictures in a folder of that name.
        stages: stages whose relations and examples are shown; by default the first and the last finished one.
        rank: measure what the run has not: relations, examples, retention and latency.
        min_queries: least number of queries of a relation that is listed among the hardest.
        latency_rounds: single queries to time each model with; 0 for none.
        threads: CPU threads of the ranking; 0 for OMP_NUM_THREADS, or else for all free cores.
        fresh: measure again what an earlier report has measured.
        data: the graph of the runs, if it has been moved."""

def shrink(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    graph: Any = ...,
    *,
    structure: str | None = ...,
    structure_stage: str | None = ...,
    keep: float | None = ...,
    max_mb: float | None = ...,
    max_ms: float | None = ...,
    teacher: str | None = ...,
    stages: list[str] | None = ...,
    widths: list[int] | None = ...,
    encoders: list[Literal["fp32", "fp16", "int8"]] = ...,
    vectors: list[Literal["fp32", "fp16", "int8", "binary"]] = ...,
    max_triples: int = ...,
    questions: int = ...,
    batch_size: int = ...,
    data: pmd.settings.shared.DataConfig | DataSettings | None = ...,
    threads: int = ...,
) -> ShrunkRun:
    """Find the smallest model of a run that keeps enough of its teacher and write it, as `pmd shrink` does.

    Args:
        run: the folder of a run of text models.
        out: the new folder, a run with one model.
        graph: a graph, or what names one; by default that of the run.
        settings: as `keep=0.95` or `max_mb=2`.

    Returns:
        The run in `out`: `.chosen`, `.candidates`, `.keeps_on_test`.

    Raises:
        PmdError: if no model of the run keeps so much within the limits.

    Example:
        >>> small = pmd.shrink("runs/world-…", "small", keep=0.9)
        >>> len(small.stages)
        1

    Settings:
        structure: an embedding model of the same graph, whose widths are looked at alone and fused with every text model: a run folder, or a stage's folder in one; by default the run's own, if it has one.
        structure_stage: stage of that run folder; by default its last finished one.
        keep: the share of the teacher's MRR on validation that the model must keep; without limits 0.97. Of those that keep it, the one of fewest megabytes is taken.
        max_mb: a limit on megabytes of weights and entity vectors; of the models within the limits, the best is taken.
        max_ms: the same on milliseconds for a question, with one thread of this machine.
        teacher: the stage that the others are compared with; by default the first of the run.
        stages: the stages to look at; by default all.
        widths: the widths of vectors to look at; by default those that each stage was trained at.
        encoders: precisions of the encoders' weights to look at.
        vectors: precisions of the entities' vectors to look at.
        max_triples: validation triples that are ranked, at most; 0 for all.
        questions: questions by which a model is timed.
        batch_size: triples that are ranked at a time.
        data: the graph; by default that of the run.
        threads: CPU threads for encoding; 0 for OMP_NUM_THREADS, or else for all free cores."""

def train(
    graph: Any = ...,
    config: Any = ...,
    *,
    resume: Any = ...,
    callback: Any = ...,
    teacher: Any = ...,
    name: str | None = ...,
    seed: int = ...,
    runs: str = ...,
    data: pmd.settings.shared.DataConfig | DataSettings = ...,
    model: pmd.settings.kge.ModelConfig | ModelSettings = ...,
    loss: pmd.settings.kge.LossConfig | LossSettings = ...,
    train: pmd.settings.kge.KgeTrainConfig | KgeTrainSettings = ...,
    dual: pmd.settings.kge.DualConfig | DualSettings = ...,
    med: pmd.settings.med.MedConfig | MedSettings = ...,
    stages: list[pmd.settings.kge.KgeStageConfig | KgeStageSettings] | None = ...,
    evaluation: pmd.settings.shared.EvaluationConfig | EvaluationSettings = ...,
) -> TrainedRun:
    """Train embedding models, as `pmd train` does: one, a croppable one, or a teacher and its students.

    Args:
        graph: a graph, or what names one (see `pmd.load_graph`); by default that of the config.
        config: a `KgeConfig`, a YAML file or the name of a bundled config, as `kge/world_complex`.
        resume: a run folder to go on with; no graph and no settings are given then.
        callback: called with the values of every line of metrics.jsonl, such as losses and validation.
        teacher: anything with `score_all(triples, target)` -> (b, entities): one student of width `model.dim` learns from its
            scores, as logits, besides the labels (`dual.alpha`); or every stage that names the teacher `own` does.
        settings: what differs from the config, as `model={"dim": 64}`.

    Returns:
        The run: `.metrics()`, `.load()`, `.to_pandas()`, `.plot_validation()`.

    Raises:
        PmdError: for settings or data that cannot be used.

    Example:
        >>> run = pmd.train("my_graph", model={"dim": 64, "widths": [16, 64]}, train={"epochs": 50})
        >>> run.to_pandas()["width"].tolist()
        [16, 64]
        >>> figure = run.plot_widths()

    Settings:
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
        evaluation: the final ranking."""

def tune(
    graph: Any = ...,
    config: Any = ...,
    *,
    callback: Any = ...,
    space: str | None = ...,
    trials: int = ...,
    minutes: float | None = ...,
    kind: Literal["auto", "embedding", "text"] = ...,
    metric: Literal["mrr", "hits_at_1", "hits_at_3", "hits_at_10", "mr"] = ...,
    stage: str | None = ...,
    width: int | None = ...,
    pruner: Literal["median", "hyperband", "none"] = ...,
    out: str | None = ...,
    name: str | None = ...,
    seed: int = ...,
    runs: str = ...,
    data: pmd.settings.shared.DataConfig | DataSettings = ...,
    model: pmd.settings.kge.ModelConfig | ModelSettings = ...,
    loss: pmd.settings.kge.LossConfig | LossSettings = ...,
    train: pmd.settings.kge.KgeTrainConfig | KgeTrainSettings | pmd.settings.text.TrainConfig | TrainSettings = ...,
    dual: pmd.settings.kge.DualConfig | DualSettings = ...,
    med: pmd.settings.med.MedConfig | MedSettings = ...,
    stages: list[pmd.settings.kge.KgeStageConfig | KgeStageSettings]
    | list[pmd.settings.text.StageConfig | StageSettings]
    | None = ...,
    evaluation: pmd.settings.shared.EvaluationConfig | EvaluationSettings = ...,
    encoder: pmd.settings.text.EncoderConfig | EncoderSettings = ...,
    teacher: pmd.settings.text.TeacherConfig | TeacherSettings | None = ...,
    contrastive: pmd.settings.text.ContrastiveConfig | ContrastiveSettings = ...,
    distill: pmd.settings.text.DistillConfig | DistillSettings = ...,
    structure: str | None = ...,
) -> TuneResult:
    """Try settings of a run and keep the best by validation, as `pmd tune` does.

    Args:
        graph: a graph, or what names one (see `pmd.load_graph`); by default that of the config.
        config: a `KgeConfig` or `ProgressiveConfig`, a YAML file or the name of a bundled config, where the trials begin.
        callback: called with the values of every line of every trial's metrics.jsonl.
        settings: those of `TuneConfig`, as `space="space.yaml"` and `trials=40`, and what differs from the config.

    Raises:
        PmdError: for settings or data that cannot be used, and if no trial comes to its end.

    Returns:
        The result: `.value` and `.best` of the best trial, `.settings` (its whole config), `.to_pandas()`.

    Example:
        >>> result = pmd.tune("my_graph", space="space.yaml", trials=2)
        >>> sorted(result.best)
        ['train.epochs', 'train.lr']

    Settings:
        space: the options that vary: a YAML file of lines OPTION: {low: …, high: …, log: true} or OPTION: {values: […]}, or the name of a bundled one (tune/embedding); by default the bundled one that suits the run.
        trials: how many runs are tried in all, those of earlier calls included.
        minutes: after so many minutes of trials, those of earlier calls included, no further one begins; null for no limit.
        kind: of the runs: `embedding` (those of `pmd train`) or `text` (`pmd progressive`); `auto` follows the settings.
        metric: of the validation split, by which the runs are compared.
        stage: the stage whose model is judged; by default the last one.
        width: the width that is judged; by default the mean over all widths of a croppable model.
        pruner: a run whose validation MRR is low beside that of the others at the same epoch ends early: below their `median`, or as `hyperband` shares epochs out; `none` lets all end. It needs `train.valid_every`.
        out: folder of the study; by default a folder in `runs` that the same settings find again.
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
        encoder: the text encoders.
        teacher: a model of another kind as the first stage; by default that, too, is one of `encoder`.
        contrastive: negatives.
        distill: what is distilled.
        structure: a config of `pmd train`, a YAML or the name of a bundled one: its embedding model is trained after the grades (with this run's data, seed, threads and precision) and fused with the last one, as `pmd fuse` does."""

def update(
    model: str | os.PathLike[str],
    graph: Any = ...,
    out: str | os.PathLike[str] | None = ...,
    *,
    data: pmd.settings.shared.DataConfig | DataSettings | None = ...,
    stage: str | None = ...,
    revision: str | None = ...,
    steps: int = ...,
    max_facts: int = ...,
    keep_learned: bool = ...,
    dry_run: bool = ...,
    batch_size: int = ...,
    threads: int = ...,
) -> TrainedRun | Path:
    """Bring a trained model to a newer state of its graph, as `pmd update` does.

    Args:
        model: a run folder, a stage's folder, or a Hub id.
        graph: the newer graph, or what names one; by default what is now in the place of the run's.
        out: the new folder; by default MODEL-updated.
        settings: as `max_facts=0`.

    Returns:
        The new run, or the folder of a model that is in no run.

    Raises:
        PmdError: if the model cannot take what is new.

    Example:
        >>> run = pmd.train("my_graph")
        >>> index = pmd.load(run).index  # says later what is new
        >>> with open("my_graph/train.tsv", "a", encoding="utf-8") as file:
        ...     _ = file.write("territory:AT\\tspoken_language\\tlanguage:en\\n")
        >>> newer = pmd.update(run, out="newer")

    Settings:
        data: the newer graph; by default what is now in the place of the run's. Ids decide which entities and relations are the same; settings that are left out are the run's.
        stage: stage of a run folder; by default the last finished one.
        revision: branch, tag or commit of a Hub id; by default main.
        steps: of gradient descent for the rows of new entities in an embedding; 0 leaves them at the mean of their like.
        max_facts: new facts of each split that are ranked, at most; 0 for none.
        keep_learned: keep what was learned on validation: how much types count, probabilities, sets and verdicts. By default it is learned again, which asks thousands of questions; for small changes of a large graph nothing else takes as long.
        dry_run: say what changed, and write nothing.
        batch_size: facts that are ranked at a time.
        threads: CPU threads; 0 for OMP_NUM_THREADS, or else for all free cores."""

def load_graph(
    path: str | os.PathLike[str],
    *,
    columns: Mapping[str, str | int] = ...,
    drop: Sequence[str | int] = ...,
    weight: str | None = ...,
    language: str = ...,
    shares: Shares | None = ...,
    subset: str | None = ...,
    revision: str | None = ...,
    cache_dir: str | None = ...,
) -> KnowledgeGraph:
    """Load a graph by registered name, folder, or Hugging Face Hub dataset name, tried in this order.

    A folder, or one file of triples, has any of the layouts in docs/graphs.md; one file is split. For a folder with a
    registered name, write `./name`. What the reader understood is in the graph's `notes`; these, duplicate triples and
    overlapping splits cause a warning.

    Args:
        path: the name, folder, file or Hub id.
        options: columns, drop, weight, language and shares (see `Options`); for Hub datasets also subset, revision and cache_dir
            (see `load_dataset_graph`).

    Returns:
        The graph, with its splits.

    Raises:
        PmdError: for whatever cannot be used.

    Example:
        >>> graph = pmd.load_graph("world")
        >>> graph.sizes
        '1,887 entities, 15 relations, 3,793 / 192 / 485 triples'

    Settings:
        columns: the file's name or number of a column for ours, such as `{head: subject}` or `{head: 1}`.
        drop: columns to leave out: names, numbers, or the kinds `time` and `weight`.
        weight: the column that holds the confidence of each triple.
        language: of names and descriptions, where a source has several.
        shares: how splits that the source lacks are taken from its training triples. By default that is refused, but for one list of triples, which is split by the default shares.
        subset: configuration of the dataset.
        revision: as in `datasets.load_dataset`.
        cache_dir: as in `datasets.load_dataset`."""

def graph_from(
    source: Any,
    name: str = ...,
    *,
    entities: Any = ...,
    relations: Any = ...,
    columns: Mapping[str, str | int] = ...,
    drop: Sequence[str | int] = ...,
    weight: str | None = ...,
    language: str = ...,
    shares: Shares | None = ...,
) -> KnowledgeGraph:
    """A graph out of values, as `load_graph` makes one out of files; it warns of the same.

    - A frame (pandas, Polars, Arrow, `datasets.Dataset`) has columns for head, relation and tail under any usual name, or,
      without names, in this order. A column `split` divides it; without one it is split by `shares`. Ids are text or whole
      numbers, which become text.
    - Tuples are (head, relation, tail), or with a weight, a float, as the fourth. Arrays (n, 3) count as tuples.
    - The edges of a directed networkx graph have their relation as attribute `relation`, as a text key, or as attribute
      `label` or `type`, the first of these that any edge has. Nodes may have the attributes name or label, description, type
      and aliases.
    - An rdflib graph is read as RDF files are, texts included.
    - A mapping, such as a `datasets.DatasetDict`, has one of these for each split, under any usual name of it.
    - A `KnowledgeGraph` is returned as it is.

    Args:
        source: one of these.
        name: of the graph.
        entities: texts, which need not be complete: a frame with columns id, name, description, type; or a mapping of ids to
            names, or to mappings with these keys.
        relations: the same with ids and names.
        options: columns, drop, weight, language and shares, see `pmd.data.graphs.files.triples.Options`.

    Returns:
        The graph, with its splits.

    Raises:
        PmdError: for whatever cannot be used; rows are counted from 1.

    Example:
        >>> facts = [("Ada", "knows", "Charles"), ("Charles", "built", "engine"), ("Ada", "programmed", "engine")]
        >>> graph = pmd.graph_from({"train": facts, "valid": facts[:1], "test": facts[1:2]}, "computing")
        >>> graph.num_entities, graph.num_relations, len(graph.train)
        (3, 3, 3)

    Settings:
        columns: the file's name or number of a column for ours, such as `{head: subject}` or `{head: 1}`.
        drop: columns to leave out: names, numbers, or the kinds `time` and `weight`.
        weight: the column that holds the confidence of each triple.
        language: of names and descriptions, where a source has several.
        shares: how splits that the source lacks are taken from its training triples. By default that is refused, but for one list of triples, which is split by the default shares."""

def rank(
    scorer: TripleScorer,
    graph: KnowledgeGraph,
    split: str = ...,
    *,
    filtered: bool = ...,
    targets: Sequence[Literal["head", "tail"]] = ...,
    batch_size: int = ...,
    rerank: Rerank | None = ...,
    max_triples: int | None = ...,
    seed: int = ...,
    progress: bool = ...,
    shared: bool = ...,
) -> RankingMetrics:
    """The metrics of the ranks of a split.

    Args:
        scorer, graph, split, options: as in `ranks`.

    Returns:
        `.mrr`, `.mr`, `.hits_at_1`, `.hits_at_3`, `.hits_at_10`, and the same by direction and by ways to break ties.

    Raises:
        PmdError: as `ranks`.

    Example:
        >>> graph = pmd.load_graph("world")
        >>> model = pmd.KgeModel("complex", graph.num_entities, graph.num_relations, dim=8)
        >>> 0 < pmd.rank(model, graph, split="valid").mrr < 0.1
        True

    Settings:
        filtered: leave out the other known answers of a query, from all splits; False gives raw ranks.
        targets: which places to ask for.
        batch_size: triples ranked together, but at most so many as make `MOST_SCORES` scores of all entities: bounds the memory, and the queries that the scorer is asked at once. The ranks depend on it only as far as the scores do, see above.
        rerank: adjusts the scores of a query before they are compared.
        max_triples: rank only this many triples, drawn by the seed and kept in order (for validation).
        seed: rank only this many triples, drawn by the seed and kept in order (for validation).
        progress: show a bar.
        shared: of several processes each ranks a share of the batches, and all get all ranks: those of a single process, as the batches are the same. All must call it; False is for one that ranks while the others do not."""

def rank_widths(
    model: Croppable,
    graph: KnowledgeGraph,
    split: str = ...,
    *,
    filtered: bool = ...,
    targets: Sequence[Literal["head", "tail"]] = ...,
    batch_size: int = ...,
    rerank: Rerank | None = ...,
    max_triples: int | None = ...,
    seed: int = ...,
    progress: bool = ...,
    shared: bool = ...,
) -> dict[int, RankingMetrics]:
    """The metrics of every sub-model of `model.widths`.

    Args:
        model: an embedding model or a `TextScorer` of several widths.
        graph: the graph whose positions of entities and relations the triples are.
        split: whose triples are ranked.
        options: those of `ranks`.

    Returns:
        `RankingMetrics` by width.

    Raises:
        PmdError: as `ranks`, and for a bonus for neighbours where scores are running sums.

    Example:
        >>> model = pmd.load_scorer("runs/world-rotate-…/rotate", graph)
        >>> list(pmd.rank_widths(model, graph, "valid"))
        [16, 32]

    Settings:
        filtered: leave out the other known answers of a query, from all splits; False gives raw ranks.
        targets: which places to ask for.
        batch_size: triples ranked together, but at most so many as make `MOST_SCORES` scores of all entities: bounds the memory, and the queries that the scorer is asked at once. The ranks depend on it only as far as the scores do, see above.
        rerank: adjusts the scores of a query before they are compared.
        max_triples: rank only this many triples, drawn by the seed and kept in order (for validation).
        seed: rank only this many triples, drawn by the seed and kept in order (for validation).
        progress: show a bar.
        shared: of several processes each ranks a share of the batches, and all get all ranks: those of a single process, as the batches are the same. All must call it; False is for one that ranks while the others do not."""

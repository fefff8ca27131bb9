"""Every setting of a text run, with its default, meaning and unit.

The dataclasses are the YAML schema, the command line (`--train.lr 3e-5`) and the help text at once.
Nothing heavy is imported here, so that a misspelt key stops in a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pmd.settings.catalogue import TextMethod
from pmd.settings.shared import DataConfig, EvaluationConfig, LoopConfig

Init = Literal["teacher", "pretrained"]
FeatureForm = Literal["token", "pooled"]
MaskChoice = Literal["random", "rare", "attention", "uncertainty"]
RateChoice = Literal["schedule", "uncertainty"]
Pooling = Literal["mean", "first", "last"]


@dataclass
class EncoderConfig:
    """The encoder behind queries and entities, a BERT or one of its kind, and how it reads a graph's texts.

    Args:
        name: `scratch` (random weights, vocabulary from the graph's texts), a Hub id, a local folder, or
            `package:NAME/FOLDER` for weights that an installed Python package carries. The folder of a trained text model
            is that model, which goes on to learn and reads as it did.
        layers: depth of a `scratch` encoder; others keep their own.
        hidden_size: width of a `scratch` encoder.
        heads: attention heads of a `scratch` encoder.
        intermediate_size: feed-forward width of a `scratch` encoder.
        vocab_size: at most so many word pieces for a `scratch` encoder.
        dropout: of hidden states while training, wherever the encoder has one; null keeps the checkpoint's own (0.1 for
            `scratch`).
        attention_dropout: likewise of attention probabilities.
        tied: one encoder for queries and entities in place of two.
        max_length: texts are cut at so many tokens, special tokens included; the entity gives way to
            the relation, which is cut only where it would fill more than half.
        neighbours_below: entities whose description has fewer words than this get the names of their
            neighbours in the training graph appended; 0 for never.
        max_neighbours: at most so many neighbour names.
        temperature: start of the learned temperature of the contrastive loss.
        widths: train the leading dimensions of a text's vector to be vectors of their own, so that one training and
            one index of entities serve all these widths; increasing, the last one the encoder's (`hidden_size`).
    """

    name: str = "scratch"
    layers: int = 4
    hidden_size: int = 128
    heads: int = 2
    intermediate_size: int = 512
    vocab_size: int = 6000
    dropout: float | None = None
    attention_dropout: float | None = None
    tied: bool = False
    max_length: int = 50
    neighbours_below: int = 20
    max_neighbours: int = 10
    temperature: float = 0.05
    widths: list[int] | None = None


ANSWERS = 8
"""Answers of a query that follow each other in `batches: queries`, at most: longer runs save little more."""


@dataclass
class ContrastiveConfig:
    """Negatives of the contrastive loss (SimKGC). False negatives are always masked out.

    Args:
        margin: subtracted from the true pair's cosine while training.
        self_negatives: the head as a wrong answer to its own query; without them it never counts as one.
        in_batch_heads: self-negatives count, too, wherever the head is among the entities of the batch or of earlier ones, as
            in SimKGC's code. With shared directions it always is, as the answer of the inverse query; `false` counts it once.
        pre_batches: keep the entities of so many earlier batches as further negatives.
        pre_batch_weight: factor on the logits of those.
        directions: of random batches: `shared` ones hold each of their triples in both directions, so that most texts are read for two
            examples; in `independent` ones, as many examples of either direction are drawn each by itself, as SimKGC does.
            Walks are shared, batches of queries independent.
        batches: of `random` triples; of `walks` over the graph, whose triples share entities: fewer texts, and negatives
            that are harder to tell from the answer; or of `queries`, each with up to 8 of its answers: where texts of
            queries have many answers, far fewer texts. Their batches want 16 triples or more.
    """

    margin: float = 0.02
    self_negatives: bool = True
    in_batch_heads: bool = True
    pre_batches: int = 0
    pre_batch_weight: float = 0.5
    directions: Literal["shared", "independent"] = "shared"
    batches: Literal["random", "walks", "queries"] = "random"

    @property
    def shared(self) -> bool:
        """Whether batches hold each of their triples in both directions."""
        return self.directions == "shared" and self.batches != "queries"


@dataclass
class LoraConfig:
    """Fine-tune low-rank adapters (peft) in place of all encoder weights; merged when the stage ends.

    Args:
        r: rank.
        alpha: scale numerator; updates are scaled by alpha / r.
        dropout: dropout in front of the adapters.
        targets: names of the linear layers that get an adapter; default those that make the queries and values of the
            encoder's attention (`query` and `value` in BERT, `Wqkv` in ModernBERT).
    """

    r: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: list[str] | None = None


@dataclass
class TeacherConfig:
    """A first stage of another model than the students, any encoder or decoder of texts, which reads by a tokenizer of its own.

    Args:
        model: a Hub id, a local folder or `package:NAME/FOLDER` that sentence-transformers or transformers loads.
        pooling: a vector is the `mean` of the tokens' hidden states, or that of the `first` or `last` one; null is what the
            folder says to sentence-transformers, or else `last` for a decoder and `mean` for an encoder.
        query_prompt: stands before every query; null is the folder's own prompt for queries, if it has one.
        entity_prompt: stands before every entity; null is the folder's own prompt for documents, if it has one.
        tied: one encoder for queries and entities in place of two; the prompts tell it which it reads.
        max_length: texts are cut at so many tokens, special tokens included, the prompt not; null is `encoder.max_length`.
        lora: low-rank adapters in place of full fine-tuning, of this stage; `train.lora` is of the others.
        precision: `bf16` keeps its weights in bf16, half the memory, while it learns (`lora` alone, whose adapters are in
            fp32 until they are merged) and while it teaches; `train.precision` says in what is computed.
    """

    model: str
    pooling: Pooling | None = None
    query_prompt: str | None = None
    entity_prompt: str | None = None
    tied: bool = True
    max_length: int | None = None
    lora: LoraConfig | None = None
    precision: Literal["no", "bf16"] = "no"


@dataclass
class TrainConfig(LoopConfig):
    """How every stage of a text run is trained, unless the stage says otherwise.

    Args:
        tokens_per_chunk: texts are encoded sorted by length, in chunks of so many tokens.
        recompute: keep one chunk's activations in memory at a time and compute the others again in the
            backward pass; the same gradients in far less memory, about 1.3 times slower.
        lora: low-rank adapters in place of full fine-tuning.
        frozen_share: this share of an encoder's layers (rounded down), from the lowest, and the embeddings keep their weights.
            What they make of every text is computed once and kept in the run folder until the run ends.
        valid_triples: validation triples to rank; 0 for all.
    """

    tokens_per_chunk: int = 4096
    recompute: bool = False
    lora: LoraConfig | None = None
    frozen_share: float = 0.0
    valid_triples: int = 0


@dataclass
class DistillConfig:
    """How a student learns from the grade above. Stages after the first that have no teacher take `lr`, `batch_size` and
    `pre_batches` from here too, and ignore the rest.

    Args:
        method: `pmd`, `pmd_no_mgfd` (labels and scores only), `lkd` (softened logits, Hinton), `pkd`
            (patient: middle layers too) or `none` (labels only).
        alpha: weight of the score (pmd) or softened-logit (lkd, pkd) term.
        beta: weight of the masked-feature (pmd) or middle-layer (pkd) term.
        label_weight: weight of the labels; null is 1 − alpha − beta (pmd) or 1 − alpha (lkd, pkd), which must be above 0.
            With a number, alpha and beta may be as large as you like: features take a beta of 1 or more to count.
        score: the score term of pmd: `mse` of the logits, as in the paper, or `kl` of the softened logits.
        feature: the masked-feature term on every masked `token`, or on their mean per text, `pooled`.
        feature_norm: its squared errors averaged over the hidden width (`mean`), or as a squared distance (`sum`), which
            weighs it as many times more as the encoder is wide.
        feature_mean: the masked-feature term is one mean over the queries' and entities' features (`all`), or the mean of the
            queries' plus the mean of the entities' (`sides`), as the authors ran.
        masked_view: `same`: labels, scores and features from the masked texts; `separate`: labels and scores
            from whole texts, features from a second reading of some of them with masks.
        masked_share: the share of a batch's texts that a `separate` reading takes.
        mask_choice: which tokens are masked: `random` ones, or more often those that are `rare` in the graph's texts, to which
            the teacher's last layer pays `attention`, or without which its vector turns most (`uncertainty`).
        mask_rate_by: how many: the mask rate of every text (`schedule`), or more where the teacher is sure of the batch's
            answers and fewer where it is not (`uncertainty`), as many in all.
        init: start a student from layers of the `teacher` or of the original `pretrained` checkpoint.
        temperature: softens the logits of lkd, pkd, `score: kl` and `similarity_loss: kl`.
        similarity: weight of a term on the similarities within a batch, beside the others: the student's entities are to be as
            similar to each other, and its queries to each other, as the teacher's are, whatever the widths of both; 0 for none.
        similarity_loss: `kl` of each text's softened similarities to all others, or `mse` of the cosines.
        structure: folder of a trained embedding model of the graph (a run or a stage of one), whose scores are mixed into the
            teacher's logits.
        structure_share: its share of them, from 0 to 1.
        ask_once: read every text with the teacher once, before the first step, and keep its vectors in the run folder until the
            run ends, for all epochs and for all students of that teacher; `false` reads each batch again. What is masked is drawn
            anew in every step and always read again.
        taught_by: every student by the `grade_above`, or all by the first `teacher`.
        depths: layers of the grades; default all, three quarters, half and a quarter of the checkpoint's. 0 is a student without
            attention, the mean of its word pieces' vectors.
        mask_rates: mask rates of the grades, as many as there are depths.
        epochs: epochs of a distilled stage, or a list of those of each grade; default `train.epochs`.
        chain_epochs: for comparisons of equal length. With `init: teacher`, grades that do not start where the grade above ended
            train as long as the chain to their depth would take: those of the first `teacher` take the `epochs` of all grades
            so far, those without a teacher `train.epochs` more. With `init: pretrained` no grade starts there: all take `epochs`.
        lr: peak learning rate of the stages after the first; default `train.lr`.
        bag_lr: peak learning rate of a stage without layers, whose vectors of word pieces want larger steps.
        batch_size: examples in a batch of the stages after the first; default `train.batch_size`.
        pre_batches: earlier batches whose entities the stages after the first keep; default `contrastive.pre_batches`.
    """

    method: TextMethod = "pmd"
    alpha: float = 0.5
    beta: float = 0.1
    label_weight: float | None = None
    score: Literal["mse", "kl"] = "kl"
    feature: FeatureForm = "token"
    feature_norm: Literal["mean", "sum"] = "mean"
    feature_mean: Literal["all", "sides"] = "all"
    masked_view: Literal["same", "separate"] = "separate"
    masked_share: float = 0.25
    mask_choice: MaskChoice = "random"
    mask_rate_by: RateChoice = "schedule"
    init: Init = "teacher"
    temperature: float = 2.0
    similarity: float = 0.0
    similarity_loss: Literal["kl", "mse"] = "kl"
    structure: str | None = None
    structure_share: float = 0.4
    ask_once: bool = True
    taught_by: Literal["grade_above", "teacher"] = "grade_above"
    depths: list[int] | None = None
    mask_rates: list[float] = field(default_factory=lambda: [0.2, 0.1, 0.05, 0.0])
    epochs: int | list[int] | None = None
    chain_epochs: bool = False
    lr: float | None = None
    bag_lr: float = 0.03
    batch_size: int | None = None
    pre_batches: int | None = None


@dataclass
class StageConfig:
    """One student. Settings left out are those of the run.

    Args:
        name: folder in the run.
        layers: depth of the student; 0 for one without attention.
        mask_rate: fraction of the tokens of a text that teacher and student see as [MASK].
        teacher: name of an earlier stage; by default the one before. `none` trains on labels alone.
        pretrained_layers: which layers to start from with `init: pretrained`; default evenly spaced.
        teacher_layers: which layers to start from with `init: teacher`; default evenly spaced.
        load: a folder of a trained model to take in place of training this stage.
        method: overrides `distill.method`.
        init: overrides `distill.init`.
        alpha: overrides `distill.alpha`.
        beta: overrides `distill.beta`.
        epochs: overrides `distill.epochs` and `train.epochs`.
        lr: overrides `distill.lr` and `train.lr`.
        batch_size: overrides `distill.batch_size` and `train.batch_size`.
        pre_batches: overrides `distill.pre_batches` and `contrastive.pre_batches`.
        frozen_layers: so many of the lowest layers keep their weights, whatever `train.frozen_share` says.
        feature: overrides `distill.feature`.
        structure_share: overrides `distill.structure_share`; 0 leaves the structure out.
        mask_choice: overrides `distill.mask_choice`.
        mask_rate_by: overrides `distill.mask_rate_by`.
    """

    name: str
    layers: int | None = None
    mask_rate: float = 0.0
    teacher: str | None = None
    pretrained_layers: list[int] | None = None
    teacher_layers: list[int] | None = None
    load: str | None = None
    method: TextMethod | None = None
    init: Init | None = None
    alpha: float | None = None
    beta: float | None = None
    epochs: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    pre_batches: int | None = None
    frozen_layers: int | None = None
    structure_share: float | None = None
    feature: FeatureForm | None = None
    mask_choice: MaskChoice | None = None
    mask_rate_by: RateChoice | None = None


@dataclass
class ProgressiveConfig:
    """A progressive distillation: a teacher, then students, each taught by the one before.

    Args:
        name: the run's name, which many configs give; otherwise that of the graph.
        seed: of everything random.
        runs: folder of the run folders.
        data: the knowledge graph.
        encoder: the text encoders.
        teacher: a model of another kind as the first stage; by default that, too, is one of `encoder`.
        contrastive: negatives.
        train: training settings.
        distill: what is distilled.
        stages: the grades; by default a teacher, a pre-distilled one, then three quarters, half and a
            quarter of the layers, with mask rates of 20, 10, 5 and 0 percent.
        evaluation: the final ranking.
        structure: a config of `pmd train`, a YAML or the name of a bundled one: its embedding model is trained after the
            grades (with this run's data, seed, threads and precision) and fused with the last one, as `pmd fuse` does.
    """

    name: str | None = None
    seed: int = 0
    runs: str = "runs"
    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    teacher: TeacherConfig | None = None
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    stages: list[StageConfig] | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    structure: str | None = None

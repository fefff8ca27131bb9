"""Learning from triples alone: the contrastive objective of SimKGC (Wang et al., ACL 2022).

In-batch, pre-batch and self-negatives, in both directions. It trains the first teacher and the baselines without
distillation, and is the label term of every distillation. A student with several `widths` learns them together, from one
encoding of the batch.

Confidences of the triples weigh the label term, in every method; what a teacher says of an example weighs evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pmd.core.distributed import global_mean, relative_weights
from pmd.core.types import LossTerms, Objective
from pmd.data.graphs.answers import KnownAnswers, inverse_triples
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.batches import TripleBatch
from pmd.data.texts.graph_text import GraphText
from pmd.distill.kept.teacher_vectors import as_encoded
from pmd.distill.shared_reading import read_together
from pmd.distill.teacher import Frozen, Structure
from pmd.losses.contrastive import contrastive_loss
from pmd.losses.distillation import similarity_errors
from pmd.models.text.bi_encoder import BiEncoder
from pmd.models.text.encode import Encoded
from pmd.models.vectors import leading_dimensions
from pmd.settings.stages.text import FEATURES
from pmd.settings.text import ContrastiveConfig, DistillConfig, ProgressiveConfig, StageConfig

STAGE_SETTINGS = ("method", "alpha", "beta", *FEATURES)
"""What a stage says of `distill` once it is resolved."""


@dataclass(frozen=True, eq=False)
class TextSetup:
    """What a stage of text models trains with; every objective takes from it what it needs (`for_stage`).

    `teacher` is None for a method without one; `stage` has every setting filled in; `structure` is mixed into the teacher's
    logits.
    """

    student: BiEncoder
    teacher: BiEncoder | None
    graph: KnowledgeGraph
    text: GraphText
    config: ProgressiveConfig
    stage: StageConfig
    structure: Structure | None = None

    @property
    def distill(self) -> DistillConfig:
        """The run's settings of distillation, with those of the stage."""
        return replace(self.config.distill, **{name: getattr(self.stage, name) for name in STAGE_SETTINGS})

    @property
    def contrastive(self) -> ContrastiveConfig:
        """The run's negatives, with those of the stage."""
        return replace(self.config.contrastive, pre_batches=self.stage.pre_batches)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Unit vectors (b, d) of the examples of a batch: of their queries, answers and heads."""

    query: Tensor
    entity: Tensor
    head: Tensor

    def crop(self, width: int) -> Vectors:
        """The unit vectors (b, width) of the leading dimensions."""
        return Vectors(*(leading_dimensions(part, width) for part in (self.query, self.entity, self.head)))


class Supervised(Objective):
    """Term `ce`: the contrastive loss of the student's vectors at all its widths.

    Args:
        student: the model to train.
        options: margin and negatives.
        train: training triples (n, 3); none of them counts as a negative.
        num_entities, num_relations: sizes of the graph.
        recompute: less memory for more time, see `pmd.models.text.encode.encode`.
    """

    structure: Structure | None = None
    asks: Sequence[int] | None = None
    """If it wants a teacher's vectors of whole texts, the middle layers that it wants pooled besides; None if it does not."""
    takes_states = True
    """Whether it can use what the student's frozen layers made of whole texts before."""
    teacher: Frozen

    def __init__(
        self,
        student: BiEncoder,
        options: ContrastiveConfig,
        train: Tensor,
        num_entities: int,
        num_relations: int,
        *,
        recompute: bool = False,
    ):
        super().__init__()
        self.student, self.options, self.recompute = student, options, recompute
        self.num_relations, self.weights = num_relations, {"ce": 1.0}
        train = train.to(student.device)
        both_ways = torch.cat([train, inverse_triples(train, num_relations)])
        self.known = KnownAnswers(both_ways, num_entities, 2 * num_relations)
        # Entities of earlier batches, newest last; part of the state, so that a resumed run continues exactly.
        persistent = options.pre_batches > 0
        self.register_buffer("earlier_vectors", torch.empty(0, student.dim), persistent=persistent)
        self.register_buffer("earlier_entities", torch.empty(0, dtype=torch.long), persistent=persistent)

    @classmethod
    def for_stage(cls, setup: TextSetup, **options: Any) -> Supervised:
        """The objective of a stage; `options` are those of a subclass."""
        graph, config = setup.graph, setup.config
        sizes = graph.num_entities, graph.num_relations
        recompute = config.train.recompute
        objective = cls(setup.student, setup.contrastive, graph.train, *sizes, recompute=recompute, **options)
        objective.structure = setup.structure
        return objective

    def forward(self, batch: TripleBatch) -> LossTerms:
        query, entity = self.encode(self.student, batch)
        return {"ce": self.contrastive(gather_vectors(query, entity, batch), batch)}

    def encode(
        self, model: BiEncoder, batch: TripleBatch, masks=(None, None), layers=(), whole: bool = True
    ) -> tuple[Encoded, Encoded]:
        """Encodings of the distinct queries and of the distinct entities of a batch, which all processes read together."""
        options = {"layers": layers, "recompute": self.recompute, "whole": whole}
        return (
            read_together(model, "query", batch.queries, masks=masks[0], **options),
            read_together(model, "entity", batch.entities, masks=masks[1], **options),
        )

    def ask(self, batch: TripleBatch) -> tuple[Encoded, Encoded]:
        """What the teacher makes of the distinct queries and entities of a batch: as it was kept, or else asked now."""
        teacher, layers = self.teacher.model, self.asks or ()
        if batch.teacher_vectors is not None:
            return tuple(as_encoded(rows, teacher.dim, layers) for rows in batch.teacher_vectors)
        with torch.no_grad():
            return self.encode(teacher, batch.for_teacher, layers=layers)

    def contrastive(self, vectors: Vectors, batch: TripleBatch) -> Tensor:
        """The loss of the batch, whose entities, in training, then join the queue of earlier ones."""
        examples = batch.examples
        left_out = self.no_negatives(examples, examples[:, 2])
        left_out.fill_diagonal_(False)
        options = {}
        if batch.confidences is not None:
            options["confidences"] = relative_weights(batch.confidences)
        if self.options.self_negatives:
            options["head_is_answer"] = self.known.contains(examples[:, [0, 1, 0]])
        if len(self.earlier_entities):
            options["pre_batch_left_out"] = self.no_negatives(examples, self.earlier_entities)
        losses = [self._contrastive(vectors.crop(width), left_out, options) for width in self.student.widths]
        if self.training and self.options.pre_batches:
            self._remember(vectors.entity.detach(), examples[:, 2])
        return widest_and_others(losses)

    def _contrastive(self, vectors: Vectors, left_out: Tensor, options: dict[str, Tensor]) -> Tensor:
        """The loss of vectors of one width; `options` of `contrastive_loss` say which further negatives there are."""
        scale = self.student.inverse_temperature
        cosine = cosines(vectors.query, vectors.entity)
        cosine = cosine - self.options.margin * torch.eye(len(cosine), device=cosine.device)
        negatives = {}
        if "head_is_answer" in options:
            negatives["head"] = (vectors.query * vectors.head).sum(-1) * scale
        if "pre_batch_left_out" in options:
            earlier = cosines(vectors.query, leading_dimensions(self.earlier_vectors, vectors.query.shape[-1]))
            negatives["pre_batch"] = earlier * scale * self.options.pre_batch_weight
        return contrastive_loss(cosine * scale, left_out, **negatives, **options)

    def teacher_loss(
        self,
        loss: Callable[[Tensor, Tensor], Tensor],
        ours: Vectors,
        theirs: Vectors,
        teacher: BiEncoder,
        batch: TripleBatch,
    ) -> Tensor:
        """A loss between the logits (b, b) of the student at each of its widths and those of its teacher, mixed with the
        scores of `structure` where there is one.

        The teacher's are of all its dimensions, its best, also for narrow widths of the student that it has too: taught
        width by width, the narrow widths of a small student ranked worse.
        """
        taught = logits(theirs, teacher)
        if self.structure is not None:
            taught = self.structure.mixed(taught, batch.examples)
        return self.taught_loss(loss, ours, taught)

    def taught_loss(self, loss: Callable[[Tensor, Tensor], Tensor], ours: Vectors, teacher_logits: Tensor) -> Tensor:
        """The same from the teacher's logits (b, b)."""
        student_logits = [logits(ours.crop(width), self.student) for width in self.student.widths]
        return widest_and_others([loss(width_logits, teacher_logits) for width_logits in student_logits])

    def similarity_loss(
        self, ours: Sequence[Encoded], theirs: Sequence[Encoded], teacher: BiEncoder, distill: DistillConfig
    ) -> Tensor:
        """The error of the similarities among the batch's queries plus that among its entities, at each width."""
        softened = distill.similarity_loss == "kl"
        scales = [model.inverse_temperature if softened else 1.0 for model in (self.student, teacher)]
        temperature = distill.temperature if softened else None

        def loss(width: int) -> Tensor:
            errors = []
            for our, their in zip(ours, theirs):
                vectors = leading_dimensions(our.pooled, width), their.pooled
                similarities = [cosines(part, part) * scale for part, scale in zip(vectors, scales)]
                errors.append(global_mean(similarity_errors(*similarities, temperature)))
            return torch.stack(errors).sum()

        return widest_and_others([loss(width) for width in self.student.widths])

    def no_negatives(self, examples: Tensor, entities: Tensor) -> Tensor:
        """(b, c) bool: whether entity j (c,) is a known answer of the query of example i (b, 3), or its head where that does
        not count among them."""
        answers, options = self.answers(examples, entities), self.options
        heads_count = options.self_negatives and options.in_batch_heads
        return answers if heads_count else answers | (examples[:, :1] == entities)

    def answers(self, examples: Tensor, entities: Tensor) -> Tensor:
        """(b, c) bool: whether entity j (c,) is a known answer of the query of example i (b, 3)."""
        distinct, column = entities.unique(return_inverse=True)
        rows, known = self.known.lookup(examples, "tail")
        position = torch.searchsorted(distinct, known).clamp(max=len(distinct) - 1)
        is_listed = distinct[position] == known
        mask = torch.zeros(len(examples), len(distinct), dtype=torch.bool, device=examples.device)
        mask[rows[is_listed], position[is_listed]] = True
        return mask[:, column]

    def _remember(self, vectors: Tensor, entities: Tensor) -> None:
        keep = self.options.pre_batches * len(entities)
        self.earlier_vectors = torch.cat([self.earlier_vectors.to(vectors), vectors])[-keep:].detach()
        self.earlier_entities = torch.cat([self.earlier_entities, entities])[-keep:]

    def _load_from_state_dict(self, state_dict, prefix, *arguments) -> None:
        # The queue is as long as the batches so far made it, so the buffers must first get the stored size. Of two empty
        # tensors `accelerate` writes only one, taking them for the same memory.
        for name in ("earlier_vectors", "earlier_entities") if self.options.pre_batches else ():
            buffer = getattr(self, name)
            stored = state_dict.setdefault(prefix + name, buffer[:0])
            setattr(self, name, torch.empty_like(stored, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def widest_and_others(losses: Sequence[Tensor]) -> Tensor:
    """One loss from those of all widths, the widest last: half of it is the widest's, half the mean of the others.

    In a plain mean the large losses of the narrow widths outweigh that of the whole vectors, which rank worse for it.
    """
    *narrow, widest = losses
    return (widest + torch.stack(narrow).mean()) / 2 if narrow else widest


def gather_vectors(query: Encoded, entity: Encoded, batch: TripleBatch) -> Vectors:
    """The vectors of the examples of a batch, from those of its distinct texts."""
    vectors = torch.stack([query.pooled[batch.query], entity.pooled[batch.entity], entity.pooled[batch.head]], dim=1)
    return Vectors(*vectors.float().unbind(1))


def cosines(query: Tensor, entity: Tensor) -> Tensor:
    """Unit vectors (b, d), (c, d) -> (b, c), always in single precision.

    Half precision would round a cosine by more than a tenth of the margin, and a logit by that times the inverse temperature.
    """
    with torch.autocast(query.device.type, enabled=False):
        return query.float() @ entity.float().T


def logits(vectors: Vectors, model: BiEncoder) -> Tensor:
    """Logits (b, b) of all queries and all answers of the batch, without margin."""
    return cosines(vectors.query, vectors.entity) * model.inverse_temperature

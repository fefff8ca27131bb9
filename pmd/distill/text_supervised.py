"""Learning from triples alone: the contrastive objective of SimKGC (section 1.1 of the method notes).

It trains the first teacher and the baselines without distillation, and is the label term of every
distillation. Wang et al., ACL 2022: in-batch, pre-batch and self-negatives, both directions. A student with
several `widths` learns them together, from one encoding of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pmd.core.distributed import all_gather
from pmd.core.types import LossTerms, Objective
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.batches import TripleBatch
from pmd.data.texts.graph_text import GraphText
from pmd.losses.contrastive import contrastive_loss
from pmd.models.text.bi_encoder import BiEncoder, leading
from pmd.models.text.encode import Encoded, encode
from pmd.settings.text import ContrastiveConfig, DistillConfig, ProgressiveConfig, StageConfig


@dataclass(frozen=True, eq=False)
class TextSetup:
    """What a stage of text models trains with; every objective takes what it needs (`for_stage`).

    `teacher` is None for a method without one; `stage` has every setting filled in.
    """

    student: BiEncoder
    teacher: BiEncoder | None
    graph: KnowledgeGraph
    text: GraphText
    config: ProgressiveConfig
    stage: StageConfig

    @property
    def distill(self) -> DistillConfig:
        """How the student is taught, as the stage says."""
        stage = self.stage
        return replace(self.config.distill, method=stage.method, alpha=stage.alpha, beta=stage.beta)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Unit vectors (b, d) of the examples of the global batch: their queries, answers and own heads."""

    query: Tensor
    entity: Tensor
    own: Tensor

    def crop(self, width: int) -> Vectors:
        """The same by their leading dimensions."""
        return Vectors(leading(self.query, width), leading(self.entity, width), leading(self.own, width))


class Supervised(Objective):
    """Term `ce`: the contrastive loss of the student's vectors, over its widths.

    Args:
        student: the model to train.
        options: margin and negatives.
        train: training triples (n, 3); every one of them is masked out of the negatives.
        num_entities, num_relations: sizes of the graph.
        recompute: trade time for memory, see `pmd.models.text.encode.encode`.
    """

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
        self.weights = {"ce": 1.0}
        train = train.to(student.device)
        inverse = torch.stack([train[:, 2], train[:, 1] + num_relations, train[:, 0]], dim=1)
        self.known = KnownAnswers(torch.cat([train, inverse]), num_entities, 2 * num_relations)
        # Entities of earlier batches, newest last; part of the state, so that a resumed run goes on exactly.
        kept = options.pre_batches > 0
        self.register_buffer("earlier_vectors", torch.empty(0, student.dim), persistent=kept)
        self.register_buffer("earlier_entities", torch.empty(0, dtype=torch.long), persistent=kept)

    @classmethod
    def for_stage(cls, setup: TextSetup, **options: Any) -> Supervised:
        """The objective of a stage; `options` are those of a subclass."""
        graph, config = setup.graph, setup.config
        sizes = graph.num_entities, graph.num_relations
        recompute = config.train.recompute
        return cls(setup.student, config.contrastive, graph.train, *sizes, recompute=recompute, **options)

    def forward(self, batch: TripleBatch) -> LossTerms:
        query, entity = self.encode(self.student, batch)
        return {"ce": self.contrastive(spread(query, entity, batch), all_gather(batch.examples))}

    def encode(self, model: BiEncoder, batch: TripleBatch, masks=(None, None), layers=()) -> tuple[Encoded, Encoded]:
        """Encodings of the distinct queries and of the distinct entities of a batch."""
        options = {"layers": layers, "recompute": self.recompute}
        return (
            encode(model, "query", batch.queries, masks=masks[0], **options),
            encode(model, "entity", batch.entities, masks=masks[1], **options),
        )

    def contrastive(self, vectors: Vectors, examples: Tensor) -> Tensor:
        """The loss of the global batch; in training it also moves on the queue of earlier entities."""
        answers = self.answers(examples, examples[:, 2])
        answers.fill_diagonal_(False)
        known = {}
        if self.options.self_negatives:
            known["own_is_answer"] = self.known.contains(examples[:, [0, 1, 0]])
        if len(self.earlier_entities):
            known["pre_batch_is_answer"] = self.answers(examples, self.earlier_entities)
        each = [self._contrastive(vectors.crop(width), answers, known) for width in self.student.widths]
        if self.training and self.options.pre_batches:
            self._remember(vectors.entity.detach(), examples[:, 2])
        return over_widths(each)

    def _contrastive(self, vectors: Vectors, answers: Tensor, known: dict[str, Tensor]) -> Tensor:
        """The same of vectors of one width, with what is known of their negatives."""
        scale = self.student.inverse_temperature
        cosine = cosines(vectors.query, vectors.entity)
        cosine = cosine - self.options.margin * torch.eye(len(cosine), device=cosine.device)
        more = {}
        if "own_is_answer" in known:
            more["own"] = (vectors.query * vectors.own).sum(-1) * scale
        if "pre_batch_is_answer" in known:
            earlier = cosines(vectors.query, leading(self.earlier_vectors, vectors.query.shape[-1]))
            more["pre_batch"] = earlier * scale * self.options.pre_batch_weight
        return contrastive_loss(cosine * scale, answers, **more, **known)

    def taught(
        self, loss: Callable[[Tensor, Tensor], Tensor], ours: Vectors, theirs: Vectors, teacher: BiEncoder
    ) -> Tensor:
        """A loss between the logits (b, b) of the student at its widths and its teacher's.

        Those are of all dimensions, even for narrow widths and of a teacher that has the same ones: the best that it
        knows. Taught width by width, the narrow ones of a small student ranked worse.
        """
        each = [logits(ours.crop(width), self.student) for width in self.student.widths]
        whole = logits(theirs, teacher)
        return over_widths([loss(mine, whole) for mine in each])

    def answers(self, examples: Tensor, entities: Tensor) -> Tensor:
        """(b, c) bool: whether entity j (c,) is a known answer of the query of example i (b, 3)."""
        distinct, column = entities.unique(return_inverse=True)
        rows, known = self.known.lookup(examples, "tail")
        place = torch.searchsorted(distinct, known).clamp(max=len(distinct) - 1)
        there = distinct[place] == known
        mask = torch.zeros(len(examples), len(distinct), dtype=torch.bool, device=examples.device)
        mask[rows[there], place[there]] = True
        return mask[:, column]

    def _remember(self, vectors: Tensor, entities: Tensor) -> None:
        keep = self.options.pre_batches * len(entities)
        self.earlier_vectors = torch.cat([self.earlier_vectors.to(vectors), vectors])[-keep:].detach()
        self.earlier_entities = torch.cat([self.earlier_entities, entities])[-keep:]

    def _load_from_state_dict(self, state_dict, prefix, *arguments) -> None:
        # The queue's length depends on how many batches have been seen. Of two empty tensors `accelerate`
        # writes only one, since they seem to share their memory.
        for name in ("earlier_vectors", "earlier_entities") if self.options.pre_batches else ():
            own = getattr(self, name)
            stored = state_dict.setdefault(prefix + name, own[:0])
            setattr(self, name, torch.empty_like(stored, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def over_widths(losses: Sequence[Tensor]) -> Tensor:
    """The loss of all widths from that of each, the widest last: half of it is the widest's, half the mean of the others.

    In a plain mean the narrow ones, whose losses are large, outweigh it, and the whole vectors pay for them.
    """
    *narrow, widest = losses
    return (widest + torch.stack(narrow).mean()) / 2 if narrow else widest


def spread(query: Encoded, entity: Encoded, batch: TripleBatch) -> Vectors:
    """Vectors of the examples of all processes from those of this one's distinct texts."""
    local = torch.stack([query.pooled[batch.query], entity.pooled[batch.entity], entity.pooled[batch.own]], dim=1)
    return Vectors(*all_gather(local.float()).unbind(1))


def cosines(query: Tensor, entity: Tensor) -> Tensor:
    """(b, d), (c, d) unit vectors -> (b, c) in fp32, in mixed precision too.

    Half precision would round a cosine by more than a tenth of the margin, times the inverse temperature.
    """
    with torch.autocast(query.device.type, enabled=False):
        return query.float() @ entity.float().T


def logits(vectors: Vectors, model: BiEncoder) -> Tensor:
    """(b, b) logits of all queries and answers of the batch, without margin."""
    return cosines(vectors.query, vectors.entity) * model.inverse_temperature

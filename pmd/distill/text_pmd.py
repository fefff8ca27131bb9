"""Masked generation feature distillation (PMD; Fan et al., AAAI 2024).

L = (1 − α − β)·L_CE + α·L_SCORE + β·L_MGFD (Eq. 6), as terms `ce`, `score` and `feature`; with
`distill.label_weight` w it is w·L_CE + α·L_SCORE + β·L_MGFD, and β may be as large as it has to be. Teacher and student always read the same texts. Which are masked is a choice (`distill.masked_view`): with `same`, both read
masked texts only, once, for all three terms, as the authors' code does; with `separate`, labels and scores are
of the whole texts, and a share of the batch's texts is read a second time with masks. An encoder that was not
pretrained with [MASK] needs `separate`.

- `ce`: the contrastive loss on the labels (Eq. 4).
- `score`: mean squared error of the two logit matrices of the batch (Eq. 5), both without margin; or, with
  `distill.score: kl`, the default since it measured better, the KL divergence of the softened logits. A student
  with several widths learns from them at every width.
- `feature`: mean squared error of the last hidden states at masked positions (Eq. 2), of each by itself
  (`token`) or of their normalised mean over a text (`pooled`). Texts without a mask are left out. With
  `distill.feature_norm: sum` the errors are summed over the hidden width, not averaged: in the mean the gradient of
  this term is a hundredth of the others'. With `distill.feature_mean: sides`, the authors' form, it is the mean of the
  queries' errors plus that of the entities', about twice the mean of `all`. Without `feature` the teacher may read by another
  tokenizer.
- `similarity`, with `distill.similarity`: the error of the similarities among the batch's entities and among its queries.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pmd.core.distributed import global_mean
from pmd.core.types import LossTerms
from pmd.data.texts.batches import Chunk, TripleBatch
from pmd.data.texts.masking import mask_positions
from pmd.distill.masks import rates_by_sureness, token_information, token_weights
from pmd.distill.shared_reading import own_rows
from pmd.distill.teacher import Frozen, bridge
from pmd.distill.text_supervised import Supervised, TextSetup, gather_vectors
from pmd.losses.distillation import feature_errors, score_loss, two_way_softened_loss
from pmd.models.text.bi_encoder import BiEncoder, Role
from pmd.models.text.encode import Encoded, pool_masked
from pmd.settings.checks import first_set
from pmd.settings.text import DistillConfig


class MaskedFeatureDistillation(Supervised):
    """A student taught by labels, scores and masked generation features.

    Args:
        student: the model to train; `arguments` and `options` are the further ones of `Supervised`.
        teacher: the grade above; frozen here.
        distill: weights and form of the terms; without `beta` there is no term `feature`, and nothing is masked.
        mask_rate: fraction of the tokens that both read as [MASK].
        mask: id of [MASK].
        special: (s,) ids that are never masked.
        information: (ids,) of the tokens, for `distill.mask_choice: rare`.
    """

    def __init__(
        self,
        student: BiEncoder,
        *arguments,
        teacher: BiEncoder,
        distill: DistillConfig,
        mask_rate: float,
        mask: int,
        special: Tensor,
        information: Tensor | None = None,
        **options,
    ):
        super().__init__(student, *arguments, **options)
        self.teacher, self.mask = Frozen(teacher, student.device), mask
        self.form, self.norm, self.mean = distill.feature, distill.feature_norm, distill.feature_mean
        self.score, self.temperature = distill.score, distill.temperature
        self.separate, self.share = distill.masked_view == "separate", distill.masked_share
        self.mask_rate, self.mask_choice = mask_rate, distill.mask_choice
        self.rate_by_teacher = distill.mask_rate_by == "uncertainty"
        labels = first_set(distill.label_weight, 1.0 - distill.alpha - distill.beta)
        self.weights = {"ce": labels}
        if distill.alpha:
            self.weights["score"] = distill.alpha
        if mask_rate > 0 and distill.beta > 0:
            self.weights["feature"] = distill.beta
        self.distill = distill
        if distill.similarity:
            self.weights["similarity"] = distill.similarity
        has_masks = "feature" in self.weights
        self.reads_whole = self.takes_states = self.separate or not has_masks
        compared = self.reads_whole and not self.weights.keys().isdisjoint(("score", "similarity"))
        self.asks = () if compared or (has_masks and self.rate_by_teacher) else None
        self.register_buffer("special", special, persistent=False)
        self.register_buffer("information", information, persistent=False)
        self.project = bridge(student.hidden_size, teacher.hidden_size, trained="feature" in self.weights)

    @classmethod
    def for_stage(cls, setup: TextSetup) -> MaskedFeatureDistillation:
        text = setup.text
        special = torch.tensor(text.special)
        options = {"mask_rate": setup.stage.mask_rate, "mask": text.mask, "special": special}
        if setup.distill.mask_choice == "rare":
            options["information"] = token_information(text)
        return super().for_stage(setup, teacher=setup.teacher, distill=setup.distill, **options)

    def forward(self, batch: TripleBatch) -> LossTerms:
        if self.reads_whole:
            ours, theirs = self.encode(self.student, batch), None if self.asks is None else self.ask(batch)
        else:
            ours, theirs = self._encode_both(*self.masked(batch))
        vectors = gather_vectors(*ours, batch)
        terms = {"ce": self.contrastive(vectors, batch)}
        if "score" in self.weights:
            teacher_vectors = gather_vectors(*theirs, batch)
            terms["score"] = self.teacher_loss(self._score, vectors, teacher_vectors, self.teacher.model, batch)
        if "similarity" in self.weights:
            terms["similarity"] = self.similarity_loss(ours, theirs, self.teacher.model, self.distill)
        if "feature" in self.weights:
            if self.separate:
                ours, theirs = self._encode_both(*self.masked(batch, theirs), whole=False)
            terms["feature"] = self._feature(ours, theirs)
        return terms

    def _score(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.score == "mse":
            return score_loss(student, teacher)
        return two_way_softened_loss(student, teacher, self.temperature)

    def masked(self, batch: TripleBatch, whole: tuple[Encoded, Encoded] | None = None) -> tuple[TripleBatch, tuple]:
        """`mask_batch` as the settings have it; `whole` is what the teacher made of the whole texts, where it has read them."""
        rates = None
        if self.rate_by_teacher:
            rates = self.teacher_rates(batch, whole)
        return self.mask_batch(batch, self.share if self.separate else 1.0, rates)

    @torch.no_grad()
    def teacher_rates(self, batch: TripleBatch, whole: tuple[Encoded, Encoded] | None) -> list[Tensor]:
        return rates_by_sureness(self.mask_rate, whole or self.ask(batch), self.teacher.model, batch)

    def mask_batch(
        self, batch: TripleBatch, share: float = 1.0, rates: list[Tensor] | None = None
    ) -> tuple[TripleBatch, tuple]:
        """A share of the batch's texts with tokens replaced by [MASK], and the masks of queries and of entities; `rates`
        are those of the queries and of the entities, by default that of the stage."""
        query_rates, entity_rates = rates or (None, None)
        queries, query_masks = self._mask("query", batch.queries, share, query_rates)
        entities, entity_masks = self._mask("entity", batch.entities, share, entity_rates)
        return replace(batch, queries=queries, entities=entities), (query_masks, entity_masks)

    def _mask(
        self, role: Role, chunks: list[Chunk], share: float, rates: Tensor | None
    ) -> tuple[list[Chunk], list[Tensor]]:
        if share < 1:
            chunks = [chunk.sample(share) for chunk in chunks]
        masks = []
        for chunk, own in zip(chunks, own_rows(chunks)):
            rate = self.mask_rate if rates is None else rates[chunk.rows].unsqueeze(1)
            weights = self._weights(role, chunk, own)
            masks.append(mask_positions(chunk.input_ids, rate, self.special, weights))
        replaced = [
            replace(chunk, input_ids=chunk.input_ids.masked_fill(mask, self.mask), states=None)
            for chunk, mask in zip(chunks, masks)
        ]
        return replaced, masks

    def _weights(self, role: Role, chunk: Chunk, own: Tensor) -> Tensor | None:
        """The weights (c, L) of a chunk's tokens: those of the `own` texts of this process, which masks no others."""
        if self.mask_choice == "random" or not len(own):
            return None
        weights = token_weights(self.mask_choice, self.information, self.teacher.model, role, chunk.take(own))
        return weights.new_ones(chunk.input_ids.shape).index_copy(0, own, weights)

    def _encode_both(
        self, batch: TripleBatch, masks: tuple, whole: bool = True
    ) -> tuple[tuple[Encoded, Encoded], tuple[Encoded, Encoded]]:
        ours = self.encode(self.student, batch, masks, whole=whole)
        with torch.no_grad():
            return ours, self.encode(self.teacher.model, batch, masks, whole=whole)

    def _feature(self, ours: tuple[Encoded, Encoded], theirs: tuple[Encoded, Encoded]) -> Tensor:
        """The term of queries and entities."""
        errors = [self._errors(*pair) for pair in zip(ours, theirs)]
        if self.mean == "sides":
            return torch.stack([*map(global_mean, errors)]).sum()
        return global_mean(torch.cat(errors))

    def _errors(self, ours: Encoded, theirs: Encoded) -> Tensor:
        ours = replace(ours, masked=self.project(ours.masked))
        if self.form == "pooled":
            return feature_errors(pool_masked(ours), pool_masked(theirs), self.norm)
        return feature_errors(ours.masked, theirs.masked, self.norm)

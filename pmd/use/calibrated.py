"""Questions whose answers have a probability, and sets of a coverage (`pmd.trust.calibration`): with NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pmd.core.errors import PmdError
from pmd.trust.calibration import SPLITS, AnswerSet, Calibration

if TYPE_CHECKING:
    from pmd.use.answer_records import Question
    from pmd.use.index import Index


class GivesProbabilities:
    """What a model that answers questions has learned of its answers on validation."""

    index: Index
    is_whole: bool
    logit_scale = 1.0
    """What makes logits of the scores, as they were trained."""

    @cached_property
    def _calibrations(self) -> dict[str, Calibration]:
        """By validation split. None for some dimensions of a model, whose scores are others."""
        facts = self.index.metadata.get("odds", {}) if self.is_whole else {}
        return {split: Calibration.stored(self.index.column, facts, split) for split in facts.get("splits", ())}

    def measure_trust(self, split: str) -> dict[str, Any]:
        """How far the probabilities and sets can be trusted on a split (`pmd.trust.reliability`), as JSON; `missing` says why where
        nothing was learned."""
        from pmd.trust.reliability import measure_trust

        learned_from = SPLITS[int(split.startswith("inductive"))]
        calibration = self._calibrations.get(learned_from) or self._calibrations.get(SPLITS[0])
        if calibration is None:
            return {"missing": self._why_uncalibrated(learned_from)}
        return measure_trust(self, calibration, split)

    def calibration(self, question: Question) -> Calibration | None:
        """What validation taught about questions like this `question`; None if nothing."""
        return self._calibrations.get(self._validated_by(question)) or self._calibrations.get(SPLITS[0])

    def why_no_probabilities(self, question: Question) -> str | None:
        """Why answers to a question have none, and what to do; None if they have."""
        return None if self.calibration(question) else self._why_uncalibrated(self._validated_by(question))

    def group(self, question: Question) -> int:
        """Relation and direction of a question, as in `pmd.trust.held_out.HeldOut`."""
        return question.relation + self.index.num_relations * (question.target == "tail")

    def probabilities(
        self, question: Question, scores: np.ndarray, known: np.ndarray, **options: Any
    ) -> np.ndarray | None:
        """The probabilities (n,) of entities with these scores (n,) as answers to a question of which the graph knows the answers
        `known` (k,); None if nothing was learned of such questions. Options as of `Calibration.probabilities`."""
        calibration, group = self.calibration(question), self.group(question)
        if calibration is None:
            return None
        return calibration.probabilities(scores, known, group, **options)

    def check_coverage(self, questions: Sequence[Question], coverage: float) -> None:
        """PmdError for a coverage that is none, and for a model that has learned nothing of its answers to one of the questions."""
        if not 0 < coverage < 1:
            raise PmdError(f"coverage: {coverage:g} is none; give a share between 0 and 1, such as 0.9")
        without = next((question for question in questions if self.calibration(question) is None), None)
        if without is not None:
            raise PmdError(f"coverage: {self._why_uncalibrated(self._validated_by(without))}")

    def answer_set(
        self, question: Question, scores: np.ndarray, coverage: float, max_set: int, *, new: bool
    ) -> tuple[np.ndarray, AnswerSet]:
        """The scores (n,) of the entities in the set that a question has for a coverage, -inf for all others, and what is known of the
        set. It has none where more than `max_set` would be needed, or where no entity is likely enough. A set of `new` answers has no
        known ones, whose scores are -inf already."""
        calibration = self.calibration(question)
        members = calibration.members(scores, self.group(question), coverage, new=new)
        size, unsure = int(members.sum()), ""
        if not size:
            unsure = f"none is sure: no answer is likely enough for a coverage of {coverage:.0%}"
        elif size > max_set:
            unsure = f"none is sure: {size:,} answers would be needed for a coverage of {coverage:.0%}, more than {max_set:,}"
        return np.where(members & (not unsure), scores, -np.inf), AnswerSet(coverage, size, unsure)

    def _validated_by(self, question: Question) -> str:
        subgraphs = self.index.subgraphs
        is_other = subgraphs is not None and question.entity is not None and subgraphs[question.entity] == 2
        return SPLITS[int(is_other)]

    def _why_uncalibrated(self, split: str) -> str:
        if not self.is_whole:
            return "it was learned for all dimensions of the model; crop it (pmd crop) and ask the crop, or leave out --width"
        rebuild = f"rebuild it with its graph: pmd answer {self.index.model} --build"
        if "odds" not in self.index.metadata:
            return f"{self.index.folder} is older than probabilities; {rebuild}"
        why = self.index.metadata["odds"]["missing"].get(split, "nothing was learned")
        return f"{why}; add validation triples to the graph, then {rebuild}"

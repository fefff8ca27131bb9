"""What the validation split teaches about a model's answers: their probabilities, and sets of a coverage.

It is learned once, when an index is built, and stored there: columns whose names begin with `odds_`, and the key `odds` of index.json. Of an
inductive data set each of the two graphs has its own, from its own validation split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from pmd.trust.answer_sets import AnswerSets
from pmd.trust.first_answers import FirstAnswers, learn_first_answers, two_best
from pmd.trust.held_out import HeldOut, held_out, held_out_triples
from pmd.trust.odds import Odds, learn, probability
from pmd.trust.sides import Asked, affordable

MAX_TRIPLES, MIN_TRIPLES = 4096, 100
"""Validation triples that are asked in both directions, at most; of millions of entities fewer (`pmd.trust.sides.affordable`)."""
FEWEST = 20
"""Validation questions that anything is learned from, at least."""
SPLITS = ("valid", "inductive_valid")
"""The validation splits: of the graph, and of the other one of an inductive data set."""
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class AnswerSet:
    """What is known of the set of a question.

    Args:
        coverage: what was asked for, in (0, 1).
        size: how many entities it has.
        unsure: why none of them is given; empty where they are.
    """

    coverage: float
    size: int
    unsure: str


@dataclass(frozen=True, eq=False)
class Calibration:
    """Probabilities and sets. `new_sets` are those among the candidates that the graph does not know as answers, `all_sets` those
    among all; neither depends on `first_answers`, which keeps the order."""

    odds: Odds
    new_sets: AnswerSets
    all_sets: AnswerSets
    first_answers: FirstAnswers = field(default_factory=FirstAnswers)

    @classmethod
    def of(cls, filtered: HeldOut, unfiltered: HeldOut, num_relations: int) -> Calibration:
        """What held-out questions show. The sets take the logits of the odds that were learned from the same questions: out of
        fold, thresholds came out too low, for odds of fewer questions are less sure of the true answers."""
        odds = learn(filtered, num_relations)
        first = learn_first_answers(filtered, num_relations)
        new, every = (odds.held_out_logits(questions)[0] for questions in (filtered, unfiltered))
        return cls(odds, AnswerSets(filtered.groups, new), AnswerSets(filtered.groups, every), first)

    def probabilities(
        self,
        scores: np.ndarray,
        known: np.ndarray,
        group: int,
        *,
        entities: np.ndarray | None = None,
        first_answers: bool = True,
    ) -> np.ndarray:
        """The probabilities of some `entities` (m,), by default of all (n,), by the scores (n,) of all, as answers to a question of
        which the graph knows the answers `known` (k,); 0 for a score of -inf. Without `first_answers` those of the odds alone."""
        is_rival = scores > -np.inf
        is_rival[known] = False
        if not first_answers:
            return probability(self.odds.logits(scores, is_rival, group, entities))
        if entities is None:
            return probability(self.first_answers.logits(self.odds.logits(scores, is_rival, group), scores, is_rival))
        # The probability of a first answer depends on the second one.
        asked, places = np.unique([*entities, *two_best(scores, is_rival)], return_inverse=True)
        logits = self.odds.logits(scores, is_rival, group, asked)
        return probability(self.first_answers.logits(logits, scores[asked], is_rival[asked]))[places[: len(entities)]]

    def members(self, scores: np.ndarray, group: int, coverage: float, *, new: bool) -> np.ndarray:
        """Which entities (n,) are in the set of such a coverage, by their scores (n,); if it is of `new` ones, the scores of known
        answers are -inf."""
        candidates = scores > -np.inf
        sets = self.new_sets if new else self.all_sets
        threshold = sets.threshold(group, coverage)
        return candidates & (self.odds.logits(scores, candidates, group) >= threshold)

    @classmethod
    def stored(cls, column: Callable[[str], np.ndarray], facts: dict[str, Any], split: str) -> Calibration:
        """That of a validation split, by the columns of an index and the value of `odds` in its index.json."""
        parts = {"odds": Odds, "new_sets": AnswerSets, "all_sets": AnswerSets}
        names = {name: [key.name for key in fields(part)] for name, part in parts.items()}
        learned = (parts[name](*(column(f"odds_{split}_{name}_{key}") for key in names[name])) for name in parts)
        return cls(*learned, FirstAnswers(**facts.get("first_answers", {}).get(split, {})))

    def columns(self, split: str) -> Columns:
        """What `stored` reads."""
        return {
            f"odds_{split}_{name}_{key}": column
            for name, part in vars(self).items()
            if name != "first_answers"
            for key, column in vars(part).items()
        }


def learn_calibration(model: Asked) -> tuple[dict[str, Any], Columns]:
    """What the validation splits teach about a model: the value of `odds` in index.json, and columns. The value names the splits
    that taught something, and says why others did not."""
    index, columns = model.index, {}
    facts: dict[str, Any] = {"splits": {}, "missing": {}, "first_answers": {}}
    for split in SPLITS if index.metadata["inductive"] else SPLITS[:1]:
        number = 2 * len(held_out_triples(index, [split]))
        if number < FEWEST:
            facts["missing"][split] = (
                f"the split {split} has {number} questions, and {FEWEST} are needed (`pmd data split` makes larger splits of a graph)"
            )
            continue
        queries = affordable(2 * MAX_TRIPLES, 2 * MIN_TRIPLES, index.num_entities)
        filtered, unfiltered = held_out(model, [split], queries // 2)
        calibration = Calibration.of(filtered, unfiltered, index.num_relations)
        columns |= calibration.columns(split)
        facts["splits"][split] = len(filtered)
        facts["first_answers"][split] = vars(calibration.first_answers)
    return facts, columns

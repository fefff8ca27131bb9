"""What `pmd shrink` compares: a row for each candidate, those that no other beats, and the one that is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.files import read_object
from pmd.settings.shrink import ShrinkConfig

FACTS = "shrink.json"


@dataclass(frozen=True)
class Choice:
    """What a model is made of.

    Args:
        part: `text`, `structure` or `fused`.
        stage: of the run that it comes from.
        layers: of its encoders; None where it has none.
        width: of the vectors of its text; of a structure alone, of its embeddings.
        encoders, vectors: in which precision the weights of encoders and the vectors of entities are stored; of a structure alone
            it has no encoders.
        structure_width: of the embeddings of a fused model.
    """

    part: str
    stage: str
    layers: int | None
    width: int
    encoders: str
    vectors: str
    structure_width: int | None = None

    @property
    def name(self) -> str:
        """Stage and width, and the precisions that are not fp32."""
        kinds = [
            f"{kind} {name}" for name in ("encoders", "vectors") if (kind := getattr(self, name)) not in ("fp32", "")
        ]
        fused = [f"fused with a structure of width {self.structure_width}"] if self.part == "fused" else []
        return ", ".join([f"{self.stage}/{self.width}", *fused, *kinds])


@dataclass(frozen=True, kw_only=True)
class Candidate(Choice):
    """A model that could be written, and its measures.

    Args:
        mrr: on validation, in [0, 1].
        keeps: that as a share of the teacher's.
        megabytes: of weights and entity vectors.
        milliseconds: the median of a question, from its text to the scores of all entities, with one thread.
    """

    mrr: float
    keeps: float
    megabytes: float
    milliseconds: float


@dataclass(frozen=True, eq=False)
class Shrunk:
    """What was compared, and what was written.

    Args:
        folder: of the model.
        teacher: the name of the stage that the others are compared with, and its MRR on validation.
        candidates: a row for each.
        chosen: the one that was written.
        test: MRR and Hits@10 of the model and the teacher on the test split; empty if the graph has none.
        facts: where and on what all this was measured.
    """

    folder: Path
    teacher: dict[str, Any]
    candidates: list[Candidate]
    chosen: Candidate
    test: dict[str, dict[str, float]]
    facts: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Shrunk:
        """That of a folder that `pmd shrink` wrote. PmdError if it is none."""
        facts = read_object(folder / FACTS, "pmd shrink writes it")
        if not facts:
            raise PmdError(f"'{folder}' has no {FACTS}; name a folder that `pmd shrink` wrote")
        parts = {"teacher": facts["teacher"], "test": facts["test"]}
        rows = [Candidate(**row) for row in facts["candidates"]]
        return cls(folder, candidates=rows, chosen=Candidate(**facts["chosen"]), facts=facts, **parts)

    @property
    def keeps_on_test(self) -> float | None:
        """The model's MRR on the test split as a share of the teacher's."""
        return self.test["model"]["mrr"] / self.test["teacher"]["mrr"] if self.test else None

    def stored(self) -> dict[str, Any]:
        """All of it as shrink.json has it."""
        return {**self.summary(), "candidates": [vars(row) for row in self.candidates]}

    def summary(self) -> dict[str, Any]:
        """What is noted beside the model."""
        return {
            **self.facts,
            "teacher": self.teacher,
            "chosen": vars(self.chosen),
            "test": self.test,
            "keeps_on_test": self.keeps_on_test,
        }


def chosen(candidates: Sequence[Candidate], config: ShrinkConfig) -> Candidate:
    """The candidate that the settings ask for. PmdError, naming the nearest, if there is none."""
    within, share = [*candidates], config.share
    limits = (("keep", "keeps", share, False), ("max_mb", "megabytes", config.max_mb, True))
    limits += (("max_ms", "milliseconds", config.max_ms, True),)
    for option, value, limit, at_most in limits:
        if limit is None:
            continue
        values = [getattr(candidate, value) for candidate in within]
        nearest = min(values) if at_most else max(values)
        within = [row for row, number in zip(within, values) if (number <= limit if at_most else number >= limit)]
        if not within:
            within_words, bound = ("at most", "least") if at_most else ("at least", "most")
            raise PmdError(
                f"{option}: no candidate has {within_words} {limit:g}; the {bound} is {nearest:.4g}, ask for that or allow"
                " more elsewhere"
            )
    if config.max_mb is None and config.max_ms is None:
        return min(within, key=lambda row: (row.megabytes, -row.mrr))
    return max(within, key=lambda row: (row.mrr, -row.megabytes))


def front(candidates: Sequence[Candidate], cost: str) -> list[Candidate]:
    """The candidates that none beats in MRR at no more cost (`megabytes` or `milliseconds`), the cheapest first."""
    best: list[Candidate] = []
    for row in sorted(candidates, key=lambda row: (getattr(row, cost), -row.mrr)):
        if not best or row.mrr > best[-1].mrr:
            best.append(row)
    return best

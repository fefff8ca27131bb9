"""A question, an answer and all answers to a question, as records that print, and write themselves as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pmd.trust.calibration import AnswerSet

if TYPE_CHECKING:  # its module loads torch
    from pmd.core.types import Target


@dataclass(frozen=True)
class Answer:
    """An entity that answers a question.

    Args:
        rank: from 1; of a known answer that is listed by itself, its rank among all candidates.
        id: of the entity in its graph.
        name: of the entity.
        score: of the model, after types; higher is better. None for a known answer that strict types leave out, or a short list.
        known: the splits that have the completed triple.
        probability: how often such a triple holds, in [0, 1] (`pmd.trust.odds`); None without a score, with other types than soft,
            and where the index has learned none.
    """

    rank: int
    id: str
    name: str
    score: float | None
    known: tuple[str, ...]
    probability: float | None = None


@dataclass(frozen=True)
class Question:
    """A question by positions in the graph.

    Args:
        target: the missing end, `head` or `tail`.
        relation: its position, from 0.
        entity: the position of the known end; None where a text describes it.
        text: the description of a known end that is not in the graph.
    """

    target: Target
    relation: int
    entity: int | None = None
    text: str | None = None


@dataclass(frozen=True, repr=False)
class Answers(Sequence):
    """The answers to a question: a sequence of `Answer`, best first.

    Args:
        target: the missing end, `head` or `tail`.
        head, relation, tail: the id and the name of each; None for the missing end, and for an entity that a text describes.
        text: that description; None for an entity of the graph.
        answers: the answers that are new to the graph, or all where all were asked for.
        answer_set: what is known of the answers as a set, where a coverage was asked for; if it is not sure, there are none.
        known: the first of the answers that the graph has, by split, then by score; none where only new ones, or all in one list,
            were asked for.
        num_known: how many the graph has.
    """

    target: Target
    head: tuple[str, str] | None
    relation: tuple[str, str]
    tail: tuple[str, str] | None
    text: str | None
    answers: tuple[Answer, ...]
    answer_set: AnswerSet | None = None
    known: tuple[Answer, ...] = ()
    num_known: int = 0

    def __getitem__(self, index):
        return self.answers[index]

    def __len__(self) -> int:
        return len(self.answers)

    def __repr__(self) -> str:
        """A line for each answer: rank, score, name, id where it differs, and the splits that have the triple."""
        asked = {"head": self.head, "relation": self.relation, "tail": self.tail}
        names = [
            self.text if pair is None and part != self.target else pair and pair[1] for part, pair in asked.items()
        ]
        lines = [f"Answers({', '.join(name or '?' for name in names)})"]
        lines += [_line("=", answer) for answer in self.known]
        if self.known and (more := self.num_known - len(self.known)):
            lines.append(f"   … and {more:,} more known")
        lines += [_line(str(answer.rank), answer) for answer in self.answers]
        if self.answer_set is not None and self.answer_set.unsure:
            lines.append(self.answer_set.unsure)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The answers for JSON; the missing end is null."""
        pairs = {part: getattr(self, part) for part in ("head", "relation", "tail")}
        triple = {part: pair and {"id": pair[0], "name": pair[1]} for part, pair in pairs.items()}
        known, answers = (
            [{**asdict(answer), "known": list(answer.known)} for answer in listed]
            for listed in (self.known, self.answers)
        )
        more = {} if self.answer_set is None else {"answer_set": asdict(self.answer_set)}
        asked = {"target": self.target, **triple, "text": self.text}
        return {**asked, "num_known": self.num_known, "known": known, "answers": answers, **more}


def _line(mark: str, answer: Answer) -> str:
    entity = answer.name if answer.name == answer.id else f"{answer.name} ({answer.id})"
    known = f"  known: {', '.join(answer.known)}" if answer.known else ""
    odds = "" if answer.probability is None else f"  {answer.probability:6.1%}"
    score = "" if answer.score is None else f"{answer.score:.4g}"
    return f"{mark:>4}  {score:>8}{odds}  {entity}{known}"

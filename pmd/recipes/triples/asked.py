"""Questions from the shell about two entities: which relations join them, and whether one does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pmd.use.explaining import Why
from pmd.use.judging import Relations, Verdict
from pmd.use.names import label

if TYPE_CHECKING:
    from pmd.use.answers import TrainedModel


def about_both_ends(
    model: TrainedModel, parts: Mapping[str, str | None], top_k: int, *, new: bool, why: bool, as_json: bool
) -> str:
    """The answer to a question with head and tail: a table, or a line of JSON."""
    ends = {"head": parts["head"], "tail": parts["tail"]}
    if parts["relation"]:
        verdict = model.classify(relation=parts["relation"], **ends)
        reasons = model.why(relation=parts["relation"], **ends) if why else None
        if as_json:
            return as_line(verdict.to_dict() | ({"why": reasons.to_dict()} if why else {}))
        return verdict_text(verdict) + f"\n{reasons}\n" * why
    relations = model.relations(top_k=top_k, new=new, **ends)
    reasons = [model.why_relation(relations, answer) for answer in relations] if why else []
    if as_json:
        return as_line(with_reasons(relations.to_dict(), "relations", reasons))
    return relations_table(relations) + reasons_text([answer.name for answer in relations], reasons)


def with_reasons(shown: dict[str, Any], key: str, reasons: Sequence[Why]) -> dict[str, Any]:
    """The JSON of answers, which are at a key, each with its reasons; as it is without any."""
    if reasons:
        shown[key] = [{**answer, "why": why.to_dict()} for answer, why in zip(shown[key], reasons)]
    return shown


def reasons_text(names: Sequence[str], reasons: Sequence[Why]) -> str:
    """The reasons for each of the answers with these names, below each other."""
    return "".join(f"\n{rank}. {name}\n{why}\n" for rank, (name, why) in enumerate(zip(names, reasons), 1))


def as_line(shown: Mapping[str, Any]) -> str:
    return json.dumps(shown, ensure_ascii=False)


def relations_table(relations: Relations) -> str:
    """The two entities on a line, and their relations, best first."""
    from pmd.evaluation.tables import markdown

    rows = []
    for answer in relations:
        head, tail = relations.ends(answer)
        known = ", ".join(answer.known)
        rows.append(
            (
                answer.rank,
                head[1],
                answer.name,
                tail[1],
                answer.id,
                f"{answer.value:.4f}",
                likely(answer.probability),
                known,
            )
        )
    columns = ("rank", "head", "relation", "tail", "id", "value", "probability", "known")
    body = markdown(columns, rows, ("right", *["left"] * 4, "right", "right", "left"))
    return f"({label(relations.head)}, ?, {label(relations.tail)})\n\n{body if rows else 'no relations'}\n"


def verdict_text(verdict: Verdict) -> str:
    """The triple on a line, the splits that have it, the model's verdict, and what that rests on."""
    lines = [f"({label(verdict.head)}, {label(verdict.relation)}, {label(verdict.tail)})", ""]
    lines += [f"known: {', '.join(verdict.known)}"] if verdict.known else []
    lines += ["by the model alone: " * bool(verdict.known) + says(verdict)]
    if verdict.probability is not None:
        lines += [f"probability {likely(verdict.probability)} as an answer among all entities, if one is missing"]
    if verdict.value is not None:
        lines += [f"value {verdict.value:.4f}, threshold {verdict.threshold:.4f}"]
    lines += [f"score {verdict.score:.4f}, rank {verdict.head_rank:g} among heads, {verdict.tail_rank:g} among tails"]
    return "\n".join(lines) + "\n"


def says(verdict: Verdict) -> str:
    """The verdict in words."""
    if verdict.holds is None:
        return "no verdict: the graph has no validation triples to choose a threshold by"
    words = "holds" if verdict.holds else "does not hold"
    sure = max(verdict.confidence, 1 - verdict.confidence)
    return f"{words}, {likely(sure)} sure: so often it is right where half of all triples are false ones that look like true ones"


def likely(probability: float | None) -> str:
    """A probability in percent; nothing for none."""
    return "" if probability is None else f"{probability:.1%}"

"""Questions from the shell about two entities: which relations join them, and whether one does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pmd.core.errors import PmdError
from pmd.use.judging import Relations, Verdict
from pmd.use.names import label

if TYPE_CHECKING:
    from pmd.use.answers import AnsweringModel


def about_both_ends(
    model: AnsweringModel, parts: Mapping[str, str | None], top_k: int, *, new: bool, as_json: bool
) -> str:
    """The answer to a question with head and tail: a table, or a line of JSON. PmdError for parts that do not go together."""
    for part in ("text", "target"):
        if parts[part]:
            raise PmdError(f"{part}: both ends are known, so leave it out, or leave out one of head and tail")
    ends = {"head": parts["head"], "tail": parts["tail"]}
    if parts["relation"]:
        result, shown = model.classify(relation=parts["relation"], **ends), verdict_text
    else:
        result, shown = model.relations(top_k=top_k, new=new, **ends), relations_table
    return json.dumps(result.to_dict(), ensure_ascii=False) if as_json else shown(result)


def relations_table(relations: Relations) -> str:
    """The two entities on a line, and their relations, best first."""
    from pmd.evaluation.tables import markdown

    rows = []
    for answer in relations:
        head, tail = relations.ends(answer)
        known = ", ".join(answer.known)
        rows.append((answer.rank, head[1], answer.name, tail[1], answer.id, f"{answer.value:.4f}", known))
    columns = ("rank", "head", "relation", "tail", "id", "value", "known")
    body = markdown(columns, rows, ("right", "left", "left", "left", "left", "right", "left"))
    return f"({label(relations.head)}, ?, {label(relations.tail)})\n\n{body if rows else 'no relations'}\n"


def verdict_text(verdict: Verdict) -> str:
    """The triple on a line, the verdict, and what it rests on."""
    lines = [f"({label(verdict.head)}, {label(verdict.relation)}, {label(verdict.tail)})", "", says(verdict)]
    lines += [f"known: {', '.join(verdict.known)}"] if verdict.known else []
    if verdict.value is not None:
        lines += [f"value {verdict.value:.4f}, threshold {verdict.threshold:.4f}"]
    lines += [f"score {verdict.score:.4f}, rank {verdict.head_rank:g} among heads, {verdict.tail_rank:g} among tails"]
    return "\n".join(lines) + "\n"


def says(verdict: Verdict) -> str:
    """The verdict in words."""
    if verdict.holds is None:
        return "no verdict: the graph has no validation triples to choose a threshold by"
    return "holds" if verdict.holds else "does not hold"

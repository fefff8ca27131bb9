"""Suggestions as text: a table, TSV, JSON lines or N-Triples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pmd.data.graphs.rdf.iris import base_line, is_iri, triple_line
from pmd.recipes.triples.asked import likely
from pmd.use.explaining import Why
from pmd.use.suggesting import Suggestion, Suggestions

FORMATS = ("table", "tsv", "jsonl", "nt")
SUFFIXES = {".tsv": "tsv", ".jsonl": "jsonl", ".json": "jsonl", ".nt": "nt", ".md": "table", ".txt": "table"}
COLUMNS = (
    "head",
    "relation",
    "tail",
    "probability",
    "as head",
    "as tail",
    "head name",
    "relation name",
    "tail name",
    "known",
)
"""Of TSV; with reasons, a column `why` more."""
BLANKS = str.maketrans("\t\r\n", "   ")
"""What would end a cell or a line of TSV; ids are otherwise as they are."""


@dataclass(frozen=True)
class Shown:
    """How suggestions are written; `base` is that of N-Triples."""

    format: str
    base: str

    def text(self, suggestions: Suggestions, reasons: Sequence[Why]) -> str:
        """The suggestions, each with its reasons where there are some."""
        return getattr(self, f"_{self.format}")(suggestions, reasons)

    def _table(self, suggestions: Suggestions, reasons: Sequence[Why]) -> str:
        from pmd.evaluation.tables import markdown

        if not suggestions:
            return "no suggestions\n"
        known = any(each.known for each in suggestions)
        rows = [
            (
                each.rank,
                likely(each.probability),
                *(pair[1] for pair in _parts(each)),
                likely(each.head_probability),
                likely(each.tail_probability),
                *[", ".join(each.known)] * known,
            )
            for each in suggestions
        ]
        columns = ("rank", "probability", "head", "relation", "tail", "as head", "as tail", *["known"] * known)
        sides = ("right", "right", "left", "left", "left", "right", "right", "left")
        text = markdown(columns, rows, sides[: len(columns)]) + "\n"
        for each, why in zip(suggestions, reasons):
            text += f"\n{each.rank}. {', '.join(pair[1] for pair in _parts(each))}\n{why}\n"
        return text

    def _tsv(self, suggestions: Suggestions, reasons: Sequence[Why]) -> str:
        lines = [[*COLUMNS, *["why"] * bool(reasons)]]
        for number, each in enumerate(suggestions):
            ids, names = zip(*_parts(each))
            numbers = (each.probability, each.head_probability, each.tail_probability)
            why = [" | ".join(str(reasons[number]).splitlines())] if reasons else []
            lines.append([*ids, *(f"{value:.4f}" for value in numbers), *names, ", ".join(each.known), *why])
        return "".join("\t".join(cell.translate(BLANKS) for cell in line) + "\n" for line in lines)

    def _jsonl(self, suggestions: Suggestions, reasons: Sequence[Why]) -> str:
        more = [{"why": why.to_dict()} for why in reasons] or [{}] * len(suggestions)
        return "".join(
            json.dumps(each.to_dict() | why, ensure_ascii=False) + "\n" for each, why in zip(suggestions, more)
        )

    def _nt(self, suggestions: Suggestions, reasons: Sequence[Why]) -> str:
        """With a comment before each triple: its probability, and its reasons."""
        keys = {pair[0] for each in suggestions for pair in _parts(each)}
        lines = [] if all(map(is_iri, keys)) else [base_line(self.base)]
        for number, each in enumerate(suggestions):
            remarks = [f"probability {each.probability:.4f}", *(str(reasons[number]).splitlines() if reasons else [])]
            lines += [f"# {' '.join(remark.split())}\n" for remark in remarks]
            lines.append(triple_line(*(pair[0] for pair in _parts(each)), self.base))
        return "".join(lines)


def _parts(suggestion: Suggestion) -> tuple[tuple[str, str], ...]:
    return suggestion.head, suggestion.relation, suggestion.tail

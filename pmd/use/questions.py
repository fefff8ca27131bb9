"""A file of questions: one a line, in either of two spellings.

    Austria<TAB>official language<TAB>?                              head, relation, tail; `?` is what is asked for
    {"head": "Austria", "relation": "official language"}             JSON; also "tail", "text", "target"

Every name is found before the first question is answered; errors name the line.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable

from pmd.core.errors import PmdError
from pmd.use.answers import Answering, Question

KEYS = ("head", "relation", "tail", "text", "target")


def read_questions(model: Answering, lines: Iterable[str], file: str) -> list[Question]:
    """The questions of lines; blank ones are skipped. PmdError with `file` and line for what cannot be asked."""
    questions = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            questions.append(model.question(**parts_of(line.rstrip("\r\n"))))
        except PmdError as error:
            raise PmdError(f"{file}, line {number}: {error}") from None
    if not questions:
        raise PmdError(f"{file}: no questions; a line is HEAD<tab>RELATION<tab>? or a JSON object")
    return questions


def parts_of(line: str) -> dict[str, str]:
    """The parts of one question by their names."""
    if line.lstrip().startswith("{"):
        return _parts_of_json(line)
    row = line.split("\t")
    if len(row) != 3:
        raise PmdError(
            f"{len(row)} column{'s' * (len(row) != 1)}, 3 are needed: head, relation, tail, by tabs, one of them ?"
        )
    if [row[0], row[2]].count("?") != 1:
        raise PmdError("one of head and tail must be ?, which is what is asked for")
    return {part: value for part, value in zip(("head", "relation", "tail"), row) if value != "?"}


def _parts_of_json(line: str) -> dict[str, str]:
    try:
        parts = json.loads(line)
    except ValueError as error:
        raise PmdError(f"no JSON object ({error}); write one a line") from None
    for key, value in parts.items():
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, 1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise PmdError(f"'{key}' is no part of a question, those are {', '.join(KEYS)}{hint}")
        if value is not None and not isinstance(value, str):
            raise PmdError(f"{key}: {value!r} is no text; write ids and names in quotes")
    return parts

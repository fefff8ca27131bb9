"""A file of questions, one a line, in either of two forms.

    Austria<TAB>official language<TAB>?                              head, relation, tail; ? is the missing end
    {"head": "Austria", "relation": "official language"}             JSON; also "tail", "text", "target"

All names are looked up before the first question is answered; an error names all lines that cannot be asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from pmd.core.errors import PmdError, nearest
from pmd.use.answers import AnsweringModel, Question

KEYS = ("head", "relation", "tail", "text", "target")


def read_questions(model: AnsweringModel, lines: Iterable[str], file: str) -> tuple[list[Question], str]:
    """The questions of lines, and what is wrong with the lines that are none, each with `file` and line. Empty lines are
    skipped. PmdError if there is nothing else."""
    questions, errors = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            questions.append(model.question(**parse_question(line.rstrip("\r\n"))))
        except PmdError as error:
            errors.append(f"line {number}: {error}")
    if not (questions or errors):
        raise PmdError(f"{file}: no questions; a line is HEAD<tab>RELATION<tab>? or a JSON object")
    return questions, f"{file}, {'; '.join(errors)}" if errors else ""


def parse_question(line: str) -> dict[str, str | None]:
    """The parts of a question by their keys."""
    if line.lstrip().startswith("{"):
        return _parse_json(line)
    columns = line.split("\t")
    if len(columns) != 3:
        raise PmdError(
            f"{len(columns)} column{'s' * (len(columns) != 1)} instead of 3; write head, relation and tail between tabs, "
            "one end as ?"
        )
    if [columns[0], columns[2]].count("?") != 1:
        raise PmdError("one of head and tail must be ?, the end that is asked for")
    return {part: value for part, value in zip(("head", "relation", "tail"), columns) if value != "?"}


def _parse_json(line: str) -> dict[str, str | None]:
    try:
        parts = json.loads(line)
    except ValueError as error:
        raise PmdError(f"not a JSON object ({error}); write one on each line") from None
    for key, value in parts.items():
        if key not in KEYS:
            raise PmdError(f"'{key}' is not a key of a question; the keys are {', '.join(KEYS)}{nearest(key, KEYS)}")
        if value is not None and not isinstance(value, str):
            raise PmdError(f"{key}: {value!r} is not a text; write ids and names in quotes")
    return parts

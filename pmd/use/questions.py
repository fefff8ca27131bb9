"""A file of questions, or of triples to judge, one a line, in either of two forms.

    Austria<TAB>official language<TAB>?                              head, relation, tail; ? is the missing end
    {"head": "Austria", "relation": "official language"}             JSON; also "tail", "text", "target"
    Austria<TAB>official language<TAB>German<TAB>1                   a triple, perhaps with a label: 1 or -1, 1 or 0, true or false
    {"head": "Austria", "relation": …, "tail": …, "label": true}     the same as JSON

All names are looked up before the first question is answered; an error names all lines that cannot be asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from pmd.core.errors import PmdError, nearest
from pmd.use.answer_records import Question
from pmd.use.answers import PARTS, TrainedModel

LABELS = {"1": True, "true": True, "-1": False, "0": False, "false": False}
"""What a label may be; WN11 and FB13 have 1 and -1."""
Asked = TypeVar("Asked")


class LabelledTriple(NamedTuple):
    """Positions of head, relation and tail, and whether the triple is true; None where that is not said."""

    triple: tuple[int, int, int]
    label: bool | None


def read_questions(model: TrainedModel, lines: Iterable[str], file: str) -> tuple[list[Question], str]:
    """The questions of lines, and what is wrong with the lines that are none (`read_lines`)."""
    empty = "no questions; a line is HEAD<tab>RELATION<tab>? or a JSON object"
    return read_lines(lines, file, empty, lambda line: model.question(**parse_question(line)))


def read_triples(model: TrainedModel, lines: Iterable[str], file: str) -> tuple[list[LabelledTriple], str]:
    """The triples of lines, and what is wrong with the lines that are none (`read_lines`)."""

    def read(line: str) -> LabelledTriple:
        parts = parse_triple(line)
        label = parts.pop("label", None)
        return LabelledTriple(model.triple(**parts), label)

    return read_lines(lines, file, "no triples; a line is HEAD<tab>RELATION<tab>TAIL or a JSON object", read)


def read_lines(lines: Iterable[str], file: str, empty: str, read: Callable[[str], Asked]) -> tuple[list[Asked], str]:
    """What `read` makes of the lines, and what is wrong with those that it refuses, each with `file` and line. Empty lines are
    skipped. PmdError if there is nothing else, saying what is `empty`."""
    good, errors = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            good.append(read(line.rstrip("\r\n")))
        except PmdError as error:
            errors.append(f"line {number}: {error}")
    if not (good or errors):
        raise PmdError(f"{file}: {empty}")
    return good, f"{file}, {'; '.join(errors)}" if errors else ""


def parse_triple(line: str) -> dict[str, Any]:
    """The parts of a triple by their keys; `label` is a bool."""
    if line.lstrip().startswith("{"):
        parts = _json_object(line, ("head", "relation", "tail", "label"))
    else:
        columns = line.split("\t")
        if len(columns) not in (3, 4):
            raise PmdError(
                f"{_count(columns)} instead of 3 or 4; write head, relation, tail and perhaps a label between tabs"
            )
        parts = dict(zip(("head", "relation", "tail", "label"), columns))
    label = parts.pop("label", None)
    _check_texts(parts)
    missing = [part for part in ("head", "relation", "tail") if not parts.get(part)]
    if missing:
        raise PmdError(f"{missing[0]}: none is given; name one by its id or name")
    if label is not None:
        key = str(label).strip().lower()
        if key not in LABELS:
            raise PmdError(f"label: {label!r} is none; write 1 or -1, 1 or 0, true or false")
        parts["label"] = LABELS[key]
    return parts


def parse_question(line: str) -> dict[str, str | None]:
    """The parts of a question by their keys."""
    if line.lstrip().startswith("{"):
        parts = _json_object(line, PARTS)
        _check_texts(parts)
        return parts
    columns = line.split("\t")
    if len(columns) != 3:
        raise PmdError(f"{_count(columns)} instead of 3; write head, relation and tail between tabs, one end as ?")
    if [columns[0], columns[2]].count("?") != 1:
        raise PmdError("one of head and tail must be ?, the end that is asked for")
    return {part: value for part, value in zip(("head", "relation", "tail"), columns) if value != "?"}


def _json_object(line: str, keys: Sequence[str]) -> dict[str, Any]:
    try:
        parts = json.loads(line)
    except ValueError as error:
        raise PmdError(f"not a JSON object ({error}); write one on each line") from None
    for key in parts:
        if key not in keys:
            raise PmdError(f"'{key}' is not a key of a question; the keys are {', '.join(keys)}{nearest(key, keys)}")
    return parts


def _check_texts(parts: dict[str, Any]) -> None:
    for key, value in parts.items():
        if value is not None and not isinstance(value, str):
            raise PmdError(f"{key}: {value!r} is not a text; write ids and names in quotes")


def _count(columns: Sequence[str]) -> str:
    return f"{len(columns)} column{'s' * (len(columns) != 1)}"

"""Questions to a trained model from the shell: one or a file of them, as a table or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pmd.core.errors import PmdError
from pmd.core.manifest import check_manifest
from pmd.models.families import ranking_family, stored_settings, warn_of_width
from pmd.recipes.triples.asked import about_both_ends, as_line, reasons_text, with_reasons
from pmd.settings.shared import DataConfig
from pmd.use.answers import Answers
from pmd.use.index import index_folder
from pmd.use.load import current_index, load
from pmd.use.locate import locate
from pmd.use.names import label
from pmd.use.questions import read_questions


@dataclass
class AnswerConfig:
    """Ask a trained text or embedding model for the missing end of a triple; with both ends for the relations that join them, or
    whether a whole triple holds.

    Args:
        model: a run folder, a stage's folder in one, or a Hub id.
        stage: stage of a run folder; by default the last finished one.
        revision: branch, tag or commit of a Hub id; by default main.
        head: the known entity of (head, relation, ?), by id or name.
        relation: by id or name.
        tail: the known entity of (?, relation, tail), by id or name.
        text: a description of a known entity that is not in the graph; for text models.
        target: with --text, the end that is asked for: tail (default) or head.
        top_k: number of answers.
        new: leave out triples that are already in the graph.
        coverage: instead of the best top_k, give the smallest set that holds the true answer of so many such questions: 0.9 for 90
            in 100; learned on validation.
        max_set: with --coverage, the largest set that is given; where more would be needed, none is sure.
        batch: a file of questions, one a line: HEAD<tab>RELATION<tab>? or ?<tab>RELATION<tab>TAIL, or a JSON object
            with relation and one of head, tail and text (with a text, perhaps target). `-` reads them from stdin.
        skip_bad: answer the good lines of such a file where others are none; the exit status is that of an error.
        why: say what speaks for each answer: training facts like it, short paths between both entities, and the parts of a
            fused model's score.
        json: print a JSON object for each question instead of a table.
        verify: compare the checksums of the model's and the index's files first.
        build: rebuild the index in the model's folder; without a question, do nothing else.
        width: number of leading dimensions to answer by; by default all.
        data: the graph, needed if the model's folder is not in a run and has no index.
    """

    model: str
    stage: str | None = None
    revision: str | None = None
    head: str = ""
    relation: str = ""
    tail: str = ""
    text: str = ""
    target: Literal["head", "tail"] | None = None
    top_k: int = 10
    new: bool = False
    coverage: float | None = None
    max_set: int = 100
    batch: str | None = None
    skip_bad: bool = False
    why: bool = False
    json: bool = False
    verify: bool = False
    build: bool = False
    width: int | None = None
    data: DataConfig | None = None


def answer(config: AnswerConfig) -> Iterator[str]:
    """A table, or a line of JSON, for each question.

    Raises:
        PmdError: for a model, names or questions that cannot be used.
    """
    parts = {part: getattr(config, part) or None for part in ("head", "relation", "tail", "text", "target")}
    given = [f"--{part}" for part, value in parts.items() if value]
    if config.batch is not None and given:
        raise PmdError(f"batch: the file's questions stand for themselves; leave out {given[0]}")
    folder = locate(config.model, config.stage, config.revision)
    if config.stage is None and (Path(config.model).expanduser() / "config.yaml").is_file():
        print(f"asking {folder.name}, the last stage that is finished", file=sys.stderr)
    if config.verify:
        for part in (folder, index_folder(folder)):
            check_manifest(part, checksums=True)
    if config.build:
        ranking_family(stored_settings(folder), folder)
        index = current_index(folder, config.data, rebuild=True)
        print(f"{index.folder}: {index.num_entities:,} entities", file=sys.stderr)
        if config.batch is None and not given:
            return
    model = load(folder, config.data)
    if config.width is not None:
        whole, model = model, model.crop(config.width)
        warn_of_width(config.width, whole.widths)
    if parts["head"] and parts["tail"]:
        yield about_both_ends(model, parts, config.top_k, new=config.new, why=config.why, as_json=config.json)
        return
    if config.batch is None:
        questions, bad = [model.question(**parts)], ""
    else:
        questions, bad = read_questions(model, *lines_of(config.batch))
    if bad and not config.skip_bad:
        raise PmdError(bad + f"; --skip-bad answers the other {len(questions)}" * bool(questions))
    options = {"top_k": config.top_k, "new": config.new, "coverage": config.coverage, "max_set": config.max_set}
    for answers in model.answer_all(questions, **options):
        reasons = model.why_answers(answers) if config.why else []
        if config.json:
            yield as_line(with_reasons(answers.to_dict(), "answers", reasons))
        else:
            yield table(answers) + reasons_text([answer.name for answer in answers], reasons)
    if bad:
        raise PmdError(f"not answered: {bad}")


def lines_of(file: str, option: str = "batch", holds: str = "questions") -> tuple[list[str], str]:
    """The lines of a file, or of stdin, both in UTF-8, and what to call it. PmdError if it cannot be read."""
    name = "stdin" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
        return content.decode("utf-8-sig").split("\n"), name
    except OSError as error:
        raise PmdError(f"{option}: cannot read '{file}' ({error.strerror}); give a file of {holds}") from None
    except UnicodeDecodeError as error:
        raise PmdError(f"{option}: '{name}' is not UTF-8 at byte {error.start}; convert it with iconv") from None


def table(answers: Answers) -> str:
    """The question on a line, and its answers, best first."""
    from pmd.evaluation.tables import markdown

    text = answers.text if answers.text is None else f"“{answers.text}”"
    ends = {part: "?" if part == answers.target else text or label(getattr(answers, part)) for part in ("head", "tail")}
    columns = {"rank": "right", "name": "left", "id": "left", "score": "right", "probability": "right", "known": "left"}
    rows = [
        (
            answer.rank,
            answer.name,
            answer.id,
            f"{answer.score:.4f}",
            percent(answer.probability),
            ", ".join(answer.known),
        )
        for answer in answers.answers
    ]
    if not any(row[4] for row in rows):  # nothing was learned
        del columns["probability"]
        rows = [row[:4] + row[5:] for row in rows]
    nothing = answers.answer_set.unsure if answers.answer_set else "no answers"
    body = markdown(tuple(columns), rows, tuple(columns.values())) if rows else nothing
    return f"({ends['head']}, {label(answers.relation)}, {ends['tail']})\n\n{body}\n"


def percent(probability: float | None) -> str:
    """A probability as a table shows it; nothing for None."""
    return "" if probability is None else f"{probability:.1%}"

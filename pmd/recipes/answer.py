"""Questions to a trained model from the shell: one or a file of them, as a table or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pmd.core.errors import PmdError, not_utf8
from pmd.core.manifest import check_manifest
from pmd.models.families import ranking_family, stored_settings, warn_of_width
from pmd.recipes.triples.asked import about_both_ends, as_line, reasons_text, with_reasons
from pmd.settings.shared import DataConfig, Search
from pmd.use.answer_records import Answer, Answers
from pmd.use.index import index_folder
from pmd.use.load import current_index, load
from pmd.use.locate import locate
from pmd.use.names import label
from pmd.use.questions import read_questions
from pmd.use.search import searching


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
        top_k: number of answers, and of known ones that are listed before them.
        new: leave out what is in the graph already.
        all: one list of known and new answers, best first.
        types: `soft` favours entities that fit the open end of the question, by their types and by what stands there in
            training, as far as that helped on validation; `strict` leaves out the others too; `off` takes the model's scores.
        candidates: a file of the only entities that may answer, by id or name, one a line; `-` reads them from stdin.
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
        search: for text models, how the best entities are found: `exact` compares all; `funnel` makes a short list by the leading
            numbers of a model with widths; `faiss` by an index that is built at the first question (an extra).
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
    all: bool = False
    types: Literal["off", "soft", "strict"] = "soft"
    candidates: str | None = None
    coverage: float | None = None
    max_set: int = 100
    batch: str | None = None
    skip_bad: bool = False
    why: bool = False
    json: bool = False
    verify: bool = False
    build: bool = False
    width: int | None = None
    search: Search = "exact"
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
    if config.batch is None and config.skip_bad:
        raise PmdError("skip_bad: skips lines of a file of questions; leave it out, or give one by --batch")
    if config.head and config.tail:
        check_both_ends(config)
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
    model = searching(model, config.search)
    if parts["head"] and parts["tail"]:
        yield about_both_ends(model, parts, config.top_k, new=config.new, why=config.why, as_json=config.json)
        return
    if config.batch is None:
        questions, bad = [model.question(**parts)], ""
    else:
        questions, bad = read_questions(model, *lines_of(config.batch))
    if bad and not config.skip_bad:
        raise PmdError(bad + f"; --skip-bad answers the other {len(questions)}" * bool(questions))
    for why in dict.fromkeys(filter(None, map(model.why_no_probabilities, questions))):
        print(f"no probabilities: {why}", file=sys.stderr)
    for answers in model.answer_all(questions, **listing_of(config)):
        reasons = model.why_answers(answers) if config.why else []
        if config.json:
            yield as_line(with_reasons(answers.to_dict(), "answers", reasons))
        else:
            yield table(answers) + reasons_text([answer.name for answer in answers], reasons)
    if bad:
        raise PmdError(f"not answered: {bad}")


def check_both_ends(config: AnswerConfig) -> None:
    """PmdError for an option that says which entities answer, where both ends are given; and, where the relation is given too, for one
    that says which relations do."""
    about_entities = ("text", "target", "all", "types", "candidates", "coverage", "max_set")
    for name in (*about_entities, *["top_k", "new"] * bool(config.relation)):
        if getattr(config, name) != getattr(AnswerConfig, name):
            reason = "no entity is asked for" if name in about_entities else "a whole triple is judged"
            raise PmdError(f"{name}: both ends are given, so {reason}; leave it out, or leave out one of head and tail")


def listing_of(config: AnswerConfig) -> dict[str, Any]:
    """Which answers are listed, as options of `answer_all`. PmdError if the file of candidates cannot be read."""
    names = ("top_k", "new", "all", "types", "coverage", "max_set")
    options = {name: getattr(config, name) for name in names}
    if config.candidates is not None:
        lines, _ = lines_of(config.candidates, "candidates", "entities")
        options["candidates"] = [line.strip() for line in lines if line.strip()]
    return options


def lines_of(file: str, option: str = "batch", holds: str = "questions") -> tuple[list[str], str]:
    """The lines of a file, or of stdin, both in UTF-8, and what to call it. PmdError if it cannot be read."""
    name = "stdin" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
        return content.decode("utf-8-sig").split("\n"), name
    except OSError as error:
        raise PmdError(f"{option}: cannot read '{file}' ({error.strerror}); give a file of {holds}") from None
    except UnicodeDecodeError as error:
        raise not_utf8(f"{option}: '{name}'", error) from None


def table(answers: Answers) -> str:
    """The question on a line, the answers that the graph has, and the model's, best first."""
    text = answers.text if answers.text is None else f"“{answers.text}”"
    ends = {part: "?" if part == answers.target else text or label(getattr(answers, part)) for part in ("head", "tail")}
    parts = [f"({ends['head']}, {label(answers.relation)}, {ends['tail']})"]
    if answers.known:
        more = answers.num_known - len(answers.known)
        parts += ["known:", _rows(answers.known, "rank of all"), *[f"and {more:,} more"] * bool(more), "new:"]
    nothing = answers.answer_set.unsure if answers.answer_set else "no answers"
    parts.append(_rows(answers.answers, "rank") if answers.answers else nothing)
    return "\n\n".join(parts) + "\n"


def _rows(answers: Sequence[Answer], rank: str) -> str:
    """Answers as a table, with the columns that any of them fills."""
    from pmd.evaluation.tables import markdown

    columns = {rank: "right", "name": "left", "id": "left", "score": "right", "probability": "right", "known": "left"}
    rows = [
        (
            answer.rank,
            answer.name,
            answer.id,
            "" if answer.score is None else f"{answer.score:.4f}",
            percent(answer.probability),
            ", ".join(answer.known),
        )
        for answer in answers
    ]
    filled = [column for column in range(len(columns)) if column < 4 or any(row[column] for row in rows)]
    titles = [[*columns.items()][column] for column in filled]
    cells = [[row[column] for column in filled] for row in rows]
    return markdown([title for title, _ in titles], cells, [side for _, side in titles])


def percent(probability: float | None) -> str:
    """A probability as a table shows it; nothing for None."""
    return "" if probability is None else f"{probability:.1%}"

"""`pmd classify`: a file of triples is judged, one verdict a line; where the file has labels, so are the verdicts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pmd.core.errors import PmdError
from pmd.core.printing import say
from pmd.models.families import warn_of_width
from pmd.recipes.answer import lines_of
from pmd.settings.shared import DataConfig
from pmd.use.judging import Verdict
from pmd.use.load import load
from pmd.use.locate import locate
from pmd.use.questions import LabelledTriple, read_triples

COLUMNS = (
    "head",
    "relation",
    "tail",
    "verdict",
    "confidence",
    "probability",
    "value",
    "score",
    "head rank",
    "tail rank",
    "known",
    "label",
)


@dataclass
class ClassifyConfig:
    """Judge triples: does each hold?

    Args:
        model: a run folder, a stage's folder in one, or a Hub id.
        file: triples, one a line: HEAD<tab>RELATION<tab>TAIL by ids or names, or a JSON object; a fourth column, or `label`, says
            whether the triple is true (1 or -1, 1 or 0, true or false), and then the verdicts are measured. `-` is stdin.
        stage: stage of a run folder; by default the last finished one.
        revision: branch, tag or commit of a Hub id; by default main.
        format: a table of names, `tsv` of ids with a header, or `json`, an object a line.
        skip_bad: judge the good lines where others are none; the exit status is that of an error.
        width: number of leading dimensions to judge by; by default all.
        data: the graph, needed if the model's folder is not in a run and has no index.
    """

    model: str
    file: str
    stage: str | None = None
    revision: str | None = None
    format: Literal["table", "tsv", "json"] = "table"
    skip_bad: bool = False
    width: int | None = None
    data: DataConfig | None = None


def classify(config: ClassifyConfig) -> Iterator[str]:
    """The verdicts, and how good they are where the file has labels; in a table the last, otherwise a line on stderr.

    Raises:
        PmdError: for a model, a file or names that cannot be used.
    """
    lines, name = lines_of(config.file, "file", "triples")
    model = load(locate(config.model, config.stage, config.revision), config.data)
    if config.width is not None:
        whole, model = model, model.crop(config.width)
        warn_of_width(config.width, whole.widths)
    labelled, bad = read_triples(model, lines, name)
    if bad and not config.skip_bad:
        raise PmdError(bad + f"; --skip-bad judges the other {len(labelled)}" * bool(labelled))
    verdicts = []
    for verdict, line in zip(model.classify_all([line.triple for line in labelled]), labelled):
        verdicts.append(verdict)
        if config.format == "json":
            yield json.dumps(verdict.to_dict() | {"label": line.label}, ensure_ascii=False)
        elif config.format == "tsv":
            yield from ["\t".join(COLUMNS)] * (len(verdicts) == 1)
            yield "\t".join(cells(verdict, line.label, names=False))
    if config.format == "table":
        from pmd.evaluation.tables import markdown

        rows = [cells(verdict, line.label, names=True) for verdict, line in zip(verdicts, labelled)]
        yield markdown(COLUMNS, rows, [*["left"] * 4, *["right"] * 6, "left", "left"]) + "\n"
    measured = metrics(verdicts, labelled)
    if measured:
        # Without triples of both kinds there is no area under the curve.
        text = ", ".join(f"{key} {value:.4f}" for key, value in measured.items() if _is_number(value))
        text += f" on {measured['true']:,} true and {measured['false']:,} false triples"
        yield from [text] if config.format == "table" else say(text) or []
    if bad:
        raise PmdError(f"not judged: {bad}")


def _is_number(value: float) -> bool:
    return isinstance(value, float) and not math.isnan(value)


def cells(verdict: Verdict, label: bool | None, *, names: bool) -> list[str]:
    """A row of `COLUMNS`, with names or with ids."""
    holds = {None: "", True: "holds", False: "does not"}[verdict.holds]
    value = "" if verdict.value is None else f"{verdict.value:.4f}"
    ends = [pair[1 if names else 0] for pair in (verdict.head, verdict.relation, verdict.tail)]
    ranks = [f"{rank:g}" for rank in (verdict.head_rank, verdict.tail_rank)]
    given = "" if label is None else str(label).lower()
    chance = "" if verdict.probability is None else f"{verdict.probability:.4f}"
    sure = "" if verdict.confidence is None else f"{verdict.confidence:.4f}"
    return [*ends, holds, sure, chance, value, f"{verdict.score:.4f}", *ranks, ", ".join(verdict.known), given]


def metrics(verdicts: Sequence[Verdict], labelled: Sequence[LabelledTriple]) -> dict[str, float]:
    """Accuracy, F1 and the area under the curve of the verdicts on triples with labels; nothing without labels or verdicts."""
    from pmd.evaluation.classification import classification_metrics

    pairs = [(verdict, line.label) for verdict, line in zip(verdicts, labelled) if line.label is not None]
    if not pairs or pairs[0][0].holds is None:
        return {}
    labels = np.array([label for _, label in pairs])
    margins = np.array([verdict.value - verdict.threshold for verdict, _ in pairs])
    return classification_metrics(labels, margins >= 0, margins)

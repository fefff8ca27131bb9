"""The tasks of GLUE (Wang et al., ICLR 2019): columns, labels, splits and metrics. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from pmd.settings.rows import lookup


@dataclass(frozen=True)
class GlueTask:
    """One task.

    Args:
        key: the configuration of the Hub data set `nyu-mll/glue`.
        title: as papers write it.
        columns: of the one or two texts.
        labels: names of the classes by label id; empty for a regression from 0 to 5.
        metrics: names as `evaluate` gives them; the score of the task is their mean.
        validation, test: names of the splits.
        files: names of the leaderboard's files, in the order of the splits.
        plain: the leaderboard wants the label ids, not their names.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    files: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)
    plain: bool = False

    @property
    def regression(self) -> bool:
        return not self.labels

    @property
    def num_labels(self) -> int:
        return len(self.labels) or 1


_PAIR = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")
_MNLI = ("entailment", "neutral", "contradiction")
_BOTH = ("accuracy", "f1")
_MATCHED = ("_matched", "_mismatched")

TASKS: dict[str, GlueTask] = {
    task.key: task
    for task in (
        GlueTask(
            "cola",
            "CoLA",
            ("sentence",),
            ("unacceptable", "acceptable"),
            ("CoLA.tsv",),
            ("matthews_correlation",),
            plain=True,
        ),
        GlueTask("sst2", "SST-2", ("sentence",), ("negative", "positive"), ("SST-2.tsv",), plain=True),
        GlueTask("mrpc", "MRPC", _PAIR, ("not_equivalent", "equivalent"), ("MRPC.tsv",), _BOTH, plain=True),
        GlueTask("stsb", "STS-B", _PAIR, (), ("STS-B.tsv",), ("pearson", "spearmanr"), plain=True),
        GlueTask(
            "qqp", "QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), ("QQP.tsv",), _BOTH, plain=True
        ),
        GlueTask(
            "mnli",
            "MNLI",
            ("premise", "hypothesis"),
            _MNLI,
            ("MNLI-m.tsv", "MNLI-mm.tsv"),
            validation=tuple(f"validation{part}" for part in _MATCHED),
            test=tuple(f"test{part}" for part in _MATCHED),
        ),
        GlueTask("qnli", "QNLI", ("question", "sentence"), _ENTAILMENT, ("QNLI.tsv",)),
        GlueTask("rte", "RTE", _PAIR, _ENTAILMENT, ("RTE.tsv",)),
        GlueTask("wnli", "WNLI", _PAIR, ("not_entailment", "entailment"), ("WNLI.tsv",), plain=True),
    )
}

AX = GlueTask("ax", "AX", ("premise", "hypothesis"), _MNLI, ("AX.tsv",), validation=())
"""The diagnostic set: no training, a test split alone, answered by a model of MNLI."""


def key_of(name: str) -> str:
    """A name as the Hub spells it: `SST-2` is `sst2`."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def task_of(name: str, place: str = "task") -> GlueTask:
    """A task by its name on the Hub or in papers, in any case of letters. PmdError, with the nearest, if there is none."""
    return lookup(TASKS, key_of(name), place)

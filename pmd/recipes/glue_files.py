"""Predictions as the GLUE leaderboard takes them: one TSV a task, with its file names and its names of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pmd.core.files import write_text
from pmd.data.glue import HIGHEST
from pmd.settings.tasks import GlueTask


def write_answers(file: Path, task: GlueTask, idx: np.ndarray, answers: np.ndarray) -> None:
    """A header, then `index<TAB>prediction` for each of n examples.

    Args:
        idx: (n,) of the examples.
        answers: (n,) label ids, or similarities, which are clipped to [0, 5].
    """
    if task.regression:
        shown = [f"{value:.3f}" for value in np.clip(answers, 0, HIGHEST)]
    elif task.plain:
        shown = answers.astype(str)
    else:
        shown = np.array(task.labels)[answers]
    lines = ["index\tprediction", *(f"{index}\t{answer}" for index, answer in zip(idx, shown))]
    write_text(file, "\n".join(lines) + "\n")

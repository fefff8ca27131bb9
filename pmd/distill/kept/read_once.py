"""What is read once for a whole stage, before its first step: by a teacher, and by a student's frozen layers."""

from __future__ import annotations

from pathlib import Path

from pmd.data.texts.batches import TripleCollator
from pmd.data.texts.graph_text import GraphText
from pmd.distill.kept.lower_states import keep_lower_states
from pmd.distill.kept.teacher_vectors import ask_once
from pmd.distill.text_supervised import Supervised

TEACHER_VECTORS, LOWER_STATES = "teacher.vectors", "lower.states"
"""Folders beside those of the stages' checkpoints, whose names have no dots."""


def read_once(
    objective: Supervised, collate: TripleCollator, teacher_text: GraphText, stage: str, folder: Path, *, asks: bool
) -> None:
    """Let batches have what a teacher and frozen layers make of their texts.

    Args:
        teacher_text: the graph's texts as the teacher reads them.
        stage: for the progress bars.
        folder: of the run's checkpoints, where it is kept.
        asks: whether the teacher is asked once.
    """
    student = objective.student
    if asks and objective.asks is not None:
        teacher, label = objective.teacher.model, f"{stage}: its teacher's vectors"
        place = folder / TEACHER_VECTORS
        collate.teacher_vectors = ask_once(teacher, teacher_text, collate, objective.asks, place, label=label)
    if student.frozen_layers and objective.takes_states:
        label = f"{stage}: its frozen layers"
        collate.lower_states = keep_lower_states(student, collate.text, collate, folder / LOWER_STATES, label=label)

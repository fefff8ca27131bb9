"""Settings of `pmd shrink`: the smallest model that keeps what is needed. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pmd.core.errors import PmdError
from pmd.settings.shared import DataConfig

Encoders = Literal["fp32", "fp16", "int8"]
Vectors = Literal["fp32", "fp16", "int8", "binary"]
KEEP = 0.97
"""The share of the teacher's MRR to keep where nothing else is asked for."""


@dataclass
class ShrinkConfig:
    """Find the smallest model of a run that keeps enough of its teacher, and write it; nothing is trained.

    Args:
        run: the run folder of text models, or of a fused one (`pmd fuse`), whose parts are looked at anew.
        out: the new folder, a run with one model.
        structure: an embedding model of the same graph, whose widths are looked at alone and fused with every text model: a run
            folder, or a stage's folder in one; by default the run's own, if it has one.
        structure_stage: stage of that run folder; by default its last finished one.
        keep: the share of the teacher's MRR on validation that the model must keep; without limits 0.97. Of those that keep it, the
            one of fewest megabytes is taken.
        max_mb: a limit on megabytes of weights and entity vectors; of the models within the limits, the best is taken.
        max_ms: the same on milliseconds for a question, with one thread of this machine.
        teacher: the stage that the others are compared with; by default the first of the run.
        stages: the stages to look at; by default all.
        widths: the widths of vectors to look at; by default those that each stage was trained at.
        encoders: precisions of the encoders' weights to look at.
        vectors: precisions of the entities' vectors to look at.
        max_triples: validation triples that are ranked, at most; 0 for all.
        questions: questions by which a model is timed.
        batch_size: triples that are ranked at a time.
        data: the graph; by default that of the run.
        threads: CPU threads for encoding; 0 for OMP_NUM_THREADS, or else for all free cores.
    """

    run: str
    out: str
    structure: str | None = None
    structure_stage: str | None = None
    keep: float | None = None
    max_mb: float | None = None
    max_ms: float | None = None
    teacher: str | None = None
    stages: list[str] | None = None
    widths: list[int] | None = None
    encoders: list[Encoders] = field(default_factory=lambda: ["fp32", "fp16", "int8"])
    vectors: list[Vectors] = field(default_factory=lambda: ["fp32", "fp16", "int8", "binary"])
    max_triples: int = 5000
    questions: int = 100
    batch_size: int = 256
    data: DataConfig | None = None
    threads: int = 0

    @property
    def share(self) -> float | None:
        """The share to keep; None where limits alone decide."""
        return KEEP if (self.keep, self.max_mb, self.max_ms) == (None, None, None) else self.keep


def check_shrink(config: ShrinkConfig) -> None:
    """PmdError, naming the option, for values that no model could satisfy."""
    if config.keep is not None and not config.keep > 0:
        raise PmdError(f"keep: {config.keep} is no share of the teacher's MRR; give one such as 0.97")
    if config.structure_stage is not None and config.structure is None:
        raise PmdError("structure_stage: there is no structure to have one; name the run of an embedding model there")
    for name in ("max_mb", "max_ms", "questions"):
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise PmdError(f"{name}: {value} is not above 0; give more")
    for name in ("encoders", "vectors"):
        if not getattr(config, name):
            raise PmdError(f"{name}: the list is empty; name a precision, such as int8")

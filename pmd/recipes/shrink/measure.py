"""The life of `pmd shrink`: every candidate is ranked on validation, one is taken, and that and the teacher see the test split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from pmd.core.errors import PmdError, nearest
from pmd.core.files import new_folder
from pmd.core.quiet import quiet
from pmd.core.run import Run
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.metrics import RankingMetrics
from pmd.models.families import family_of, stored_settings
from pmd.recipes.shrink.candidates import Candidate, Shrunk, chosen
from pmd.recipes.shrink.text import TextStage, milliseconds, ranked
from pmd.settings.shrink import Encoders, ShrinkConfig, Vectors, check_shrink
from pmd.settings.text import TrainConfig
from pmd.training.device import accelerator_for
from pmd.use.load import known_graph, loaded


def measure_and_write(config: ShrinkConfig, draw: Callable[[Shrunk, Path], None]) -> Shrunk:
    """Compare all candidates and write the best as a run; `draw` adds the table and the picture to its folder.

    Raises:
        PmdError: for a folder that is no run of text models, for stages or widths that it does not have, and if no candidate
            is within the limits.
    """
    from pmd.recipes.shrink.write import write

    quiet()
    check_shrink(config)
    run, out = text_run(config.run), new_folder(config.out)
    names = checked_stages(run, config.stages, "stages")
    teacher = checked_stages(run, [config.teacher] if config.teacher else None, "teacher")[0]
    accelerator = accelerator_for(TrainConfig(threads=config.threads))
    data = config.data or known_graph(run.folder / teacher)
    graph = loaded(data, None if config.data else run.folder / teacher)
    if not len(graph.valid):
        raise PmdError(
            f"graph '{graph.name}' has no validation triples to compare models by; split some off: pmd data split"
        )
    stages = {name: TextStage.load(run.folder / name, graph, data.cache) for name in dict.fromkeys([teacher, *names])}
    comparison = Comparison(config, graph, stages, teacher, names, accelerator.device)
    candidates = comparison.candidates()
    return write(comparison, run, out, candidates, chosen(candidates, config), draw)


def text_run(folder: str) -> Run:
    """The run of a folder. PmdError if it is none, or not of text models."""
    run = Run(Path(folder).expanduser())
    if not (run.folder / "config.yaml").is_file():
        raise PmdError(
            f"run: '{folder}' is not a run folder (it has no config.yaml); give one of text models (`pmd progressive`)"
        )
    if not run.loadable:
        raise PmdError(f"run: no stage of '{folder}' is finished yet; go on with --resume {folder}")
    for stage in run.loadable:
        family = family_of(stored_settings(run.folder / stage), run.folder / stage)
        if family.name != "text":
            raise PmdError(
                f"run: '{run.folder / stage}' is {family.title}; give a run of text models (`pmd progressive`)"
            )
    return run


def checked_stages(run: Run, asked: list[str] | None, option: str) -> list[str]:
    """The stages of a run that are asked for, by default all. PmdError for one that it does not have."""
    for name in asked or ():
        if name not in run.loadable:
            listed = ", ".join(run.loadable)
            raise PmdError(
                f"{option}: '{run.folder}' has no finished stage '{name}'; there are {listed}{nearest(name, run.loadable)}"
            )
    return asked or run.loadable


@dataclass(frozen=True, eq=False)
class Comparison:
    """The stages that are compared, and on what."""

    config: ShrinkConfig
    graph: KnowledgeGraph
    stages: dict[str, TextStage]
    teacher: str
    names: list[str]
    device: torch.device

    def candidates(self) -> list[Candidate]:
        """A row for each candidate: what it keeps on validation, and what it costs."""
        config = self.config
        widths = {name: self.stages[name].widths(config.widths) for name in self.names}
        if not any(widths.values()):
            widest = max(self.stages[name].whole.model.dim for name in self.names)
            raise PmdError(f"widths: no stage has vectors of {config.widths}; the widest have {widest}")
        times = milliseconds({name: (self.stages[name], widths[name]) for name in self.names}, config.questions)
        mrr, rows = self.teacher_mrr, []
        for name in self.names:
            stage = self.stages[name]
            for precision in config.encoders if widths[name] else ():
                weights, scorer = stage.weight_bytes(precision), stage.scorer(precision, self.device)
                for width, kind, ranking in ranked(scorer, self.graph, "valid", widths[name], config.vectors, config):
                    quality = ranking.metrics.mrr, ranking.metrics.mrr / mrr
                    costs = (weights + ranking.vector_bytes) / 1e6, times[name, width]
                    rows.append(
                        Candidate("text", name, stage.whole.model.depth, width, precision, kind, *quality, *costs)
                    )
        return rows

    @cached_property
    def teacher_mrr(self) -> float:
        """The teacher's MRR on validation."""
        return self.metrics_of(self.teacher, self.stages[self.teacher].whole.model.dim, "valid").mrr

    def metrics_of(
        self, name: str, width: int, split: str, encoders: Encoders = "fp32", vectors: Vectors = "fp32"
    ) -> RankingMetrics:
        """The metrics of one model on a split."""
        scorer = self.stages[name].scorer(encoders, self.device)
        (_, _, ranking), *_ = ranked(scorer, self.graph, split, [width], [vectors], self.config)
        return ranking.metrics

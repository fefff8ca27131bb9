"""The life of `pmd shrink`: every candidate is ranked on validation, one is taken, and that and the teacher see the test split."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from pmd.core.bars import Bar
from pmd.core.distributed import refuse_processes
from pmd.core.errors import PmdError, nearest, warn
from pmd.core.files import new_folder
from pmd.core.quiet import quiet
from pmd.core.run import Run
from pmd.core.types import TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.metrics import RankingMetrics
from pmd.evaluation.ranking import rank, subsample
from pmd.models.families import family_of, stored_settings
from pmd.models.text.scorer import TextScorer
from pmd.recipes.fuse import load_parts
from pmd.recipes.shrink.candidates import Candidate, Choice, Shrunk, chosen
from pmd.recipes.shrink.structure import StructurePart, fused_question, structure_question
from pmd.recipes.shrink.text import CodedText, TextStage, question
from pmd.recipes.shrink.timing import median_milliseconds
from pmd.settings.fuse import FuseConfig
from pmd.settings.shared import DataConfig
from pmd.settings.shrink import ShrinkConfig, check_shrink
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
    run, out = given_run(config.run), new_folder(config.out)
    folders = text_folders(run)
    names = checked_stages(run, folders, config.stages, "stages")
    if config.stages is None:
        tell_missing(run)
    teacher = checked_stages(run, folders, [config.teacher] if config.teacher else None, "teacher")[0]
    refuse_processes()
    accelerator = accelerator_for(TrainConfig(threads=config.threads))
    in_run = run.folder / run.loadable[0]
    data = config.data or known_graph(in_run)
    graph = loaded(data, None if config.data else in_run)
    if not len(graph.valid):
        raise PmdError(
            f"graph '{graph.name}' has no validation triples to compare models by; split some off: pmd data split"
        )
    stages = {name: TextStage.load(folders[name], graph, data.cache) for name in dict.fromkeys([teacher, *names])}
    structure = structure_of(config, run, folders[teacher], data)
    comparison = Comparison(config, graph, data, stages, teacher, names, accelerator.device, structure)
    candidates = comparison.candidates()
    return write(comparison, run, out, candidates, chosen(candidates, config), draw)


def structure_of(config: ShrinkConfig, run: Run, text: Path, data: DataConfig) -> StructurePart | None:
    """The embedding model that the settings name, or else that of the run, checked to be of the text's graph as `pmd fuse` does."""
    structure, stage = config.structure, config.structure_stage
    if structure is None:
        own = [run.folder / name for name in stages_of(run, "embedding")]
        own = own or [run.folder / name / "structure" for name in stages_of(run, "fused")]
        if not own:
            return None
        structure, stage = str(own[-1]), None
    fuse = FuseConfig(str(text), structure, config.out, structure_stage=stage, data=data)
    parts = load_parts(fuse, torch.device("cpu"))
    run = run if config.structure is None else Run(parts.folders["structure"].resolve().parent)
    if not (run.folder / "config.yaml").is_file():
        raise PmdError(f"structure: '{structure}' is in no run folder; give that of its run (`pmd train`)")
    return StructurePart(parts, run, config.max_triples)


def given_run(folder: str) -> Run:
    """The run of a folder. PmdError if it is none, or has no text model."""
    run = Run(Path(folder).expanduser())
    if not (run.folder / "config.yaml").is_file():
        raise PmdError(
            f"run: '{folder}' is not a run folder (it has no config.yaml); give one of text models (`pmd progressive`)"
        )
    if not run.loadable:
        raise PmdError(f"run: no stage of '{folder}' is finished yet; go on with --resume {folder}")
    if not text_folders(run):
        raise PmdError(f"run: '{folder}' has no text model; give a run of text models (`pmd progressive`)")
    return run


def tell_missing(run: Run) -> None:
    """Warn if there are stages that are not finished."""
    if not (run.folder / "table.md").is_file():
        there = ", ".join(run.loadable)
        warn(
            f"run: '{run.folder}' is not finished; of its stages only {there} can be chosen, until --resume {run.folder}"
        )


def text_folders(run: Run) -> dict[str, Path]:
    """The folders of the text models of a run, by name; of a run of a fused model alone, that of its text."""
    folders = {name: run.folder / name for name in stages_of(run, "text")}
    fused = stages_of(run, "fused")
    return {"text": run.folder / fused[-1] / "text"} if fused and not folders else folders


def stages_of(run: Run, family: str) -> list[str]:
    """The stages of a run whose models are there and of a family."""
    folders = {name: run.folder / name for name in run.loadable}
    return [name for name, folder in folders.items() if family_of(stored_settings(folder), folder).name == family]


def checked_stages(run: Run, there: dict[str, Path], asked: list[str] | None, option: str) -> list[str]:
    """The text models of a run that are asked for, by default all. PmdError for one that it does not have."""
    for name in asked or ():
        if name not in there:
            raise PmdError(
                f"{option}: '{run.folder}' has no text model '{name}'; there are {', '.join(there)}{nearest(name, there)}"
            )
    return asked or [*there]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The stages that are compared, and on what."""

    config: ShrinkConfig
    graph: KnowledgeGraph
    data: DataConfig
    stages: dict[str, TextStage]
    teacher: str
    names: list[str]
    device: torch.device
    structure: StructurePart | None = None
    last_encoded: dict[Any, TextScorer] = field(default_factory=dict)

    def candidates(self) -> list[Candidate]:
        """A row for each candidate: what it keeps on validation, and what it costs."""
        times = median_milliseconds(self.questions(), self.config.questions)
        choices, candidates = self.choices(), []
        bar = Bar(len(choices), 0, "measuring", shown=True, unit="candidates")
        with bar:
            for done, choice in enumerate(choices, start=1):
                candidates.append(self.candidate(choice, times[timed_as(choice)]))
                bar.count(done)
        return candidates

    def candidate(self, choice: Choice, milliseconds: float) -> Candidate:
        """The row of a choice."""
        mrr = self.metrics(choice, "valid").mrr - self.excess(choice)
        measures = {"mrr": mrr, "keeps": mrr / self.teacher_mrr, "megabytes": self.bytes(choice) / 1e6}
        return Candidate(**vars(choice), **measures, milliseconds=milliseconds)

    def choices(self) -> list[Choice]:
        """All that is compared; what shares encodings stands together."""
        config, structure, choices = self.config, self.structure, []
        for name in self.names:
            stage = self.stages[name]
            for kinds in itertools.product(
                stage.precisions(config.encoders), stage.widths(config.widths), config.vectors
            ):
                encoders, width, vectors = kinds
                text = Choice("text", name, stage.whole.model.depth, width, encoders, vectors)
                choices.append(text)
                fused = (
                    replace(text, part="fused", structure_width=w) for w in (structure.widths if structure else ())
                )
                choices += fused
        if not choices:
            widest = max(self.stages[name].whole.model.dim for name in self.names)
            raise PmdError(f"widths: no stage has vectors of {config.widths}; the widest have {widest}")
        kinds = dict.fromkeys("fp32" if vectors == "fp32" else "fp16" for vectors in config.vectors)
        for width, vectors in itertools.product(structure.widths if structure else (), kinds):
            choices.append(Choice("structure", structure.stage, None, width, "", vectors))
        return choices

    def questions(self) -> dict[Any, Callable[[], Any]]:
        """Calls that ask a question, for all that take another time."""
        triples, calls = subsample(self.graph.valid, self.config.questions, 0), {}
        for choice in self.choices():
            if timed_as(choice) in calls:
                continue
            if choice.part == "structure":
                calls[timed_as(choice)] = structure_question(self.scorer(choice), triples)
                continue
            ask = question(self.stages[choice.stage], choice.width, triples)
            calls[timed_as(choice)] = (
                ask if choice.part == "text" else fused_question(ask, self.scorer(choice), triples)
            )
        return calls

    def text(self, choice: Choice) -> CodedText | None:
        """The text part of a choice; what was encoded last is kept."""
        key = choice.stage, choice.encoders
        if choice.part == "structure":
            return None
        if key not in self.last_encoded:
            self.last_encoded.clear()
            self.last_encoded[key] = self.stages[choice.stage].scorer(choice.encoders, self.device)
        return CodedText(self.last_encoded[key], choice.width, choice.vectors)

    def scorer(self, choice: Choice) -> TripleScorer:
        """A choice as a scorer."""
        if choice.part == "structure":
            return self.structure.model(choice.width, choice.vectors)
        text = self.text(choice)
        return text.scorer if choice.part == "text" else self.structure.fused(choice, text)

    def metrics(self, choice: Choice, split: str) -> RankingMetrics:
        """The metrics of a choice on a split."""
        limit = (self.config.max_triples or None) if split == "valid" else None
        if choice.part != "structure":
            self.text(choice).prepare(subsample(self.graph.split(split), limit, 0))
        return rank(self.scorer(choice), self.graph, split, max_triples=limit, batch_size=self.config.batch_size)

    def can_rank(self, choice: Choice, split: str) -> bool:
        """Whether a split has triples, and none of entities that a structure alone has not seen."""
        triples, seen = self.graph.split(split), self.graph.candidates("train")
        alone = choice.part == "structure" and seen is not None
        return len(triples) > 0 and not (alone and not torch.isin(triples[:, [0, 2]], seen).all())

    def excess(self, choice: Choice) -> float:
        """How much too high the validation MRR of a fused model is, whose weights these queries chose."""
        if choice.part != "fused":
            return 0.0
        weighing = self.structure.weighing(choice, self.text(choice))
        return weighing.excess * len(weighing.validated.questions) / self.valid_queries

    def bytes(self, choice: Choice) -> int:
        """The bytes of weights and entity vectors."""
        text, total = self.text(choice), 0
        if text is not None:
            total = self.stages[choice.stage].weight_bytes(choice.encoders) + text.vectors.nbytes
        return total if choice.part == "text" else total + self.structure.bytes(choice, text)

    @property
    def valid_queries(self) -> int:
        """How many queries of validation are ranked."""
        return 2 * min(len(self.graph.valid), self.config.max_triples or len(self.graph.valid))

    @property
    def whole_teacher(self) -> Choice:
        """The teacher as it is."""
        model = self.stages[self.teacher].whole.model
        return Choice("text", self.teacher, model.depth, model.dim, "fp32", "fp32")

    @cached_property
    def teacher_mrr(self) -> float:
        """The teacher's MRR on validation."""
        return self.metrics(self.whole_teacher, "valid").mrr


def timed_as(choice: Choice) -> Choice:
    """The choice whose time a choice shares: precisions do not change it."""
    return replace(choice, encoders="fp32" if choice.encoders else "", vectors="fp32")

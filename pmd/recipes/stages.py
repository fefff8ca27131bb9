"""The one life of a run of stages: check, data, run folder, banner, stages, tables.

What is finished is never done again, so the same run folder can be continued until its table is complete. What differs
between text models, embedding models and BERTs is in a subclass of `FamilyRun`.
"""

from __future__ import annotations

import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from tqdm import tqdm

from pmd.core.cores import Watch, cores_at_start
from pmd.core.devices import device_name
from pmd.core.distributed import together
from pmd.core.errors import PmdError
from pmd.core.files import folder_name, write_json, write_text
from pmd.core.launch import launch
from pmd.core.quiet import quiet
from pmd.core.results import StageResult
from pmd.core.run import Run, environment
from pmd.core.types import Objective
from pmd.data.graphs.sources import registered_names
from pmd.evaluation.tables import ranking_tables
from pmd.models.families import training_of
from pmd.recipes.banner import Banner, say
from pmd.recipes.resuming import ready_to_resume, stages_as_begun, tidy_run
from pmd.settings.shared import OWN
from pmd.training.batching import Order
from pmd.training.device import accelerator_for, precision_of, watch_for
from pmd.training.loop import Progress, fit
from pmd.training.stopping import resumable
from pmd.training.trackers import Trackers


class FamilyRun(ABC):
    """What a family of models supplies to `run_stages`.

    `stages` holds the run's stages by name, every setting filled in. `accelerator` is set before the data are loaded, `data`
    (a graph, or a task's texts: it has a name and a checksum), `run` and `trackers` after that.
    """

    smallest_batch = 2
    """The fewest examples of a batch that each process needs."""

    accelerator: Accelerator
    watch: Watch
    data: Any
    run: Run
    trackers: Trackers
    callback: Callable[[dict[str, Any]], None] | None = None
    own_teacher: Any = None

    def __init__(self, config: Any):
        self.config = config
        self.stages = {stage.name: stage for stage in self.resolve(config)}

    @staticmethod
    @abstractmethod
    def resolve(config: Any) -> Sequence[Any]:
        """The stages with every setting filled in. PmdError for settings that cannot work."""

    @abstractmethod
    def load_data(self, pending: Sequence[Any]) -> Any:
        """Load and return the data, and load what the pending stages begin with. PmdError for what does not fit."""

    @property
    def older_checksum(self) -> str | None:
        """The checksum that older versions noted of the same data, where it is another one."""
        return None

    @property
    @abstractmethod
    def run_name(self) -> str:
        """The run's name if the settings give none."""

    @abstractmethod
    def banner(self) -> Banner:
        """What the run prints before it begins."""

    @abstractmethod
    def make(self, stage: Any, seed: int) -> tuple[Any, dict[str, Any]]:
        """The model of a stage, trained or loaded, and how its training went."""

    @abstractmethod
    def save(self, folder: Path, model: Any, training: Mapping[str, Any]) -> None:
        """Write the model's folder."""

    @abstractmethod
    def read(self, folder: Path) -> Any:
        """The model of a folder that `save` wrote."""

    @abstractmethod
    def measure(self, stage: Any, model: Any, training: Mapping[str, Any]) -> StageResult:
        """Measure a stage's model. All processes call it; the result of the main one counts."""

    @abstractmethod
    def summary(self, result: StageResult) -> str:
        """The scores of a stage in a few words."""

    def tables(self, results: Mapping[str, StageResult]) -> dict[str, str]:
        """The tables of all stages in Markdown, by split."""
        return ranking_tables(results, self.config.evaluation.splits)

    def fit(
        self,
        objective: Objective,
        num_examples: int,
        collate: Callable[[list[int]], Any],
        stage: Any,
        seed: int,
        validate: Callable[[], dict[str, float]],
        monitor: Callable[[], dict[str, float]] = dict,
        order: Order | None = None,
        prepare: Callable[[Path], None] = lambda folder: None,
    ) -> Progress:
        """Train the objective of a stage, whose own settings override those of the run. `prepare` is called before the first
        step, with the folder of the checkpoints; its seconds are counted."""
        began = time.perf_counter()
        with self.accelerator.autocast():
            prepare(self.run.folder / "checkpoint")
        prepared = time.perf_counter() - began
        stage_settings = {key: getattr(stage, key) for key in ("epochs", "batch_size", "lr") if hasattr(stage, key)}
        settings = replace(self.config.train, **stage_settings)
        if num_examples <= settings.batch_size:
            examples = f"{num_examples:,} examples in batches of {settings.batch_size:,}"
            say(
                self.accelerator,
                f"{stage.name}: an epoch is a single step ({examples}); smaller batches make more of them",
            )
        progress = fit(
            objective.to(self.accelerator.device),
            num_examples,
            collate,
            settings,
            self.accelerator,
            self.run.folder / "checkpoint" / stage.name,
            seed=seed,
            label=stage.name,
            log=self.log,
            rewind=lambda lines: self.rewind(stage.name, lines),
            monitor=monitor,
            validate=validate,
            order=order,
            describe=lambda positions: self.described(collate, positions),
        )
        return replace(progress, seconds=progress.seconds + prepared)

    def described(self, examples: Any, positions: Sequence[int]) -> list[str]:
        """Training examples at positions in words; `examples` turns them into batches."""
        return [f"example {position}" for position in positions]

    def rewind(self, stage: str, lines: int) -> None:
        """Remove the lines that a killed process logged after its last save, and tell the user of one that saved nothing."""
        if self.run.rewind_log(stage, lines) and not lines:
            say(
                self.accelerator, f"{stage} was begun, but no state of it is in '{self.run.folder}': it is trained anew"
            )

    def log(self, **values: Any) -> None:
        """Log a line of values, and tell the user if the machine's load has changed."""
        self.run.log(**values)
        self.trackers.line(**values)
        if self.callback is not None and self.run.main:
            self.callback(values)
        if self.run.main and (remark := self.watch.remark()):
            tqdm.write(remark, file=sys.stderr)


def run_stages(
    family: type[FamilyRun],
    config: Any,
    run: Run | None = None,
    *,
    callback: Callable[[dict[str, Any]], None] | None = None,
    teacher: Any = None,
    banner: bool = True,
) -> Run:
    """Run all stages that are not finished yet, and write the tables.

    Args:
        family: what the family of the models supplies.
        config: the settings; of a run that is resumed, those in its folder.
        run: the run folder to resume; by default a new one is made.
        callback: called with the values of every line of metrics.jsonl, in the main process.
        teacher: what scores triples (`score_all`), for the stages whose teacher is `own`.
        banner: say first what is run.

    Raises:
        PmdError: for settings, models or data that cannot be used.
        Interrupted: on Ctrl-C; the run can be resumed from its folder.
    """
    quiet()
    family_run = family(config)
    if run:
        family_run.stages = stages_as_begun(family_run.stages, run)
    family_run.callback, family_run.own_teacher = callback, teacher
    family_run.accelerator = accelerator_for(config.train, run)
    refuse_small_batches(family_run)
    family_run.watch = watch_for(family_run.accelerator)
    finished = ready_to_resume(family_run, run) if run else []
    pending = [stage for name, stage in family_run.stages.items() if name not in finished]
    if teacher is None and any(getattr(stage, "teacher", None) == OWN for stage in pending):
        raise PmdError("teacher: own is what a program gives: pmd.train(graph, teacher=…); name an earlier stage")
    family_run.data = family_run.load_data(pending)
    family_run.run = open_run(family_run, run)
    with (
        family_run.run.held() if family_run.run.main else nullcontext(),
        resumable(family_run.run.folder),
        trackers_of(family_run) as family_run.trackers,
    ):
        if run:
            tidy_run(family_run)
        if pending:
            note_environment(family_run)
        if banner:
            say(family_run.accelerator, family_run.banner().text(family_run.run.folder, family_run.accelerator))
        for position, (name, stage) in enumerate(family_run.stages.items()):
            if name not in finished:
                run_stage(family_run, stage, config.seed * 1000 + position)
        close_run(family_run)
    return family_run.run


def run_stage(family_run: FamilyRun, stage: Any, seed: int) -> None:
    """Train one model, save it, measure it, and note the result."""
    run, folder = family_run.run, family_run.run.folder / stage.name
    if (folder / "config.json").is_file():  # the run was stopped while the model was measured
        model, training = family_run.read(folder), training_of(folder)
    else:
        model, training = family_run.make(stage, seed)
        with together():
            if run.main:
                family_run.save(folder, model, training)
                shutil.rmtree(run.folder / "checkpoint" / stage.name, ignore_errors=True)
    result = family_run.measure(stage, model, training)
    run.add_result(stage.name, result)
    family_run.trackers.result(stage.name, result)
    best = f" (best epoch {result.best_epoch})" if result.best_epoch is not None else ""
    say(family_run.accelerator, f"{stage.name}: {family_run.summary(result)}{best} -> {folder}\n")
    family_run.accelerator.wait_for_everyone()


def refuse_small_batches(family_run: FamilyRun) -> None:
    """Refuse batches too small to be shared among the processes."""
    least = family_run.smallest_batch * family_run.accelerator.num_processes
    for name, stage in family_run.stages.items():
        key, size = "train.batch_size", family_run.config.train.batch_size
        if hasattr(stage, "batch_size"):
            key, size = f"stages ({name}).batch_size", stage.batch_size
        if size < least:
            raise PmdError(f"{key}: {size} leaves a process without a batch; use {least} or more")


def place_of(path: str) -> str | None:
    """The absolute path of data; None for a registered graph, and for data on the Hub."""
    place = Path(path).expanduser()
    return str(place.resolve()) if place.exists() and path not in registered_names() else None


def open_run(family_run: FamilyRun, run: Run | None) -> Run:
    """The run folder to resume, or a new one."""
    config, accelerator = family_run.config, family_run.accelerator
    if run is None:  # the main process makes it, for all
        name = config.name or folder_name(family_run.run_name)
        folder = Run.create(config.runs, name, config).folder if accelerator.is_main_process else None
        run = Run(broadcast_object_list([folder])[0])
    run.main = accelerator.is_main_process
    run.refuse_other_data(family_run.data.checksum(), family_run.older_checksum)
    return run


def trackers_of(family_run: FamilyRun) -> Trackers:
    """What the settings say that the run reports to; nothing where all is finished, and in all processes but the main one."""
    config, run = family_run.config, family_run.run
    silent = not run.main or len(run.loadable) >= len(family_run.stages)
    names = [] if silent else config.train.trackers
    return Trackers(names, folder_name(config.name or family_run.run_name), run.folder, asdict(config))


def note_environment(family_run: FamilyRun) -> None:
    """Write env.json, which describes the start that trained last."""
    accelerator = family_run.accelerator
    if accelerator.is_main_process:
        device = {"device": str(accelerator.device), "device_name": device_name(accelerator.device)}
        device |= {"precision": precision_of(accelerator)}
        threads = {"threads": torch.get_num_threads(), "free_cores": cores_at_start().free}
        config, processes = family_run.config, accelerator.num_processes
        data = {"data": place_of(config.data.path)}
        if started := launch():
            data |= {"launch": started}
        noted = environment(**device, processes=processes, **threads, seed=config.seed, **data)
        write_json(family_run.run.folder / "env.json", noted)


def close_run(family_run: FamilyRun) -> None:
    """Write the tables, and remove what a finished run does not need."""
    run = family_run.run
    if run.main:
        results = run.results
        tables = family_run.tables(results)
        parts = [f"{family_run.data.name}, {split} split\n\n{table}\n" for split, table in tables.items()]
        write_text(run.folder / "table.md", "\n".join(parts))
        family_run.trackers.tables(tables, results)
        shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)
    family_run.accelerator.wait_for_everyone()

"""The one life of a run of stages: check, data, run folder, banner, stages, tables.

What is finished is never done again, so the same run folder can be continued until its table is complete. What differs
between text models, embedding models and BERTs is a subclass of `Recipe`.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from tqdm import tqdm

from pmd.core.cores import Watch, cores_at_start, described
from pmd.core.errors import PmdError
from pmd.core.files import write_json, write_text
from pmd.core.quiet import quiet
from pmd.core.results import StageResult
from pmd.core.run import Run, environment
from pmd.core.types import Objective
from pmd.models.families import training_of
from pmd.recipes.tables import markdown, ranking_tables
from pmd.train.device import accelerator_for, watch_for
from pmd.train.loop import Interrupted, Progress, fit


@dataclass(frozen=True)
class Banner:
    """What a run prints first: lines by their headings, and a table of the stages."""

    lines: Mapping[str, str]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    align: Sequence[str] | None = None


class Recipe(ABC):
    """What a family of models supplies to `run_stages`.

    `stages` are the run's by name, every setting filled in. `accelerator` is there before the data are loaded, `run` and
    `data` (a graph, or a task's texts: with a name and a checksum) after that.
    """

    smallest_batch = 2
    """The fewest examples of a batch that a process can do with."""

    accelerator: Accelerator
    watch: Watch
    data: Any
    run: Run

    def __init__(self, config: Any):
        self.config = config
        self.stages = {stage.name: stage for stage in self.resolve(config)}

    @staticmethod
    @abstractmethod
    def resolve(config: Any) -> Sequence[Any]:
        """The stages with every setting filled in. PmdError for settings that cannot work."""

    @abstractmethod
    def load_data(self, pending: Sequence[Any]) -> Any:
        """Load the data, which it returns, and what the pending stages begin with. PmdError for what does not fit."""

    @property
    @abstractmethod
    def run_name(self) -> str:
        """The name of the run where the settings give it none."""

    @abstractmethod
    def banner(self) -> Banner:
        """What is about to happen."""

    @abstractmethod
    def make(self, stage: Any, seed: int) -> tuple[Any, dict[str, Any]]:
        """The model of a stage, trained or taken from elsewhere, and how its training went."""

    @abstractmethod
    def save(self, folder: Path, model: Any, trained: Mapping[str, Any]) -> None:
        """Write the model's folder."""

    @abstractmethod
    def read(self, folder: Path) -> Any:
        """The model of a folder that `save` wrote."""

    @abstractmethod
    def measure(self, stage: Any, model: Any, trained: Mapping[str, Any]) -> StageResult:
        """How good a stage's model is. All processes call it; the result of the main one counts."""

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
    ) -> Progress:
        """Train the objective of a stage, whose settings come before those of the run."""
        own = {name: getattr(stage, name) for name in ("epochs", "batch_size", "lr") if hasattr(stage, name)}
        return fit(
            objective.to(self.accelerator.device),
            num_examples,
            collate,
            replace(self.config.train, **own),
            self.accelerator,
            self.run.folder / "checkpoint" / stage.name,
            seed=seed,
            label=stage.name,
            log=self.log,
            monitor=monitor,
            validate=validate,
        )

    def log(self, **values: Any) -> None:
        """Log a line of values, and say if the load of the machine has changed."""
        self.run.log(**values)
        if self.run.main and (remark := self.watch.remark()):
            tqdm.write(remark, file=sys.stderr)


def run_stages(kind: type[Recipe], config: Any, run: Run | None = None) -> Run:
    """Run all stages that are not finished yet, and write the tables.

    Args:
        kind: what to run: the recipe of a family of models.
        config: its settings; for a run that goes on, those of its folder.
        run: the run folder to go on with; a new one is made otherwise.

    Raises:
        PmdError: for settings, models or data that cannot be used.
        Interrupted: on Ctrl-C; the run's folder goes on.
    """
    quiet()
    recipe = kind(config)
    recipe.accelerator = accelerator_for(config.train, run)
    refuse_small_batches(recipe)
    recipe.watch = watch_for(recipe.accelerator)
    finished = run.finished if run else []
    recipe.data = recipe.load_data([stage for name, stage in recipe.stages.items() if name not in finished])
    recipe.run = open_run(recipe, run)
    say(recipe, banner_text(recipe))
    with resumable():
        for position, (name, stage) in enumerate(recipe.stages.items()):
            if name not in recipe.run.finished:
                run_stage(recipe, stage, config.seed * 1000 + position)
    close_run(recipe)
    return recipe.run


def run_stage(recipe: Recipe, stage: Any, seed: int) -> None:
    """Train one model, save it, measure it, and note the result."""
    run, folder = recipe.run, recipe.run.folder / stage.name
    if (folder / "config.json").is_file():  # the run was stopped while the model was measured
        model, trained = recipe.read(folder), training_of(folder)
    else:
        model, trained = recipe.make(stage, seed)
        if run.main:
            recipe.save(folder, model, trained)
            shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)
        recipe.accelerator.wait_for_everyone()
    result = recipe.measure(stage, model, trained)
    run.add_result(stage.name, result)
    best = f" (best epoch {result.best_epoch})" if result.best_epoch is not None else ""
    say(recipe, f"{stage.name}: {recipe.summary(result)}{best} -> {folder}\n")
    recipe.accelerator.wait_for_everyone()


def refuse_small_batches(recipe: Recipe) -> None:
    """Refuse batches that leave a process without its share."""
    least = recipe.smallest_batch * recipe.accelerator.num_processes
    for name, stage in recipe.stages.items():
        place, size = "train.batch_size", recipe.config.train.batch_size
        if hasattr(stage, "batch_size"):
            place, size = f"stages ({name}).batch_size", stage.batch_size
        if size < least:
            raise PmdError(f"{place}: {size} leaves a process without a batch; use {least} or more")


def open_run(recipe: Recipe, run: Run | None) -> Run:
    """The run folder to go on with, or a new one; env.json is of this start."""
    config, accelerator = recipe.config, recipe.accelerator
    # One folder for all processes, since processes may read the clock in different seconds.
    stamp = broadcast_object_list([time.strftime("%Y%m%d-%H%M%S")])[0]
    name = config.name or folder_name(recipe.run_name)
    run = run or Run.create(config.runs, name, config, stamp, main=accelerator.is_main_process)
    run.main = accelerator.is_main_process
    run.refuse_other_data(recipe.data.checksum())
    if run.main:
        device = {"device": str(accelerator.device), "processes": accelerator.num_processes}
        threads = {"threads": torch.get_num_threads(), "free_cores": cores_at_start().free}
        write_json(run.folder / "env.json", environment(**device, **threads, seed=config.seed))
    return run


def folder_name(name: str) -> str:
    """The name of a graph as a folder's: a Hub data set has a slash in its."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


def banner_text(recipe: Recipe) -> str:
    """The first lines that a run prints, and the table of its stages."""
    banner, accelerator = recipe.banner(), recipe.accelerator
    threads = described(torch.get_num_threads(), cores_at_start())
    machine = f"{accelerator.device}, {accelerator.num_processes} process(es), {threads}"
    lines = {"run": str(recipe.run.folder), **banner.lines, "device": machine}
    text = "\n".join(f"{heading:<11}{line}" for heading, line in lines.items())
    return f"{text}\n\n{markdown(banner.columns, banner.rows, banner.align)}\n"


def say(recipe: Recipe, text: str) -> None:
    """Print a remark, once for all processes."""
    if recipe.accelerator.is_main_process:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C in here is `Interrupted`, between trainings too: the run goes on from what its folder has.

    That is the step at which it was asked to stop or, after a second Ctrl-C, which does not wait, what was saved last.
    """
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted from None


def close_run(recipe: Recipe) -> None:
    """Write the tables, and remove what a finished run does not need."""
    run = recipe.run
    if run.main:
        tables = recipe.tables(run.results).items()
        parts = [f"{recipe.data.name}, {split} split\n\n{table}\n" for split, table in tables]
        write_text(run.folder / "table.md", "\n".join(parts))
        shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)
    recipe.accelerator.wait_for_everyone()

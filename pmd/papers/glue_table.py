"""Table 6 of MED (Zhu et al., ACL 2025): GLUE tasks by methods and sizes over several seeds, beside the published rows.

Every task and seed is a run of `pmd glue` in a folder of its own. Finished ones are never repeated: the same
command continues a stopped table, and one with further tasks or seeds trains only those.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pmd.core.distributed import refuse_processes
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.evaluation.tables import write_tables
from pmd.papers.glue_layout import layout_table
from pmd.papers.seeds import announce, check_rows, check_seeds, finished_run
from pmd.recipes.glue import read_inputs, train_glue
from pmd.settings.catalogue import TASKS, task_of
from pmd.settings.glue import GlueConfig, GlueStageConfig
from pmd.settings.med import RECIPES
from pmd.settings.stages.glue import check_glue, resolve_glue_stages


@dataclass
class TunedTaskConfig:
    """Training settings of one task; null is that of the run. Stages that set their own keep them.

    Args:
        task: the task's name.
        epochs: passes over the training examples, as in `base.train`.
        batch_size: examples in a batch, as in `base.train`.
        lr: peak learning rate, as in `base.train`.
    """

    task: str
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None


@dataclass
class GlueTableConfig:
    """Tasks across, methods and sizes down, over several seeds.

    Args:
        base: what all runs share, as for `pmd glue`; its `methods` or `stages` and widths are the rows, those of MED's
            method called after their recipe. Its task, seed, name and runs are those of the table.
        tasks: the columns.
        tuned: settings of single tasks; those of tasks that the table leaves out are not used.
        seeds: of the runs.
        out: folder of the runs and the table; the same command, or one with more tasks or seeds, continues it.
        published: whether the rows of the paper are added, marked as such.
    """

    base: GlueConfig = field(default_factory=GlueConfig)
    tasks: list[str] = field(default_factory=lambda: ["rte", "mrpc", "cola", "stsb"])
    tuned: list[TunedTaskConfig] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    out: str = "runs/glue"
    published: bool = True


def glue_table(config: GlueTableConfig) -> str:
    """Train everything that is not there yet; the table in Markdown, also in `OUT/table.md`. PmdError for settings that
    cannot work, before anything starts.

    `OUT/predictions/SPLIT/STAGE-WIDTH` collects the leaderboard files of all tasks, of the first seed.
    """
    tasks = [task_of(name, "tasks").key for name in config.tasks]
    tuned = {task_of(entry.task, "tuned").key: entry for entry in config.tuned}
    refuse_processes()
    check_table(config, tasks, tuned)
    planned = [
        (seed, task, settings_of(config, task, tuned.get(task), seed)) for seed in config.seeds for task in tasks
    ]
    for _, _, settings in planned:
        check_glue(settings)
    out = Path(config.out)
    check_out(out, tasks, config.seeds)
    resolved = {task: resolve_glue_stages(settings) for _, task, settings in planned}
    stages = {task: [stage.name for stage in of_task] for task, of_task in resolved.items()}
    titles = recipe_titles(resolved[tasks[0]])
    missing = {
        task: settings
        for seed, task, settings in planned
        if not {*stages[task]} <= {*Run(out / f"seed{seed}" / task).finished}
    }
    for settings in missing.values():  # what the last task lacks is said before the first is trained
        read_inputs(settings, resolve_glue_stages(settings))
    results: dict[str, list[dict[str, StageResult]]] = defaultdict(list)
    text = ""
    for seed, task, settings in planned:
        announce(f"== {task}, seed {seed}")
        run = finished_run(settings, out / f"seed{seed}" / task, stages[task], train_glue)
        results[task].append(run.results)
        if seed == config.seeds[0]:
            collect_predictions(run, out / "predictions")
        text = write_tables(out, results, [layout_table(results, config.published, titles)])
    return text


def recipe_titles(stages: Sequence[GlueStageConfig]) -> dict[str, str]:
    """What a row is called whose stage bears the name of one recipe of MED and trains by another: by default the stage
    `med` is the recipe `best`. Where that name is another row's, both are said."""
    names = [stage.name for stage in stages]
    others = {s.name: s.med.recipe for s in stages if s.med and s.name in RECIPES and s.med.recipe != s.name}
    return {name: f"{recipe} ({name})" if recipe in names else recipe for name, recipe in others.items()}


def check_table(config: GlueTableConfig, tasks: Sequence[str], tuned: Mapping[str, TunedTaskConfig]) -> None:
    """Refuse what would leave the table empty or fill a cell twice, and settings that the table does not use."""
    if not tasks or not config.seeds:
        raise PmdError("--tasks and --seeds: give at least one of each")
    for option, values in (("--tasks", tasks), ("--seeds", config.seeds)):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise PmdError(f"{option}: {twice} is listed twice; once is enough")
    if len(tuned) < len(config.tuned):
        raise PmdError("--tuned: a task is listed twice; merge its entries")
    for name, instead in (("task", "--tasks"), ("seed", "--seeds"), ("name", "--out"), ("runs", "--out")):
        value = getattr(config.base, name)
        if value != getattr(GlueConfig(), name):
            raise PmdError(f"--base.{name}: {value} is not used; a table has {instead}")


def check_out(out: Path, tasks: Sequence[str], seeds: Sequence[int]) -> None:
    """Refuse the folder of something else, or of a larger table: its files would be written over."""
    check_seeds(out, seeds)
    if not {*Run(out).finished} <= {*TASKS}:
        raise PmdError(f"--out: '{out}' has other results than those of a GLUE table; choose another folder")
    check_rows(out, tasks, seeds, "--tasks")


def settings_of(config: GlueTableConfig, task: str, tuned: TunedTaskConfig | None, seed: int) -> GlueConfig:
    """The settings of one run."""
    overrides = vars(tuned) if tuned else {}
    overrides = {key: value for key, value in overrides.items() if key != "task" and value is not None}
    train = replace(config.base.train, **overrides)
    return replace(config.base, task=task, seed=seed, train=train)


def collect_predictions(run: Run, out: Path) -> None:
    """Copy a run's leaderboard files beside those of other tasks: `STAGE/predictions/SPLIT/WIDTH/FILE` to
    `OUT/SPLIT/STAGE-WIDTH/FILE`."""
    for file in run.folder.glob("*/predictions/*/*/*.tsv"):
        stage, _, split, width, name = file.relative_to(run.folder).parts
        copy = out / split / (stage if stage.endswith(f"-{width}") else f"{stage}-{width}") / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)

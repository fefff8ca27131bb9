"""Tables 3 and 6 of DistilE (Zhu et al., arXiv 2009.05912v1) for one graph: students with and without a teacher (Table 3), and
without each of the two stages (Table 6).

A config of `pmd train` holds a teacher and its students as stages; its settings decide which row a stage belongs
to: without a teacher it is the teacher itself or `no-DS`, with a frozen one `−S2`, with a released one `DS`, or
`−S1` where it starts from random weights. A first stage, from which a `DS` goes on, has fewer epochs than both and so no
row of its own, unless the config trains no other student with a frozen teacher.

With `--teachers` it is Figure 2 in place of the tables: what students of teachers of several widths reach.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.evaluation.tables import Table, seeds_table, write_tables
from pmd.papers.seeds import announce, check_seeds, finished_run, folder_name
from pmd.recipes.kge import train_kge
from pmd.settings.kge import KgeConfig, KgeStageConfig
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.kge import check_kge, resolve_kge_stages

TABLE_3 = {"MRR": "mrr", "H10": "hits_at_10", "H3": "hits_at_3", "H1": "hits_at_1"}
TABLE_6 = {"MRR": "mrr", "H10": "hits_at_10"}
"""The columns of an interaction, as the paper writes them, and their metrics."""
ROWS = ("Tea.", "no-DS", "DS", "−S1", "−S2")


@dataclass
class DualdeConfig:
    """DualDE's Tables 3 and 6 for one graph, or its Figure 2.

    Args:
        configs: of `pmd train`, YAMLs or names of bundled ones, one for each interaction, all of one graph.
        out: folder of the comparison; an existing one is continued.
        seeds: every config is run once for each.
        options: options of `pmd train` for all configs.
        teachers: widths of teachers, for the figure in place of the tables: the MRR of every config's students, in both
            stages, by the width of their teacher; null for the tables.
    """

    configs: list[str]
    out: str = "runs/dualde"
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    options: list[str] = field(default_factory=list)
    teachers: list[int] | None = None


Results = dict[str, dict[tuple[int, str], list[StageResult]]]
"""The results of the seeds by interaction, and by dimension and row; for Figure 2 by the teacher's dimension and the student's."""


def dualde(config: DualdeConfig) -> str:
    """Run what is missing and return the tables, which are also written to `OUT/table.md`. PmdError for configs that
    cannot be run, before the first of them starts."""
    if not config.configs:
        raise PmdError("--configs: give at least one")
    check_seeds(Path(config.out), config.seeds)
    planned = [
        (file, seed, read_config(KgeConfig, ["--config", file, *config.options, f"--seed={seed}"]))
        for seed in config.seeds
        for file in config.configs
    ]
    _check_one_table([settings for _, seed, settings in planned if seed == config.seeds[0]])
    rows = {file: rows_of(file, settings) for file, _, settings in planned}
    if config.teachers is not None:
        return by_teacher(config, planned)
    results: Results = defaultdict(lambda: defaultdict(list))
    text = ""
    for file, seed, settings in planned:
        announce(f"== {file}, seed {seed}")
        folder = Path(config.out) / f"seed{seed}" / folder_name(Path(file).stem)
        for stage, result in finished_run(settings, folder, rows[file], train_kge).results.items():
            if rows[file][stage]:
                results[settings.model.interaction][result.dim, rows[file][stage]].append(result)
        stored = {
            name: {f"{dim} {row}": seeds for (dim, row), seeds in cells.items()} for name, cells in results.items()
        }
        text = write_tables(Path(config.out), stored, dual_tables(results))
    return text


def _check_one_table(configs: Sequence[KgeConfig]) -> None:
    """Refuse configs whose results could not stand in one table."""
    interactions = [settings.model.interaction for settings in configs]
    repeated = next((name for name in interactions if interactions.count(name) > 1), None)
    if repeated:
        raise PmdError(f"--configs: two of them are of {repeated}; give each a comparison (--out) of its own")
    paths = sorted({settings.data.path for settings in configs})
    if len(paths) > 1:
        raise PmdError(f"--configs: they are of several graphs, {' and '.join(paths)}; a table is of one")


def rows_of(file: str, settings: KgeConfig) -> dict[str, str | None]:
    """The row of each stage of a config. PmdError if there would be no taught student."""
    check_kge(settings)
    stages = resolve_kge_stages(settings)
    rows = {stage.name: row_of(stage, stages) for stage in stages}
    if "DS" not in rows.values():
        raise PmdError(f"--configs: '{file}' has no student with both stages; give it dual.students")
    return rows


def row_of(stage: KgeStageConfig, stages: Sequence[KgeStageConfig]) -> str | None:
    """The row of the tables that a stage belongs to; None for a first stage beside a student that has no second one."""
    if stage.teacher is None:
        return "Tea." if any(stage.name == other.teacher for other in stages) else "no-DS"
    if not stage.release:
        starts = {other.start for other in stages}
        frozen = [other.name for other in stages if other.teacher and not other.release and other.dim == stage.dim]
        return None if stage.name in starts and not starts.issuperset(frozen) else "−S2"
    return "DS" if stage.start else "−S1"


def dual_tables(results: Results) -> list[Table]:
    """Both tables for each split that was ranked."""
    any_results = next(iter(next(iter(results.values())).values()))
    return [
        dual_table(results, split, rows, metrics, f"{table}, {split}: {shown}")
        for split in any_results[0].metrics
        for table, rows, metrics, shown in (
            ("Table 3", ROWS[:3], TABLE_3, "with and without a teacher"),
            ("Table 6", ROWS[2:], TABLE_6, "without each stage"),
        )
    ]


def dual_table(results: Results, split: str, rows: Sequence[str], metrics: dict[str, str], caption: str = "") -> Table:
    """Dimensions and rows down, interactions and metrics across; the best mean of each dimension is bold."""
    keys = {key for cells in results.values() for key in cells if key[1] in rows}
    columns = {f"{name} {title}": (name, metric) for name in results for title, metric in metrics.items()}
    values = {
        (str(dim), row): {
            column: [result.metrics[split][metric] for result in results[name].get((dim, row), [])]
            for column, (name, metric) in columns.items()
        }
        for dim, row in sorted(keys, key=lambda key: (-key[0], ROWS.index(key[1])))
    }
    return seeds_table(["Dim", "Method"], [*columns], values, caption, mark_best=True)


def by_teacher(config: DualdeConfig, planned: Sequence[tuple[str, int, KgeConfig]]) -> str:
    """Run what is missing of Figure 2 and return its tables, which are also written to `OUT/table.md`."""
    runs = [
        (teacher, file, seed, taught_by(settings, teacher))
        for file, seed, settings in planned
        for teacher in config.teachers
    ]
    for _, file, _, settings in runs:
        rows_of(file, settings)
    results: Results = defaultdict(lambda: defaultdict(list))
    text = ""
    for teacher, file, seed, settings in runs:
        announce(f"== {file}, teacher of width {teacher}, seed {seed}")
        folder = Path(config.out) / f"seed{seed}" / f"{folder_name(Path(file).stem)}-teacher{teacher}"
        run = finished_run(settings, folder, [stage.name for stage in settings.stages], train_kge)
        for stage in settings.stages:
            row = row_of(stage, settings.stages)
            if row in ("Tea.", "DS"):
                label = str(stage.dim) if row == "DS" else "Tea."
                results[settings.model.interaction][teacher, label].append(run.results[stage.name])
        stored = {
            name: {f"{wide} {label}": seeds for (wide, label), seeds in cells.items()}
            for name, cells in results.items()
        }
        text = write_tables(Path(config.out), stored, teacher_tables(results))
    return text


def taught_by(settings: KgeConfig, teacher: int) -> KgeConfig:
    """The settings with a teacher of this width, of whose stages only it and the students of both stages are left."""
    stages = resolve_kge_stages(replace(settings, model=replace(settings.model, dim=teacher)))
    starts = {stage.start for stage in stages}
    kept = [s for s in stages if row_of(s, stages) in ("Tea.", "DS") or s.name in starts]
    dual = replace(settings.dual, students=None, lrs=None, ablations=False, second_epochs=None, second_lr=None)
    return replace(settings, model=replace(settings.model, dim=teacher), dual=dual, stages=kept)


def teacher_tables(results: Results) -> list[Table]:
    """A table for each interaction and split: students down, their teachers across, the teachers themselves first."""
    tables = []
    for name, cells in results.items():
        teachers = [*dict.fromkeys(wide for wide, _ in cells)]
        labels = [*dict.fromkeys(label for _, label in cells)]
        for split in next(iter(cells.values()))[0].metrics:
            values = {
                label: {wide: [r.metrics[split]["mrr"] for r in cells.get((wide, label), [])] for wide in teachers}
                for label in labels
            }
            caption = f"Figure 2, {split}: MRR of {name}'s students (down) by the width of their teacher (across)"
            tables.append(seeds_table(["Dim"], teachers, values, caption))
    return tables

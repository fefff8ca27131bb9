"""Tables 3 and 6 of DualDE (Zhu et al., WSDM 2022) for one graph: students with and without a teacher (Table 3), and
without each of the two stages (Table 6).

A config of `pmd train` holds a teacher and its students as stages; its settings decide which row a stage belongs
to: without a teacher it is the teacher itself or `no-DS`, with a frozen one `−S2`, with a released one `DS`, or
`−S1` where it starts from random weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.evaluation.tables import Table, seeds_table, write_tables
from pmd.papers.seeds import announce, finished_run, folder_name
from pmd.recipes.kge import train_kge
from pmd.settings.kge import KgeConfig, KgeStageConfig
from pmd.settings.kge_stages import check_kge, resolve_kge_stages
from pmd.settings.parse import read_config

TABLE_3 = {"MRR": "mrr", "H10": "hits_at_10", "H3": "hits_at_3", "H1": "hits_at_1"}
TABLE_6 = {"MRR": "mrr", "H10": "hits_at_10"}
"""The columns of an interaction, as the paper writes them, and their metrics."""
ROWS = ("Tea.", "no-DS", "DS", "−S1", "−S2")


@dataclass
class DualdeConfig:
    """DualDE's Tables 3 and 6 for one graph.

    Args:
        configs: of `pmd train`, YAMLs or names of bundled ones, one for each interaction, all of one graph.
        out: folder of the comparison; an existing one is continued.
        seeds: every config is run once for each.
        options: options of `pmd train` for all configs.
    """

    configs: list[str]
    out: str = "runs/dualde"
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    options: list[str] = field(default_factory=list)


Results = dict[str, dict[tuple[int, str], list[StageResult]]]
"""The results of the seeds by interaction, and by dimension and row."""


def dualde(config: DualdeConfig) -> str:
    """Run what is missing and return the tables, which are also written to `OUT/table.md`. PmdError for configs that
    cannot be run, before the first of them starts."""
    if not config.configs or not config.seeds:
        raise PmdError("--configs and --seeds: give at least one of each")
    planned = [
        (file, seed, read_config(KgeConfig, ["--config", file, *config.options, f"--seed={seed}"]))
        for seed in config.seeds
        for file in config.configs
    ]
    _check_one_table([settings for _, seed, settings in planned if seed == config.seeds[0]])
    rows = {}
    for file, _, settings in planned:
        check_kge(settings)
        stages = resolve_kge_stages(settings)
        rows[file] = {stage.name: row_of(stage, stages) for stage in stages}
        if "DS" not in rows[file].values():
            raise PmdError(f"--configs: '{file}' has no student with both stages; give it dual.students")
    results: Results = defaultdict(lambda: defaultdict(list))
    text = ""
    for file, seed, settings in planned:
        announce(f"== {file}, seed {seed}")
        folder = Path(config.out) / f"seed{seed}" / folder_name(Path(file).stem)
        for stage, result in finished_run(settings, folder, rows[file], train_kge).results.items():
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


def row_of(stage: KgeStageConfig, stages: Sequence[KgeStageConfig]) -> str:
    """The row of the tables that a stage belongs to."""
    if stage.teacher is None:
        return "Tea." if any(stage.name == other.teacher for other in stages) else "no-DS"
    if not stage.release:
        return "−S2"
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

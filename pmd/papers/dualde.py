"""DualDE's tables for one graph: students with and without a teacher (Table 3) and without each stage (Table 6).

A config of `pmd train` holds a teacher and its students as stages; which row a stage belongs to is
read from what it is: without a teacher it is the teacher itself or `no-DS`, with a frozen one `−S2`, with a
released one `DS`, or `−S1` where it starts from random weights.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.files import write_json, write_text
from pmd.papers.seeds import finished_run, slug
from pmd.recipes.kge import train_kge
from pmd.recipes.tables import markdown, spread
from pmd.settings.kge import KgeConfig, KgeStageConfig
from pmd.settings.kge_stages import check_kge, resolve_kge_stages
from pmd.settings.parse import read_config

METRICS = {"MRR": "mrr", "H10": "hits_at_10", "H3": "hits_at_3", "H1": "hits_at_1"}
ROWS = ("Tea.", "no-DS", "DS", "−S1", "−S2")


@dataclass
class DualdeConfig:
    """DualDE's Tables 3 and 6 for one graph.

    Args:
        configs: of `pmd train`, YAMLs or names of bundled ones, one for each interaction, all of one graph.
        out: folder of the comparison; an existing one is continued.
        seeds: one run of every config for each.
        options: options of `pmd train` for all configs.
    """

    configs: list[str]
    out: str = "runs/dualde"
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    options: list[str] = field(default_factory=list)


Results = dict[str, dict[tuple[int, str], list[dict[str, Any]]]]
"""What was measured: interaction -> (dim, row) -> one result for each seed."""


def dualde(config: DualdeConfig) -> str:
    """Run what is missing and return the tables, which are also written to `OUT/table.md`.

    Raises:
        PmdError: for configs that cannot be run, before the first of them starts.
    """
    if not config.configs or not config.seeds:
        raise PmdError("--configs and --seeds: give at least one of each")
    planned = [
        (file, seed, read_config(KgeConfig, ["--config", file, *config.options, f"--seed={seed}"]))
        for seed in config.seeds
        for file in config.configs
    ]
    _check_one_table([settings for _, seed, settings in planned if seed == config.seeds[0]])
    roles = {}
    for file, _, settings in planned:
        check_kge(settings)
        roles[file] = {stage.name: role(stage, resolve_kge_stages(settings)) for stage in resolve_kge_stages(settings)}
        if "DS" not in roles[file].values():
            raise PmdError(f"--configs: '{file}' has no student with both stages; give it dual.students")
    results: Results = {}
    for file, seed, settings in planned:
        print(f"== {file}, seed {seed}", file=sys.stderr, flush=True)
        folder = Path(config.out) / f"seed{seed}" / slug(Path(file).stem)
        run = finished_run(settings, folder, roles[file], train_kge)
        for name, result in run.results.items():
            rows = results.setdefault(settings.model.interaction, {})
            rows.setdefault((result["dim"], roles[file][name]), []).append(result)
        _write(Path(config.out), results)
    return (Path(config.out) / "table.md").read_text(encoding="utf-8")


def _check_one_table(configs: Sequence[KgeConfig]) -> None:
    """Refuse configs whose results could not stand in one table."""
    kinds = [settings.model.interaction for settings in configs]
    repeated = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if repeated:
        raise PmdError(f"--configs: two of them are of {repeated}; give each a comparison (--out) of its own")
    paths = sorted({settings.data.path for settings in configs})
    if len(paths) > 1:
        raise PmdError(f"--configs: they are of several graphs, {' and '.join(paths)}; a table is of one")


def role(stage: KgeStageConfig, stages: Sequence[KgeStageConfig]) -> str:
    """The row of the tables that a stage belongs to."""
    if stage.teacher is None:
        return "Tea." if any(stage.name == other.teacher for other in stages) else "no-DS"
    if not stage.release:
        return "−S2"
    return "DS" if stage.start else "−S1"


def _write(out: Path, results: Results) -> None:
    splits = next(iter(next(iter(results.values())).values()))[0]["metrics"]
    parts = []
    for split in splits:
        parts.append(f"Table 3, {split}: with and without a teacher\n\n{dual_table(results, split, ROWS[:3], METRICS)}")
        parts.append(f"Table 6, {split}: without each stage\n\n{dual_table(results, split, ROWS[2:], TABLE_6)}")
    plain = {kind: {f"{dim} {row}": found for (dim, row), found in rows.items()} for kind, rows in results.items()}
    write_json(out / "results.json", plain)
    write_text(out / "table.md", "\n\n".join(parts) + "\n")


TABLE_6 = {name: METRICS[name] for name in ("MRR", "H10")}


def dual_table(results: Results, split: str, wanted: Sequence[str], metrics: dict[str, str]) -> str:
    """Widths and methods down, interactions and metrics across; the best mean of each width is bold."""
    places = sorted({place for rows in results.values() for place in rows if place[1] in wanted}, key=_order)
    columns = ["Dim", "Method", *(f"{kind} {name}" for kind in results for name in metrics)]
    cells = {place: [] for place in places}
    for rows in results.values():
        for key in metrics.values():
            values = {place: [r["metrics"][split][key] for r in rows.get(place, [])] for place in places}
            for place in places:
                cells[place].append(_bold(place, values))
    lines = [[str(dim), row, *cells[dim, row]] for dim, row in places]
    return markdown(columns, lines)


def _order(place: tuple[int, str]) -> tuple[int, int]:
    return -place[0], ROWS.index(place[1])


def _bold(place: tuple[int, str], values: dict[tuple[int, str], list[float]]) -> str:
    means = {other: sum(v) / len(v) for other, v in values.items() if v and other[0] == place[0]}
    text = spread(values[place])
    return f"**{text}**" if len(means) > 1 and place in means and means[place] == max(means.values()) else text

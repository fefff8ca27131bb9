"""One table from several methods and several seeds: the layout of Tables 3 and 4 of the PMD paper.

A variant is the same program with other options. The teacher of a seed is trained once and shared by all
variants that do not change it. Finished runs are never repeated, so a stopped comparison goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.files import write_json, write_text
from pmd.core.run import Run
from pmd.models.text.start import depth_of
from pmd.papers.seeds import finished_run, slug
from pmd.recipes.tables import markdown, spread
from pmd.recipes.text import progressive
from pmd.settings.catalogue import METRICS, lookup
from pmd.settings.parse import read_config
from pmd.settings.rows import RankingMetric
from pmd.settings.text import ProgressiveConfig
from pmd.settings.text_stages import resolve_stages


@dataclass
class Variant:
    """A row of the table.

    Args:
        name: what the row is called.
        options: options of `pmd progressive`, such as `--distill.method=lkd`.
    """

    name: str
    options: list[str] = field(default_factory=list)


def paper_methods() -> list[Variant]:
    """The rows of the paper's Table 3, with its ablation: LKD and PKD are taught by the first teacher."""
    direct = "--distill.taught_by=teacher"
    return [
        Variant("no distillation", ["--distill.method=none"]),
        Variant("LKD", ["--distill.method=lkd", direct]),
        Variant("PKD", ["--distill.method=pkd", direct]),
        Variant("PMD without MGFD", ["--distill.method=pmd_no_mgfd"]),
        Variant("PMD", ["--distill.method=pmd"]),
    ]


@dataclass
class CompareConfig:
    """Several methods, several seeds, one table.

    Args:
        base: the config of `pmd progressive`, a YAML or the name of a bundled one, that all variants start from.
        out: folder of the comparison; an existing one is continued.
        seeds: one run of every variant for each.
        variants: the rows; by default the paper's Table 3.
        options: options of `pmd progressive` for all variants.
        metric: what the cells show.
    """

    base: str
    out: str = "runs/compare"
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    variants: list[Variant] = field(default_factory=paper_methods)
    options: list[str] = field(default_factory=list)
    metric: RankingMetric = "mrr"


def compare(config: CompareConfig) -> str:
    """Run what is missing and return the table, which is also written to `OUT/table.md`.

    Raises:
        PmdError: for variants that cannot be run, before the first of them starts.
    """
    lookup(METRICS["ranking"], config.metric, "metric")
    names = [variant.name for variant in config.variants]
    folders = ["teacher", *(slug(name) for name in names)]
    for name in names:
        if folders.count(slug(name)) > 1:
            raise PmdError(f"variants: '{name}' would share the folder '{slug(name)}'; give it another name")
    out = Path(config.out)
    planned = [
        (seed, variant, _settings(config, variant.options, seed))
        for seed in config.seeds
        for variant in config.variants
    ]
    for _, _, settings in planned:
        resolve_stages(settings, depth_of(settings.encoder))
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for seed, variant, settings in planned:
        teacher = _teacher(config, settings, seed, out)
        print(f"== {variant.name}, seed {seed}", file=sys.stderr, flush=True)
        results[variant.name].append(_run(_taught(settings, teacher), out / f"seed{seed}" / slug(variant.name)).results)
        _write(out, config, results)
    return (out / "table.md").read_text(encoding="utf-8")


def _settings(config: CompareConfig, options: Sequence[str], seed: int) -> ProgressiveConfig:
    return read_config(ProgressiveConfig, ["--config", config.base, *config.options, *options, f"--seed={seed}"])


def _teacher(config: CompareConfig, settings: ProgressiveConfig, seed: int, out: Path) -> Path | None:
    """The seed's shared teacher, trained now if it is not there; None if this variant has one of its own."""
    plain = _only_teacher(_settings(config, [], seed))
    if _identity(plain) != _identity(_only_teacher(settings)):
        return None
    run = _run(plain, out / f"seed{seed}" / "teacher")
    return run.folder / plain.stages[0].name


def _only_teacher(settings: ProgressiveConfig) -> ProgressiveConfig:
    first = resolve_stages(settings, depth_of(settings.encoder))[0]
    train = replace(settings.train, epochs=first.epochs, lr=first.lr)
    return replace(settings, train=train, stages=[replace(first, alpha=None, beta=None)])


def _identity(settings: ProgressiveConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name not in ("distill", "name", "runs")}


def _taught(settings: ProgressiveConfig, teacher: Path | None) -> ProgressiveConfig:
    stages = resolve_stages(settings, depth_of(settings.encoder))
    if teacher is not None:
        stages[0] = replace(stages[0], load=str(teacher))
    return replace(settings, stages=stages)


def _run(settings: ProgressiveConfig, folder: Path) -> Run:
    names = [stage.name for stage in resolve_stages(settings, depth_of(settings.encoder))]
    return finished_run(settings, folder, names, progressive)


def _write(out: Path, config: CompareConfig, results: dict[str, list[dict[str, Any]]]) -> None:
    done = {name: runs for name, runs in results.items() if runs}
    split = next(iter(next(iter(done.values()))[0].values()))["metrics"].keys()
    tables = [comparison_table(done, name, config.metric) for name in split]
    write_json(out / "results.json", done)
    write_text(out / "table.md", "\n\n".join(tables) + "\n")


def comparison_table(results: dict[str, list[dict[str, Any]]], split: str, metric: str) -> str:
    """Variants × stages; each cell the mean over seeds, ± the standard deviation where there are several."""
    stages = list(dict.fromkeys(stage for runs in results.values() for run in runs for stage in run))
    columns = [f"{metric}, {split}", *stages, "seeds"]
    rows = []
    for name, runs in results.items():
        cells = [[run[stage]["metrics"][split][metric] for run in runs if stage in run] for stage in stages]
        rows.append([name, *(spread(values) for values in cells), str(len(runs))])
    return markdown(columns, rows)

"""Tables 3 and 4 of the PMD paper: distillation methods by grades, over several seeds.

A variant is the same program with other options. The teacher of a seed is trained once and shared by all variants
that do not change it. Finished runs are never repeated, so the same command continues a stopped comparison.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.evaluation.tables import Table, seeds_table, write_tables
from pmd.models.text.start import depth_of
from pmd.papers.seeds import announce, check_rows, check_seeds, finished_run, folder_name
from pmd.recipes.fuse import PART, STAGE
from pmd.recipes.text import progressive
from pmd.settings.catalogue import METRICS, RankingMetric, lookup
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.text import FEATURES, LOOP, check_progressive, resolve_stages, warn_of_listed
from pmd.settings.text import DistillConfig, ProgressiveConfig, StageConfig


@dataclass
class Variant:
    """A row of the table.

    Args:
        name: the row's label.
        options: options of `pmd progressive`, such as `--distill.method=lkd`.
    """

    name: str
    options: list[str] = field(default_factory=list)


def paper_methods() -> list[Variant]:
    """The rows of the paper's Table 3, with its ablation: LKD and PKD are taught by the first teacher. All train as long."""
    direct, long = "--distill.taught_by=teacher", "--distill.chain_epochs=true"
    return [
        Variant("no distillation", ["--distill.method=none", long]),
        Variant("LKD", ["--distill.method=lkd", direct, long]),
        Variant("PKD", ["--distill.method=pkd", direct, long]),
        Variant("PMD without MGFD", ["--distill.method=pmd_no_mgfd"]),
        Variant("PMD", ["--distill.method=pmd"]),
    ]


@dataclass
class CompareConfig:
    """Several methods, several seeds, one table.

    Args:
        base: the config of `pmd progressive`, a YAML or the name of a bundled one, that all variants start from.
        out: folder of the comparison; an existing one is continued.
        seeds: every variant is run once for each.
        variants: the rows; by default the paper's Table 3.
        options: options of `pmd progressive` for all variants.
        metric: what the cells show; a list for a table of each.
    """

    base: str
    out: str = "runs/compare"
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    variants: list[Variant] = field(default_factory=paper_methods)
    options: list[str] = field(default_factory=list)
    metric: RankingMetric | list[RankingMetric] = "mrr"

    @property
    def metrics(self) -> list[str]:
        return [self.metric] if isinstance(self.metric, str) else list(self.metric)


Results = dict[str, list[dict[str, StageResult]]]
"""The results of each variant's runs, one for each seed."""


def compare(config: CompareConfig) -> str:
    """Run what is missing and return the table, which is also written to `OUT/table.md`. PmdError for variants that
    cannot be run, before the first of them starts."""
    for metric in config.metrics:
        lookup(METRICS["ranking"], metric, "metric")
    if not config.metrics or not config.variants:
        raise PmdError("--metric and --variants: give at least one of each")
    folders = ["teacher", *(folder_name(variant.name) for variant in config.variants)]
    for variant, folder in zip(config.variants, folders[1:]):
        if folders.count(folder) > 1:
            raise PmdError(f"variants: '{variant.name}' would share the folder '{folder}'; give it another name")
        if not folder:
            raise PmdError("variants: a name is empty; name every row")
        _check_options(variant)
    out = Path(config.out)
    check_seeds(out, config.seeds)
    check_rows(out, folders, config.seeds, "--variants")
    planned = [
        (seed, variant, _settings(config, variant.options, seed))
        for seed in config.seeds
        for variant in config.variants
    ]
    for _, _, settings in planned:
        check_progressive(settings)
        warn_of_listed(settings)
        _stages(settings)
    if len({tuple(settings.evaluation.splits) for *_, settings in planned}) > 1:
        raise PmdError("variants: rows have other splits than others; give evaluation.split in --options, for all")
    results: Results = defaultdict(list)
    text = ""
    for seed, variant, settings in planned:
        settings = _with_shared_teacher(config, settings, seed, out)
        announce(f"== {variant.name}, seed {seed}")
        results[variant.name].append(_run(settings, out / f"seed{seed}" / folder_name(variant.name)).results)
        text = write_tables(out, results, comparison_tables(results, config.metrics))
    return text


def _check_options(variant: Variant) -> None:
    """Refuse what the comparison itself sets."""
    for option in variant.options:
        name = option.lstrip("-").partition("=")[0]
        if name in ("seed", "runs", "name"):
            raise PmdError(f"variants: '{variant.name}': {option}: a comparison sets {name} itself; leave it out")


def _settings(config: CompareConfig, options: Sequence[str], seed: int) -> ProgressiveConfig:
    # What is compared are grades: the embedding model that a base fuses with the last one is trained only if an option says so.
    start = ["--config", config.base, "--structure=null"]
    return read_config(ProgressiveConfig, [*start, *config.options, *options, f"--seed={seed}"])


def _stages(settings: ProgressiveConfig) -> list[StageConfig]:
    return resolve_stages(settings, depth_of(settings.encoder))


def _run(settings: ProgressiveConfig, folder: Path) -> Run:
    names = [stage.name for stage in _stages(settings)] + [PART, STAGE] * (settings.structure is not None)
    return finished_run(settings, folder, names, progressive)


def _with_shared_teacher(config: CompareConfig, settings: ProgressiveConfig, seed: int, out: Path) -> ProgressiveConfig:
    """The settings with their stages, the first of which loads the seed's shared teacher, which is trained now if it is
    missing; a variant that changes the teacher trains one of its own."""
    first, *others = _stages(settings)
    shared = _only_teacher(_settings(config, [], seed))
    if _identity(shared) == _identity(_only_teacher(settings)):
        teacher = _run(shared, out / f"seed{seed}" / "teacher").folder / shared.stages[0].name
        first = replace(first, load=str(teacher))
    return replace(settings, stages=[first, *others])


def _only_teacher(settings: ProgressiveConfig) -> ProgressiveConfig:
    teacher = _stages(settings)[0]
    train = replace(settings.train, **{name: getattr(teacher, name) for name in LOOP})
    contrastive = replace(settings.contrastive, pre_batches=teacher.pre_batches)
    # What a stage without a teacher does not read may differ.
    alone = replace(teacher, **dict.fromkeys((*LOOP, *FEATURES, "alpha", "beta", "pre_batches")))
    return replace(settings, train=train, contrastive=contrastive, distill=DistillConfig(), stages=[alone])


def _identity(settings: ProgressiveConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name not in ("distill", "name", "runs")}


def comparison_tables(
    results: Mapping[str, Sequence[Mapping[str, StageResult]]], metrics: Sequence[str]
) -> list[Table]:
    """Variants down and stages across, a table for each split that was ranked and each metric."""
    runs = [run for seeds in results.values() for run in seeds]
    stages = [*dict.fromkeys(stage for run in runs for stage in run)]
    last = {"seeds": [str(len(seeds)) for seeds in results.values()]}
    tables = []
    for split, metric in itertools.product(next(iter(runs[0].values())).metrics, metrics):
        rows = {
            name: {stage: [run[stage].metrics[split][metric] for run in seeds if stage in run] for stage in stages}
            for name, seeds in results.items()
        }
        digits = METRICS["ranking"][metric].digits
        tables.append(seeds_table([f"{metric}, {split}"], stages, rows, last=last, digits=digits))
    return tables

"""Every setting of `pmd tune` beside those of the runs that it tries. As light as the others."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any, Literal

from pmd.core.errors import PmdError
from pmd.settings.catalogue import RankingMetric
from pmd.settings.checks import check_numbers
from pmd.settings.kge import KgeConfig
from pmd.settings.parsing.config_files import config_file, read_yaml
from pmd.settings.text import ProgressiveConfig

Kind = Literal["embedding", "text"]
KINDS: dict[Kind, type] = {"embedding": KgeConfig, "text": ProgressiveConfig}
"""The settings of the runs of each kind; kinds are families of the catalogue."""
DEFAULTS: dict[Kind, str] = {"text": "pmd/world"}
"""The config that is used where none is given, as by the commands that train."""


@dataclass
class TuneConfig:
    """Try settings of a run, and keep the best by validation. The test split is never ranked.

    Args:
        space: the options that vary: a YAML file of lines OPTION: {low: …, high: …, log: true} or OPTION: {values: […]}, or
            the name of a bundled one (tune/embedding); by default the bundled one that suits the run.
        trials: how many runs are tried in all, those of earlier calls included.
        minutes: after so many minutes of trials, those of earlier calls included, no further one begins; null for no limit.
        kind: of the runs: `embedding` (those of `pmd train`) or `text` (`pmd progressive`); `auto` follows the settings.
        metric: of the validation split, by which the runs are compared.
        stage: the stage whose model is judged; by default the last one.
        width: the width that is judged; by default the mean over all widths of a croppable model.
        pruner: a run whose validation MRR is low beside that of the others at the same epoch ends early: below their `median`, or
            as `hyperband` shares epochs out; `none` lets all end. It needs `train.valid_every`.
        out: folder of the study; by default a folder in `runs` that the same settings find again.
    """

    space: str | None = None
    trials: int = 20
    minutes: float | None = None
    kind: Literal["auto", "embedding", "text"] = "auto"
    metric: RankingMetric = "mrr"  # type: ignore[assignment]
    stage: str | None = None
    width: int | None = None
    pruner: Literal["median", "hyperband", "none"] = "median"
    out: str | None = None


def check_tuning(config: TuneConfig) -> None:
    """PmdError for settings that cannot work."""
    check_numbers({"trials": config.trials, "minutes": config.minutes})


def kind_of(config: Any, options: Collection[str]) -> Kind:
    """The kind of runs that a config and further options are of: the kind that knows most of their settings.

    Args:
        config: an object, a YAML file, the name of a bundled config, or None.
        options: names of settings, or of their groups.
    """
    for kind, config_class in KINDS.items():
        if isinstance(config, config_class):
            return kind
    return max(KINDS, key=lambda kind: _number_known(kind, config, options))


def _number_known(kind: Kind, config: str | os.PathLike[str] | None, options: Collection[str]) -> int:
    """How many of the settings the runs of a kind have; -1 if a bundled config is of another kind."""
    known = {field.name for field in fields(KINDS[kind])}
    names = {*options}
    if isinstance(config, (str, os.PathLike)):
        try:
            file = config_file(os.fspath(config), known | {field.name for field in fields(TuneConfig)})
        except PmdError:
            return -1
        names |= {str(name).partition(".")[0] for name in read_yaml(file)} if os.path.isfile(file) else set()
    return len(names & known)

"""`pmd tune`: settings of embedding and text models, tried one after the other and judged by validation.

Every trial is an ordinary run that ranks the validation split in place of its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd.api.graphs import data_settings
from pmd.api.settings import settings_of
from pmd.api.state import undisturbed
from pmd.api.trained import TrainedRun
from pmd.core.errors import PmdError, nearest, need_package
from pmd.reports.study import table_of_trials
from pmd.settings.catalogue import FAMILIES, Metric
from pmd.settings.tune import DEFAULTS, KINDS, TuneConfig, kind_of

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class TuneResult:
    """What `tune` found.

    Args:
        folder: of the study.
        settings: the best ones, with the evaluation that the user asked for: `pmd.train(config=result.settings)`.
        value: of the best trial, on the validation split.
        trials: what is known of each: its number, state, value, values by option, validation by epoch, seconds and reason.
        run: that of the best trial, with its models.
        metric: what `value` is.
    """

    folder: Path
    settings: Any
    value: float
    trials: list[dict[str, Any]]
    run: TrainedRun
    metric: Metric

    @property
    def best(self) -> dict[str, Any]:
        """The values of the best trial by option."""
        number = int(self.run.folder.name)
        return next(record["values"] for record in self.trials if record["trial"] == number)

    def table(self) -> str:
        """The trials, best first, in Markdown."""
        return table_of_trials(self.trials, self.metric).markdown()

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each trial."""
        import pandas as pd

        columns = ("trial", "state", "value", "seconds", "reason")
        return pd.DataFrame([{**{key: record[key] for key in columns}, **record["values"]} for record in self.trials])

    def _repr_markdown_(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return self.table()


def tune(graph: Any = None, config: Any = None, *, callback: Any = None, **settings: Any) -> TuneResult:
    """Try settings of a run and keep the best by validation, as `pmd tune` does.

    Args:
        graph: a graph, or what names one (see `pmd.load_graph`); by default that of the config.
        config: a `KgeConfig` or `ProgressiveConfig`, a YAML file or the name of a bundled config, where the trials begin.
        callback: called with the values of every line of every trial's metrics.jsonl.
        settings: those of `TuneConfig`, as `space="space.yaml"` and `trials=40`, and what differs from the config.

    Raises:
        PmdError: for settings or data that cannot be used, and if no trial comes to its end.

    Returns:
        The result: `.value` and `.best` of the best trial, `.settings` (its whole config), `.to_pandas()`.

    Example:
        >>> result = pmd.tune("my_graph", space="space.yaml", trials=2)
        >>> sorted(result.best)
        ['train.epochs', 'train.lr']
    """
    own = {field.name for field in fields(TuneConfig)}
    tuning = settings_of(TuneConfig, **{name: value for name, value in settings.items() if name in own})
    settings = {name: value for name, value in settings.items() if name not in own}
    kind = kind_of(config, {name.partition(".")[0] for name in settings}) if tuning.kind == "auto" else tuning.kind
    known = own | {field.name for field in fields(KINDS[kind])}
    for name in settings:
        if name.partition(".")[0] not in known:
            raise PmdError(f"{name}: there is no such option{nearest(name, known) or '; help(pmd.tune) says more'}")
    default = None if settings.get("stages") else DEFAULTS.get(kind)
    options = settings_of(KINDS[kind], default if config is None else config, **settings)
    if graph is not None:
        options = settings_of(KINDS[kind], options, data=data_settings(graph, options.runs, settings.get("data")))
    with undisturbed():
        return tuned(options, tuning, callback)


def tune_command(config: Any, tuning: TuneConfig) -> list[str]:
    """What `pmd tune` prints: the trials, and what to do with the best."""
    result = tuned(config, tuning)
    command, best = FAMILIES[kind_of(config, ())].command, shlex.quote(str(result.folder / "best.yaml"))
    value = f"{result.metric.title} {result.metric.text(result.value)} on valid"
    return [
        result.table(),
        "",
        f"best: trial {int(result.run.folder.name)}, {value}; its models are in {result.run.folder}",
        f"train it: pmd {command} --config {best}",
        f"see more: pmd report {shlex.quote(str(result.folder))}",
    ]


def tuned(config: Any, tuning: TuneConfig, callback: Callable[[dict[str, Any]], None] | None = None) -> TuneResult:
    """What `tune` does, with its settings resolved."""
    need_package("optuna", "tuning needs", "tune")
    from pmd.api.tuning.trials import tuning as trials_of  # and with it optuna

    done = trials_of(config, tuning, callback)
    study, judge = done.study, done.judge
    return TuneResult(
        study.folder,
        done.settings_of_best,
        judge.sign * study.best.value,
        study.records(judge.sign),
        TrainedRun(study.run_folder(study.best.number)),
        judge.metric,
    )

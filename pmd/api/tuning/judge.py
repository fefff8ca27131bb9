"""By what a trial is judged: a metric of the validation split, of one stage, at one width or as the mean over all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pmd.core.errors import PmdError, nearest
from pmd.core.results import StageResult
from pmd.settings.catalogue import METRICS, Metric, lookup
from pmd.settings.tune import TuneConfig


@dataclass(frozen=True)
class Judge:
    """What a trial's value is. Optuna raises it: where less is better it gets the negative.

    Args:
        stage: whose model is judged.
        epochs: of the stage, at most.
        width: that is judged; None for the mean over all widths, or for the only one.
        name: of the value, for tables and for what is compared between calls.
    """

    metric: Metric
    stage: str
    epochs: int
    width: int | None
    name: str

    @classmethod
    def of(cls, tuning: TuneConfig, config: Any, stages: Mapping[str, Any]) -> Judge:
        """The judge of a run. PmdError for a stage or a width that the run does not have."""
        name = tuning.stage or [*stages][-1]
        if name not in stages:
            known = nearest(name, stages) or f"; there are {', '.join(stages)}"
            raise PmdError(f"--stage: no stage '{name}'{known}")
        widths = getattr(config, "encoder", stages[name]).widths or [getattr(stages[name], "dim", tuning.width)]
        if tuning.width not in (None, *widths):
            raise PmdError(f"--width: {name} has no width {tuning.width}; there are {', '.join(map(str, widths))}")
        metric = lookup(METRICS["ranking"], tuning.metric, "metric")
        parts = [f"{metric.title} on valid", f"stage {tuning.stage}" if tuning.stage else "last stage"]
        parts += [f"width {tuning.width}"] if tuning.width else ["mean over the widths"] * (len(widths) > 1)
        return cls(metric, name, stages[name].epochs, tuning.width, ", ".join(parts))

    @property
    def sign(self) -> int:
        """-1 where less is better."""
        return 1 if self.metric.more_is_better else -1

    def text(self, value: float) -> str:
        """A value that optuna has, as tables show it."""
        return f"{self.metric.title} {self.metric.text(self.sign * value)}"

    def value(self, results: Mapping[str, StageResult]) -> float:
        """The value of a run, as optuna gets it. PmdError if it has no such width."""
        by_width = {
            width: metrics[self.metric.name] for width, metrics in results[self.stage].by_width("valid").items()
        }
        if self.width not in (None, *by_width):
            raise PmdError(
                f"--width: {self.stage} has no width {self.width}; there are {', '.join(map(str, by_width))}"
            )
        return self.sign * (fmean(by_width.values()) if self.width is None else by_width[self.width])

    def validation(self, line: Mapping[str, Any]) -> float | None:
        """The validation MRR in a line of metrics.jsonl, if it is one of the stage that is judged."""
        is_of_stage = line["stage"] == self.stage and "valid" in line
        return line.get(f"valid_{self.width}", line["valid"]) if is_of_stage else None

"""What training returns: a run folder with its results, tables, curves and models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd.core.errors import PmdError
from pmd.core.files import read_object
from pmd.core.results import StageResult
from pmd.core.run import Run

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from pmd.recipes.shrink.candidates import Candidate
    from pmd.use.answers import TrainedModel


class TrainedRun:
    """A run that has been trained: its folder, results and models. A notebook shows its tables.

    Args:
        folder: the run folder, of this process or of an earlier one.

    Raises:
        PmdError: if it is no run folder.

    Example:
        >>> run = pmd.TrainedRun("runs/world-…")
        >>> run.stages
        ['teacher', 'grade1']
        >>> 0 < run.metrics("grade1", "test")["mrr"] <= 1
        True
        >>> figure = run.plot_loss("ce")
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        if not (self.folder / "config.yaml").is_file():
            raise PmdError(f"'{self.folder}' is not a run folder (it has no config.yaml)")

    @cached_property
    def results(self) -> dict[str, StageResult]:
        """The results of the stages by name."""
        return Run(self.folder).results

    @property
    def stages(self) -> list[str]:
        """The stages whose models are there, in their order."""
        return Run(self.folder).loadable

    def metrics(self, stage: str | None = None, split: str | None = None) -> dict[str, Any]:
        """The metrics of a stage, by default the last one, on a split, by default the first that was ranked: by name, as
        `mrr`. PmdError for one that is not there."""
        result = self.results[self._stage(stage)]
        split = split or result.splits[0]
        if split not in result.splits:
            raise PmdError(f"split: '{split}' was not ranked; there are {', '.join(result.splits)}")
        by_width = result.by_width(split)
        return by_width[max(by_width)]

    def load(self, stage: str | None = None) -> TrainedModel:
        """The model of a stage, by default the last one, ready to answer (`.answer(head=…, relation=…)`)."""
        from pmd.use.load import load

        return load(self.folder / self._stage(stage))

    def update(self, graph: Any = None, out: str | os.PathLike[str] | None = None, **settings: Any) -> TrainedRun:
        """This run brought to a newer state of its graph in the folder `out`, as `pmd.update` does, with the same settings."""
        from pmd.api.calls import update

        return update(self.folder, graph, out, **settings)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each stage, split and width, with its parameters and metrics."""
        import pandas as pd

        rows = [
            {"stage": name, "split": split, "width": width, **_flat(metrics)}
            for name, result in self.results.items()
            for split in result.splits
            for width, metrics in result.by_width(split).items()
        ]
        return pd.DataFrame(rows)

    def plot_validation(self) -> Figure:
        """Validation by epoch, a line for each stage or width."""
        from pmd.reports.pictures import line_figure
        from pmd.reports.record import curves

        return line_figure(curves(self.folder), "epoch", "MRR, validation")

    def plot_loss(self, term: str = "loss") -> Figure:
        """A term of the loss by step, by default their sum. PmdError for a term that was not logged."""
        from pmd.reports.pictures import line_figure
        from pmd.reports.record import read_metrics, terms

        by_term = terms(read_metrics(self.folder)[0])
        if term not in by_term:
            raise PmdError(f"term: '{term}' was not logged; there are {', '.join(by_term) or 'none'}")
        return line_figure(by_term[term], "step", term)

    def plot_widths(self, metric: str = "mrr") -> Figure:
        """A metric by width, a line for each stage that was measured at several. PmdError where none was."""
        from pmd.reports.pictures import line_figure

        series = {}
        for name, result in self.results.items():
            by_width = result.by_width(result.splits[0])
            if len(by_width) > 1:
                series[name] = {width: metrics[metric] for width, metrics in by_width.items()}
        if not series:
            raise PmdError(
                f"'{self.folder}' has no stage of several widths; train one with model.widths or encoder.widths"
            )
        return line_figure(series, "width", metric, widths=True)

    def _stage(self, name: str | None) -> str:
        if name is None and self.results:
            return [*self.results][-1]
        if name not in self.results:
            raise PmdError(
                f"'{self.folder}' has no finished stage '{name}'; there are {', '.join(self.results) or 'none'}"
            )
        return name

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    def __str__(self) -> str:
        table = self.folder / "table.md"
        return table.read_text(encoding="utf-8") if table.is_file() else repr(self)  # a run that is not finished

    def __repr__(self) -> str:
        return f"TrainedRun({str(self.folder)!r}, stages={self.stages})"

    def _repr_markdown_(self) -> str:
        return str(self)


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in metrics.items():
        flat |= _flat(value, f"{prefix}{name}_") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


class ShrunkRun(TrainedRun):
    """A run that `shrink` wrote: its model, and what it was compared with."""

    @cached_property
    def stored(self) -> dict[str, Any]:
        """What shrink.json says: what was asked for, the teacher, the test split."""
        return read_object(self.folder / "shrink.json", "shrink the run anew")

    @cached_property
    def candidates(self) -> list[Candidate]:
        """A row for each model that could have been written."""
        from pmd.recipes.shrink.candidates import Candidate

        return [Candidate(**row) for row in self.stored["candidates"]]

    @property
    def chosen(self) -> Candidate:
        """The row of the one that was."""
        return next(row for row in self.candidates if vars(row) == self.stored["chosen"])

    @property
    def keeps_on_test(self) -> float | None:
        """Its MRR on the test split as a share of the teacher's."""
        return self.stored["keeps_on_test"]

    def load(self, stage: str | None = None) -> TrainedModel:
        """The model of a stage, by default the one that was written, ready to answer."""
        return super().load(stage or ("fused" if self.chosen.part == "fused" else self.chosen.stage))

    def __str__(self) -> str:
        return (self.folder / "shrink.md").read_text(encoding="utf-8")

"""Training from Python: `pmd.progressive`, `pmd.train` and `pmd.glue`, and what they return."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd.api.graphs import data_settings
from pmd.api.settings import settings_of
from pmd.api.state import undisturbed
from pmd.core.errors import PmdError
from pmd.core.files import read_object
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.settings.glue import GlueConfig
from pmd.settings.kge import KgeConfig
from pmd.settings.text import ProgressiveConfig

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from pmd.recipes.shrink.candidates import Candidate
    from pmd.use.load import TrainedModel


class TrainedRun:
    """A run that has been trained: its folder, results and models. A notebook shows its tables.

    Args:
        folder: the run folder, of this process or of an earlier one.
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
        """The metrics of a stage, by default the last one, on a split, by default the first that was ranked."""
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
        """This run brought to a newer state of its graph, as `pmd.update` does."""
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
        """A metric by width, a line for each stage that was measured at several."""
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


def progressive(
    graph: Any = None,
    config: Any = None,
    *,
    resume: Any = None,
    callback: Any = None,
    teacher: Any = None,
    **settings: Any,
) -> TrainedRun:
    """Distil a text model, grade by grade, as `pmd progressive` does.

    Args:
        graph: a graph, or what names one (see `pmd.load_graph`); by default that of the config.
        config: a `ProgressiveConfig`, a YAML file or the name of a bundled config; by default `pmd/world`.
        resume: a run folder to go on with; no graph and no settings are given then.
        callback: called with the values of every line of metrics.jsonl, such as losses and validation.
        teacher: anything with `score_all(triples, target)` -> (b, entities): the stages whose teacher is `own` learn from
            its scores, as logits (LKD); by default one such student. Or the settings of a teacher of another kind, as
            `{"model": "Qwen/Qwen3-Embedding-0.6B"}`.
        settings: what differs from the config, as `train={"epochs": 3}`.

    Raises:
        PmdError: for settings or data that cannot be used.
    """
    from pmd.recipes.text import progressive as run
    from pmd.settings.stages.text import check_progressive

    if isinstance(teacher, Mapping):
        settings["teacher"], teacher = dict(teacher), None
    if teacher is not None and config is None and "stages" not in settings and resume is None:
        settings["stages"] = [{"name": "taught", "teacher": "own"}]
    default = None if config or settings.get("stages") else "pmd/world"
    chosen = (run, check_progressive, ProgressiveConfig, graph, config, resume, settings)
    return _trained(*chosen, key="encoder", default=default, callback=callback, teacher=teacher)


def train(
    graph: Any = None,
    config: Any = None,
    *,
    resume: Any = None,
    callback: Any = None,
    teacher: Any = None,
    **settings: Any,
) -> TrainedRun:
    """Train embedding models, as `pmd train` does: one, a croppable one, or a teacher and its students.

    Arguments and errors are those of `progressive`; the config is a `KgeConfig`.

    Args:
        teacher: anything with `score_all(triples, target)` -> (b, entities): one student of width `model.dim` learns from its
            scores, as logits, besides the labels (`dual.alpha`); or every stage that names the teacher `own` does.
    """
    if teacher is not None and config is None and "stages" not in settings and resume is None:
        settings["stages"] = [{"name": "taught", "teacher": "own"}]
    from pmd.recipes.kge import train_kge as run
    from pmd.settings.stages.kge import check_kge_run

    chosen = (run, check_kge_run, KgeConfig, graph, config, resume, settings)
    return _trained(*chosen, key="loss", callback=callback, teacher=teacher)


def glue(
    task: str | None = None, config: Any = None, *, resume: Any = None, callback: Any = None, **settings: Any
) -> TrainedRun:
    """Fine-tune a BERT and its sub-models on a GLUE task, as `pmd glue` does; the config is a `GlueConfig`, by default
    `glue/bert_base`."""
    from pmd.recipes.glue import train_glue as run
    from pmd.settings.stages.glue import check_glue

    settings |= {"task": task} if task else {}
    chosen = (run, check_glue, GlueConfig, None, config, resume, settings)
    return _trained(*chosen, key="task", default="glue/bert_base", callback=callback)


def fuse(
    text: str | os.PathLike[str],
    structure: str | os.PathLike[str],
    out: str | os.PathLike[str],
    graph: Any = None,
    **settings: Any,
) -> TrainedRun:
    """Put a text model and an embedding model of one graph side by side, as `pmd fuse` does.

    Args:
        text, structure: run folders, stages' folders in them, or Hub ids.
        out: the new folder, a run with the stage `fused`.
        graph: what names the graph; by default that of the text model's run.
        settings: as `weights="common"`.
    """
    from pmd.recipes.fuse import fuse as write
    from pmd.settings.fuse import FuseConfig

    if graph is not None:
        settings["data"] = {**(settings.get("data") or {}), "path": os.fspath(graph)}
    config = settings_of(FuseConfig, text=text, structure=structure, out=out, **settings)
    with undisturbed():
        write(config)
    return TrainedRun(out)


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
        """The model, ready to answer."""
        return super().load(stage or ("fused" if self.chosen.part == "fused" else self.chosen.stage))

    def __str__(self) -> str:
        return (self.folder / "shrink.md").read_text(encoding="utf-8")


def shrink(run: str | os.PathLike[str], out: str | os.PathLike[str], graph: Any = None, **settings: Any) -> ShrunkRun:
    """Find the smallest model of a run that keeps enough of its teacher and write it, as `pmd shrink` does.

    Args:
        run: the folder of a run of text models.
        out: the new folder, a run with one model.
        graph: what names the graph; by default that of the run.
        settings: as `keep=0.95` or `max_mb=2`.
    """
    from pmd.reports.shrink import shrink as write
    from pmd.settings.shrink import ShrinkConfig

    if graph is not None:
        settings["data"] = {**(settings.get("data") or {}), "path": os.fspath(graph)}
    config = settings_of(ShrinkConfig, run=run, out=out, **settings)
    with undisturbed():
        write(config)
    return ShrunkRun(out)


def _trained(
    run: Callable[..., Run],
    check: Callable[[Any], Any],
    config_class: type,
    graph: Any,
    config: Any,
    resume: Any,
    settings: dict[str, Any],
    *,
    key: str,
    default: str | None = None,
    **hooks: Any,
) -> TrainedRun:
    """A run of a recipe. `key` is a setting that only its runs have, `default` the config where none is given."""
    if resume is not None:
        given = [*settings, *["config"] * (config is not None), *["the graph"] * (graph is not None)]
        if given:
            raise PmdError(f"resume: goes on with the run's own settings; leave out {', '.join(given)}")
        earlier = Run.open(os.fspath(resume), key=key)
        options = settings_of(config_class, earlier.folder / "config.yaml")
        options = settings_of(config_class, options, **{"data.path": earlier.data_path(options.data.path)})
    else:
        options, earlier = settings_of(config_class, config or default, **settings), None
        if graph is not None:
            data = data_settings(graph, options.runs, settings.get("data"))
            options = settings_of(config_class, options, data=data)
    check(options)
    with undisturbed():
        return TrainedRun(run(options, earlier, **hooks).folder)

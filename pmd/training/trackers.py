"""What a run also tells the trackers that people use: TensorBoard, MLflow, trackio and Weights & Biases.

They are those of `accelerate`. Each gets what metrics.jsonl and results.json get: the settings, flat; every line of training and
validation, with the stage before the name of a value (`teacher/loss`) and its step; the results of a stage
(`teacher/result/metrics/test/mrr`); the tables as Markdown, and a picture of all scores. A run that is resumed goes on in the same run of
the tracker. Of several processes the main one alone tells them.

TensorBoard and MLflow write to RUN/tracking, unless MLFLOW_TRACKING_URI names a server; trackio writes to its own store
(TRACKIO_DIR), and Weights & Biases sends to its server what it keeps in RUN/tracking.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import tracking

from pmd.core.errors import PmdError, first_line, warn
from pmd.core.results import StageResult
from pmd.core.run import flat

Number = (int, float)


class Tracker(ABC):
    """One tracker of a run folder. `known`: it was told of this run before, which goes on."""

    tracker: tracking.GeneralTracker
    name: str

    def __init__(self, project: str, run: Path):
        self.project, self.run, self.folder = project, run, run / "tracking" / self.name
        self.known = self.folder.is_dir()
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self, settings: Mapping[str, Any]) -> None:
        """Begin, or go on. The settings are told once."""
        getattr(self.tracker, "start", lambda: None)()  # an older `accelerate` starts it when it makes it
        if not self.known:
            self.tracker.store_init_configuration(dict(settings))

    def log(self, stage: str, values: Mapping[str, float], step: int | None) -> None:
        """Numbers of a stage, by the last part of their names."""
        self.tracker.log({f"{stage}/{name}": value for name, value in values.items()}, step=step)

    def table(self, name: str, markdown: str) -> None:
        """A table of all stages."""
        self.tracker.log({name: markdown})

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """A picture (height, width, 3) of bytes."""
        self.tracker.log_images({name: pixels[None]})

    def finish(self) -> None:
        self.tracker.finish()


class TensorBoard(Tracker):
    name = "tensorboard"

    def start(self, settings: Mapping[str, Any]) -> None:
        self.tracker = tracking.TensorBoardTracker(self.folder.name, self.folder.parent)
        super().start(settings)

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self.tracker.log_images({name: pixels[None]}, step=None, dataformats="NHWC")


class MLflow(Tracker):
    """A database and the files of one run; where the user has a server, a run there."""

    name = "mlflow"

    def start(self, settings: Mapping[str, Any]) -> None:
        import mlflow

        self.mlflow, place = mlflow, None
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self.own_store = not os.environ.get("MLFLOW_TRACKING_URI")  # MLflow sets it too, where a program says it
        if self.own_store:
            folder = self.folder.resolve()
            mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
            place = (folder / "artifacts").as_uri()
        note = self.folder / "run_id"
        self.known = note.is_file()
        run_id = note.read_text(encoding="utf-8") if self.known else None
        options = {"logging_dir": place, "run_id": run_id, "run_name": self.run.name}
        self.tracker = tracking.MLflowTracker(self.project, **options)
        super().start(settings)
        note.write_text(self.tracker.tracker.info.run_id, encoding="utf-8")

    def table(self, name: str, markdown: str) -> None:
        self.mlflow.log_text(markdown, f"{name}.md")

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self.mlflow.log_image(pixels, f"{name}.png")

    def finish(self) -> None:
        super().finish()
        if self.own_store:
            self.mlflow.set_tracking_uri(None)


class Trackio(Tracker):
    name = "trackio"

    def start(self, settings: Mapping[str, Any]) -> None:
        import trackio

        self.trackio, self.known = trackio, False  # it keeps the settings of the last start alone
        self.tracker = tracking.TrackioTracker(self.project, name=self.run.name, resume="allow", embed=False)
        super().start(settings)

    def table(self, name: str, markdown: str) -> None:
        self.tracker.log({name: self.trackio.Markdown(markdown)})

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self.tracker.log({name: self.trackio.Image(pixels)})

    def finish(self) -> None:
        self.trackio.finish()  # as `accelerate` does, and no second time when Python ends


class WeightsAndBiases(Tracker):
    """Its steps must rise over the whole run: the step of a stage is a value beside the others."""

    name = "wandb"

    def start(self, settings: Mapping[str, Any]) -> None:
        options = {"name": self.run.name, "id": self.run.name, "resume": "allow", "dir": str(self.folder)}
        self.tracker = tracking.WandBTracker(self.project, **options)
        super().start(settings)
        self.stages: set[str] = set()

    def log(self, stage: str, values: Mapping[str, float], step: int | None) -> None:
        if stage not in self.stages:
            self.stages.add(stage)
            self.tracker.tracker.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        super().log(stage, values if step is None else {"step": step, **values}, None)


TRACKERS: dict[str, type[Tracker]] = {kind.name: kind for kind in (TensorBoard, MLflow, Trackio, WeightsAndBiases)}


class Trackers:
    """The trackers of a run, for a `with` statement. One that fails while the run goes on is left out from then on, with a
    warning: the run's own files have everything.

    Args:
        names: of the trackers; none where this process does not tell any.
        project: what the tracker groups runs by.
        run: the run folder, whose name is the run's.
        settings: of the run, nested.
    """

    def __init__(self, names: Sequence[str], project: str, run: Path, settings: Mapping[str, Any]):
        self.settings = {key: shown(value) for key, value in flat(dict(settings)).items()}
        self.trackers = [TRACKERS[name](project, run) for name in names]

    def __enter__(self) -> Trackers:
        for tracker in self.trackers:
            try:
                with redirect_stdout(sys.stderr):  # trackio prints; standard output is the run's table alone
                    tracker.start(self.settings)
            except Exception as error:
                raise PmdError(
                    f"train.report_to: {tracker.name} does not start ({first_line(error)}); mend that, or leave it out"
                ) from error
        return self

    def __exit__(self, *exception: Any) -> None:
        self._tell(lambda tracker: tracker.finish())

    def line(self, *, stage: str, step: int, **values: Any) -> None:
        """A line of metrics.jsonl."""
        self._tell(lambda tracker: tracker.log(stage, numbers(values), step))

    def result(self, stage: str, result: StageResult) -> None:
        """What results.json holds of a stage."""
        values = {f"result/{key.replace('.', '/')}": value for key, value in flat(vars(result)).items()}
        self._tell(lambda tracker: tracker.log(stage, numbers(values), None))

    def tables(self, tables: Mapping[str, str], results: Mapping[str, StageResult]) -> None:
        """The tables by split, and a picture of the scores of the first split where matplotlib is installed."""
        for split, markdown in tables.items():
            self._tell(lambda tracker, split=split, markdown=markdown: tracker.table(f"table/{split}", markdown))
        pixels = picture_of_scores(results) if self.trackers else None
        if pixels is not None:
            self._tell(lambda tracker: tracker.picture("scores", pixels))

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        for tracker in [*self.trackers]:
            try:
                with redirect_stdout(sys.stderr):
                    call(tracker)
            except Exception as error:
                self.trackers.remove(tracker)
                warn(f"{tracker.name} is told no more ({first_line(error)}); the run goes on")


def shown(value: Any) -> Any:
    """A setting as trackers take it: text where it is neither a number nor text."""
    return value if isinstance(value, (*Number, str)) else json.dumps(value)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The values that are numbers."""
    return {name: value for name, value in values.items() if isinstance(value, Number) and not isinstance(value, bool)}


def scores_of(results: Mapping[str, StageResult]) -> tuple[str, dict[str, float]]:
    """The main metric, and its value on the first split by stage, or stage and width."""
    scores, metric = {}, ""
    for stage, result in results.items():
        by_width = result.by_width(result.splits[0])
        for width, metrics in by_width.items():
            metric = "mrr" if "mrr" in metrics else next(iter(metrics))
            scores[f"{stage}, width {width}" if len(by_width) > 1 else stage] = metrics[metric]
    return metric, scores


def picture_of_scores(results: Mapping[str, StageResult]) -> np.ndarray | None:
    """Pixels (height, width, 3) of a bar for each score; None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    metric, scores = scores_of(results)
    figure = Figure(figsize=(6, 1 + 0.3 * len(scores)), layout="constrained")
    axis = figure.add_subplot()
    axis.barh([*scores], [*scores.values()])
    axis.invert_yaxis()
    axis.set_xlabel(metric.upper())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()

"""How many epochs a model has behind it: its own, those of the model that its weights start from, and of its teacher.

`10 + 6 + 6, by grade4` is a model of 6 epochs that starts from a student of 6, which started from a teacher of 10 epochs; it is
taught by grade4. Where a model does not start from its teacher, the teacher's own epochs stand behind its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.text import resolve_stages
from pmd.settings.text import ProgressiveConfig


@dataclass(frozen=True)
class Origin:
    """Where a stage's weights come from.

    Args:
        epochs: its own; None for a model that is not trained.
        start: the stage that it starts from, or is cropped from.
        load: the folder that it is loaded from.
    """

    epochs: float | None = None
    start: str | None = None
    teacher: str | None = None
    load: str | None = None


def lineage(run: Run) -> dict[str, str]:
    """The epochs of the finished stages of a run, in words."""
    origins = _origins(run)
    return {stage: _described(stage, origins, run) for stage in run.finished}


def _described(stage: str, origins: dict[str, Origin], run: Run) -> str:
    origin, text = origins[stage], " + ".join(_epochs(stage, origins, run))
    if origin.teacher is None:
        return text
    if origin.teacher == origin.start or origin.teacher not in origins:
        return f"{text}, by {origin.teacher}"
    return f"{text}, by {origin.teacher} ({' + '.join(_epochs(origin.teacher, origins, run))})"


def _epochs(stage: str, origins: dict[str, Origin], run: Run) -> list[str]:
    """The epochs behind a stage, the earliest first."""
    origin = origins[stage]
    if origin.load:
        return _epochs_of_loaded(run, Path(origin.load))
    before = _epochs(origin.start, origins, run) if origin.start else []
    return [*before, f"{origin.epochs:g}"] if origin.epochs else before or ["?"]


def _epochs_of_loaded(run: Run, model: Path) -> list[str]:
    """Those of a model of another run, which lies where it was or beside this run."""
    for folder in (model, run.folder.parent / Path(*model.parts[-2:])):
        other = Run(folder.parent)
        if (folder.parent / "config.yaml").is_file() and folder.name in other.finished:
            return _epochs(folder.name, _origins(other), other)
    return ["a loaded model"]


def _origins(run: Run) -> dict[str, Origin]:
    """The origins of the stages of a run."""
    settings = run.settings
    if "encoder" in settings:
        return _text_origins(run)
    listed = {stage["name"]: stage for stage in settings.get("stages") or ()}
    return {name: _origin(result, listed.get(name, {})) for name, result in run.results.items()}


def _text_origins(run: Run) -> dict[str, Origin]:
    """Text models start from their teacher's layers, or from the checkpoint's."""
    config = read_config(ProgressiveConfig, ["--config", str(run.folder / "config.yaml")])
    layers = [result.layers for result in run.results.values() if result.layers is not None]
    if not layers:
        raise PmdError(f"'{run.folder}' has no finished stage; let its command finish first")
    others = {name: _origin(result, {}) for name, result in run.results.items()}  # of an embedding, and of both fused
    return others | {
        stage.name: Origin(
            stage.epochs,
            stage.teacher if stage.init == "teacher" else None,
            stage.teacher if stage.teacher != "none" else None,
            stage.load,
        )
        for stage in resolve_stages(config, max(layers))
    }


def _origin(result: Any, stage: dict[str, Any]) -> Origin:
    """Of an embedding model or a BERT, whose result says most."""
    start = stage.get("crop") or result.start
    return Origin(result.epochs, None if start == "pretrained" else start, result.teacher, stage.get("load"))

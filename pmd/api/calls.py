"""The commands that take a trained model, as functions: arguments are the commands' options, results are typed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd.api.graphs import in_memory
from pmd.api.settings import settings_of
from pmd.api.state import undisturbed
from pmd.settings.shared import EvaluateConfig

if TYPE_CHECKING:
    from pmd.recipes.evaluate import ModelMetrics

Folder = str | os.PathLike[str]


def evaluate(model: Folder | Sequence[Folder], graph: Any = None, **settings: Any) -> list[ModelMetrics]:
    """Rank splits with trained models, as `pmd evaluate` does: a record for each model and split.

    Args:
        model: a stage's folder, or several.
        graph: a graph, or what names one; by default that of the run of the first model.
        settings: as `evaluation={"split": "valid"}`.
    """
    from pmd.core.quiet import quiet
    from pmd.recipes.evaluate import measure_models

    held = None
    if isinstance(graph, (str, os.PathLike)):
        settings["data"] = {**(settings.get("data") or {}), "path": os.fspath(graph)}
    elif graph is not None:
        held = in_memory(graph, settings.get("data") or {})
    models = [model] if isinstance(model, (str, os.PathLike)) else [*model]
    config = settings_of(EvaluateConfig, model=models, **settings)
    with undisturbed():
        quiet()
        return measure_models(config, held)


def crop(model: Folder, width: int, out: Folder, **settings: Any) -> Path:
    """The leading dimensions of a model as a folder of its own, as `pmd crop` writes it; returns the folder."""
    from pmd.recipes.crop import CropConfig
    from pmd.recipes.crop import crop as write

    return _folder(write, settings_of(CropConfig, model=model, width=width, out=out, **settings), out)


def export(model: Folder, to: str, out: Folder, **settings: Any) -> Path:
    """A model for other programs, as `pmd export` writes it; returns the folder."""
    from pmd.recipes.export import ExportConfig
    from pmd.recipes.export import export as write

    return _folder(write, settings_of(ExportConfig, model=model, to=to, out=out, **settings), out)


def push(model: Folder, repo: str, **settings: Any) -> str:
    """Publish a model on the Hugging Face Hub, as `pmd push` does; returns what was sent, and where."""
    from pmd.recipes.push import PushConfig, publish

    config = settings_of(PushConfig, model=model, repo=repo, **settings)
    with undisturbed():
        return publish(config)


def report(run: Folder | Sequence[Folder], **settings: Any) -> list[Path]:
    """A web page about one run or several, as `pmd report` writes it; returns its files."""
    from pmd.reports.write import ReportConfig
    from pmd.reports.write import report as write

    runs = [run] if isinstance(run, (str, os.PathLike)) else [*run]
    config = settings_of(ReportConfig, run=runs, **settings)
    with undisturbed():
        return write(config)


def _folder(write: Any, config: Any, out: Folder) -> Path:
    with undisturbed():
        write(config)
    return Path(out)

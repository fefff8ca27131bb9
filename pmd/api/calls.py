"""The commands that take a trained model, as functions: arguments are the commands' options, results are typed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmd.api.graphs import data_settings, in_memory
from pmd.api.settings import settings_of
from pmd.api.state import undisturbed
from pmd.api.trained import TrainedRun
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

    Returns:
        Records: `.model`, `.split`, `.metrics` (`RankingMetrics`), `.rate` (queries a second), `.parameters`.

    Raises:
        PmdError: if there is no such model, graph or split.

    Example:
        >>> [record] = pmd.evaluate("runs/world-…/grade1", evaluation={"split": "valid"})
        >>> 0 < record.metrics.mrr <= 1
        True
    """
    from pmd.core.quiet import quiet
    from pmd.recipes.evaluate import measure_models

    held = None
    if isinstance(graph, (str, os.PathLike)):
        settings["data"] = data_settings(graph, "", settings.get("data"))
    elif graph is not None:
        held = in_memory(graph, settings.get("data") or {})
    models = [model] if isinstance(model, (str, os.PathLike)) else [*model]
    config = settings_of(EvaluateConfig, model=models, **settings)
    with undisturbed():
        quiet()
        return measure_models(config, held)


def update(model: Folder, graph: Any = None, out: Folder | None = None, **settings: Any) -> TrainedRun | Path:
    """Bring a trained model to a newer state of its graph, as `pmd update` does.

    Args:
        model: a run folder, a stage's folder, or a Hub id.
        graph: the newer graph, or what names one; by default what is now in the place of the run's.
        out: the new folder; by default MODEL-updated.
        settings: as `max_facts=0`.

    Returns:
        The new run, or the folder of a model that is in no run.

    Raises:
        PmdError: if the model cannot take what is new.

    Example:
        >>> run = pmd.train("my_graph")
        >>> index = pmd.load(run).index  # says later what is new
        >>> with open("my_graph/train.tsv", "a", encoding="utf-8") as file:
        ...     _ = file.write("territory:AT\\tspoken_language\\tlanguage:en\\n")
        >>> newer = pmd.update(run, out="newer")
    """
    from pmd.recipes.update.command import UpdateConfig, default_out
    from pmd.recipes.update.command import update as write
    from pmd.use.locate import locate

    stage, revision = settings.get("stage"), settings.get("revision")
    out = Path(out or default_out(os.fspath(model), locate(os.fspath(model), stage, revision)))
    if graph is not None:
        settings["data"] = data_settings(graph, os.fspath(out.parent), settings.get("data"))
    config = settings_of(UpdateConfig, model=model, out=out, **settings)
    with undisturbed():
        write(config)
    return TrainedRun(out) if (out / "config.yaml").is_file() else out


def crop(model: Folder, width: int, out: Folder, **settings: Any) -> Path:
    """The leading dimensions of a model as a folder of its own, as `pmd crop` writes it.

    Args:
        model: a run folder, a stage's folder, or a Hub id.
        width: how many dimensions.
        out: the new folder.
        settings: the other options of `pmd crop`.

    Returns:
        The folder `out`.

    Raises:
        PmdError: for a width that the model has not.

    Example:
        >>> folder = pmd.crop("runs/world-rotate-…", 16, "small")
        >>> pmd.load(folder).answer(head="Austria", relation="official language", top_k=3).answers[0].rank
        1
    """
    from pmd.recipes.crop import CropConfig
    from pmd.recipes.crop import crop as write

    return _folder(write, settings_of(CropConfig, model=model, width=width, out=out, **settings), out)


def export(model: Folder, to: str, out: Folder, **settings: Any) -> Path:
    """A model for other programs, as `pmd export` writes it.

    Args:
        model: a run folder, a stage's folder, or a Hub id.
        to: the form, such as `onnx`, `sentence-transformers`, `embeddings` or `parquet`.
        out: the new folder.
        settings: the other options of `pmd export`.

    Returns:
        The folder `out`, with a README that says how it is read.

    Raises:
        PmdError: for a form that such a model has not.

    Example:
        >>> folder = pmd.export("runs/world-rotate-…", "embeddings", "vectors")
        >>> (folder / "README.md").is_file()
        True
    """
    from pmd.recipes.exporting.export import ExportConfig
    from pmd.recipes.exporting.export import export as write

    return _folder(write, settings_of(ExportConfig, model=model, to=to, out=out, **settings), out)


def push(model: Folder, repo: str, **settings: Any) -> str:
    """Publish a model on the Hugging Face Hub, as `pmd push` does.

    Args:
        model: a run folder, a stage's folder, or the folder of an export.
        repo: `user/name`.
        settings: the other options of `pmd push`.

    Returns:
        What was sent, and where.

    Raises:
        PmdError: without a login, and for folders that are no model.

    Example:
        >>> said = pmd.push("runs/world-…", "user/name", dry_run=True, out="card")  # writes what would be sent
    """
    from pmd.recipes.push import PushConfig, publish

    config = settings_of(PushConfig, model=model, repo=repo, **settings)
    with undisturbed():
        return publish(config)


def report(run: Folder | Sequence[Folder], **settings: Any) -> list[Path]:
    """A web page about one run or several, as `pmd report` writes it.

    Args:
        run: a run folder, or several.
        settings: the other options of `pmd report`.

    Returns:
        The files, the page first.

    Raises:
        PmdError: for folders that are no runs.

    Example:
        >>> [file.name for file in pmd.report("runs/world-rotate-…")]
        ['report.html', 'report.md']
    """
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

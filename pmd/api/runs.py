"""Training from Python: `pmd.progressive`, `pmd.train` and `pmd.glue`, and what puts trained models together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from pmd.api.graphs import data_settings
from pmd.api.settings import settings_of
from pmd.api.state import undisturbed
from pmd.api.trained import ShrunkRun, TrainedRun
from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.settings.glue import GlueConfig
from pmd.settings.kge import KgeConfig
from pmd.settings.text import ProgressiveConfig


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

    Returns:
        The run: `.metrics()`, `.load()`, `.to_pandas()`, `.plot_validation()`.

    Raises:
        PmdError: for settings or data that cannot be used.

    Example:
        >>> run = pmd.progressive("my_graph", train={"epochs": 3})
        >>> run.stages[-1]
        'fused'
        >>> answers = run.load("grade1").answer(head="Austria", relation="official language")
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

    Args:
        graph: a graph, or what names one (see `pmd.load_graph`); by default that of the config.
        config: a `KgeConfig`, a YAML file or the name of a bundled config, as `kge/world_complex`.
        resume: a run folder to go on with; no graph and no settings are given then.
        callback: called with the values of every line of metrics.jsonl, such as losses and validation.
        teacher: anything with `score_all(triples, target)` -> (b, entities): one student of width `model.dim` learns from its
            scores, as logits, besides the labels (`dual.alpha`); or every stage that names the teacher `own` does.
        settings: what differs from the config, as `model={"dim": 64}`.

    Returns:
        The run: `.metrics()`, `.load()`, `.to_pandas()`, `.plot_validation()`.

    Raises:
        PmdError: for settings or data that cannot be used.

    Example:
        >>> run = pmd.train("my_graph", model={"dim": 64, "widths": [16, 64]}, train={"epochs": 50})
        >>> run.to_pandas()["width"].tolist()
        [16, 64]
        >>> figure = run.plot_widths()
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
    """Fine-tune a BERT and its sub-models on a GLUE task, as `pmd glue` does.

    Args:
        task: such as `stsb`; by default that of the config.
        config: a `GlueConfig`, a YAML file or the name of a bundled config; by default `glue/bert_base`.
        resume: a run folder to go on with; no task and no settings are given then.
        callback: called with the values of every line of metrics.jsonl, such as losses and validation.
        settings: what differs from the config, as `train={"epochs": 3}`.

    Returns:
        The run: `.metrics()`, `.to_pandas()`, `.plot_widths("accuracy")`.

    Raises:
        PmdError: for settings or data that cannot be used.

    Example:
        >>> run = pmd.glue("rte", model={"name": "bert", "widths": [16, 32], "max_length": 32}, data={"path": "glue"})
        >>> run.stages
        ['finetune', 'med']
    """
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
        graph: a graph, or what names one; by default that of the text model's run.
        settings: as `weights="common"`.

    Returns:
        The run in `out`.

    Raises:
        PmdError: for models of other graphs, and for scores that are no inner products.

    Example:
        >>> text = pmd.progressive("my_graph", structure=None)
        >>> structure = pmd.train("my_graph", "fit/embedding")
        >>> pmd.fuse(text, structure, "both").stages
        ['fused']
    """
    from pmd.recipes.fuse import fuse as write
    from pmd.settings.fuse import FuseConfig

    if graph is not None:
        settings["data"] = data_settings(graph, os.path.dirname(os.fspath(out)), settings.get("data"))
    config = settings_of(FuseConfig, text=text, structure=structure, out=out, **settings)
    with undisturbed():
        write(config)
    return TrainedRun(out)


def shrink(run: str | os.PathLike[str], out: str | os.PathLike[str], graph: Any = None, **settings: Any) -> ShrunkRun:
    """Find the smallest model of a run that keeps enough of its teacher and write it, as `pmd shrink` does.

    Args:
        run: the folder of a run of text models.
        out: the new folder, a run with one model.
        graph: a graph, or what names one; by default that of the run.
        settings: as `keep=0.95` or `max_mb=2`.

    Returns:
        The run in `out`: `.chosen`, `.candidates`, `.keeps_on_test`.

    Raises:
        PmdError: if no model of the run keeps so much within the limits.

    Example:
        >>> small = pmd.shrink("runs/world-…", "small", keep=0.9)
        >>> len(small.stages)
        1
    """
    from pmd.reports.shrink import shrink as write
    from pmd.settings.shrink import ShrinkConfig

    if graph is not None:
        settings["data"] = data_settings(graph, os.path.dirname(os.fspath(out)), settings.get("data"))
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

"""Pictures of a run of embedding models, from what its folder holds; here those that DistilE draws.

- `widths` (its Figure 1): MRR, parameters and ranking time by width, of the models without a teacher; of a croppable
  one, MRR and parameters of its widths (MED's Figures 3 and 6).
- `epochs` (its Figure 3): validation MRR by epoch of a student with and without a teacher, with the start of
  stage 2 marked; of a run without such students, a line for each model, for the widths of a croppable one, or for
  each of several croppable ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pmd.core.errors import PmdError
from pmd.recipes.tables import by_width as metrics_by_width
from pmd.report.curves import OF_WIDTH, Curve, curves
from pmd.report.figure_methods import by_method, by_retention, read_results, title
from pmd.report.plotting import figure, look, name_axes, whole_ticks, width_axis
from pmd.settings.kge import KgeConfig, KgeStageConfig
from pmd.settings.kge_stages import resolve_kge_stages
from pmd.settings.parse import read_config

USERS = {"dim": ["epochs"], "widths": ["tsne"], "rows": ["methods", "retention", "tsne"], "types": ["tsne"]}
"""Options that only these pictures have a use for."""


@dataclass
class FigureConfig:
    """Draw a figure of a run of embedding models.

    Args:
        run: a run folder of `pmd train`; for `methods` and `retention`, a folder of `pmd table med`; for `tsne`, either.
        what: `widths`: MRR, parameters and time by width; `epochs`: MRR by epoch, with and without a teacher;
            `methods`: MRR by width and method; `retention`: how much of what narrow models answer wide ones answer too,
            by method; `tsne`: entities by type, laid out by their embeddings at several widths.
        out: the file to write; by default WHAT.png in the run folder.
        dim: width of the student in `epochs`; by default the widest that has a teacher.
        widths: the columns of `tsne`; by default the narrowest, the middle one and the widest.
        rows: the methods in `methods` and `retention`, by default all; the models (methods) in `tsne`, by default the
            croppable ones, or the first of a table, DualDE and Ext-V.
        types: a file for `tsne`, a line ENTITY<TAB>TYPE each; by default what stands before the colon of an id.
    """

    run: str
    what: Literal["widths", "epochs", "methods", "retention", "tsne"] = "epochs"
    out: str | None = None
    dim: int | None = None
    widths: list[int] | None = None
    rows: list[str] | None = None
    types: str | None = None


def draw(config: FigureConfig) -> Path:
    """Draw the picture and return its file.

    Raises:
        PmdError: if there is no such run, or if it does not hold what the picture shows.
    """
    for option, users in USERS.items():
        if getattr(config, option) is not None and config.what not in users:
            raise PmdError(
                f"--{option}: the picture '{config.what}' has no use for it (but {', '.join(users)}); leave it out"
            )
    folder = Path(config.run)
    path = Path(config.out) if config.out else folder / f"{config.what}.png"
    if config.what in ("methods", "retention"):
        (by_method if config.what == "methods" else by_retention)(folder, config.rows, path)
        return path
    if config.what == "tsne":
        from pmd.papers.figure_types import by_type  # loads torch, as the others do not

        by_type(folder, config.rows, config.widths, config.types, path)
        return path
    if not (folder / "config.yaml").is_file():
        raise PmdError(f"--run: '{folder}' is not a run folder (it has no config.yaml)")
    settings = read_config(KgeConfig, ["--config", str(folder / "config.yaml")])
    stages = resolve_kge_stages(settings)
    if config.what == "widths":
        by_width(read_results(folder), stages, settings, path)
    else:
        epochs = {name: result.get("epochs") for name, result in read_results(folder).items()}
        by_epoch(curves(folder), stages, config.dim, settings, path, epochs)
    return path


TAUGHT = "taught, both stages"


def by_width(results: dict[str, dict[str, Any]], stages: list[KgeStageConfig], settings: KgeConfig, path: Path) -> None:
    """Panels over the width: MRR, sizes and, where models of several widths were timed, ranking times; lines of models
    that were trained alone, of taught ones, and of each croppable one."""
    split = settings.evaluation.splits[0]
    crops = [stage.name for stage in stages if stage.crop]
    done = {name: result for name, result in results.items() if "rank_seconds" in result and name not in crops}
    whole = {name: result for name, result in done.items() if "widths" not in result}
    lines = {
        "trained alone": [result for result in whole.values() if not result["teacher"]],
        TAUGHT: [result for result in whole.values() if result["released"] and result.get("start")],
        **{f"{name}, croppable": [result] for name, result in done.items() if "widths" in result},
    }
    points = {name: places(of, split) for name, of in lines.items() if of}
    known = {width for name, of in points.items() if name != TAUGHT for width in of}
    if len(known) < 2:
        raise PmdError(
            f"--run: the finished models without a teacher have {len(known)} widths; the picture needs two or more"
        )
    widths = sorted({width for of in points.values() for width in of})
    timed = {width for of in points.values() for width, (*_, seconds) in of.items() if not math.isnan(seconds)}
    panels = [f"MRR, {split}", "parameters (thousands)", f"ranking {split} (s)"][: 3 if len(timed) > 1 else 2]
    with figure(path, len(panels), size=(4.4, 3.6)) as axes:
        for panel, (axis, name) in enumerate(zip(axes, panels)):
            ticks = width_axis(axis, widths)
            for place, (label, of) in enumerate(points.items()):
                values = [measured[panel] for measured in of.values()]
                marked = [i for i, width in enumerate(of) if width in ticks]
                axis.plot([*of], values, linewidth=2, label=label, markevery=marked, **look(place))
            axis.set_ylim(bottom=0)
            name_axes(axis, "width", name, title(settings) if not panel else None)
        if [*points] != ["trained alone"]:
            axes[0].legend(frameon=False, fontsize=11)


def places(results: list[dict[str, Any]], split: str) -> dict[int, tuple[float, float, float]]:
    """MRR, thousands of parameters and ranking seconds by width, ascending; a croppable model was timed in its full
    width alone, so that of others there is NaN."""
    found = {}
    for result in results:
        dim = result["dim"]
        for width, metrics in metrics_by_width(result, split).items():
            seconds = result["rank_seconds"][split] if int(width) == dim else math.nan
            found[int(width)] = (metrics["mrr"], result["parameters"] * int(width) / dim / 1000, seconds)
    return dict(sorted(found.items()))


def by_epoch(
    found: dict[str, Curve],
    stages: list[KgeStageConfig],
    dim: int | None,
    settings: KgeConfig,
    path: Path,
    epochs: dict[str, int],
) -> None:
    """One line for the student alone, one for the taught one through both stages."""
    second = [stage for stage in stages if stage.release and stage.start and stage.name in found]
    second = [stage for stage in second if dim in (None, stage.dim) and stage.start in found]
    if not second and dim is not None:
        raise PmdError(f"--dim: no student of width {dim} with both stages and a validation in this run")
    if not second:
        return every_curve(found, settings, path)
    last = max(second, key=lambda stage: stage.dim)
    first = next(stage for stage in stages if stage.name == last.start)
    start = epochs.get(first.name) or first.epochs  # it may have stopped early
    alone = [s for s in stages if not s.teacher and s.dim == last.dim and s.name in found]
    taught = {**found[first.name], **{epoch + start: value for epoch, value in found[last.name].items()}}
    with figure(path) as axis:
        draw_curve(axis, 0, "with a teacher", taught)
        for stage in alone:
            draw_curve(axis, 1, "alone", found[stage.name])
        axis.axvline(start, color="#555555", linestyle="--", linewidth=1.2)
        axis.annotate(
            "stage 2",
            (start, 0.95),
            xycoords=("data", "axes fraction"),
            xytext=(5, 0),
            textcoords="offset points",
            color="#555555",
            fontsize=11,
        )
        axis.set_xlim(left=0)
        whole_ticks(axis)
        axis.legend(frameon=False, fontsize=11)
        name_axes(axis, "epoch", "MRR, validation", f"{title(settings)}, width {last.dim}")


SHOWN = 6
"""Curves in one picture, at most: more could not be told apart."""


def every_curve(found: dict[str, Curve], settings: KgeConfig, path: Path) -> None:
    """One line for each model; of a run with a croppable one for some of its widths, the narrowest and the widest among
    them; of a run with several for each of those."""
    if not found:
        raise PmdError(
            "--run: nothing was validated yet (train.valid_every); go on with --resume, or train with it set"
        )
    widths = {name: curve for name, curve in found.items() if OF_WIDTH in name}
    croppable = [*dict.fromkeys(name.partition(OF_WIDTH)[0] for name in widths)]
    if len(croppable) > 1:
        widths = {f"{name}, mean of widths": found[name] for name in croppable}
    chosen = list((widths or found).items())
    if len(chosen) > SHOWN:
        step = (len(chosen) - 1) / (SHOWN - 1)
        chosen = [chosen[round(step * i)] for i in range(SHOWN)]
    with figure(path) as axis:
        for place, (name, curve) in enumerate(chosen):
            draw_curve(axis, place, name, curve)
        axis.set_xlim(left=0)
        whole_ticks(axis)
        axis.legend(frameon=False, fontsize=11)
        name_axes(axis, "epoch", "MRR, validation", title(settings))


def draw_curve(axis: Any, place: int, name: str, curve: Curve) -> None:
    """A line with about eight marks."""
    marked = max(1, len(curve) // 8)
    axis.plot(*zip(*sorted(curve.items())), linewidth=2, label=name, markevery=marked, **look(place))

"""The command `pmd figure`: Figures 1 and 3 of DistilE here, those of MED (Zhu et al., ACL 2025) in modules of their own,
from what the folder of a run or a table holds.

- `widths` (DistilE's Figure 1): MRR, parameters and ranking time by width, of the models without a teacher; of a
  croppable one, MRR and parameters of its widths (MED's Figures 3 and 6).
- `epochs` (DistilE's Figure 3): validation MRR by epoch of a student with and without a teacher, with the start of
  stage 2 marked; of a run without such students, a line for each model, for the widths of a croppable one, or for
  each of several croppable ones.
- `methods`, `retention` (MED's Figures 3 and 5) and `tsne` (its Figure 7).
- `shrink`: what `pmd shrink` compared, drawn again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.evaluation.tables import parameters_at
from pmd.reports.figure_methods import by_method, by_retention, title
from pmd.reports.pictures import SHOWN, draw_lines, evenly_spaced, figure, lines, name_axes
from pmd.reports.record import OF_WIDTH, Curve, curves
from pmd.settings.catalogue import FAMILIES
from pmd.settings.kge import KgeConfig
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.kge import resolve_kge_stages

USERS = {"dim": ["epochs"], "widths": ["tsne"], "rows": ["methods", "retention", "tsne"], "types": ["tsne"]}
"""The pictures that have a use for an option."""
TAUGHT = "taught, both stages"
SIZE = (6.4, 4.0)
"""Inches."""


@dataclass
class FigureConfig:
    """Draw a figure of a run of embedding models, or of what `pmd shrink` compared.

    Args:
        run: a run folder of `pmd train`; for `methods` and `retention`, a folder of `pmd table med`; for `tsne`, either; for
            `shrink`, a folder with the shrink.json of `pmd shrink`.
        what: `widths`: MRR, parameters and time by width; `epochs`: MRR by epoch, with and without a teacher;
            `methods`: MRR by width and method; `retention`: how much of what narrow models answer wide ones answer too,
            by method; `tsne`: entities by type, laid out by their embeddings at several widths; `shrink`: MRR by megabytes and by
            milliseconds. The numbers of `tsne` stand in a table beside it (WHAT.md), those of `methods` and `retention` in the table.md
            of their folder.
        out: the file to write; by default WHAT.png in the run folder.
        dim: width of the student in `epochs`; by default the widest that has a teacher.
        widths: the widths, in dimensions, that are the columns of `tsne`; by default the narrowest, the middle one and the widest.
        rows: the methods in `methods` and `retention`, by default all; the models (methods) in `tsne`, by default the
            croppable ones, or the first of a table, DualDE and Ext-V.
        types: a file for `tsne`, a line ENTITY<TAB>TYPE each; by default what stands before the colon of an id.
    """

    run: str
    what: Literal["widths", "epochs", "methods", "retention", "tsne", "shrink"] = "epochs"
    out: str | None = None
    dim: int | None = None
    widths: list[int] | None = None
    rows: list[str] | None = None
    types: str | None = None


def draw(config: FigureConfig) -> Path:
    """Draw the picture and return its file. PmdError if there is no such run, or if it does not hold what the picture
    shows."""
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
    if config.what == "shrink":
        from pmd.recipes.shrink.candidates import Shrunk
        from pmd.reports.shrink_picture import picture

        picture(path, Shrunk.read(folder))
        return path
    run = Run(folder)
    if (folder / "config.yaml").is_file() and FAMILIES["embedding"].key not in run.settings:
        raise PmdError(f"--run: '{folder}' is no run of embedding models; `pmd report` draws the curves of the others")
    if config.what == "tsne":
        from pmd.papers.figure_types import by_type  # loads torch, as the others do not

        by_type(folder, config.rows, config.widths, config.types, path)
        return path
    if not (folder / "config.yaml").is_file():
        raise PmdError(f"--run: '{folder}' is not a run folder (it has no config.yaml)")
    settings, results = read_config(KgeConfig, ["--config", str(folder / "config.yaml")]), run.results
    if config.what == "widths":
        by_width(results, settings, path)
    else:
        by_epoch(curves(folder), settings, results, config.dim, path)
    return path


def by_width(results: Mapping[str, StageResult], settings: KgeConfig, path: Path) -> None:
    """Panels over the width: MRR, sizes and, where models of several widths were timed, ranking times; lines of models
    that were trained alone, of taught ones, and of each croppable one."""
    split = settings.evaluation.splits[0]
    crops = [stage.name for stage in resolve_kge_stages(settings) if stage.crop]
    timed = {name: result for name, result in results.items() if result.rank_seconds and name not in crops}
    one_width = [result for result in timed.values() if not result.widths]
    models = {
        "trained alone": [result for result in one_width if not result.teacher],
        TAUGHT: [result for result in one_width if result.released and result.start],
        **{f"{name}, croppable": [result] for name, result in timed.items() if result.widths},
    }
    measured = {label: measures_by_width(results, split) for label, results in models.items() if results}
    without_teacher = {width for label, by_width in measured.items() if label != TAUGHT for width in by_width}
    if len(without_teacher) < 2:
        raise PmdError(
            f"--run: the finished models without a teacher have {len(without_teacher)} widths; "
            "the picture needs two or more"
        )
    known = {width for by_width in measured.values() for width, (*_, s) in by_width.items() if not math.isnan(s)}
    panels = [f"MRR, {split}", "parameters (thousands)", f"ranking {split} (s)"][: 3 if len(known) > 1 else 2]
    with figure(path, len(panels), size=(4.4, 3.6)) as axes:
        for i, (axis, name) in enumerate(zip(axes, panels)):
            series = {label: {w: values[i] for w, values in by_width.items()} for label, by_width in measured.items()}
            draw_lines(axis, series, widths=True)
            axis.set_ylim(bottom=0)
            name_axes(axis, "width", name, None if i else title(settings))
        if [*measured] != ["trained alone"]:
            axes[0].legend(frameon=False, fontsize=11)


def measures_by_width(models: Sequence[StageResult], split: str) -> dict[int, tuple[float, float, float]]:
    """MRR, thousands of parameters and ranking seconds by width; a croppable model was timed in its full width alone, so
    its other widths have NaN seconds."""
    return {
        width: (
            metrics["mrr"],
            parameters_at(result, width) / 1000,
            result.rank_seconds[split] if width == result.dim else math.nan,
        )
        for result in models
        for width, metrics in result.by_width(split).items()
    }


def by_epoch(
    validations: Mapping[str, Curve],
    settings: KgeConfig,
    results: Mapping[str, StageResult],
    dim: int | None,
    path: Path,
) -> None:
    """One line for the student alone, one for the taught one through both stages."""
    stages = {stage.name: stage for stage in resolve_kge_stages(settings) if stage.name in validations}
    second = [stage for stage in stages.values() if stage.release and stage.start in stages]
    second = [stage for stage in second if dim in (None, stage.dim)]
    if not second and dim is not None:
        raise PmdError(f"--dim: no student of width {dim} with both stages and a validation in this run")
    if not second:
        return every_curve(validations, settings, path)
    last = max(second, key=lambda stage: stage.dim)
    # Stage 1 may have stopped early.
    start = (last.start in results and results[last.start].epochs) or stages[last.start].epochs
    taught = {**validations[last.start], **{epoch + start: mrr for epoch, mrr in validations[last.name].items()}}
    alone = [name for name, stage in stages.items() if not stage.teacher and stage.dim == last.dim]
    series = {"with a teacher": taught}
    series |= {"alone" if len(alone) == 1 else f"{name}, alone": validations[name] for name in alone}
    with figure(path, size=SIZE) as axis:
        draw_lines(axis, series)
        axis.axvline(start, color="#555555", linestyle="--", linewidth=1.2)
        beside = {"xycoords": axis.get_xaxis_transform(), "xytext": (5, 0), "textcoords": "offset points"}
        axis.annotate("stage 2", (start, 0.02), color="#555555", fontsize=11, **beside)
        axis.legend(frameon=False, fontsize=11)
        name_axes(axis, "epoch", "MRR, validation", f"{title(settings)}, width {last.dim}")


def every_curve(validations: Mapping[str, Curve], settings: KgeConfig, path: Path) -> None:
    """One line for each model; of a run with a croppable one for some of its widths, the narrowest and the widest among
    them; of a run with several for each of those."""
    if not validations:
        raise PmdError(
            "--run: nothing was validated yet (train.valid_every); go on with --resume, or train with it set"
        )
    widths = {name: curve for name, curve in validations.items() if OF_WIDTH in name}
    croppable = [*dict.fromkeys(name.partition(OF_WIDTH)[0] for name in widths)]
    if len(croppable) > 1:
        widths = {f"{name}, mean of widths": validations[name] for name in croppable}
    shown = dict(evenly_spaced([*(widths or validations).items()], SHOWN))
    lines(path, shown, "epoch", "MRR, validation", title=title(settings), size=SIZE)

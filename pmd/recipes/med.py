"""MED beside its rivals: methods by widths (Table 3 of Zhu et al., ACL 2025), with what their training takes (Table 7)
and what wide models retain of narrow ones (Figure 5).

A config says what all share, which settings each width has of its own, and which ways of training one croppable model are
compared. From that come the stages of a run, one for each method and width:

- `DT`: trained alone; the widest is the teacher of the others;
- `Ext`, `Ext-L`, `Ext-V`: its leading dimensions, as they are, ordered by the loss without them, or by their size;
- `BKD`: soft labels of the teacher; `TA`: of a middle-sized student of it; `IterDE`: of the next wider student;
- `DualDE`: in two stages, the second with the teacher released;
- and the croppable ones, each a single model of all widths.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.kge_config import KgeConfig, KgeStageConfig, Loss
from pmd.core.kge_stages import check_kge_run
from pmd.core.med import RECIPES, MedConfig, check_widths
from pmd.core.run import write_json, write_text
from pmd.evaluation.retention import Retained, ratio
from pmd.recipes.kge import train_kge
from pmd.recipes.med_rows import TITLES, Method, retained_by, training_seconds
from pmd.recipes.repeat import finished_run, spread
from pmd.recipes.tables import by_width, markdown

ORDERS = {"ext": None, "ext_l": "loss", "ext_v": "value"}


@dataclass(kw_only=True)
class OwnSettings:
    """What models of a table may have of their own, as in a stage. Null is that of the run."""

    lr: float | None = None
    margin: float | None = None
    scale: float | None = None
    constraint: float | None = None
    adversarial: float | None = None
    loss: Loss | None = None


@dataclass(kw_only=True)
class WidthConfig(OwnSettings):
    """Settings of the models of one width.

    Args:
        width: which.
        methods: of these alone, which then take nothing from an entry for all; null for whatever teaches them.
        lr, margin, scale, constraint, adversarial, loss: as in a stage; null is that of the run.
    """

    width: int
    methods: list[Method] | None = None


@dataclass(kw_only=True)
class CroppableConfig(OwnSettings):
    """One way to train all widths in one model.

    Args:
        name: its row.
        widths: of its sub-models, the columns of the table among them; null for just those.
        med: how the widths learn together; null is `base.med`.
        lr, margin, scale, constraint, adversarial, loss: as in a stage; null is that of the run.
    """

    name: str
    widths: list[int] | None = None
    med: MedConfig | None = None


@dataclass
class MedTableConfig:
    """Methods by widths for one graph and one interaction, over several seeds.

    Args:
        base: what all share, as for `scripts/train.py`; `base.model.widths` are the columns.
        methods: the rivals; `dt` is always among them.
        tuned: settings of single widths, of all methods or of some; the croppable ones have their own.
        croppable: the croppable models, a row each.
        seeds: of the runs.
        out: folder of the runs and the table; the same command goes on where it was stopped.
    """

    base: KgeConfig = field(default_factory=KgeConfig)
    methods: list[Method] = field(default_factory=lambda: list(TITLES))
    tuned: list[WidthConfig] = field(default_factory=list)
    croppable: list[CroppableConfig] = field(
        default_factory=lambda: [CroppableConfig(name="best"), CroppableConfig(name="joint", med=MedConfig("joint"))]
    )
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    out: str = "runs/med"


Results = dict[str, dict[int, list[dict[str, Any]]]]
"""Results of the seeds by row and width."""
Retention = dict[str, list[dict[str, Retained]]]
"""What is retained, by row, seed and the narrowest width that answers."""


def med_table(config: MedTableConfig) -> str:
    """Train everything that is not there yet; the tables in Markdown.

    Raises:
        PmdError: for settings that cannot work, before anything starts.
    """
    check_table(config)
    widths = config.base.model.widths
    settings = run_settings(config)
    check_kge_run(settings)
    results: Results = {}
    retention: Retention = {}
    seconds: dict[str, list[float]] = {}
    for seed in config.seeds:
        print(f"== seed {seed}", file=sys.stderr, flush=True)
        folder = Path(config.out) / f"seed{seed}"
        settings = replace(settings, seed=seed)
        stages = [stage.name for stage in settings.stages]
        run = finished_run(settings, folder / "main", stages, train_kge)
        found = dict(run.results)
        if "ta" in config.methods:
            taught = replace(settings, stages=assistant_stages(config, found, run.folder))
            names = [stage.name for stage in taught.stages]
            found |= finished_run(taught, folder / "assistants", names, train_kge).results
        collect(results, found, config)
        for row, counts in retained_by([*results], widths, settings, folder).items():
            retention.setdefault(row, []).append(counts)
            seconds.setdefault(row, []).append(training_seconds(found, row, widths[-1]))
        write(config, results, retention, {row: statistics.fmean(of) for row, of in seconds.items()})
    return (Path(config.out) / "table.md").read_text(encoding="utf-8")


def check_table(config: MedTableConfig) -> None:
    """Refuse rows and columns that cannot be filled."""
    base, widths = config.base, config.base.model.widths
    if not widths or not config.seeds:
        raise PmdError("--base.model.widths and --seeds: give at least two widths and one seed")
    if base.seed:
        raise PmdError(f"--base.seed: {base.seed} is not used; a table has --seeds")
    check_widths("base.model.widths", widths, base.model.dim)
    for tuned in config.tuned:
        if tuned.width not in widths:
            raise PmdError(f"--tuned: width {tuned.width} is none of {widths}")
        same = [other for other in config.tuned if other.width == tuned.width and other is not tuned]
        if any(other.methods == tuned.methods or {*(other.methods or ())} & {*(tuned.methods or ())} for other in same):
            raise PmdError(f"--tuned: width {tuned.width} stands there twice; give its settings once, or once a method")
        cropped = next((method for method in tuned.methods or () if method in ORDERS), None)
        if cropped is not None:
            raise PmdError(f"--tuned: '{cropped}' is cropped, not trained; tune dt at width {widths[-1]}")
    for row in config.croppable:
        if row.name in TITLES:
            raise PmdError(f"--croppable: '{row.name}' is the name of another row; choose one of your own")
        recipe = (row.med or base.med).recipe
        if row.name in RECIPES and recipe != row.name:
            raise PmdError(f"--croppable: row '{row.name}' has med.recipe {recipe}; set that, or name it otherwise")
        if row.widths is not None:
            check_widths(f"croppable: widths of {row.name}", row.widths, base.model.dim)
            absent = next((width for width in widths if width not in row.widths), None)
            if absent is not None:
                raise PmdError(f"--croppable: row '{row.name}' has no width {absent}, a column of the table; add it")


def run_settings(config: MedTableConfig) -> KgeConfig:
    """The run of all methods but those that need an assistant."""
    base = config.base
    return replace(
        base, model=replace(base.model, widths=None), stages=[*rival_stages(config), *croppable_stages(config)]
    )


def own(config: MedTableConfig, width: int, method: Method) -> dict[str, Any]:
    """The settings of a method's model of one width as a stage has them."""
    entries = [entry for entry in config.tuned if entry.width == width]
    for_all = (entry for entry in entries if entry.methods is None)
    for_one = (entry for entry in entries if method in (entry.methods or ()))
    tuned = next(for_one, next(for_all, WidthConfig(width=width)))
    return {"dim": width, **{f.name: getattr(tuned, f.name) for f in fields(OwnSettings)}}


def rival_stages(config: MedTableConfig) -> list[KgeStageConfig]:
    """Every method and width, the widest first."""
    *narrow, widest = config.base.model.widths
    narrow, teacher = narrow[::-1], f"dt-{widest}"
    stages = [KgeStageConfig(f"dt-{width}", **own(config, width, "dt")) for width in (widest, *narrow)]
    before = teacher
    for width in narrow:
        bkd, iterde, dualde = (
            {**own(config, width, method), "teacher": teacher} for method in ("bkd", "iterde", "dualde")
        )
        for method, order in ORDERS.items():
            if method in config.methods:
                stages.append(KgeStageConfig(f"{method}-{width}", dim=width, crop=teacher, order=order))
        # An assistant is one of these, but never the narrowest.
        if "bkd" in config.methods or ("ta" in config.methods and width != narrow[-1]):
            stages.append(KgeStageConfig(f"bkd-{width}", **bkd))
        if "iterde" in config.methods:
            stages.append(KgeStageConfig(f"iterde-{width}", **{**iterde, "teacher": before}))
            before = f"iterde-{width}"
        if "dualde" in config.methods:
            first = f"dualde_first-{width}"
            stages.append(KgeStageConfig(first, **dualde, epochs=0.5))
            stages.append(KgeStageConfig(f"dualde-{width}", **dualde, start=first, release=True, epochs=0.5))
    return stages


def croppable_stages(config: MedTableConfig) -> list[KgeStageConfig]:
    return [
        KgeStageConfig(
            row.name,
            widths=row.widths or list(config.base.model.widths),
            **{f.name: getattr(row, f.name) for f in fields(row) if f.name not in ("name", "widths")},
        )
        for row in config.croppable
    ]


def assistant_stages(config: MedTableConfig, results: dict[str, Any], folder: Path) -> list[KgeStageConfig]:
    """Students of an assistant: the taught model of the width whose MRR alone is nearest to the mean of the teacher's
    and the student's (Mirzadeh et al., 2020), on the validation triples, or without validation on those evaluated."""
    *narrow, widest = config.base.model.widths
    split = config.base.evaluation.splits[0]
    alone = {width: results[f"dt-{width}"] for width in (*narrow, widest)}
    alone = {width: result.get("valid_mrr", result["metrics"][split]["mrr"]) for width, result in alone.items()}
    stages: dict[str, KgeStageConfig] = {}
    for width in narrow[::-1]:
        between = [other for other in narrow if other > width]
        middle = (alone[width] + alone[widest]) / 2
        # Next to the teacher there is nobody between: it teaches by itself.
        assistant = min(between, key=lambda other: abs(alone[other] - middle), default=widest)
        source = f"bkd-{assistant}" if between else f"dt-{widest}"
        name = f"assistant-{assistant}"
        stages.setdefault(name, KgeStageConfig(name, dim=assistant, load=str(folder / source)))
        stages[f"ta-{width}"] = KgeStageConfig(f"ta-{width}", **own(config, width, "ta"), teacher=name)
    return [*stages.values()]


def collect(results: Results, found: dict[str, Any], config: MedTableConfig) -> None:
    """Add the results of one seed, by row and width."""
    split = config.base.evaluation.splits[0]
    widest = config.base.model.widths[-1]
    for name, result in found.items():
        method, _, width = name.rpartition("-")
        if "widths" in result:
            found_at = {int(w): metrics for w, metrics in by_width(result, split).items()}
            for w, metrics in ((w, found_at[w]) for w in config.base.model.widths):
                results.setdefault(name, {}).setdefault(w, []).append({**result, "metrics": {split: metrics}})
        elif method in config.methods or method == "dt":
            results.setdefault(method, {}).setdefault(int(width), []).append(result)
    for method in ORDERS:  # the whole teacher is the crop of its own width
        if method in results:
            results[method].setdefault(widest, []).append(found[f"dt-{widest}"])


def write(config: MedTableConfig, results: Results, retention: Retention, seconds: dict[str, float]) -> None:
    split = config.base.evaluation.splits[0]
    plain = {row: {str(width): found for width, found in cells.items()} for row, cells in results.items()}
    out = Path(config.out)
    write_json(out / "results.json", {"seconds": seconds, "retention": retention, "results": plain})
    widths, name = config.base.model.widths, config.base.model.interaction
    parts = [
        f"{name}, {split}: MRR by width\n\n{method_table(results, widths, split, 'mrr', seconds)}",
        f"{name}, {split}: Hits@10 by width\n\n{method_table(results, widths, split, 'hits_at_10', seconds)}",
        f"Effi: MRR / millions of parameters\n\n{effi_table(results, widths, split)}",
        f"Ability retention ratio: of the queries that some width answers within the first 10, the share that all wider "
        f"ones answer too; and by the narrowest that answers\n\n{retention_table(retention, widths)}",
    ]
    write_text(out / "table.md", "\n\n".join(parts) + "\n")


def method_table(results: Results, widths: Sequence[int], split: str, key: str, seconds: dict[str, float]) -> str:
    """Methods down, widths across; the best mean of a width is bold."""
    cells = {
        row: {w: [r["metrics"][split][key] for r in found] for w, found in of.items()} for row, of in results.items()
    }
    best = {w: max(sum(of[w]) / len(of[w]) for of in cells.values() if w in of) for w in widths}
    rows = []
    for row, of in cells.items():
        texts = [spread(of.get(w, [])) for w in widths]
        texts = [
            f"**{text}**" if w in of and sum(of[w]) / len(of[w]) == best[w] else text for w, text in zip(widths, texts)
        ]
        rows.append([TITLES.get(row, row), *texts, f"{seconds[row]:,.0f}"])
    return markdown(["method", *(str(w) for w in widths), "training (s)"], rows)


def effi_table(results: Results, widths: Sequence[int], split: str) -> str:
    """MRR per million parameters, methods down, widths across."""
    rows = []
    for row, of in results.items():
        texts = []
        for w in widths:
            found = of.get(w, [])
            each = [r["metrics"][split]["mrr"] / (r["parameters"] * w / r["dim"] / 1e6) for r in found]
            texts.append(spread(each, digits=1))
        rows.append([TITLES.get(row, row), *texts])
    return markdown(["method", *(str(w) for w in widths)], rows)


def retention_table(retention: Retention, widths: Sequence[int]) -> str:
    """Methods down; the ratio, then that of what each width is the narrowest to answer. Above the widest is nothing to
    lose what it answers, so it has no column."""
    *narrow, _ = map(str, widths)
    rows = []
    for row, seeds in retention.items():
        # A width that is the first to answer nothing has nothing to retain.
        parts = [[ratio([of[width]]) for of in seeds if of[width][0]] for width in narrow]
        rows.append([TITLES.get(row, row), *map(spread, [[ratio(of.values()) for of in seeds], *parts])])
    return markdown(["method", "all", *(f"from {width}" for width in narrow)], rows)

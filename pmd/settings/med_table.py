"""What MED's table trains: from its settings, some of them for single widths and methods, to the stages of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.settings.catalogue import METRICS, EntityEncoderName, RankingMetric, lookup
from pmd.settings.entity_encoders import TABLE
from pmd.settings.kge import KgeConfig, KgeStageConfig, Loss
from pmd.settings.med import RECIPES, MedConfig, check_widths

Method = Literal["dt", "ext", "ext_l", "ext_v", "bkd", "ta", "dualde", "iterde"]
TITLES: dict[str, str] = {
    "dt": "DT",
    "ext": "Ext",
    "ext_l": "Ext-L",
    "ext_v": "Ext-V",
    "bkd": "BKD",
    "ta": "TA",
    "dualde": "DualDE",
    "iterde": "IterDE",
}

ORDERS = {"ext": None, "ext_l": "loss", "ext_v": "value"}


@dataclass(kw_only=True)
class OwnSettings:
    """Settings that models of a table can override, named as in a stage. Null is the run's value."""

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
        width: the width, in dimensions.
        methods: of these alone, which then take nothing from an entry for all; null for whatever teaches them.
        lr: peak learning rate, as in a stage; null is that of the run.
        margin, scale, constraint, adversarial, loss: as in a stage; null is that of the run.
        alpha: weight of the soft labels, of all that are taught; null is `base.dual.alpha`.
        beta: of the teacher's in DualDE's second stage; null is `base.dual.beta`.
        second_lr: rate of DualDE's second stage; null is `lr`.
    """

    width: int
    methods: list[Method] | None = None
    alpha: float | None = None
    beta: float | None = None
    second_lr: float | None = None


@dataclass(kw_only=True)
class CroppableConfig(OwnSettings):
    """One way to train all widths in one model.

    Args:
        name: its row.
        widths: dimensions of its sub-models, the columns of the table among them; null for just those.
        med: how the widths learn together; null is `base.med`.
        lr: peak learning rate, as in a stage; null is that of the run.
        margin, scale, constraint, adversarial, loss: as in a stage; null is that of the run.
    """

    name: str
    widths: list[int] | None = None
    med: MedConfig | None = None


@dataclass(kw_only=True)
class EncodedConfig(OwnSettings):
    """One model whose entities are computed from few parameters, as in the paper's Table 4.

    Args:
        name: its row.
        encoder: `nodepiece` or `earl`, whose settings are in `base.model`.
        dim: its width; one at which it has about as many parameters as a croppable model at the width to compare.
        epochs: passes over the training examples, as in a stage.
        lr: peak learning rate, as in a stage; null is that of the run.
        margin, scale, constraint, adversarial, loss: as in a stage; null is that of the run.
    """

    name: str
    encoder: EntityEncoderName
    dim: int
    epochs: float | None = None


@dataclass
class MedTableConfig:
    """Methods by widths for one graph and one interaction, over several seeds.

    Args:
        base: what all share, as for `pmd train`; `base.model.widths` are the columns.
        methods: the rivals; `dt` is always among them.
        tuned: settings of single widths, of all methods or of some; the croppable ones have their own.
        croppable: the croppable models, a row each.
        encoded: models with few parameters, for a table of their own: with those of all rows and widths, and Effi.
        metrics: a table for each, of the same runs; finished ones are not repeated for another metric.
        seeds: of the runs.
        out: folder of the runs and the table; the same command goes on where it was stopped.
    """

    base: KgeConfig = field(default_factory=KgeConfig)
    methods: list[Method] = field(default_factory=lambda: list(TITLES))
    tuned: list[WidthConfig] = field(default_factory=list)
    croppable: list[CroppableConfig] = field(
        default_factory=lambda: [CroppableConfig(name="best"), CroppableConfig(name="joint", med=MedConfig("joint"))]
    )
    encoded: list[EncodedConfig] = field(default_factory=list)
    metrics: list[RankingMetric] = field(default_factory=lambda: ["mrr", "hits_at_1", "hits_at_3", "hits_at_10"])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    out: str = "runs/med"


def check_table(config: MedTableConfig) -> None:
    """Refuse rows and columns that cannot be filled."""
    base, widths = config.base, config.base.model.widths
    if not widths or not config.seeds:
        raise PmdError("--base.model.widths and --seeds: give at least two widths and one seed")
    if base.seed:
        raise PmdError(f"--base.seed: {base.seed} is not used; a table has --seeds")
    check_widths("base.model.widths", widths, base.model.dim)
    for name in config.metrics:
        lookup(METRICS["ranking"], name, "--metrics")
    if "ta" in config.methods and not base.train.valid_every:
        raise PmdError("--methods: 'ta' chooses its assistants on the validation triples; set --base.train.valid_every")
    for tuned in config.tuned:
        check_tuned(tuned, config)
    for row in config.encoded:
        if row.name in TITLES or row.encoder == TABLE:
            wrong = f"'{row.name}' is the name of another row" if row.name in TITLES else f"'{row.name}' has a table"
            raise PmdError(f"--encoded: {wrong}; give it a name of its own and an encoder")
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


def check_tuned(tuned: WidthConfig, config: MedTableConfig) -> None:
    """Refuse settings of a width that no model of the table would take."""
    widths, prefix = config.base.model.widths, f"--tuned: width {tuned.width}"
    if tuned.width not in widths:
        raise PmdError(f"{prefix} is not among base.model.widths, {widths}; choose one of them")
    same = [other for other in config.tuned if other.width == tuned.width and other is not tuned]
    if any(other.methods == tuned.methods or {*(other.methods or ())} & {*(tuned.methods or ())} for other in same):
        raise PmdError(f"{prefix} is listed twice; give its settings once, or once for each method")
    taught = [method for method in config.methods if method != "dt" and method not in ORDERS]
    taught += ["bkd"] if "ta" in taught and "bkd" not in taught else []  # an assistant is one
    trained_methods = ["dt", *(taught if tuned.width != widths[-1] else [])]
    for method in tuned.methods or ():
        if method in ORDERS:
            raise PmdError(f"--tuned: '{method}' is cropped, not trained; tune dt at width {widths[-1]}")
        if method not in trained_methods:
            raise PmdError(f"{prefix}: the table trains no '{method}' there, only {', '.join(trained_methods)}")
    dualde = {"dualde"} & {*trained_methods}
    users = {"alpha": {*trained_methods} - {"dt"}, "beta": dualde, "second_lr": dualde}
    for name, methods in users.items():
        if getattr(tuned, name) is not None and not methods & {*(tuned.methods or trained_methods)}:
            needed = "dualde" if name != "alpha" else "a method with a teacher"
            raise PmdError(f"{prefix}: only {needed} reads {name}, and none is tuned here; leave it out")


def run_settings(config: MedTableConfig) -> KgeConfig:
    """The run of all methods but those that need an assistant."""
    base, encoded = config.base, [KgeStageConfig(**vars(row)) for row in config.encoded]
    return replace(
        base,
        model=replace(base.model, widths=None),
        stages=[*rival_stages(config), *croppable_stages(config), *encoded],
    )


def tuned_for(config: MedTableConfig, width: int, method: Method) -> WidthConfig:
    """What the table says of a method's model of one width."""
    entries = [entry for entry in config.tuned if entry.width == width]
    for_all = (entry for entry in entries if entry.methods is None)
    for_one = (entry for entry in entries if method in (entry.methods or ()))
    return next(for_one, next(for_all, WidthConfig(width=width)))


def stage_settings(config: MedTableConfig, width: int, method: Method) -> dict[str, Any]:
    """The settings of a method's model of one width, as those of a stage."""
    tuned = tuned_for(config, width, method)
    weights = {} if method == "dt" else {"alpha": tuned.alpha, "beta": tuned.beta}
    return {"dim": width, **{f.name: getattr(tuned, f.name) for f in fields(OwnSettings)}, **weights}


def rival_stages(config: MedTableConfig) -> list[KgeStageConfig]:
    """Every method and width, the widest first."""
    *narrow, widest = config.base.model.widths
    narrow, teacher = narrow[::-1], f"dt-{widest}"
    stages = [KgeStageConfig(f"dt-{width}", **stage_settings(config, width, "dt")) for width in (widest, *narrow)]
    before = teacher
    for width in narrow:
        bkd, iterde, dualde = (
            {**stage_settings(config, width, method), "teacher": teacher} for method in ("bkd", "iterde", "dualde")
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
            start = f"dualde_first-{width}"
            stages.append(KgeStageConfig(start, **dualde, epochs=0.5))
            second_lr = tuned_for(config, width, "dualde").second_lr
            second = dualde if second_lr is None else {**dualde, "lr": second_lr}
            stages.append(KgeStageConfig(f"dualde-{width}", **second, start=start, release=True, epochs=0.5))
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


def assistant_stages(config: MedTableConfig, results: dict[str, StageResult], folder: Path) -> list[KgeStageConfig]:
    """Students of an assistant: the taught model of the width whose MRR alone is nearest to the mean of the teacher's
    and the student's (Mirzadeh et al., 2020), on the validation triples, or without validation on those evaluated."""
    *narrow, widest = config.base.model.widths
    split = config.base.evaluation.splits[0]
    alone = {}
    for width in (*narrow, widest):
        result = results[f"dt-{width}"]
        alone[width] = result.metrics[split]["mrr"] if result.valid_mrr is None else result.valid_mrr
    stages: dict[str, KgeStageConfig] = {}
    for width in narrow[::-1]:
        between = [other for other in narrow if other > width]
        middle = (alone[width] + alone[widest]) / 2
        # No width lies between the widest student and the teacher, which then teaches it itself.
        assistant = min(between, key=lambda other: abs(alone[other] - middle), default=widest)
        source = f"bkd-{assistant}" if between else f"dt-{widest}"
        name = f"assistant-{assistant}"
        stages.setdefault(name, KgeStageConfig(name, dim=assistant, load=str(folder / source)))
        stages[f"ta-{width}"] = KgeStageConfig(f"ta-{width}", **stage_settings(config, width, "ta"), teacher=name)
    return [*stages.values()]

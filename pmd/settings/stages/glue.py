"""From the settings of a GLUE run to the stages that will run. Nothing heavy is imported here either."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from pmd.core.errors import PmdError
from pmd.settings.catalogue import METHODS, lookup, task_of
from pmd.settings.checks import check_numbers, check_run, check_share, first_set, inherit, numbers_at, resolve_in_order
from pmd.settings.glue import GlueConfig, GlueStageConfig
from pmd.settings.med import JOINT, RECIPES, MedConfig, MedRecipe, resolve_med

PRETRAINED = "pretrained"

BERT_RECIPES: dict[MedRecipe, dict[str, Any]] = {
    "joint": JOINT,
    "med": RECIPES["med"],
    "best": {**JOINT, "soft": 1.0, "teacher": "widest"},
}
"""What `med.recipe` stands for where a BERT's logits take the place of scores."""

INHERITED = {name: f"train.{name}" for name in ("epochs", "batch_size", "lr")}
"""The settings of a stage that are else those of the run, by their keys there."""

DISTILL_WEIGHTS = ("distill.layers", "distill.relations", "distill.distance", "distill.angle")


def resolve_bert_med(med: MedConfig, key: str = "med") -> MedConfig:
    """Every setting filled in from the recipe. PmdError for a value out of range, or a setting that logits cannot use."""
    given = {name: value for name, value in vars(med).items() if value is not None}
    med = resolve_med(replace(med, **{**BERT_RECIPES[med.recipe], **given}))
    for name in ("prefix", "power", "calibrated"):
        if getattr(med, name) != JOINT[name]:
            raise PmdError(f"{key}.{name}: only embedding models have it; leave it out")
    return med


def default_glue_stages(config: GlueConfig) -> list[GlueStageConfig]:
    """One stage for every method; of students one for every width below the full one, the widest first."""
    narrow = (config.model.widths or [])[-2::-1]
    rows = {method: lookup(METHODS["bert"], method, "methods") for method in config.methods}
    taught = next((method for method, row in rows.items() if row.teacher), None)
    if taught and not narrow:
        raise PmdError(
            f"methods: {taught} trains a student for every width below the full one, and model.widths has none; add "
            "some, such as [128,256,512,768], or list students of fewer layers as stages"
        )
    stages = [
        GlueStageConfig(f"{method}-{width}" if width else method, method=method, width=width)
        for method in config.methods
        for width in (narrow if rows[method].teacher else [None])
    ]
    if taught and "finetune" not in config.methods:
        stages.insert(0, GlueStageConfig("finetune"))
    return sorted(stages, key=lambda stage: stage.name != "finetune")  # teachers come before those they teach


def resolve_glue_stages(config: GlueConfig) -> list[GlueStageConfig]:
    """The run's stages with every setting filled in. PmdError, naming stage and remedy, for one that cannot be run."""
    if config.stages is not None and config.methods != GlueConfig().methods:
        raise PmdError("methods: `stages` lists the trainings one by one; leave methods out, or set stages to null")
    stages = default_glue_stages(config) if config.stages is None else config.stages
    return resolve_in_order(
        stages, partial(_resolve, config), "nothing to train; name at least one method, or one stage"
    )


def _resolve(
    config: GlueConfig, stage: GlueStageConfig, key: str, earlier: dict[str, GlueStageConfig]
) -> GlueStageConfig:
    if stage.name == PRETRAINED:
        raise PmdError(f"{key}.name: 'pretrained' is what stages can start from; choose another name")
    method = lookup(METHODS["bert"], stage.method, f"{key}.method")
    if method.croppable:
        if len(config.model.widths or []) < 2:
            raise PmdError(f"{key}: {stage.method} needs model.widths, two at least, such as [128,256,512,768]")
        if stage.width or stage.layers:
            raise PmdError(f"{key}: {stage.method} trains all of model.widths; leave out width and layers")
    tuned = next((name for name, other in earlier.items() if other.method == "finetune" and _is_full(other)), None)
    if method.teacher:
        teacher = first_set(stage.teacher, tuned, "")
        if not teacher:
            raise PmdError(f"{key}: {stage.method} needs a teacher, a full `finetune` stage before it")
        if teacher not in earlier:
            raise PmdError(f"{key}.teacher: '{teacher}' is no earlier stage; a full `finetune` stage comes first")
        stage = replace(stage, teacher=teacher, start=first_set(stage.start, teacher))
    elif stage.teacher:
        taught = ", ".join(name for name, row in METHODS["bert"].items() if row.teacher)
        raise PmdError(f"{key}.teacher: {stage.method} has none; choose among {taught}")
    start = first_set(stage.start, tuned if method.croppable else None, PRETRAINED)
    if start != PRETRAINED and (start not in earlier or not _is_full(earlier[start])):
        raise PmdError(f"{key}.start: '{start}' is no earlier stage of full size; choose one, or 'pretrained'")
    check_numbers(numbers_at(stage, "width", "layers", "epochs", "batch_size", "lr", prefix=f"{key}."))
    if stage.med is not None and stage.method != "med":
        raise PmdError(f"{key}.med: {stage.method} does not read it; leave it out")
    med_key = "med" if stage.med is None else f"{key}.med"
    med = resolve_bert_med(first_set(stage.med, config.med), med_key)
    if stage.method == "med" and med.draw > len(config.model.widths):
        widths = len(config.model.widths)
        raise PmdError(f"{med_key}.draw: {med.draw} of {widths} widths cannot be drawn; 0 takes all")
    order, med = _order(stage, start, key, config, earlier), med if stage.method == "med" else None
    return inherit(replace(stage, start=start, order=order, med=med), config, INHERITED)


def _order(
    stage: GlueStageConfig, start: str, key: str, config: GlueConfig, earlier: dict[str, GlueStageConfig]
) -> str:
    """What is put first. Of a whole model nothing: PKD and MiniLM compare it with its teacher dimension by dimension."""
    if not is_croppable(stage) and stage.width is None:
        if stage.order not in (None, "none"):
            raise PmdError(f"{key}.order: no width is cut here, so nothing need come first; leave it out")
        return "none"
    # What is croppable already was trained in the order that it has.
    known = start != PRETRAINED and not is_croppable(earlier[start])
    return first_set(stage.order, config.model.order, "taylor" if known else "none")


def is_croppable(stage: GlueStageConfig) -> bool:
    """Whether a stage trains all widths in one model."""
    return METHODS["bert"][stage.method].croppable


def _is_full(stage: GlueStageConfig) -> bool:
    return stage.width is None and stage.layers is None


def check_glue(config: GlueConfig) -> None:
    """Refuse settings that cannot work, before anything is loaded."""
    task_of(config.task)
    check_run(config)
    check_numbers(
        numbers_at(config, "distill.temperature"),
        numbers_at(config, *DISTILL_WEIGHTS, "evaluation.speed_rounds", "data.train_examples"),
    )
    check_share("distill.alpha", config.distill.alpha, "[0, 1]", "the labels weigh 1 - alpha")
    check_share("model.dropout", config.model.dropout, "[0, 1)", "0.1 is usual")
    if config.model.max_length < 8:
        raise PmdError(f"model.max_length: {config.model.max_length} leaves no room for texts; 128 is usual")
    resolve_glue_stages(config)

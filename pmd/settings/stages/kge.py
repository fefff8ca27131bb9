"""From the settings of embedding models to the stages that will run. Nothing heavy is imported here either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.settings.catalogue import INTERACTIONS, METHODS, lookup
from pmd.settings.checks import check_numbers, check_run, check_share, first_set, inherit, numbers_at, resolve_in_order
from pmd.settings.entity_encoders import check_encoder, check_encoders
from pmd.settings.kge import KgeConfig, KgeStageConfig
from pmd.settings.med import MedConfig, check_widths, resolve_med
from pmd.settings.shared import OWN

SAMPLED = ("margin", "logistic", "softmax")
"""Losses that compare with sampled negatives."""

ADVERSARIAL = ("margin", "logistic")
"""Losses that can weigh their negatives by what the model scores them."""

SHIFT_FREE = ("softmax", "one_vs_all")
"""Losses that a number added to all scores does not change."""

INHERITED = {"dim": "model.dim", "alpha": "dual.alpha", "beta": "dual.beta", "lr": "train.lr", "loss": "loss.name"}
INHERITED |= {"encoder": "model.encoder"}
INHERITED |= {name: f"loss.{name}" for name in ("scale", "constraint", "adversarial")}
"""The settings of a stage that are else those of the run, by their keys there."""

POSITIVE = ("model.dim", "model.init", "loss.negatives", "loss.shared", "loss.scale", "dual.temperature")
POSITIVE += ("dual.second_epochs",)
NOT_NEGATIVE = ("loss.adversarial", "loss.n3", "loss.constraint", "train.valid_triples", "evaluation.rerank_hops")


def default_kge_stages(config: KgeConfig) -> list[KgeStageConfig]:
    """One model; or a teacher, and for every width of `dual.students` one student alone and one taught in two stages. All
    that a width has is trained for as many epochs as both stages together."""
    dual, epochs = config.dual, config.train.epochs
    if not dual.students:
        return [KgeStageConfig(config.model.interaction, widths=config.model.widths)]
    second = {"epochs": first_set(dual.second_epochs, max(1, epochs // 2)), "lr": dual.second_lr}
    whole = epochs + second["epochs"]
    stages, without_second = [KgeStageConfig("teacher")], []
    for dim, lr in zip(dual.students, dual.lrs or [None] * len(dual.students)):
        taught = {"dim": dim, "teacher": "teacher"}
        stages += [
            KgeStageConfig(f"alone-{dim}", dim=dim, epochs=whole, lr=lr),
            KgeStageConfig(f"first-{dim}", **taught, lr=lr),
            KgeStageConfig(f"taught-{dim}", **taught, start=f"first-{dim}", release=True, **second),
        ]
        if dual.ablations:
            stages.append(KgeStageConfig(f"without-first-{dim}", **taught, release=True, epochs=whole, lr=lr))
            without_second.append(KgeStageConfig(f"without-second-{dim}", **taught, epochs=whole, lr=lr))
    return [*stages, *without_second]  # these last: a stage's seed is that of its position


def resolve_kge_stages(config: KgeConfig) -> list[KgeStageConfig]:
    """The run's stages with every setting filled in. PmdError, naming stage and remedy, for one that cannot be run."""
    stages = default_kge_stages(config) if config.stages is None else config.stages
    return resolve_in_order(stages, partial(_resolve, config), "the list is empty; leave it out for one model")


def _resolve(config: KgeConfig, stage: KgeStageConfig, key: str, earlier: dict[str, KgeStageConfig]) -> KgeStageConfig:
    stage = inherit(stage, config, INHERITED)
    _check_read(stage, key)
    stage = replace(
        stage,
        method=first_set(stage.method, usual_method(stage.widths, stage.teacher)),
        epochs=_epochs(key, stage.epochs, config.train.epochs),
        margin=_margin(stage, config),
        med=resolve_med(first_set(stage.med, config.med), is_distance(config)) if stage.widths else None,
    )
    _check_stage(stage, key, earlier)
    _check_loss(stage, key, config)
    check_encoder(stage, key, config, earlier)
    return stage


def is_distance(config: KgeConfig) -> bool:
    """Whether a triple scores a distance, and not a product."""
    return not INTERACTIONS[config.model.interaction].product


def usual_method(widths: Sequence[int] | None, teacher: str | None) -> str:
    """How a stage is trained that does not say it."""
    return "med" if widths else "dualde" if teacher else "supervised"


def _check_method(stage: KgeStageConfig, key: str) -> None:
    """Refuse a method that lacks what it needs, or would not read what the stage says."""
    method = lookup(METHODS["embedding"], stage.method, f"{key}.method")
    if method.teacher and not stage.teacher:
        raise PmdError(f"{key}.teacher: {stage.method} needs one; name an earlier stage")
    if stage.teacher and not method.teacher:
        raise PmdError(f"{key}.teacher: {stage.method} has none; leave it out, or choose another method")
    if method.croppable != bool(stage.widths):
        remedy = "needs some; list them" if method.croppable else "trains a single width; leave them out"
        raise PmdError(f"{key}.widths: {stage.method} {remedy}")


def _check_read(stage: KgeStageConfig, key: str) -> None:
    """Refuse settings of a stage that nothing would read."""
    if stage.margin and stage.loss in SHIFT_FREE:
        change = f"a shift of all scores changes nothing in the {stage.loss} loss"
        raise PmdError(f"{key}.margin: {change}; set scale, or leave it out")
    if stage.adversarial and stage.loss not in ADVERSARIAL:
        unread = f"the {stage.loss} loss has no use for it"
        raise PmdError(f"{key}.adversarial: {unread}; set it to 0, or choose another loss")
    if stage.med is not None and not stage.widths:
        raise PmdError(f"{key}.med: there are no widths that could learn together; list them in widths")


def _margin(stage: KgeStageConfig, config: KgeConfig) -> float:
    """The margin γ of a stage; where it and the run leave it open, the usual one."""
    if stage.loss in SHIFT_FREE:
        return 0.0
    product = INTERACTIONS[config.model.interaction].product
    usual = 1.0 if stage.loss == "margin" else 0.0 if product else 6.0
    return first_set(stage.margin, config.loss.margin, usual)


def _epochs(key: str, epochs: float | None, usual: int) -> int:
    """A stage's epochs: its own number, or a share of the usual one."""
    if epochs is None:
        return usual
    if 0 < epochs < 1:
        return max(1, round(epochs * usual))
    if epochs != int(epochs):
        raise PmdError(f"{key}.epochs: {epochs} is neither a whole number nor a share below 1")
    return int(epochs)


def _check_stage(stage: KgeStageConfig, key: str, earlier: dict[str, KgeStageConfig]) -> None:
    for setting in ("teacher", "start", "crop"):
        name = getattr(stage, setting)
        given = (setting == "teacher" and name == OWN) or (setting == "start" and is_folder(stage.start))
        if name is not None and name not in earlier and not given:
            raise PmdError(f"{key}.{setting}: no earlier stage '{name}'; there is {', '.join(earlier) or 'none'}")
    begins = earlier.get(stage.start)
    if begins and begins.dim != stage.dim:
        raise PmdError(f"{key}.start: '{stage.start}' has dim {begins.dim}, not {stage.dim}")
    if stage.load and (stage.teacher or stage.start):
        raise PmdError(f"{key}.load: a loaded model is not trained; leave out teacher and start")
    if stage.crop:
        _check_crop(stage, key, earlier)
    elif stage.order:
        raise PmdError(f"{key}.order: nothing is cropped; name a stage in crop")
    if stage.widths is not None:
        check_widths(f"{key}.widths", stage.widths, stage.dim)
        if stage.load or (begins and begins.widths != stage.widths):
            raise PmdError(f"{key}.widths: '{stage.load or stage.start}' brings widths of its own; leave them out")
        if stage.med.draw > len(stage.widths):
            raise PmdError(f"med.draw: {stage.med.draw} of {len(stage.widths)} widths cannot be drawn; 0 takes all")
    _check_method(stage, key)
    if stage.teacher == OWN and (stage.release or stage.widths):
        raise PmdError(f"{key}.teacher: own gives scores alone; leave out {'release' if stage.release else 'widths'}")
    if stage.teacher in earlier and earlier[stage.teacher].dim < stage.dim:
        raise PmdError(f"{key}.dim: {stage.dim} is wider than its teacher's {earlier[stage.teacher].dim}")
    if stage.release and not stage.teacher:
        raise PmdError(f"{key}.release: there is no teacher to release; name one")
    for setting in ("alpha", "beta"):
        check_share(f"{key}.{setting}", getattr(stage, setting), "[0, 1]", "0.5 weighs labels evenly")
    check_numbers(
        numbers_at(stage, "dim", "epochs", "lr", "scale", prefix=f"{key}."),
        numbers_at(stage, "constraint", "adversarial", prefix=f"{key}."),
        numbers_at(stage, "margin", prefix=f"{key}."),
    )


def is_folder(start: str | None) -> bool:
    """Whether a stage starts from a model's folder, and not from an earlier stage."""
    return start is not None and (Path(start).expanduser() / "config.json").is_file()


def _check_loss(stage: KgeStageConfig, key: str, config: KgeConfig) -> None:
    """Refuse a loss that other stages' batches do not fit, or that cannot train all widths in one pass."""
    if stage.loss != config.loss.name and not {stage.loss, config.loss.name} <= {*SAMPLED}:
        raise PmdError(f"{key}.loss: a run has either sampled negatives or none; choose among {', '.join(SAMPLED)}")
    if stage.med is None:
        return
    if stage.loss not in SAMPLED:
        raise PmdError(f"loss.name: all widths are scored against sampled negatives, not by {stage.loss}; use softmax")
    trained = next((name for name in ("learned", "calibrated") if getattr(stage.med, name)), None)
    if trained and config.train.optimizer == "sparse_adam":
        raise PmdError(f"med.{trained}: sparse_adam moves rows of tables alone; set it to false, or use adam")
    if stage.med.evolutionary and stage.loss != "logistic":
        raise PmdError(f"med.evolutionary: it weighs the logistic loss, not {stage.loss}; set loss.name to logistic")
    if stage.med.evolutionary and stage.adversarial:
        raise PmdError("loss.adversarial: med.evolutionary weighs the negatives already; leave one of the two out")


def _check_crop(stage: KgeStageConfig, key: str, earlier: dict[str, KgeStageConfig]) -> None:
    if earlier[stage.crop].dim < stage.dim:
        raise PmdError(f"{key}.dim: {stage.dim} is wider than '{stage.crop}', {earlier[stage.crop].dim}")
    if stage.teacher or stage.start or stage.load or stage.widths:
        raise PmdError(f"{key}.crop: a cropped model is not trained; leave out teacher, start, load and widths")


def check_kge_run(config: KgeConfig) -> None:
    """Refuse settings and stages that cannot work."""
    check_kge(config)
    resolve_kge_stages(config)


def check_kge(config: KgeConfig) -> None:
    """Refuse settings that cannot work, before anything is loaded."""
    loss, model = config.loss, config.model
    check_run(config)
    product = lookup(INTERACTIONS, model.interaction, "model.interaction").product
    check_numbers(numbers_at(config, *POSITIVE), numbers_at(config, *NOT_NEGATIVE), numbers_at(config, "loss.margin"))
    _check_used(config)
    _check_med(config)
    check_encoders(config)
    for dim in config.dual.students or ():
        check_numbers({"dual.students": dim})
    if config.dual.lrs is not None and len(config.dual.lrs) != len(config.dual.students or ()):
        raise PmdError("dual.lrs: give one learning rate for each of dual.students")
    if config.dual.students and config.stages is not None:
        raise PmdError("dual.students: the stages are listed already; leave one of the two out")
    check_share("loss.label_smoothing", loss.label_smoothing, "[0, 1)")
    if loss.n3 and not product:
        products = " and ".join(name for name, row in INTERACTIONS.items() if row.product)
        raise PmdError(f"loss.n3: the 3-norm fits {products}, not {model.interaction}; set it to 0")
    if config.evaluation.rerank_hops:
        raise PmdError("evaluation.rerank_hops: it adds to the cosine of a text model; set it to 0 for embeddings")
    if model.norm is not None and product:
        raise PmdError(f"model.norm: {model.interaction} is a product, not a distance; leave the norm out")
    if config.train.optimizer == "sparse_adam":
        if loss.name not in SAMPLED:
            raise PmdError(f"train.optimizer: sparse_adam moves a few rows, {loss.name} reads all of them; use adam")
        if config.train.grad_clip:
            raise PmdError("train.grad_clip: gradients of single rows cannot be clipped; set it to 0")
    if config.train.weight_decay and config.train.optimizer != "adamw":
        raise PmdError(f"train.weight_decay: {config.train.optimizer} has none; use adamw, or loss.n3")


def _check_med(config: KgeConfig) -> None:
    """Refuse what cannot be trained at all widths in one pass."""
    model = config.model
    resolve_med(config.med, is_distance(config))
    croppable = model.widths is not None or any(stage.widths for stage in config.stages or ())
    if config.med != MedConfig() and not croppable:
        raise PmdError("med: there are no widths that could learn together; list them in model.widths")
    if model.widths is not None:
        check_widths("model.widths", model.widths, model.dim)
        if config.dual.students:
            raise PmdError("dual.students: the sub-models of model.widths are no students; leave one of the two out")
        if config.stages is not None:
            raise PmdError("model.widths: the stages are listed already; give a stage its widths there")
    if not croppable:
        return
    if model.unit_entities:
        raise PmdError("model.unit_entities: lengths depend on the width; leave it out, or model.widths")
    if model.interaction == "transh" and model.norm == "l1":
        raise PmdError("model.norm: TransH with l1 has no running sums over its widths; use l2")


def _check_used(config: KgeConfig) -> None:
    """Refuse options that the chosen loss, or a run without students, would ignore."""
    loss, dual = config.loss, config.dual
    dense = loss.name not in SAMPLED
    all_losses = {loss.name, *(stage.loss or loss.name for stage in config.stages or ())}
    ignored = {
        "loss.shared": dense and loss.shared != 1,
        "loss.filtered": dense and loss.filtered,
        "loss.adversarial": loss.name not in ADVERSARIAL and loss.adversarial,
        "loss.margin": loss.margin and all_losses <= {*SHIFT_FREE},
        "loss.label_smoothing": not dense and loss.label_smoothing,
        "loss.scale": loss.name == "margin" and loss.scale != 1,
        "dual.temperature": loss.name == "margin" and dual.temperature != 1,
    }
    for key, given in ignored.items():
        if given:
            raise PmdError(f"{key}: the {loss.name} loss has no use for it; leave it out or choose another loss.name")
    if not dual.students:
        for key in ("ablations", "lrs", "second_epochs", "second_lr"):
            if getattr(dual, key):
                raise PmdError(f"dual.{key}: there are no students; name their widths in dual.students")
    if loss.constraint and config.model.unit_entities:
        raise PmdError("loss.constraint: model.unit_entities gives entities length 1 already; leave one of the two out")

"""From settings to the stages that will run, with everything that cannot work refused before anything is loaded.

Nothing heavy is imported here either.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from pmd.core.errors import PmdError, warn
from pmd.core.files import read_object
from pmd.core.packages import model_source
from pmd.settings.catalogue import METHODS, Method, lookup
from pmd.settings.checks import check_numbers, check_run, check_share, first_set, numbers_at, resolve_in_order
from pmd.settings.med import check_widths
from pmd.settings.shared import OWN
from pmd.settings.stages.grades import default_stages, with_lengths
from pmd.settings.text import (
    ANSWERS,
    DistillConfig,
    EncoderConfig,
    LoraConfig,
    ProgressiveConfig,
    StageConfig,
    TeacherConfig,
)

POSITIVE = ("train.tokens_per_chunk", "encoder.temperature", "distill.temperature", "distill.bag_lr")
SCRATCH_SIZES = (
    *("encoder.layers", "encoder.hidden_size", "encoder.heads", "encoder.intermediate_size", "encoder.vocab_size"),
)
NOT_NEGATIVE = (
    *("contrastive.margin", "contrastive.pre_batches", "contrastive.pre_batch_weight", "encoder.neighbours_below"),
    *("encoder.max_neighbours", "train.valid_triples", "evaluation.rerank_hops"),
    *("distill.label_weight", "distill.similarity"),
)


LOOP = ("epochs", "lr", "batch_size")
"""What `train` says of the loop, and `distill` and a stage may say otherwise."""


FEATURES = ("feature", "mask_choice", "mask_rate_by")
"""What `distill` says of masked features, and a stage may say otherwise."""


def resolve_stages(config: ProgressiveConfig, layers: int, teacher_layers: int | None = None) -> list[StageConfig]:
    """The run's stages with every setting filled in; `layers` is the depth of the checkpoint, `teacher_layers` that of
    `teacher.model`.

    PmdError, naming stage and remedy, for one that cannot be run.
    """
    stages = default_stages(layers, config) if config.stages is None else with_lengths(config, config.stages)
    empty = "the list is empty; leave it out for a teacher and four grades"
    resolved = resolve_in_order(stages, partial(_resolve, config, layers, teacher_layers), empty)
    if config.distill.structure and not any(stage.structure_share for stage in resolved):
        raise PmdError(
            "distill.structure: no stage is taught by it; leave it out, or name a stage with a teacher and a share"
        )
    return resolved


def _resolve(
    config: ProgressiveConfig,
    layers: int,
    teacher_layers: int | None,
    stage: StageConfig,
    key: str,
    earlier: dict[str, StageConfig],
) -> StageConfig:
    if teacher_layers is not None and not earlier:
        _check_first(stage, key, teacher_layers)
        layers = teacher_layers
    distill, contrastive = config.distill, config.contrastive
    teacher = stage.teacher or _usual_teacher([*earlier], distill)
    if teacher not in ("none", OWN) and teacher not in earlier:
        raise PmdError(f"{key}.teacher: no earlier stage '{teacher}'; there is {', '.join(earlier) or 'none'}")
    method = _method(stage, key, distill)
    if teacher == "none" and method.teacher:
        method = METHODS["text"]["none"]
    if teacher == OWN:
        method = _method_of_scores(stage, key)
        if distill.similarity:
            raise PmdError(f"{key}.teacher: own gives scores alone; set distill.similarity to 0")
    of_other_kind = teacher_layers is not None and teacher == next(iter(earlier), None)
    if of_other_kind and stage.init == "teacher":
        raise PmdError(f"{key}.init: a student cannot have layers of teacher.model; set init to pretrained")
    if method.without_masks and stage.layers == 0:  # without attention the others tell nothing of a masked token
        method = METHODS["text"][method.without_masks]
    check_share(f"{key}.mask_rate", stage.mask_rate, "[0, 1)", "0.2 masks a fifth of the tokens")
    grades = distill if earlier else config.train  # taught or not, grades take steps of the same size
    if stage.layers == 0:
        stage = replace(stage, lr=first_set(stage.lr, distill.bag_lr))
    given = stage
    stage = replace(
        stage,
        layers=first_set(stage.layers, layers),
        teacher=teacher if method.teacher else "none",
        method=method.name,
        # Without a teacher there are no layers of one to start from.
        init=stage.init or distill.init if method.teacher and teacher != OWN and not of_other_kind else "pretrained",
        mask_rate=stage.mask_rate if method.masks else 0.0,
        **_weights(stage, method, distill),
        epochs=first_set(stage.epochs, distill.epochs if method.teacher else None, config.train.epochs),
        lr=first_set(stage.lr, grades.lr, config.train.lr),
        batch_size=first_set(stage.batch_size, grades.batch_size, config.train.batch_size),
        pre_batches=first_set(stage.pre_batches, distill.pre_batches if earlier else None, contrastive.pre_batches),
        frozen_layers=first_set(stage.frozen_layers, int(config.train.frozen_share * first_set(stage.layers, layers))),
        **{name: getattr(stage, name) or getattr(distill, name) for name in FEATURES},
        structure_share=first_set(stage.structure_share, distill.structure_share)
        if distill.structure and method.teacher
        else 0.0,
    )
    if isinstance(stage.epochs, list):
        raise PmdError(
            f"{key}.epochs: distill.epochs is a list, for distill.depths alone; give this stage its own epochs"
        )
    if given.structure_share and not distill.structure:
        raise PmdError(
            f"{key}.structure_share: there is no distill.structure to have one; name an embedding model there"
        )
    check_share(f"{key}.structure_share", stage.structure_share, "[0, 1]", "0.4 is two fifths")
    _check_stage(stage, key, earlier[teacher].layers if teacher in earlier else layers, layers)
    if contrastive.batches == "queries" and stage.batch_size < 2 * ANSWERS:
        raise PmdError(
            f"{key}.batch_size: {stage.batch_size} triples may all be answers of a few queries, which leaves no negatives; use at "
            f"least {2 * ANSWERS}, or contrastive.batches random"
        )
    if distill.label_weight is None:
        _check_share_of_labels(stage, key, method)
    return stage


def _check_first(stage: StageConfig, key: str, layers: int) -> None:
    """Refuse a first stage that is not the whole of `teacher.model`, trained on labels."""
    if stage.layers not in (None, layers) or stage.pretrained_layers or stage.teacher not in (None, "none"):
        raise PmdError(
            f"{key}: the first stage is teacher.model, all {layers} layers of it, trained on labels; leave out its layers "
            "and its teacher, or leave out the section teacher"
        )


def _method(stage: StageConfig, key: str, distill: DistillConfig) -> Method:
    """The method that a stage names, or else the run."""
    if stage.method is None:
        return lookup(METHODS["text"], distill.method, "distill.method")
    return lookup(METHODS["text"], stage.method, f"{key}.method")


def _method_of_scores(stage: StageConfig, key: str) -> Method:
    """The method of a stage whose teacher gives scores alone. PmdError for one that needs more of a teacher."""
    methods = [method for method in METHODS["text"].values() if method.scores_suffice]
    if stage.init == "teacher" or stage.method not in (None, *(method.name for method in methods)):
        names = ", ".join(method.name for method in methods)
        raise PmdError(f"{key}.teacher: own gives scores alone; set method to {names} and init to pretrained")
    return METHODS["text"][stage.method] if stage.method else methods[0]


def _weights(stage: StageConfig, method: Method, distill: DistillConfig) -> dict[str, float]:
    """Those of the method's terms; 0 for a term that it has not."""
    return {
        name: first_set(getattr(stage, name), getattr(distill, name)) if name in method.weights else 0.0
        for name in ("alpha", "beta")
    }


def _usual_teacher(earlier: list[str], distill: DistillConfig) -> str:
    if not earlier:
        return "none"
    return earlier[-1] if distill.taught_by == "grade_above" else earlier[0]


def _check_stage(stage: StageConfig, key: str, teacher_layers: int, layers: int) -> None:
    source, kept = (
        (teacher_layers, stage.teacher_layers) if stage.init == "teacher" else (layers, stage.pretrained_layers)
    )
    if not 0 <= stage.layers <= source:
        raise PmdError(f"{key}.layers: {stage.layers} layers cannot start from {source}; choose 0 to {source}")
    if kept is not None and (len(kept) != stage.layers or not all(0 <= index < source for index in kept)):
        raise PmdError(
            f"{key}.{stage.init}_layers: {kept} must name {stage.layers} of the layers 0 to {source - 1} of the {stage.init}"
        )
    check_numbers(
        numbers_at(stage, *LOOP, prefix=f"{key}."),
        numbers_at(stage, "alpha", "beta", "pre_batches", prefix=f"{key}."),
    )
    if not 0 <= stage.frozen_layers < max(1, stage.layers):
        raise PmdError(
            f"{key}.frozen_layers: {stage.frozen_layers} of {stage.layers} layers leave none to learn; choose fewer"
        )
    if stage.batch_size < 2:
        raise PmdError(f"{key}.batch_size: 1 leaves no in-batch negatives; use at least 2")


def _check_share_of_labels(stage: StageConfig, key: str, method: Method) -> None:
    """Refuse weights that leave none for the labels."""
    taken = {name: getattr(stage, name) for name in method.weights if name not in method.added_weights}
    if sum(taken.values()) >= 1:
        named = " and ".join(f"{name} {value}" for name, value in taken.items())
        raise PmdError(
            f"{key}: {named} leave nothing of 1 for the labels; let the sum be less than 1, or give the labels a weight of "
            "their own, such as distill.label_weight: 0.5"
        )


def check_progressive(config: ProgressiveConfig) -> None:
    """Refuse settings that cannot work, before anything is loaded."""
    encoder, scratch = config.encoder, config.encoder.name == "scratch"
    check_run(config)
    check_numbers(
        numbers_at(config, *POSITIVE, *(SCRATCH_SIZES if scratch else ())),
        numbers_at(config, *NOT_NEGATIVE),
        numbers_at(config, "evaluation.rerank_weight"),
    )
    if config.train.lora is not None:
        _check_lora(config.train.lora, "train.lora.")
    if config.teacher is not None:
        _check_teacher(config.teacher)
    lookup(METHODS["text"], config.distill.method, "distill.method")
    for position, stage in enumerate(config.stages or ()):
        _method(stage, f"stages[{position}]", config.distill)
    check_share("encoder.dropout", encoder.dropout, "[0, 1)")
    check_share("encoder.attention_dropout", encoder.attention_dropout, "[0, 1)")
    check_share("distill.masked_share", config.distill.masked_share, "(0, 1]", "0.25 is a quarter")
    check_share("train.frozen_share", config.train.frozen_share, "[0, 1)", "0.5 is the lower half")
    if config.train.frozen_share and scratch and not (config.stages and config.stages[0].load):
        raise PmdError(
            "train.frozen_share: the layers of a scratch encoder have learned nothing yet; leave it out, or name a trained "
            "encoder.name"
        )
    check_share("distill.structure_share", config.distill.structure_share, "[0, 1]", "0.4 is two fifths")
    if config.contrastive.batches == "walks" and config.contrastive.directions == "independent":
        raise PmdError(
            "contrastive.batches: walks go over triples in both directions; leave out contrastive.directions independent"
        )
    if config.train.batch_size < 2:
        raise PmdError("train.batch_size: 1 leaves no in-batch negatives; use at least 2")
    if encoder.max_length < 16:
        raise PmdError(f"encoder.max_length: {encoder.max_length} leaves no room for a description; use 16 or more")
    if scratch:
        if encoder.hidden_size % encoder.heads:
            raise PmdError(
                f"encoder.hidden_size: {encoder.hidden_size} is not a multiple of encoder.heads ({encoder.heads})"
            )
        if encoder.widths is not None:
            check_widths("encoder.widths", encoder.widths, encoder.hidden_size, "encoder.hidden_size")
    depth = known_depth(encoder)
    teacher_depth = None if config.teacher is None else depth_in(config.teacher.model, "teacher.model")
    if depth is not None and (config.teacher is None or teacher_depth is not None):
        resolve_stages(config, depth, teacher_depth)


def warn_of_listed(config: ProgressiveConfig) -> None:
    """Say that depths and mask rates are not used beside listed stages, which have their own."""
    if not config.stages or all(stage.init for stage in config.stages):  # a run's own list, that they may have made
        return
    given = [
        name for name in ("depths", "mask_rates") if getattr(config.distill, name) != getattr(DistillConfig(), name)
    ]
    if given:
        options = " and ".join(f"distill.{name}" for name in given)
        warn(f"{options}: not used, for the stages are listed; change those, or set stages to null")


def _check_lora(lora: LoraConfig, prefix: str) -> None:
    check_numbers(numbers_at(lora, "r", "alpha", prefix=prefix), numbers_at(lora, "dropout", prefix=prefix))


def _check_teacher(teacher: TeacherConfig) -> None:
    if teacher.lora is not None:
        _check_lora(teacher.lora, "teacher.lora.")
    elif teacher.precision == "bf16":
        raise PmdError(
            "teacher.precision: bf16 weights are too coarse for small steps; set teacher.lora, or let train.precision alone "
            "be bf16, which keeps them in fp32"
        )
    if teacher.max_length is not None and teacher.max_length < 16:
        raise PmdError(f"teacher.max_length: {teacher.max_length} leaves no room for a description; use 16 or more")


DEPTHS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
"""What the number of layers is called in the configs of encoders."""


def known_depth(encoder: EncoderConfig) -> int | None:
    """The layers of the encoder that a run starts from; None where no folder on this machine says it."""
    if encoder.name == "scratch":
        return encoder.layers
    return depth_in(encoder.name, "encoder.name")


def depth_in(name: str, key: str) -> int | None:
    """The layers of the encoder that a setting names; None where no folder on this machine says it."""
    folder = Path(model_source(name, key))
    settings = read_object(folder / "config.json", f"restore it, or give another {key}")
    return next((settings[name] for name in DEPTHS if isinstance(settings.get(name), int)), None)

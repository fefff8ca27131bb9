"""Recipes for croppable embeddings by name: how the widths learn together. Imports nothing heavy."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pmd.core.errors import PmdError
from pmd.settings.checks import check_numbers, check_share, numbers_at

MedRecipe = Literal["best", "med", "joint"]
Improvement = Literal["literal", "bounded"]


@dataclass
class MedConfig:
    """How the sub-models of one croppable model (`model.widths`) learn together; null is the recipe's choice, unless another
    meaning is given.

    Args:
        recipe: `best`: what measured best here; `med`: as the paper has it; `joint`: the labels of all widths, no more.
        evolutionary: a triple, or a text, weighs the more the worse the narrower neighbour does on it (of triples it needs
            the logistic loss; a regression has none).
        improvement: the form of its weights of true triples: `literal`, as Eq. 3 has it, softmax of w1 / score of the narrower
            neighbour, for distances alone, whose scores are below zero; `bounded`: softmax of w1 / σ(logit), with σ(logit) at
            least 0.1, for products and texts too. Null is `literal` for distances, else `bounded`.
        mutual: weight of the Huber distance between neighbours' scores, both ways, a mean over all scores; the sum that
            Eq. 2 writes is so many times as large as a batch has scores. 0 for none.
        dynamic: the label loss of a width counts exp(w3 · width / widest) times.
        learned: w1, w2 and w3 are learned; else they stay as they are.
        weight_lr: the learning rate of w1, w2 and w3 where they are learned; null is that of the stage.
        w1: of the weights of true triples, or texts' labels, as `improvement` says.
        w2: of the weights of negatives, or the other labels: softmax of w2 · logit of the narrower neighbour.
        w3: of `dynamic`.
        soft: weight of soft labels from wider sub-models, one way; 0 for none.
        teacher: who gives them: the `next` wider sub-model, or the `widest`.
        temperature: softens the logits of both in the soft labels.
        prefix: embeddings only: λ: how much of the gradient of a sub-model reaches the dimensions of narrower ones;
            1 is plain joint training, 0 lets each sub-model train only what it has more than the one before.
        power: embeddings only: the scores of a width are multiplied by (widest / width)^power in the loss, so that all
            widths start alike: with 0.5 L2 distances do, with 1 L1 distances; where entities have bounded lengths
            (`loss.constraint`), 0.5 gives L1 distances the range that they would have in a model of that width.
        calibrated: embeddings only: every width learns the factor of its scores, beginning with that of `power`.
        draw: so many sub-models learn in a step, drawn anew, the widest always among them; 0 for all.
    """

    recipe: MedRecipe = "best"
    evolutionary: bool | None = None
    improvement: Improvement | None = None
    mutual: float | None = None
    dynamic: bool | None = None
    learned: bool | None = None
    weight_lr: float | None = 1e-3
    w1: float | None = None
    w2: float | None = None
    w3: float | None = None
    soft: float | None = None
    teacher: Literal["next", "widest"] | None = None
    temperature: float | None = None
    prefix: float | None = None
    power: float | None = None
    calibrated: bool | None = None
    draw: int | None = None


JOINT: dict[str, Any] = {
    **dict.fromkeys(("evolutionary", "dynamic", "learned", "calibrated"), False),
    **dict.fromkeys(("mutual", "soft", "power"), 0.0),
    **dict.fromkeys(("w1", "w2", "w3", "temperature", "prefix"), 1.0),
    "teacher": "next",
    "draw": 0,
}

RECIPES: dict[MedRecipe, dict[str, Any]] = {
    "joint": JOINT,
    "med": {**JOINT, "evolutionary": True, "mutual": 1.0, "dynamic": True, "learned": True},
    # Without soft labels: once learning rates are tuned, RotatE gains nothing by them, and TransE loses much.
    "best": {**JOINT, "prefix": 0.3, "power": 0.5},
}


BEFORE: dict[str, Any] = {"improvement": "bounded", "weight_lr": None}
"""What runs did whose settings do not say it."""


def resolve_med(med: MedConfig, distance: bool = False) -> MedConfig:
    """The settings with those that are null filled in from the recipe.

    Args:
        distance: whether the scores are distances, all below zero.

    Raises:
        PmdError: naming the key, its value and the remedy.
    """
    given = {name: value for name, value in vars(med).items() if value is not None}
    usual = {"improvement": "literal" if distance else "bounded"}
    med = replace(med, **{**usual, **RECIPES[med.recipe], **given})
    if med.improvement == "literal" and not distance:
        raise PmdError("med.improvement: literal divides by scores, which pass zero here; use bounded, or a distance")
    check_numbers(
        numbers_at(med, "temperature", "weight_lr", prefix="med."),
        numbers_at(med, "mutual", "soft", "power", "draw", prefix="med."),
    )
    users = {
        **dict.fromkeys(("improvement", "w1", "w2"), ("evolutionary",)),
        **dict.fromkeys(("teacher", "temperature"), ("soft",)),
        "w3": ("dynamic",),
        "learned": ("evolutionary", "dynamic"),
        "weight_lr": ("learned",),
    }
    unused = {**usual, **JOINT, "weight_lr": MedConfig.weight_lr}
    for name, parts in users.items():
        if given.get(name, unused[name]) != unused[name] and not any(getattr(med, part) for part in parts):
            needed = " or ".join(f"med.{part}" for part in parts)
            raise PmdError(f"med.{name}: nothing uses it in this recipe; leave it out, or switch on {needed}")
    if med.draw == 1:
        raise PmdError("med.draw: 1 would be the widest in every step; give at least 2, or 0 for all")
    check_share("med.prefix", med.prefix, "[0, 1]", "1 is plain joint training")
    return med


def as_begun(med: MedConfig, stored: Mapping[str, Any]) -> MedConfig:
    """The settings, every choice made, of a run that goes on: what `stored`, those in its folder, does not say is as it was
    before it could be said."""
    return replace(med, **{name: value for name, value in BEFORE.items() if name not in stored})


def check_widths(key: str, widths: Sequence[int], dim: int, size: str = "model.dim") -> None:
    """Refuse widths that do not increase, exceed the dimension or leave part of it unused; `size` is its setting."""
    if len(widths) < 2:
        raise PmdError(f"{key}: {list(widths)} is a single width; leave it out for a plain model")
    if widths[0] < 1 or any(wide <= narrow for narrow, wide in itertools.pairwise(widths)):
        raise PmdError(f"{key}: {list(widths)} must increase, from 1 on; sort them and drop repeated ones")
    if widths[-1] > dim:
        raise PmdError(f"{key}: {widths[-1]} exceeds the dimension {dim}; raise {size} or drop it")
    if widths[-1] < dim:
        raise PmdError(
            f"{key}: dimensions after {widths[-1]} would not be trained; add {dim} or set {size} to {widths[-1]}"
        )

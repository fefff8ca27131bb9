"""The stages that a run has if it lists none, a teacher and the grades of `distill`, and how long grades train."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from pmd.core.errors import PmdError
from pmd.settings.catalogue import METHODS, lookup
from pmd.settings.checks import first_set
from pmd.settings.text import ProgressiveConfig, StageConfig


def grade_depths(layers: int) -> list[int]:
    """Depths of the four grades of an encoder with `layers` layers: all, ⌈¾⌉, ⌈½⌉ and ⌈¼⌉ of them."""
    return [-(-layers * quarters // 4) for quarters in (4, 3, 2, 1)]


def default_stages(layers: int, config: ProgressiveConfig) -> list[StageConfig]:
    """A teacher and the grades of `distill` for a checkpoint with `layers` layers; equal depths once."""
    distill = config.distill
    depths = distill.depths or grade_depths(layers)
    epochs = distill.epochs if isinstance(distill.epochs, list) else [distill.epochs] * len(depths)
    for name, given in (("mask_rates", distill.mask_rates), ("epochs", epochs)):
        if len(given) != len(depths):
            raise PmdError(f"distill.{name}: {len(given)} values for {len(depths)} grades; give one for each")
    if len({*(distill.depths or ())}) < len(distill.depths or ()):
        raise PmdError(f"distill.depths: {distill.depths} names a depth twice; name each once")
    first = {}
    for depth, *settings in zip(depths, distill.mask_rates, epochs):
        first.setdefault(depth, settings)
    lengths = _lengths(config, [epochs for _, epochs in first.values()])
    grades = [
        StageConfig(f"grade{depth}", depth, rate, epochs=epochs)
        for (depth, (rate, _)), epochs in zip(first.items(), lengths)
    ]
    return [StageConfig("teacher", layers if config.teacher is None else None), *grades]


def with_lengths(config: ProgressiveConfig, stages: list[StageConfig]) -> list[StageConfig]:
    """Listed stages, those without epochs of their own with the length that `distill.chain_epochs` gives them."""
    epochs = config.distill.epochs
    if not config.distill.chain_epochs or isinstance(epochs, list):  # a list is refused where a stage would need it
        return stages
    lengths = _lengths(config, [epochs if stage.epochs is None else stage.epochs for stage in stages[1:]])
    grades = [
        replace(stage, epochs=length) if stage.epochs is None else stage for stage, length in zip(stages[1:], lengths)
    ]
    return [*stages[:1], *grades]


def _lengths(config: ProgressiveConfig, epochs: list[int | None]) -> list[int | None]:
    """The grades' epochs by `distill.chain_epochs`, from those that `distill` gives them; None for those of the run."""
    distill, train = config.distill, config.train
    untaught = not lookup(METHODS["text"], distill.method, "distill.method").teacher
    if not distill.chain_epochs:
        return [None] * len(epochs) if untaught else epochs
    if distill.init == "teacher" and (untaught or distill.taught_by == "teacher"):
        chain = accumulate(first_set(length, train.epochs) for length in epochs)
        return [length + (train.epochs if untaught else 0) for length in chain]
    return epochs

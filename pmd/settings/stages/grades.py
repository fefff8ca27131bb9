"""The stages that a run has if it lists none: a teacher and the grades of `distill`."""

from __future__ import annotations

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
    first = {}
    for depth, *settings in zip(depths, distill.mask_rates, epochs):
        first.setdefault(depth, settings)
    lengths = _lengths(config, [epochs for _, epochs in first.values()])
    grades = [
        StageConfig(f"grade{depth}", depth, rate, epochs=epochs)
        for (depth, (rate, _)), epochs in zip(first.items(), lengths)
    ]
    return [StageConfig("teacher", layers if config.teacher is None else None), *grades]


def _lengths(config: ProgressiveConfig, epochs: list[int | None]) -> list[int | None]:
    """The grades' epochs by `distill.chain_epochs`, from those that `distill` gives them; None for those of the run."""
    distill, train = config.distill, config.train
    untaught = not lookup(METHODS["text"], distill.method, "distill.method").teacher
    if distill.chain_epochs and (untaught or distill.taught_by == "teacher"):
        chain = accumulate(first_set(length, train.epochs) for length in epochs)
        return [length + (train.epochs if untaught else 0) for length in chain]
    return [None] * len(epochs) if untaught else epochs

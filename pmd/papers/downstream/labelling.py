"""Labelling entities (MED, Eq. 10): a perceptron of two layers reads trained embeddings, which stay as they are.

    entities, labels = prefix_labels(graph)  # or read_labels(graph, path)
    vectors = entity_vectors(pmd.load(run).model, entities, width=16)
    classifier, metrics = train_labelling(vectors, labels, LabellingConfig(), seed=0)  # metrics["test"]["f1"]
    classifier.predict(vectors)

The classifier is one of scikit-learn (the extra `downstream`).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.papers.downstream.metrics import labelling_metrics, sklearn

SPLIT = 5
"""Entities of a class that a split into three needs."""


@dataclass
class LabellingConfig:
    """The classifier and its training.

    Args:
        hidden: width of the hidden layer.
        epochs: at most; training stops when the loss does not fall any more.
        lr: of Adam.
        l2: weights of the squared parameters: the one that is best on validation is kept.
        least: a class with fewer entities is left out; at least 5, which a split needs.
    """

    hidden: int = 64
    epochs: int = 100
    lr: float = 0.005
    l2: list[float] = field(default_factory=lambda: [0.01, 0.3, 3.0])
    least: int = 10


def prefix_labels(graph: KnowledgeGraph) -> tuple[Tensor, list[str]]:
    """All entity positions (n,) and what stands before the colon of their ids, such as `currency` in `world`.

    Raises:
        PmdError: if an id has no colon.
    """
    plain = next((key for key in graph.entity_ids if ":" not in key), None)
    if plain is not None:
        raise PmdError(f"labels: entity '{plain}' of '{graph.name}' has no prefix ending in a colon; write labels.tsv")
    return torch.arange(graph.num_entities), [key.split(":")[0] for key in graph.entity_ids]


def large_classes(labels: Sequence[str], least: int) -> tuple[Tensor, dict[str, int]]:
    """The positions (n,) of labels whose class has at least `least` entities, and the sizes of the classes left out.

    Raises:
        PmdError: if fewer than two classes remain.
    """
    counts = Counter(labels)
    small = {label: count for label, count in counts.items() if count < least}
    if len(counts) - len(small) < 2:
        raise PmdError(f"labels: {len(counts) - len(small)} class(es) of at least {least} entities; two are needed")
    return torch.tensor([place for place, label in enumerate(labels) if label not in small]), small


def split_labels(labels: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """Positions by part: 60 % `train`, 20 % `valid`, 20 % `test`, each with its share of every class (stratified)."""
    split, labels = sklearn("model_selection").train_test_split, np.asarray(labels)
    train, rest = split(np.arange(len(labels)), test_size=0.4, stratify=labels, random_state=seed)
    valid, test = split(rest, test_size=0.5, stratify=labels[rest], random_state=seed)
    return {"train": train, "valid": valid, "test": test}


def train_labelling(
    vectors: Tensor, labels: Sequence[str], config: LabellingConfig, seed: int
) -> tuple[Any, dict[str, dict[str, float]]]:
    """Train on the vectors (n, d) of 60 % of the entities.

    Returns:
        A scikit-learn pipeline that standardises by these entities and classifies, and `accuracy` and `f1` of `valid`
        and `test`.

    Raises:
        PmdError: if a class has too few entities for a split.
    """
    rare, count = min(Counter(labels).items(), key=lambda item: item[1])
    if count < SPLIT:
        raise PmdError(f"labels: class '{rare}' has {count} entities, too few for a split; leave it out")
    parts, x, y = split_labels(labels, seed), vectors.numpy(), np.asarray(labels)
    scaler, network = sklearn("preprocessing").StandardScaler, sklearn("neural_network").MLPClassifier
    found = []
    for l2 in config.l2:
        classifier = sklearn("pipeline").make_pipeline(
            scaler(),
            network(
                (config.hidden,), alpha=l2, learning_rate_init=config.lr, max_iter=config.epochs, random_state=seed
            ),
        )
        with warnings.catch_warnings():  # that the last epoch was reached, which is as good a place to stop
            warnings.simplefilter("ignore", sklearn("exceptions").ConvergenceWarning)
            classifier.fit(x[parts["train"]], y[parts["train"]])
        metrics = {
            part: labelling_metrics(y[parts[part]], classifier.predict(x[parts[part]])) for part in ("valid", "test")
        }
        found.append((metrics["valid"]["accuracy"], classifier, metrics))
    _, classifier, metrics = max(found, key=lambda item: item[0])
    return classifier, metrics

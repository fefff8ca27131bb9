"""Table 5 of MED (Zhu et al., ACL 2025), entity labelling (Eq. 10): a perceptron of two layers reads trained embeddings,
which stay as they are.

    entities, labels = prefix_labels(graph)  # or read_labels(graph, path)
    vectors = pmd.load(run).model.entity_vectors(entities, width=16)
    classifier, metrics = train_labelling(vectors, labels, LabellingConfig(), seed=0)  # metrics["test"]["f1"]
    classifier.predict(vectors)

The classifier comes from scikit-learn (the extra `downstream`).
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

SMALLEST_CLASS = 5
"""Entities of a class that a split into three parts needs."""


@dataclass
class LabellingConfig:
    """The classifier and its training.

    Args:
        hidden: width of the hidden layer.
        epochs: epochs at most; training stops when the loss no longer falls.
        lr: Adam's.
        l2: weights of the squared parameters; the one that is best on validation is kept.
        least: a class with fewer entities is left out; at least 5, which a split needs.
    """

    hidden: int = 64
    epochs: int = 100
    lr: float = 0.005
    l2: list[float] = field(default_factory=lambda: [0.01, 0.3, 3.0])
    least: int = 10


def prefix_labels(graph: KnowledgeGraph) -> tuple[Tensor, list[str]]:
    """All entity positions (n,) and what stands before the colon of their ids, such as `currency` in `world`. PmdError
    if an id has no colon."""
    plain = next((key for key in graph.entity_ids if ":" not in key), None)
    if plain is not None:
        raise PmdError(f"labels: entity '{plain}' of '{graph.name}' has no prefix ending in a colon; write labels.tsv")
    return torch.arange(graph.num_entities), [key.split(":")[0] for key in graph.entity_ids]


def large_classes(labels: Sequence[str], least: int) -> tuple[Tensor, dict[str, int]]:
    """The positions (n,) of labels whose class has at least `least` entities, and the sizes of the classes left out.
    PmdError if fewer than two classes remain."""
    sizes = Counter(labels)
    small = {label: size for label, size in sizes.items() if size < least}
    if len(sizes) - len(small) < 2:
        raise PmdError(f"labels: {len(sizes) - len(small)} class(es) of at least {least} entities; two are needed")
    return torch.tensor([position for position, label in enumerate(labels) if label not in small]), small


def split_labels(labels: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """Positions by part: 60 % `train`, 20 % `valid`, 20 % `test`, each with its share of every class (stratified)."""
    from sklearn.model_selection import train_test_split

    labels = np.asarray(labels)
    train, rest = train_test_split(np.arange(len(labels)), test_size=0.4, stratify=labels, random_state=seed)
    valid, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=seed)
    return {"train": train, "valid": valid, "test": test}


def train_labelling(
    vectors: Tensor, labels: Sequence[str], config: LabellingConfig, seed: int
) -> tuple[Any, dict[str, dict[str, float]]]:
    """Train on the vectors (n, d) of 60 % of the entities. PmdError if a class has too few entities for a split.

    Returns:
        A scikit-learn pipeline that standardises by these entities and classifies, and `accuracy` and `f1` of `valid`
        and `test`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    smallest, size = min(Counter(labels).items(), key=lambda item: item[1])
    if size < SMALLEST_CLASS:
        raise PmdError(f"labels: class '{smallest}' has {size} entities, too few for a split; leave it out")
    parts, x, y = split_labels(labels, seed), vectors.numpy(), np.asarray(labels)
    train, held_out = parts.pop("train"), parts
    shared = {"learning_rate_init": config.lr, "max_iter": config.epochs, "random_state": seed}
    fitted = []
    for l2 in config.l2:
        classifier = make_pipeline(StandardScaler(), MLPClassifier((config.hidden,), alpha=l2, **shared))
        with warnings.catch_warnings():  # of those that stop at the last epoch
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(x[train], y[train])
        metrics = {name: labelling_metrics(y[part], classifier.predict(x[part])) for name, part in held_out.items()}
        fitted.append((classifier, metrics))
    return max(fitted, key=lambda pair: pair[1]["valid"]["accuracy"])


def labelling_metrics(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """`accuracy`, and `f1`: the mean over classes (macro)."""
    from sklearn.metrics import accuracy_score, f1_score

    f1 = f1_score(truth, predicted, average="macro")
    return {"accuracy": float(accuracy_score(truth, predicted)), "f1": float(f1)}

"""GLUE's metrics against scikit-learn and scipy, and against `evaluate`."""

from pathlib import Path

import evaluate
import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from pmd.data.texts.batches import Chunk
from pmd.evaluation.glue import collect_logits, glue_metrics, glue_score, majority_metrics, predictions_of
from pmd.evaluation.speed import median_seconds
from pmd.settings.catalogue import TASKS, task_of

MODULE = Path(__file__).resolve().parents[2] / "pmd" / "evaluation" / "glue_scores"
ORACLE = {
    "accuracy": lambda p, y: accuracy_score(y, p),
    "f1": lambda p, y: f1_score(y_true=y, y_pred=p),
    "matthews_correlation": lambda p, y: matthews_corrcoef(y, p),
    "pearson": lambda p, y: pearsonr(p, y)[0],
    "spearmanr": lambda p, y: spearmanr(p, y)[0],
}


def drawn(key: str, seed: int = 0, n: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels that agree now and then; similarities with ties."""
    generator = np.random.default_rng(seed)
    if task_of(key).regression:
        labels = generator.integers(0, 11, n) / 2
        return np.round(labels + generator.normal(size=n), 1).astype(np.float32), labels.astype(np.float32)
    labels = generator.integers(0, task_of(key).num_labels, n)
    return np.where(generator.random(n) < 0.5, labels, generator.integers(0, task_of(key).num_labels, n)), labels


@pytest.mark.parametrize("key", TASKS)
def test_metrics_equal_scikit_learn_and_scipy(key):
    for seed in range(3):
        predictions, labels = drawn(key, seed)
        metrics = glue_metrics(task_of(key), predictions, labels)
        assert metrics == pytest.approx({name: ORACLE[name](predictions, labels) for name in metrics}, abs=1e-6)


@pytest.mark.parametrize("key", TASKS)
def test_our_evaluate_module_needs_no_network(key):
    predictions, labels = drawn(key)
    found = evaluate.load(str(MODULE), key).compute(predictions=predictions, references=labels)
    assert found == pytest.approx(glue_metrics(task_of(key), predictions, labels), abs=1e-9)


@pytest.mark.parametrize("split", ["mnli_matched", "mnli_mismatched"])
def test_our_evaluate_module_knows_the_hubs_names_of_mnli(split):
    assert evaluate.load(str(MODULE), split).compute(predictions=[2, 0], references=[2, 1]) == {"accuracy": 0.5}


def test_metrics_equal_those_of_the_hub():
    try:
        modules = {key: evaluate.load("glue", key) for key in TASKS if key != "mnli"}
        modules["mnli"] = evaluate.load("glue", "mnli_matched")
    except (OSError, ValueError, ImportError) as error:
        pytest.skip(
            f"evaluate's module `glue` must be fetched: {type(error).__name__}; held against scikit-learn instead"
        )
    for key, module in modules.items():
        predictions, labels = drawn(key)
        found = module.compute(predictions=predictions, references=labels)
        assert found == pytest.approx(glue_metrics(task_of(key), predictions, labels), abs=1e-6)


def test_values_by_hand():
    mrpc = glue_metrics(task_of("mrpc"), [1, 1, 1, 0], [1, 1, 0, 1])
    assert mrpc == {"accuracy": 0.5, "f1": pytest.approx(2 / 3)}
    assert glue_score({"validation": mrpc}) == pytest.approx((1 / 2 + 2 / 3) / 2)
    matched, mismatched = {"accuracy": 0.8}, {"accuracy": 0.6}
    assert glue_score({"validation_matched": matched, "validation_mismatched": mismatched}) == pytest.approx(0.7)
    # 2 · (2·1 - 1·0) / sqrt(3 · 2 · 1 · 2): tp 2, tn 1, fp 1, fn 0
    assert glue_metrics(task_of("cola"), [1, 1, 1, 0], [1, 1, 0, 0])["matthews_correlation"] == pytest.approx(
        2 / 12**0.5
    )


def test_constant_predictions_correlate_with_nothing():
    assert glue_metrics(task_of("stsb"), [2.0] * 4, [1.0, 2.0, 3.0, 4.0]) == {"pearson": 0.0, "spearmanr": 0.0}
    assert glue_metrics(task_of("cola"), [1] * 4, [1, 0, 1, 0]) == {"matthews_correlation": 0.0}
    assert glue_metrics(task_of("mrpc"), [0, 0], [0, 0]) == {"accuracy": 1.0, "f1": 0.0}


def test_the_majority_class_is_that_of_training():
    found = majority_metrics(task_of("mrpc"), np.array([0, 1, 1]), np.array([1, 0, 0, 0]))
    assert found == {"accuracy": 0.25, "f1": 0.4}
    assert majority_metrics(task_of("cola"), np.array([1, 1]), np.array([1, 0])) == {"matthews_correlation": 0.0}
    assert majority_metrics(task_of("mnli"), np.array([2, 0, 2]), np.array([2, 1])) == {"accuracy": 0.5}
    assert majority_metrics(task_of("stsb"), np.array([1.0, 2.0]), np.array([1.0, 2.0])) == {}


def test_logits_come_back_in_the_order_of_the_texts():
    def chunk(rows):
        ids = torch.tensor(rows)[:, None]
        return Chunk(ids, torch.ones_like(ids), torch.zeros_like(ids), torch.tensor(rows))

    def logits(part):  # two models, three classes: the row itself, and its negative
        values = part.input_ids.float()
        return torch.stack([torch.cat([values, values + 1, values - 1], 1), -values.expand(-1, 3)])

    found = collect_logits(logits, [chunk([3, 1]), chunk([0]), chunk([2, 4])], "cpu")
    assert found[0, :, 0].tolist() == [0, 1, 2, 3, 4] and found[1, :, 2].tolist() == [0, -1, -2, -3, -4]
    assert predictions_of(task_of("mnli"), found).tolist() == [[1] * 5, [0] * 5]
    assert predictions_of(task_of("stsb"), found)[0].tolist() == [0, 1, 2, 3, 4]


def test_calls_take_turns():
    order = []
    found = median_seconds({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "b"] * 4 and found.keys() == {"a", "b"}  # once to get warm

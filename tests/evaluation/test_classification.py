import numpy as np
import pytest

from pmd.evaluation.classification import area_under_curve, best_threshold, classification_metrics

LABELS, VALUES = np.array([True, False, True, False]), np.array([3.0, 2.0, 1.0, 0.0])


def test_metrics_by_hand():
    expected = {"accuracy": 0.75, "f1": 0.8, "auc": 0.75, "true": 2, "false": 2}
    assert classification_metrics(LABELS, VALUES >= 0.5, VALUES) == pytest.approx(expected)


def test_nothing_judged_true_has_no_f1_but_an_accuracy():
    measured = classification_metrics(np.array([False, False]), np.array([False, False]), np.array([1.0, 2.0]))
    assert measured["accuracy"] == 1 and np.isnan(measured["f1"]) and np.isnan(measured["auc"])


@pytest.mark.parametrize("seed", range(10))
def test_area_and_threshold_are_those_of_loops(seed):
    random = np.random.default_rng(seed)
    labels, values = random.random(30) < 0.4, random.integers(0, 8, 30).astype(float)
    labels[:2] = True, False
    pairs = [(t > f) + 0.5 * (t == f) for t in values[labels] for f in values[~labels]]
    assert area_under_curve(labels, values) == pytest.approx(np.mean(pairs))
    accuracies = [((values >= cut) == labels).mean() for cut in (*values, 9.0)]
    threshold = best_threshold(labels, values)
    assert ((values >= threshold) == labels).mean() == max(accuracies)


@pytest.mark.parametrize(("label", "kept"), [(True, 3), (False, 0)])
def test_triples_of_one_kind_are_all_judged_alike(label, kept):
    values = np.array([1.0, 2.0, 2.0])
    assert (values >= best_threshold(np.full(3, label), values)).sum() == kept

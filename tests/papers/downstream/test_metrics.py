"""Metrics of the downstream tasks against scikit-learn and by hand."""

import math

import numpy as np
import pytest
import torch

from pmd.core.errors import PmdError
from pmd.papers.downstream.metrics import labelling_metrics, ndcg, sklearn


@pytest.mark.parametrize("k", [1, 5, 10, 30])
def test_ndcg_is_that_of_scikit_learn(k):
    """On scores with many ties, with some candidates left out."""
    from sklearn.metrics import ndcg_score

    torch.manual_seed(0)
    scores, wanted = torch.randint(8, (50, 20)).float(), torch.randint(20, (50,))
    excluded = torch.rand(50, 20) < 0.3
    excluded[torch.arange(50), wanted] = False
    expected = []
    for user in range(50):
        kept = (~excluded[user]).nonzero()[:, 0].tolist()
        truth = [[float(item == wanted[user]) for item in kept]]
        expected.append(ndcg_score(truth, [scores[user, kept].tolist()], k=k))
    assert ndcg(scores, wanted, excluded, k) == pytest.approx(np.mean(expected), abs=1e-12)


def test_ndcg_by_hand():
    scores = torch.tensor([[3.0, 2, 1, 0], [3, 2, 1, 0], [0, 0, 0, 1]])
    wanted, nothing = torch.tensor([0, 2, 1]), torch.zeros(3, 4, dtype=torch.bool)
    third, shared = 1 / math.log2(4), (1 / math.log2(3) + 1 / math.log2(4) + 1 / math.log2(5)) / 3
    assert ndcg(scores, wanted, nothing, 5) == pytest.approx((1 + third + shared) / 3)
    assert ndcg(scores, wanted, nothing, 2) == pytest.approx((1 + 0 + 1 / math.log2(3) / 3) / 3)
    nothing[1, 0] = True
    assert ndcg(scores, wanted, nothing, 2) == pytest.approx((1 + (1 + 1 / 3) / math.log2(3)) / 3)


def test_f1_is_the_mean_over_classes():
    found = labelling_metrics(["a", "a", "a", "b"], ["a", "a", "b", "b"])
    assert found == {"accuracy": 0.75, "f1": pytest.approx((0.8 + 2 / 3) / 2)}


def test_without_scikit_learn_the_way_out_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.metrics", None)
    with pytest.raises(PmdError, match=r"scikit-learn.*'pmd\[downstream\]'"):
        sklearn("metrics")

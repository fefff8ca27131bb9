"""The paired bootstrap beside scipy's, beside all resamples of a small case, and beside a plain loop."""

import itertools
from inspect import signature

import numpy as np
import pytest

from pmd.core.errors import PmdError
from pmd.evaluation import paired
from pmd.evaluation.paired import Paired, paired_bootstrap, query_values, resampled_means


def drawn(seed, queries=400, seeds=2, best=1):
    generator = np.random.default_rng(seed)
    return [generator.integers(best, 40, queries).astype(np.float32) for _ in range(seeds)]


def test_the_values_of_queries():
    ranks = np.array([1, 2.5, 3, 10, 11], dtype=np.float32)
    assert query_values(ranks, "mrr").tolist() == pytest.approx([1, 0.4, 1 / 3, 0.1, 1 / 11], abs=1e-12)
    assert query_values(ranks, "hits_at_3").tolist() == [1, 1, 1, 0, 0]
    assert query_values(ranks, "hits_at_10").tolist() == [1, 1, 1, 1, 0]
    for metric in ("mr", "hits_at_x", "recall"):
        with pytest.raises(PmdError, match=f"'{metric}' is not compared"):
            query_values(ranks, metric)


def test_the_example_of_the_docstring():
    first, second = [np.array([1.0, 2.0, 4.0])], [np.array([2.0, 2.0, 8.0])]
    result = paired_bootstrap(first, second, samples=200_000)
    all_means = [np.mean(draw) for draw in itertools.product([0.5, 0.0, 0.125], repeat=3)]
    assert sum(mean > 0 for mean in all_means) == 26
    assert result.difference == pytest.approx(0.625 / 3, abs=1e-12)
    assert result.above == pytest.approx(26 / 27, abs=0.002)
    resampled = resampled_means(np.array([0.5, 0.0, 0.125]), 200_000, 0)
    assert resampled.mean() == pytest.approx(np.mean(all_means), abs=1e-3)
    assert resampled.std() == pytest.approx(np.std(all_means), abs=1e-3)


@pytest.mark.parametrize("metric", ["mrr", "hits_at_10"])
def test_scipy_agrees(metric):
    bootstrap = pytest.importorskip("scipy.stats").bootstrap
    generator = "rng" if "rng" in signature(bootstrap).parameters else "random_state"  # its name before scipy 1.15
    first, second = drawn(1), drawn(2)
    values = [np.mean([query_values(ranks, metric) for ranks in model], axis=0) for model in (first, second)]
    theirs = bootstrap(
        values,
        lambda a, b, axis: (a - b).mean(axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        **{generator: np.random.default_rng(3)},
    )
    ours = paired_bootstrap(first, second, metric, samples=20_000)
    assert ours.difference == pytest.approx(values[0].mean() - values[1].mean(), abs=1e-12)
    near = 0.05 * theirs.standard_error + 1 / 800  # the means of hits are multiples of 1 / 800
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=near)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=near)
    assert ours.above == pytest.approx((theirs.bootstrap_distribution > 0).mean(), abs=0.01)


@pytest.mark.parametrize("unit", ["query", "triple"])
def test_a_plain_loop_agrees(unit, monkeypatch):
    first, second = drawn(4, queries=30), drawn(5, queries=30, seeds=3, best=2)
    monkeypatch.setattr(paired, "BLOCK", 100)  # three samples of thirty at a time
    result = paired_bootstrap(first, second, samples=50, seed=7, unit=unit)
    differences = []
    for query in range(30):
        means = [sum(1 / float(ranks[query]) for ranks in model) / len(model) for model in (first, second)]
        differences.append(means[0] - means[1])
    if unit == "triple":
        differences = [(differences[i] + differences[15 + i]) / 2 for i in range(15)]
    generator, means = np.random.default_rng(7), []
    for _ in range(50):
        drawn_at_once = [differences[i] for i in generator.integers(0, len(differences), len(differences))]
        means.append(sum(drawn_at_once) / len(differences))
    assert result.difference == pytest.approx(sum(differences) / len(differences), abs=1e-12)
    assert [result.low, result.high] == pytest.approx(np.percentile(means, [2.5, 97.5]).tolist(), abs=1e-12)
    assert result.above == sum(mean > 0 for mean in means) / 50


def test_better_means_that_the_whole_interval_is_above_zero():
    far = paired_bootstrap(drawn(1), [ranks + 20 for ranks in drawn(1)])
    assert far.better and not far.worse and far.above == 1
    back = paired_bootstrap([ranks + 20 for ranks in drawn(1)], drawn(1))
    assert back.worse and not back.better and back.difference == -far.difference
    same = paired_bootstrap(drawn(1), drawn(1))
    assert same == Paired(0, 0, 0, 0) and not same.better and not same.worse


def test_ranks_of_other_queries_are_refused():
    for first, second in (
        (drawn(1), drawn(1, queries=399)),
        ([], drawn(1)),
        (drawn(1, queries=0), drawn(1, queries=0)),
    ):
        with pytest.raises(PmdError, match="rank the same split with both"):
            paired_bootstrap(first, second)

"""Weights by validation: against a ranking of every mixture, and by hand."""

import numpy as np
import pytest
import torch

from pmd.evaluation.fusing import SHARES, Validated, choose, cross_validated, inverse_temperature, shares_of


def validated(reciprocal, questions=None, triples=None, features=None):
    count = len(reciprocal)
    questions = np.zeros(count, dtype=int) if questions is None else np.array(questions)
    features = np.zeros((count, 5)) if features is None else features
    return Validated(np.ones(2), np.arange(count) if triples is None else triples, questions, features, reciprocal)


def peaks(at):
    """A curve for each query, highest at a place of the grid."""
    return 1 - np.abs(np.arange(len(SHARES)) - np.array(at)[:, None]) / len(SHARES)


def test_the_temperature_is_the_most_likely():
    torch.manual_seed(0)
    scores, answers = torch.randn(200, 9), torch.randint(0, 9, (200,))
    scores[torch.arange(200), answers] += 1
    scores[:, 3] = torch.where(answers == 3, scores[:, 3], -torch.inf)
    beta = inverse_temperature(scores, answers)
    likelihood = [
        torch.nn.functional.cross_entropy(scores * b, answers).item() for b in (0.98 * beta, beta, 1.02 * beta)
    ]
    assert likelihood[1] < min(likelihood[0], likelihood[2])


def test_a_common_share_is_at_the_highest_mean():
    weights = choose("common", validated(peaks([4, 12, 4, 4, 4])), 2)
    assert weights.shares.tolist() == [weights.common] * 2 == [SHARES[4]] * 2


def test_relations_go_their_own_way_if_they_have_many_queries():
    at = [4] * 900 + [16] * 300 + [20]
    questions = [0] * 900 + [1] * 300 + [2]
    weights = choose("relation", validated(peaks(at), questions), 4)
    assert weights.common == SHARES[4]
    assert weights.shares.tolist() == [SHARES[4], SHARES[16], SHARES[4], SHARES[4]]


def test_shares_by_query_follow_a_feature():
    x = np.random.default_rng(0).normal(size=(400, 5))
    queries = validated(peaks(np.where(x[:, 2] > 0, 17, 3)), features=x)
    weights = choose("query", queries, 1)
    shares = shares_of(weights, queries)
    assert weights.by_query and shares[x[:, 2] > 0.5].min() > 0.6 and shares[x[:, 2] < -0.5].max() < 0.4
    assert queries.mrr(shares) > queries.mrr(np.full(400, weights.common)) + 0.1
    assert cross_validated("query", queries, 1) > cross_validated("common", queries, 1) + 0.1


def test_both_queries_of_a_triple_are_in_one_fold():
    """Were they not, each would be ranked by what the other chose."""
    at, triples = np.arange(20).repeat(2), np.arange(20).repeat(2)
    alone = validated(peaks(at), questions=at, triples=triples)
    common = validated(peaks(at), triples=triples)
    assert cross_validated("relation", alone, 20) == pytest.approx(cross_validated("common", common, 20))


def test_an_unknown_kind_of_query_has_the_common_share():
    weights = choose("relation", validated(peaks([4] * 900 + [16] * 300), [0] * 900 + [1] * 300), 2)
    assert weights.take(np.array([1, -1])).shares.tolist() == [SHARES[16], SHARES[4]]

"""Recommendation: vectors that know tastes help, those that do not do not; masks and seeds hold."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pmd.papers.downstream.recommend import NcfConfig, NeuMF, draw_negatives, ndcg, standardised, train_ncf
from pmd.papers.downstream.shop import ShopConfig, make_shop

CONFIG = NcfConfig(epochs=15, weight_decay=[1e-5])


@pytest.fixture(scope="module")
def shop():
    return make_shop(ShopConfig(users=500, items=80, viewed=4, sharpness=8.0))


@pytest.fixture(scope="module")
def plain(shop):
    return train_ncf(shop.interactions, None, CONFIG, 0)


def test_planted_tastes_beat_plain_ncf_and_noise(shop, plain):
    data = shop.interactions
    scores = {"none": plain[1], "taste": train_ncf(data, standardised(shop.tastes), CONFIG, 0)[1]}
    torch.manual_seed(0)
    scores["noise"] = train_ncf(data, torch.randn(shop.tastes.shape), CONFIG, 0)[1]
    found = {name: result["test"]["ndcg@10"] for name, result in scores.items()}
    assert found["taste"] > found["none"] + 0.05 and found["taste"] > found["noise"] + 0.05, found
    assert scores["taste"]["test"]["ndcg@5"] <= found["taste"]


def test_the_model_is_the_best_on_validation_and_a_function_of_the_seed(shop, plain):
    model, found = plain
    again, same = train_ncf(shop.interactions, None, CONFIG, 0)
    assert found == same and torch.equal(model.score_all(), again.score_all())
    shorter = train_ncf(shop.interactions, None, replace(CONFIG, epochs=3), 0)[1]
    assert found["valid"]["ndcg@10"] >= shorter["valid"]["ndcg@10"]
    assert train_ncf(shop.interactions, None, replace(CONFIG, epochs=3), 1)[1] != shorter


def test_validation_chooses_the_weight_decay(shop, plain):
    """So large a decay that nothing is learned is tried and not taken."""
    ruined = train_ncf(shop.interactions, None, replace(CONFIG, weight_decay=[1.0]), 0)[1]
    assert ruined["valid"]["ndcg@10"] < plain[1]["valid"]["ndcg@10"]
    assert train_ncf(shop.interactions, None, replace(CONFIG, weight_decay=[1.0, 1e-5]), 0)[1] == plain[1]


def test_all_scores_are_those_of_pairs_one_by_one():
    torch.manual_seed(0)
    model = NeuMF(7, 5, torch.randn(7, 3), NcfConfig(factors=4, layers=[6])).eval()
    for table in (model.gmf_user, model.gmf_item, model.user, model.item):
        torch.nn.init.normal_(table.weight)
    everything = model.score_all(chunk=2)
    for user in range(7):
        for item in range(5):
            joined = torch.cat([model.user.weight[user], model.item.weight[item], model.vectors[user]])
            hidden = torch.relu(model.perceptron[1][0](joined))
            product = model.gmf_user.weight[user] * model.gmf_item.weight[item]
            expected = model.output(torch.cat([product, hidden]))
            assert everything[user, item].item() == pytest.approx(expected.item(), abs=1e-5)


def test_service_vectors_are_not_trained(shop):
    vectors = standardised(shop.tastes)
    before = vectors.clone()
    model, _ = train_ncf(shop.interactions, vectors, NcfConfig(epochs=1), 0)
    assert torch.equal(model.vectors, before) and "vectors" not in model.state_dict()


def test_negatives_are_what_was_not_bought():
    bought = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 1]]).bool()
    torch.manual_seed(0)
    users = torch.arange(2).repeat(300)
    items = draw_negatives(users, bought)
    assert not bought[users, items].any()
    counts = items[users == 1].bincount(minlength=4).tolist()
    assert counts[3] == 0 and min(counts[:3]) > 60


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

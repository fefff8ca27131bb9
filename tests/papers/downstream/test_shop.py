"""The generated shop: the same from the same seed, nothing left out leaks, and its tastes are in what it shows."""

from dataclasses import replace

import pytest
import torch

import pmd
from pmd.core.errors import PmdError
from pmd.papers.downstream.interactions import read_interactions
from pmd.papers.downstream.shop import ShopConfig, make_shop, write_shop

SMALL = ShopConfig(users=60, items=40, groups=3)


def pairs_of(shop, part):
    """(user id, item id) of a part, the slow way."""
    data, ids = shop.interactions, shop.graph.entity_ids
    pairs = data.train.tolist() if part == "train" else list(enumerate(getattr(data, part).tolist()))
    return {(ids[data.users[user]], ids[data.items[item]]) for user, item in pairs}


def test_a_seed_is_a_shop(tmp_path):
    for place in ("a", "b"):
        write_shop(make_shop(SMALL), tmp_path / place)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        "entities.tsv", "interactions.tsv", "labels.tsv", "relations.tsv", "test.tsv", "train.tsv", "valid.tsv"
    ]  # fmt: skip
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = make_shop(replace(SMALL, seed=1))
    assert other.graph.checksum() != make_shop(SMALL).graph.checksum()


def test_what_is_held_out_is_nowhere_in_the_graph():
    shop = make_shop(SMALL)
    graph, ids = shop.graph, shop.graph.entity_ids
    triples = torch.cat([graph.train, graph.valid, graph.test]).tolist()
    linked = {frozenset((ids[h], ids[t])) for h, _, t in triples}
    held = [{frozenset(pair) for pair in pairs_of(shop, part)} for part in ("valid", "test")]
    assert len(held[0]) == len(held[1]) == 60 and not held[0] & held[1]
    assert not (held[0] | held[1]) & linked
    assert {frozenset(pair) for pair in pairs_of(shop, "train")} <= linked  # so the check above can see something
    assert len(triples) == 60 * (3 + 12 + 3) + 40 * 3  # bought, viewed and attributes, each once
    # Every entity has a triple to learn from, and no label is an entity.
    assert len({h for h, _, _ in graph.train.tolist()}) == 100 and not any("group" in key for key in ids)


def test_seen_is_what_graph_and_purchases_say():
    shop = make_shop(SMALL)
    data, graph = shop.interactions, shop.graph
    expected = torch.zeros(60, 40, dtype=torch.bool)
    for h, _, t in torch.cat([graph.train, graph.valid, graph.test]).tolist():
        if graph.entity_ids[h].startswith("user:") and graph.entity_ids[t].startswith("item:"):
            expected[data.users.tolist().index(h), data.items.tolist().index(t)] = True
    assert torch.equal(data.seen, expected) and data.seen.sum() == 60 * 15
    more = data.excluded("test") & ~data.seen
    assert torch.equal(more.nonzero()[:, 1], data.valid) and torch.equal(data.excluded("valid"), data.seen)


def test_tastes_decide_what_is_met():
    shop, chance = make_shop(SMALL), make_shop(replace(SMALL, sharpness=0.0))
    seen = [found.interactions.seen.float() for found in (shop, chance)]
    same = shop.groups[:, None] == shop.groups
    likeness = [(matrix @ matrix.T)[same].mean() / (matrix @ matrix.T)[~same].mean() for matrix in seen]
    assert likeness[0] > 1.3 * likeness[1]


def test_folders_read_as_written(tmp_path):
    shop = make_shop(SMALL)
    graph = pmd.load_graph(write_shop(shop, tmp_path / "shop"))
    found = read_interactions(graph, tmp_path / "shop")
    assert graph.checksum() == shop.graph.checksum()
    for name in ("users", "items", "train", "valid", "test", "seen"):
        assert torch.equal(getattr(found, name), getattr(shop.interactions, name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("\ttest", "\tbest"), "line 241.*'best'.*train, valid, test"),
        (("user:0\t", "user:x\t"), r"line 1: 'shop'.*'user:x'"),
        (("\tvalid", "\ttrain"), "interactions: 'user:0'.*0.*valid"),
        (("", ""), "held out of 'user:0'"),
    ],
)
def test_interactions_that_cannot_be_used(change, message, tmp_path):
    shop = make_shop(SMALL)
    write_shop(shop, tmp_path / "shop")
    path = tmp_path / "shop" / "interactions.tsv"
    text = path.read_text()
    if change == ("", ""):  # the test item is bought as well
        user, item = next(pair for pair in pairs_of(shop, "test") if pair[0] == "user:0")
        text += f"{user}\t{item}\ttrain\n"
    path.write_text(text.replace(*change, 1 if "user" in change[0] or "best" in change[1] else -1))
    with pytest.raises(PmdError, match=message):
        read_interactions(pmd.load_graph(tmp_path / "shop"), tmp_path / "shop")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ShopConfig(items=17), "shop.items: 17.*meets 17"),
        (ShopConfig(users=0), "shop.users: 0"),
        (ShopConfig(sharpness=-1.0), "shop.sharpness: -1.0"),
    ],
)
def test_shops_that_cannot_be(config, message):
    with pytest.raises(PmdError, match=message):
        make_shop(config)

"""Table 5 of MED (Zhu et al., ACL 2025), a stand-in for its shop: users with tastes, items, and a knowledge graph that
tells more about the tastes than a few purchases.

The graph of the paper (SKG, Section 5.4) is not public, so this one is drawn from a seed:

- a user belongs to a group and has a taste (d,) near that of the group; an item's vector is that of its category, brand
  and style, with noise;
- a user meets items with probability ∝ exp(sharpness · taste · item + popularity), none twice. One of them is held out
  for the test and one for validation; some were bought and are what a recommender learns from; some were viewed;
- the graph has the attributes of items, attributes of users that follow their taste with noise, and what was bought and
  viewed. What is held out is in no triple. The group is the user's label, and is not in the graph either.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pmd.core.errors import PmdError
from pmd.core.files import write_folder
from pmd.data.graphs.files.tsv import write_columns
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_graph
from pmd.papers.downstream.interactions import Interactions, interactions_of, write_interactions
from pmd.settings.checks import check_numbers

ITEM_ATTRIBUTES = {"category": 20, "brand": 40, "style": 12}
USER_ATTRIBUTES = {"age": 6, "job": 12, "hobby": 16}
"""The number of values of each attribute."""


@dataclass
class ShopConfig:
    """A generated shop.

    Args:
        users: number of users.
        items: number of items.
        groups: number of groups of users, which are what is to be labelled.
        taste: dimensions of a taste.
        bought: purchases of each user, for the recommender and the graph.
        viewed: further items of each user that only the graph knows.
        sharpness: how much taste decides; 0 is chance.
        noise: of a user's taste around that of the group, and of an item's vector around that of its attributes.
        seed: of all random draws.
    """

    users: int = 2000
    items: int = 300
    groups: int = 8
    taste: int = 6
    bought: int = 3
    viewed: int = 12
    sharpness: float = 5.0
    noise: float = 0.7
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Shop:
    """`graph`, `interactions`, and what no model is told: the group (u,) and the taste (u, taste) of every user."""

    graph: KnowledgeGraph
    interactions: Interactions
    groups: Tensor
    tastes: Tensor


def make_shop(config: ShopConfig) -> Shop:
    """Draw a shop; the same config gives the same one. PmdError for sizes that leave nothing to recommend."""
    sizes = {f"shop.{field.name}": getattr(config, field.name) for field in fields(config)}
    not_negative = {key: sizes.pop(key) for key in ("shop.sharpness", "shop.noise", "shop.seed")}
    check_numbers(sizes, not_negative)
    met = 2 + config.bought + config.viewed
    if met >= config.items:
        raise PmdError(f"shop.items: {config.items} are too few where a user meets {met}; raise it, or lower viewed")
    random = torch.Generator().manual_seed(config.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    def gumbel(like: Tensor) -> Tensor:
        return -torch.empty_like(like).exponential_(generator=random).log()

    groups = torch.randint(config.groups, (config.users,), generator=random)
    tastes = normal(config.groups, config.taste)[groups] + config.noise * normal(config.users, config.taste)
    tastes = normalize(tastes, dim=1)
    item_attributes = {
        name: torch.randint(count, (config.items,), generator=random) for name, count in ITEM_ATTRIBUTES.items()
    }
    vectors = sum(normal(count, config.taste)[item_attributes[name]] for name, count in ITEM_ATTRIBUTES.items())
    vectors = normalize(vectors + config.noise * normal(config.items, config.taste), dim=1) * config.taste**0.5
    liking = config.sharpness * tastes @ vectors.T + 0.5 * normal(config.items)
    # The largest of value plus Gumbel noise are draws without replacement; a second draw says what becomes of each.
    met_items = (liking + gumbel(liking)).topk(met).indices  # (u, met)
    met_items = met_items.gather(1, torch.rand(met_items.shape, generator=random).argsort(1))
    user_attributes = {}
    for name, count in USER_ATTRIBUTES.items():
        fit = config.sharpness * tastes @ normal(count, config.taste).T
        user_attributes[name] = (fit + gumbel(fit)).argmax(1)
    graph, pairs = assemble(config, met_items, item_attributes, user_attributes, random)
    return Shop(graph, interactions_of(graph, pairs), groups, tastes)


def assemble(
    config: ShopConfig,
    met_items: Tensor,
    item_attributes: dict[str, Tensor],
    user_attributes: dict[str, Tensor],
    random: torch.Generator,
) -> tuple[KnowledgeGraph, dict[str, Tensor]]:
    """The graph, and pairs of user and item by part, from the items (u, met) that users met: one for the test, one for
    validation, then those bought and those viewed."""
    counts = {"user": config.users, "item": config.items, **ITEM_ATTRIBUTES, **USER_ATTRIBUTES}
    start = dict(zip(counts, [0, *torch.tensor([*counts.values()]).cumsum(0).tolist()]))
    relations = ["bought", "viewed", *(f"has_{name}" for name in (*ITEM_ATTRIBUTES, *USER_ATTRIBUTES))]
    everyone = torch.arange(config.users)

    def met(columns: slice) -> Tensor:
        items = met_items[:, columns]
        return torch.stack([everyone[:, None].expand_as(items), start["item"] + items], -1).flatten(0, 1)

    def triples(pairs: Tensor, relation: str) -> Tensor:
        return torch.stack([pairs[:, 0], torch.full((len(pairs),), relations.index(relation)), pairs[:, 1]], 1)

    bought, viewed = met(slice(2, 2 + config.bought)), triples(met(slice(2 + config.bought, None)), "viewed")
    facts = [triples(bought, "bought")]
    for owner, attributes in (("item", item_attributes), ("user", user_attributes)):
        for name, values in attributes.items():
            pairs = torch.stack([start[owner] + torch.arange(len(values)), start[name] + values], 1)
            facts.append(triples(pairs, f"has_{name}"))
    # A tenth of the views validates the embedding model, a tenth tests it; everybody keeps other triples to train on.
    viewed = viewed[torch.randperm(len(viewed), generator=random)]
    tenth = max(1, len(viewed) // 10)
    ids = [f"{kind}:{number}" for kind, count in counts.items() for number in range(count)]
    graph = KnowledgeGraph(
        name="shop",
        entity_ids=ids,
        entity_names=[key.replace(":", " ") for key in ids],
        entity_descriptions=[""] * len(ids),
        relation_ids=relations,
        relation_names=[name.replace("_", " ") for name in relations],
        train=torch.cat([*facts, viewed[2 * tenth :]]),
        valid=viewed[:tenth],
        test=viewed[tenth : 2 * tenth],
    )
    return graph, {"train": bought, "valid": met(slice(1, 2)), "test": met(slice(0, 1))}


def write_shop(shop: Shop, folder: str | os.PathLike[str]) -> Path:
    """Write the graph in the TSV layout, with `interactions.tsv` and `labels.tsv`, all of it or nothing."""
    folder = Path(folder).expanduser()

    def fill(new: Path) -> None:
        shutil.rmtree(new)
        write_graph(shop.graph, new)
        write_interactions(shop.graph, shop.interactions, new)
        users = [shop.graph.entity_ids[user] for user in shop.interactions.users]
        write_columns(new / "labels.tsv", [users, [f"group {group}" for group in shop.groups.tolist()]])

    write_folder(folder, fill)
    return folder

"""A shop from a seed: users with tastes, items, and a knowledge graph that knows more of the tastes than a few purchases.

Nobody may publish a graph like the SKG of MED's paper (Section 5.4), so this one is drawn:

- a user belongs to a group and has a taste (d,) near that of the group; an item's vector is that of its category, brand
  and style, and something of its own;
- a user meets items with probability ∝ exp(sharpness · taste · item + popularity), none twice. By chance one is left
  out for the test and one for validation; some were bought and are what a recommender learns from; some were viewed;
- the graph has the attributes of items, attributes of users that follow their taste with noise, and what was bought and
  viewed. What was left out is in no triple. The group is the user's label, and is not in the graph either.
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
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_graph
from pmd.data.graphs.tsv import write_columns
from pmd.papers.downstream.interactions import Interactions, interactions_of, write_interactions
from pmd.settings.checks import check_numbers

ITEM_ATTRIBUTES = {"category": 20, "brand": 40, "style": 12}
USER_ATTRIBUTES = {"age": 6, "job": 12, "hobby": 16}
"""How many values each has."""


@dataclass
class ShopConfig:
    """A generated shop.

    Args:
        users: how many.
        items: how many.
        groups: of users: what is to be labelled.
        taste: dimensions of tastes.
        bought: purchases of each user, for the recommender and the graph.
        viewed: further items of each user that only the graph knows.
        sharpness: how much taste decides; 0 is chance.
        noise: of a user's taste around that of the group, and of what an item has of its own.
        seed: of all that is drawn.
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
    """`graph`, `interactions` and what nobody is told: the group (u,) and the taste (u, taste) of every user."""

    graph: KnowledgeGraph
    interactions: Interactions
    groups: Tensor
    tastes: Tensor


def make_shop(config: ShopConfig) -> Shop:
    """Draw a shop; the same config gives the same one. PmdError for sizes that leave nothing to recommend."""
    sizes = {f"shop.{f.name}": getattr(config, f.name) for f in fields(config)}
    amounts = {key: sizes.pop(key) for key in ("shop.sharpness", "shop.noise", "shop.seed")}
    check_numbers(sizes, amounts)
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
    of_items = {
        name: torch.randint(count, (config.items,), generator=random) for name, count in ITEM_ATTRIBUTES.items()
    }
    vectors = sum(normal(count, config.taste)[of_items[name]] for name, count in ITEM_ATTRIBUTES.items())
    vectors = normalize(vectors + config.noise * normal(config.items, config.taste), dim=1) * config.taste**0.5
    liking = config.sharpness * tastes @ vectors.T + 0.5 * normal(config.items)
    # The largest of value plus Gumbel noise are draws without replacement; which of them is what, is chance again.
    drawn = (liking + gumbel(liking)).topk(met).indices  # (u, met)
    drawn = drawn.gather(1, torch.rand(drawn.shape, generator=random).argsort(1))
    of_users = {}
    for name, count in USER_ATTRIBUTES.items():
        fit = config.sharpness * tastes @ normal(count, config.taste).T
        of_users[name] = (fit + gumbel(fit)).argmax(1)
    return assemble(config, drawn, of_items, of_users, groups, tastes, random)


def assemble(
    config: ShopConfig,
    drawn: Tensor,
    of_items: dict[str, Tensor],
    of_users: dict[str, Tensor],
    groups: Tensor,
    tastes: Tensor,
    random: torch.Generator,
) -> Shop:
    """Entities, triples and splits of what was drawn: (u, met) items, one for the test, one for validation, bought, viewed."""
    kinds = {"user": config.users, "item": config.items, **ITEM_ATTRIBUTES, **USER_ATTRIBUTES}
    start = dict(zip(kinds, [0, *torch.tensor([*kinds.values()]).cumsum(0).tolist()]))
    relations = ["bought", "viewed", *(f"has_{name}" for name in (*ITEM_ATTRIBUTES, *USER_ATTRIBUTES))]
    everyone = torch.arange(config.users)

    def met(columns: slice) -> Tensor:
        items = drawn[:, columns]
        return torch.stack([everyone[:, None].expand_as(items), start["item"] + items], -1).flatten(0, 1)

    def triples(pairs: Tensor, relation: str) -> Tensor:
        return torch.stack([pairs[:, 0], torch.full((len(pairs),), relations.index(relation)), pairs[:, 1]], 1)

    bought, viewed = met(slice(2, 2 + config.bought)), triples(met(slice(2 + config.bought, None)), "viewed")
    facts = [triples(bought, "bought")]
    for owner, found in (("item", of_items), ("user", of_users)):
        for name, values in found.items():
            pairs = torch.stack([start[owner] + torch.arange(len(values)), start[name] + values], 1)
            facts.append(triples(pairs, f"has_{name}"))
    # A tenth of the views validates the embedding model, a tenth tests it; everybody keeps other triples to train on.
    viewed = viewed[torch.randperm(len(viewed), generator=random)]
    tenth = max(1, len(viewed) // 10)
    ids = [f"{kind}:{number}" for kind, count in kinds.items() for number in range(count)]
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
    pairs = {"train": bought, "valid": met(slice(1, 2)), "test": met(slice(0, 1))}
    return Shop(graph, interactions_of(graph, pairs), groups, tastes)


def write_shop(shop: Shop, folder: str | os.PathLike[str]) -> Path:
    """Write the graph in the TSV layout, with `interactions.tsv` and `labels.tsv`, all of it or nothing."""
    folder = Path(folder).expanduser()

    def fill(aside: Path) -> None:
        shutil.rmtree(aside)
        write_graph(shop.graph, aside)
        write_interactions(shop.graph, shop.interactions, aside)
        users = [shop.graph.entity_ids[user] for user in shop.interactions.users]
        write_columns(aside / "labels.tsv", [users, [f"group {group}" for group in shop.groups.tolist()]])

    write_folder(folder, fill)
    return folder

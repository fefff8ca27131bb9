"""Who bought what: interactions of users with items, beside a knowledge graph that knows both, and labels of entities.

The folder of a graph may hold two more files, tab-separated, without header:

interactions.tsv    user id, item id, part: `train`, or `valid` and `test` once for each user (leave one out)
labels.tsv          entity id, label: a class to predict
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.tsv import at, closest, index_ids, need_file, quote, read_columns, write_columns

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions by leave-one-out: of each user one item is for validation and one for the test.

    `users` (u,) and `items` (i,) are the entity positions of those that occur, increasing. `train` (n, 2) holds
    positions in these two, `valid` and `test` (u,) positions in `items`. `seen` (u, i) is true where a user is known to
    have met an item, in `train` or by a triple of the graph: that is no recommendation any more.
    """

    users: Tensor
    items: Tensor
    train: Tensor
    valid: Tensor
    test: Tensor
    seen: Tensor

    def excluded(self, part: str) -> Tensor:
        """(u, i): what is no candidate when `part` is ranked; in the test the item of the validation is known, too."""
        return self.seen if part == "valid" else self.seen.scatter(1, self.valid[:, None], True)


def interactions_of(graph: KnowledgeGraph, pairs: Mapping[str, Tensor]) -> Interactions:
    """Interactions from pairs (n, 2) of entity positions, user and item, by part.

    Raises:
        PmdError: if a user has not one item in each of `valid` and `test`, or none in `train`; if an entity is a user
            and an item; if what is left out is known from elsewhere.
    """
    users, items = (torch.cat([pairs[part][:, column] for part in PARTS]).unique() for column in (0, 1))
    both = users[torch.isin(users, items)]
    if len(both):
        raise PmdError(f"interactions: '{graph.entity_ids[both[0]]}' is a user and an item; give them ids of their own")
    row, column = (torch.full((graph.num_entities,), -1) for _ in range(2))
    row[users], column[items] = torch.arange(len(users)), torch.arange(len(items))
    place = {part: torch.stack([row[pairs[part][:, 0]], column[pairs[part][:, 1]]], 1) for part in PARTS}
    for part, most in (("train", graph.num_entities), ("valid", 1), ("test", 1)):
        count = place[part][:, 0].bincount(minlength=len(users))
        wrong = ((count < 1) | (count > most)).nonzero()
        if len(wrong):
            user, found = graph.entity_ids[users[wrong[0, 0]]], int(count[wrong[0, 0]])
            needed = "one" if most == 1 else "at least one"
            raise PmdError(f"interactions: '{user}' has {found} of part {part}, not {needed}; add or drop some")
    held = {part: torch.empty(len(users), dtype=torch.long).scatter(0, *place[part].T) for part in PARTS[1:]}
    seen = torch.zeros(len(users), len(items), dtype=torch.bool)
    ends = graph.known_triples("test")[:, [0, 2]]
    for heads, tails in (ends.T, ends.T.flip(0)):  # in whichever direction relations are written
        met = torch.stack([row[heads], column[tails]], 1)
        seen[tuple(met[(met >= 0).all(1)].T)] = True
    seen[tuple(place["train"].T)] = True
    leak = seen.gather(1, torch.stack([held["valid"], held["test"]], 1)).any(1) | (held["valid"] == held["test"])
    if leak.any():
        user = graph.entity_ids[users[leak.nonzero()[0, 0]]]
        raise PmdError(
            f"interactions: an item left out of '{user}' is in the graph, in train or left out twice, so its test "
            "measures nothing; drop one of the two"
        )
    return Interactions(users, items, place["train"], held["valid"], held["test"], seen)


def read_interactions(graph: KnowledgeGraph, folder: Path) -> Interactions:
    """The interactions of a folder. PmdError, with file and line, for what cannot be used."""
    path = need_file(folder, "interactions.tsv")
    *pairs, parts = read_columns(path, ("user", "item", "part"))
    line = next((line for line, part in enumerate(parts) if part not in PARTS), None)
    if line is not None:
        raise PmdError(f"{at(path, line)}: part {quote(parts[line])} is none of {', '.join(PARTS)}; correct it")
    ids = torch.stack([positions(graph, path, column) for column in pairs], 1)
    return interactions_of(graph, {part: ids[[found == part for found in parts]] for part in PARTS})


def write_interactions(graph: KnowledgeGraph, data: Interactions, folder: Path) -> None:
    """Write what `read_interactions` reads, part by part."""
    everyone = torch.arange(len(data.users))
    pairs = {"train": data.train, "valid": torch.stack([everyone, data.valid], 1)}
    pairs["test"] = torch.stack([everyone, data.test], 1)
    users, items = zip(*((data.users[user], data.items[item]) for found in pairs.values() for user, item in found))
    columns = [[graph.entity_ids[position] for position in column] for column in (users, items)]
    parts = [part for part, found in pairs.items() for _ in range(len(found))]
    write_columns(folder / "interactions.tsv", [*columns, parts])


def read_labels(graph: KnowledgeGraph, path: Path) -> tuple[Tensor, list[str]]:
    """Entity positions (n,) and their labels, from lines of id and label. PmdError, with file and line."""
    ids, labels = read_columns(path, ("entity", "label"))
    index_ids(path, "entity", ids)
    return positions(graph, path, ids), labels


def positions(graph: KnowledgeGraph, path: Path, ids: Sequence[str]) -> Tensor:
    """Entity positions (n,) of ids that stand in a file. PmdError, with its line, for one that the graph has not."""
    known = {key: position for position, key in enumerate(graph.entity_ids)}
    line = next((line for line, key in enumerate(ids) if key not in known), None)
    if line is not None:
        hint = closest(ids[line], known)
        raise PmdError(f"{at(path, line)}: '{graph.name}' has no entity {quote(ids[line])}{hint}; drop or correct it")
    return torch.tensor([known[key] for key in ids])

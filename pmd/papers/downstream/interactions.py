"""Table 5 of MED (Zhu et al., ACL 2025), its data: who bought what beside a knowledge graph, and labels of entities.

The folder of a graph may hold two more files, tab-separated, without a header:

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
from pmd.data.graphs.files.tsv import at, closest, index_ids, need_file, quote, read_columns, write_columns
from pmd.data.graphs.graph import KnowledgeGraph

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions by leave-one-out: one item of each user is for validation and one for the test.

    `users` (u,) and `items` (i,) are the entity positions of those that occur, increasing. `train` (n, 2) holds
    positions in these two, `valid` and `test` (u,) positions in `items`. `seen` (u, i) is true where a user is known to
    have met an item, in `train` or by a triple of the graph: it is no recommendation any more.
    """

    users: Tensor
    items: Tensor
    train: Tensor
    valid: Tensor
    test: Tensor
    seen: Tensor

    def excluded(self, part: str) -> Tensor:
        """(u, i): what is no candidate when `part` is ranked; in the test the validation item is known, too."""
        return self.seen if part == "valid" else self.seen.scatter(1, self.valid[:, None], True)


def interactions_of(graph: KnowledgeGraph, pairs: Mapping[str, Tensor]) -> Interactions:
    """Interactions from pairs (n, 2) of entity positions, user and item, by part. PmdError if a user has not one item
    in each of `valid` and `test`, or none in `train`; if an entity is a user and an item; if a held-out item is known
    from elsewhere."""
    users, items = (torch.cat([pairs[part][:, column] for part in PARTS]).unique() for column in (0, 1))
    in_both = users[torch.isin(users, items)]
    if len(in_both):
        raise PmdError(
            f"interactions: '{graph.entity_ids[in_both[0]]}' is a user and an item; give them ids of their own"
        )
    user_index, item_index = (torch.full((graph.num_entities,), -1) for _ in range(2))
    user_index[users], item_index[items] = torch.arange(len(users)), torch.arange(len(items))
    indexed = {part: torch.stack([user_index[pairs[part][:, 0]], item_index[pairs[part][:, 1]]], 1) for part in PARTS}
    for part, most in (("train", graph.num_entities), ("valid", 1), ("test", 1)):
        counts = indexed[part][:, 0].bincount(minlength=len(users))
        wrong = ((counts < 1) | (counts > most)).nonzero()
        if len(wrong):
            user, count = graph.entity_ids[users[wrong[0, 0]]], int(counts[wrong[0, 0]])
            needed = "one" if most == 1 else "at least one"
            raise PmdError(f"interactions: '{user}' has {count} of part {part}, not {needed}; add or drop some")
    valid, test = (torch.empty(len(users), dtype=torch.long).scatter(0, *indexed[part].T) for part in PARTS[1:])
    seen = torch.zeros(len(users), len(items), dtype=torch.bool)
    ends = graph.known_triples("test")[:, [0, 2]]
    for heads, tails in (ends.T, ends.T.flip(0)):  # in whichever direction relations are written
        met = torch.stack([user_index[heads], item_index[tails]], 1)
        seen[tuple(met[(met >= 0).all(1)].T)] = True
    seen[tuple(indexed["train"].T)] = True
    leaked = seen.gather(1, torch.stack([valid, test], 1)).any(1) | (valid == test)
    if leaked.any():
        user = graph.entity_ids[users[leaked.nonzero()[0, 0]]]
        raise PmdError(
            f"interactions: an item held out of '{user}' is in the graph, in train or held out twice, so its test "
            "measures nothing; drop one of the two"
        )
    return Interactions(users, items, indexed["train"], valid, test, seen)


def read_interactions(graph: KnowledgeGraph, folder: Path) -> Interactions:
    """The interactions of a folder. PmdError, with file and line, for what cannot be used."""
    path = need_file(folder, "interactions.tsv")
    *pairs, parts = read_columns(path, ("user", "item", "part"))
    line = next((line for line, part in enumerate(parts) if part not in PARTS), None)
    if line is not None:
        raise PmdError(f"{at(path, line)}: part {quote(parts[line])} is none of {', '.join(PARTS)}; correct it")
    entities = torch.stack([entity_positions(graph, path, ids) for ids in pairs], 1)
    return interactions_of(graph, {part: entities[[named == part for named in parts]] for part in PARTS})


def write_interactions(graph: KnowledgeGraph, data: Interactions, folder: Path) -> None:
    """Write what `read_interactions` reads, part by part."""
    everyone = torch.arange(len(data.users))
    held_out = [torch.stack([everyone, items], 1) for items in (data.valid, data.test)]
    users, items = torch.cat([data.train, *held_out]).T
    columns = [[graph.entity_ids[entity] for entity in entities] for entities in (data.users[users], data.items[items])]
    parts = ["train"] * len(data.train) + ["valid"] * len(everyone) + ["test"] * len(everyone)
    write_columns(folder / "interactions.tsv", [*columns, parts])


def read_labels(graph: KnowledgeGraph, path: Path) -> tuple[Tensor, list[str]]:
    """Entity positions (n,) and their labels, from lines of id and label. PmdError, with file and line."""
    ids, labels = read_columns(path, ("entity", "label"))
    index_ids(path, "entity", ids)
    return entity_positions(graph, path, ids), labels


def entity_positions(graph: KnowledgeGraph, path: Path, ids: Sequence[str]) -> Tensor:
    """Positions (n,) of the entity ids of a file. PmdError, with its line, for one that the graph does not have."""
    position_of = {key: position for position, key in enumerate(graph.entity_ids)}
    line = next((line for line, key in enumerate(ids) if key not in position_of), None)
    if line is not None:
        hint = closest(ids[line], position_of)
        raise PmdError(f"{at(path, line)}: '{graph.name}' has no entity {quote(ids[line])}{hint}; drop or correct it")
    return torch.tensor([position_of[key] for key in ids])

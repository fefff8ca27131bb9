"""Texts with the names of neighbours, composed when they are read: a graph of millions of entities has tens of millions of
texts, one for each entity and one for each neighbour whose name is left out, and a batch reads a few hundred of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pmd.core.errors import PmdError
from pmd.data.texts.ragged import Ragged, row_blocks

_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, eq=False)
class NeighbourTexts:
    """Tokens of the texts of n entities, each followed by the names of its neighbours, at most `room` tokens in all.

    Row e < n is the text of entity e with the names of all its neighbours; row n + e · n + o is the same without the name of
    its neighbour o. It is read like the `Ragged` of these rows.

    Args:
        base, names: tokens (n,) of the entities' own texts and of their names.
        pairs: the keys (m,) e · n + o of entities and their neighbours, ascending.
    """

    base: Ragged
    names: Ragged
    pairs: np.ndarray
    room: int

    def __len__(self) -> int:
        """How many entities there are; there are further rows."""
        return len(self.base)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.take(np.array([row])).flat

    @property
    def lengths(self) -> np.ndarray:
        """The lengths (n,) of the entities' texts with all names."""
        owners, others = np.divmod(self.pairs, len(self))
        added = np.bincount(owners, self.names.lengths[others], minlength=len(self)).astype(np.int64)
        return np.minimum(self.base.lengths + added, self.room)

    @property
    def columns(self) -> list[np.ndarray]:
        """The arrays that make up all rows."""
        return [*self.base.columns, *self.names.columns, self.pairs, np.array([self.room])]

    def without(self, entities: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The rows (k,) of the texts of entities (k,) in which no name of others (k,) stands."""
        wanted = entities * len(self) + others
        places = np.searchsorted(self.pairs, wanted).clip(max=len(self.pairs) - 1)
        return np.where(self.pairs[places] == wanted, len(self) + wanted, entities)

    def check_keys(self, num_relations: int) -> None:
        """PmdError where keys of a row and a relation, in either direction, would not fit into 64 bits."""
        if len(self) * (len(self) + 1) * 2 * num_relations > _INT64_MAX:
            raise PmdError(
                f"{len(self):,} entities with {num_relations:,} relations and names of neighbours do not fit into 64-bit keys; "
                f"set encoder.neighbours_below to 0, or split the graph"
            )

    def take(self, rows: np.ndarray, longest: np.ndarray | int | None = None) -> Ragged:
        """These rows in this order, each cut after its first `longest` tokens."""
        rows = np.asarray(rows, dtype=np.int64)
        longest = np.broadcast_to(self.room if longest is None else np.minimum(longest, self.room), rows.shape)
        parts = [self._composed(rows[part], longest[part]) for part in row_blocks(len(rows))]
        return Ragged.stack(parts) if parts else self.base.take(rows)

    def _composed(self, rows: np.ndarray, longest: np.ndarray) -> Ragged:
        n, count = len(self), len(rows)
        owners = np.where(rows < n, rows, (rows - n) // n)
        left_out = np.where(rows < n, -1, (rows - n) % n)
        listed = self._neighbours(owners)
        row = np.repeat(np.arange(count), listed.lengths)
        kept = listed.flat != left_out[row]
        names = self.names.take(listed.flat[kept])
        # Piece i is the own text of row i, and the pieces from `count` on are the names, row after row.
        lengths = 1 + np.bincount(row[kept], minlength=count)
        pieces = np.empty(count + len(names), dtype=np.int64)
        own = np.zeros(len(pieces), dtype=bool)
        own[np.cumsum(lengths) - lengths] = True
        pieces[own], pieces[~own] = np.arange(count), count + np.arange(len(names))
        whole = Ragged.stack([self.base.take(owners), names]).join(Ragged.from_lengths(pieces, lengths))
        return whole.take(np.arange(count), longest)

    def _neighbours(self, entities: np.ndarray) -> Ragged:
        """The neighbours of entities (k,), ascending."""
        n = len(self)
        begin, end = np.searchsorted(self.pairs, entities * n), np.searchsorted(self.pairs, (entities + 1) * n)
        lengths = end - begin
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Ragged.from_lengths(self.pairs[np.repeat(begin, lengths) + within] % n, lengths)

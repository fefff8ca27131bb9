"""How the tokens of entities and relations become the texts that an encoder reads: NumPy alone.

Apart from `pmd.data.texts.graph_text`, which tokenises a graph, so that a question to a trained model can be composed without
loading torch and transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pmd.data.texts.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Texts:
    """Distinct texts ready for an encoder: ids with special tokens; `second[i]` starts the second segment."""

    ids: Ragged
    second: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class TokenTexts:
    """Texts of entities and queries, composed from tokens.

    Args:
        rows: tokens of the entities' texts, without special ones.
        relations: likewise of the relations, then of their inverses.
        cls, sep: the special tokens.
        max_length: of a composed text, special tokens included.
    """

    def __init__(self, rows: Ragged, relations: Ragged, cls: int, sep: int, max_length: int):
        self.rows, self.relations, self.cls, self.sep, self.max_length = rows, relations, cls, sep, max_length

    def entities(self, rows: np.ndarray) -> Texts:
        """[CLS] text [SEP] of the given rows."""
        body = self.rows.take(rows)
        ids = _frame(body, self.cls, self.sep)
        return Texts(ids, ids.lengths)

    def queries(self, rows: np.ndarray, relations: np.ndarray) -> Texts:
        """[CLS] text [SEP] relation [SEP] of pairs of rows (n,) and relations (n,) in [0, 2 num_relations).

        The entity's text gives way when the whole exceeds `max_length`; the relation never does.
        """
        relation = self.relations.take(relations)
        body = _frame(self.rows.take(rows, self.max_length - 3 - relation.lengths), self.cls, self.sep)
        second = _frame(relation, None, self.sep)
        n = len(body)
        pairs = np.stack([np.arange(n), np.arange(n) + n], axis=1).reshape(-1)
        ids = Ragged.stack([body, second]).join(Ragged.from_lengths(pairs, np.full(n, 2)))
        return Texts(ids, body.lengths)


def _frame(body: Ragged, before: int | None, after: int) -> Ragged:
    """Every row between two special tokens."""
    lead = 0 if before is None else 1
    lengths = body.lengths + lead + 1
    ends = np.cumsum(lengths)
    flat = np.empty(ends[-1] if len(ends) else 0, dtype=np.int64)
    inner = np.ones(len(flat), dtype=bool)
    inner[ends - 1] = False
    flat[ends - 1] = after
    if before is not None:
        inner[ends - lengths] = False
        flat[ends - lengths] = before
    flat[inner] = body.flat
    return Ragged(flat, np.concatenate([[0], ends]).astype(np.int64))

"""From the tokens of entities and relations to the texts that an encoder reads, with NumPy alone.

Separate from `pmd.data.texts.graph_text`, which tokenises a graph, so that a question to a trained model can be composed
without loading torch and transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pmd.data.texts.neighbours import NeighbourTexts
from pmd.data.texts.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts for an encoder: token ids with special tokens, and `second` (n,), where the second segment of each starts."""

    ids: Ragged
    second: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Frame:
    """The special tokens `before` and `after` one text or two, and `between` two.

    `typed` says whether the second text is a segment of its own, whose tokens have type 1; otherwise all have type 0.
    `before_two` stands before two texts, where that is not `before`: prompts tell a query from an entity.
    `lead` begins the first text when it is tokenised: the blank after a prompt, where it is a part of the next word.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    typed: bool = True
    before_two: tuple[int, ...] | None = None
    lead: str = ""

    @property
    def longest_before(self) -> int:
        """The most tokens that stand before a text."""
        return max(len(self.before), len(self.before_two or ()))

    @classmethod
    def of_bert(cls, cls_id: int, sep_id: int) -> Frame:
        """[CLS] text [SEP] and [CLS] text [SEP] text [SEP]."""
        return cls((cls_id,), (sep_id,), (sep_id,))

    def around(self, *bodies: Ragged) -> Texts:
        """The texts (n,) of one or two bodies (n,), row by row, with the special tokens."""
        n = len(bodies[0])
        row, frame = np.arange(n), np.zeros(n, dtype=np.int64)
        before = self.before if len(bodies) == 1 or self.before_two is None else self.before_two
        pieces = Ragged.stack([Ragged.from_rows([list(before), list(self.between), list(self.after)]), *bodies])
        columns = (
            [frame, 3 + row, frame + 2] if len(bodies) == 1 else [frame, 3 + row, frame + 1, 3 + n + row, frame + 2]
        )
        order = Ragged.from_lengths(np.stack(columns, axis=1).reshape(-1), np.full(n, len(columns)))
        ids = pieces.join(order)
        if len(bodies) == 1 or not self.typed:
            return Texts(ids, ids.lengths)
        return Texts(ids, bodies[0].lengths + len(before) + len(self.between))


class TokenTexts:
    """Texts of entities and queries, composed from tokens.

    Args:
        rows: tokens of the entities' texts, without special tokens.
        relations: tokens of the relations, then of their inverses, likewise.
        frame: the special tokens.
        max_length: of a composed text, special tokens included.
    """

    def __init__(self, rows: Ragged | NeighbourTexts, relations: Ragged, frame: Frame, max_length: int):
        self.rows, self.relations, self.frame, self.max_length = rows, relations, frame, max_length

    @property
    def room(self) -> int:
        """How many tokens a text may have besides the special ones."""
        return self.max_length - self.frame.longest_before - len(self.frame.after)

    def entities(self, rows: np.ndarray) -> Texts:
        """[CLS] text [SEP] of the given rows."""
        return self.frame.around(self.rows.take(rows))

    def queries(self, rows: np.ndarray, relations: np.ndarray) -> Texts:
        """[CLS] text [SEP] relation [SEP] of pairs of rows (n,) and relations (n,) in [0, 2 num_relations).

        If the whole exceeds `max_length`, the entity's text is cut, never the relation.
        """
        relation = self.relations.take(relations)
        longest = self.room - len(self.frame.between) - relation.lengths
        return self.frame.around(self.rows.take(rows, longest), relation)

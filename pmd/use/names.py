"""From what a person types to an entity or a relation: by id, by name, or with a proposal.

Texts are UTF-8 bytes in one array, and their order by folded spelling is stored beside them: a name is found by bisection,
and a vocabulary of millions opens at once. Only a misspelt name makes all names be looked at, and those be read whose letters
are much the same.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from pmd.core.errors import PmdError
from pmd.data.texts.strings import Strings

SIMILAR = 70
"""The least similarity, of 100, at which a name is proposed."""
SHOWN_IDS = 5
"""How many ids an error lists for a name that several have."""


def fold(text: str) -> str:
    """The text without differences of case, underscores, runs of blanks and Unicode forms."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("_", " ").split())


def folded_order(texts: Sequence[str]) -> np.ndarray:
    """The rows (n,) of texts, sorted by folded spelling."""
    folded = [fold(text) for text in texts]
    return np.array(sorted(range(len(folded)), key=folded.__getitem__), dtype=np.int64)


class Names:
    """The ids and names of entities or relations.

    Args:
        kind: `entity` or `relation`.
        ids, names: texts by position.
        by_id, by_name: the `folded_order` of each.
        descriptions: shown to tell entities of the same name apart.
    """

    def __init__(
        self,
        kind: str,
        ids: Strings,
        names: Strings,
        by_id: np.ndarray,
        by_name: np.ndarray,
        descriptions: Strings | None = None,
    ):
        self.kind, self.ids, self.names, self.descriptions = kind, ids, names, descriptions
        self.by_id, self.by_name = by_id, by_name

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, text: str, option: str) -> int:
        """The position of an id or a name: the same id, the same name, then the same by folded spelling.

        Raises:
            PmdError: for none, with similar names, or for several, with their ids; `option` is named.
        """
        like_id, like_name = _same_folded(self.ids, self.by_id, text), _same_folded(self.names, self.by_name, text)
        same_id = [row for row in like_id if self.ids[row] == text]
        same_name = [row for row in like_name if self.names[row] == text]
        for rows in (same_id, same_name, like_name, like_id):
            if len(rows) == 1:
                return rows[0]
            if rows:
                raise PmdError(f"{option}: {len(rows)} have the name {text!r}: {self._list_ids(rows)}; give an id")
        raise PmdError(f"{option}: no {self.kind} {text!r}{self._proposal(text)}")

    def pair(self, row: int) -> tuple[str, str]:
        """Id and name."""
        return self.ids[row], self.names[row]

    def label(self, row: int) -> str:
        """`name (id)`, or the name alone where it is the id."""
        return label(self.pair(row))

    def _list_ids(self, rows: list[int]) -> str:
        """Ids, each with the beginning of its description or name."""
        shown = []
        for row in sorted(rows)[:SHOWN_IDS]:
            about = self.descriptions[row] if self.descriptions else self.names[row]
            shown.append(f"{self.ids[row]} ({about[:40]}{'…' * (len(about) > 40)})" if about else self.ids[row])
        return ", ".join(shown) + (f" and {len(rows) - SHOWN_IDS} more" if len(rows) > SHOWN_IDS else "")

    def _proposal(self, text: str) -> str:
        """The names most similar to a text; if there are none, all names of a short list."""
        from rapidfuzz import fuzz, process

        best: dict[int, float] = {}
        for column in (self.names, self.ids):
            rows = column.rows_like(fold(text), SIMILAR)
            folded = [fold(column[row]) for row in rows]
            for _, score, i in process.extract(fold(text), folded, scorer=fuzz.ratio, limit=3, score_cutoff=SIMILAR):
                best[rows[i]] = max(score, best.get(rows[i], 0))
        rows = sorted(best, key=lambda row: (-best[row], row))[:3]
        if rows:
            return f"; did you mean {' or '.join(self.label(row) for row in rows)}?"
        if len(self) <= 20:
            return f"; there are {', '.join(map(self.label, range(len(self))))}"
        return "; give an id or a name of the graph"


def find_all(*wanted: tuple[Names, str, str]) -> list[int]:
    """The position of each text among its names, for its option, as `Names.find` has it. PmdError that says of all what is wrong."""
    rows, errors = [], []
    for names, text, option in wanted:
        try:
            rows.append(names.find(text, option))
        except PmdError as error:
            errors.append(str(error))
    if errors:
        raise PmdError("; ".join(errors))
    return rows


def label(pair: tuple[str, str]) -> str:
    """`name (id)` of an (id, name) pair, or the name alone where it is the id."""
    key, name = pair
    return name if name == key else f"{name} ({key})"


def _same_folded(column: Strings, order: np.ndarray, text: str) -> list[int]:
    """The rows of a column, sorted by `order`, whose folded spelling is that of a text."""
    folded, rows = fold(text), []
    position = bisect_left(order, folded, key=lambda row: fold(column[row]))
    while position < len(order) and fold(column[order[position]]) == folded:
        rows.append(int(order[position]))
        position += 1
    return rows

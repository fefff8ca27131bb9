"""From what a person types to an entity or a relation: by id, by name, or with a proposal.

Texts lie as UTF-8 bytes in one array, with the order of their folded forms beside them, so that a name is found by
bisection and a vocabulary of millions is open at once. Only a misspelling reads all names.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np

from pmd.core.errors import PmdError
from pmd.data.texts.ragged import Ragged

SHOWN = 5
"""So many ids of an ambiguous name are said."""


class Strings:
    """A column of texts; text i is row i of `bytes`."""

    def __init__(self, rows: Ragged):
        self.rows = rows

    @classmethod
    def of(cls, texts: Sequence[str]) -> Strings:
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        return cls(Ragged.from_lengths(np.frombuffer(b"".join(encoded), dtype=np.uint8), lengths))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> str:
        return self.rows[row].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))


def fold(text: str) -> str:
    """The form in which spellings are the same: in lower case, underscores as blanks, blanks once."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("_", " ").split())


def folded_order(texts: Sequence[str]) -> np.ndarray:
    """The rows (n,) of texts, sorted by their folded forms."""
    folded = [fold(text) for text in texts]
    return np.array(sorted(range(len(folded)), key=folded.__getitem__), dtype=np.int64)


class Names:
    """The ids and names of entities or relations.

    Args:
        kind: `entity` or `relation`.
        ids, names: texts by position.
        by_id, by_name: their `folded_order`.
        descriptions: tell entities of one name apart.
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

    def find(self, given: str, place: str) -> int:
        """The position of an id or a name: by exact id, exact name, then in any case and with underscores for blanks.

        Raises:
            PmdError: for none, with what is spelt alike, or several, with their ids; `place` names the option.
        """
        same_id, same_name = _same(self.ids, self.by_id, given), _same(self.names, self.by_name, given)
        for found in (
            [row for row in same_id if self.ids[row] == given],
            [row for row in same_name if self.names[row] == given],
            same_name,
            same_id,
        ):
            if len(found) == 1:
                return found[0]
            if found:
                raise PmdError(f"{place}: {given!r} is the name of {len(found)}: {self._listed(found)}; give an id")
        raise PmdError(f"{place}: no {self.kind} {given!r}{self._hint(given)}")

    def pair(self, row: int) -> tuple[str, str]:
        """Id and name."""
        return self.ids[row], self.names[row]

    def label(self, row: int) -> str:
        """`name (id)`, or the name alone where it is the id."""
        name, key = self.names[row], self.ids[row]
        return name if name == key else f"{name} ({key})"

    def _listed(self, rows: list[int]) -> str:
        """Ids with the beginning of what tells them apart."""
        said = []
        for row in sorted(rows)[:SHOWN]:
            more = self.descriptions[row] if self.descriptions else self.names[row]
            said.append(f"{self.ids[row]} ({more[:40]}{'…' * (len(more) > 40)})" if more else self.ids[row])
        return ", ".join(said) + (f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")

    def _hint(self, given: str) -> str:
        """What is spelt alike, or all of a few."""
        from rapidfuzz import fuzz, process

        best: dict[int, float] = {}
        for column in (self.names, self.ids):
            close = process.extract(
                fold(given), [fold(text) for text in column], scorer=fuzz.ratio, limit=3, score_cutoff=70
            )
            for _, score, row in close:
                best[row] = max(score, best.get(row, 0))
        rows = sorted(best, key=lambda row: (-best[row], row))[:3]
        if rows:
            return f"; did you mean {' or '.join(self.label(row) for row in rows)}?"
        if len(self) <= 20:
            return f"; there are {', '.join(map(self.label, range(len(self))))}"
        return "; give an id or a name of the graph"


def _same(column: Strings, order: np.ndarray, given: str) -> list[int]:
    """The rows of a column whose texts have the folded form of this one."""
    wanted, found = fold(given), []
    place = bisect_left(order, wanted, key=lambda row: fold(column[row]))
    while place < len(order) and fold(column[order[place]]) == wanted:
        found.append(int(order[place]))
        place += 1
    return found

"""Names that are completed while they are typed: those that begin so first, then those with such a word, then all others."""

from __future__ import annotations

import numpy as np

from pmd.use.names import Names, fold


class Completion:
    """All names and ids in one text, a line each, sorted by folded spelling: a search is a search in that text."""

    def __init__(self, names: Names):
        spellings = {(fold(text), row) for column in (names.names, names.ids) for row, text in enumerate(column)}
        lines = sorted(spellings)
        self._rows = [row for _, row in lines]
        self._text = "\n".join(["", *(line for line, _ in lines), ""])
        self._starts = np.cumsum([1, *(len(line) + 1 for line, _ in lines)])

    def rows(self, typed: str, limit: int) -> list[int]:
        """The positions (≤ limit) of the names or ids that have a text: at their beginning, of a word, or anywhere."""
        typed = fold(typed)
        rows: dict[int, None] = {}
        for before in ("\n", " ", "") if typed else ():
            at = self._text.find(before + typed)
            while at >= 0 and len(rows) < limit:
                line = int(np.searchsorted(self._starts, at + len(before), "right")) - 1
                rows[self._rows[line]] = None
                at = self._text.find(before + typed, int(self._starts[line + 1]) - 1)
        return [*rows]

"""Names that are completed while they are typed: those that begin so first, then those with such a word, then all others."""

from __future__ import annotations

import numpy as np

from pmd.data.texts.ragged import row_blocks
from pmd.data.texts.strings import GrowingStrings
from pmd.use.names import Names, fold


class Completion:
    """All names and ids in one text, a line each, sorted by folded spelling: a search is a search in that text, which is kept
    as UTF-8, for there may be millions of them."""

    def __init__(self, names: Names):
        import pyarrow as pa
        import pyarrow.compute as pc

        lines, rows = GrowingStrings(), [np.empty(0, dtype=np.int64)]
        for part in row_blocks(len(names)):
            by_column = [[f"\n{fold(text)}" for text in column[part]] for column in (names.names, names.ids)]
            for column in range(2):
                own = [i for i, line in enumerate(by_column[column]) if column == 0 or line != by_column[0][i]]
                lines.add([by_column[column][i] for i in own])
                rows.append(part.start + np.array(own, dtype=np.int64))
        all_lines, all_rows = lines.whole(), np.concatenate(rows)
        table = pa.table({"line": all_lines.arrow(), "row": all_rows})
        order = pc.sort_indices(table, [("line", "ascending"), ("row", "ascending")]).to_numpy()
        in_order = all_lines.rows.take(order)
        self._rows, self._text, self._starts = all_rows[order], in_order.flat.tobytes() + b"\n", in_order.offsets + 1

    def rows(self, typed: str, limit: int) -> list[int]:
        """The positions (≤ limit) of the names or ids that have a text: at their beginning, of a word, or anywhere."""
        typed = fold(typed)
        rows: dict[int, None] = {}
        for before in ("\n", " ", "") if typed else ():
            text = (before + typed).encode()
            at = self._text.find(text)
            while at >= 0 and len(rows) < limit:
                line = int(np.searchsorted(self._starts, at + len(before), "right")) - 1
                rows[int(self._rows[line])] = None
                at = self._text.find(text, int(self._starts[line + 1]) - 1)
        return [*rows]

"""Names, descriptions and aliases of millions of entities, in files of an id and texts a line as Wikidata5M has them: arrays in
place of dictionaries of strings."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pmd.data.graphs.files.triples import Positions
from pmd.data.graphs.files.tsv import blocks_of_lines
from pmd.data.texts.strings import GrowingStrings, Strings

ROWS = 100_000
"""Lines that become arrays at a time."""


def text_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Id and texts of each line, whatever their number."""
    for lines in blocks_of_lines(path):
        for line in lines:
            key, *texts = line.split("\t")
            if key:
                yield key, [" ".join(text.split()) for text in texts] or [""]


@dataclass(frozen=True, eq=False)
class TextTable:
    """The lines of a file: ids (n,), the first text of each, and its other texts, joined by tabs."""

    ids: Strings
    texts: Strings
    others: Strings

    @classmethod
    def read(cls, path: Path) -> TextTable | None:
        """The table of a file; None if an id is there twice."""
        import pyarrow.compute as pc

        growing = [GrowingStrings() for _ in range(3)]
        rows: list[tuple[str, str, str]] = []

        def flush() -> None:
            for grown, column in zip(growing, zip(*rows)):
                grown.add(column)
            rows.clear()

        for key, (first, *others) in text_rows(path):
            rows.append((key, first, "\t".join(others)))
            if len(rows) == ROWS:
                flush()
        flush()
        table = cls(*(grown.whole() for grown in growing))
        return table if pc.count_distinct(table.ids.arrow()).as_py() == len(table.ids) else None

    def of(self, ids: Strings) -> tuple[Strings, Strings]:
        """The first texts and the others of some ids, empty for those that are not there."""
        rows = Positions(self.ids).of(ids.arrow())
        longest = np.where(rows < 0, 0, np.iinfo(np.int64).max)
        first, others = (column.rows.take(rows.clip(min=0), longest) for column in (self.texts, self.others))
        return Strings(first), Strings(others)

    def first_texts(self) -> dict[str, str]:
        """The first texts by id, without empty ones."""
        return {key: text for key, text in zip(self.ids, self.texts) if text}


class Aliases(Mapping[str, Sequence[str]]):
    """Further names by id, without those that have none.

    Args:
        ids: ascending.
        texts: of each, its further names, joined by tabs.
    """

    def __init__(self, ids: Strings, texts: Strings):
        self.ids, self.texts = ids, texts

    def __getitem__(self, key: str) -> list[str]:
        row = bisect_left(self.ids, key)
        if row == len(self.ids) or self.ids[row] != key or not self.texts[row]:
            raise KeyError(key)
        return self.texts[row].split("\t")

    def __iter__(self) -> Iterator[str]:
        return (key for key, text in zip(self.ids, self.texts) if text)

    def __len__(self) -> int:
        return int((self.texts.rows.lengths > 0).sum())

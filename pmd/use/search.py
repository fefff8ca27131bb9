"""The best of millions of vectors for a query without comparing it with all of them in full.

- `funnel`, for croppable vectors, whose leading numbers are vectors of their own: these make a short list, which the full
  width ranks.
- `faiss`, an index of cells (IVF) over the vectors in fp16: the cells nearest to the query are searched. An extra.

A short list is scored as the exact search does; what is not on it counts as no answer. Whole triples are judged by all entities.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pmd.core.errors import PmdError, first_line, need_package, warn
from pmd.settings.shared import Search

LEADING = 32
"""Numbers of a vector that make the short list of a funnel."""
SHORT_LIST = 1000
CELLS_SEARCHED = 128
"""Of the cells of an IVF index, for a query."""
TRAINED_ON = 40
"""Vectors for each cell that the cells are learned from."""
BLOCK = 1 << 16


class ShortList(Protocol):
    """What finds likely candidates."""

    def rows(self, queries: np.ndarray, count: int) -> list[np.ndarray]:
        """For each query (b, d) the rows of about so many of the best vectors, in any order."""


class Funnel:
    """A short list by the leading numbers of vectors (n, d) fp32 or fp16, kept in memory in fp32 and scaled to length 1."""

    def __init__(self, vectors: np.ndarray, leading: int = LEADING):
        self.leading = np.empty((len(vectors), min(leading, vectors.shape[1])), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK):
            part = vectors[start : start + BLOCK, : self.leading.shape[1]].astype(np.float32)
            self.leading[start : start + BLOCK] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)

    def rows(self, queries: np.ndarray, count: int) -> list[np.ndarray]:
        scores = queries[:, : self.leading.shape[1]] @ self.leading.T
        if count >= len(self.leading):
            return [np.arange(len(self.leading))] * len(queries)
        return [np.argpartition(-row, count - 1)[:count] for row in scores]


class Cells:
    """A short list by an index of faiss, which is built once and kept in a file."""

    searched = CELLS_SEARCHED

    def __init__(self, vectors: np.ndarray, file: Path):
        need_package("faiss-cpu", "search by faiss needs", "faiss", module="faiss")
        self.index = self._kept(file, len(vectors)) or self._built(vectors, file)

    @staticmethod
    def _kept(file: Path, count: int) -> Any:
        """The index in a file; None if there is none, or one of another number of vectors."""
        import faiss

        if not file.is_file():
            return None
        try:
            index = faiss.read_index(str(file))
        except RuntimeError as error:
            raise PmdError(f"{file}: cannot be read ({first_line(error)}); remove it, and it is built anew") from None
        return index if index.ntotal == count else None

    @staticmethod
    def _built(vectors: np.ndarray, file: Path) -> Any:
        """The index of vectors (n, d), written to a file where that can be."""
        import faiss

        count, dim = vectors.shape
        cells = max(1, min(count // TRAINED_ON, int(2 * count**0.5)))
        kind, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(dim), dim, cells, kind, metric)
        print(
            f"building an index of {cells:,} cells over {count:,} entities, once for this model and graph",
            file=sys.stderr,
        )
        sample = np.random.default_rng(0).choice(count, min(count, cells * TRAINED_ON), replace=False)
        learned_from = np.ascontiguousarray(vectors[np.sort(sample)], dtype=np.float32)
        if not np.isfinite(learned_from).all():
            raise PmdError("search: the model's vectors have NaN; its training may have diverged, so train it anew")
        index.train(learned_from)
        for start in range(0, count, BLOCK):
            index.add(np.ascontiguousarray(vectors[start : start + BLOCK], dtype=np.float32))
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        try:
            faiss.write_index(index, str(aside))
            os.replace(aside, file)
        except (OSError, RuntimeError) as error:
            aside.unlink(missing_ok=True)
            warn(f"{file}: cannot be kept ({first_line(error)}), which only takes time")
        return index

    def rows(self, queries: np.ndarray, count: int) -> list[np.ndarray]:
        self.index.nprobe = self.searched
        _, rows = self.index.search(np.ascontiguousarray(queries, dtype=np.float32), min(count, self.index.ntotal))
        return [row[row >= 0] for row in rows]


def leading_of(widths: Sequence[int]) -> int:
    """How many leading numbers make the short list of a funnel: a trained width, `LEADING` or the next one above.

    Raises:
        PmdError: if a model was trained at its full width alone.
    """
    if len(widths) < 2:
        raise PmdError(
            f"search: a funnel needs vectors whose leading numbers are vectors of their own, and this model was trained at "
            f"{widths[-1]} alone; train it with encoder.widths, or search by faiss"
        )
    return next((width for width in widths[:-1] if width >= LEADING), widths[-2])


def searching(model: Any, search: Search) -> Any:
    """A model that searches its entities in a way. PmdError if it cannot."""
    if search == "exact":
        return model
    if not hasattr(model, "searching"):
        raise PmdError(f"search: {search} is for text models; leave it out")
    return model.searching(search)

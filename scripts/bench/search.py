"""Exact search, a funnel and an index of faiss over many vectors: recall, time and size. Run by hand, with one thread.

The vectors are made: around centres, as entities of a kind are, and with numbers that say less and less, as those of a model
that was trained at several widths. Questions are vectors beside them. A search's recall is the share of the ten best of the exact
search, in fp32, that is among its ten best; milliseconds are those of the processor for one question at a time, scores included.

    OMP_NUM_THREADS=1 python scripts/bench/search.py --entities 1000000
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from timing import clocked

from pmd.cli.errors import run
from pmd.evaluation.tables import markdown
from pmd.models.text.precision import HALF_FROM
from pmd.use.index import products
from pmd.use.search import SHORT_LIST, Cells, Funnel

CENTRES = 5000
FALL = -0.35
"""The power of a number's place that it falls with: 0.35 leaves the first 32 of 128 half of the length."""


def made(count: int, dim: int, centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors (count, dim)."""
    vectors = centres[rng.integers(len(centres), size=count)]
    vectors += rng.standard_normal((count, dim), dtype=np.float32)
    vectors *= (np.arange(1, dim + 1) ** FALL).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def main(entities: int = 100_000, dim: int = 128, questions: int = 50, seed: int = 0) -> None:
    """Measure.

    Args:
        entities: how many vectors.
        dim: of a vector.
        questions: how many are asked, one at a time.
        seed: of the vectors.
    """
    rng = np.random.default_rng(seed)
    centres = 1.5 * rng.standard_normal((CENTRES, dim), dtype=np.float32)
    vectors, queries = made(entities, dim, centres, rng), made(questions, dim, centres, rng)
    stored = vectors if vectors.size < HALF_FROM else vectors.astype(np.float16)  # as an index keeps them
    best = [np.argpartition(-(vectors @ query), 10)[:10] for query in queries]
    rows = []

    def measure(name: str, megabytes: float, built: float, scores: Callable[[np.ndarray], np.ndarray]) -> None:
        milliseconds, recalls = [], []
        for query, wanted in zip(queries, best):
            _, seconds, row = clocked(lambda query=query: scores(query[None])[0])
            milliseconds.append(1000 * seconds)
            recalls.append(len({*np.argpartition(-row, 10)[:10].tolist()} & {*wanted.tolist()}) / 10)
        recall, time = statistics.mean(recalls), statistics.median(milliseconds)
        rows.append((name, f"{recall:.3f}", f"{time:.1f}", f"{megabytes:,.0f}", f"{built:.0f}"))
        print(*rows[-1], file=sys.stderr, flush=True)

    def short(made: Funnel | Cells) -> Callable[[np.ndarray], np.ndarray]:
        def scores(query: np.ndarray) -> np.ndarray:
            listed, row = made.rows(query, SHORT_LIST)[0], np.full((1, entities), -np.inf, dtype=np.float32)
            row[0, listed] = stored[listed].astype(np.float32) @ query[0]
            return row

        return scores

    measure("exact, fp32", vectors.nbytes / 1e6, 0, lambda q, held=vectors: q @ held.T)
    half = vectors.astype(np.float16)
    measure("exact, fp16 in blocks", half.nbytes / 1e6, 0, lambda q, held=half: products(q, held, None))
    del half, vectors
    for leading in (16, 32, 64):
        _, built, funnel = clocked(lambda leading=leading: Funnel(stored, leading))
        megabytes = (stored.nbytes + funnel.leading.nbytes) / 1e6
        measure(f"funnel, {leading} of {dim} numbers make {SHORT_LIST:,}", megabytes, built, short(funnel))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cells"
        _, built, cells = clocked(lambda: Cells(stored, file))
        for cells.searched in (32, 64, 128):
            name = f"faiss, {cells.searched} of {cells.index.nlist:,} cells in fp16"
            measure(name, (stored.nbytes + file.stat().st_size) / 1e6, built, short(cells))
    print(f"{entities:,} vectors of {dim} numbers\n")
    print(markdown(("search", "recall@10", "ms a question", "MB", "s to build"), rows))


if __name__ == "__main__":
    run(lambda: auto_cli(main))

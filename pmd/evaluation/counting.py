"""Counting, for each true answer, the candidates that score above it and those that do not score below it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

CPU_BLOCK = 2**18
"""Scores that one thread counts at a time: they and the comparison stay in its cache."""


def count_ahead(scores: Tensor, rows: Tensor, true: Tensor, candidates: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Compare each true score with all candidates of its query.

    Args:
        scores: (q, num_entities).
        rows, true: (b,) the query of each true answer, and its score.
        candidates: (c,) entities, or None for all.

    Returns:
        int64 (b,) how many score above the true answer, int64 (b,) how many do not score below it (itself included), and
        the highest score (b,), which is NaN if and only if any is.
    """
    count = count_on_cpu if scores.device.type == "cpu" else count_on_device
    return count(scores, rows, true, candidates)


def count_on_device(
    scores: Tensor, rows: Tensor, true: Tensor, candidates: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """What `count_ahead` gives, on any device."""
    if candidates is not None:
        scores = scores.index_select(1, candidates.to(scores.device))
    highest = scores.amax(1)[rows]
    if len(scores) < len(rows):
        scores = scores.index_select(0, rows)
    return (scores > true[:, None]).sum(1), (scores >= true[:, None]).sum(1), highest


def count_on_cpu(
    scores: Tensor, rows: Tensor, true: Tensor, candidates: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The same as `count_on_device`, many times faster on a CPU.

    Blocks of a few rows stay in the cache for all three passes, and NumPy counts booleans without widening
    them. The threads are Python's, one task for each block: PyTorch would split every small step over its own
    threads and wait for the slowest, which costs more than the counting as soon as the cores are shared.
    """
    if scores.dtype in (torch.float16, torch.bfloat16):  # exact; NumPy has no fast half precision
        scores, true = scores.float(), true.float()
    table, true_scores, queries = scores.detach().numpy(), true.detach().numpy()[:, None], rows.numpy()
    columns = None if candidates is None else candidates.numpy()
    shared = len(table) < len(queries)
    step = max(1, CPU_BLOCK // table.shape[1])

    def count(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        some = slice(start, start + step)
        block = table[queries[some] if shared else some]  # (rows of the block, num_entities)
        if columns is not None:
            block = block.take(columns, axis=1)
        # Row by row: NumPy counts a whole array several times faster than along an axis.
        pairs = list(zip(block, true_scores[some]))
        above = [np.count_nonzero(row > score) for row, score in pairs]
        not_below = [np.count_nonzero(row >= score) for row, score in pairs]
        return np.array(above), np.array(not_below), block.max(axis=1)

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        blocks = list(threads.map(count, range(0, len(queries), step)))
    above, not_below, highest = (torch.from_numpy(np.concatenate(part)) for part in zip(*blocks))
    return above, not_below, highest

"""Exact, filtered, tie-aware ranking of all widths of a croppable model from one pass over the candidates.

The same ranks as `ranks` gives each cropped model, save for the last bits of a sum. A block of candidates stays in the cache
while the widths go over it: each adds its dimensions to the scores so far, which are then compared with those of
the true answers. Known answers are out of the race from the start: their entries begin at −∞ and stay there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.types import TARGETS, Target
from pmd.data.answers import KnownAnswers
from pmd.data.graph import KnowledgeGraph
from pmd.evaluation.metrics import QueryRanks, RankingMetrics, Ranks
from pmd.evaluation.ranking import by_query, check_options, check_sizes, distinct_queries, in_order, ranks, subsample

NEVER = float("-inf")
CPU_BLOCK = 2**19
"""Scores that are compared at a time: they stay in the cache for all widths."""
WIDE_BLOCK = 2**26
"""The same on other devices."""
LANES = 8 * 255
"""Candidates in a block, at most: they are counted in eight bytes."""


class Totals(Protocol):
    """What `sweep` gives: running sums of queries against candidates; all above `highest` counts as that."""

    dtype: torch.dtype
    highest: float | None

    def totals(self, table: Tensor, candidates: Tensor) -> Iterator[Tensor]: ...


class Croppable(Protocol):
    """A model whose leading dimensions are models too."""

    widths: Sequence[int]
    num_entities: int
    num_relations: int
    has_running_sums: bool
    device: torch.device

    def sweep(self, triples: Tensor, target: Target) -> Totals: ...

    def looked_up(self, entities: Tensor) -> Tensor: ...

    def score_all(self, triples: Tensor, target: Target, width: int | None = None) -> Tensor: ...


def rank_widths(
    model: Croppable, graph: KnowledgeGraph, split: str = "test", **options: Any
) -> dict[int, RankingMetrics]:
    """The metrics of every sub-model of `model.widths`; the options are those of `ranks_widths`."""
    found = ranks_widths(model, graph, split, **options)
    return {width: RankingMetrics.from_ranks(ranks) for width, ranks in found.items()}


class AtWidth:
    """A croppable model at one width, as a scorer."""

    def __init__(self, model: Croppable, width: int):
        self.model, self.width, self.device = model, width, model.device
        self.num_entities, self.num_relations = model.num_entities, model.num_relations

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        return self.model.score_all(triples, target, self.width)


@torch.no_grad()
def ranks_widths(
    model: Croppable,
    graph: KnowledgeGraph,
    split: str = "test",
    *,
    filtered: bool = True,
    targets: Sequence[Target] = TARGETS,
    batch_size: int = 256,
    max_triples: int | None = None,
    seed: int = 0,
) -> dict[int, Ranks]:
    """Rank the true answer of every query of a split with every sub-model.

    Args:
        model: with `widths`. Where its scores are no running sums, every width is ranked by itself.
        batch_size: triples ranked together. Memory is bounded by a block of scores, and their embeddings.
        split, filtered, targets, max_triples, seed: as in `pmd.evaluation.ranking.ranks`.

    Returns:
        `Ranks` by width, on the CPU, in the order of the split.

    Raises:
        PmdError: unknown split or target, a model of another graph, or a score that is NaN.
    """
    if not model.has_running_sums:
        options = {"filtered": filtered, "targets": targets, "batch_size": batch_size}
        options |= {"max_triples": max_triples, "seed": seed}
        return {width: ranks(AtWidth(model, width), graph, split, **options) for width in model.widths}
    check_options(targets, batch_size, max_triples)
    check_sizes(model, graph)
    triples = subsample(graph.split(split), max_triples, seed)
    known = KnownAnswers(graph.known_triples(split), graph.num_entities, graph.num_relations) if filtered else None
    entities = graph.candidates(split)
    entities = torch.arange(graph.num_entities) if entities is None else entities
    sides: dict[str, list[QueryRanks]] = {}
    for target in targets:
        order = by_query(triples, target, graph.num_relations)
        parts = order.split(batch_size) if len(order) else ()
        chunks = [_rank_chunk(model, triples[chunk], target, entities, known) for chunk in parts]
        sides[target] = [in_order([chunk[i] for chunk in chunks], order) for i in range(len(model.widths))]
    return {
        width: Ranks(triples, **{target: of_width[i] for target, of_width in sides.items()})
        for i, width in enumerate(model.widths)
    }


def _rank_chunk(
    model: Croppable, triples: Tensor, target: Target, entities: Tensor, known: KnownAnswers | None
) -> list[QueryRanks]:
    """The ranks (b,) of triples (b, 3), sorted by query, for each width."""
    device = model.device
    answers = triples[:, 0 if target == "head" else 2]
    if known is None:  # the answers of other triples compete: no two triples share a row of scores
        first, rows = torch.arange(len(triples)), torch.arange(len(triples))
        row, entity = rows, answers
        others = torch.zeros(len(triples), dtype=torch.long)
    else:
        first, rows = distinct_queries(triples, target)
        row, entity = known.lookup(triples[first], target)
        row, entity = _with_answers(row, entity, rows, answers, int(entities.max()) + 1)
        others = torch.bincount(row, minlength=len(first))[rows] - 1
    sweep = model.sweep(triples[first].to(device), target)
    truth = _true_totals(model, sweep, len(first), rows.to(device), answers.to(device))  # (n, b)
    if truth.isnan().any():
        raise PmdError(f"{type(model).__name__} gave NaN as a score: has its training diverged?")
    meets = [False] * len(truth)
    if sweep.highest is not None:
        truth = truth.clamp(max=sweep.highest)
        meets = (truth == sweep.highest).any(1).tolist()
    place = torch.searchsorted(entities, entity.contiguous())
    by_place = place.argsort()
    row, place = row[by_place].to(device), place[by_place]
    size = max(8, (CPU_BLOCK if device.type == "cpu" else WIDE_BLOCK) // len(triples) // 8 * 8)
    size = min(size, LANES)
    rows = rows.to(device) if len(first) < len(triples) else None

    def count(start: int) -> Tensor:
        """How many candidates of a block score above the true answers, and not below: (2, n, b)."""
        block = entities[start : start + size]
        out = slice(*torch.searchsorted(place, torch.tensor([start, start + len(block)])).tolist())
        columns = -(-len(block) // 8) * 8  # counted eight at a time
        table = torch.zeros(len(first), columns, dtype=sweep.dtype, device=device)
        table[:, len(block) :] = NEVER
        table[row[out], (place[out] - start).to(device)] = NEVER
        candidates = model.looked_up(torch.cat([block, block[-1:].expand(columns - len(block))]).to(device))
        scores = torch.empty(table.shape, device=device)
        own = scores if rows is None else torch.empty(len(triples), columns, device=device)
        tally, sums = Tally(own), torch.empty(len(truth), 2, len(triples), dtype=torch.int64, device=device)
        for totals, true, meeting, found in zip(sweep.totals(table, candidates), truth, meets, sums):
            scores.copy_(totals)
            if meeting:  # rivals that meet the query too tie with the true answer
                scores.clamp_(max=sweep.highest)
            if rows is not None:  # six times faster than scores[rows]
                torch.index_select(scores, 0, rows, out=own)
            tally.count(true, found)
        if scores.isnan().any():
            raise PmdError(f"{type(model).__name__} gave NaN as a score: has its training diverged?")
        return lanes_of(sums).movedim(1, 0)

    starts = range(0, len(entities), size)
    if device.type == "cpu":
        # One task a block: PyTorch would split every small step over its threads and wait for the slowest.
        with _single_threaded() as threads, ThreadPoolExecutor(threads) as pool:
            parts = [*pool.map(torch.no_grad()(count), starts)]
    else:
        parts = [count(start) for start in starts]
    above, not_below = torch.stack(parts).sum(0)
    num_candidates = len(entities) - others
    return [QueryRanks(1 + a.cpu(), 1 + b.cpu(), num_candidates) for a, b in zip(above, not_below)]


def _with_answers(
    row: Tensor, entity: Tensor, rows: Tensor, answers: Tensor, num_entities: int
) -> tuple[Tensor, Tensor]:
    """Known answers by row, those that are ranked among them, each once."""
    keys = torch.cat([row * num_entities + entity, rows * num_entities + answers]).unique()
    return keys // num_entities, keys % num_entities


def _true_totals(model: Croppable, sweep: Totals, queries: int, rows: Tensor, answers: Tensor) -> Tensor:
    """(n, b) what the true answers of all widths add up to, by the sums that their rivals are compared by."""
    found, inverse = answers.unique(return_inverse=True)
    table = torch.zeros(queries, len(found), dtype=sweep.dtype, device=answers.device)
    return torch.stack([t[rows, inverse].float() for t in sweep.totals(table, model.looked_up(found))])


class Tally:
    """Counts where scores (b, c) are above true ones, and where they are not below; c is a multiple of eight.

    The scores may change between counts, and are used up by one; everything else is made once.
    """

    def __init__(self, scores: Tensor):
        self.scores, self.marks = scores, torch.empty(scores.shape, dtype=torch.bool, device=scores.device)
        self.eights = self.marks.view(torch.int64)
        if scores.device.type == "cpu":
            self.arrays = scores.view(-1).numpy(), self.marks.view(-1).numpy()

    def count(self, true: Tensor, out: Tensor) -> None:
        """Counts of true scores (b,) into (2, b), in eight lanes of a byte (`lanes_of`)."""
        ahead = self.scores.sub_(true.unsqueeze(1))  # zero for equal scores alone; to compare with zero is fastest
        for i in range(2):
            if ahead.device.type == "cpu":  # NumPy compares several times faster
                scores, marks = self.arrays
                (np.greater, np.greater_equal)[i](scores, np.float32(0), out=marks)
            else:
                (torch.gt, torch.ge)[i](ahead, 0, out=self.marks)
            torch.sum(self.eights, 1, out=out[i])  # eight bytes are added as one number


def lanes_of(sums: Tensor) -> Tensor:
    """(…) sums of eight lanes -> (…) integers."""
    return sums.view(torch.uint8).unflatten(-1, (-1, 8)).sum(-1)


@contextmanager
def _single_threaded() -> Iterator[int]:
    """Small steps on one thread each, for those who bring threads of their own: as many as are given."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)

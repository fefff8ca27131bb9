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
from pmd.evaluation.ranking import (
    by_query,
    check_options,
    check_sizes,
    distinct_queries,
    in_order,
    progress_bar,
    ranks,
    subsample,
)

NEVER = float("-inf")
CPU_BLOCK = 2**19
"""Scores that are compared at a time: they stay in the cache for all widths."""
WIDE_BLOCK = 2**26
"""The same on other devices."""
LANES = 8 * 255
"""Candidates in a block on a CPU, at most: they are counted in eight bytes."""
MANY = 512
"""One in so many scores may be compared again by itself; where more are too near, a block is summed again as a whole."""


class Contest(Protocol):
    """What `Comparing.against` gives: queries and their true scores (n, b), to be compared with candidates."""

    true: Tensor
    dtype: torch.dtype
    certain: bool

    def ahead(self, table: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]: ...


class Comparing(Protocol):
    """What `sweep` gives: queries, to be compared with their true answers, or exactly with a few candidates."""

    def against(self, answers: Tensor, rows: Tensor) -> Contest: ...

    def exact(self, places: Tensor, rows: Tensor, candidates: Tensor, columns: Tensor) -> Tensor: ...


class Croppable(Protocol):
    """A model whose leading dimensions are models too."""

    widths: Sequence[int]
    num_entities: int
    num_relations: int
    has_running_sums: bool
    shares_queries: bool
    device: torch.device

    def sweep(self, triples: Tensor, target: Target) -> Comparing: ...

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
    progress: bool = False,
) -> dict[int, Ranks]:
    """Rank the true answer of every query of a split with every sub-model.

    Args:
        model: with `widths`. Where its scores are no running sums, every width is ranked by itself.
        batch_size: triples ranked together. Memory is bounded by a block of scores, and their embeddings.
        split, filtered, targets, max_triples, seed, progress: as in `pmd.evaluation.ranking.ranks`.

    Returns:
        `Ranks` by width, on the CPU, in the order of the split.

    Raises:
        PmdError: unknown split or target, a model of another graph, or a score that is NaN.
    """
    if not model.has_running_sums:
        options = {"filtered": filtered, "targets": targets, "batch_size": batch_size}
        options |= {"max_triples": max_triples, "seed": seed, "progress": progress}
        return {width: ranks(AtWidth(model, width), graph, split, **options) for width in model.widths}
    check_options(targets, batch_size, max_triples)
    check_sizes(model, graph)
    triples = subsample(graph.split(split), max_triples, seed)
    known = KnownAnswers(graph.known_triples(split), graph.num_entities, graph.num_relations) if filtered else None
    entities = graph.candidates(split)
    entities = torch.arange(graph.num_entities) if entities is None else entities
    sides: dict[str, list[QueryRanks]] = {}
    with progress_bar(len(triples) * len(targets), progress) as bar:
        for target in targets:
            order = by_query(triples, target, graph.num_relations)
            order = order[triples[order, 1].argsort(stable=True)]  # what candidates are to a relation is found once
            chunks = []
            for chunk in order.split(batch_size) if len(order) else ():
                chunks.append(_rank_chunk(model, triples[chunk], target, entities, known))
                bar.update(len(chunk))
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
    first = rows = torch.arange(len(triples))
    if known is None:  # the answers of other triples compete: no two triples share a row of scores
        row, entity = rows, answers
        others = torch.zeros(len(triples), dtype=torch.long)
    else:
        if model.shares_queries:
            first, rows = distinct_queries(triples, target)
        row, entity = known.lookup(triples[first], target)
        row, entity = _with_answers(row, entity, rows, answers, int(entities.max()) + 1)
        others = torch.bincount(row, minlength=len(first))[rows] - 1
    sweep = model.sweep(triples[first].to(device), target)
    contest = sweep.against(model.looked_up(answers.to(device)), rows.to(device))
    if contest.true.isnan().any():
        raise PmdError(f"{type(model).__name__} gave NaN as a score: has its training diverged?")
    place = torch.searchsorted(entities, entity.contiguous())
    by_place = place.argsort()
    row, place = row[by_place].to(device), place[by_place]
    size = block_size(model, len(triples))

    def count(start: int) -> Tensor:
        """How many candidates of a block score above the true answers, and not below: (2, n, b)."""
        block = entities[start : start + size]
        out = slice(*torch.searchsorted(place, torch.tensor([start, start + len(block)])).tolist())
        columns = -(-len(block) // 8) * 8  # counted eight at a time
        candidates = model.looked_up(torch.cat([block, block[-1:].expand(columns - len(block))]).to(device))

        def tally(dtype: torch.dtype) -> Tally:
            table = torch.zeros(len(first), columns, dtype=dtype, device=device)
            table[:, len(block) :] = NEVER
            table[row[out], (place[out] - start).to(device)] = NEVER
            found = Tally(len(contest.true), len(triples), columns, device)
            for ahead, slack in contest.ahead(table, candidates):
                found.count(ahead, slack)
            if ahead.isnan().any():
                raise PmdError(f"{type(model).__name__} gave NaN as a score: has its training diverged?")
            return found

        found = tally(contest.dtype)
        if contest.certain:
            return found.counts()
        if found.num_near() > found.marks[0].numel() * len(contest.true) // MANY:  # what is near then is a tie
            return tally(torch.double).counts()
        counts, (at, some, column) = found.counts(), found.near()
        ahead = sweep.exact(at, some, candidates, column).float() - contest.true[at, some].float()
        counts[0].index_put_((at, some), (ahead > 0).long(), accumulate=True)
        counts[1].index_put_((at, some), -(ahead < 0).long(), accumulate=True)
        return counts

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


def block_size(model: Croppable, rows: int) -> int:
    """How many candidates are compared at a time with so many true answers, a multiple of eight."""
    if model.device.type == "cpu":
        return min(LANES, max(8, CPU_BLOCK // rows // 8 * 8))
    numbers = model.looked_up(torch.zeros(1, dtype=torch.long, device=model.device)).numel()  # of an embedding
    return max(8, WIDE_BLOCK // max(rows, numbers) // 8 * 8)


def _with_answers(
    row: Tensor, entity: Tensor, rows: Tensor, answers: Tensor, num_entities: int
) -> tuple[Tensor, Tensor]:
    """Known answers by row, those that are ranked among them, each once."""
    keys = torch.cat([row * num_entities + entity, rows * num_entities + answers]).unique()
    return keys // num_entities, keys % num_entities


NO_PLACES = torch.empty(0, dtype=torch.long)


class Tally:
    """Counts, for each of n widths, in rows of b scores: how many of c candidates are ahead, and how many not behind.

    c is a multiple of eight.
    """

    def __init__(self, n: int, b: int, c: int, device: torch.device):
        self.on_cpu = device.type == "cpu"
        self.marks = torch.empty(2, b, c, dtype=torch.bool, device=device)  # used for one width after the other
        self.eights = self.marks.view(torch.int64)
        self.sums = torch.empty(2, n, b, dtype=torch.int64, device=device)
        if self.on_cpu:
            self.flat = (*self.marks.view(2, -1).numpy(), *self.eights.view(2, -1).numpy())
        self.places: list[np.ndarray | Tensor] = []  # where differences are near zero; on a CPU by eights,
        self.lanes: list[np.ndarray] = []  # and which of them

    def num_near(self) -> int:
        """How many differences are within the slack."""
        return (
            sum(np.count_nonzero(lanes.view(bool)) for lanes in self.lanes)
            if self.on_cpu
            else sum(map(len, self.places))
        )

    def count(self, ahead: Tensor, slack: float) -> None:
        """The next width: candidates that are ahead (b, c) by more than `slack`, and by no less than −`slack`."""
        i = len(self.places)
        if not self.on_cpu:
            above, not_below = self.marks
            torch.gt(ahead, slack, out=above)
            torch.ge(ahead, -slack, out=not_below)
            torch.sum(self.marks, 2, out=self.sums[:, i])
            self.places.append((above != not_below).view(-1).nonzero().squeeze(1) if slack else NO_PLACES)
            return
        # NumPy compares several times faster, fastest with one number; eight bytes are added as one.
        above, not_below, eights_above, eights_not_below = self.flat
        scores = ahead.view(-1).numpy()
        bound = scores.dtype.type(slack)
        np.greater(scores, bound, out=above)
        np.greater_equal(scores, -bound, out=not_below)
        torch.sum(self.eights, 2, out=self.sums[:, i])
        found = np.flatnonzero(eights_above != eights_not_below) if slack else NO_PLACES.numpy()
        self.places.append(found)
        self.lanes.append(eights_above[found] ^ eights_not_below[found])

    def counts(self) -> Tensor:
        """(2, n, b)"""
        return self.sums.view(torch.uint8).unflatten(-1, (-1, 8)).sum(-1) if self.on_cpu else self.sums

    def near(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the differences within the slack: place of the width, increasing, row and column, (m,) each."""
        width = torch.arange(len(self.places)).repeat_interleave(torch.tensor([len(found) for found in self.places]))
        if self.on_cpu:
            eight, lane = np.concatenate(self.lanes).view(bool).reshape(-1, 8).nonzero()
            width, place = width[eight], torch.from_numpy(np.concatenate(self.places)[eight] * 8 + lane)
        else:
            width, place = width.to(self.marks.device), torch.cat(self.places)
        return width, place // self.marks.shape[2], place % self.marks.shape[2]


@contextmanager
def _single_threaded() -> Iterator[int]:
    """Small steps on one thread each, for those who bring threads of their own: as many as are given."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)

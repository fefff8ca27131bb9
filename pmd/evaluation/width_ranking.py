"""Exact, filtered, tie-aware ranking of all widths of a croppable model from one pass over the candidates.

The way of an embedding to a rank, for each chunk of triples (`_rank_chunk`):

1. `CandidateFilter` says which queries are asked and which candidates do not compete;
2. `model.width_scores` holds the queries, `.margins_over(answers)` them and their true answers (`pmd.models.kge.width_scores`);
3. for each block of candidates, `.margins` tells, width by width, by how much they are ahead of the true answers;
4. `RankCounter` counts who is ahead; what is too near to tell is compared again by `exact_margins`.

A score at a width is one number in single precision, and candidates tie where these numbers are equal. It is the sum of its
terms, one dimension after the other, in double precision and rounded once, and for a distance the root of that; for L1 norms
it is in single precision throughout. So ranks depend neither on `batch_size` nor on the other widths. They are those of
`ranks` of each cropped model, except for the last bits of its sums: see there.

A block of candidates stays in the cache while the widths go over it. Candidates that do not compete begin at −∞ and stay
there, so they cost no further step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from pmd.core.devices import supports_float64
from pmd.core.errors import PmdError, names_options, options_of, refuse_unknown
from pmd.core.types import ANSWER_COLUMN, TARGETS, Target
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.metrics import QueryRanks, RankingMetrics, Ranks
from pmd.evaluation.rank_counter import RankCounter
from pmd.evaluation.ranking import (
    Rerank,
    by_query,
    check_options,
    check_sizes,
    distinct_queries,
    in_order,
    rank_in_chunks,
    ranks,
    subsample,
)
from pmd.evaluation.rerank import NeighbourRerank
from pmd.models.kge.width_scores import Margins, WidthScores

CPU_BLOCK = 2**19
"""Margins in a table on a CPU, at most: they stay in the cache for all widths."""
DEVICE_BLOCK = 2**26
"""The same on other devices."""
CPU_CANDIDATES = 8 * 255
"""Candidates in a block on a CPU, at most: `RankCounter` counts them in eight bytes."""
NEAR_SHARE = 512
"""Up to one near candidate in this many is compared again as a pair; where more are near, the whole block is."""


class Croppable(Protocol):
    """A model whose leading dimensions are models too.

    The last three are read only where `has_running_sums`. A model without may offer `prepare(triples, targets)`, which is
    called once before its widths are ranked one after the other.
    """

    widths: Sequence[int]
    num_entities: int
    num_relations: int
    device: torch.device
    has_running_sums: bool

    def score_all(self, triples: Tensor, target: Target, width: int | None = None) -> Tensor: ...

    shares_queries: bool

    def width_scores(self, triples: Tensor, target: Target) -> WidthScores: ...

    def entity_embeddings(self, entities: Tensor) -> Tensor: ...


def rank_widths(
    model: Croppable, graph: KnowledgeGraph, split: str = "test", **options: Any
) -> dict[int, RankingMetrics]:
    """The metrics of every sub-model of `model.widths`.

    Args:
        model: an embedding model or a `TextScorer` of several widths.
        graph: the graph whose positions of entities and relations the triples are.
        split: whose triples are ranked.
        options: those of `ranks`.

    Returns:
        `RankingMetrics` by width.

    Raises:
        PmdError: as `ranks`, and for a bonus for neighbours where scores are running sums.

    Example:
        >>> model = pmd.load_scorer("runs/world-rotate-…/rotate", graph)
        >>> list(pmd.rank_widths(model, graph, "valid"))
        [16, 32]
    """
    refuse_unknown("rank_widths", options, options_of(ranks_widths))
    by_width = ranks_widths(model, graph, split, **options)
    return {width: RankingMetrics.from_ranks(ranks) for width, ranks in by_width.items()}


class AtWidth:
    """A croppable model at one width, as a scorer."""

    def __init__(self, model: Croppable, width: int):
        self.model, self.width, self.device = model, width, model.device
        self.num_entities, self.num_relations = model.num_entities, model.num_relations

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        return self.model.score_all(triples, target, self.width)


@names_options
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
    rerank: Rerank | None = None,
    progress: bool = False,
    shared: bool = True,
) -> dict[int, Ranks]:
    """Rank the true answer of every query of a split with every sub-model.

    Args:
        model: with `widths`. Where its scores are not running sums, and with `rerank`, widths are ranked one after the other by `ranks`; texts
            are encoded once for all of them.
        batch_size: triples ranked together; it bounds the memory. Where scores are running sums, the ranks do not depend
            on it (on a CPU exactly; elsewhere as `ranks` says). They need double precision: a device without it leaves
            them to the CPU.
        split, filtered, targets, max_triples, seed, rerank, progress, shared: as in `pmd.evaluation.ranking.ranks`.

    Returns:
        `Ranks` by width, on the CPU, in the order of the split.

    Raises:
        PmdError: unknown split or target, a model for another graph, a score that is NaN, or a bonus for neighbours where scores
            are running sums.
    """
    check_options(targets, batch_size, max_triples)
    check_sizes(model, graph)
    triples = subsample(graph.split(split), max_triples, seed)
    if model.has_running_sums and isinstance(rerank, NeighbourRerank):
        raise PmdError("rerank: is added to cosines, and this model has none; leave it out")
    if not model.has_running_sums or rerank is not None:
        if hasattr(model, "prepare"):
            model.prepare(triples, tuple(targets))
        options = {"filtered": filtered, "targets": targets, "batch_size": batch_size}
        options |= {"max_triples": max_triples, "seed": seed, "rerank": rerank, "progress": progress, "shared": shared}
        return {width: ranks(AtWidth(model, width), graph, split, **options) for width in model.widths}
    if not supports_float64(model.device):
        model = copy.deepcopy(model).cpu()
    known = KnownAnswers.of(graph, split) if filtered else None
    entities = graph.candidates(split)
    entities = torch.arange(graph.num_entities) if entities is None else entities
    orders = {}
    for target in targets:
        order = by_query(triples, target, graph.num_relations)
        # By relation too: what a relation makes of the candidates is computed once for all its queries.
        orders[target] = order[triples[order, 1].argsort(stable=True)]

    def rank_chunk(chunk: Tensor, target: Target) -> list[QueryRanks]:
        return _rank_chunk(model, chunk, target, entities, known)

    sides = rank_in_chunks(triples, orders, batch_size, rank_chunk, progress=progress, shared=shared)
    return {
        width: Ranks(
            triples,
            **{target: in_order([part[i] for part in parts], orders[target]) for target, parts in sides.items()},
        )
        for i, width in enumerate(model.widths)
    }


def _rank_chunk(
    model: Croppable, triples: Tensor, target: Target, entities: Tensor, known: KnownAnswers | None
) -> list[QueryRanks]:
    """The ranks (b,) of triples (b, 3), sorted by query, for each width."""
    device = model.device
    answers = triples[:, ANSWER_COLUMN[target]]
    competing = CandidateFilter.of(model, triples, target, entities, known)
    queries = model.width_scores(triples[competing.first_triples].to(device), target)
    margins = queries.margins_over(model.entity_embeddings(answers.to(device)), competing.query.to(device))
    if margins.true_scores.isnan().any():
        _raise_nan(model)
    size = block_size(model, len(triples))

    def count(start: int) -> Tensor:
        block = entities[start : start + size]
        columns = -(-len(block) // 8) * 8  # counted eight at a time
        padded = torch.cat([block, block[-1:].expand(columns - len(block))])
        candidates = model.entity_embeddings(padded.to(device))
        return _count(model, margins, candidates, lambda dtype: competing.totals(start, len(block), columns, dtype))

    ahead, not_behind = _over_blocks(count, range(0, len(entities), size), device)
    num_candidates = len(entities) - competing.num_others
    return [QueryRanks(1 + a.cpu(), 1 + b.cpu(), num_candidates) for a, b in zip(ahead, not_behind)]


@dataclass(frozen=True)
class CandidateFilter:
    """Which queries b triples ask, and which candidates do not compete.

    Example, filtered: the triples (0, r, 5) and (0, r, 7) ask one query, first_triples = [0], query = [0, 0]. Their answers
    and the known answer 9 are excluded: excluded_query = [0, 0, 0], excluded_place = [5, 7, 9] if all entities are
    candidates. Each of the two triples is ranked without 2 of them: num_others = [2, 2].

    Attributes:
        first_triples: (q,) the first triple of each query.
        query: (b,) the query of each triple.
        excluded_query, excluded_place: (m,) queries, and places among the candidates, of those that do not compete, true
            answers included; by increasing place.
        num_others: (b,) how many are excluded besides the true answer.
    """

    first_triples: Tensor
    query: Tensor
    excluded_query: Tensor
    excluded_place: Tensor
    num_others: Tensor

    @classmethod
    def of(
        cls, model: Croppable, triples: Tensor, target: Target, entities: Tensor, known: KnownAnswers | None
    ) -> CandidateFilter:
        """The filter of triples (b, 3), sorted by query, among candidates `entities` (c,), ascending; no known answers,
        no filter but the true answer itself."""
        answers = triples[:, ANSWER_COLUMN[target]]
        first_triples = query = torch.arange(len(triples))
        if known is None:  # the answers of other triples compete: every triple needs a table row of its own
            excluded_query, excluded = query, answers
            num_others = torch.zeros(len(triples), dtype=torch.long)
        else:
            if model.shares_queries:
                first_triples, query = distinct_queries(triples, target)
            known_query, known_entity = known.lookup(triples[first_triples], target)
            # The true answers are excluded too, known or not; each entity once.
            num_entities = int(entities.max()) + 1
            keys = torch.cat([known_query * num_entities + known_entity, query * num_entities + answers]).unique()
            excluded_query, excluded = keys // num_entities, keys % num_entities
            num_others = torch.bincount(excluded_query, minlength=len(first_triples))[query] - 1
        place = torch.searchsorted(entities, excluded.contiguous())
        order = place.argsort()
        return cls(first_triples, query, excluded_query[order].to(model.device), place[order], num_others)

    def totals(self, start: int, count: int, columns: int, dtype: torch.dtype) -> Tensor:
        """(q, columns) where the scores of `count` candidates from place `start` on begin: 0, or −∞ for those that do not
        compete and for columns from `count` on."""
        some = slice(*torch.searchsorted(self.excluded_place, torch.tensor([start, start + count])).tolist())
        totals = torch.zeros(len(self.first_triples), columns, dtype=dtype, device=self.excluded_query.device)
        totals[:, count:] = -torch.inf
        totals[self.excluded_query[some], (self.excluded_place[some] - start).to(totals.device)] = -torch.inf
        return totals


def _count(model: Croppable, margins: Margins, candidates: Tensor, totals: Callable[[torch.dtype], Tensor]) -> Tensor:
    """(2, n, b) how many candidates (c, parts, dim) score above the true answers, and how many not below them."""
    counter = RankCounter(*margins.true_scores.shape, len(candidates), candidates.device)
    if counter.count_all(margins.by_width(totals(margins.dtype), candidates)).isnan().any():
        _raise_nan(model)
    if margins.exact:
        return counter.counts()
    if counter.num_near() > counter.marks[0].numel() * len(margins.true_scores) // NEAR_SHARE:
        counter.count_all(margins.exact_margins(totals(torch.double), candidates))
        return counter.counts()
    # The near ones were counted as not behind and not as ahead.
    counts, (width, row, column) = counter.counts(), counter.near()
    near = margins.exact_pair_margins(width, row, candidates, column)
    counts[0].index_put_((width, row), (near > 0).long(), accumulate=True)
    counts[1].index_put_((width, row), -(near < 0).long(), accumulate=True)
    return counts


def _over_blocks(count: Callable[[int], Tensor], starts: range, device: torch.device) -> Tensor:
    """The sum of the counts of the blocks that begin at `starts`."""
    if device.type != "cpu":
        return torch.stack([count(start) for start in starts]).sum(0)
    # One task for each block: PyTorch would split every small step over its threads and wait for the slowest.
    with _single_threaded() as threads, ThreadPoolExecutor(threads) as pool:
        return torch.stack([*pool.map(torch.no_grad()(count), starts)]).sum(0)


def _raise_nan(model: Croppable) -> NoReturn:
    raise PmdError(f"{type(model).__name__} gave NaN as a score; has its training diverged? Try a lower learning rate")


def block_size(model: Croppable, num_answers: int) -> int:
    """How many candidates are compared at a time with so many true answers, a multiple of eight."""
    if model.device.type == "cpu":
        return min(CPU_CANDIDATES, max(8, CPU_BLOCK // num_answers // 8 * 8))
    one_entity = torch.zeros(1, dtype=torch.long, device=model.device)
    numbers = model.entity_embeddings(one_entity).numel()  # in an embedding
    return max(8, DEVICE_BLOCK // max(num_answers, numbers) // 8 * 8)


@contextmanager
def _single_threaded() -> Iterator[int]:
    """PyTorch on one thread, for those who bring threads of their own; gives how many it had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)

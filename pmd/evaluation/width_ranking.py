"""Exact, filtered, tie-aware ranking of all widths of a croppable model from one pass over the candidates.

A score at a width is one number in single precision, and candidates tie where these are equal. It is the sum of its terms, one
dimension after the other, in double precision and rounded once, and of a distance the root of that; of L1 norms in single
precision throughout. So ranks depend neither on `batch_size` nor on the other widths. Those of `ranks` of each cropped model are
the same, save for the last bits of its own sums: see there.

A block of candidates stays in the cache while the widths go over it: each adds its dimensions to the sums so far, which are
then compared with those of the true answers. Where they may be wrong it is known by how much: what is too near to tell is
compared again by the scores themselves. Known answers are out of the race from the start: their entries begin at −∞ and
stay there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, runtime_checkable

import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.types import TARGETS, Target
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.metrics import QueryRanks, RankingMetrics, Ranks
from pmd.evaluation.rank_counter import Tally
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
"""One in so many candidates may be compared again by itself; where more are too near, a block is as a whole."""


class Contest(Protocol):
    """What `Comparing.against` gives: queries and the scores of their true answers (n, b), to be compared with candidates.

    Where it is `certain`, nothing is left to be settled.
    """

    true: Tensor
    dtype: torch.dtype
    certain: bool

    def ahead(self, table: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]: ...

    def settled(self, table: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]: ...

    def settled_pairs(self, places: Tensor, rows: Tensor, candidates: Tensor, columns: Tensor) -> Tensor: ...


class Comparing(Protocol):
    """What `sweep` gives: queries, to be compared with their true answers."""

    def against(self, answers: Tensor, rows: Tensor) -> Contest: ...


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


@runtime_checkable
class Prepared(Protocol):
    """A scorer that reads the queries of all widths at once."""

    def prepare(self, triples: Tensor, targets: tuple[Target, ...] = TARGETS) -> None: ...


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
        model: with `widths`. Where its scores are no running sums, every width is ranked by itself, by `ranks`; texts are
            encoded once for all widths.
        batch_size: triples ranked together. Memory is bounded by a block of scores, and their embeddings. The ranks do not
            depend on it where scores are running sums, on a CPU to the last one (elsewhere as `ranks` says).
        split, filtered, targets, max_triples, seed, progress: as in `pmd.evaluation.ranking.ranks`.

    Returns:
        `Ranks` by width, on the CPU, in the order of the split.

    Raises:
        PmdError: unknown split or target, a model of another graph, or a score that is NaN.
    """
    check_options(targets, batch_size, max_triples)
    check_sizes(model, graph)
    triples = subsample(graph.split(split), max_triples, seed)
    if not model.has_running_sums:
        if isinstance(model, Prepared):
            model.prepare(triples, tuple(targets))
        options = {"filtered": filtered, "targets": targets, "batch_size": batch_size}
        options |= {"max_triples": max_triples, "seed": seed, "progress": progress}
        return {width: ranks(AtWidth(model, width), graph, split, **options) for width in model.widths}
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
    field = _field(model, triples, answers, target, entities, known)
    sweep = model.sweep(triples[field.first].to(device), target)
    contest = sweep.against(model.looked_up(answers.to(device)), field.rows.to(device))
    if contest.true.isnan().any():
        _raise_nan(model)
    size = block_size(model, len(triples))

    def count(start: int) -> Tensor:
        block = entities[start : start + size]
        columns = -(-len(block) // 8) * 8  # counted eight at a time
        candidates = model.looked_up(torch.cat([block, block[-1:].expand(columns - len(block))]).to(device))
        return _count(model, contest, candidates, lambda dtype: field.table(start, len(block), columns, dtype))

    above, not_below = _over_blocks(count, range(0, len(entities), size), device)
    num_candidates = len(entities) - field.others
    return [QueryRanks(1 + a.cpu(), 1 + b.cpu(), num_candidates) for a, b in zip(above, not_below)]


@dataclass(frozen=True)
class Field:
    """Who is asked, and who does not compete.

    first (q,) the first triple of each query, rows (b,) the query of each triple; row, place (m,) queries and candidates
    that are out of the race, true answers among them, by increasing place; others (b,) how many are besides the true answer.
    """

    first: Tensor
    rows: Tensor
    row: Tensor
    place: Tensor
    others: Tensor

    def table(self, start: int, count: int, columns: int, dtype: torch.dtype) -> Tensor:
        """(q, columns) zeros for `count` candidates from `start` on, −∞ for those that are out and what is left over."""
        out = slice(*torch.searchsorted(self.place, torch.tensor([start, start + count])).tolist())
        table = torch.zeros(len(self.first), columns, dtype=dtype, device=self.row.device)
        table[:, count:] = NEVER
        table[self.row[out], (self.place[out] - start).to(table.device)] = NEVER
        return table


def _field(
    model: Croppable, triples: Tensor, answers: Tensor, target: Target, entities: Tensor, known: KnownAnswers | None
) -> Field:
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
    place = torch.searchsorted(entities, entity.contiguous())
    by_place = place.argsort()
    return Field(first, rows, row[by_place].to(model.device), place[by_place], others)


def _count(model: Croppable, contest: Contest, candidates: Tensor, table: Callable[[torch.dtype], Tensor]) -> Tensor:
    """How many candidates score above the true answers, and not below: (2, n, b)."""
    found = Tally(*contest.true.shape, len(candidates), candidates.device)
    if found.count_all(contest.ahead(table(contest.dtype), candidates)).isnan().any():
        _raise_nan(model)
    if contest.certain:
        return found.counts()
    if found.num_near() > found.marks[0].numel() * len(contest.true) // MANY:
        found.count_all(contest.settled(table(torch.double), candidates))
        return found.counts()
    counts, (at, some, column) = found.counts(), found.near()
    ahead = contest.settled_pairs(at, some, candidates, column)
    counts[0].index_put_((at, some), (ahead > 0).long(), accumulate=True)
    counts[1].index_put_((at, some), -(ahead < 0).long(), accumulate=True)
    return counts


def _over_blocks(count: Callable[[int], Tensor], starts: range, device: torch.device) -> Tensor:
    """The sum of what is counted in the blocks that begin at `starts`."""
    if device.type != "cpu":
        return torch.stack([count(start) for start in starts]).sum(0)
    # One task a block: PyTorch would split every small step over its threads and wait for the slowest.
    with _single_threaded() as threads, ThreadPoolExecutor(threads) as pool:
        return torch.stack([*pool.map(torch.no_grad()(count), starts)]).sum(0)


def _raise_nan(model: Croppable) -> NoReturn:
    raise PmdError(f"{type(model).__name__} gave NaN as a score: has its training diverged?")


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


@contextmanager
def _single_threaded() -> Iterator[int]:
    """Small steps on one thread each, for those who bring threads of their own: as many as are given."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)

"""Exact, filtered, tie-aware ranking: the one measure of every scorer, text or embedding.

A rank needs no sort. It is one plus the number of candidates that score above the true answer, so every row of
scores is read once and counted. Known answers other than the true one do not compete (filtered setting, Bordes et
al. 2013); they are few, so they are subtracted from the count instead of masking all scores. Queries that several
triples share are scored once.

Example: scores (0.9, 0.5, 0.5, 0.2, 0.7) of five candidates, the true answer is candidate 1, candidate 0 is a known
answer. Above 0.5 are two, not below it four (itself included); without candidate 0 one and three. So the optimistic
rank is 1 + 1 = 2, the pessimistic 3, the realistic 2.5, among 4 candidates.

In: anything with `score_all` (`pmd.core.types.TripleScorer`) and a `KnowledgeGraph`. Out: ranks by query (`ranks`) or
their summary (`rank`), see `pmd.evaluation.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pmd.core.distributed import map_shared, world_size
from pmd.core.distributed import rank as rank_of_process
from pmd.core.errors import PmdError, names_options, options_of, refuse_unknown
from pmd.core.printing import progress_bar
from pmd.core.types import ANSWER_COLUMN, TARGETS, Rerank, Target, TripleScorer
from pmd.data.graphs.answers import KnownAnswers, query_keys
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.counting import count_ahead
from pmd.evaluation.metrics import QueryRanks, RankingMetrics, Ranks

__all__ = ["QueryRanks", "RankingMetrics", "Ranks", "Rerank", "rank", "ranks"]

Chunk = TypeVar("Chunk")

MOST_SCORES = 2**27
"""Scores that are in memory at a time, whatever the batch: 0.5 GB."""


def rank(scorer: TripleScorer, graph: KnowledgeGraph, split: str = "test", **options: Any) -> RankingMetrics:
    """The metrics of the ranks of a split.

    Args:
        scorer, graph, split, options: as in `ranks`.

    Returns:
        `.mrr`, `.mr`, `.hits_at_1`, `.hits_at_3`, `.hits_at_10`, and the same by direction and by ways to break ties.

    Raises:
        PmdError: as `ranks`.

    Example:
        >>> graph = pmd.load_graph("world")
        >>> model = pmd.KgeModel("complex", graph.num_entities, graph.num_relations, dim=8)
        >>> 0 < pmd.rank(model, graph, split="valid").mrr < 0.1
        True
    """
    refuse_unknown("rank", options, options_of(ranks))
    return RankingMetrics.from_ranks(ranks(scorer, graph, split, **options))


@names_options
@torch.no_grad()
def ranks(
    scorer: TripleScorer,
    graph: KnowledgeGraph,
    split: str = "test",
    *,
    filtered: bool = True,
    targets: Sequence[Target] = TARGETS,
    batch_size: int = 256,
    rerank: Rerank | None = None,
    max_triples: int | None = None,
    seed: int = 0,
    progress: bool = False,
    shared: bool = True,
) -> Ranks:
    """Rank the true answer of every query of a split among the entities of its graph.

    Candidates tie where their scores, as `score_all` gives them, are equal to the last bit. On a CPU distances are the same in
    every batch, and so are the ranks: L1 norms are summed in single precision, L2 norms in double precision and rounded once.
    Exceptions are points that nearly meet (less than a ten-thousandth of their lengths apart) and squares that lie, to 14
    digits, midway between two numbers of single precision. Products and cosines come from a matrix product in single
    precision, whose last bits may depend on the shape of the batch: with another `batch_size`, candidates whose scores differ
    by no more may swap places or tie. `rank_widths` of an embedding model has no such exceptions.

    Args:
        scorer: gives scores (b, num_entities); a module is in eval mode meanwhile.
        graph: the graph whose positions of entities and relations the triples are.
        split: whose triples are ranked; filter and candidates are those of the graph it belongs to.
        filtered: leave out the other known answers of a query, from all splits; False gives raw ranks.
        targets: which places to ask for.
        batch_size: triples ranked together, but at most so many as make `MOST_SCORES` scores of all entities: bounds the
            memory, and the queries that the scorer is asked at once. The ranks depend on it only as far as the scores do, see
            above.
        rerank: adjusts the scores of a query before they are compared.
        max_triples, seed: rank only this many triples, drawn by the seed and kept in order (for validation).
        progress: show a bar.
        shared: of several processes each ranks a share of the batches, and all get all ranks: those of a single process, as
            the batches are the same. All must call it; False is for one that ranks while the others do not.

    Returns:
        `Ranks`, on the CPU, in the order of the split.

    Raises:
        PmdError: unknown split or target, scores of the wrong shape, or a score that is NaN.

    Example:
        >>> model = pmd.KgeModel("rotate", graph.num_entities, graph.num_relations, dim=8)
        >>> pmd.ranks(model, graph, "valid").head.realistic.shape
        torch.Size([192])
    """
    check_options(targets, batch_size, max_triples)
    if not hasattr(scorer, "score_all"):
        raise PmdError(
            f"{type(scorer).__name__} has no score_all(triples, target); "
            f"pmd.load_scorer(folder, graph) loads a trained model to be ranked"
        )
    check_sizes(scorer, graph)
    triples = subsample(graph.split(split), max_triples, seed)
    # All known answers are candidates, so they may be subtracted from counts over the candidates.
    known = KnownAnswers.of(graph, split) if filtered else None
    ranking = _Ranking(scorer, graph, graph.candidates(split), known, rerank)
    batch_size = min(batch_size, max(1, MOST_SCORES // graph.num_entities))
    orders = {target: by_query(triples, target, graph.num_relations) for target in targets}
    with _evaluating(scorer):
        sides = rank_in_chunks(triples, orders, batch_size, ranking.rank_chunk, progress=progress, shared=shared)
    return Ranks(triples, **{target: in_order(parts, orders[target]) for target, parts in sides.items()})


def rank_in_chunks(
    triples: Tensor,
    orders: Mapping[Target, Tensor],
    batch_size: int,
    rank_chunk: Callable[[Tensor, Target], Chunk],
    *,
    progress: bool,
    shared: bool,
) -> dict[Target, list[Chunk]]:
    """What `rank_chunk` gives for every chunk of triples (n, 3), by target, each in an order (n,) of its own.

    Several processes take turns with the chunks if they are `shared`.
    """
    chunks = [(target, rows) for target, order in orders.items() if len(order) for rows in order.split(batch_size)]
    own = chunks[rank_of_process() :: world_size()] if shared else chunks
    with progress_bar(sum(len(rows) for _, rows in own), progress and rank_of_process() == 0) as bar:

        def ranked(chunk: tuple[Target, Tensor]) -> Chunk:
            target, rows = chunk
            ranks = rank_chunk(triples[rows], target)
            bar.update(len(rows))
            return ranks

        parts = map_shared(chunks, ranked) if shared else [*map(ranked, chunks)]
    sides: dict[Target, list[Chunk]] = {target: [] for target in orders}
    for (target, _), part in zip(chunks, parts):
        sides[target].append(part)
    return sides


@dataclass(frozen=True, eq=False)
class _Ranking:
    """A scorer, and what its ranking of all chunks needs."""

    scorer: TripleScorer
    graph: KnowledgeGraph
    candidates: Tensor | None
    known: KnownAnswers | None
    rerank: Rerank | None

    def rank_chunk(self, triples: Tensor, target: Target) -> QueryRanks:
        """Ranks of triples (b, 3) that are sorted by query."""
        answers = triples[:, ANSWER_COLUMN[target]]  # (b,)
        first_triples, rows = distinct_queries(triples, target)
        queries = triples[first_triples]  # (q, 3)
        scores = self._score(queries, target)  # (q, num_entities)
        device = scores.device
        rows, answers = rows.to(device), answers.to(device)
        true_scores = scores[rows, answers]  # (b,) read from the row that they are compared with
        above, not_below, highest = count_ahead(scores, rows, true_scores, self.candidates)
        if highest.isnan().any():
            self._raise_nan(scores, int(rows[highest.isnan()][0]), queries, target)
        count_all = self.graph.num_entities if self.candidates is None else len(self.candidates)
        num_candidates = torch.full_like(above, count_all)
        if self.known is not None:
            triple, entity = (part.to(device) for part in self.known.lookup(triples, target))
            is_other = entity != answers[triple]
            triple, entity = triple[is_other], entity[is_other]  # (m,) the pairs that the filter removes
            score, true = scores[rows[triple], entity], true_scores[triple]
            size = len(triples)
            above -= torch.bincount(triple[score > true], minlength=size)
            not_below -= torch.bincount(triple[score >= true], minlength=size)
            num_candidates -= torch.bincount(triple, minlength=size)
        # The true answer is not below itself, so `not_below` already counts from 1.
        return QueryRanks((above + 1).cpu(), not_below.cpu(), num_candidates.cpu())

    def _score(self, queries: Tensor, target: Target) -> Tensor:
        scores = self.scorer.score_all(queries.to(_device_of(self.scorer)), target)
        expected = (len(queries), self.graph.num_entities)
        if tuple(scores.shape) != expected:
            raise PmdError(
                f"score_all of {type(self.scorer).__name__} gave scores of shape {tuple(scores.shape)}, "
                f"graph '{self.graph.name}' needs {expected}: is the model for another graph?"
            )
        return scores if self.rerank is None else self.rerank.adjust(scores, queries, target)

    def _raise_nan(self, scores: Tensor, row: int, queries: Tensor, target: Target) -> None:
        head, relation, tail = queries[row].tolist()
        head, tail = self.graph.entity_ids[head], self.graph.entity_ids[tail]
        known = (head, "?") if target == "tail" else ("?", tail)
        count, total = int(scores[row].isnan().sum()), scores.shape[1]
        raise PmdError(
            f"{type(self.scorer).__name__} gave NaN as the score of {count} of {total} entities for the "
            f"query ({known[0]}, {self.graph.relation_ids[relation]}, {known[1]}) of graph "
            f"'{self.graph.name}'; has its training diverged? Try a lower learning rate"
        )


def check_sizes(scorer: Any, graph: KnowledgeGraph) -> None:
    """Refuse a model that says how many entities and relations it knows, if the graph has other numbers of them."""
    for name in ("num_entities", "num_relations"):
        knows, has = getattr(scorer, name, None), getattr(graph, name)
        if knows is not None and knows != has:
            things = name.removeprefix("num_")
            raise PmdError(
                f"the model knows {knows:,} {things}, graph '{graph.name}' has {has:,}: it was made for another graph"
            )


def check_options(targets: Sequence[str], batch_size: int, max_triples: int | None) -> None:
    unknown = [target for target in targets if target not in TARGETS]
    if unknown or isinstance(targets, str) or not targets:
        raise PmdError(f"targets must be a list of {' and '.join(map(repr, TARGETS))}, not {targets!r}")
    if batch_size < 1:
        raise PmdError(f"batch_size must be at least 1, not {batch_size}")
    if max_triples is not None and max_triples < 1:
        raise PmdError(f"max_triples must be at least 1 or None for all, not {max_triples}")


def subsample(triples: Tensor, max_triples: int | None, seed: int) -> Tensor:
    if max_triples is None or max_triples >= len(triples):
        return triples
    generator = torch.Generator().manual_seed(seed)
    return triples[torch.randperm(len(triples), generator=generator)[:max_triples].sort().values]


def by_query(triples: Tensor, target: Target, num_relations: int) -> Tensor:
    """An order (n,) that puts triples of the same query together and is otherwise that of the split."""
    keys, query = torch.unique(query_keys(triples, num_relations, target), return_inverse=True)
    first_triple = torch.full_like(keys, len(triples))
    first_triple.scatter_reduce_(0, query, torch.arange(len(triples)), "amin")
    return torch.argsort(first_triple[query], stable=True)


def distinct_queries(triples: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """For triples (b, 3) sorted by query: the first triple of each query (q,), and the query of each triple (b,)."""
    query = triples[:, [1, 2] if target == "head" else [0, 1]]
    is_new = torch.ones(len(triples), dtype=torch.bool)
    is_new[1:] = (query[1:] != query[:-1]).any(1)
    return is_new.nonzero().squeeze(1), is_new.cumsum(0) - 1


def in_order(parts: list[QueryRanks], order: Tensor) -> QueryRanks:
    """The ranks of all chunks in the order of the split, from those in `order`."""
    if not parts:  # an empty split
        return QueryRanks(order, order, order)
    positions = torch.argsort(order)
    columns = ([getattr(part, field.name) for part in parts] for field in fields(QueryRanks))
    return QueryRanks(*(torch.cat(column)[positions] for column in columns))


def _device_of(scorer: TripleScorer) -> torch.device | str:
    """Where a scorer expects its triples: on its `device`, else on that of its parameters, else on the CPU."""
    device = getattr(scorer, "device", None)
    if device is None and isinstance(scorer, nn.Module):
        device = next((tensor.device for tensor in scorer.parameters()), None)
    return "cpu" if device is None else device


@contextmanager
def _evaluating(scorer: TripleScorer) -> Iterator[None]:
    """Eval mode, so that dropout does not change the ranks; afterwards every module is as before."""
    modules = list(scorer.modules()) if isinstance(scorer, nn.Module) else []
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True

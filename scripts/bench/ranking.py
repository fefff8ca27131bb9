"""How fast is exact ranking, and how much memory does it take? Run by hand.

Ranks all test triples of a graph in both directions, from given vectors: random unit vectors for queries and
entities, scored by their dot product. The reference beside it does what SimKGC's evaluation does: for each
batch the scores, a loop over rows that collects the known answers from a dictionary and overwrites them with
-1, a full sort of every row, and a search for the true answer in the sorted order. Both are timed with the
dot product included, in turns, so that whatever else the machine does falls on both.

    python scripts/bench/ranking.py --data ../shared/data/wn18rr
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from timing import peak_memory, timed

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.core.types import TARGETS, Target
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.evaluation.ranking import Ranks, ranks


class VectorScorer:
    """Scores from one unit vector for each query (known entity, relation) and one for each entity."""

    def __init__(self, graph: KnowledgeGraph, dim: int, seed: int) -> None:
        self.num_relations = graph.num_relations
        generator = torch.Generator().manual_seed(seed)
        self.entities = _unit(graph.num_entities, dim, generator)
        self.keys = {target: torch.unique(self._key(graph.test, target)) for target in TARGETS}
        self.vectors = {target: _unit(len(self.keys[target]), dim, generator) for target in TARGETS}

    def _key(self, triples: Tensor, target: Target) -> Tensor:
        return triples[:, 2 if target == "head" else 0] * self.num_relations + triples[:, 1]

    def queries(self, triples: Tensor, target: Target) -> Tensor:
        """The query vectors (b, dim) of triples (b, 3)."""
        return self.vectors[target][torch.searchsorted(self.keys[target], self._key(triples, target))]

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        return self.queries(triples, target) @ self.entities.T


def _unit(rows: int, dim: int, generator: torch.Generator) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, dim, generator=generator), dim=1)


def sorting_ranks(scorer: VectorScorer, triples: Tensor, target: Target, answers: dict, batch_size: int) -> list[int]:
    """The reference: ranks by a loop over rows and a full sort."""
    known, asked = (2, 0) if target == "head" else (0, 2)
    rows, query_vectors = triples.tolist(), scorer.queries(triples, target)
    ranks_found = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        scores = query_vectors[start : start + batch_size] @ scorer.entities.T
        for row, triple in zip(scores, batch):
            others = [e for e in answers[target, triple[known], triple[1]] if e != triple[asked]]
            row.index_fill_(0, torch.tensor(others, dtype=torch.int64), -1)
        order = torch.sort(scores, dim=-1, descending=True).indices
        true = torch.tensor([triple[asked] for triple in batch])[:, None]
        positions = torch.nonzero(order.eq(true).long())
        ranks_found += [positions[i].tolist()[1] + 1 for i in range(len(batch))]
    return ranks_found


def known_answers(graph: KnowledgeGraph) -> dict:
    """(target, known entity, relation) -> set of answers."""
    answers = defaultdict(set)
    for head, relation, tail in graph.known_triples().tolist():
        answers["tail", head, relation].add(tail)
        answers["head", tail, relation].add(head)
    return answers


def compare(ours: Ranks, reference: dict[Target, list[int]]) -> str:
    """The share of equal ranks and the largest difference, in words."""
    difference = torch.cat([(getattr(ours, t).realistic - torch.tensor(reference[t]).double()).abs() for t in TARGETS])
    return (
        f"equal for {(difference == 0).double().mean():.2%} of {len(difference)} queries, "
        f"largest difference {difference.max():g}"
    )


def main(
    data: str = "../shared/data/wn18rr",
    dim: int = 384,
    batch_size: int = 256,
    repetitions: int = 3,
    small_batch_size: int = 64,
    seed: int = 0,
) -> None:
    """Time exact ranking against ranking by sorting.

    Args:
        data: folder of a knowledge graph (train.tsv, ..., entities.tsv, relations.tsv).
        dim: width of the vectors.
        batch_size: triples in a chunk, for both ways.
        repetitions: how often each is timed, in turns.
        small_batch_size: the other chunk size whose memory is measured.
        seed: seed of the random vectors.
    """
    if not Path(data).is_dir():
        raise PmdError(f"--data: no graph in '{data}'; give a folder with train.tsv, entities.tsv ...")
    graph = load_graph(data)
    scorer = VectorScorer(graph, dim, seed)
    answers = known_answers(graph)  # not timed: SimKGC keeps it for the whole run
    print(
        f"{graph.name}: {len(graph.test)} test triples, {graph.num_entities} entities, dim {dim}, "
        f"batch {batch_size}, {torch.get_num_threads()} threads"
    )

    def ours(size: int = batch_size) -> Ranks:
        return ranks(scorer, graph, batch_size=size)

    def reference() -> dict[Target, list[int]]:
        return {t: sorting_ranks(scorer, graph.test, t, answers, batch_size) for t in TARGETS}

    def scores_only() -> None:
        for target in TARGETS:
            for chunk in graph.test.split(batch_size):
                scorer.score_all(chunk, target)

    ours()  # warm-up
    ratios = []
    for repetition in range(repetitions):
        fast, exact = timed(ours)
        slow, sorted_ = timed(reference)
        plain, _ = timed(scores_only)
        ratios.append(slow / fast)
        print(
            f"  {repetition + 1}: pmd {fast:.2f} s, sorting {slow:.2f} s, ratio {slow / fast:.1f}; "
            f"the scores alone, every triple: {plain:.2f} s"
        )
    print(f"ratio, median of {repetitions}: {statistics.median(ratios):.1f}")
    print(f"ranks {compare(exact, sorted_)}")
    for size in (small_batch_size, batch_size):
        one_matrix = size * graph.num_entities * 4 / 1e6
        print(
            f"peak extra memory, batch {size}: {peak_memory(lambda s=size: ours(s)):.0f} MB "
            f"(scores of a batch: {one_matrix:.0f} MB)"
        )
    print(f"peak extra memory, sorting, batch {batch_size}: {peak_memory(reference):.0f} MB")


if __name__ == "__main__":
    run(lambda: auto_cli(main))

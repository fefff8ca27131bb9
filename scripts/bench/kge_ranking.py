"""How fast are embedding models ranked here and by PyKEEN, and are the ranks the same? Run by hand.

    OMP_WAIT_POLICY=PASSIVE python scripts/bench/kge_ranking.py --data ../shared/data/wn18rr --triples 100

Exact filtered ranking of the test triples in both directions: `pmd.ranks` against PyKEEN's `RankBasedEvaluator`
with the same embeddings (random ones: no cost depends on them), the same triples in the filter (train, valid,
test), and default batch sizes. They take turns. Some scores differ in their last bit, so that ranks of entities with
nearly equal scores may differ by one; how many do is printed.
"""

from __future__ import annotations

import logging
import statistics
import sys
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from ranking import compare
from timing import clocked, peak_memory, timed

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.core.types import TARGETS, Target, TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.evaluation.ranking import Ranks, ranks
from pmd.models.kge.model import KgeModel

Model = Literal["transe l1", "transe l2", "rotate l2"]


class Pykeen:
    """PyKEEN's evaluator on a PyKEEN model with the embeddings of ours."""

    def __init__(self, model: KgeModel, graph: KnowledgeGraph, triples: Tensor, batch_size: int | None):
        from pykeen.evaluation import RankBasedEvaluator
        from pykeen.models import RotatE, TransE
        from pykeen.triples import CoreTriplesFactory

        sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
        shared = {"triples_factory": CoreTriplesFactory(graph.train, **sizes), "embedding_dim": model.dim}
        if model.name == "transe":
            norm = int(model.interaction.norm[1:])
            self.model = TransE(scoring_fct_norm=norm, **shared)
            entities, relations = model.entities, model.relations
        else:  # complex numbers, stored as pairs
            self.model = RotatE(**shared)
            phase = model.relations
            entities = model.entities.transpose(-1, -2)
            relations = torch.cat([phase.cos(), phase.sin()], dim=-2).transpose(-1, -2)
        for representation, rows in zip(
            (self.model.entity_representations[0], self.model.relation_representations[0]), (entities, relations)
        ):
            representation._embeddings.weight.data.copy_(rows.detach().flatten(1))
        self.evaluator = RankBasedEvaluator(filtered=True, clear_on_finalize=False)
        self.triples, self.batch_size = triples, batch_size
        self.others = [graph.train, graph.valid, graph.test]  # with all test triples, though a sample is ranked

    def __call__(self) -> dict[Target, list[float]]:
        """The realistic ranks by target."""
        options = {"batch_size": self.batch_size, "additional_filter_triples": self.others, "use_tqdm": False}
        self.evaluator.evaluate(self.model, self.triples, **options)
        ranks = self.evaluator.ranks
        return {target: [rank for part in ranks[target, "realistic"] for rank in part.tolist()] for target in TARGETS}


class Clocked:
    """A scorer that adds up the seconds of its calls."""

    def __init__(self, scorer: TripleScorer):
        self.scorer, self.seconds = scorer, 0.0

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        seconds, scores = timed(lambda: self.scorer.score_all(triples, target))
        self.seconds += seconds
        return scores


def main(
    data: str = "../shared/data/wn18rr",
    models: tuple[Model, ...] = ("transe l1", "transe l2", "rotate l2"),
    dim: int = 64,
    triples: int = 100,
    repetitions: int = 3,
    batch_size: int = 256,
    small_batch_size: int = 64,
    pykeen_batch_size: int | None = None,
    seed: int = 0,
) -> None:
    """Time both, compare their ranks, and measure our memory.

    Args:
        data: folder of a knowledge graph (train.tsv, ..., entities.tsv, relations.tsv).
        models: interaction and norm: transe with l1 or l2, rotate with l2.
        dim: width of the embeddings; in complex numbers for RotatE.
        triples: size of the sample of test triples; 0 for all, which takes PyKEEN minutes.
        repetitions: how often each is timed, in turns.
        batch_size: our batch size.
        small_batch_size: another batch size whose memory is measured.
        pykeen_batch_size: PyKEEN's batch size; null for its default on a CPU, 32.
        seed: seed of the embeddings and the sample.
    """
    if not Path(data).is_dir():
        raise PmdError(f"--data: no graph in '{data}'; give a folder with train.tsv, entities.tsv ...")
    logging.disable(logging.WARNING)  # PyKEEN's advice on seeds and batches
    graph = load_graph(data)
    sample = {"max_triples": triples or None, "seed": seed}
    print(
        f"{graph.name}: {graph.num_entities} entities, dim {dim}, batch {batch_size}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for name in models:
        torch.manual_seed(seed)
        interaction, norm = name.split()
        model = KgeModel(interaction, graph.num_entities, graph.num_relations, dim=dim, norm=norm)
        compare_model(name, model, graph, sample, (small_batch_size, batch_size), pykeen_batch_size, repetitions)


def compare_model(
    name: str,
    model: KgeModel,
    graph: KnowledgeGraph,
    sample: dict[str, Any],
    sizes: tuple[int, int],
    pykeen_batch_size: int | None,
    repetitions: int,
) -> None:
    """Time one model both ways, compare the ranks, and measure the memory."""
    small, large = sizes

    def ours(scorer: TripleScorer = model, size: int = large, filtered: bool = True) -> Ranks:
        return ranks(scorer, graph, batch_size=size, filtered=filtered, **sample)

    exact = ours()  # warm-up
    theirs = Pykeen(model, graph, exact.triples, pykeen_batch_size)
    print(f"{name}, {len(exact.triples)} test triples")
    ratios = []
    for repetition in range(repetitions):
        scoring, raw_scoring = Clocked(model), Clocked(model)
        fast, fast_cpu, exact = clocked(lambda scorer=scoring: ours(scorer))
        raw, _ = timed(lambda scorer=raw_scoring: ours(scorer, filtered=False))
        slow, slow_cpu, reference = clocked(theirs)
        counting = raw - raw_scoring.seconds
        ratios.append((slow / fast, slow_cpu / fast_cpu))
        print(
            f"  {repetition + 1}: pmd {fast:.2f} s (scores {scoring.seconds:.2f}, counting {counting:.2f}, "
            f"filter {fast - scoring.seconds - counting:.2f}), PyKEEN {slow:.2f} s"
        )
    clock, cpu = (statistics.median(column) for column in zip(*ratios))
    print(f"  times faster, median of {repetitions}: {clock:.1f} by the clock, {cpu:.1f} of the processor's time")
    print(f"  ranks {compare(exact, reference)}")
    for size in (small, large):
        one_matrix = min(size, len(exact.triples)) * graph.num_entities * 4 / 1e6
        peak = peak_memory(lambda size=size: ours(size=size))
        print(f"  peak extra memory, batch {size}: {peak:.0f} MB (scores of a batch: {one_matrix:.0f} MB)")


if __name__ == "__main__":
    run(lambda: auto_cli(main))

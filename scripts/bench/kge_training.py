"""How fast do embeddings train, beside PyKEEN? Ratios from one run; run by hand; no test depends on it.

    python scripts/bench/kge_training.py --data ../shared/data/wn18rr

Both train TransE and RotatE of the same width on the same triples with the same loss and Adam, by what a user
calls: PyKEEN's `SLCWATrainingLoop` with its `BasicNegativeSampler`, and `pmd.train.loop.fit` with
`SampledNegatives` and `KgeSupervised`. PyKEEN draws 64 negatives for each triple; so do we in the first row.
The rows below change what is asked for, not how it is computed: groups of triples share their 64 negatives, or
`SparseAdam` moves only the rows that a batch has read. An epoch is cut to a few batches, and the ways take turns.
"""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from timing import timed

from pmd.core.errors import PmdError
from pmd.core.kge_config import KgeTrainConfig, LossConfig
from pmd.data.graph import KnowledgeGraph
from pmd.data.sources import load_graph
from pmd.data.triples import SampledNegatives
from pmd.distill.kge import KgeSupervised
from pmd.models.kge import KgeModel
from pmd.recipes.cli import run
from pmd.recipes.staging import fit_settings
from pmd.recipes.tables import markdown
from pmd.train.loop import fit

Name = Literal["transe", "rotate"]
Loss = Literal["margin", "logistic"]

LOSSES = {
    "margin": LossConfig(name="margin", margin=1.0),
    "logistic": LossConfig(name="logistic", margin=6.0, adversarial=1.0),
}
RATE = 1e-3


class Pykeen:
    """PyKEEN's way: a sampled loop over all triples that it is given."""

    def __init__(self, graph: KnowledgeGraph, name: Name, norm: int, dim: int, loss: Loss, batch: int, negatives: int):
        self.graph, self.name, self.norm, self.dim, self.loss = graph, name, norm, dim, loss
        self.batch, self.negatives = batch, negatives

    def __call__(self, steps: int) -> None:
        from pykeen.losses import MarginRankingLoss, NSSALoss
        from pykeen.models import RotatE, TransE
        from pykeen.training import SLCWATrainingLoop
        from pykeen.triples import CoreTriplesFactory

        triples = CoreTriplesFactory(
            self.graph.train[: steps * self.batch],
            num_entities=self.graph.num_entities,
            num_relations=self.graph.num_relations,
        )
        options = LOSSES[self.loss]
        loss = MarginRankingLoss(options.margin) if self.loss == "margin" else NSSALoss(options.margin, 1.0)
        shared = {"triples_factory": triples, "embedding_dim": self.dim, "loss": loss, "random_seed": 0}
        # The constraint on TransE's entities would renormalise the whole table after every step; we have none.
        special = {"scoring_fct_norm": self.norm, "entity_constrainer": None} if self.name == "transe" else {}
        model = {"transe": TransE, "rotate": RotatE}[self.name](**shared, **special)
        loop = SLCWATrainingLoop(
            model=model,
            triples_factory=triples,
            optimizer=torch.optim.Adam(model.parameters(), lr=RATE),
            negative_sampler="basic",
            negative_sampler_kwargs={"num_negs_per_pos": self.negatives},
            automatic_memory_optimization=False,  # on a GPU it would try batch sizes first
        )
        loop.train(triples, num_epochs=1, batch_size=self.batch, use_tqdm=False, pin_memory=False)


class Ours:
    """Our way: the training loop, an objective and a collate, as `pmd.recipes.kge` puts them together."""

    def __init__(
        self,
        graph: KnowledgeGraph,
        name: Name,
        norm: int,
        dim: int,
        loss: Loss,
        batch: int,
        negatives: int,
        shared: int = 1,
        optimizer: Literal["adam", "sparse_adam"] = "adam",
    ):
        self.graph, self.name, self.norm, self.dim, self.loss = graph, name, norm, dim, LOSSES[loss]
        self.collate = SampledNegatives(graph.train, graph.num_entities, negatives, shared)
        self.train = KgeTrainConfig(batch_size=batch, optimizer=optimizer)
        self.optimizer = optimizer

    def __call__(self, steps: int) -> None:
        sizes = (self.graph.num_entities, self.graph.num_relations)
        model = KgeModel(self.name, *sizes, dim=self.dim, norm=f"l{self.norm}")
        model.sparse_gradients(self.optimizer == "sparse_adam")
        settings = fit_settings(self.train, 0, epochs=1, lr=RATE)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            objective, examples = KgeSupervised(model, self.loss), steps * settings.batch_size
            fit(objective, examples, self.collate, settings, Accelerator(cpu=True), Path(folder))


def main(
    data: str = "../shared/data/wn18rr",
    interactions: tuple[Name, ...] = ("transe", "rotate"),
    norm: Literal[1, 2] = 2,
    dim: int = 64,
    loss: Loss = "margin",
    batch: int = 1024,
    negatives: int = 64,
    shared: tuple[int, ...] = (64, 512),
    pykeen_steps: int = 8,
    steps: int = 40,
    repetitions: int = 3,
) -> None:
    """Time all ways in turn.

    Args:
        data: folder of a knowledge graph (train.tsv, ..., entities.tsv, relations.tsv).
        interactions: the models.
        norm: of TransE's distance; RotatE's is always l2, as PyKEEN's.
        dim: width; RotatE has as many complex numbers.
        loss: margin ranking with margin 1, or self-adversarial logistic with margin 6, for both.
        batch: triples in a step.
        negatives: for each triple.
        shared: further rows in which so many triples share their negatives.
        pykeen_steps: steps of PyKEEN in a repetition; also so many batches must the graph have.
        steps: ours, more of them because they are shorter.
        repetitions: how often all are timed, in turns.
    """
    if not Path(data).is_dir():
        raise PmdError(f"--data: no graph in '{data}'; give a folder with train.tsv, entities.tsv ...")
    logging.getLogger("pykeen").setLevel(logging.ERROR)
    graph = load_graph(data)
    if max(steps, pykeen_steps) * batch > len(graph.train):
        raise PmdError(f"--steps: {steps} batches of {batch} are more than the {len(graph.train)} training triples")
    print(
        f"{graph.name}: {graph.num_entities} entities, dim {dim}, {loss} loss, batches of {batch} with {negatives} "
        f"negatives, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    rows = []
    for name in interactions:
        p = norm if name == "transe" else 2
        base = (graph, name, p, dim, loss, batch, negatives)
        ways: dict[str, Callable[[int], None]] = {"PyKEEN": Pykeen(*base), "pmd, equal sampling": Ours(*base)}
        ways["pmd, equal sampling, sparse Adam"] = Ours(*base, optimizer="sparse_adam")
        for size in shared:
            ways[f"pmd, shared by {size}"] = Ours(*base, size)
            ways[f"pmd, shared by {size}, sparse Adam"] = Ours(*base, size, "sparse_adam")
        speed = measure(ways, {way: pykeen_steps if way == "PyKEEN" else steps for way in ways}, batch, repetitions)
        for way, found in speed.items():
            ratios = [ours / theirs for ours, theirs in zip(found, speed["PyKEEN"])]
            rows.append((f"{name} l{p}", way, f"{statistics.median(found):,.0f}", f"{statistics.median(ratios):.1f} ×"))
    print(markdown(("model", "way", "triples/s", "speed"), rows))
    print(f"\nmedians of {repetitions}; {pykeen_steps} steps of PyKEEN and {steps} of each other way at a time")


def measure(
    ways: dict[str, Callable[[int], None]], steps: dict[str, int], batch: int, repetitions: int
) -> dict[str, list[float]]:
    """Triples per second of every way, all in turn in each repetition."""
    for way in ways.values():
        way(2)  # warm up
    speed: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            seconds, _ = timed(lambda way=way, name=name: way(steps[name]))
            speed[name].append(steps[name] * batch / seconds)
    return speed


if __name__ == "__main__":
    run(lambda: auto_cli(main))

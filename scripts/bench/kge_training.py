"""How fast do embedding models train here and in PyKEEN? Run by hand.

    OMP_WAIT_POLICY=PASSIVE python scripts/bench/kge_training.py --data ../shared/data/wn18rr

Both train TransE and RotatE of the same width on the same triples with the same loss and Adam, by the functions that
a user calls: PyKEEN's `SLCWATrainingLoop` with its `BasicNegativeSampler`, and `pmd.training.loop.fit` with
`SampledNegatives` and `KgeSupervised`. PyKEEN draws negatives for each triple, and so do we in the row "equal
sampling". Rows of their own show what is another training: triples that share their negatives in groups, and
`SparseAdam`, which updates only the rows that a batch has read.

Each library has a process to itself, so that neither changes the memory or the threads of the other; they take
turns. An epoch is cut to a few batches.
"""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from timing import clocked

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.data.graphs.negatives import SampledNegatives
from pmd.data.graphs.sources import load_graph
from pmd.distill.kge_supervised import KgeSupervised
from pmd.evaluation.tables import markdown
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import KgeTrainConfig, LossConfig
from pmd.training.device import accelerator_for
from pmd.training.loop import fit

Model = Literal["transe l1", "transe l2", "rotate l2"]
Name = Literal["transe", "rotate"]
Loss = Literal["margin", "logistic"]
Way = Callable[[int], None]

LOSSES = {
    "margin": LossConfig(name="margin", margin=1.0),
    "logistic": LossConfig(name="logistic", margin=6.0, adversarial=1.0),
}
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Task:
    """A model, and how it is trained, by either library."""

    triples: Tensor
    num_entities: int
    num_relations: int
    name: Name
    norm: int
    dim: int
    loss: Loss
    batch: int
    negatives: int

    @property
    def sizes(self) -> dict[str, int]:
        return {"num_entities": self.num_entities, "num_relations": self.num_relations}


@dataclass(frozen=True)
class Pykeen:
    """A number of steps by PyKEEN: its loop over as many triples as they need."""

    task: Task

    def __call__(self, steps: int) -> None:
        from pykeen.losses import MarginRankingLoss, NSSALoss
        from pykeen.models import RotatE, TransE
        from pykeen.training import SLCWATrainingLoop
        from pykeen.triples import CoreTriplesFactory

        logging.disable(logging.WARNING)
        task, options = self.task, LOSSES[self.task.loss]
        triples = CoreTriplesFactory(task.triples[: steps * task.batch], **task.sizes)
        loss = MarginRankingLoss(options.margin) if task.loss == "margin" else NSSALoss(options.margin, 1.0)
        shared = {"triples_factory": triples, "embedding_dim": task.dim, "loss": loss, "random_seed": 0}
        # TransE's own constraint normalises the whole table after every step; ours has none.
        special = {"scoring_fct_norm": task.norm, "entity_constrainer": None} if task.name == "transe" else {}
        model = {"transe": TransE, "rotate": RotatE}[task.name](**shared, **special)
        loop = SLCWATrainingLoop(
            model=model,
            triples_factory=triples,
            optimizer=torch.optim.Adam(model.parameters(), lr=LEARNING_RATE),
            negative_sampler="basic",
            negative_sampler_kwargs={"num_negs_per_pos": task.negatives},
            automatic_memory_optimization=False,
        )
        loop.train(triples, num_epochs=1, batch_size=task.batch, use_tqdm=False, pin_memory=False)


@dataclass(frozen=True)
class Ours:
    """A number of steps by this package, put together as in `pmd.recipes.kge`."""

    task: Task
    shared: int = 1
    optimizer: Literal["adam", "sparse_adam"] = "adam"

    def __call__(self, steps: int) -> None:
        task = self.task
        config = KgeTrainConfig(epochs=1, batch_size=task.batch, lr=LEARNING_RATE, optimizer=self.optimizer)
        accelerator = accelerator_for(config)
        model = KgeModel(task.name, **task.sizes, dim=task.dim, norm=f"l{task.norm}").to(accelerator.device)
        model.sparse_gradients(self.optimizer == "sparse_adam")
        collate = SampledNegatives(task.triples, task.num_entities, task.negatives, self.shared)
        objective = KgeSupervised(model, LOSSES[task.loss])
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            fit(objective, steps * task.batch, collate, config, accelerator, Path(folder), seed=0)


def main(
    data: str = "../shared/data/wn18rr",
    models: tuple[Model, ...] = ("transe l2", "rotate l2"),
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
        models: interaction and norm: transe with l1 or l2; rotate with l2, as in PyKEEN.
        dim: width of the embeddings; in complex numbers for RotatE.
        loss: `margin`: ranking with margin 1; `logistic`: self-adversarial, with margin 6.
        batch: triples in a step.
        negatives: negatives for each triple.
        shared: numbers of triples that share their negatives; each number has rows of its own.
        pykeen_steps: steps of PyKEEN in a repetition.
        steps: our steps in a repetition, more because they are shorter.
        repetitions: how often each way is timed, in turns.
    """
    if not Path(data).is_dir():
        raise PmdError(f"--data: no graph in '{data}'; give a folder with train.tsv, entities.tsv ...")
    graph = load_graph(data)
    if max(steps, pykeen_steps) * batch > len(graph.train):
        raise PmdError(f"--steps: {steps} batches of {batch} are more than the {len(graph.train)} training triples")
    print(
        f"{graph.name}: {graph.num_entities} entities, dim {dim}, {loss} loss, batches of {batch} with {negatives} "
        f"negatives, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    rows = []
    for model in models:
        name, norm = model.split()
        sizes = (graph.num_entities, graph.num_relations)
        task = Task(graph.train, *sizes, name, int(norm[1:]), dim, loss, batch, negatives)
        ours = {"equal sampling": Ours(task), "equal sampling, sparse Adam": Ours(task, 1, "sparse_adam")}
        for size in shared:
            ours[f"shared by {size}"] = Ours(task, size)
            ours[f"shared by {size}, sparse Adam"] = Ours(task, size, "sparse_adam")
        rows += [(model, *row) for row in measure(Pykeen(task), ours, batch, pykeen_steps, steps, repetitions)]
    print(markdown(("model", "way", "triples/s", "speed", "CPU µs/triple", "less CPU"), rows))
    print(f"\nmedians of {repetitions} turns: {pykeen_steps} steps of PyKEEN, {steps} of each other way")


def measure(
    reference: Way, ours: dict[str, Way], batch: int, pykeen_steps: int, steps: int, repetitions: int
) -> list[tuple[str, ...]]:
    """A row for each way: its speed, also as a multiple of PyKEEN's."""
    ways = {"PyKEEN": (reference, pykeen_steps), **{f"pmd, {way}": (call, steps) for way, call in ours.items()}}
    times: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}  # seconds for a triple: clock, processor
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as theirs, ProcessPoolExecutor(1, spawn) as ours_alone:
        for turn in range(repetitions + 1):
            for way, (call, count) in ways.items():
                count = count if turn else 2  # warm up
                pool = theirs if call is reference else ours_alone
                *seconds, _ = pool.submit(clocked, partial(call, count)).result()
                if turn:
                    times[way].append(tuple(s / (count * batch) for s in seconds))
    rows = []
    for way, turns in times.items():
        ratios = [[theirs / ours for theirs, ours in zip(*pair)] for pair in zip(times["PyKEEN"], turns)]
        clock, processor = (statistics.median(column) for column in zip(*turns))
        faster, less = (statistics.median(column) for column in zip(*ratios))
        rows.append((way, f"{1 / clock:,.0f}", f"{faster:.1f} ×", f"{processor * 1e6:,.0f}", f"{less:.1f} ×"))
    return rows


if __name__ == "__main__":
    run(lambda: auto_cli(main))

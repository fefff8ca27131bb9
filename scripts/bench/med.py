"""What do 64 widths cost beside one? Ratios from one run; run by hand; no test depends on it.

    OMP_WAIT_POLICY=PASSIVE python scripts/bench/med.py --data ../shared/data/wn18rr

A step is a whole one: scores, loss terms, backward, Adam. "one width" is the single widest model with the same loss and
negatives; "loop" scores every width by itself, as an implementation without running sums must. Ranking is exact and filtered,
by `pmd.rank` of the widest and by `rank_widths` of all. All take turns; seconds are those of the processor.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from timing import clocked, peak_memory

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.core.types import Objective
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.negatives import KgeBatch, SampledNegatives
from pmd.data.graphs.sources import load_graph
from pmd.distill.kge_med import MutualEvolution
from pmd.distill.kge_supervised import KgeSupervised, LabelLoss, batch_scores
from pmd.evaluation.ranking import rank
from pmd.evaluation.width_ranking import rank_widths
from pmd.models.kge.model import KgeModel
from pmd.recipes.tables import markdown
from pmd.settings.kge import LossConfig
from pmd.settings.med import MedConfig, resolve_med
from pmd.train.device import keep_freed_memory
from pmd.train.optim import optimizer_for

LOSS = LossConfig(name="logistic", margin=6.0)
NORMS = {"transe": "l1", "rotate": "l2", "pairre": "l1"}


class Loop(Objective):
    """The labels of all widths, one width after the other."""

    def __init__(self, model: KgeModel):
        super().__init__()
        self.weights = {"hard": 1.0}
        self.model, self.labels = model, LabelLoss(LOSS)

    def forward(self, batch: KgeBatch) -> dict[str, torch.Tensor]:
        losses = [self.labels.hard(batch_scores(at(self.model, width), batch), batch) for width in self.model.widths]
        return {"hard": torch.stack(losses).mean()}


def at(model: KgeModel, width: int) -> KgeModel:
    """The model as one of this width, on the same tables: what a step reads of it is sliced."""
    view = KgeModel.__new__(KgeModel)
    view.__dict__ = {**model.__dict__}
    compared = model._compared
    view._compared = lambda comparisons, _: compared(comparisons, width)
    return view


def main(
    data: str = "../shared/data/wn18rr",
    interactions: tuple[str, ...] = ("transe", "rotate", "simple"),
    dim: int = 640,
    count: int = 64,
    batch: int = 1024,
    negatives: int = 64,
    triples: int = 128,
    repetitions: int = 5,
    loop: bool = True,
    parts: tuple[Literal["steps", "ranking"], ...] = ("steps", "ranking"),
    threads: int = 0,
) -> None:
    """Time steps and rankings.

    Args:
        data: folder of a knowledge graph.
        interactions: which models; `transe l2` has another norm than its usual one here.
        dim: the widest; `count` even widths up to it.
        batch: triples in a step, each with `negatives`.
        triples: of the test split, ranked both ways.
        repetitions: how often all are timed, in turns.
        loop: time the loop over widths too, once.
        parts: what to time.
        threads: CPU threads; 0 for PyTorch's choice.
    """
    if not Path(data).is_dir():
        raise PmdError(f"--data: no graph in '{data}'; give a folder with train.tsv, entities.tsv ...")
    keep_freed_memory()
    torch.set_num_threads(threads or torch.get_num_threads())
    graph = load_graph(data)
    widths = tuple(dim * (i + 1) // count for i in range(count))
    print(
        f"{graph.name}, {count} widths to {dim}, batches of {batch} with {negatives}, {torch.get_num_threads()} threads\n"
    )
    steps, rankings = [], []
    for name in interactions:
        if "steps" in parts:
            steps += [(name, *row) for row in step_rows(graph, name, widths, batch, negatives, repetitions, loop)]
        if "ranking" in parts:
            rankings.append((name, *ranking_row(graph, name, widths, triples, repetitions)))
    if steps:
        print(markdown(("model", "step", "CPU s", "beside one width", "peak MB"), steps) + "\n")
    if rankings:
        print(
            markdown(("model", "ranking the widest, CPU s", f"all {count} widths", "beside the widest"), rankings)
            + "\n"
        )
    print(f"medians of {repetitions} turns")


def step_rows(
    graph: KnowledgeGraph, name: str, widths: tuple[int, ...], size: int, negatives: int, repetitions: int, loop: bool
) -> list[tuple[str, ...]]:
    """A row for each way to make a step."""
    batch = SampledNegatives(graph.train, graph.num_entities, negatives)([*range(size)])
    makers: dict[str, Callable[[KgeModel], Objective]] = {
        "one width": lambda model: KgeSupervised(model, LOSS),
        **{recipe: medley(recipe) for recipe in ("joint", "med", "best")},
    }
    if loop:
        makers["loop"] = Loop
    steps = {way: step_of(make(new(graph, name, widths)), batch) for way, make in makers.items()}
    found: dict[str, list[float]] = {way: [] for way in steps}
    for turn in range(repetitions + 1):
        for way, step in steps.items():
            if way == "loop" and turn > 1:
                continue
            seconds = clocked(step)[1]
            if turn:
                found[way].append(seconds)
    median = {way: statistics.median(seconds) for way, seconds in found.items()}
    return [
        (way, f"{s:.2f}", f"{s / median['one width']:.2f} ×", f"{peak_memory(steps[way]):,.0f}")
        for way, s in median.items()
    ]


def medley(recipe: str) -> Callable[[KgeModel], Objective]:
    return lambda model: MutualEvolution(model, LOSS, resolve_med(MedConfig(recipe)))


def new(graph: KnowledgeGraph, name: str, widths: tuple[int, ...]) -> KgeModel:
    torch.manual_seed(0)
    interaction, *norm = name.split()
    norm = norm[0] if norm else NORMS.get(interaction)
    return KgeModel(interaction, graph.num_entities, graph.num_relations, widths[-1], widths, norm=norm)


def step_of(objective: Objective, batch: KgeBatch) -> Callable[[], None]:
    optimizer = optimizer_for("adam", objective, 1e-3)

    def step() -> None:
        objective.total(objective(batch)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def ranking_row(
    graph: KnowledgeGraph, name: str, widths: tuple[int, ...], triples: int, repetitions: int
) -> tuple[str, ...]:
    model = new(graph, name, widths)
    ways = {
        "widest": lambda: rank(model, graph, max_triples=triples),
        "all": lambda: rank_widths(model, graph, max_triples=triples),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repetitions + 1):
        for way, call in ways.items():
            seconds = clocked(call)[1]
            if turn:
                found[way].append(seconds)
    alone, every = (statistics.median(found[way]) for way in ways)
    return f"{alone:.2f}", f"{every:.2f}", f"{every / alone:.2f} ×"


if __name__ == "__main__":
    run(lambda: auto_cli(main))

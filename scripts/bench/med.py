"""What do 64 widths of an embedding model cost compared with one? Run by hand.

    OMP_WAIT_POLICY=PASSIVE python scripts/bench/med.py --data ../shared/data/wn18rr

A step includes scores, loss terms, backward and Adam. "one width" is the widest model alone, with the same loss and
negatives; "loop" scores one width after the other, as an implementation without running sums must. Ranking is exact and
filtered, by `pmd.rank` for the widest and by `rank_widths` for all. All take turns; seconds are those of the processor.
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
from timing import in_turns, peak_memory

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.core.types import Objective
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.negatives import KgeBatch, SampledNegatives
from pmd.data.graphs.sources import load_graph
from pmd.distill.kge_med import MutualEvolution
from pmd.distill.kge_supervised import KgeSupervised, LabelLoss, comparisons, join_scores
from pmd.evaluation.ranking import rank
from pmd.evaluation.tables import markdown
from pmd.evaluation.width_ranking import rank_widths
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import LossConfig
from pmd.settings.med import MedConfig, resolve_med
from pmd.training.device import keep_freed_memory
from pmd.training.optim import optimizer_for

LOSS = LossConfig(name="logistic", margin=6.0)
NORMS = {"transe": "l1", "rotate": "l2", "pairre": "l1"}


class Loop(Objective):
    """The label losses of all widths, scored one after the other."""

    def __init__(self, model: KgeModel):
        super().__init__()
        self.weights = {"hard": 1.0}
        self.model, self.labels = model, LabelLoss(LOSS)

    def forward(self, batch: KgeBatch) -> dict[str, torch.Tensor]:
        asked = comparisons(batch)
        scores = (join_scores(batch, self.model.score_comparisons(asked, width)) for width in self.model.widths)
        return {"hard": torch.stack([self.labels.hard(one, batch) for one in scores]).mean()}


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
        interactions: the models, perhaps with a norm (`transe l2`).
        dim: the widest width.
        count: number of widths, evenly spaced up to it.
        batch: triples in a step.
        negatives: negatives for each triple.
        triples: test triples that are ranked.
        repetitions: how often each way is timed, in turns.
        loop: time the loop over widths too.
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
    """A row for each way to compute a step."""
    batch = SampledNegatives(graph.train, graph.num_entities, negatives)([*range(size)])
    makers: dict[str, Callable[[KgeModel], Objective]] = {
        "one width": lambda model: KgeSupervised(model, LOSS),
        **{recipe: objective_of(recipe) for recipe in ("joint", "med", "best")},
    }
    if loop:
        makers["loop"] = Loop
    steps = {way: step_of(make(new_model(graph, name, widths)), batch) for way, make in makers.items()}
    median = {way: statistics.median(seconds) for way, seconds in in_turns(steps, repetitions).items()}
    return [
        (way, f"{s:.2f}", f"{s / median['one width']:.2f} ×", f"{peak_memory(steps[way]):,.0f}")
        for way, s in median.items()
    ]


def objective_of(recipe: str) -> Callable[[KgeModel], Objective]:
    return lambda model: MutualEvolution(model, LOSS, resolve_med(MedConfig(recipe)))


def new_model(graph: KnowledgeGraph, name: str, widths: tuple[int, ...]) -> KgeModel:
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
    model = new_model(graph, name, widths)
    ways = {
        "widest": lambda: rank(model, graph, max_triples=triples),
        "all": lambda: rank_widths(model, graph, max_triples=triples),
    }
    alone, every = (statistics.median(seconds) for seconds in in_turns(ways, repetitions).values())
    return f"{alone:.2f}", f"{every:.2f}", f"{every / alone:.2f} ×"


if __name__ == "__main__":
    run(lambda: auto_cli(main))

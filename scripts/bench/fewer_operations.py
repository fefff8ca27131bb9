"""What makes a training step of a text model cheaper on a CPU, where only work left out helps? Run by hand.

    python scripts/bench/fewer_operations.py --data DIR/wn18rr_v1_inductive

Training steps on labels, forward, backward and AdamW, every way on a batch of as many triples, in turns. Seconds of the processor.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from common import MINILM, TrainingStep, machine, note
from timing import clocked

from pmd.cli.errors import run
from pmd.core.quiet import quiet
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.data.graphs.walks import walk_order
from pmd.data.texts.batches import TripleCollator
from pmd.distill.kept.lower_states import keep_lower_states
from pmd.distill.text_supervised import Supervised
from pmd.evaluation.tables import markdown
from pmd.models.text.adapters import add_adapters
from pmd.models.text.folder import TextModel
from pmd.models.text.lower_layers import freeze
from pmd.models.text.start import start
from pmd.settings.text import ContrastiveConfig, EncoderConfig, LoraConfig
from pmd.training.batching import epoch_batches
from pmd.training.optim import optimizer_for


@dataclass(frozen=True)
class Way:
    """How a step is made: the share of frozen layers, whether their states are kept, adapters of a rank, tokens of a text,
    and batches of walks."""

    frozen_share: float = 0.0
    kept: bool = True
    rank: int = 0
    max_length: int = 32
    walks: bool = False


WAYS = {
    "all weights, random batches, 32 tokens": Way(),
    "walks": Way(walks=True),
    "24 tokens": Way(max_length=24),
    "LoRA of rank 8": Way(rank=8),
    "lower third frozen": Way(frozen_share=1 / 3),
    "lower half frozen": Way(frozen_share=0.5),
    "lower half frozen, read in every step": Way(frozen_share=0.5, kept=False),
    "lower half frozen, LoRA": Way(frozen_share=0.5, rank=8),
    "lower half frozen, walks": Way(frozen_share=0.5, walks=True),
    "lower half frozen, walks, 24 tokens": Way(frozen_share=0.5, walks=True, max_length=24),
}


def main(
    data: str = "../shared/data/wn18rr_v1_inductive",
    encoder: str = MINILM,
    batch_size: int = 128,
    rounds: int = 3,
    bf16: bool = True,
):
    """Time all ways, in turns.

    Args:
        data: folder of a graph with texts.
        encoder: what is trained.
        batch_size: triples of a step, each in both directions.
        rounds: steps of each way.
        bf16: compute in bf16 where the processor can.
    """
    quiet()
    graph = load_graph(data)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    texts: dict[str, list[int]] = {way: [] for way in WAYS}
    computing = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bf16)
    with tempfile.TemporaryDirectory() as folder:
        steps = {name: Steps(graph, way, encoder, batch_size, rounds) for name, way in WAYS.items()}
        for place, step in enumerate(steps.values()):
            with computing():
                step.keep_states(graph, Path(folder) / str(place))
        for turn in range(rounds):
            for name, step in steps.items():
                with computing():
                    seconds[name].append(clocked(partial(step, step.batches[turn]))[1])
                texts[name].append(step.texts)
                note(f"{name}: {seconds[name][-1]:.2f} s")
    first = statistics.median(next(iter(seconds.values())))
    rows = [
        (name, f"{statistics.mean(texts[name]):,.0f}", f"{batch_size / median:.1f}", f"{first / median:.2f} ×")
        for name, median in ((name, statistics.median(values)) for name, values in seconds.items())
    ]
    print(markdown(("a training step", "distinct texts", "triples/s", "faster"), rows))
    print(f"\n{batch_size} triples in both directions; {machine()}")


class Steps(TrainingStep):
    """Training steps of one way on its own batches."""

    def __init__(self, graph: KnowledgeGraph, way: Way, encoder: str, batch_size: int, rounds: int):
        origin = TextModel(*start(EncoderConfig(name=encoder, max_length=way.max_length), graph, seed=0))
        text, model = origin.read(graph), origin.model
        if way.rank:
            add_adapters(model, LoraConfig(r=way.rank))
        freeze(model, int(way.frozen_share * model.depth))
        order = partial(walk_order, graph.train.numpy()) if way.walks else None
        self.batches: Sequence[list[int]] = epoch_batches(len(graph.train), batch_size, seed=0, epoch=0, order=order)[
            :rounds
        ]
        sizes = graph.num_entities, graph.num_relations
        self.objective = Supervised(model, ContrastiveConfig(), graph.train, *sizes).train()
        self.triples, self.kept = TripleCollator(graph.train, text, 4096), bool(model.frozen_layers) and way.kept
        self.optimizer = optimizer_for("adamw", self.objective, 1e-5, 1e-4)

    def keep_states(self, graph: KnowledgeGraph, folder: Path) -> None:
        """Keep what frozen layers make of the texts of the triples that are timed."""
        if self.kept:
            text = self.triples.text
            part = TripleCollator(graph.train[np.concatenate([*self.batches])], text, 4096)
            self.triples.lower_states = keep_lower_states(self.objective.student, text, part, folder)

    def collate(self, positions: list[int]):
        batch = self.triples(positions)
        self.texts = sum(len(chunk.rows) for chunk in [*batch.queries, *batch.entities])
        return batch


if __name__ == "__main__":
    run(lambda: auto_cli(main))

"""What a training step of embeddings costs as their table grows, and which part of it. Run by hand.

    python scripts/bench/tables.py

Seconds of the processor, one thread: scoring with its gradients, and the optimiser, dense (Adam, which goes over all rows) and
sparse (SparseAdam, only over those that the batch has read).
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from common import machine

from pmd.cli.errors import run
from pmd.data.graphs.negatives import SampledNegatives
from pmd.distill.kge_supervised import KgeSupervised
from pmd.evaluation.tables import markdown
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import LossConfig
from pmd.training.optim import optimizer_for


def main(
    entities: list[int] | None = None,
    interaction: str = "rotate",
    dim: int = 64,
    batch: int = 1024,
    negatives: int = 256,
    shared: int = 1,
    steps: int = 3,
):
    """Time steps on random triples.

    Args:
        entities: numbers of entities.
        interaction: the model.
        dim: its width.
        batch: triples of a step.
        negatives: of each triple.
        shared: how many triples have the same ones.
        steps: of which the medians count, after one that does not.
    """
    torch.set_num_threads(1)
    rows = []
    for count in entities or [250_000, 500_000, 1_000_000]:
        for optimizer in ("adam", "sparse_adam"):
            rows.append(measured(count, interaction, dim, batch, negatives, shared, steps, optimizer))
    columns = ["entities", "table, GB", "optimiser", "rows read", "scoring, s", "optimiser, s", "a step, s"]
    print(machine())
    print(markdown(columns, rows))


def measured(
    count: int, interaction: str, dim: int, batch: int, negatives: int, shared: int, steps: int, name: str
) -> list[str]:
    """A row of the table."""
    torch.manual_seed(0)
    model = KgeModel(interaction, count, 822, dim).sparse_gradients(name == "sparse_adam")
    options = LossConfig("logistic", margin=6.0, negatives=negatives)
    objective, optimizer = KgeSupervised(model, options), optimizer_for(name, model, 1e-3)
    limits = (count, 822, count)
    triples = torch.stack([torch.randint(limit, ((steps + 1) * batch,)) for limit in limits], 1)
    collate, seconds = SampledNegatives(triples, count, negatives, shared), []
    for step in range(steps + 1):
        examples = collate([*range(step * batch, (step + 1) * batch)])
        began = time.process_time()
        objective.total(objective(examples)).backward()
        scored = time.process_time()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append((scored - began, time.process_time() - scored))
    scoring, update = (statistics.median(part) for part in zip(*seconds[1:]))
    read = torch.cat(
        [torch.cat([side.triples[:, [0, 2]].flatten(), side.negatives.flatten()]) for side in examples.sides]
    )
    table = model.entities.numel() * 4 / 1e9
    sizes = [f"{count:,}", f"{table:.2f}", name, f"{len(read.unique()):,}"]
    return [*sizes, f"{scoring:.2f}", f"{update:.2f}", f"{scoring + update:.2f}"]


if __name__ == "__main__":
    run(lambda: auto_cli(main, as_positional=False))

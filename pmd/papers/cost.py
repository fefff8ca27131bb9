"""Parameters and inference time by width: the layout of DistilE's Table 5, for any graph.

Time is that of a full link prediction (both directions, filtered ranks) of one split. It depends on sizes and
not on what was learned, so untrained models are timed; every model takes its turn in every round, so that
whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.sources import load_graph
from pmd.evaluation.ranking import ranks
from pmd.models.kge.model import KgeModel
from pmd.recipes.tables import markdown
from pmd.settings.checks import check_numbers
from pmd.settings.shared import DataConfig
from pmd.settings.text import TrainConfig
from pmd.train.device import accelerator_for


@dataclass
class CostConfig:
    """Parameters and inference time of embedding models by width.

    Args:
        data: the knowledge graph.
        interactions: which models, across.
        dims: widths, down; the first is what the others are compared with.
        split: the triples to rank.
        max_triples: rank a fixed sample of so many; 0 for all.
        batch_size: triples ranked at a time.
        repetitions: how often each is timed; the median counts.
        threads: CPU threads; 0 for OMP_NUM_THREADS, or else for all free cores.
    """

    data: DataConfig = field(default_factory=DataConfig)
    interactions: list[str] = field(default_factory=lambda: ["transe", "transh", "complex", "rotate"])
    dims: list[int] = field(default_factory=lambda: [64, 32, 16, 8])
    split: str = "test"
    max_triples: int = 0
    batch_size: int = 256
    repetitions: int = 3
    threads: int = 0


def cost(config: CostConfig) -> str:
    """The table. PmdError for an unknown interaction or split, or a width that is none."""
    if not config.interactions or not config.dims:
        raise PmdError("--interactions and --dims: give at least one of each")
    check_numbers(
        {"repetitions": config.repetitions, "batch_size": config.batch_size}, {"max_triples": config.max_triples}
    )
    device = accelerator_for(TrainConfig(threads=config.threads)).device
    graph = load_graph(config.data.path, **config.data.options)
    graph.split(config.split)
    torch.manual_seed(0)
    sizes = (graph.num_entities, graph.num_relations)
    models = {
        (kind, dim): KgeModel(kind, *sizes, dim).to(device) for kind in config.interactions for dim in config.dims
    }
    seconds: dict[tuple[str, int], list[float]] = {place: [] for place in models}
    for _ in range(config.repetitions):
        for place, model in models.items():
            began = time.perf_counter()
            ranks(model, graph, config.split, batch_size=config.batch_size, max_triples=config.max_triples or None)
            seconds[place].append(time.perf_counter() - began)
    median = {place: statistics.median(values) for place, values in seconds.items()}
    columns = ["Dim", *(f"{kind} {name}" for kind in config.interactions for name in ("# Params (K)", "Inf. time (s)"))]
    rows = []
    for dim in config.dims:
        row = [str(dim)]
        for kind in config.interactions:
            parameters = sum(p.numel() for p in models[kind, dim].parameters())
            ratio = median[kind, config.dims[0]] / median[kind, dim]
            row += [f"{parameters / 1000:,.3f}", f"{median[kind, dim]:.2f} ({ratio:.2f}×)"]
        rows.append(row)
    return markdown(columns, rows)

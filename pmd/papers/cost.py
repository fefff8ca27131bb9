"""Table 5 of DistilE: parameters and inference time by width, for any graph.

The time is that of a full link prediction (both directions, filtered ranks) of one split, or, as in the paper, of all. It
depends on sizes and not on what was learned, so untrained models are timed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.sources import load_graph
from pmd.evaluation.ranking import ranks
from pmd.evaluation.speed import median_seconds
from pmd.evaluation.tables import markdown
from pmd.models.families import num_parameters
from pmd.models.kge.model import KgeModel
from pmd.settings.checks import check_numbers
from pmd.settings.shared import DataConfig
from pmd.settings.text import TrainConfig
from pmd.training.device import accelerator_for


@dataclass
class CostConfig:
    """Parameters and inference time of embedding models by width.

    Args:
        data: the knowledge graph.
        interactions: of the models, across.
        dims: widths, down; the others are compared with the first.
        split: the triples to rank; a list of names for several.
        max_triples: size of a fixed sample of the triples of each split; 0 for all.
        batch_size: triples ranked at a time.
        repetitions: timings of each model, after a first one that does not count; their median is shown.
        threads: CPU threads; 0 for OMP_NUM_THREADS, or else for all free cores.
    """

    data: DataConfig = field(default_factory=DataConfig)
    interactions: list[str] = field(default_factory=lambda: ["transe", "transh", "complex", "rotate"])
    dims: list[int] = field(default_factory=lambda: [64, 32, 16, 8])
    split: str | list[str] = "test"
    max_triples: int = 0
    batch_size: int = 256
    repetitions: int = 3
    threads: int = 0


def cost(config: CostConfig) -> str:
    """The table. PmdError for an unknown interaction or split, or a width that is none."""
    if not config.interactions or not config.dims or not config.split:
        raise PmdError("--interactions, --dims and --split: give at least one of each")
    check_numbers(
        {"repetitions": config.repetitions, "batch_size": config.batch_size}, {"max_triples": config.max_triples}
    )
    device = accelerator_for(TrainConfig(threads=config.threads)).device
    graph = load_graph(config.data.path, **config.data.options)
    splits = [config.split] if isinstance(config.split, str) else config.split
    for split in splits:
        graph.split(split)
    torch.manual_seed(0)
    sizes = (graph.num_entities, graph.num_relations)
    models = {
        (name, dim): KgeModel(name, *sizes, dim).to(device) for name in config.interactions for dim in config.dims
    }

    def rank(model: KgeModel) -> None:
        for split in splits:
            ranks(model, graph, split, batch_size=config.batch_size, max_triples=config.max_triples or None)

    seconds = median_seconds({key: partial(rank, model) for key, model in models.items()}, config.repetitions)
    columns = ["Dim", *(f"{name} {what}" for name in config.interactions for what in ("# Params (K)", "Inf. time (s)"))]
    rows = []
    for dim in config.dims:
        row = [str(dim)]
        for name in config.interactions:
            parameters = num_parameters(models[name, dim])
            ratio = seconds[name, config.dims[0]] / seconds[name, dim]
            row += [f"{parameters / 1000:,.3f}", f"{seconds[name, dim]:.2f} ({ratio:.2f}×)"]
        rows.append(row)
    return markdown(columns, rows)

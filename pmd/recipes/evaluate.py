"""Rank a split with a model from a folder: any grade of any run, again."""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from pmd.core.config import DataConfig, EvaluateConfig, TrainConfig
from pmd.core.errors import PmdError
from pmd.data.sources import load_graph
from pmd.recipes.device import accelerator_for, quiet
from pmd.recipes.tables import markdown, ranking_cells
from pmd.recipes.text_model import load_scorer, measure


def evaluate(config: EvaluateConfig) -> str:
    """A Markdown table with head, tail and both sides of every split asked for.

    Raises:
        PmdError: if there is no such model, graph or split.
    """
    quiet()
    accelerator = accelerator_for(TrainConfig(threads=config.threads))
    data = config.data or _data_of_run(Path(config.model))
    graph = load_graph(data.path, **data.options)
    scorer = load_scorer(config.model, graph, device=accelerator.device, cache=data.cache)
    rows = []
    for split in config.evaluation.splits:
        began = time.perf_counter()
        metrics = measure(scorer, graph, config.evaluation, split)
        rate = metrics.num_queries / (time.perf_counter() - began)
        sides = {"both": metrics, "head": metrics.head, "tail": metrics.tail}
        for side, values in sides.items():
            queries = [str(values.num_queries), f"{rate:,.0f}" if side == "both" else ""]
            rows.append([split, side, *ranking_cells(values.to_dict()), *queries])
    return markdown(("split", "side", "MRR", "Hits@1", "Hits@3", "Hits@10", "MR", "queries", "queries/s"), rows)


def _data_of_run(model: Path) -> DataConfig:
    file = model.parent / "config.yaml"
    if not file.is_file():
        raise PmdError(f"'{model}' is not in a run folder, so say which graph to rank: --data.path world")
    return DataConfig(**yaml.safe_load(file.read_text(encoding="utf-8"))["data"])

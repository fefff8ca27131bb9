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
    _check_folder(config.model)
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


def _check_folder(model: str) -> None:
    """Refuse what is plainly no model, before the Hub is asked for something of that name."""
    folder = Path(model)
    if (folder / "config.yaml").is_file():
        stages = sorted(path.parent.name for path in folder.glob("*/config.json"))
        raise PmdError(
            f"--model: '{model}' is a run; choose one of its stages: {', '.join(stages) or 'none is finished'}"
        )
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise PmdError(f"--model: '{model}' holds no model (no config.json); give a stage's folder in a run")
    if not folder.is_dir() and (model.count("/") != 1 or folder.parent.is_dir()):
        raise PmdError(f"--model: no folder '{model}'; give a stage's folder in a run, or a Hub id")


def _data_of_run(model: Path) -> DataConfig:
    file = model.parent / "config.yaml"
    if not file.is_file():
        raise PmdError(f"--model: '{model}' is in no run folder here, so say which graph to rank: --data.path world")
    return DataConfig(**yaml.safe_load(file.read_text(encoding="utf-8"))["data"])

"""The rows of MED's table: their names, where a run keeps their models, and what these take and retain."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pmd.evaluation.ranking import ranks
from pmd.evaluation.retention import Retained, retained
from pmd.evaluation.width_ranking import ranks_widths
from pmd.models.kge.folder import load_for
from pmd.recipes.ranking import load_data, read_ranks, write_ranks
from pmd.settings.kge import KgeConfig
from pmd.settings.med_table import TITLES
from pmd.train.device import accelerator_for


def models_of(row: str, widths: Sequence[int], folder: Path) -> dict[int, Path]:
    """The saved models of a row by width, in the folder of one seed.

    A croppable row is one model. Where the widest of the others is nobody's student, it is the teacher, so that all
    rows have the same widths.
    """
    if row not in TITLES:
        return dict.fromkeys(widths, folder / "main" / row)
    *narrow, widest = widths
    run = folder / ("assistants" if row == "ta" else "main")
    return {**{width: run / f"{row}-{width}" for width in narrow}, widest: folder / "main" / f"dt-{widest}"}


def training_seconds(results: dict[str, Any], row: str, widest: int) -> float:
    """Seconds until the models of all widths of a row are there, from the results of one seed: those of its teacher, of
    first stages and of assistants' own teaching are among them."""
    own = [row] if row in results else [name for name in results if name.rpartition("-")[0] in (row, f"{row}_first")]
    assistants = {results[name]["teacher"] for name in own if row == "ta"} - {f"assistant-{widest}"}
    taught = [name.replace("assistant", "bkd") for name in assistants]
    teacher = [] if row == "dt" or row in results else [f"dt-{widest}"]
    return sum(results[name].get("train_seconds", 0.0) for name in (*own, *taught, *teacher))


def retained_by(
    rows: Sequence[str], widths: Sequence[int], settings: KgeConfig, folder: Path
) -> dict[str, dict[str, Retained]]:
    """What the models of each row retain of narrower ones, within the first 10 of the first ranked split.

    Args:
        rows: finished ones.
        settings: of the run: graph, split and device.
        folder: of one seed. Its stages have kept their ranks; where those are missing or broken, a model is ranked again.

    Returns:
        By row and width, as `retained` counts.
    """
    models = {row: models_of(row, widths, folder) for row in rows}
    asked: dict[Path, list[int]] = {}
    for width, model in (pair for of_row in models.values() for pair in of_row.items()):
        asked.setdefault(model, []).append(width)
    found = {model: read_ranks(model, own) for model, own in asked.items()}
    if None in found.values():
        found |= ranked_again([model for model, ranks in found.items() if ranks is None], settings)
    counts = {row: retained({width: found[model][width] for width, model in of.items()}) for row, of in models.items()}
    return {row: {str(width): list(of) for width, of in of_row.items()} for row, of_row in counts.items()}


def ranked_again(models: Sequence[Path], settings: KgeConfig) -> dict[Path, dict[int, Tensor]]:
    """The realistic ranks of saved models by width, which are kept."""
    split, batch_size = settings.evaluation.splits[0], settings.evaluation.batch_size
    graph, device = load_data(settings), accelerator_for(settings.train).device
    found = {}
    for folder in models:
        print(f"ranking {folder} for its retention", file=sys.stderr, flush=True)
        model = load_for(folder, graph).to(device)
        if len(model.widths) > 1:  # one pass
            by_width = ranks_widths(model, graph, split, batch_size=batch_size)
        else:
            by_width = {model.dim: ranks(model, graph, split, batch_size=batch_size)}
        write_ranks(folder, by_width)
        found[folder] = {width: of.realistic for width, of in by_width.items()}
    return found

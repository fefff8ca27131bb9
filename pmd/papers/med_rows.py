"""The rows of Tables 3 and 7 and Figure 5 of MED: where a run keeps their models, the seconds these take, and what they
retain."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from pmd.core.results import StageResult
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

    A croppable row is one model. Where the widest of the others has no teacher, it is the teacher itself, so that all
    rows have the same widths.
    """
    if row not in TITLES:
        return dict.fromkeys(widths, folder / "main" / row)
    *narrow, widest = widths
    run = folder / ("assistants" if row == "ta" else "main")
    return {**{width: run / f"{row}-{width}" for width in narrow}, widest: folder / "main" / f"dt-{widest}"}


def training_seconds(results: Mapping[str, StageResult], row: str, widest: int) -> float:
    """Seconds of training for the models of all widths of a row, from the results of one seed: those of its teacher, of
    first stages and of its assistants are among them."""
    stages = [row] if row in results else [name for name in results if name.rpartition("-")[0] in (row, f"{row}_first")]
    assistants = {results[name].teacher for name in stages if row == "ta"} - {f"assistant-{widest}"}
    stages += [name.replace("assistant", "bkd") for name in assistants]
    stages += [] if row == "dt" or row in results else [f"dt-{widest}"]
    return sum(results[name].train_seconds or 0.0 for name in stages)


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
    widths_of: dict[Path, list[int]] = defaultdict(list)
    for by_width in models.values():
        for width, model in by_width.items():
            widths_of[model].append(width)
    kept = {model: read_ranks(model, of_model) for model, of_model in widths_of.items()}
    missing = [model for model, of_model in kept.items() if of_model is None]
    if missing:
        kept |= ranked_again(missing, settings)
    counts = {}
    for row, by_width in models.items():
        of_row = retained({width: kept[model][width] for width, model in by_width.items()})
        counts[row] = {str(width): list(pair) for width, pair in of_row.items()}
    return counts


def ranked_again(models: Sequence[Path], settings: KgeConfig) -> dict[Path, dict[int, Tensor]]:
    """The realistic ranks of saved models by width, which are kept."""
    split, batch_size = settings.evaluation.splits[0], settings.evaluation.batch_size
    graph, device = load_data(settings), accelerator_for(settings.train).device
    realistic = {}
    for folder in models:
        print(f"ranking {folder} for its retention", file=sys.stderr, flush=True)
        model = load_for(folder, graph).to(device)
        if len(model.widths) > 1:  # one pass
            by_width = ranks_widths(model, graph, split, batch_size=batch_size)
        else:
            by_width = {model.dim: ranks(model, graph, split, batch_size=batch_size)}
        write_ranks(folder, by_width)
        realistic[folder] = {width: of_width.realistic for width, of_width in by_width.items()}
    return realistic

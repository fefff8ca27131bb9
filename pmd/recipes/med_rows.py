"""The rows of MED's table: their names, where a run keeps their models, and what these take and retain."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pmd.core.kge_config import KgeConfig
from pmd.core.run import write_json
from pmd.evaluation.metrics import Ranks
from pmd.evaluation.ranking import ranks
from pmd.evaluation.retention import Retained, retained
from pmd.evaluation.width_ranking import ranks_widths
from pmd.models.kge_folder import load_for
from pmd.recipes.device import accelerator_for
from pmd.recipes.staging import load_data

Method = Literal["dt", "ext", "ext_l", "ext_v", "bkd", "ta", "dualde", "iterde"]
TITLES: dict[str, str] = {
    "dt": "DT",
    "ext": "Ext",
    "ext_l": "Ext-L",
    "ext_v": "Ext-V",
    "bkd": "BKD",
    "ta": "TA",
    "dualde": "DualDE",
    "iterde": "IterDE",
}


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
        folder: of one seed. Beside its models, main/retention.json holds what is known already; what is not is
            ranked and added, row by row.

    Returns:
        By row and width, as `retained` counts.
    """
    file = folder / "main" / "retention.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    missing = [row for row in rows if row not in found]
    if missing:
        split, batch_size = settings.evaluation.splits[0], settings.evaluation.batch_size
        graph, device = load_data(settings), accelerator_for(settings.train).device

        @functools.cache  # the teacher is in most rows
        def ranked(model: Path, width: int) -> Ranks:
            return ranks(load_for(model, graph).crop(width).to(device), graph, split, batch_size=batch_size)

        for row in missing:
            print(f"ranking {TITLES.get(row, row)} for its retention", file=sys.stderr, flush=True)
            if row in TITLES:
                of_row = {width: ranked(model, width) for width, model in models_of(row, widths, folder).items()}
            else:  # one model, one pass
                every = ranks_widths(
                    load_for(folder / "main" / row, graph).to(device), graph, split, batch_size=batch_size
                )
                of_row = {width: every[width] for width in widths}
            found[row] = {str(width): list(counts) for width, counts in retained(of_row).items()}
            write_json(file, found)
    return {row: found[row] for row in rows}

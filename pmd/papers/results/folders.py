"""What the folders of finished comparisons hold, in one form: a cell is one trained model, or one width of it, and the row and
column of the table that it fills.

A comparison of `pmd table compare`, `med`, `dualde` or `glue` has a run in `OUT/seedSEED/RUN`; which of them it is, the settings
of its runs say. A single run is a comparison of its stages. `scripts/bench/kge_quality.py` keeps a file with a line for each model.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NoReturn

from pmd.core.errors import PmdError
from pmd.core.files import read_object
from pmd.core.results import Metrics, StageResult
from pmd.core.run import Run
from pmd.papers.dualde import row_of
from pmd.papers.seeds import folder_name
from pmd.settings.catalogue import INTERACTIONS, TASKS
from pmd.settings.kge import KgeConfig
from pmd.settings.med_table import ORDERS, TITLES
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.kge import resolve_kge_stages


@dataclass(frozen=True)
class Cell:
    """A model in a table.

    Args:
        group: the table, where a comparison has several, such as one for each interaction.
        run, stage, width: the model.
        metrics: by split.
    """

    row: str
    column: str
    seed: int
    run: Run
    stage: str
    width: int
    metrics: Mapping[str, Metrics]
    group: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Its place in the tables of one seed."""
        return self.group, self.row, self.column

    @property
    def folder(self) -> Path:
        """The model's folder."""
        return self.run.folder / self.stage


class LineRun(Run):
    """A line of `kge_quality.py` as a run of one stage, `model`."""

    def __init__(self, file: Path, line: Mapping[str, Any]):
        super().__init__(file.parent / "{side}-{interaction}-{seed}-{lr:g}".format(**line))
        self.line = line

    @property
    def settings(self) -> dict[str, Any]:
        return {"data": {"path": self.line.get("data", "unknown data")}, "seed": self.line["seed"]}

    @property
    def environment(self) -> dict[str, Any]:
        return self.line.get("environment", {})

    @property
    def results(self) -> dict[str, StageResult]:
        metrics = {split: {"mrr": self.line[split]} for split in ("test", "valid")}
        seconds, epochs = self.line["seconds"], self.line.get("epochs")
        return {
            "model": StageResult(metrics=metrics, epochs=epochs, train_seconds=seconds, dim=self.line.get("dim", 0))
        }

    @property
    def finished(self) -> list[str]:
        return ["model"]


def cells_of(folders: Sequence[str | Path]) -> list[Cell]:
    """The cells of comparisons and of single runs. PmdError for a folder that is neither, and for a cell that two fill."""
    cells = [cell for folder in folders for cell in _cells(Path(folder))]
    filled: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        other = filled.setdefault((*cell.key, cell.seed), cell)
        if other is not cell:
            place = " ".join(filter(None, cell.key))
            raise PmdError(f"'{other.folder}' and '{cell.folder}' are both {place} of seed {cell.seed}; leave one out")
    return cells


def _cells(folder: Path) -> list[Cell]:
    if folder.is_file():
        return [*quality_cells(folder)]
    if (folder / "config.yaml").is_file():
        return [*run_cells(Run(folder))] or _refuse_unfinished(folder, [Run(folder)])
    runs = {
        seed: [Run(file.parent) for file in sorted((folder / f"seed{seed}").glob("*/config.yaml"))]
        for seed in _seeds(folder)
    }
    if not any(runs.values()):
        raise PmdError(
            f"'{folder}' is neither a run nor the folder of a comparison; give one that has seed0/RUN or a config.yaml"
        )
    cells_of_seed = _reader(next(run for of_seed in runs.values() for run in of_seed), folder)
    cells = [cell for seed, of_seed in runs.items() for cell in cells_of_seed(seed, of_seed)]
    return cells or _refuse_unfinished(folder, [run for of_seed in runs.values() for run in of_seed])


def _refuse_unfinished(folder: Path, runs: Sequence[Run]) -> NoReturn:
    without = next((run.folder for run in runs if not (run.folder / "results.json").is_file()), None)
    why = "" if without is None else f" ('{without / 'results.json'}' is missing)"
    raise PmdError(f"'{folder}' has no finished stage{why}; let its command finish first")


def _seeds(folder: Path) -> list[int]:
    names = [path.name.removeprefix("seed") for path in folder.glob("seed*")]
    return sorted(int(name) for name in names if name.isdigit())


def _reader(run: Run, folder: Path) -> Callable[[int, Sequence[Run]], Iterator[Cell]]:
    """What reads the runs of a seed of such a comparison."""
    settings = run.settings
    if "encoder" in settings:
        file, remedy = folder / "results.json", "repeat `pmd table compare`, which writes it and does nothing twice"
        if not file.is_file():
            raise PmdError(f"'{file}' is missing, which names the rows of the comparison; {remedy}")
        rows = read_object(file, remedy)
        titles = {folder_name(row): row for row in rows}
        return lambda seed, runs: compare_cells(seed, runs, titles)
    if "task" in settings:
        return glue_cells
    return med_cells if run.folder.name in ("main", "assistants") else dualde_cells


def run_cells(run: Run) -> Iterator[Cell]:
    """Stages down, widths across."""
    if "task" in run.settings:
        yield from glue_cells(run.settings["seed"], [run])
        return
    for stage, result in run.results.items():
        by_split = {split: result.by_width(split) for split in result.metrics}
        for width in next(iter(by_split.values())):
            metrics = {split: by_width[width] for split, by_width in by_split.items()}
            yield Cell(stage, str(width), run.settings["seed"], run, stage, width, metrics)


def compare_cells(seed: int, runs: Sequence[Run], titles: Mapping[str, str]) -> Iterator[Cell]:
    """Variants down, stages across; the folder of the shared teachers is no variant."""
    for run in sorted(runs, key=lambda run: [*titles].index(run.folder.name) if run.folder.name in titles else -1):
        if run.folder.name in titles:
            for stage, result in run.results.items():
                yield Cell(titles[run.folder.name], stage, seed, run, stage, result.dim, result.metrics)


def med_cells(seed: int, runs: Sequence[Run]) -> Iterator[Cell]:
    """Methods and croppable models down, widths across: those at which models are trained alone."""
    stages = {name: (run, result) for run in runs for name, result in run.results.items()}
    alone = {name: int(name.removeprefix("dt-")) for name in stages if name.startswith("dt-")}
    widest = max(alone, key=lambda name: alone[name], default=None)
    for name, (run, result) in stages.items():
        method, _, width = name.rpartition("-")
        if result.widths:
            for at_width in [*map(int, next(iter(result.widths.values())))]:
                if not alone or at_width in alone.values():
                    yield Cell(name, str(at_width), seed, run, name, at_width, _at_width(result, at_width))
        elif method in TITLES:
            yield Cell(TITLES[method], width, seed, run, name, int(width), result.metrics)
    for method in ORDERS:  # the whole teacher is the crop of its own width
        if widest and any(name.rpartition("-")[0] == method for name in stages):
            run, result = stages[widest]
            yield Cell(TITLES[method], str(alone[widest]), seed, run, widest, alone[widest], result.metrics)


def _at_width(result: StageResult, width: int) -> dict[str, Metrics]:
    return {split: result.by_width(split)[width] for split in result.widths}


def dualde_cells(seed: int, runs: Sequence[Run]) -> Iterator[Cell]:
    """Rows of the paper's tables down, dimensions across, a table for each interaction. A first stage has no row."""
    for run in runs:
        config = read_config(KgeConfig, ["--config", str(run.folder / "config.yaml")])
        stages = resolve_kge_stages(config)
        rows = {stage.name: row_of(stage, stages) for stage in stages}
        for stage, result in run.results.items():
            if row := rows[stage]:
                place = row, str(result.dim), seed, run, stage, result.dim
                yield Cell(*place, result.metrics, group=config.model.interaction)


def glue_cells(seed: int, runs: Sequence[Run]) -> Iterator[Cell]:
    """Stages and widths down, tasks across; the splits are those of validation, their `score` the mean of their metrics."""
    for run in runs:
        for stage, result in run.results.items():
            for width, model in result.sub_models.items():
                row = stage if stage.endswith(f"-{width}") else f"{stage}, {width}"
                metrics = {split: {**values, "score": model.score} for split, values in model.metrics.items()}
                yield Cell(row, TASKS[result.task].title, seed, run, stage, width, metrics)


def quality_cells(file: Path) -> Iterator[Cell]:
    """Interactions down, ours and PyKEEN's across, each at the rate whose mean on validation is best."""
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        models: dict[tuple[str, str], dict[float, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for line in lines:
            models[line["interaction"], line["side"]][line["lr"]].append(line)
    except (ValueError, KeyError, TypeError) as error:
        raise PmdError(f"'{file}' is not a file of kge_quality.py ({error!r}); give one, or a folder") from None
    for (interaction, side), by_rate in models.items():
        best = max(by_rate.values(), key=lambda of_rate: fmean(line["valid"] for line in of_rate))
        for line in best:
            run = LineRun(file, line)
            place = INTERACTIONS[interaction].title, {"pykeen": "PyKEEN"}.get(side, side), line["seed"]
            yield Cell(*place, run, "model", line.get("dim", 0), run.results["model"].metrics)

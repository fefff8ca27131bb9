"""The numbers of a comparison in a small file, with what they were measured by: DOCS/data/NAME.json.

It is written from run folders alone. Pages show it in tables (`pmd.papers.results.pages`), so no number of theirs is typed.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pmd.core.errors import PmdError, nearest
from pmd.core.files import read_object, write_text
from pmd.core.results import Metrics
from pmd.core.run import Run
from pmd.evaluation.paired import Paired, Unit, paired_bootstrap
from pmd.papers.results.folders import Cell, cells_of
from pmd.papers.results.lineage import lineage
from pmd.recipes.ranking import read_ranks
from pmd.settings.med_table import TITLES

PAIRED = ("mrr", "hits_at_1", "hits_at_3", "hits_at_10")
"""The metrics that are compared query by query."""

DIGITS = 6


def collected(
    folders: Sequence[str], against: Sequence[str], command: str | None, samples: int, unit: Unit
) -> dict[str, Any]:
    """The record of the comparisons or runs in `folders`, with what `pairs_of` says of every row beside the rows `against`.
    `command` stands for that of runs which did not note theirs. PmdError for folders without results."""
    cells = cells_of(folders)
    return {
        "about": about(cells, command),
        "entries": [_entry(cell) for cell in cells],
        "epochs": epochs_of(cells),
        "seconds": seconds_of(folders),
        "paired": {
            "samples": samples,
            "unit": unit,
            "pairs": [pair for baseline in against for pair in pairs_of(cells, baseline, samples, unit)],
        },
    }


def _entry(cell: Cell) -> dict[str, Any]:
    place = {"group": cell.group, "row": cell.row, "column": cell.column, "seed": cell.seed}
    return {**place, "metrics": {split: _numbers(metrics) for split, metrics in cell.metrics.items()}}


def _numbers(metrics: Metrics) -> dict[str, float]:
    """Those of the queries, and as `triples_…` those of triples with the mean of their two ranks; not of single sides or of
    other ranks."""
    of_triples = {f"triples_{name}": value for name, value in (metrics.get("triples") or {}).items()}
    numbers = {**metrics, **of_triples}
    return {name: round(value, DIGITS) for name, value in numbers.items() if isinstance(value, (int, float))}


def about(cells: Sequence[Cell], command: str | None) -> dict[str, Any]:
    """What the models were trained on, by which command, where, when and for how long."""
    runs = {run.folder: run for cell in cells for run in _runs_beside(cell.run)}.values()
    noted = [run.environment for run in runs]
    commands = [command] if command else [shown_command(env["command"]) for env in noted if env.get("command")]
    return {
        "data": _distinct(_data_name(run) for run in runs),
        "commands": _distinct(commands),
        "seeds": sorted({cell.seed for cell in cells}),
        "commits": _distinct(env["commit"][:10] for env in noted if env.get("commit")),
        "machines": _distinct(machine_text(env) for env in noted),
        "dates": _distinct(env["started"][:10] for env in noted if env.get("started")),
        "train_seconds": round(sum(result.train_seconds or 0 for run in runs for result in run.results.values()), 1),
    }


def _runs_beside(run: Run) -> list[Run]:
    """A run and, in a comparison, the others of its seed: teachers and assistants that fill no row."""
    if not re.fullmatch(r"seed\d+", run.folder.parent.name):
        return [run]
    return [Run(file.parent) for file in sorted(run.folder.parent.glob("*/config.yaml"))]


def _data_name(run: Run) -> str:
    settings = run.settings
    return settings.get("task") or Path(settings["data"]["path"]).name


def _distinct(values: Iterable[str]) -> list[str]:
    return [*dict.fromkeys(values)]


def shown_command(command: str) -> str:
    """A command line without the places of one machine: of a path from the root the last part is left, of a config in a
    checkout the part that begins with `configs`."""

    def of_checkout(word: str) -> str:
        return re.sub(r"(?<![\w.~-])/(?:[^/'\",\]]+/)*?(?:pmd/)?configs/", "configs/", word)

    return shlex.join(
        re.sub(r"(?<![\w.~-])/(?:[^/'\",\]]+/)+", "DIR/", of_checkout(word)) for word in shlex.split(command)
    )


def machine_text(environment: dict[str, Any]) -> str:
    """The machine of an env.json in a few words."""
    processes, device = environment.get("processes") or 1, str(environment.get("device"))
    processor = environment.get("processor") or environment.get("platform", "unknown machine")
    parts = [processor, f"{environment.get('cpu_count')} cores"]
    if device.startswith("cpu"):
        parts.append(_counted(environment.get("threads") or 1, "thread"))
    else:
        parts.append(environment.get("device_name") or device)
    parts += [_counted(processes, "process", "processes")] if processes > 1 else []
    return ", ".join([*parts, *filter(None, [environment.get("precision")])])


def _counted(number: int, one: str, several: str | None = None) -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def epochs_of(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """The epochs behind every cell in words, those of seeds that differ beside each other."""
    by_run = {run.folder: lineage(run) for run in {cell.run.folder: cell.run for cell in cells}.values()}
    texts: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for cell in cells:
        texts[cell.key].append(by_run[cell.run.folder][cell.stage])
    return [
        {"group": group, "row": row, "column": column, "epochs": " or ".join(_distinct(of_seeds))}
        for (group, row, column), of_seeds in texts.items()
    ]


def seconds_of(folders: Sequence[str]) -> dict[str, float]:
    """Seconds of training by row, where a comparison counts them."""
    stored = [read_object(Path(folder) / "results.json", "repeat the command that made it") for folder in folders]
    counted = [seconds for results in stored if isinstance(seconds := results.get("seconds"), dict)]
    return {TITLES.get(row, row): round(value, 1) for seconds in counted for row, value in seconds.items()}


def pairs_of(
    cells: Sequence[Cell], baseline: str, samples: int, unit: Unit, rows: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """How much better than the row `baseline` each other row (or each of `rows`) is, column by column, over the seeds that both
    have. PmdError if there is no such row, or if ranks are missing."""
    names = {cell.row for cell in cells}
    for name in (baseline, *(rows or ())):
        if name not in names:
            raise PmdError(f"there is no row '{name}'; there are {', '.join(sorted(names))}{nearest(name, names)}")
    by_place: dict[tuple[str, str, str], dict[int, Cell]] = defaultdict(dict)
    for cell in cells:
        by_place[cell.key][cell.seed] = cell
    pairs = []
    for (group, row, column), models in by_place.items():
        rivals = by_place.get((group, baseline, column), {})
        seeds = sorted(models.keys() & rivals.keys())
        if row != baseline and (rows is None or row in rows) and seeds:
            chosen = [models[seed] for seed in seeds], [rivals[seed] for seed in seeds]
            place = {"group": group, "column": column, "row": row, "baseline": baseline, "seeds": seeds}
            pairs += [{**place, **compared} for compared in _compared(*chosen, samples, unit)]
    return pairs


def _compared(models: Sequence[Cell], rivals: Sequence[Cell], samples: int, unit: Unit) -> Iterable[dict[str, Any]]:
    """The comparisons of two models, of the same seeds, on every split that both have ranked."""
    for model, rival in zip(models, rivals):
        if model.run.data_checksum != rival.run.data_checksum:
            raise PmdError(f"'{model.folder}' and '{rival.folder}' were trained on different data; compare others")
    for split in [split for split in models[0].metrics if all(split in rival.metrics for rival in rivals)]:
        ranks = [[ranks_of(cell, split) for cell in of_seeds] for of_seeds in (models, rivals)]
        for metric in PAIRED:
            result = paired_bootstrap(*ranks, metric, samples=samples, unit=unit)
            numbers = {name: round(value, DIGITS) for name, value in vars(result).items()}
            yield {"split": split, "metric": metric, **numbers}


def ranks_of(cell: Cell, split: str) -> np.ndarray:
    """(q,) the ranks that a cell's run has kept. PmdError, with the command that makes them, if it has none."""
    by_width = read_ranks(cell.folder, split, [cell.width])
    if by_width is None:
        raise PmdError(
            f"'{cell.folder}' has no ranks of {split} by query; "
            f"make them: pmd evaluate {cell.folder} --evaluation.split {split} --keep_ranks true"
        )
    return by_width[cell.width].numpy()


def paired_of(pair: dict[str, Any]) -> Paired:
    """The numbers of a stored comparison."""
    return Paired(*(pair[name] for name in ("difference", "low", "high", "above")))


def write_record(file: Path, record: dict[str, Any]) -> None:
    """JSON with a line for each entry, so that a change of one is a line."""
    lines = []
    for name, value in record.items():
        if isinstance(value, list):
            value_text = "[\n" + ",\n".join(f"  {_line(item)}" for item in value) + "\n ]"
        elif name == "paired":
            pairs = ",\n".join(f"  {_line(pair)}" for pair in value["pairs"])
            rest = _line({key: part for key, part in value.items() if key != "pairs"})[1:-1]
            value_text = f'{{{rest}, "pairs": [\n{pairs}\n ]}}'
        else:
            value_text = _line(value)
        lines.append(f' "{name}": {value_text}')
    write_text(file, "{\n" + ",\n".join(lines) + "\n}\n")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def read_record(file: Path) -> dict[str, Any]:
    """A stored record. PmdError if there is none."""
    record = read_object(file, "collect it again")
    if not record:
        raise PmdError(f"'{file}' is missing; `pmd results collect FOLDER --name {file.stem}` writes it")
    return record

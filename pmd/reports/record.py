"""What a folder says about the run that made it, as far as it can be read: a run may be under way or cut off."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.files import read_object
from pmd.core.results import StageResult
from pmd.core.run import Run, read_settings
from pmd.settings.catalogue import FAMILIES, Family

REMEDY = "repeat the command that made it"
Curve = dict[int, float]
"""Values by epoch or step."""
OF_WIDTH = ", width "
"""Between a croppable model and one of its widths, in the name of a curve; no stage's name has a comma."""
NOT_TERMS = ("stage", "epoch", "step", "seconds", "lr")
"""The values of a line of training that are no terms of the loss."""
GRADIENT = "grad_"
"""Begins the name of the norm of a term's gradient, in lines of training with `gradient_norms`."""


@dataclass(frozen=True)
class RunRecord:
    """A run, or the folder of a comparison of several runs.

    Args:
        family: of the run's models; None for a comparison.
        config, env: of the run, or of the first run of a comparison.
        results: of the finished stages; of a comparison, what its results.json holds.
        lines: of metrics.jsonl.
        notes: what is missing or odd.
        seeds: the folders of a comparison with the runs of a seed each.
    """

    folder: Path
    family: Family | None
    config: dict[str, Any]
    env: dict[str, Any]
    results: dict[str, Any]
    lines: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seeds: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def title(self) -> str:
        return self.family.runs if self.family else "A comparison of several runs"

    @property
    def is_glue(self) -> bool:
        """Whether it is a run on a GLUE task, which ranks nothing."""
        return self.family is not None and not self.family.ranks

    @property
    def splits(self) -> list[str]:
        """The splits that a run ranks; none for a GLUE task, and for a comparison."""
        if self.family is None or self.is_glue:
            return []
        split = (self.config.get("evaluation") or {}).get("split", "test")
        return [split] if isinstance(split, str) else list(split)

    def ranked(self, split: str | None = None) -> dict[str, StageResult]:
        """The finished stages with metrics of a split, by default of the first one; none where nothing is ranked."""
        splits = [split] if split else self.splits[:1]
        return {name: result for s in splits for name, result in self.results.items() if s in (result.metrics or {})}


def read_run(folder: str) -> RunRecord:
    """The record of a run folder, or of a folder of a comparison. PmdError if it is neither, or if its files are broken."""
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise PmdError(f"--run: no folder '{folder}'; give a run folder, such as runs/world-20250101-120000")
    if (path / "config.yaml").is_file():
        config = read_settings(path / "config.yaml")
        family = next((family for family in FAMILIES.values() if family.key in config), None)
        if family is None:
            raise PmdError(f"--run: the config.yaml of '{folder}' is of no run of this package")
        lines, broken = read_metrics(path)
        record = RunRecord(path, family, config, read_object(path / "env.json", REMEDY), Run(path).results, lines)
        record.notes.extend(state_of(record, broken))
        return record
    if (path / "config.json").is_file() and (path.parent / "config.yaml").is_file():
        raise PmdError(f"--run: '{folder}' is a stage of a run; give the run: {path.parent}")
    results, has_table = Run(path).stored, (path / "table.md").is_file()
    if not results and not has_table:
        raise PmdError(
            f"--run: '{folder}' is no run folder (it has no config.yaml), and no folder of a comparison (no results.json)"
        )
    runs = [config.parent for depth in ("*", "*/*") for config in sorted(path.glob(f"{depth}/config.yaml"))]
    first = runs[0] if runs else path
    config = read_settings(first / "config.yaml") if runs else {}
    notes = [] if has_table else ["There is no table yet: repeat the command, which goes on."]
    seeds = sorted({path / run.relative_to(path).parts[0] for run in runs})
    return RunRecord(path, None, config, read_object(first / "env.json", REMEDY), results, notes=notes, seeds=seeds)


def state_of(record: RunRecord, broken: list[int]) -> list[str]:
    """Whether the run is done, and what of its log cannot be read. Its table is the last thing that a run writes."""
    notes, trial = [], read_object(record.folder / "trial.json", REMEDY)
    if trial.get("reason"):
        notes.append(f"This trial of a study was {trial['state']}: {trial['reason']}.")
    elif not (record.folder / "table.md").is_file():
        finished, now = ", ".join(record.results) or "none", ""
        if record.lines:
            now = " The last line logged is of stage {stage}, epoch {epoch}, step {step}.".format(**record.lines[-1])
        command = f"pmd {record.family.command} --resume {record.folder}"
        notes.append(
            f"This run is under way, or was interrupted: finished stages: {finished}.{now} To go on: {command}"
        )
    if broken:
        numbers = ", ".join(map(str, broken[:5])) + " and more" * (len(broken) > 5)
        subject, verb = ("lines", "are") if len(broken) > 1 else ("line", "is")
        notes.append(f"metrics.jsonl: {subject} {numbers} cannot be read and {verb} left out.")
    return notes


def read_metrics(folder: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The lines of a run's metrics.jsonl, and the numbers, from 1, of those that cannot be read: where a run is cut off,
    the last may be half a line."""
    file = folder / "metrics.jsonl"
    lines, broken = [], []
    for number, text in enumerate(file.read_bytes().splitlines() if file.is_file() else (), 1):
        try:
            values = json.loads(text)
            values["stage"], values["epoch"], values["step"]
            lines.append(values)
        except (ValueError, KeyError, TypeError):
            broken.append(number)
    return lines, broken


def curves(folder: Path) -> dict[str, Curve]:
    """`validation` of a run folder."""
    return validation(read_metrics(folder)[0])


def validation(lines: Iterable[dict[str, Any]]) -> dict[str, Curve]:
    """Validation by stage and epoch, and by width of a croppable model; of a line that was written twice, the last."""
    by_name: dict[str, Curve] = defaultdict(dict)
    for values in lines:
        for name, value in values.items():
            if name == "valid" or name.startswith("valid_"):
                width = name.replace("valid_", OF_WIDTH) if name != "valid" else ""
                by_name[values["stage"] + width][values["epoch"]] = value
    return dict(by_name)


def terms(lines: Iterable[dict[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Every term of the loss, and what else was logged with it (a temperature), by stage and step; the total first."""
    by_name: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))
    for values in lines:
        if "loss" in values:
            for name in [name for name in values if name not in NOT_TERMS and not name.startswith(GRADIENT)]:
                by_name[name][values["stage"]][values["step"]] = values[name]
    return by_name


def gradient_norms(lines: Iterable[dict[str, Any]]) -> dict[str, dict[str, Curve]]:
    """The norm of the gradient of every weighted term, by stage, term and step; empty without `gradient_norms`."""
    by_stage: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))
    for values in lines:
        for name in [name for name in values if name.startswith(GRADIENT)]:
            by_stage[values["stage"]][name.removeprefix(GRADIENT)][values["step"]] = values[name]
    return by_stage

"""What a folder says of the run that made it, read as far as it goes: a run may be under way or cut off."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.run import Run, read_settings
from pmd.report.curves import read_metrics

KINDS = {"encoder": "text", "loss": "kge", "task": "glue"}
"""Kinds of runs by a setting that only they have."""
COMMANDS = {"text": "progressive", "kge": "train", "glue": "glue"}
TITLES = {
    "text": "Text models",
    "kge": "Embedding models",
    "glue": "BERTs of several widths",
    "table": "A comparison of several runs",
}


@dataclass(frozen=True)
class Record:
    """A run, or the folder of a comparison (`kind` is `table`), which has results of several.

    `notes` say what is missing; `runs` are the folders, of a seed each, in which a comparison's runs are.
    """

    folder: Path
    kind: str
    config: dict[str, Any]
    env: dict[str, Any]
    results: dict[str, Any]
    lines: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    runs: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def splits(self) -> list[str]:
        """The splits that a run of models of a graph ranks."""
        split = (self.config.get("evaluation") or {}).get("split", "test")
        return [split] if isinstance(split, str) else list(split)

    @property
    def ranks(self) -> bool:
        """Whether its results are those of a ranking."""
        return self.kind in ("text", "kge")

    def ranked(self, split: str) -> dict[str, dict[str, Any]]:
        """The finished stages with metrics of a split."""
        return {name: result for name, result in self.results.items() if split in result.get("metrics", {})}


def read_run(folder: str) -> Record:
    """The record of a run folder, or of a folder of a comparison.

    Raises:
        PmdError: if it is neither, or if its files are broken.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise PmdError(f"--run: no folder '{folder}'; give a run folder, such as runs/world-20250101-120000")
    run = Run(path)
    results = run.results if (path / "config.yaml").is_file() else run.stored
    if (path / "config.yaml").is_file():
        config = read_settings(path / "config.yaml")
        kind = next((kind for key, kind in KINDS.items() if key in config), None)
        if kind is None:
            raise PmdError(f"--run: the config.yaml of '{folder}' is of no run of this package")
        lines, broken = read_metrics(path)
        record = Record(path, kind, config, read_object(path / "env.json"), results, lines)
        record.notes.extend(state_of(record, broken))
        return record
    if (path / "config.json").is_file() and (path.parent / "config.yaml").is_file():
        raise PmdError(f"--run: '{folder}' is a stage of a run; give the run: {path.parent}")
    if not results and not (path / "table.md").is_file():
        raise PmdError(
            f"--run: '{folder}' is no run folder (it has no config.yaml), and no folder of a comparison (no results.json)"
        )
    configs = sorted(path.glob("*/config.yaml")) + sorted(path.glob("*/*/config.yaml"))
    first = configs[0].parent if configs else path
    config = read_settings(first / "config.yaml") if configs else {}
    notes = [] if (path / "table.md").is_file() else ["There is no table yet: repeat the command, which goes on."]
    runs = sorted({path / config.relative_to(path).parts[0] for config in configs})
    return Record(path, "table", config, read_object(first / "env.json"), results, [], notes, runs)


def read_object(file: Path) -> dict[str, Any]:
    """An object of JSON, empty if there is no such file. PmdError if it is broken."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise PmdError(f"--run: '{file}' cannot be read ({error}); repeat the command that made it") from None
    if not isinstance(found, dict):
        raise PmdError(f"--run: '{file}' holds no values by name; repeat the command that made it")
    return found


def state_of(record: Record, broken: list[int]) -> list[str]:
    """Whether the run is done, and what of its log cannot be read. Its table is the last thing that a run writes."""
    notes = []
    if not (record.folder / "table.md").is_file():
        done = ", ".join(record.results) or "none"
        now = ""
        if record.lines:
            last = record.lines[-1]
            now = f" The last line logged is of stage {last['stage']}, epoch {last['epoch']}, step {last['step']}."
        how = f"pmd {COMMANDS[record.kind]} --resume {record.folder}"
        notes.append(f"This run is under way, or was interrupted: finished stages: {done}.{now} To go on: {how}")
    if broken:
        which = ", ".join(map(str, broken[:5])) + (" and more" if len(broken) > 5 else "")
        plural = len(broken) > 1
        notes.append(
            f"metrics.jsonl: {'lines' if plural else 'line'} {which} cannot be read and {'are' if plural else 'is'} left out."
        )
    return notes

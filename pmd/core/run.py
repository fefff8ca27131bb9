"""A run folder: the settings, the machine, and the results.

    config.yaml    the resolved settings         env.json       versions, device, seed, commit
    metrics.jsonl  one line per logged step      results.json   one entry per finished stage
    table.md       the results as tables, once all stages are finished
    data.sha256    the checksum of the data      NAME/          one folder per stage: a model that loads by itself
    ranks/         of models that complete triples: the ranks of each stage by query, for later analyses
    checkpoint/    the state of the stage in progress, removed when its model is saved; what its teacher was asked
    tracking/      what trackers keep, where `train.report_to` names some

Files are written under another name and renamed, so that a reader never sees half of one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from pmd.core.cores import processor_name
from pmd.core.errors import PmdError
from pmd.core.files import read_mapping, read_object, room_for, write_json, write_text
from pmd.core.results import StageResult

CHECKSUMS = ("data.sha256", "graph.sha256")
"""Files with the checksum of a run's data; older runs have the second."""


def environment(**more: Any) -> dict[str, Any]:
    """Versions, machine and commit, for `env.json`."""
    versions = {}
    for package in ("pmd", "torch", "transformers", "tokenizers", "datasets", "accelerate", "peft", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "versions": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cpu_count": os.cpu_count(),
        "commit": _commit(),
        "command": command_line(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **more,
    }


def command_line() -> str:
    """How this process was started, without the place of its program."""
    program, *arguments = sys.argv or [""]  # an embedded Python has none
    file = Path(program)
    name = "pmd" if file.name == "__main__.py" else file.name
    called = ["python", f"scripts/{name}"] if file.parent.name == "scripts" else [name]
    return shlex.join([*called, *arguments])


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


class Run:
    """A run folder. Every process has such an object; only the main process writes."""

    def __init__(self, folder: Path, *, main: bool = True):
        self.folder, self.main = folder, main

    @classmethod
    def create(cls, runs: str, name: str, config: Any) -> Run:
        """A new folder `RUNS/NAME-DATE-TIME` with the resolved config; where there is one, that of the next free second."""
        time = datetime.now()
        while True:
            folder = Path(runs) / f"{name}-{time:%Y%m%d-%H%M%S}"
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:  # of a run that was started in the same second
                time += timedelta(seconds=1)
        run = cls(folder)
        run.start(config)
        return run

    def start(self, config: Any) -> None:
        """Write the resolved config, which makes the folder a run."""
        if self.main:
            write_text(self.folder / "config.yaml", as_yaml(config))

    @classmethod
    def open(cls, folder: str, *, runs: str = "runs", key: str | None = None) -> Run:
        """An existing run; `latest` is the newest one under `runs`.

        `key` is a setting that only the runs of one command have.

        Raises:
            PmdError: if there is no such run, or if it is of another command.
        """
        if folder == "latest":
            latest = next((found for found in newest_first(runs) if _has(found / "config.yaml", key)), None)
            if latest is None:
                raise PmdError(
                    f"--resume: no run of this script under '{runs}'; name a run folder, or start one without --resume"
                )
            return cls(latest)
        if not (Path(folder) / "config.yaml").is_file():
            raise PmdError(f"--resume: '{folder}' is not a run folder (it has no config.yaml)")
        if not _has(Path(folder) / "config.yaml", key):
            raise PmdError(f"--resume: '{folder}' is a run of another script; resume it with that one")
        return cls(Path(folder))

    @classmethod
    def alike(cls, config: Any, launch: str | None = None) -> Run | None:
        """The newest run with a name and settings; where there is a `launch`, one that it has begun. None if there is none."""
        for run in map(cls, newest_first(config.runs)):
            with contextlib.suppress(PmdError):
                if launch in (None, run.environment.get("launch")) and run.settings.get("name") == config.name:
                    run.refuse_other_settings(config)
                    return run
        return None

    def data_path(self, path: str) -> str:
        """Where the run's data are, which its settings call `path`. PmdError if they were in a place that is gone."""
        place = self.data_place
        if place and place.exists():
            return str(place)
        if place and not Path(path).expanduser().exists():
            raise PmdError(
                f"'{self.folder}' was trained on '{place}', which is gone; say where it is now: --data.path FOLDER"
            )
        return path

    def refuse_other_settings(self, config: Any) -> None:
        """PmdError, naming the first that differs, if this run was started with other settings.

        `runs` and `name` may differ: a run may be moved, or named by another path. So may whom it reports to.
        """
        file = self.folder / "config.yaml"
        stored, asked = read_settings(file), json.loads(json.dumps(dataclasses.asdict(config)))
        missing = _missing(stored, asked)
        if missing:
            raise PmdError(
                f"'{file}' lacks {missing}: it is cut off, or of another version; restore it, or choose another folder"
            )
        runs = stored["runs"], asked["runs"]
        stored, asked = flat(stored), flat(asked)
        for key in sorted((stored.keys() | asked.keys()) - {"runs", "name", "train.report_to"}):
            values = stored.get(key), asked.get(key)
            if values[0] != values[1] and not (key.endswith(".load") and _same_model(values, runs)):
                raise PmdError(
                    f"'{self.folder}' was run with {key} {values[0]!r}, not {values[1]!r}; choose another folder"
                )

    @property
    def environment(self) -> dict[str, Any]:
        """The values of env.json; empty if the file is missing or broken."""
        try:
            noted = json.loads((self.folder / "env.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def threads_of(self, processes: int) -> int:
        """The CPU threads of each process according to env.json; 0 if unknown, or if there were more or fewer processes."""
        noted = self.environment
        return noted.get("threads") or 0 if noted.get("processes") == processes else 0

    @property
    def data_place(self) -> Path | None:
        """Where the data lay when the run was trained last; None for data that are in no file here."""
        noted = self.environment.get("data")
        return Path(noted) if isinstance(noted, str) else None

    @property
    def data_checksum(self) -> str | None:
        """The checksum of the data that the run was started on, a graph's or a task's; None if it was not noted."""
        files = [self.folder / name for name in CHECKSUMS]
        return next((file.read_text(encoding="utf-8").strip() for file in files if file.is_file()), None)

    def refuse_other_data(self, checksum: str, older: str | None = None) -> None:
        """Note the checksum of the data on the first call; PmdError if that of a later call differs. An older version may have noted
        another one of the same data."""
        noted = self.data_checksum
        if noted is None:
            if self.main:
                write_text(self.folder / CHECKSUMS[0], checksum + "\n")
        elif noted not in (checksum, older):
            raise PmdError(
                f"'{self.folder}' was run on other data than data.path holds now; name its own by --data.path, or start a new run"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings in config.yaml. PmdError if they cannot be read, or are not a run's."""
        file = self.folder / "config.yaml"
        settings = read_settings(file)
        if not isinstance(settings.get("data"), dict):
            raise PmdError(f"'{file}' does not say what data the run was of; restore it, or choose another folder")
        return settings

    @property
    def stored(self) -> dict[str, Any]:
        """The entries of results.json by name; empty if there are none yet. PmdError if the file is broken."""
        return read_object(self.folder / "results.json", "restore it, or start a new run")

    @property
    def results(self) -> dict[str, StageResult]:
        """The results of the finished stages, by name. PmdError if they cannot be read, or are not those of stages."""
        file = self.folder / "results.json"
        return {stage: StageResult.read(stored, file) for stage, stored in self.stored.items()}

    @property
    def finished(self) -> list[str]:
        """The names of the finished stages, in the order of the run."""
        return [*self.stored]

    @property
    def loadable(self) -> list[str]:
        """The names of the finished stages whose models are still there, in the order of the run."""
        return [stage for stage in self.finished if (self.folder / stage / "config.json").is_file()]

    def held(self) -> AbstractContextManager[None]:
        """Keep the folder from other processes. PmdError if one trains there; not every system can tell."""
        return held(self.folder / "config.yaml")

    def add_result(self, stage: str, result: Mapping[str, Any]) -> None:
        """Note a stage as finished."""
        if self.main:
            write_json(self.folder / "results.json", {**self.stored, stage: result})

    def log(self, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        if self.main:
            with room_for(self.folder), open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")

    def rewind_log(self, stage: str, count: int) -> int:
        """Keep the first `count` lines of a stage in metrics.jsonl; returns how many later ones are removed.

        They are of steps that a killed process did not save, which will be logged again.
        """
        file = self.folder / "metrics.jsonl"
        if not self.main or not file.is_file():
            return 0
        kept, removed, number = [], 0, 0
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            is_whole = line.endswith("\n")  # the last one may have been cut
            number += is_whole and json.loads(line)["stage"] == stage
            if is_whole and (json.loads(line)["stage"] != stage or number <= count):
                kept.append(line)
            else:
                removed += 1
        if removed:
            write_text(file, "".join(kept))
        return removed


def newest_first(runs: str) -> list[Path]:
    """The run folders in a folder."""
    folders = (config.parent for config in Path(runs).glob("*/config.yaml"))
    return sorted(folders, key=_stamp, reverse=True)


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Keep the folder of a file from other processes. PmdError if one trains there; not every system can tell."""
    with open(file, "rb") as opened:
        try:
            import fcntl

            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PmdError(f"'{file.parent}': another process trains there; wait for it, or stop it") from None
        except (ImportError, OSError):  # Windows, or a file system without locks
            pass
        yield


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested settings by their dotted keys; a list's have numbers."""
    if isinstance(value, dict):
        return {key: leaf for name, part in value.items() for key, leaf in flat(part, f"{prefix}.{name}").items()}
    if isinstance(value, list):
        return flat(dict(enumerate(value)), prefix) if value else {prefix[1:]: []}
    return {prefix[1:]: value}


def as_yaml(config: Any) -> str:
    """Settings as a YAML file has them."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)


def read_settings(file: Path) -> dict[str, Any]:
    """The settings in a config.yaml. PmdError if it is broken."""
    return read_mapping(file, f"'{file}'", "restore it, or choose another folder")


def _missing(stored: dict[str, Any], asked: dict[str, Any]) -> str | None:
    """The first setting that is not stored, as `GROUP.NAME`; None if all are."""
    for name, value in asked.items():
        if name not in stored:
            return name
        if isinstance(value, dict) and isinstance(stored[name], dict):
            inner = _missing(stored[name], value)
            if inner:
                return f"{name}.{inner}"
    return None


def _same_model(models: tuple[Any, Any], runs: tuple[Any, Any]) -> bool:
    """Whether two models lie in the same place relative to the runs that name them: both were moved together."""
    return None not in models and len({os.path.relpath(model, run) for model, run in zip(models, runs)}) == 1


def _has(config: Path, key: str | None) -> bool:
    return key is None or key in read_settings(config)


def _stamp(folder: Path) -> str:
    match = re.search(r"\d{8}-\d{6}$", folder.name)
    return match.group() if match else ""

"""Runs of every family, killed at random and at every rename, resumed, and compared with a run that never stopped.

    python scripts/bench/kills.py [--families '[text, glue]'] [--random 25] [--aimed 25]

Each trial is killed by SIGKILL, once or up to three times, and resumed by `--resume`; then every file of its run folder is
compared byte for byte with that of the run that never stopped, times left out. Kills are aimed at the functions of `os`
that rename, remove and make files and folders, before and after each distinct call. The run that never stops is a process
of its own, with sets and dictionaries in another order; the others are forks of this one, which has imported everything.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from threading import RLock
from typing import Any

from families import FAMILIES, command_of, write_data
from jsonargparse import auto_cli
from tqdm import tqdm

from pmd.cli.errors import run
from pmd.cli.main import main as pmd_main
from pmd.core.errors import PmdError
from pmd.evaluation.tables import markdown

PMD = [sys.executable, "-c", "from pmd.cli.main import main; main()"]
RENAMES, OTHERS = ("replace", "rename"), ("mkdir", "rmdir", "unlink")
TIMES = (
    "seconds",
    "train_seconds",
    "entities_per_second",
    "rank_seconds",
    "started",
    "free_cores",
    "command",
    "launch",
)
"""Keys whose values are times, or describe the start that came last."""
EVENTS = "events.txt"


@dataclass(frozen=True)
class Aim:
    """Where a process is killed: before or after the call of a number, counted from 0."""

    call: int
    after: bool


def hook(aim: Aim | None) -> None:
    """Note the calls of the functions of `os` in a file, and kill this process at one."""
    noted = os.open(EVENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count = iter(range(1_000_000))

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            aimed = aim is not None and next(count) == aim.call
            os.write(
                noted, f"{name} {' '.join(label(path) for path in arguments[: 2 if name in RENAMES else 1])}\n".encode()
            )
            if aimed and not aim.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if aimed:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in (*RENAMES, *OTHERS):
        setattr(os, name, watched(name, getattr(os, name)))


def label(path: Any) -> str:
    """The last two parts of a path, without what is drawn at random and without times."""
    parts = Path(os.fspath(path)).parts[-2:]
    return "/".join(re.sub(r"\.[a-z0-9_]{8}$|-\d{8}-\d{6}|^tmp\w{8}$", "*", part) for part in parts)


def start(arguments: Sequence[str], folder: Path, aim: Aim | None = None, *, hooked: bool = False) -> int:
    """Start a command of `pmd` as a fork of this process; its id. What it prints goes to log.txt in the folder."""
    for module in ("text", "structure", "kge", "glue"):  # and torch: once, and not in every fork
        import_module(f"pmd.recipes.{module}")
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        if hooked or aim is not None:
            hook(aim)
        sys.argv = ["pmd", *arguments]
        pmd_main()
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ended(process: int) -> int:
    """Wait for a process; its status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@dataclass
class Trial:
    """A command in a folder of its own, which is killed and goes on."""

    folder: Path
    command: Sequence[str]
    kills: int = 0
    failure: str = ""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)

    @property
    def runs(self) -> list[Path]:
        return [file.parent for file in sorted(self.folder.glob("runs/*/config.yaml"))]

    def arguments(self) -> list[str]:
        """The command, or where it has begun a run, the same with --resume."""
        return [self.command[0], "--resume"] if self.runs else [*self.command]

    def killed_after(self, seconds: float) -> None:
        process = start(self.arguments(), self.folder)
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        self.kills += ended(process) == -signal.SIGKILL

    def killed_at(self, aim: Aim) -> None:
        self.kills += ended(start(self.arguments(), self.folder, aim)) == -signal.SIGKILL

    def finish(self) -> None:
        """Let it go on to its end."""
        if ended(start(self.arguments(), self.folder)):
            self.failure = (self.folder / "log.txt").read_text().strip().splitlines()[-1]


@dataclass
class Outcome:
    """What came of the trials of a family: kills by kind, and what went wrong."""

    calls: int
    kills: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    trials: int = 0
    duplicates: int = 0
    unresumed: int = 0
    different: int = 0


def content(file: Path) -> bytes:
    """The content of a file of a run without times, and without the names of folders that hold a time."""
    data = file.read_bytes()
    if file.suffix not in (".json", ".jsonl", ".yaml", ".md", ".tsv", ".txt"):
        return data
    text = re.sub(r"-\d{8}-\d{6}", "-TIME", data.decode())
    if "/s |" in text:  # the last column of a table
        text = re.sub(r"\|[^|\n]*\|$", "|", text, flags=re.MULTILINE)
    if file.suffix == ".json":
        return json.dumps(timeless(json.loads(text))).encode()
    if file.suffix == ".jsonl":
        return "".join(json.dumps(timeless(json.loads(line))) + "\n" for line in text.splitlines()).encode()
    return text.encode()


def timeless(value: Any) -> Any:
    """A value of JSON without times; training.json holds one, so what a manifest says of it is left out, too."""
    if isinstance(value, list):
        return [timeless(part) for part in value]
    if not isinstance(value, dict):
        return value
    kept = {key: part for key, part in value.items() if key not in TIMES and Path(key).name != "training.json"}
    return {key: timeless(part) for key, part in kept.items()}


def files(folder: Path) -> dict[str, bytes]:
    """The files of a run by name, and its folders, which are empty."""
    named = {re.sub(r"-\d{8}-\d{6}", "-TIME", str(path.relative_to(folder))): path for path in folder.rglob("*")}
    return {name: b"" if path.is_dir() else content(path) for name, path in named.items()}


def differences(folder: Path, whole: Path) -> list[str]:
    """The names of the files that two runs do not have in common."""
    ours, theirs = files(folder), files(whole)
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def duplicates(folder: Path) -> int:
    """How many lines of the logs of a run are there more than once."""
    logs = (content(file).splitlines() for file in folder.rglob("metrics.jsonl"))
    return sum(count - 1 for lines in logs for count in Counter(lines).values())


def aims(events: Sequence[str], count: int, drawn: random.Random) -> Iterator[Aim]:
    """`count` aims: before and after a call of each label, renames first, and then calls by chance."""
    by_label: dict[str, list[int]] = {}
    for number, event in enumerate(events):
        by_label.setdefault(event, []).append(number)
    labels = [(event, after) for event in by_label for after in (False, True)]
    drawn.shuffle(labels)
    labels.sort(key=lambda what: what[0].split()[0] not in RENAMES)
    for event, after in labels[:count]:
        yield Aim(drawn.choice(by_label[event]), after)
    for _ in range(count - len(labels)):
        yield Aim(drawn.randrange(len(events)), drawn.random() < 0.5)


def measure(
    place: Path, command: Sequence[str], random_kills: int, aimed: int, *, every_rename: bool, fresh: bool, seed: int
) -> Outcome:
    """Run a command without stopping; kill others like it, let them go on, and compare.

    Args:
        random_kills: kills at random, up to three of one trial.
        aimed: kills at a call.
        every_rename: more than `aimed`, where it takes more to meet every rename.
        fresh: the run that never stops is a process of its own, not a fork.
    """
    drawn = random.Random(seed)
    whole, again = (Trial(place / name, command) for name in ("whole", "again"))
    if fresh:
        subprocess.run([*PMD, *command], cwd=whole.folder, capture_output=True, check=True)
    else:
        whole.finish()
    began = time.monotonic()
    if ended(start(command, again.folder, hooked=True)):
        raise PmdError(f"{again.folder}: {(again.folder / 'log.txt').read_text().strip().splitlines()[-1]}")
    seconds = time.monotonic() - began
    events = (again.folder / EVENTS).read_text().splitlines()
    outcome = Outcome(len({event for event in events if event.split()[0] in RENAMES}))
    aimed = max(aimed, 2 * outcome.calls) if every_rename else aimed
    judge(again, whole, "never killed", outcome)
    bar = tqdm(total=random_kills, desc=f"{command[0]}, at random")
    while outcome.kills["at random"] < random_kills:
        trial = Trial(place / f"random-{outcome.trials}", command)
        for _ in range(drawn.choice([1, 1, 2, 3])):
            trial.killed_after(drawn.uniform(0, seconds))
        bar.update(trial.kills)
        outcome.kills["at random"] += trial.kills
        trial.finish()
        judge(trial, whole, "at random", outcome)
    for number, aim in enumerate(tqdm([*aims(events, aimed, drawn)], f"{command[0]}, aimed")):
        trial = Trial(place / f"aimed-{number}", command)
        trial.killed_at(aim)
        outcome.kills["aimed"] += trial.kills
        trial.finish()
        judge(trial, whole, f"{'after' if aim.after else 'before'} {events[aim.call]}", outcome)
    return outcome


def judge(trial: Trial, whole: Trial, where: str, outcome: Outcome) -> None:
    """Note what is wrong with a trial; what is right is removed."""
    outcome.trials += 1
    if trial.failure:
        outcome.unresumed += 1
        outcome.wrong.append(f"{trial.folder}: killed {where}, it did not go on: {trial.failure}")
        return
    changed, twice = differences(trial.runs[-1], whole.runs[-1]), duplicates(trial.runs[-1])
    outcome.different += bool(changed)
    outcome.duplicates += twice
    if changed or twice:
        outcome.wrong.append(f"{trial.folder}: killed {where}, {twice} lines twice, other files: {', '.join(changed)}")
    else:
        shutil.rmtree(trial.folder)


def kills(
    families: list[str] = [*FAMILIES],  # noqa: B006
    random: int = 25,
    aimed: int = 25,
    every_rename: bool = True,
    fresh: bool = True,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Print a table of the trials of each family.

    Args:
        random: kills at random, of each family.
        aimed: kills at a call.
        every_rename: more than `aimed`, where it takes more to meet every rename.
        fresh: the run that never stops is a process of its own, not a fork.
        out: a new folder where what went wrong stays; by default a temporary one.
    """
    tqdm.set_lock(RLock())  # not the one that forks share: who is killed would keep it
    place = (out or Path(tempfile.mkdtemp(prefix="kills-"))).resolve()
    write_data(place / "data")
    rows = []
    for name in families:
        done = measure(
            place / name.replace(", ", "-"),
            command_of(name, place / "data"),
            random,
            aimed,
            every_rename=every_rename,
            fresh=fresh,
            seed=seed,
        )
        counts = (done.kills["at random"], done.kills["aimed"], done.calls)
        rows.append((name, *counts, done.unresumed, done.different, done.duplicates))
        print("\n".join(done.wrong), flush=True)
    columns = ("family", "killed at random", "aimed", "distinct renames", "not resumed", "different", "lines twice")
    print(markdown(columns, rows))


if __name__ == "__main__":
    run(lambda: auto_cli(kills))

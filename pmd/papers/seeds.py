"""Runs that are part of a comparison: done once, and continued if they were stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pmd.core.distributed import refuse_processes
from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.data.graphs.sources import read_graph
from pmd.settings.kge import KgeConfig
from pmd.settings.text import ProgressiveConfig


def finished_run(settings: Any, folder: Path, stages: Collection[str], train: Callable[[Any, Run], Run]) -> Run:
    """The run in `folder` with these settings and all of its stages: taken as it is, continued or begun. PmdError if
    the folder holds a run with other settings or of other data, or if several processes were started."""
    refuse_processes()
    settings = replace(settings, runs=str(folder.parent), name=folder.name)
    run = Run(folder)
    # Before anything is written: a folder is not to keep a path that was mistyped.
    of_graph = isinstance(settings, (ProgressiveConfig, KgeConfig))
    graph = read_graph(settings.data.path, **settings.data.options) if of_graph else None
    if not (folder / "config.yaml").is_file():
        run.start(settings)
    run.refuse_other_settings(settings)
    if any(name not in run.finished for name in stages):
        return train(settings, run)
    if graph is not None:
        run.refuse_other_data(graph.checksum(), graph.checksum(types=False))
    return run


def check_seeds(out: Path, seeds: Sequence[int]) -> None:
    """Refuse the folder of a run, whose files a table would write over, and seeds that are missing or named twice."""
    if (out / "config.yaml").is_file():
        raise PmdError(f"--out: '{out}' is the folder of a run, not of a table; choose another")
    if not seeds or len({*seeds}) < len(seeds):
        raise PmdError(f"--seeds: {[*seeds]}; name at least one, and each once")


def check_rows(out: Path, folders: Collection[str], seeds: Sequence[int], option: str) -> None:
    """Refuse the folder of a larger table, whose runs, in `seedN/FOLDER`, this one would leave out."""
    for file in sorted(out.glob("seed*/*/results.json")):
        seed, folder = file.parts[-3].removeprefix("seed"), file.parts[-2]
        if folder not in folders or seed not in map(str, seeds):
            raise PmdError(
                f"--out: '{out}' has {folder} of seed {seed}, which this table would leave out; "
                f"add it to {option} and --seeds, or choose another folder"
            )


def folder_name(name: str) -> str:
    """A name in lower case, its punctuation replaced, so that it can name a folder."""
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def announce(text: str) -> None:
    """Say on stderr what comes next."""
    print(text, file=sys.stderr, flush=True)

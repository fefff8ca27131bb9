"""Runs that are part of a comparison: done once, and continued if they were stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from pmd.core.distributed import refuse_processes
from pmd.core.run import Run


def finished_run(settings: Any, folder: Path, stages: Collection[str], train: Callable[[Any, Run], Run]) -> Run:
    """The run in `folder` with these settings and all of its stages: taken as it is, continued or begun. PmdError if
    the folder holds a run with other settings, or if several processes were started."""
    refuse_processes()
    settings = replace(settings, runs=str(folder.parent), name=folder.name)
    run = Run(folder)
    if not (folder / "config.yaml").is_file():
        run.start(settings)
    run.refuse_other_settings(settings)
    return run if all(name in run.finished for name in stages) else train(settings, run)


def folder_name(name: str) -> str:
    """A name in lower case, its punctuation replaced, so that it can name a folder."""
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def announce(text: str) -> None:
    """Say on stderr what comes next."""
    print(text, file=sys.stderr, flush=True)

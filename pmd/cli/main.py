"""The command `pmd`, and what a script calls to be one of its commands."""

from __future__ import annotations

import sys
from functools import reduce

from pmd.cli.commands import COMMANDS
from pmd.cli.errors import run


def main(*names: str) -> None:
    """Run the command of these names, or else the one that the first argument names."""
    command = reduce(lambda group, name: group[name], names, COMMANDS)
    run(command if names else lambda: dispatch(sys.argv[1:]))


def dispatch(arguments: list[str]) -> None:
    """Run `pmd` with arguments; errors are raised."""
    if arguments == ["--version"]:
        from importlib.metadata import version

        print(f"pmd {version('pmd')}")
    else:
        COMMANDS(arguments, "pmd")

"""Completion at the TAB key: a script for the shell, so that no Python starts when the key is pressed.

`jsonargparse` knows the choices of every option, `shtab` the shells; what is added is which options take files, and
arguments that stand before all options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import shtab
from jsonargparse import ArgumentParser

from pmd.cli.command import Command, Group
from pmd.cli.main import COMMANDS
from pmd.settings.kge_stages import INTERACTIONS
from pmd.settings.parse import is_flag, type_of
from pmd.settings.tasks import TASKS

PATHS = ("config", "path", "data_path", "model", "run", "runs", "out", "batch", "cache", "types", "load", "resume")
"""Options that take files or folders, by the last part of their names."""

NAMES = {"model.interaction": [*INTERACTIONS], "task": [*TASKS]}
"""What options take that are checked later than when they are parsed."""


@dataclass
class CompletionConfig:
    """Print a script that completes the command `pmd`.

    Args:
        shell: which shell reads it.
    """

    shell: Literal["bash", "zsh", "tcsh"]


def script(config: CompletionConfig) -> str:
    """The script."""
    parser = ArgumentParser(prog="pmd")
    add_commands(parser, COMMANDS)
    return parser.get_completion_script(f"shtab-{config.shell}")


def add_commands(parser: ArgumentParser, group: Group) -> None:
    """Give a parser those of the commands of a group, to be completed and not to be used."""
    named = parser.add_subcommands(required=False)
    for name, command in group.commands.items():
        is_group = isinstance(command, Group)
        added = ArgumentParser() if is_group else completed(command)
        named.add_subcommand(name, added, help=command.text)
        if is_group:
            add_commands(added, command)


def completed(command: Command) -> ArgumentParser:
    """The parser of a command, which says besides what its options take, and what may stand before them."""
    parser = command.parser()
    for name in command.leading:
        kind = next(type_of(action) for action in parser._actions if action.dest == name)
        parser.add_argument(name.upper().replace(".", "_"), nargs="*" if command.several else "?", type=kind)
    for action in parser._actions:
        if is_flag(action):
            action.nargs = 0  # or else `shtab` offers nothing but a value after it
        elif action.dest.rpartition(".")[2].lower() in PATHS:
            action.complete = shtab.FILE
        elif action.dest in NAMES:
            action.choices = NAMES[action.dest]
    return parser

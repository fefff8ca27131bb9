"""Completion in the shell: a script, so that pressing TAB starts no Python.

`jsonargparse` knows the choices of every option and `shtab` knows the shells; which options take files is said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import shtab
from jsonargparse import ArgumentParser

from pmd.cli.command import Group
from pmd.cli.commands import COMMANDS
from pmd.settings.catalogue import choices
from pmd.settings.parsing.parse import is_flag, type_of

PATHS = ("config", "path", "data_path", "model", "run", "runs", "out", "batch", "cache", "types", "load", "resume")
"""Options that take files or folders: the last part of their names."""


@dataclass
class CompletionConfig:
    """Print a script that completes the command `pmd`.

    Args:
        shell: the shell that reads the script.
    """

    shell: Literal["bash", "zsh", "tcsh"]


def script(config: CompletionConfig) -> str:
    """The script: commands, options, their choices, and files where an option takes one."""
    parser = ArgumentParser(prog="pmd")
    add_commands(parser, COMMANDS)
    return parser.get_completion_script(f"shtab-{config.shell}")


def add_commands(parser: ArgumentParser, group: Group) -> None:
    """Make the commands of a group subcommands of a parser that is only completed, never run."""
    subcommands = parser.add_subcommands(required=False)
    for name, command in group.commands.items():
        is_group = isinstance(command, Group)
        subparser = ArgumentParser() if is_group else completed(command.parser())
        subcommands.add_subcommand(name, subparser, help=command.text)
        if is_group:
            add_commands(subparser, command)


def completed(parser: ArgumentParser) -> ArgumentParser:
    """The parser of a command with what `shtab` needs to know of its options: which are flags, files, or names."""
    for action in parser._actions:
        if is_flag(action):
            action.nargs = 0  # or `shtab` would offer nothing but true and false after it
        elif action.dest.rpartition(".")[2].lower() in PATHS:
            action.complete = shtab.FILE
        elif (names := choices(type_of(action))) and not action.metavar.startswith("["):  # a list is no word
            action.choices = names
    return parser

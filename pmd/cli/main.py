"""The command `pmd`: what the scripts do, by name, from anywhere."""

from __future__ import annotations

import sys

from pmd.cli import commands
from pmd.cli.command import Group, run

COMMANDS = Group(
    "knowledge graph completion with language models and embeddings",
    {
        "progressive": commands.progressive_command,
        "train": commands.train_command,
        "glue": commands.glue_command,
        "evaluate": commands.evaluate_command,
        "crop": commands.crop_command,
        "answer": commands.answer_command,
        "export": commands.export_command,
        "push": commands.push_command,
        "report": commands.report_command,
        "data": Group(
            "show what is in a graph, or write it in another layout",
            {"info": commands.info_command, "convert": commands.convert_command},
        ),
        "figure": commands.figure_command,
        "completion": commands.completion_command,
    },
)


def main() -> None:
    """Run the command that the first argument names."""
    run(lambda: dispatch(sys.argv[1:]))


def dispatch(arguments: list[str]) -> None:
    """The same for arguments from elsewhere, errors not caught."""
    COMMANDS(arguments, "pmd")

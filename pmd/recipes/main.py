"""The command `pmd`: what the scripts do, by name, from anywhere."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable

from pmd.core.errors import PmdError
from pmd.recipes import commands
from pmd.recipes.cli import run

COMMANDS: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "progressive": (commands.progressive_command, "distil a text model, grade by grade"),
    "train": (commands.train_command, "train embedding models: one, a croppable one, or a teacher and its students"),
    "glue": (commands.glue_command, "fine-tune a BERT and its sub-models on a GLUE task"),
    "evaluate": (commands.evaluate_command, "rank a split with trained models"),
    "crop": (
        commands.crop_command,
        "take the leading part of an embedding model or a BERT: pmd crop RUN --width 40 --out small",
    ),
    "answer": (
        commands.answer_command,
        "complete a triple: pmd answer RUN --head Austria --relation 'official language'",
    ),
    "export": (
        commands.export_command,
        "write a model as ONNX, for sentence-transformers, or as tables: pmd export RUN --to onnx",
    ),
    "push": (commands.push_command, "publish a model on the Hugging Face Hub: pmd push RUN user/name"),
    "report": (commands.report_command, "write a run as a page with tables, curves and examples: pmd report RUN…"),
    "data": (commands.data_command, "show what is in a graph, or write it in another layout: pmd data info my_graph"),
    "figure": (commands.figure_command, "draw a picture of a run"),
}


def main() -> None:
    """Run the command that the first argument names."""
    run(lambda: dispatch(sys.argv[1:]))


def dispatch(arguments: list[str]) -> None:
    """PmdError, with the nearest name, for a command that there is not."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<14}{text}" for name, (_, text) in COMMANDS.items()]
        usage = ["usage: pmd COMMAND …   (pmd COMMAND --help lists its options)", "", *lines, ""]
        flags = [
            "  --quiet       no progress and no remarks, results and errors alone",
            "  --debug       a traceback with an error",
        ]
        print("\n".join([*usage, *flags]))
        return
    name, *rest = arguments
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise PmdError(f"pmd: no command '{name}'; there are {', '.join(COMMANDS)}{hint}")
    COMMANDS[name][0](rest)

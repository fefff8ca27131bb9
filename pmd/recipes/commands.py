"""The commands behind the scripts: parse, call a recipe, print its table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pmd.core.config import EvaluateConfig, ProgressiveConfig
from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.recipes.cli import instantiate, parse, parser_for

WORLD_CONFIG = Path(__file__).parents[2] / "configs" / "pmd" / "world.yaml"
"""The default run of a checkout."""

RESUME = ("--resume", "--runs")
"""The options that a resumed run understands."""


def progressive_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/progressive.py`: all grades of one run."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = parser_for(
        ProgressiveConfig,
        "Distil a text model for knowledge graph completion, grade by grade. Without --config, configs/pmd/world.yaml applies.",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        help="go on with a run folder; without a value, with the newest one",
    )
    given = arguments
    # A config stands for itself: it does not inherit from that of the default run.
    if not any(argument.split("=")[0] == "--config" for argument in arguments) and WORLD_CONFIG.is_file():
        arguments = ["--config", str(WORLD_CONFIG), *arguments]
    options = parse(parser, arguments)
    run = None
    if options.resume:
        more = [argument for argument in given if argument.startswith("--") and argument.split("=")[0] not in RESUME]
        if more:
            raise PmdError(f"--resume goes on with the run's own settings; leave out {more[0]}")
        run = Run.open(options.resume, runs=options.runs)
        options = parse(parser, ["--config", str(run.folder / "config.yaml")])
    config = instantiate(parser, options, ProgressiveConfig)
    # Heavy imports come after the options have been understood.
    from pmd.recipes.progressive import Interrupted, progressive

    try:
        run = progressive(config, run)
    except Interrupted:
        print("stopped; go on with --resume", file=sys.stderr)
        raise
    if run.main:
        print((run.folder / "table.md").read_text(encoding="utf-8"))
        print(f"run folder: {run.folder}", file=sys.stderr)


def compare_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/compare.py`: methods by grades, over seeds."""
    from pmd.recipes.compare import CompareConfig, compare

    parser = parser_for(CompareConfig, "Compare distillation methods over several seeds.")
    config = instantiate(parser, parse(parser, arguments), CompareConfig)
    print(compare(config))


def evaluate_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/evaluate.py`: rank a split with a trained model."""
    parser = parser_for(EvaluateConfig, "Rank a split of a knowledge graph with a trained text model.")
    config = instantiate(parser, parse(parser, arguments), EvaluateConfig)
    from pmd.recipes.evaluate import evaluate

    print(evaluate(config))

"""The commands behind the scripts: parse, call a recipe, print its table."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pmd.core.config import EvaluateConfig, ProgressiveConfig
from pmd.core.errors import PmdError
from pmd.core.glue_config import GlueConfig
from pmd.core.glue_stages import check_glue
from pmd.core.kge_config import KgeConfig
from pmd.core.kge_stages import check_kge_run
from pmd.core.run import Run
from pmd.recipes.cli import instantiate, parse, parser_for

WORLD_CONFIG = Path(__file__).parents[2] / "configs" / "pmd" / "world.yaml"
"""The default run of a checkout."""

GLUE_CONFIG = WORLD_CONFIG.parents[1] / "glue" / "bert_base.yaml"
"""The same for GLUE: the paper's widths."""

RESUME = ("--resume", "--runs")
"""The options that a resumed run understands."""


def progressive_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/progressive.py`: all grades of one run."""
    text = "Distil a text model for knowledge graph completion, grade by grade. Without --config, configs/pmd/world.yaml applies."
    _run_stages(
        ProgressiveConfig,
        text,
        "pmd.recipes.progressive",
        "progressive",
        arguments,
        key="encoder",
        default=WORLD_CONFIG,
    )


def train_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/train.py`: embedding models, one or several that teach each other."""
    text = "Train embedding models of a knowledge graph: one, or a teacher and its students (DualDE)."
    _run_stages(KgeConfig, text, "pmd.recipes.kge", "train_kge", arguments, key="loss", check=check_kge_run)


def glue_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/glue.py`: a BERT and its sub-models on one GLUE task."""
    text = "Fine-tune a BERT and its sub-models on a GLUE task. Without --config, configs/glue/bert_base.yaml applies."
    _run_stages(
        GlueConfig, text, "pmd.recipes.glue", "train_glue", arguments, key="task", default=GLUE_CONFIG, check=check_glue
    )


def _run_stages(
    config_class: type,
    text: str,
    module: str,
    recipe: str,
    arguments: Sequence[str] | None,
    *,
    key: str,
    default: Path | None = None,
    check: Callable[[Any], None] = lambda config: None,
) -> None:
    """Parse the options of a run of stages, or those of the run to resume; run it and print its table.

    `key` is a setting that only runs of this kind have; `check` refuses what cannot work.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = parser_for(config_class, text)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        help="go on with a run folder; without a value, with the newest one",
    )
    given = arguments
    # A config stands for itself: it does not inherit from that of the default run.
    if default is not None and default.is_file() and not any(a.split("=")[0] == "--config" for a in arguments):
        arguments = ["--config", str(default), *arguments]
    options = parse(parser, arguments)
    run = None
    if options.resume:
        more = [argument for argument in given if argument.startswith("--") and argument.split("=")[0] not in RESUME]
        if more:
            raise PmdError(f"--resume goes on with the run's own settings; leave out {more[0]}")
        run = Run.open(options.resume, runs=options.runs, key=key)
        options = parse(parser, ["--config", str(run.folder / "config.yaml")])
    config = instantiate(parser, options, config_class)
    check(config)
    # Heavy imports come after the options have been understood.
    try:
        run = getattr(import_module(module), recipe)(config, run)
    except KeyboardInterrupt as stop:
        _say_stopped(stop, "go on with --resume")
        raise
    if run.main:
        print((run.folder / "table.md").read_text(encoding="utf-8"))
        print(f"run folder: {run.folder}", file=sys.stderr)


def _say_stopped(stop: KeyboardInterrupt, how: str) -> None:
    """Tell how to go on, if the state was saved (the loop's own exception says so); one process of several does."""
    if type(stop) is not KeyboardInterrupt and os.environ.get("RANK", "0") == "0":
        print(f"stopped; {how}", file=sys.stderr)


def _print_table(config_class: type, recipe: Callable[[Any], str], text: str, arguments: Sequence[str] | None) -> None:
    """Print the table of a comparison, which the same command goes on with where it was stopped."""
    parser = parser_for(config_class, text)
    config = instantiate(parser, parse(parser, arguments), config_class)
    try:
        print(recipe(config))
    except KeyboardInterrupt as stop:
        _say_stopped(stop, "the same command goes on")
        raise


def compare_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/compare.py`: methods by grades, over seeds."""
    from pmd.recipes.compare import CompareConfig, compare

    _print_table(CompareConfig, compare, "Compare distillation methods over several seeds.", arguments)


def evaluate_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/evaluate.py`: rank a split with a trained model."""
    parser = parser_for(
        EvaluateConfig, "Rank a split of a knowledge graph with trained models, text and embedding models alike."
    )
    config = instantiate(parser, parse(parser, arguments), EvaluateConfig)
    from pmd.recipes.evaluate import evaluate

    print(evaluate(config))


def dualde_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/dualde.py`: students with and without a teacher, over interactions and seeds."""
    from pmd.recipes.dualde import DualdeConfig, dualde

    _print_table(
        DualdeConfig, dualde, "Compare embedding models with and without a teacher, over several seeds.", arguments
    )


def med_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/med.py`: croppable models beside their rivals, by width."""
    from pmd.recipes.med import MedTableConfig, med_table

    _print_table(
        MedTableConfig, med_table, "Compare croppable embedding models with their rivals, width by width.", arguments
    )


def glue_table_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/glue_table.py`: GLUE tasks by methods and sizes, over seeds."""
    from pmd.recipes.glue_table import GlueTableConfig, glue_table

    _print_table(
        GlueTableConfig, glue_table, "Compare BERTs of every width on GLUE tasks, over several seeds.", arguments
    )


def downstream_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/downstream.py`: labelling and recommendation by embeddings of every width."""
    from pmd.recipes.downstream import DownstreamConfig, downstream

    _print_table(
        DownstreamConfig, downstream, "Compare embeddings of every width by what they add to other models.", arguments
    )


def cost_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/cost.py`: parameters and inference time by width."""
    from pmd.recipes.cost import CostConfig, cost

    parser = parser_for(CostConfig, "Parameters and inference time of embedding models by width.")
    print(cost(instantiate(parser, parse(parser, arguments), CostConfig)))


def crop_command(arguments: Sequence[str] | None = None) -> None:
    """`pmd crop`: a narrower model from a croppable one."""
    from pmd.recipes.crop import CropConfig, crop

    parser = parser_for(CropConfig, "Take the leading part of a trained embedding model or BERT, without training.")
    print(crop(instantiate(parser, parse(parser, _leading(arguments, "model")), CropConfig)))


def answer_command(arguments: Sequence[str] | None = None) -> None:
    """`pmd answer`: questions to a trained model."""
    # Read when NumPy is loaded. Its threads wait for each other by spinning, which on products as small as those of
    # one question gains little on idle cores, and on busy ones costs many times the product.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from pmd.recipes.answer import AnswerConfig, answer

    short = {"-k": "--top_k", "--json": "--json=true", "--new": "--new=true", "--build": "--build=true"}
    arguments = [short.get(argument, argument) for argument in _leading(arguments, "model")]
    parser = parser_for(
        AnswerConfig, "Ask a trained model: pmd answer RUN --head Austria --relation 'official language'."
    )
    for answers in answer(instantiate(parser, parse(parser, arguments), AnswerConfig)):
        print(answers)


def export_command(arguments: Sequence[str] | None = None) -> None:
    """`pmd export`: a trained model for other programs."""
    from pmd.recipes.export import ExportConfig, export

    parser = parser_for(ExportConfig, "Write a trained model for other programs: pmd export RUN --to onnx.")
    print(export(instantiate(parser, parse(parser, _leading(arguments, "model")), ExportConfig)))


def push_command(arguments: Sequence[str] | None = None) -> None:
    """`pmd push`: a model on the Hub."""
    from pmd.recipes.push import PushConfig, publish

    flags = {f"--{name}": f"--{name.replace('-', '_')}=true" for name in ("private", "update", "dry-run", "dry_run")}
    arguments = [flags.get(argument, argument) for argument in _leading(arguments, "model", "repo")]
    parser = parser_for(PushConfig, "Publish a model of a run on the Hugging Face Hub: pmd push RUN user/name.")
    print(publish(instantiate(parser, parse(parser, arguments), PushConfig)))


def data_command(arguments: Sequence[str] | None = None) -> None:
    """`pmd data`: what is in a graph, or a graph in another layout."""
    from pmd.recipes.data import ConvertConfig, InfoConfig, convert_graph, info

    kinds = {
        "info": (InfoConfig, info, "Show what is in a graph: pmd data info my_graph."),
        "convert": (
            ConvertConfig,
            convert_graph,
            "Write a graph in another layout: pmd data convert my_graph --out new.",
        ),
    }
    what, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if what in ("-h", "--help"):
        print("\n".join(["usage: pmd data info GRAPH …", "       pmd data convert GRAPH --to kg-bert --out FOLDER …"]))
        return
    if what not in kinds:
        raise PmdError(f"pmd data: no command '{what}'; there are {', '.join(kinds)}")
    config_class, act, text = kinds[what]
    rest = ["--json=true" if argument == "--json" else argument for argument in _leading(rest, "data.path")]
    parser = parser_for(config_class, text)
    print(act(instantiate(parser, parse(parser, rest), config_class)))


def _leading(arguments: Sequence[str] | None, *names: str) -> list[str]:
    """The first arguments, as far as they are no options, as the options `names`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    given = []
    for name in names:
        if not arguments or arguments[0][:1] == "-":
            break
        given.append(f"--{name}={arguments.pop(0)}")
    return [*given, *arguments]


def report_command(arguments: Sequence[str] | None = None) -> None:
    """`pmd report`: a run, or several, as a page."""
    from pmd.recipes.report import ReportConfig, report

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    runs = list(itertools.takewhile(lambda argument: argument[:1] != "-", arguments))
    given = [f"--run={json.dumps(runs, ensure_ascii=False)}"] if len(runs) > 1 else [f"--run={run}" for run in runs]
    parser = parser_for(ReportConfig, "Write a run as a page of HTML and Markdown: pmd report RUN…")
    for path in report(instantiate(parser, parse(parser, [*given, *arguments[len(runs) :]]), ReportConfig)):
        print(path)


def figure_command(arguments: Sequence[str] | None = None) -> None:
    """`scripts/figure.py`: a picture of a run."""
    from pmd.recipes.figures import FigureConfig, draw

    parser = parser_for(FigureConfig, "Draw a picture of a run of embedding models.")
    print(draw(instantiate(parser, parse(parser, arguments), FigureConfig)))

"""The commands behind `pmd` and the scripts: what each is called, takes and calls, and examples of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from jsonargparse import ArgumentParser

from pmd.cli.command import Command
from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.settings.glue_stages import check_glue
from pmd.settings.kge_stages import check_kge_run
from pmd.settings.parse import instantiate, parse

WORLD_CONFIG = Path(__file__).parents[1] / "configs" / "pmd" / "world.yaml"
"""The default run of a checkout."""

GLUE_CONFIG = WORLD_CONFIG.parents[1] / "glue" / "bert_base.yaml"
"""The same for GLUE: the paper's widths."""

RESUME = ("--resume", "--runs")
"""The options that a resumed run understands."""


@dataclass(frozen=True, kw_only=True)
class StagesCommand(Command):
    """A run of stages, or with `--resume` one that goes on.

    Args:
        key: a setting that only runs of this kind have.
        default: the config without --config.
        check: refuses a config that cannot work.
    """

    key: str
    default: Path | None = None
    check: Callable[[Any], None] = lambda config: None

    stopped = "go on with --resume"

    def parser(self, prog: str | None = None) -> ArgumentParser:
        parser = super().parser(prog)
        text = "go on with a run folder; without a value, with the newest one"
        parser.add_argument("--resume", nargs="?", const="latest", help=text)
        return parser

    def act(self, parser: ArgumentParser, arguments: Sequence[str]) -> None:
        given = arguments
        # A config stands for itself: it does not inherit from that of the default run.
        named = any(argument.split("=")[0] == "--config" for argument in arguments)
        if self.default is not None and self.default.is_file() and not named:
            arguments = ["--config", str(self.default), *arguments]
        options = parse(parser, arguments)
        run, finished = None, None
        if options.resume:
            more = [
                argument for argument in given if argument.startswith("--") and argument.split("=")[0] not in RESUME
            ]
            if more:
                raise PmdError(f"--resume goes on with the run's own settings; leave out {more[0]}")
            run = Run.open(options.resume, runs=options.runs, key=self.key)
            options, finished = parse(parser, ["--config", str(run.folder / "config.yaml")]), run.finished
        config = instantiate(parser, options, resolve_name(self.config))
        self.check(config)
        # Heavy imports come after the options have been understood.
        run = resolve_name(self.recipe)(config, run)
        if run.main:
            if finished == run.finished:
                print("all stages were finished before; nothing was trained\n", file=sys.stderr)
            print((run.folder / "table.md").read_text(encoding="utf-8"))
            print(f"run folder: {run.folder}", file=sys.stderr)


progressive_command = StagesCommand(
    text="distil a text model, grade by grade; without --config, configs/pmd/world.yaml applies",
    config="pmd.settings.text:ProgressiveConfig",
    recipe="pmd.recipes.text:progressive",
    examples=("pmd progressive --data.path my_graph --train.lr 3e-5", "pmd progressive --resume runs/my_graph-…"),
    key="encoder",
    default=WORLD_CONFIG,
)

train_command = StagesCommand(
    text="train embedding models: one, a croppable one, or a teacher and its students",
    config="pmd.settings.kge:KgeConfig",
    recipe="pmd.recipes.kge:train_kge",
    examples=(
        "pmd train --data.path my_graph --model.interaction rotate --model.dim 64",
        "pmd train --data.path my_graph --dual.students '[32,16,8]'",
    ),
    key="loss",
    check=check_kge_run,
)

glue_command = StagesCommand(
    text="fine-tune a BERT and its sub-models on a GLUE task; without --config, configs/glue/bert_base.yaml applies",
    config="pmd.settings.glue:GlueConfig",
    recipe="pmd.recipes.glue:train_glue",
    examples=("pmd glue --task rte", "pmd glue --config configs/glue/minilm.yaml --task stsb --data.path DIR/glue"),
    key="task",
    default=GLUE_CONFIG,
    check=check_glue,
)

evaluate_command = Command(
    text="rank a split with trained models, text and embedding models alike",
    config="pmd.settings.shared:EvaluateConfig",
    recipe="pmd.recipes.evaluate:evaluate",
    examples=("pmd evaluate --model runs/world-…/grade1", "pmd evaluate --model '[RUN/grade1, RUN/rotate]'"),
)

crop_command = Command(
    text="take the leading part of a trained embedding model, text model or BERT, without training",
    config="pmd.recipes.crop:CropConfig",
    recipe="pmd.recipes.crop:crop",
    examples=(
        "pmd crop runs/my_graph-rotate-… --width 40 --out small",
        "pmd crop runs/glue-stsb-… --stage med --width 256 --out small",
    ),
    leading=("model",),
)

answer_command = Command(
    text="ask a trained model to complete a triple",
    config="pmd.recipes.answer:AnswerConfig",
    recipe="pmd.recipes.answer:answer",
    examples=(
        "pmd answer runs/world-… --head Austria --relation 'official language' -k 3",
        "pmd answer user/world-grade3 --tail German --relation 'official language' --new --json",
    ),
    leading=("model",),
    short={"-k": "--top_k"},
    # Read when NumPy is loaded. Its threads wait for each other by spinning, which on products as small as those of
    # one question gains little on idle cores, and on busy ones costs many times the product.
    environment={"OPENBLAS_NUM_THREADS": "1"},
)

export_command = Command(
    text="write a trained model for other programs: as ONNX, for sentence-transformers, or as tables",
    config="pmd.recipes.export:ExportConfig",
    recipe="pmd.recipes.export:export",
    examples=("pmd export runs/world-… --to onnx", "pmd export runs/world-rotate-… --to embeddings --out tables"),
    leading=("model",),
)

push_command = Command(
    text="publish a model of a run on the Hugging Face Hub",
    config="pmd.recipes.push:PushConfig",
    recipe="pmd.recipes.push:publish",
    examples=(
        "pmd push runs/world-… user/world-grade3 --grade 3 --license apache-2.0",
        "pmd push runs/world-… user/world --dry-run --out FOLDER",
    ),
    leading=("model", "repo"),
)

report_command = Command(
    text="write a run, or several, as a page with tables, curves and examples",
    config="pmd.report.write:ReportConfig",
    recipe="pmd.report.write:report",
    examples=("pmd report runs/world-…", "pmd report RUN RUN --out both.html"),
    leading=("run",),
    several=True,
)

info_command = Command(
    text="show what is in a graph",
    config="pmd.recipes.data:InfoConfig",
    recipe="pmd.recipes.data:info",
    examples=("pmd data info my_graph", "pmd data info world --json"),
    leading=("data.path",),
)

convert_command = Command(
    text="write a graph in another layout",
    config="pmd.recipes.data:ConvertConfig",
    recipe="pmd.recipes.data:convert_graph",
    examples=("pmd data convert my_graph --to kg-bert --out new",),
    leading=("data.path",),
)

figure_command = Command(
    text="draw a picture of a run of embedding models",
    config="pmd.papers.figures:FigureConfig",
    recipe="pmd.papers.figures:draw",
    examples=("pmd figure --run runs/my_graph-rotate-… --what widths",),
)

completion_command = Command(
    text="print a script that completes commands and options at the TAB key",
    config="pmd.cli.completion:CompletionConfig",
    recipe="pmd.cli.completion:script",
    examples=("pmd completion bash > ~/.local/share/bash-completion/completions/pmd", "source <(pmd completion zsh)"),
    leading=("shell",),
)

compare_command = Command(
    text="compare distillation methods over several seeds",
    config="pmd.papers.compare:CompareConfig",
    recipe="pmd.papers.compare:compare",
)

dualde_command = Command(
    text="compare embedding models with and without a teacher, over several seeds",
    config="pmd.papers.dualde:DualdeConfig",
    recipe="pmd.papers.dualde:dualde",
)

med_command = Command(
    text="compare croppable embedding models with their rivals, width by width",
    config="pmd.settings.med_table:MedTableConfig",
    recipe="pmd.papers.med:med_table",
)

glue_table_command = Command(
    text="compare BERTs of every width on GLUE tasks, over several seeds",
    config="pmd.papers.glue_table:GlueTableConfig",
    recipe="pmd.papers.glue_table:glue_table",
)

downstream_command = Command(
    text="compare embeddings of every width by what they add to other models",
    config="pmd.papers.downstream.table:DownstreamConfig",
    recipe="pmd.papers.downstream.table:downstream",
)

cost_command = Command(
    text="parameters and inference time of embedding models by width",
    config="pmd.papers.cost:CostConfig",
    recipe="pmd.papers.cost:cost",
)

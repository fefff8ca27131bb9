"""What the stages of a GLUE run share, how it is made ready and what is said of it first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from pmd.core.run import Run
from pmd.data.glue import EncodedSplit, GlueData, load_glue
from pmd.models.bert.croppable import CroppableBertConfig
from pmd.models.bert.folder import full_config, tokenizer_of
from pmd.recipes.glue_models import check_stages
from pmd.recipes.tables import markdown
from pmd.settings.glue import GlueConfig, GlueStageConfig
from pmd.settings.glue_stages import check_glue, is_croppable, resolve_glue_stages
from pmd.settings.tasks import task_of


@dataclass(frozen=True, eq=False)
class Context:
    """What all stages of a run share."""

    config: GlueConfig
    run: Run
    accelerator: Accelerator
    data: GlueData
    tokenizer: PreTrainedTokenizerBase
    full: CroppableBertConfig
    encoded: dict[str, EncodedSplit]
    taught: dict[str, Tensor] = field(default_factory=dict)
    """By teacher, its logits (N, num_labels) for the training split: what it says does not change, so it is asked once."""

    def say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(text, file=sys.stderr, flush=True)

    def widths(self, stage: GlueStageConfig) -> list[int]:
        """Of the sub-models of a stage, or the one of a model of one size."""
        return list(self.full.widths) if is_croppable(stage) else [stage.width or self.full.hidden_size]


def prepared(
    config: GlueConfig,
) -> tuple[list[GlueStageConfig], CroppableBertConfig, PreTrainedTokenizerBase, GlueData]:
    """The stages, the BERT's configuration, its tokenizer and the data. PmdError for what cannot be used; writes nothing."""
    check_glue(config)
    stages, task, full = resolve_glue_stages(config), task_of(config.task), full_config(config.model)
    check_stages(stages, full, task)
    tokenizer = tokenizer_of(config.model.name)
    return stages, full, tokenizer, load_glue(config.data.path, task, config.data.train_examples)


def banner(context: Context, stages: Sequence[GlueStageConfig]) -> str:
    """What is about to happen."""
    config, full = context.config, context.full
    sizes = " / ".join(f"{len(split):,}" for split in context.data.splits.values())
    lines = {
        "run": str(context.run.folder),
        "task": f"{context.data.name}: {' / '.join(context.data.splits)} of {sizes} examples",
        "model": f"{config.model.name}: {full.num_hidden_layers} layers, {full.hidden_size} wide",
        "device": f"{context.accelerator.device}, {context.accelerator.num_processes} process(es), "
        f"{torch.get_num_threads()} threads",
    }
    rows = [
        (
            stage.name,
            stage.method,
            ", ".join(map(str, context.widths(stage))),
            stage.layers or full.num_hidden_layers,
            stage.teacher or "",
            stage.start,
            stage.order,
            stage.epochs,
            stage.batch_size,
            f"{stage.lr:g}",
        )
        for stage in stages
    ]
    columns = ("stage", "method", "widths", "layers", "taught by", "starts from", "order", "epochs", "batch", "lr")
    align = [*["left"] * 2, *["right"] * 2, *["left"] * 3, *["right"] * 3]
    return "\n".join(f"{name:<11}{text}" for name, text in lines.items()) + f"\n\n{markdown(columns, rows, align)}\n"

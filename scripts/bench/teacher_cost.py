"""What a training step of a run's teacher costs: parameters, memory, operations, and steps a second on a GPU. Nothing is
trained, and no weights are loaded: the configuration and the tokenizer of the teacher are enough.

    python scripts/bench/teacher_cost.py --settings_from configs/pmd/qwen3_teacher.yaml --data DIR/wn18rr --tflops 300

`tflops` is the speed that the GPU reaches in such products, a third to a half of its peak, in units of 10¹² operations a
second. Activations are an upper bound: fused kernels keep less of the attention.
"""

from __future__ import annotations

import torch
from jsonargparse import auto_cli

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.data.graphs.sources import load_graph
from pmd.data.texts.batches import TripleCollator
from pmd.models.text.cost import shapes_of, step_cost
from pmd.models.text.teachers import described_teacher
from pmd.settings.parsing.parse import read_config
from pmd.settings.text import ProgressiveConfig


def main(settings_from: str, data: str | None = None, tflops: float = 300.0) -> None:
    """Count a step of the first stage.

    Args:
        settings_from: a config of `pmd progressive` with a `teacher`.
        data: the graph, if not the config's.
        tflops: 10¹² operations a second that the GPU reaches.
    """
    options = [] if data is None else [f"--data.path={data}"]
    settings = read_config(ProgressiveConfig, [f"--config={settings_from}", *options])
    if settings.teacher is None:
        raise PmdError(f"settings_from: '{settings_from}' has no teacher.model; name one")
    graph, teacher, train = load_graph(settings.data.path), described_teacher(settings), settings.train
    text = teacher.read(graph, settings.data.cache)
    first = settings.stages[0] if settings.stages else None
    size = (first and first.batch_size) or train.batch_size
    collate = TripleCollator(graph.train, text, train.tokens_per_chunk)
    torch.manual_seed(0)
    batch = collate(torch.randperm(len(collate))[:size].tolist())
    shapes = shapes_of(batch)
    cost = step_cost(teacher.model, shapes, recompute=train.recompute, lora=settings.teacher.lora)
    speed, steps = cost.steps_per_second(tflops * 1e12), -(-len(collate) // size)
    epochs = (first and first.epochs) or train.epochs
    print(f"{settings.teacher.model}: {cost.parameters:,} parameters, {cost.trained:,} of them trained")
    print(
        f"a step: {sum(n for _, n, _ in shapes):,} texts, {sum(n * length for _, n, length in shapes):,} tokens with padding"
    )
    print(f"  {cost.flops / 1e12:,.0f} × 10¹² operations, {speed:.2f} steps/s at {tflops:g} × 10¹² a second")
    print(
        f"  memory {cost.memory / 1e9:.1f} GB: weights {cost.weights / 1e9:.1f}, gradients and AdamW "
        f"{cost.optimizer / 1e9:.1f}, activations at most {cost.activations / 1e9:.1f}"
    )
    print(f"{epochs} epochs of {steps:,} steps: {epochs * steps / speed / 60:.0f} min")


if __name__ == "__main__":
    run(lambda: auto_cli(main, as_positional=False))

"""How much faster is an epoch of distillation if the teacher is asked once? Run by hand.

    python scripts/bench/ask_once.py --data DIR/wn18rr_v1_inductive

Training steps of the same triples, forward, backward and AdamW, in turns: the teacher reads every batch, or its vectors of all
texts are kept from before the first step. Reading them is timed on a sample of the texts. Seconds of the processor.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from common import MINILM, TrainingStep, machine, note
from timing import clocked

from pmd.cli.errors import run
from pmd.core.quiet import quiet
from pmd.data.graphs.sources import load_graph
from pmd.data.texts.batches import TripleCollator
from pmd.distill.kept.teacher_vectors import ask_once
from pmd.distill.text_baselines import LogitDistillation, PatientDistillation
from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.evaluation.tables import markdown
from pmd.models.text.folder import TextModel
from pmd.models.text.scorer import encode_texts
from pmd.models.text.start import start
from pmd.models.text.students import evenly_spaced, student_of
from pmd.settings.text import ContrastiveConfig, DistillConfig, EncoderConfig
from pmd.training.batching import epoch_batches, steps_per_epoch
from pmd.training.optim import optimizer_for

METHODS = {
    "PMD without features": (MaskedFeatureDistillation, {"beta": 0.0}),
    "LKD": (LogitDistillation, {}),
    "PKD": (PatientDistillation, {}),
    "PMD, a quarter read with masks": (MaskedFeatureDistillation, {}),
}


def main(
    data: str = "../shared/data/wn18rr_v1_inductive",
    encoder: str = MINILM,
    layers: int = 3,
    batch_size: int = 128,
    max_length: int = 32,
    rounds: int = 3,
    sample: int = 512,
    epochs: int = 5,
    bf16: bool = True,
):
    """Time both ways, in turns.

    Args:
        data: folder of a graph with texts.
        encoder: the teacher.
        layers: depth of the student.
        batch_size: triples of a step, each in both directions.
        max_length: tokens of a text.
        rounds: how often each way is timed.
        sample: texts of either kind that the reading of all is timed with.
        epochs: of a stage, for the last column.
        bf16: compute in bf16 where the processor can.
    """
    quiet()
    graph = load_graph(data)
    origin = TextModel(*start(EncoderConfig(name=encoder, max_length=max_length), graph, seed=0))
    text, teacher = origin.read(graph), origin.model.eval()
    batches = epoch_batches(len(graph.train), batch_size, seed=0, epoch=0)[:rounds]
    # A part of the texts suffices for the batches that are timed.
    part = TripleCollator(graph.train, text, 4096)
    keys, rows = part.distinct_texts()
    samples = {"query": part.queries_of(text)(spread(keys, sample)), "entity": text.entities(spread(rows, sample))}
    autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bf16)
    with autocast():
        cost = {
            role: clocked(partial(encode_texts, teacher, role, samples[role], text.pad))[1] / sample for role in samples
        }
    reading = len(keys) * cost["query"] + len(rows) * cost["entity"]
    note(f"reading {len(keys):,} queries and {len(rows):,} entities once: {reading:.0f} s")
    part = TripleCollator(graph.train[np.concatenate([*batches])], text, 4096)
    steps, table = steps_per_epoch(len(graph.train), batch_size), []
    with tempfile.TemporaryDirectory() as folder, autocast():
        for name, (method, changes) in METHODS.items():
            seconds: dict[str, list[float]] = {"each": [], "once": []}
            ways = {way: Steps(graph, origin, text, layers, method, changes) for way in seconds}
            objective = ways["once"].objective
            files = ask_once(objective.teacher.model, text, part, objective.asks, Path(folder))
            ways["once"].collate.teacher_vectors = files
            for positions in batches:
                for way, step in ways.items():
                    seconds[way].append(clocked(partial(step, positions))[1])
                    note(f"{name}, {way}: {seconds[way][-1]:.2f} s")
            each, once = (statistics.median(values) for values in seconds.values())
            total = epochs * steps * each / (reading + epochs * steps * once)
            table.append((name, f"{each:.2f}", f"{once:.2f}", f"{each / once:.2f} ×", f"{total:.2f} ×"))
    print(markdown(("method", "asked each time, s", "once, s", "an epoch", f"{epochs} epochs with the reading"), table))
    texts = f"{len(keys):,} queries and {len(rows):,} entities"
    print(
        f"\n{texts} are read once in {reading:.0f} s, as long as {reading / steps:.2f} s a step of one epoch; {machine()}"
    )


def spread(keys: np.ndarray, count: int) -> np.ndarray:
    """So many of the keys, evenly spaced."""
    return keys[np.linspace(0, len(keys) - 1, count).astype(int)]


class Steps(TrainingStep):
    """Training steps of a student."""

    def __init__(self, graph, origin: TextModel, text, layers: int, method, changes: dict):
        teacher, distill = origin.model, DistillConfig(**changes)
        masks = {"mask_rate": 0.2 if distill.beta else 0.0, "mask": text.mask, "special": torch.tensor(text.special)}
        self.objective = method(
            *(student_of(teacher, evenly_spaced(layers, teacher.depth)), ContrastiveConfig(), graph.train),
            *(graph.num_entities, graph.num_relations),
            teacher=student_of(teacher, list(range(teacher.depth))),
            distill=distill,
            **(masks if method is MaskedFeatureDistillation else {}),
        ).train()
        self.collate = TripleCollator(graph.train, text, 4096)
        self.optimizer = optimizer_for("adamw", self.objective, 1e-5, 1e-4)


if __name__ == "__main__":
    run(lambda: auto_cli(main))

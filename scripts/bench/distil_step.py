"""How much faster is a distillation step than one that is written the plain way? Run by hand.

    python scripts/bench/distil_step.py --data DIR/wn18rr

Both do the same work: the contrastive, score and masked-feature terms of the same triples in both directions,
forward, backward and AdamW. The plain way is that of the published code of SimKGC and PMD: the query, tail and head
text of every example is tokenised when it is needed, padded to 50 tokens, and encoded by teacher and student, the
teacher with gradients. It takes a quarter of the batch at a time and adds up the gradients, because all of it does not
fit into 24 GB; that saves it a part of the loss, and none of the encoding.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch.nn.functional import cross_entropy, mse_loss

sys.path.insert(0, str(Path(__file__).parent))
from common import MINILM, TrainingStep, machine, note, open_data

from pmd.cli.errors import run
from pmd.data.texts.batches import TripleCollator
from pmd.data.texts.graph_text import entity_text, relation_texts
from pmd.data.texts.masking import mask_positions
from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.evaluation.tables import markdown
from pmd.models.text.bi_encoder import pool
from pmd.models.text.students import evenly_spaced, student_of
from pmd.settings.text import ContrastiveConfig, DistillConfig
from pmd.training.batching import epoch_batches
from pmd.training.optim import optimizer_for

MASK_RATE = 0.1


def main(
    data: str = "../shared/data/wn18rr", encoder: str = MINILM, layers: int = 3, examples: int = 512, rounds: int = 3
):
    """Time both ways, in turns.

    Args:
        data: folder of WN18RR.
        encoder: the teacher.
        layers: depth of the student.
        examples: batch size; the triples are half as many, each in both directions.
        rounds: how often each way is timed.
    """
    graph, origin = open_data(data, encoder)
    text = origin.read(graph)
    batches = epoch_batches(len(graph.train), examples // 2, seed=0, epoch=0)
    fast, plain = Fast(graph, origin, text, layers), Plain(graph, origin, layers)
    seconds = {"plain": [], "plain, frozen teacher": [], "pmd": []}
    fast(batches[-1][:32])  # warm up
    plain(batches[-1][:8])
    for positions in batches[:rounds]:
        for name, step in (("plain", plain), ("plain, frozen teacher", plain.frozen), ("pmd", fast)):
            began = time.perf_counter()
            step(positions)
            seconds[name].append(time.perf_counter() - began)
            note(f"{name}: {len(positions) / seconds[name][-1]:.2f} triples/s")
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [
        (name, f"{examples // 2 / value:.2f}", f"{middle['plain'] / value:.2f} ×") for name, value in middle.items()
    ]
    print(markdown(("way", "triples/s", "speed"), rows))
    print(f"\n{examples // 2} triples in both directions, median of {rounds}; {machine()}")


class Fast(TrainingStep):
    """The step as this package does it."""

    def __init__(self, graph, origin, text, layers: int):
        teacher = origin.model
        student = student_of(teacher, evenly_spaced(layers, teacher.depth))
        self.objective = MaskedFeatureDistillation(
            *(student, ContrastiveConfig(), graph.train, graph.num_entities, graph.num_relations),
            teacher=student_of(teacher, list(range(teacher.depth))),
            distill=DistillConfig(alpha=0.1, beta=0.1, score="mse", masked_view="same"),
            mask_rate=MASK_RATE,
            mask=text.mask,
            special=torch.tensor(text.special),
        ).train()
        self.collate = TripleCollator(graph.train, text, 4096)
        self.optimizer = optimizer_for("adamw", self.objective, 1e-5, 1e-4)


class Plain:
    """The step written the plain way: nothing shared, nothing sorted, everything padded to 50 tokens."""

    def __init__(self, graph, origin, layers: int):
        self.tokenizer, self.teacher = origin.tokenizer, origin.model
        self.student = student_of(self.teacher, evenly_spaced(layers, self.teacher.depth)).train()
        self.texts = [entity_text(n, d) for n, d in zip(graph.entity_names, graph.entity_descriptions)]
        self.relations = relation_texts(graph.relation_names)
        self.triples = graph.train.tolist()
        self.special = torch.tensor(origin.tokenizer.all_special_ids)
        self.optimizer = optimizer_for("adamw", self.student, 1e-5, 1e-4)

    def __call__(self, positions: list[int], *, teacher_gradients: bool = True) -> None:
        n = len(self.relations) // 2
        triples = [self.triples[position] for position in positions]
        examples = [*triples, *([t, r + n, h] for h, r, t in triples)]
        quarter = max(2, len(examples) // 4)
        self.teacher.requires_grad_(teacher_gradients).eval()
        for start in range(0, len(examples), quarter):
            self.accumulate(examples[start : start + quarter])
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.teacher.zero_grad()

    def frozen(self, positions: list[int]) -> None:
        """The same without gradients for the teacher, to show how much that alone saves."""
        self(positions, teacher_gradients=False)

    def accumulate(self, examples: list[list[int]]) -> None:
        heads = [self.texts[h] for h, _, _ in examples]
        tails = [self.texts[t] for _, _, t in examples]
        pairs = (heads, [self.relations[r] for _, r, _ in examples])
        vectors, features = {}, 0.0
        for role, name, strings in (
            ("query", "query", pairs),
            ("entity", "tail", (tails,)),
            ("entity", "own", (heads,)),
        ):
            batch = self.tokenizer(
                *strings, padding="max_length", truncation="only_first", max_length=50, return_tensors="pt"
            )
            masked = mask_positions(batch["input_ids"], MASK_RATE, self.special)
            batch["input_ids"] = batch["input_ids"].masked_fill(masked, self.tokenizer.mask_token_id)
            hidden = {model: model(role, **batch)[0] for model in (self.student, self.teacher)}
            for model, states in hidden.items():
                vectors[model, name] = pool(states, batch["attention_mask"])
            features = features + mse_loss(*(states[masked] for states in hidden.values()))
        logits = {
            model: vectors[model, "query"] @ vectors[model, "tail"].T * model.inverse_temperature
            for model in (self.student, self.teacher)
        }
        own = (vectors[self.student, "query"] * vectors[self.student, "own"]).sum(-1, keepdim=True) * 20
        mine, labels = logits[self.student], torch.arange(len(examples))
        label = cross_entropy(torch.cat([mine, own], dim=1), labels) + cross_entropy(mine.T, labels)
        (0.8 * label + 0.1 * mse_loss(mine, logits[self.teacher]) + 0.1 * features).backward()


if __name__ == "__main__":
    run(lambda: auto_cli(main))

"""How much faster all entities are encoded sorted by length than padded to one length. Run by hand.

    python scripts/bench/encode.py --data DIR/wn18rr

The reference pads every text to 50 tokens, in batches of 64 in the order of the graph.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from common import MINILM, machine, note, open_data

from pmd.cli.errors import run
from pmd.evaluation.tables import markdown
from pmd.models.text.bi_encoder import pool
from pmd.models.text.scorer import encode_texts
from pmd.models.text.students import evenly_spaced, student_of

LENGTH, BATCH, PART = 50, 64, 4096


@torch.no_grad()
def fixed_length(model, texts, pad: int) -> torch.Tensor:
    """The vectors (n, d) of texts, each padded to 50 tokens."""
    vectors = []
    for start in range(0, len(texts), BATCH):
        rows = [texts.ids[i] for i in range(start, min(start + BATCH, len(texts)))]
        ids = torch.full((len(rows), LENGTH), pad)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.from_numpy(row)
        vectors.append(pool(model("entity", ids, (ids != pad).long(), torch.zeros_like(ids))[0], (ids != pad).long()))
    return torch.cat(vectors)


def main(data: str = "../shared/data/wn18rr", encoder: str = MINILM, layers: int = 3, entities: int = 0):
    """Encode the entities of a graph both ways.

    Args:
        data: folder of WN18RR.
        encoder: the pretrained encoder whose layers the student takes.
        layers: depth of the student.
        entities: encode only the first of the entities, this many; 0 for all.
    """
    graph, origin = open_data(data, encoder)
    text = origin.read(graph)
    model = student_of(origin.model, evenly_spaced(layers, origin.model.depth)).eval()
    n = entities or graph.num_entities
    everything = text.entities(np.arange(n))
    began = time.perf_counter()
    ours = encode_texts(model, "entity", everything, text.pad)
    fast = time.perf_counter() - began
    slow, worst = 0.0, 0.0
    for start in range(0, n, PART):
        rows = np.arange(start, min(start + PART, n))
        began = time.perf_counter()
        reference = fixed_length(model, text.entities(rows), text.pad)
        slow += time.perf_counter() - began
        worst = max(worst, float((reference - ours[rows]).abs().max()))
        note(f"{rows[-1] + 1}/{n}: fixed length {(rows[-1] + 1) / slow:.1f} entities/s")
    rows = [
        ("fixed length 50", f"{n / slow:.1f}", "1.00 ×"),
        ("length-sorted", f"{n / fast:.1f}", f"{slow / fast:.2f} ×"),
    ]
    print(markdown(("way", "entities/s", "speed"), rows))
    print(f"\n{n:,} entities, {layers} layers; largest difference of a number in a vector {worst:.1e}; {machine()}")


if __name__ == "__main__":
    run(lambda: auto_cli(main))

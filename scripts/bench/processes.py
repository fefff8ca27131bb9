"""What several processes on CPUs share, encoding and ranking: how long the busiest of them takes. Run by hand.

    python scripts/bench/processes.py --data DIR/wn18rr

Each round starts one process and then several, one thread each, which do the same; a digest says whether the vectors and ranks
are the same to the bit. Seconds are those of the processor, which other programs on the machine hardly change: what a process
waits for another is not among them.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from common import MINILM, machine, note, open_data

from pmd.cli.errors import run
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.metrics import Ranks
from pmd.evaluation.ranking import ranks
from pmd.evaluation.tables import markdown
from pmd.evaluation.width_ranking import ranks_widths
from pmd.models.kge.model import KgeModel
from pmd.models.text.scorer import TextScorer, encode_texts
from pmd.models.text.students import evenly_spaced, student_of

WORKER = "PMD_BENCH_WORKER"
"""The variable that tells a process that it is one of the several: the settings, in JSON."""


def work(data: str, encoder: str, entities: int, triples: int) -> None:
    """Measure everything in this process of the group, and print it in JSON."""
    Accelerator(cpu=True)
    torch.set_num_threads(1)
    graph, origin = open_data(data, encoder)
    text = origin.read(graph)
    model = student_of(origin.model, evenly_spaced(1, origin.model.depth)).eval()
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(graph.num_entities, model.dim), dim=-1)
    sizes = graph.num_entities, graph.num_relations
    product, widths = KgeModel("complex", *sizes, 200), KgeModel("transe", *sizes, 64, tuple(range(1, 65)))
    read = torch.randperm(graph.num_entities)[:entities].numpy()

    def text_ranks() -> Ranks:
        scorer = TextScorer(model, text, vectors, shared=True)
        sample = KnowledgeGraph(**{**vars(graph), "test": graph.test[:triples]})
        scorer.prepare(sample.test)
        return ranks(scorer, sample)

    kinds: dict[str, Callable[[], object]] = {
        f"{entities:,} entities encoded by a layer of MiniLM": lambda: encode_texts(
            model, "entity", text.entities(read), text.pad, shared=True
        ),
        f"{2 * triples:,} queries encoded by it and ranked": text_ranks,
        f"{2 * triples:,} queries ranked by ComplEx, 200 wide": lambda: ranks(product, graph, max_triples=triples),
        f"{2 * triples:,} queries ranked by TransE at 64 widths": lambda: ranks_widths(
            widths, graph, max_triples=triples
        ),
    }
    print(json.dumps({name: measured(call) for name, call in kinds.items()}))


def measured(call: Callable[[], object]) -> tuple[float, str]:
    """The processor's seconds of a call, and a digest of what it gives."""
    began = time.process_time()
    result = call()
    seconds = time.process_time() - began
    if isinstance(result, Ranks):
        result = {0: result}
    if isinstance(result, dict):
        result = torch.stack([side.realistic for by_width in result.values() for side in by_width.sides.values()])
    return seconds, hashlib.sha256(result.contiguous().numpy().tobytes()).hexdigest()


def started(processes: int, settings: str) -> list[dict[str, tuple[float, str]]]:
    """What each of so many processes measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes), WORKER: settings}
    group |= {"LOCAL_WORLD_SIZE": str(processes), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    return [json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers]


def main(
    data: str = "../shared/data/wn18rr",
    encoder: str = MINILM,
    entities: int = 4096,
    triples: int = 512,
    processes: int = 2,
    rounds: int = 3,
):
    """Encode and rank by one process and by several.

    Args:
        data: folder of WN18RR.
        encoder: the pretrained encoder whose first layer reads.
        entities: how many are encoded.
        triples: of the test split, how many are ranked, in both directions.
        processes: how many are compared with one.
        rounds: of which the medians count.
    """
    settings = json.dumps({"data": data, "encoder": encoder, "entities": entities, "triples": triples})
    all_rounds = []
    for i in range(rounds):
        all_rounds.append([started(count, settings) for count in (1, processes)])
        note(f"round {i + 1} of {rounds}")
    rows = []
    for name in all_rounds[0][0][0]:
        one, several = (
            statistics.median(max(worker[name][0] for worker in pair[i]) for pair in all_rounds) for i in (0, 1)
        )
        digests = {worker[name][1] for pair in all_rounds for workers in pair for worker in workers}
        rows.append(
            [name, f"{one:.2f}", f"{several:.2f}", f"{one / several:.2f} ×", "yes" if len(digests) == 1 else "no"]
        )
    print(machine())
    print(markdown(["what", "one process, s", f"busiest of {processes}, s", "faster", "equal to the bit"], rows))


if __name__ == "__main__":
    if WORKER in os.environ:
        work(**json.loads(os.environ[WORKER]))
    else:
        run(lambda: auto_cli(main, as_positional=False))

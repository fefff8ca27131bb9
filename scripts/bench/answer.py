"""Answers of a text student: from process start, one after the other, and beside the bare matrix product. By hand.

    OPENBLAS_NUM_THREADS=1 python scripts/bench/answer.py --data DIR/wn18rr --out DIR/bench

The student has random weights, which cost as much as trained ones. Its entities are encoded on the first run; later
ones find the index. `pmd answer` sets that variable by itself. Where other work shares the cores, the processor's
seconds say more than the clock's.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from common import machine, note

import pmd
from pmd.cli.errors import run
from pmd.core.quiet import quiet
from pmd.models.text.folder import TextModel, save
from pmd.models.text.start import start
from pmd.recipes.tables import markdown
from pmd.settings.text import EncoderConfig
from pmd.use.answers import best_entities

ASK = "from pmd.cli.main import dispatch; dispatch(['answer', *__import__('sys').argv[1:]])"
BERT = "import torch, transformers.models.bert.modeling_bert"


def process(*arguments: str) -> tuple[float, float]:
    """Seconds by the clock and of the processor of a Python process from its start to its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def call(work: Callable[[], object]) -> tuple[float, float]:
    """The same of a call."""
    used, began = time.process_time(), time.perf_counter()
    work()
    return time.perf_counter() - began, time.process_time() - used


def in_turn(rounds: int, *works: Callable[[], tuple[float, float]]) -> list[tuple[float, float, float]]:
    """Median and least seconds by the clock and median of the processor of each, taken in turn."""
    found = list(zip(*([work() for work in works] for _ in range(rounds))))
    clock = [[seconds for seconds, _ in times] for times in found]
    used = [statistics.median(seconds for _, seconds in times) for times in found]
    return [(statistics.median(seconds), min(seconds), cpu) for seconds, cpu in zip(clock, used)]


def main(
    data: str = "../shared/data/wn18rr",
    out: str = "bench_answer",
    layers: int = 3,
    hidden: int = 384,
    starts: int = 5,
    questions: int = 200,
):
    """Time answers.

    Args:
        data: folder of the graph.
        out: folder for the student and its index; kept, for the next run.
        layers, hidden: of the student.
        starts: processes to start.
        questions: answers to time in one process.
    """
    folder = Path(out) / f"{layers}x{hidden}"
    graph = pmd.load_graph(data)
    if not (folder / "config.json").is_file():
        quiet()
        encoder = EncoderConfig(
            layers=layers, hidden_size=hidden, heads=hidden // 32, intermediate_size=4 * hidden, vocab_size=30_000
        )
        save(folder, TextModel(*start(encoder, graph, seed=0)), graph)
    model = pmd.load(folder, data)
    note(f"index of {model.index.num_entities:,} entities")
    asked = [
        model.question(head=graph.entity_ids[head], relation=graph.relation_ids[relation])
        for head, relation, _ in graph.test[:questions].tolist()
    ]
    one = [graph.entity_ids[asked[0].entity], graph.relation_ids[asked[0].relation]]
    command = ("-c", ASK, str(folder), f"--data.path={data}", f"--head={one[0]}", f"--relation={one[1]}")
    rows = [
        (what, *(f"{value:.2f} s" for value in times))
        for what, times in zip(
            ("first answer, from process start", "Python alone", "importing torch and BERT alone"),
            in_turn(starts, lambda: process(*command), lambda: process("-c", ""), lambda: process("-c", BERT)),
        )
    ]
    vectors, places = model.index.vectors, iter(range(10**9))
    query = model.queries(asked[:1])[0]

    def next_question():
        return asked[next(places) % len(asked)]

    parts = in_turn(
        questions,
        lambda: call(lambda: list(model.answer_all([next_question()]))),
        lambda: call(lambda: model.queries([next_question()])),
        lambda: call(lambda: vectors @ query),
        lambda: call(lambda: best_entities(vectors @ query, 10)),
    )
    names = ("an answer, batch 1", "of it the query's vector", "bare product", "product and top 10")
    rows += [(what, *(f"{1000 * value:.2f} ms" for value in times)) for what, times in zip(names, parts)]
    print(markdown(("what", "median", "least", "processor, median"), rows))
    ratios = [top / bare for bare, top in zip(parts[2], parts[3])]
    spread = f"{ratios[0]:.2f} × by the clock (medians), {ratios[2]:.2f} × of the processor"
    shape = " × ".join(f"{size:,}" for size in np.shape(vectors))
    print(f"\nproduct and top 10 / bare product of {shape}: {spread}; {layers} layers; {machine()}")


if __name__ == "__main__":
    run(lambda: auto_cli(main))

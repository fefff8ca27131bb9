"""How long an answer of a text student takes: from the start of a process, one after the other, and beside the bare matrix
product. Run by hand.

    OPENBLAS_NUM_THREADS=1 python scripts/bench/answer.py --data DIR/wn18rr --out DIR/bench

`pmd answer` sets that variable by itself. The student has random weights, which cost as much as trained ones. The first
run encodes its entities; later ones use the index. Where other work shares the cores, the seconds of the processor say
more than those of the clock.
"""

from __future__ import annotations

import itertools
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
from timing import clocked

import pmd
from pmd.cli.errors import run
from pmd.core.quiet import quiet
from pmd.evaluation.tables import markdown
from pmd.models.text.folder import TextModel, save
from pmd.models.text.start import start
from pmd.settings.text import EncoderConfig
from pmd.use.answers import best_entities

ASK = "from pmd.cli.main import dispatch; dispatch(['answer', *__import__('sys').argv[1:]])"
BERT = "import torch, transformers.models.bert.modeling_bert"


def process(*arguments: str) -> tuple[float, float]:
    """Seconds of a Python process from its start to its end, by the clock and of the processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def in_turns(rounds: int, *ways: Callable[[], tuple[float, ...]]) -> list[tuple[float, float, float]]:
    """For each way, timed in turns: median and least seconds by the clock, and median seconds of the processor."""
    medians = []
    for times in zip(*([way() for way in ways] for _ in range(rounds))):
        clock, processor = ([seconds[kind] for seconds in times] for kind in (0, 1))
        medians.append((statistics.median(clock), min(clock), statistics.median(processor)))
    return medians


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
        out: folder for the student and its index; the next run uses them again.
        layers: depth of the student.
        hidden: its hidden size.
        starts: how many processes to start.
        questions: how many answers to time in one process.
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
    questions_asked = [
        model.question(head=graph.entity_ids[head], relation=graph.relation_ids[relation])
        for head, relation, _ in graph.test[:questions].tolist()
    ]
    names = [graph.entity_ids[questions_asked[0].entity], graph.relation_ids[questions_asked[0].relation]]
    command = ("-c", ASK, str(folder), f"--data.path={data}", f"--head={names[0]}", f"--relation={names[1]}")
    rows = [
        (what, *(f"{value:.2f} s" for value in times))
        for what, times in zip(
            ("first answer, from process start", "Python alone", "importing torch and BERT alone"),
            in_turns(starts, lambda: process(*command), lambda: process("-c", ""), lambda: process("-c", BERT)),
        )
    ]
    vectors, numbers = model.index.vectors, itertools.count()
    query = model.queries(questions_asked[:1])[0]

    def next_question():
        return questions_asked[next(numbers) % len(questions_asked)]

    parts = in_turns(
        questions,
        lambda: clocked(lambda: list(model.answer_all([next_question()]))),
        lambda: clocked(lambda: model.queries([next_question()])),
        lambda: clocked(lambda: vectors @ query),
        lambda: clocked(lambda: best_entities(vectors @ query, 10)),
    )
    titles = ("an answer, batch 1", "its query vector", "bare product", "product and top 10")
    rows += [(what, *(f"{1000 * value:.2f} ms" for value in times)) for what, times in zip(titles, parts)]
    print(markdown(("what", "median", "least", "processor, median"), rows))
    ratios = [top / bare for bare, top in zip(parts[2], parts[3])]
    medians = f"{ratios[0]:.2f} × by the clock (medians), {ratios[2]:.2f} × of the processor"
    shape = " × ".join(f"{size:,}" for size in np.shape(vectors))
    print(f"\nproduct and top 10 / bare product of {shape}: {medians}; {layers} layers; {machine()}")


if __name__ == "__main__":
    run(lambda: auto_cli(main))

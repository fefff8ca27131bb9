"""How fast do students of several depths encode, run by PyTorch or by ONNX Runtime? Run by hand.

    OMP_WAIT_POLICY=PASSIVE python scripts/bench/students.py --data DIR/wn18rr

Weights are random, which cost as much as trained ones; texts are those of the graph, sorted by length. All take turns,
so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from common import machine, note
from timing import clocked

from pmd.cli.errors import run
from pmd.core.quiet import quiet
from pmd.data.graphs.sources import load_graph
from pmd.data.texts.compose import Texts
from pmd.evaluation.tables import markdown
from pmd.models.text.bi_encoder import BiEncoder
from pmd.models.text.folder import TextModel
from pmd.models.text.scorer import encode_texts
from pmd.models.text.start import start
from pmd.models.text.students import evenly_spaced, student_of
from pmd.settings.text import EncoderConfig
from pmd.use.exporting.onnx import OnnxEncoders, write_encoders

Runtime = Literal["fp32", "bf16", "onnx", "onnx-int8"]
NAMES = {"fp32": "PyTorch fp32", "bf16": "PyTorch bf16", "onnx": "ONNX fp32", "onnx-int8": "ONNX int8"}


@dataclass
class Candidate:
    """A model in a runtime: a call that encodes texts in a role, and how many texts it is timed with."""

    layers: int
    runtime: str
    encode: Callable[[str, Texts], object]
    texts: int


def candidates_of(
    model: BiEncoder, runtimes: list[Runtime], folder: Path, text, texts: int, bf16_texts: int
) -> list[Candidate]:
    """A model in all runtimes."""

    def in_torch(encoder: BiEncoder):
        return lambda role, part: encode_texts(encoder, role, part, text.pad)

    def in_onnx(runtime: str):
        exported = folder / f"{model.depth}-{runtime}"
        exported.mkdir()
        write_encoders(exported, model, int8=runtime == "onnx-int8")
        encoders = OnnxEncoders(exported)
        return lambda role, part: encoders.encode(role, part, text.pad)

    candidates = []
    for runtime in runtimes:
        if runtime == "bf16":
            half = BiEncoder(model.config).to(torch.bfloat16)
            half.load_state_dict(model.state_dict())
            candidates.append(Candidate(model.depth, runtime, in_torch(half), bf16_texts))
        else:
            encode = in_torch(model) if runtime == "fp32" else in_onnx(runtime)
            candidates.append(Candidate(model.depth, runtime, encode, texts))
        note(f"{model.depth} layers, {NAMES[runtime]}: ready")
    return candidates


def main(
    data: str = "../shared/data/wn18rr",
    layers: list[int] = [12, 9, 6, 3],  # noqa: B006
    hidden: int = 384,
    vocab_size: int = 30_000,
    runtimes: list[Runtime] = ["fp32", "bf16", "onnx", "onnx-int8"],  # noqa: B006
    texts: int = 2000,
    bf16_texts: int = 0,
    alone: int = 10,
    rounds: int = 3,
    threads: int = 1,
    by: Literal["processor", "clock"] = "processor",
):
    """Time encoding, in rounds in which all models and runtimes take turns.

    Args:
        data: folder of a graph, for its texts.
        layers: depths; the others are compared with the first, in PyTorch fp32.
        hidden: hidden size of the encoders; a head has 32 numbers.
        vocab_size: word pieces, learned from the graph.
        runtimes: runtimes to time; fp32 must be among them.
        texts: number of entities, and of queries, that are encoded in a round.
        bf16_texts: the same for bf16; 0 for `texts`. Processors without bf16 are very slow.
        alone: texts that are encoded one by one in a round, for the latency.
        rounds: rounds that are timed, after one to warm up; medians are printed.
        threads: CPU threads of every runtime.
        by: seconds of the processor, which depend little on other work on the machine, or of the clock.
    """
    quiet()
    torch.set_num_threads(threads)
    graph = load_graph(data)
    deepest = max(layers)
    encoder = EncoderConfig(
        layers=deepest, hidden_size=hidden, heads=hidden // 32, intermediate_size=4 * hidden, vocab_size=vocab_size
    )
    origin = TextModel(*start(encoder, graph, seed=0))
    text = origin.read(graph)
    chosen = np.random.default_rng(0).permutation(graph.num_entities)[: max(texts, bf16_texts)]
    # Queries for the tails of test triples, as in a ranking.
    triples = np.resize(graph.test.numpy(), (len(chosen), 3))

    def seconds_of(candidate: Candidate, role: str, part: Texts) -> float:
        seconds, used, _ = clocked(lambda: candidate.encode(role, part))
        return used if by == "processor" else seconds

    def batch(role: str, first: int, count: int) -> Texts:
        part = slice(first, first + count)
        return text.entities(chosen[part]) if role == "entity" else text.queries(triples[part, 0], triples[part, 1])

    with tempfile.TemporaryDirectory() as folder:
        candidates = [
            candidate
            for depth in layers
            for candidate in candidates_of(
                student_of(origin.model, evenly_spaced(depth, deepest)).eval(),
                runtimes,
                Path(folder),
                text,
                texts,
                bf16_texts or texts,
            )
        ]
        times: dict[tuple[int, str, str], list[float]] = {}
        for turn in range(rounds + 1):
            for candidate in candidates:
                count = candidate.texts if turn else min(64, candidate.texts)  # the first turn warms up
                for role in ("entity", "query"):
                    seconds = seconds_of(candidate, role, batch(role, 0, count))
                    times.setdefault((candidate.layers, candidate.runtime, role), []).append(seconds / count)
                for position in range(alone):
                    seconds = seconds_of(candidate, "query", batch("query", position, 1))
                    times.setdefault((candidate.layers, candidate.runtime, "alone"), []).append(seconds)
            note(f"round {turn} of {rounds}, load {os.getloadavg()[0]:.1f}")

    def median(depth: int, runtime: str, what: str) -> float:
        seconds = times[depth, runtime, what]
        return statistics.median(seconds[alone if what == "alone" else 1 :])  # without those of the warm-up

    rows = []
    for candidate in candidates:
        key = (candidate.layers, candidate.runtime)
        rates = []
        for what in ("entity", "query"):
            each = median(*key, what)
            rates += [f"{1 / each:,.0f}", f"{median(layers[0], 'fp32', what) / each:.2f} ×"]
        latency = median(*key, "alone")
        rates += [f"{1000 * latency:.1f}", f"{median(layers[0], 'fp32', 'alone') / latency:.2f} ×"]
        rows.append((candidate.layers, NAMES[candidate.runtime], *rates))
    faster = f"× {layers[0]}-layer fp32"
    print(markdown(("layers", "run by", "entities/s", faster, "queries/s", faster, "ms alone", faster), rows))
    lengths = [batch(role, 0, texts).ids.lengths.mean() for role in ("entity", "query")]
    print(
        f"\nhidden {hidden}, {texts:,} entities of {lengths[0]:.1f} tokens and as many queries of {lengths[1]:.1f}"
        f"{f' (bf16: {bf16_texts})' if bf16_texts else ''}, {rounds} rounds, by the {by}; "
        f"{machine()}; load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    run(lambda: auto_cli(main))

"""How seconds and memory grow with a graph: every step from a folder to answers. Run by hand.

Each step runs in a process of its own, with one thread, on graphs that `big_graph.py` wrote, and reports the seconds of the
processor (other work on the machine falls on the clock alone) and the peak of the memory that is its own (files that are
memory-mapped can be dropped at any time and are not counted). A line is added to the JSON file for each, so that a run that was
stopped goes on with what is missing; `--draw` makes the table and the picture of the docs.

    python scripts/bench/growth.py --graphs '[/tmp/g100k, /tmp/g1m]' --results growth.json
    python scripts/bench/growth.py --results growth.json --draw docs/scale.svg
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.evaluation.tables import markdown

WIDTH = 128
"""Of the vectors that are ranked and searched."""
QUERIES = 200
STEPS: dict[str, Callable[[str], dict[str, Any]]] = {}
"""By name, what is measured: given the folder of a graph; its seconds without preparation, and what else is to be noted."""


def step(name: str) -> Callable:
    def add(function: Callable) -> Callable:
        STEPS[name] = function
        return function

    return add


class Clock:
    """Seconds of the processor, and the most memory that is the process's own, looked at every 20 ms (Linux)."""

    def __enter__(self) -> Clock:
        self.peak, self.done = 0, threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()
        self.began = time.process_time()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.peak = max(self.peak, own_memory())

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self.began
        self.done.set()
        self.watcher.join()
        self.peak = max(self.peak, own_memory())

    @property
    def facts(self) -> dict[str, float]:
        return {"seconds": round(self.seconds, 2), "gb": round(self.peak / 1e9, 2)}


def own_memory() -> int:
    """The bytes of a process that no file stands behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@functools.cache
def open_graph(folder: str):
    from pmd.data.graphs.sources import load_graph

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_graph(folder)


def open_text(graph, tokenizer=None):
    """The graph's texts in the word pieces of a model from scratch; tokens are kept beside the graph."""
    from pmd.data.texts.graph_text import GraphText, Reading

    tokenizer = tokenizer or tokenizer_of(graph)
    return GraphText(graph, tokenizer, Reading(), cache=cache_of(graph))


def tokenizer_of(graph):
    from transformers import AutoTokenizer

    from pmd.models.text.start import train_wordpiece

    folder = cache_of(graph) / "tokenizer"
    if not folder.is_dir():
        train_wordpiece(graph, 6000).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def cache_of(graph) -> Path:
    return Path(os.environ["GROWTH_CACHE"]) / graph.name


@step("load the folder")
def load(folder: str) -> dict[str, Any]:
    with Clock() as clock:
        graph = open_graph(folder)
    return {**clock.facts, "entities": graph.num_entities, "triples": len(graph.train)}


@step("checksum of the graph")
def checksum(folder: str) -> dict[str, Any]:
    graph = open_graph(folder)
    with Clock() as clock:
        graph.checksum()
    return clock.facts


@step("`pmd data info`, without loading")
def info(folder: str) -> dict[str, Any]:
    from pmd.data.graphs.profile import profile
    from pmd.recipes.data import tables

    graph = open_graph(folder)
    with Clock() as clock:
        tables(graph, profile(graph))
    return clock.facts


@step("vocabulary of 6,000 word pieces")
def vocabulary(folder: str) -> dict[str, Any]:
    graph = open_graph(folder)
    with Clock() as clock:
        tokenizer_of(graph)
    return clock.facts


@step("tokenise, names of neighbours too")
def tokenise(folder: str) -> dict[str, Any]:
    graph = open_graph(folder)
    tokenizer = tokenizer_of(graph)
    with Clock() as clock:
        text = open_text(graph, tokenizer)
    return {**clock.facts, "texts": graph.num_entities + len(text.rows.pairs)}


@step("open the texts again")
def reopen(folder: str) -> dict[str, Any]:
    graph = open_graph(folder)
    tokenizer = tokenizer_of(graph)
    with Clock() as clock:
        open_text(graph, tokenizer)
    return clock.facts


@step("20 batches of 256 triples")
def batches(folder: str) -> dict[str, Any]:
    import numpy as np

    from pmd.data.texts.batches import TripleCollator

    graph = open_graph(folder)
    text, rng = open_text(graph), np.random.default_rng(0)
    with Clock() as clock:
        collate = TripleCollator(graph.train, text, 4096)
        for _ in range(20):
            collate(rng.integers(len(collate), size=256).tolist())
    return clock.facts


def bi_encoder(text):
    """2 layers, 64 wide."""
    import torch
    from transformers import BertConfig

    from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
    return BiEncoder(BiEncoderConfig(encoder=BertConfig(vocab_size=6000, **sizes).to_dict()))


@step("encode 5,000 entities (2 layers, 64 wide)")
def encode(folder: str) -> dict[str, Any]:
    import numpy as np

    from pmd.models.text.scorer import encode_texts

    text = open_text(open_graph(folder))
    model = bi_encoder(text)
    with Clock() as clock:
        encode_texts(model, "entity", text.entities(np.arange(5000)), text.pad)
    return clock.facts


@step("known answers of all triples, both ways")
def filters(folder: str) -> dict[str, Any]:
    from pmd.data.graphs.answers import KnownAnswers

    graph = open_graph(folder)
    with Clock() as clock:
        known = KnownAnswers(graph.known_triples(), graph.num_entities, graph.num_relations)
        for target in ("head", "tail"):
            known.lookup(graph.test, target)
    return clock.facts


@step("20 batches of 1,024 triples with 64 negatives")
def negatives(folder: str) -> dict[str, Any]:
    import numpy as np

    from pmd.data.graphs.negatives import SampledNegatives

    graph, rng = open_graph(folder), np.random.default_rng(0)
    with Clock() as clock:
        collate = SampledNegatives(graph.train, graph.num_entities, 64)
        for _ in range(20):
            collate(rng.integers(len(collate), size=1024).tolist())
    return clock.facts


@step(f"rank 100 triples, {WIDTH} wide")
def rank(folder: str) -> dict[str, Any]:
    import torch

    from pmd.evaluation.ranking import ranks
    from pmd.models.vectors import VectorScorer

    graph = open_graph(folder)
    generator = torch.Generator().manual_seed(0)
    entities = torch.nn.functional.normalize(torch.randn(graph.num_entities, WIDTH, generator=generator))
    scorer = VectorScorer(lambda triples, target: entities[triples[:, 0 if target == "tail" else 2]], entities)
    with Clock() as clock:
        ranks(scorer, graph, split="test", max_triples=100)
    return clock.facts


@step("names of the index")
def names(folder: str) -> dict[str, Any]:
    from pmd.use.index_writer import _name_columns

    graph = open_graph(folder)
    with Clock() as clock:
        _name_columns(graph)
    return clock.facts


@step("a misspelt name")
def misspelt(folder: str) -> dict[str, Any]:
    import numpy as np

    from pmd.data.texts.strings import Strings
    from pmd.use.names import Names

    graph = open_graph(folder)
    ids, texts = Strings.of(graph.entity_ids), Strings.of(graph.entity_names)
    order = np.arange(len(ids))
    known = Names("entity", ids, texts, order, order)
    name = max(graph.entity_names[:1000], key=len)
    with Clock() as clock:
        proposal = known._proposal(name[:5] + "q" + name[6:])
    if name not in proposal:
        raise PmdError(f"{name} is not proposed but {proposal}")
    return clock.facts


def main(
    graphs: list[str] | None = None,
    results: str = "growth.json",
    draw: str | None = None,
    only: list[str] | None = None,
    together: bool = False,
) -> None:
    """Measure the steps that the results lack, or draw them.

    Args:
        graphs: folders of graphs.
        results: a JSON file with a line for each step and graph.
        draw: the file of the picture; the table is printed.
        only: names of steps.
        together: run the steps of a graph in one process, which loads it once: for graphs that take a minute to load.
    """
    file = Path(results)
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    if draw is not None:
        _draw(rows, Path(draw))
        print(_table(rows))
        return
    os.environ.setdefault("GROWTH_CACHE", tempfile.mkdtemp())
    for folder in graphs or ():
        done = [row["step"] for row in rows if row["graph"] == Path(folder).name]
        names = [name for name in only or STEPS if name not in done]
        for part in [names] if together and names else ([name] for name in names):
            _measure(folder, part, file)


def _measure(folder: str, names: list[str], file: Path) -> None:
    """Run steps in a new process, and note each when it is done."""
    place = Path(__file__).parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = f"{place}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    code = f"import json, growth\nfor n in {names!r}: print(json.dumps(growth.STEPS[n]({folder!r})), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as steps:
        for name, line in zip(names, steps.stdout):
            row = {"graph": Path(folder).name, "step": name, **json.loads(line)}
            with open(file, "a") as out:
                out.write(json.dumps(row) + "\n")
            print(row, flush=True)
    if steps.returncode:
        raise PmdError(f"{folder}: a step failed, see above")


def _sizes(rows: list[dict]) -> dict[str, int]:
    """Entities of each graph, ascending."""
    return dict(
        sorted(((row["graph"], row["entities"]) for row in rows if "entities" in row), key=lambda size: size[1])
    )


def _table(rows: list[dict]) -> str:
    sizes = _sizes(rows)
    cells = {(row["step"], row["graph"]): f"{row['seconds']:,.1f} s, {row['gb']:.2f} GB" for row in rows}
    body = [[name, *(cells.get((name, graph), "") for graph in sizes)] for name in STEPS]
    return markdown(("step", *(f"{size / 1e6:.1f} M entities" for size in sizes.values())), body)


def _draw(rows: list[dict], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "pmd"
    sizes = _sizes(rows)
    figure, panels = plt.subplots(1, 2, figsize=(11, 5), sharex=True)
    for panel, key, label in zip(panels, ("seconds", "gb"), ("seconds of one core", "peak memory, GB")):
        for number, name in enumerate(STEPS):
            of_step = {row["graph"]: row[key] for row in rows if row["step"] == name}
            points = [(size, max(of_step[graph], 1e-2)) for graph, size in sizes.items() if graph in of_step]
            style = ("-", "--", ":")[number // 10]
            panel.plot(*zip(*points), style, marker="o", markersize=3, linewidth=1, label=name)
        panel.set(xscale="log", yscale="log", xlabel="entities", ylabel=label)
        panel.grid(alpha=0.3)
    panels[1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


if __name__ == "__main__":
    run(lambda: auto_cli(main))

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
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
import growth_table
from timing import Clock

import pmd
from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.core.types import KNOWN_COLUMN, TARGETS
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.negatives import SampledNegatives
from pmd.data.graphs.profile import profile
from pmd.data.graphs.sources import load_graph
from pmd.data.texts.strings import Strings
from pmd.evaluation.ranking import ranks
from pmd.models.vectors import VectorScorer
from pmd.recipes.data import tables
from pmd.use.index_writer import _name_columns
from pmd.use.names import Names
from pmd.use.search import searching

WIDTH = 128
"""Of the vectors that are ranked and searched."""
RANKED = 100
"""Test triples that are ranked."""
STEPS: dict[str, Callable[[str], Callable[[], object]]] = {}
"""By name, what prepares a step, given the folder of a graph, and returns what is measured."""


def step(name: str) -> Callable:
    def add(function: Callable) -> Callable:
        STEPS[name] = function
        return function

    return add


@functools.cache
def open_graph(folder: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_graph(folder)


def with_graph(function: Callable) -> Callable[[str], Callable[[], object]]:
    """The step of calling a function with the graph, which is loaded before."""
    return lambda folder: functools.partial(function, open_graph(folder))


def open_text(graph):
    """The graph's texts in the word pieces of a model from scratch; tokens are kept beside the graph."""
    from pmd.data.texts.graph_text import GraphText, Reading

    return GraphText(graph, tokenizer_of(graph), Reading(), cache=cache_of(graph.name))


def tokenizer_of(graph):
    from transformers import AutoTokenizer

    from pmd.models.text.start import train_wordpiece

    folder = cache_of(graph.name) / "tokenizer"
    if not folder.is_dir():
        train_wordpiece(graph, 6000).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def cache_of(name: str) -> Path:
    return Path(os.environ["GROWTH_CACHE"]) / name


STEPS["load the folder"] = lambda folder: lambda: open_graph(folder)
STEPS["checksum of the graph"] = lambda folder: open_graph(folder).checksum
STEPS["`pmd data info`, without loading"] = with_graph(lambda graph: tables(graph, profile(graph)))
STEPS["vocabulary of 6,000 word pieces"] = with_graph(tokenizer_of)
STEPS["tokenise, names of neighbours too"] = with_graph(open_text)
STEPS["open the texts again"] = with_graph(open_text)


@step("20 batches of 256 triples")
def batches(folder):
    from pmd.data.texts.batches import TripleCollator

    graph = open_graph(folder)
    text, rng = open_text(graph), np.random.default_rng(0)

    def twenty():
        collate = TripleCollator(graph.train, text, 4096)
        for _ in range(20):
            collate(rng.integers(len(collate), size=256).tolist())

    return twenty


@step("encode 5,000 entities (2 layers, 64 wide)")
def encode(folder):
    from transformers import BertConfig

    from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
    from pmd.models.text.scorer import encode_texts

    text = open_text(open_graph(folder))
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
    model = BiEncoder(BiEncoderConfig(encoder=BertConfig(vocab_size=6000, **sizes).to_dict()))
    return lambda: encode_texts(model, "entity", text.entities(np.arange(5000)), text.pad)


@step("known answers of all triples, both ways")
def filters(folder):
    graph = open_graph(folder)

    def both_ways():
        known = KnownAnswers.of(graph)
        for target in TARGETS:
            known.lookup(graph.test, target)

    return both_ways


@step("20 batches of 1,024 triples with 64 negatives")
def negatives(folder):
    graph, rng = open_graph(folder), np.random.default_rng(0)

    def twenty():
        collate = SampledNegatives(graph.train, graph.num_entities, 64)
        for _ in range(20):
            collate(rng.integers(len(collate), size=1024).tolist())

    return twenty


@step(f"rank {RANKED} triples, {WIDTH} wide")
def rank(folder, half: bool = False):
    graph = open_graph(folder)
    shape, rng = (graph.num_entities, WIDTH), np.random.default_rng(0)
    file = tempfile.TemporaryFile(dir=cache_of(""))  # noqa: SIM115
    table = np.memmap(file, np.float16, "w+", shape=shape) if half else np.empty(shape, np.float32)
    for start in range(0, len(table), 2**16):
        rows = rng.standard_normal((len(table[start : start + 2**16]), WIDTH), np.float32)
        table[start : start + 2**16] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    entities = torch.from_numpy(table)
    scorer = VectorScorer(lambda triples, target: entities[triples[:, KNOWN_COLUMN[target]]].float(), entities)
    return lambda: ranks(scorer, graph, max_triples=RANKED)


@step("the same, vectors in a file in fp16")
def rank_half(folder):
    return rank(folder, half=True)


@step("`pmd train`: loading, 20 steps of ComplEx, ranking, saving")
def train(folder):
    sizes = {"model.interaction": "complex", "model.dim": 16, "loss.shared": 32, "train.optimizer": "sparse_adam"}
    steps = {"train.epochs": 1, "train.epoch_steps": 20, "train.valid_every": 0}
    return lambda: pmd.train(_with_few_tests(folder), runs=str(cache_of("runs")), **sizes, **steps)


STEPS["index of that model"] = lambda folder: lambda: pmd.load(_trained(folder)).index


@step("10 questions to it, one by one, opening included")
def questions(folder):
    return lambda: _ask_ten(folder, pmd.load(_trained(folder)))


@step("10 questions more, once it is open")
def more_questions(folder):
    return _ask_again(folder, pmd.load(_trained(folder)))


@step("`pmd push` of it, to a folder")
def push(folder):
    from pmd.recipes.push import PushConfig, publish

    out = Path(tempfile.mkdtemp(dir=cache_of(""))) / "sent"
    return lambda: publish(PushConfig(str(_trained(folder)), "user/model", dry_run=True, out=str(out)))


@step("`pmd progressive`: loading, 20 steps of a text teacher, encoding all, ranking, saving")
def train_text(folder):
    sizes = {"encoder.layers": 2, "encoder.hidden_size": 64, "encoder.heads": 2, "encoder.intermediate_size": 256}
    steps = {"train.epochs": 1, "train.epoch_steps": 20, "train.valid_every": 0, "train.batch_size": 256}
    graph = _with_few_tests(folder)
    stages = [{"name": "teacher", "teacher": "none"}]
    options = {"stages": stages, "data.cache": str(cache_of(graph.name)), "runs": str(cache_of("text"))}
    return lambda: pmd.progressive(graph, **options, **sizes, **steps)


STEPS["index of that text model"] = lambda folder: lambda: pmd.load(_trained(folder, "text")).index


@step("10 questions to it, among all")
def text_questions(folder, search: str = "exact"):
    return lambda: _ask_ten(folder, searching(pmd.load(_trained(folder, "text")), search))


@step("10 questions to it by faiss, building its cells included")
def faiss_questions(folder):
    return text_questions(folder, "faiss")


@step("10 questions more, once it is open, among all")
def more_text_questions(folder, search: str = "exact"):
    return _ask_again(folder, searching(pmd.load(_trained(folder, "text")), search))


@step("10 questions more, once it is open, by faiss")
def more_faiss_questions(folder):
    return more_text_questions(folder, "faiss")


def _ask_ten(folder: str, model, start: int = 0) -> None:
    graph = open_graph(folder)
    for head, relation, _ in graph.test[start : start + 10].tolist():
        model.answer(head=graph.entity_ids[head], relation=graph.relation_ids[relation])


def _ask_again(folder: str, model) -> Callable[[], object]:
    _ask_ten(folder, model)
    return lambda: _ask_ten(folder, model, 10)


def _with_few_tests(folder: str) -> Path:
    """The graph with few test triples, all of which a run ranks."""
    small = cache_of("few_tests") / Path(folder).name
    if not small.is_dir():
        small.mkdir(parents=True)
        for file in Path(folder).glob("*.tsv"):
            (small / file.name).symlink_to(file.resolve())
        few = (small / "test.tsv").read_text().splitlines(keepends=True)[:RANKED]
        (small / "test.tsv").unlink()
        (small / "test.tsv").write_text("".join(few))
    return small


def _trained(folder: str, runs: str = "runs") -> Path:
    return max(cache_of(runs).glob(f"{Path(folder).name}-*"))


STEPS["names of the index"] = with_graph(_name_columns)


@step("a misspelt name")
def misspelt(folder):
    graph = open_graph(folder)
    ids, texts = Strings.of(graph.entity_ids), Strings.of(graph.entity_names)
    order = np.arange(len(ids))
    known = Names("entity", ids, texts, order, order)
    name = max(graph.entity_names[:1000], key=len)

    def propose():
        proposal = known._proposal(name[:5] + "q" + name[6:])
        if name not in proposal:
            raise PmdError(f"{name} is not proposed but {proposal}")

    return propose


def measured(name: str, folder: str) -> dict[str, float]:
    """Seconds and peak memory of a step."""
    call = STEPS[name](folder)
    with Clock() as clock:
        call()
    sizes = {"entities": open_graph(folder).num_entities} if name == "load the folder" else {}
    return {"seconds": round(clock.seconds, 2), "gb": round(clock.peak / 1e9, 2), **sizes}


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
        growth_table.draw(rows, STEPS, Path(draw))
        print(growth_table.table(rows, STEPS))
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
    code = (
        f"import json, growth\nfor n in {names!r}: print('@' + json.dumps(growth.measured(n, {folder!r})), flush=True)"
    )
    rest = iter(names)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as steps:
        for line in (line for line in steps.stdout if line.startswith("@")):  # runs print lines of their own
            row = {"graph": Path(folder).name, "step": next(rest), **json.loads(line[1:])}
            with open(file, "a") as out:
                out.write(json.dumps(row) + "\n")
            print(row, flush=True)
    if steps.returncode:
        raise PmdError(f"{folder}: a step failed, see above")


if __name__ == "__main__":
    run(lambda: auto_cli(main))

"""Questions a second to `pmd serve`, and how long one waits, by clients that each ask one after the other. Run by hand.

    python scripts/bench/serve.py --model RUN --stage grade1 --workers 2
    python scripts/bench/serve.py --data DIR/wn18rr --out DIR/bench --workers 2
    python scripts/bench/serve.py --model RUN --route suggest --questions 100

With `--data` the model is a text student of one layer with random weights, which cost as much as trained ones. The clients are
threads of one other process; they ask for the ten best answers to questions of the graph at random, or for suggestions about
entities at random, and share the cores.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

import numpy as np
from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parent))
from common import machine, note

from pmd.cli.errors import run
from pmd.evaluation.tables import markdown
from pmd.use.load import load
from pmd.use.locate import locate


def random_student(data: str, out: Path) -> str:
    """A folder with such a student of a graph, made if there is none."""
    if not (out / "config.json").is_file():
        import pmd
        from pmd.models.text.folder import TextModel, save
        from pmd.models.text.start import start
        from pmd.settings.text import EncoderConfig

        graph = pmd.load_graph(data)
        save(out, TextModel(*start(EncoderConfig(layers=1), graph, seed=0)), graph)
        pmd.load(out, graph).judge  # noqa: B018
    return str(out)


def random_questions(index, count: int, route: str) -> list[dict[str, str]]:
    """Questions of a route at random, by ids."""
    rng, asked = np.random.default_rng(0), []
    if route == "suggest":
        return [{"entity": index.entities.ids[int(row)]} for row in rng.integers(index.num_entities, size=count)]
    for _ in range(count):
        end, entity = ("head", "tail")[rng.integers(2)], int(rng.integers(index.num_entities))
        relation = int(rng.integers(index.num_relations))
        asked.append({end: index.entities.ids[entity], "relation": index.relations.ids[relation]})
    return asked


def ask_all(port: int, route: str, asked: list[dict[str, str]], clients: int) -> tuple[float, np.ndarray, int]:
    """Seconds for all questions, the milliseconds of each, and how many were not answered, or with another's answer."""
    waits, wrong, todo, lock = [], [], iter(asked), threading.Lock()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            with lock:
                question = next(todo, None)
            if question is None:
                return
            begun = time.perf_counter()
            connection.request("GET", f"/{route}?" + urlencode(question))
            response = connection.getresponse()
            answer = json.loads(response.read())
            waits.append(time.perf_counter() - begun)
            if response.status != 200 or {part: answer[part]["id"] for part in question} != question:
                wrong.append(question)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun, np.array(waits) * 1000, len(wrong) + len(asked) - len(waits)


def measure(
    model: str = "",
    stage: str | None = None,
    data: str = "",
    out: str = "bench",
    workers: int = 1,
    clients: list[int] = [1, 8, 64],  # noqa: B006
    questions: int = 2000,
    route: Literal["answer", "suggest"] = "answer",
) -> None:
    """Start a server, ask it, and print a table."""
    model = model or random_student(data, Path(out))
    index = load(locate(model, stage, None)).index
    command = [sys.executable, "-m", "pmd", "serve", model, "--port=0", f"--workers={workers}"]
    server = subprocess.Popen([*command, *([f"--stage={stage}"] if stage else [])], stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline().split()[0].rpartition(":")[2])
        asked, rows = random_questions(index, questions, route), []
        ask_all(port, route, asked[: questions // 10], 8)
        for number in clients:
            seconds, waits, wrong = ask_all(port, route, asked, number)
            middle, high = np.percentile(waits, [50, 99])
            rows.append((number, f"{questions / seconds:,.0f}", f"{middle:.1f}", f"{high:.1f}", wrong))
    finally:
        server.terminate()
        server.wait()
    note(f"{index.num_entities:,} entities, /{route}, {workers} workers, {questions:,} questions; {machine()}")
    print(markdown(("clients", "questions/s", "median ms", "p99 ms", "lost or mixed up"), rows, ["right"] * 5))


if __name__ == "__main__":
    run(lambda: auto_cli(measure, as_positional=False))

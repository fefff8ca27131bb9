"""Damages files that readers read, at random: each is read rightly, or refused by one line.

    python scripts/bench/fuzz.py [--trials 300] [--readers '[RDF, run]'] [--seed 0]

Readers of graphs in every layout, of RDF, of a run with its index, and of questions. A damage cuts a file, empties or removes it,
changes, inserts, repeats or removes bytes or lines. Of a run one question is asked: an answer other than that of the whole
run is told, too. What is wrong stays in a folder (`--out`), with the seed that made it.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from families import command_of, write_data
from jsonargparse import auto_cli
from layouts import GRAPH_FOLDERS, LAYOUTS, RDF
from tqdm import tqdm

import pmd
from pmd.cli.commands import COMMANDS
from pmd.cli.errors import describe, run
from pmd.core.errors import PmdError
from pmd.evaluation.tables import markdown
from pmd.recipes.answer import lines_of
from pmd.use.questions import read_questions, read_triples

PIECES = (
    b"\t",
    b"\n",
    b"\r",
    b"\0",
    b'"',
    b"\xff",
    b"\xef\xbb\xbf",
    b"-1",
    b"99999999999999999999",
    b"{",
    b"[",
    b"nan",
    b",",
)
"""Bytes that mean something to some reader."""


ASKED = [{"head": "Finland", "relation": "speaks"}, {"tail": "Finlandish", "relation": "speaks"}]
QUESTIONS = "Finland\tspeaks\t?\n?\tspeaks\tFinlandish\n" + "".join(json.dumps(asked) + "\n" for asked in ASKED)
JUDGED = "Finland\tspeaks\tFinlandish\t1\nFinland\tspeaks\tPolandish\t-1\n" + json.dumps(
    {"head": "Finland", "relation": "speaks", "tail": "Finlandish", "label": True}
)


@dataclass(frozen=True)
class Reader:
    """What is read: a folder that `write` makes, by a function that returns what was read.

    `same` says that other content than that of the whole files would be a wrong answer.
    """

    write: Callable[[Path], None]
    read: Callable[[Path], Any]
    same: bool = False


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def graph_reader(name: str) -> Reader:
    return Reader(
        lambda folder: write_files(folder, LAYOUTS[name]),
        lambda folder: pmd.load_graph(folder / GRAPH_FOLDERS.get(name, "")).checksum(),
    )


def rdf_reader(name: str) -> Reader:
    return Reader(
        lambda folder: write_files(folder, {name: RDF[name].encode()}),
        lambda folder: pmd.load_graph(folder / name).checksum(),
    )


class Trained:
    """Runs of families, made once, with their indexes; an embedding model is among them, to ask questions of."""

    def __init__(self, place: Path, families: Sequence[str] = ("text", "embedding")):
        self.place = place
        write_data(place / "data")
        self.runs = {name: self.train(name) for name in families}

    def train(self, family: str) -> Path:
        name, *options = command_of(family, self.place / "data")
        runs = self.place / family.replace(" ", "-")
        COMMANDS[name]([*options, f"--runs={runs}", f"--data.cache={self.place}/cache"])
        (made,) = runs.glob("*")
        self.answer(made)
        return made

    @staticmethod
    def answer(folder: Path) -> list[tuple[str, float]]:
        """The answers to a question, which builds the index if there is none."""
        answers = pmd.load(folder).answer(head="Finland town 1", relation="in", top_k=5)
        return [(answer.id, round(answer.score, 4)) for answer in answers]

    def run_reader(self, family: str) -> Reader:
        return Reader(lambda folder: copied(self.runs[family], folder), self.answer, same=True)

    def question_reader(self, read: Callable[..., Any], text: str) -> Reader:
        model = pmd.load(self.runs["embedding"])

        def read_file(folder: Path) -> Any:
            asked, wrong = read(model, *lines_of(str(folder / "asked")))
            if wrong:
                raise PmdError(wrong)
            return len(asked)

        return Reader(lambda folder: write_files(folder, {"asked": text.encode()}), read_file)


def copied(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)


def damage(folder: Path, drawn: random.Random) -> str:
    """Damage a file of a folder, or several; says how."""
    done = []
    for _ in range(drawn.choice((1, 1, 1, 2, 4))):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            break
        file, kind = drawn.choice(files), drawn.choice(DAMAGES)
        done.append(f"{file.relative_to(folder)}: {kind.__name__.strip('_')}")
        data = kind(file.read_bytes(), drawn)
        file.unlink() if data is None else file.write_bytes(data)
    return ", ".join(done)


def cut(data: bytes, drawn: random.Random) -> bytes:
    return data[: drawn.randrange(len(data) + 1)]


def removed(data: bytes, drawn: random.Random) -> None:
    return None


def emptied(data: bytes, drawn: random.Random) -> bytes:
    return b""


def changed(data: bytes, drawn: random.Random) -> bytes:
    at = drawn.randrange(len(data) + 1)
    return data[:at] + drawn.choice((drawn.randbytes(1), drawn.choice(PIECES))) + data[at + 1 :]


def inserted(data: bytes, drawn: random.Random) -> bytes:
    at = drawn.randrange(len(data) + 1)
    return data[:at] + drawn.choice((drawn.randbytes(drawn.randrange(1, 9)), drawn.choice(PIECES))) + data[at:]


def shortened(data: bytes, drawn: random.Random) -> bytes:
    at = drawn.randrange(len(data) + 1)
    return data[:at] + data[at + drawn.randrange(1, 40) :]


def line_repeated(data: bytes, drawn: random.Random) -> bytes:
    parts = data.splitlines(keepends=True) or [b""]
    parts.insert(drawn.randrange(len(parts) + 1), drawn.choice(parts))
    return b"".join(parts)


def line_removed(data: bytes, drawn: random.Random) -> bytes:
    parts = data.splitlines(keepends=True)
    return b"".join(part for i, part in enumerate(parts) if i != drawn.randrange(len(parts) or 1))


def columns_swapped(data: bytes, drawn: random.Random) -> bytes:
    parts = data.splitlines(keepends=True) or [b""]
    at = drawn.randrange(len(parts))
    parts[at] = b"\t".join(drawn.sample(columns := parts[at].split(b"\t"), len(columns)))
    return b"".join(parts)


DAMAGES = (cut, removed, emptied, changed, inserted, shortened, line_repeated, line_removed, columns_swapped)


def tried(reader: Reader, folder: Path, expected: Any, drawn: random.Random) -> tuple[str, str]:
    """Write, damage and read: what came of it, and how, in words."""
    reader.write(folder)
    how = damage(folder, drawn)
    try:
        content = reader.read(folder)
    except Exception as error:
        message, status = describe(error)
        if status == 2:
            return ("refused" if len(message.splitlines()) == 1 else "several lines"), f"{how}\n{message}"
        return "crash", f"{how}\n{traceback.format_exc()}"
    if content == expected:
        return "as before", how
    return ("another answer" if reader.same else "read"), f"{how}\n{content}"


OUTCOMES = ("as before", "read", "refused", "another answer", "several lines", "crash")
WRONG = OUTCOMES[3:]


def fuzz(trials: int = 300, readers: list[str] | None = None, seed: int = 0, out: Path | None = None) -> None:
    """Print a table of what came of damaged files, by reader.

    Args:
        trials: of each reader.
        readers: their names; by default all.
        seed: of the damages.
        out: a new folder where what is wrong stays; by default a temporary one.
    """
    place = (out or Path(tempfile.mkdtemp(prefix="fuzz-"))).resolve()
    known = {name: graph_reader(name) for name in LAYOUTS} | {f"RDF, {name}": rdf_reader(name) for name in RDF}
    if readers is None or any(name not in known for name in readers):
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trained = Trained(place / "trained")
        known |= {f"run, {family}": trained.run_reader(family) for family in trained.runs}
        known["questions"] = trained.question_reader(read_questions, QUESTIONS)
        known["triples to judge"] = trained.question_reader(read_triples, JUDGED)
    rows = []
    for name in known if readers is None else readers:
        counts = outcomes(name, known[name], place / name.replace(" ", "-"), trials, seed)
        rows.append((name, trials, *(counts[outcome] for outcome in OUTCOMES)))
    print(markdown(("reader", "damages", *OUTCOMES), rows))
    if sum(sum(row[-len(WRONG) :]) for row in rows):
        print(f"what is wrong is in {place}", file=sys.stderr)


def outcomes(name: str, reader: Reader, place: Path, trials: int, seed: int) -> Counter[str]:
    """How often each outcome came; what is wrong stays in the place."""
    reader.write(place / "whole")
    counts: Counter[str] = Counter()
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reader.read(place / "whole")
        for trial in tqdm(range(trials), name, disable=None):
            folder = place / str(trial)
            folder.mkdir(parents=True)
            with redirect_stderr(io.StringIO()):
                outcome, how = tried(reader, folder, expected, random.Random(f"{seed} {name} {trial}"))
            counts[outcome] += 1
            if outcome in WRONG:
                (place / f"{trial}.txt").write_text(f"{outcome}: {how}\n")
            else:
                shutil.rmtree(folder)
    return counts


if __name__ == "__main__":
    run(lambda: auto_cli(fuzz))

"""The commands of the pages that test_shell leaves out, each page in its order, with less of all that takes time: in no gate."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pmd.api.state import undisturbed
from pmd.cli.main import dispatch

from ..contracts.test_shell_lines import COMMAND, MEASUREMENT, ROOT, arguments, commands

PAGES = (
    "tuning",
    "teachers",
    "bert",
    "cluster",
    "scale",
    "benchmarks",
    "papers",
    "results",
    "results/glue",
    "results/med",
)
PAGES += ("results/pmd", "results/embeddings")
INLINE = ("benchmarks", "results/med", "results/pmd", "results/embeddings")
"""Pages whose commands stand in sentences, too."""
ELSEWHERE = {
    'pmd launch 4 progressive --config pmd/wn18rr --data.path "$HOME': "a SLURM job: test_cluster, with stand-ins for its programs",
    "pmd train --config kge/wn18rr_rotate --data.path wn18rr --name wn18rr": "of two machines: test_cluster, both on this one",
    "pmd progressive --help": "tests/cli/test_command.py",
    "pmd export --to onnx-int8": "a name; tests/recipes/test_export.py",
    "scripts/bench/busy.py": "whole jobs, for what other work on a machine costs them: an hour",
}
"""Commands that are parsed alone, and why, or where they are run."""
ENCODER = {"name": "scratch", "layers": 2, "hidden_size": 16, "heads": 2, "intermediate_size": 32, "vocab_size": 300}
TRAIN = "--train.epochs=1 --train.threads=1"
TEXT = " ".join(f"--encoder.{key}={value}" for key, value in {**ENCODER, "max_length": 16}.items()) + f" {TRAIN}"
DISTIL = f"{TEXT} --distill.epochs=1"
GRADES = f"{DISTIL} --distill.depths=[1] --distill.mask_rates=[0.1] --structure=null"
WORLD = "--data.path=my_graph"
COMPARED = f"{DISTIL} --train.log_every=1000".replace("--", "--options+=--")
WN18RR = "--data DIR/wn18rr"
LESS = {
    "pmd tune --config kge": f"{TRAIN} --trials 2 --model.dim 8",
    "pmd tune --config pmd": f"{TEXT} --trials 2",
    "pmd train --config runs/tune": "",
    "pmd report": "",
    "pmd crop": "",
    "pmd progressive --config pmd/world --distill.depths": f"{DISTIL} {WORLD}",
    "pmd progressive --config": f"{GRADES} {WORLD}",
    "pmd progressive": GRADES,
    "pmd progressive --data.path my_graph --config pmd/qwen3_teacher": f"{GRADES} --stages=null --evaluation.rerank_hops=0",
    "pmd launch 4": f"{GRADES} --stages=null",
    "pmd launch 2": f"{TRAIN} --model.dim 8",
    "pmd launch --max_restarts": GRADES,
    "pmd results": "",
    "pmd evaluate": "",
    "scripts/glue.py --task": "--data.path glue --model.name bert --model.widths [8,16,32] --model.max_length 32 --train.threads 1",
    "scripts/glue.py --config": "--train.threads 1",
    "scripts/glue_table.py": "--seeds [0] --tasks [rte]",
    "scripts/compare.py --base": f"{COMPARED} --options+={WORLD} --options+=--distill.depths=[1] --options+=--distill.mask_rates=[0.1]",
    "scripts/compare.py --config configs/pmd/world": f"{COMPARED} --options+={WORLD} --options+=--encoder.layers=4 --seeds [0]",
    "scripts/compare.py --config configs/pmd/wn18rr_inductive_fewer": f"{TRAIN} --encoder.name=bert6 --encoder.max_length=16".replace(
        "--", "--options+=--"
    ),
    "scripts/compare.py": f"{COMPARED} --options+=--encoder.layers=6",
    "scripts/train.py --data.path my_graph --model.encoder nodepiece": f"{TRAIN} --model.dim 16 --model.nodepiece.anchors 50",
    "scripts/train.py": f"{TRAIN} --model.dim 16",
    "scripts/med.py": "--seeds [0] --base.train.epochs 1",
    "scripts/cost.py": "--dims [8,4] --max_triples 20 --repetitions 1",
    "scripts/bench/kills.py": "--families [GLUE] --random 1 --aimed 1",
    "scripts/bench/fuzz.py": "--trials 3",
    "scripts/bench/big_graph.py": "--entities 12000",
    "scripts/bench/growth.py": "",
    "scripts/bench/search.py": "--entities 3000 --questions 5",
    "scripts/bench/distil_step.py": f"{WN18RR} --examples 16 --rounds 1",
    "scripts/bench/encode.py": f"{WN18RR} --entities 64",
    "scripts/bench/kge_quality.py": "--dim 8 --epochs 1 --seeds [0] --lrs [0.1] --threads 1",
    "scripts/bench/ranking.py": f"{WN18RR} --dim 16 --repetitions 1",
    "scripts/bench/start.py": "--rounds 1 --changes '{train.epochs: 1, distill.epochs: 1, encoder.hidden_size: 16}'",
    "scripts/bench/ask_once.py": "--layers 2 --batch_size 16 --rounds 1 --sample 32 --epochs 1",
    "scripts/bench/fewer_operations.py": "--batch_size 16 --rounds 1",
    "scripts/bench/kge_training.py": f"{WN18RR} --dim 8 --batch 32 --negatives 4 --shared [4] --pykeen_steps 1 --steps 2 --repetitions 1",
    "scripts/bench/kge_ranking.py": f"{WN18RR} --dim 8 --triples 20 --repetitions 1",
    "scripts/bench/med.py": f"{WN18RR} --dim 16 --count 4 --batch 32 --negatives 4 --triples 16 --repetitions 1",
    "scripts/bench/bert_med.py": "--batch 4 --repetitions 1",
    "scripts/bench/students.py": "--layers [2,1] --hidden 48 --vocab_size 300 --texts 32 --alone 2 --rounds 1",
}
"""By how a command begins, what is put after it."""
BEFORE = {
    "results": [
        "scripts/compare.py --base configs/pmd/world.yaml --out runs/compare --seeds [0]",
        "scripts/compare.py --base configs/pmd/world.yaml --out runs/compare_seed1 --seeds [1]",
    ]
}
"""What a page takes for granted."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.filterwarnings("ignore:graph '")]


def on_page(name: str) -> list[str]:
    page = ROOT / "docs" / f"{name}.md"
    return commands(page, inline=name in INLINE, pattern=f"{COMMAND}|{MEASUREMENT}")


def of_beginning(line: str, listed: dict[str, str]) -> str | None:
    """What is listed for the longest beginning of a command."""
    return listed.get(max((begin for begin in listed if line.startswith(begin)), key=len, default=""))


def made(word: str) -> str:
    """A place whose name ends in a time, as … on the page: the newest of that name, if none is called so."""
    found = [] if "…" not in word or Path(word).exists() else sorted(Path().glob(word.replace("…", "*")))
    return str(found[-1]) if found else word


def run(line: str, less: str) -> None:
    """A command with what is put after it; several processes, and measurements, in a process of their own."""
    print("==", line, less)
    if line.startswith(("pmd launch", "scripts/bench/")):
        words = shlex.split(line, comments=True)
        command = ["-m", *words] if words[0] == "pmd" else words
        done = subprocess.run([sys.executable, *command, *shlex.split(less)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    else:
        with undisturbed():  # a later command may compute in another precision
            dispatch([*map(made, arguments(line)), *shlex.split(less)])


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_run(name, whole_desk):
    for line in [*BEFORE.get(name, ()), *on_page(name)]:
        if of_beginning(line, ELSEWHERE) is None:
            run(line.replace("/tmp/", ""), of_beginning(line, LESS))


SERVE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
SERVERS = [line for line in commands(ROOT / "docs" / "serve.md", inline=False) if line.startswith("pmd serve")]
QUESTIONS = [line for line in SERVE.splitlines() if line.startswith("curl ")]


@contextmanager
def started(line: str) -> Iterator[str]:
    """The address of a server that runs meanwhile, at a free port."""
    command = [sys.executable, "-m", "pmd", *arguments(line), "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().split()[0].rpartition(':')[2].rstrip('/')}"
        finally:
            server.terminate()


async def names_of_tools(client) -> set[str]:
    async with client as asked:
        return {tool.name for tool in (await asked.list_tools()).tools}


@pytest.mark.parametrize("line", SERVERS)
def test_a_server_answers_the_questions_of_its_page(line, whole_desk):
    anyio, mcp = pytest.importorskip("anyio"), pytest.importorskip("mcp")
    from mcp.client.stdio import stdio_client

    words = arguments(line)
    if words[-1] == "--mcp":
        server = mcp.StdioServerParameters(command=sys.executable, args=["-m", "pmd", *words])
        assert "answer" in anyio.run(names_of_tools, mcp.Client(stdio_client(server)))
        return
    with started(line) as address:
        if "--mcp" in words:
            assert "answer" in anyio.run(names_of_tools, mcp.Client(f"{address}/mcp"))
            return
        assert len(QUESTIONS) == 2 and shutil.which("curl")
        for question in QUESTIONS:
            asked = shlex.split(question.replace("http://127.0.0.1:8000", address))
            answer = json.loads(subprocess.run([*asked, "-s"], capture_output=True, check=True).stdout)
            assert "German" in str(answer)


def test_the_measurements_of_servers_run(whole_desk):
    for line in commands(ROOT / "docs" / "serve.md", pattern=MEASUREMENT):
        if "--route" not in line:  # named without its model
            run(line, "--questions 20")

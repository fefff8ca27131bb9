"""Whole runs of every family, by one process or several: the same command lines, written to a folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate.state import AcceleratorState

from pmd.cli.main import dispatch
from pmd.core.distributed import rank

KGE = ["train", "--model.dim=8", "--train.batch_size=15", "--train.lr=0.01", "--train.epochs=2"]
KGE += ["--train.valid_every=1"]
SAMPLED = [
    "--model.interaction=transe",
    "--loss.name=logistic",
    "--loss.negatives=4",
    "--loss.shared=3",
    "--loss.filtered=true",
]
ALL = ["--model.interaction=complex", "--loss.n3=0.01"]
MORE = {"sampled": SAMPLED} | {name: [*ALL, f"--loss.name={name}"] for name in ("one_vs_all", "k_vs_all")}
STAGES = {
    "sampled": {
        "sampled": {"dim": 8},
        "med": {"dim": 8, "method": "med", "widths": [2, 4, 8], "med": {"recipe": "med"}},
        "student": {"dim": 4, "method": "dualde", "teacher": "sampled"},
        "released": {"dim": 4, "method": "dualde", "teacher": "sampled", "start": "student", "release": True},
    },
    "one_vs_all": {"complex": {"dim": 8}},
    "k_vs_all": {"complex": {"dim": 8}},
}
"""Of the runs of embeddings, by name."""
TEXT = ["progressive", "--encoder.layers=2", "--encoder.hidden_size=16", "--encoder.heads=2"]
TEXT += ["--encoder.intermediate_size=32", "--encoder.vocab_size=300", "--encoder.max_length=24", "--train.epochs=2"]
TEXT += ["--distill.epochs=2", "--train.batch_size=15", "--train.lr=1e-3", "--encoder.dropout=0"]
TEXT += ["--encoder.attention_dropout=0", "--contrastive.pre_batches=1", "--train.tokens_per_chunk=128"]
"""Masked features among them."""
STRUCTURE = """
model: {interaction: complex, dim: 4}
loss: {name: one_vs_all}
train: {epochs: 2, lr: 0.01, batch_size: 16}
"""
"""Settings of the embedding model that the last text model is fused with."""
HALF = [
    "--train.precision=bf16",
    "--structure=null",
    "--name=bf16",
    '--stages=[{"name": "teacher"}, {"name": "grade1", "layers": 1}]',
]
CHANGED = ["--evaluation.types=soft", "--evaluation.rerank_hops=1", "--evaluation.batch_size=3"]
"""What changes scores before they are ranked."""
SHARED = ["--train.threads=1", "--train.log_every=1", "--evaluation.batch_size=5"]


@contextmanager
def other_precision() -> Iterator[None]:
    """`accelerate` keeps the precision of the first training of a process, which this takes back; the group of processes stays."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def write(data: str, out: str) -> None:
    """Train embeddings and text models on a folder of data, and evaluate the last ones again."""
    options = [*SHARED, f"--data.path={data}", f"--runs={out}"]
    for name, more in MORE.items():
        stages = json.dumps([{"name": stage, **settings} for stage, settings in STAGES[name].items()])
        dispatch([*KGE, *more, *options, f"--name={name}", f"--stages={stages}"])
    structure = Path(f"{out}-{rank()}.yaml")
    structure.write_text(STRUCTURE)
    dispatch([*TEXT, *options, f"--structure={structure}", "--name=text", f"--data.cache={out}/cache-{rank()}"])
    with other_precision():
        dispatch([*TEXT, *options, *HALF, f"--data.cache={out}/cache-{rank()}"])
    folders = [next(Path(out).glob(f"{run}-*")) / stage for run, stage in (("sampled", "med"), ("text", "fused"))]
    dispatch(["evaluate", *map(str, folders), "--threads=1", "--keep_ranks=true", "--evaluation.split=valid"])
    dispatch(["evaluate", str(folders[1].parent / "grade1"), "--threads=1", "--keep_ranks=true", *CHANGED])

"""Makes the folders in `runs` that the test beside it reads: the data, finished runs, and runs stopped in mid-stage.

README.md has the command. It needs the code of then, whose `pmd.recipes.main` it calls. Everything is named relative
to the folder that is made, so that a copy of it works anywhere.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizerFast,
)

import pmd
from pmd.core.run import Run

WORDS = ["river", "town", "hub", "near", "point", "old", "north", "sea", "three", "gate"]
TRAIN = {"train.threads": 1, "train.log_every": 1, "train.batch_size": 16}
EMBEDDING = {"data.path": "towns", "model.dim": 8, "loss.negatives": 4, "train.epochs": 6, "train.lr": 0.05}
EMBEDDING |= {"train.valid_every": 2, "evaluation.split": "[valid,test]", **TRAIN}
TEXT = {"data.path": "towns", "encoder.layers": 2, "encoder.hidden_size": 16, "encoder.heads": 2}
TEXT |= {"encoder.intermediate_size": 16, "encoder.vocab_size": 120, "encoder.max_length": 16, "train.epochs": 3}
TEXT |= {"train.lr": 0.003, "train.valid_every": 1, "evaluation.split": "[valid,test]", **TRAIN}
GLUE = {"task": "rte", "data.path": "RTE", "model.name": "bert", "model.widths": "[8,16]", "model.max_length": 16}
GLUE |= {"train.epochs": 6, "train.lr": 0.01, "evaluation.speed_rounds": 0, **TRAIN, "train.batch_size": 4}
MED_STAGES = [
    {"name": "own", "widths": [2, 4, 8], "med": {"recipe": "med", "power": 0.5}},
    {"name": "shared", "widths": [2, 4, 8]},
]
GRADES = [{"name": "teacher"}, {"name": "grade1", "layers": 1, "mask_rate": 0.2}]
RUNS = {
    "text": ("progressive", {**TEXT, "stages": json.dumps(GRADES), "contrastive.pre_batches": 1}),
    "text_widths": ("progressive", {**TEXT, "encoder.widths": "[8,16]", "stages": json.dumps(GRADES[:1])}),
    "dual": ("train", {**EMBEDDING, "dual.students": "[4]", "loss.name": "logistic", "loss.adversarial": 1}),
    "widths": ("train", {**EMBEDDING, "model.widths": "[2,4,8]", "med.draw": 2}),
    "med": (
        "train",
        {**EMBEDDING, "loss.name": "logistic", "med.recipe": "med", "stages": json.dumps(MED_STAGES)},
    ),
    "glue": ("glue", GLUE),
}
CUT = {
    "text": ("grade1", 6),
    "dual": ("taught-4", 7),
    "widths": ("rotate", 16),
    "med": ("own", 16),
    "glue": ("med", 41),
}
"""The stage and the step at which a run is stopped: in the middle of an epoch, once a best state is stored."""


def write_graph(folder: Path) -> None:
    """Thirty towns, their countries and languages; what is held out follows from the rest."""
    folder.mkdir()
    countries = [f"{name}land" for name in ("Fin", "Ice", "Green", "Swazi", "Thai", "Po")]
    towns = [f"{country} town {i}" for country in countries for i in range(5)]
    names = [*countries, *towns, *(f"{country}ish" for country in countries)]
    ids = {name: f"e{i:02}" for i, name in enumerate(names)}
    triples = [(country, "r_speaks", f"{country}ish") for country in countries]
    triples += [(town, "r_in", town.split()[0]) for town in towns]
    spoken = [(town, "r_speaks", f"{town.split()[0]}ish") for town in towns]
    parts = {"train": triples + spoken[0::2], "valid": spoken[1::4], "test": spoken[3::4]}
    for name, part in parts.items():
        (folder / f"{name}.tsv").write_text("".join(f"{ids[h]}\t{r}\t{ids[t]}\n" for h, r, t in part))
    rows = (f"{ids[name]}\t{name}\ta place or a tongue, number {i}\n" for i, name in enumerate(names))
    (folder / "entities.tsv").write_text("".join(rows))
    (folder / "relations.tsv").write_text("r_in\tlies in\nr_speaks\tspeaks\n")


def write_task(folder: Path) -> None:
    """Pairs of sentences that agree if the first begins with one of five words."""
    folder.mkdir()
    for split, count, first in (("train", 48, 0), ("validation", 16, 5)):
        rows = []
        for i in range(count):
            turn = 3 * i + first
            rest = WORDS[turn % 7 : turn % 7 + 1 + turn % 3]
            texts = {"sentence1": " ".join([WORDS[turn % 10], *rest]), "sentence2": " ".join(reversed(rest))}
            rows.append(json.dumps({**texts, "label": int(turn % 10 < 5), "idx": i}) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(rows))


def write_bert(folder: Path) -> None:
    """A BERT of two layers that knows ten words."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    BertModel(BertConfig(**sizes, vocab_size=15, max_position_embeddings=16, initializer_range=0.3)).save_pretrained(
        folder
    )
    BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(folder)


def command_line(arguments: list[str]) -> None:
    from pmd.recipes.main import dispatch  # where it was then

    dispatch(arguments)


def train(name: str, arguments: list[str]) -> Path:
    """A run, in a folder without its date."""
    command_line([*arguments, f"--name={name}", "--runs=."])
    return without_date(name)


def without_date(name: str) -> Path:
    (run,) = Path().glob(f"{name}-2*")
    return run.rename(name)


def train_until(stage: str, step: int, name: str, arguments: list[str]) -> Path:
    """A run that gets the signal of Ctrl-C as it writes the line of that step."""
    plain = Run.log

    def log(self, **values) -> None:
        plain(self, **values)
        if (values["stage"], values["step"]) == (stage, step) and "loss" in values:
            os.kill(os.getpid(), signal.SIGINT)

    Run.log = log
    try:
        command_line([*arguments, f"--name={name}", "--runs=."])
    except KeyboardInterrupt:
        return without_date(name)
    finally:
        Run.log = plain
    raise RuntimeError(f"{name} was not stopped at step {step} of {stage}")


def same(one: Path, two: Path) -> bool:
    """Whether two runs have the same weights, to the bit, and the same metrics."""
    for file in one.glob("*/model.safetensors"):
        left, right = load_file(file), load_file(two / file.relative_to(one))
        if left.keys() != right.keys() or not all(torch.equal(left[key], right[key]) for key in left):
            return False
    results = [json.loads((run / "results.json").read_text()) for run in (one, two)]
    return metrics_of(results[0]) == metrics_of(results[1])


def metrics_of(results: dict) -> dict:
    """What does not depend on the machine's speed."""
    keys = ("metrics", "widths", "best_epoch", "valid", "valid_mrr", "parameters")
    return {name: {key: result[key] for key in keys if key in result} for name, result in results.items()}


def answers_of(name: str) -> dict[str, list]:
    """The best five answers of every stage to one question, with their scores."""
    found = {}
    for stage in json.loads(Path(name, "results.json").read_text()):
        answers = pmd.load(f"{name}/{stage}").answer(head="Finland town 1", relation="speaks", top_k=5)
        found[stage] = [[answer.id, round(answer.score, 6)] for answer in answers]
    return found


def logits_of(name: str) -> dict[str, list]:
    """The first four validation pairs, by every stage."""
    rows = [json.loads(line) for line in Path("RTE/validation.jsonl").read_text().splitlines()[:4]]
    texts = [[row[column] for row in rows] for column in ("sentence1", "sentence2")]
    found = {}
    for stage in json.loads(Path(name, "results.json").read_text()):
        batch = AutoTokenizer.from_pretrained(f"{name}/{stage}")(*texts, padding=True, return_tensors="pt")
        model = AutoModelForSequenceClassification.from_pretrained(f"{name}/{stage}").eval()
        with torch.no_grad():
            found[stage] = [[round(value, 6) for value in row] for row in model(**batch).logits.tolist()]
    return found


def main(out: str) -> None:
    Path(out).mkdir(parents=True)
    os.chdir(out)
    write_graph(Path("towns"))
    write_task(Path("RTE"))
    write_bert(Path("bert"))
    Path("empty.yaml").write_text("{}\n")
    expected = {}
    for name, (command, options) in RUNS.items():
        arguments = [command, "--config=empty.yaml", *(f"--{key}={value}" for key, value in options.items())]
        whole = train(name, arguments)
        if name in CUT:
            cut = train_until(*CUT[name], f"{name}_cut", arguments)
            shutil.copytree(cut, "again")
            command_line([command, "--resume=again"])
            assert same(whole, Path("again")), name
            shutil.rmtree("again")
        expected[name] = (logits_of if command == "glue" else answers_of)(name)
    Path("expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    shutil.rmtree("cache")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`pmd push` end to end: runs of every kind, to a small Hub and back, with the same answers and weights."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import pmd
from pmd.cli.commands import COMMANDS
from pmd.cli.errors import run as run_command
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.hub.facts import Graph
from pmd.recipes.push import dataset_of, hub_id
from pmd.use import index_writer

from ..hub.conftest import hub  # noqa: F401
from ..tiny_glue import WIDTHS, write_bert, write_task
from .test_text import TINY

glue_command = COMMANDS["glue"]
progressive_command = COMMANDS["progressive"]
train_command = COMMANDS["train"]

ANSWERS = [{"head": "Finland town 1", "relation": "lies in"}, {"tail": "Icelandish", "relation": "r_speaks"}]
KGE = ["--model.dim=8", "--train.epochs=4", "--train.batch_size=16", "--train.lr=0.05", "--train.valid_every=2"]
KGE += ["--loss.negatives=4", "--train.threads=1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PMD_CACHE", str(runs / "cache"))
        yield runs


@pytest.fixture(scope="module")
def grades(folder, runs):
    """A teacher and two grades, all of three widths."""
    options = ["--encoder.widths=[4,8,16]", "--distill.depths=[2,1]", "--distill.mask_rates=[0.2,0]"]
    options += ["--train.epochs=1", "--distill.epochs=1"]
    progressive_command([*TINY, *options, f"--data.path={folder}", f"--runs={runs}", "--name=grades"])
    return next(runs.glob("grades-*"))


def embeddings(folder, runs, name, *options):
    train_command([*KGE, f"--data.path={folder}", f"--runs={runs}", f"--name={name}", *options])
    return next(runs.glob(f"{name}-*"))


@pytest.fixture(scope="module")
def croppable(folder, runs):
    return embeddings(folder, runs, "croppable", "--model.widths=[2,4,8]", "--evaluation.split=[valid,test]")


@pytest.fixture(scope="module")
def students(folder, runs):
    return embeddings(folder, runs, "students", "--model.interaction=transe", "--dual.students=[4]")


def results_of(run, stage):
    return json.loads((run / "results.json").read_text())[stage]


def answers_of(model):
    return [model.answer(**question, top_k=8).to_dict() for question in ANSWERS]


def digest(model):
    state = model.state_dict()
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


def written(run, out, *options):
    """What --dry-run writes."""
    dispatch(["push", str(run), "user/name", "--dry-run", f"--out={out}", *options])
    return out


def entries(folder):
    """The model-index of a folder's card."""
    found = ModelCard.load(folder / "README.md").data.eval_results
    return {
        (of.dataset_split, of.metric_type, *sorted((of.metric_args or {}).items())): of.metric_value for of in found
    }


def expected_entries(metrics, widths, dim):
    """The same from results.json: by split."""
    found = {}
    for split, of in metrics.items():
        found |= {(split, key): of[key] for key in ("mrr", "mr", "hits_at_1", "hits_at_3", "hits_at_10")}
        found |= {(split, "mrr", ("target", side)): of[side]["mrr"] for side in ("head", "tail")}
        for width, cell in widths.get(split, {}).items():
            if int(width) < dim:
                found |= {(split, key, ("width", int(width))): cell[key] for key in ("mrr", "hits_at_10")}
    return found


LOADING = """
import hashlib, json, sys
import pmd
from tests_of_push import ANSWERS, answers_of, digest
print(json.dumps({
    "text": answers_of(pmd.load("user/text")),
    "embedding": answers_of(pmd.load("user/embedding")),
    "encoder": digest(pmd.BiEncoder.from_pretrained("user/text")),
    "table": digest(pmd.KgeModel.from_pretrained("user/embedding")),
    "widths": [pmd.load("user/text").widths, pmd.load("user/embedding").widths],
}))
"""


def elsewhere(hub, place):  # noqa: F811
    """What another machine sees: a process of its own, with an empty cache and the small Hub as the Hub."""
    source = Path(__file__).read_text()
    parts = [source[source.index(f"def {name}(") :].split("\n\n\n")[0] for name in ("answers_of", "digest")]
    (place / "tests_of_push.py").write_text("\n\n".join(["import hashlib", f"ANSWERS = {ANSWERS!r}", *parts]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(place / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_TOKEN": "hf_right", "HF_HUB_DISABLE_TELEMETRY": "1"}
    root = str(Path(pmd.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join([root, str(place)])
    result = subprocess.run(
        [sys.executable, "-c", LOADING], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_from_the_hub_come_the_same_answers_and_weights(grades, croppable, hub, tmp_path, capsys):  # noqa: F811
    dispatch(["push", str(grades), "user/text", "--grade=2", "--private", "--license=mit"])
    dispatch(["push", str(croppable), "user/embedding"])
    said = capsys.readouterr()
    assert f"{hub.url}/user/text, commit " in said.out and f"{hub.url}/user/embedding, commit " in said.out
    assert said.err.count("the card names no licence; --license apache-2.0 adds one") == 1
    assert hub.repos["user/text"].private and not hub.repos["user/embedding"].private
    assert hub.repos["user/text"].messages[-1] == f"{grades.name}, grade2, by pmd push"
    text, table = grades / "grade2", croppable / "rotate"
    found = elsewhere(hub, tmp_path)
    for kind, stage in (("text", text), ("embedding", table)):
        for answered, expected in zip(found[kind], answers_of(pmd.load(stage)), strict=True):
            for one, other in zip(answered.pop("answers"), expected.pop("answers"), strict=True):
                assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-6)
                assert one == other
            assert answered == expected
    assert found["encoder"] == digest(pmd.BiEncoder.from_pretrained(text))
    assert found["table"] == digest(pmd.KgeModel.from_pretrained(table))
    assert found["widths"] == [[4, 8, 16], [2, 4, 8]]


def test_a_written_folder_answers_without_the_run(grades, folder, tmp_path, capsys):
    out = written(grades, tmp_path / "out", "--stage=grade1")
    listed = capsys.readouterr().out
    files = {path.relative_to(out).as_posix(): path.stat().st_size for path in out.rglob("*") if path.is_file()}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "entities.tsv"} <= files.keys()
    assert {"relations.tsv", "index/index.json", "index/columns.safetensors", "index/vectors.npy"} <= files.keys()
    for name, size in files.items():
        assert any(name in line and f" {size:,} |" in line for line in listed.splitlines())
    assert listed.strip().endswith("what user/name would get; nothing was sent")
    assert answers_of(pmd.load(out)) == answers_of(pmd.load(grades / "grade1"))
    moved = out.rename(tmp_path / "moved")
    assert answers_of(pmd.load(moved)) == answers_of(pmd.load(grades / "grade1"))
    assert json.loads((moved / "index" / "index.json").read_text())["graph_files"] == {}
    capsys.readouterr()
    assert answers_of(pmd.load(moved, str(folder))) == answers_of(pmd.load(grades / "grade1"))
    assert "building it anew" not in capsys.readouterr().err


def test_the_card_of_a_grade_has_the_runs_numbers(grades, tmp_path):
    out, result = written(grades, tmp_path / "out", "--grade=1"), results_of(grades, "grade1")
    assert entries(out) == expected_entries(result["metrics"], result["widths"], 16)
    card = (out / "README.md").read_text()
    assert f"{result['parameters']:,} parameters" in card and f"{result['entities_per_second']:,.0f} entities" in card
    assert "taught by the stage `grade2`" in card and "48 entities, 2 relations" in card
    table = (grades / "table.md").read_text()
    assert next(line for line in table.splitlines() if line.startswith("| grade2 ")) in card
    assert str(grades.parent) not in card and str(tmp_path) not in card
    question = re.search(r'head="(.*?)", relation="(.*?)", top_k=3, all=True', card)
    shown = re.findall(r"^# (\d) (.*) (-?\d\.\d{3})$", card, flags=re.MULTILINE)
    answers = pmd.load(grades / "grade1").answer(head=question[1], relation=question[2], top_k=3, all=True)
    assert shown == [(str(answer.rank), answer.name, f"{answer.score:.3f}") for answer in answers]


@pytest.mark.parametrize("width", [8, 5])
def test_a_narrower_text_model(width, grades, tmp_path):
    out, result = written(grades, tmp_path / "out", f"--width={width}"), results_of(grades, "grade1")
    model, whole = pmd.load(out), pmd.load(grades / "grade1").crop(width)
    assert model.dim == width and (out / "index" / "vectors.npy").stat().st_size == 128 + 48 * width * 4
    for answered, expected in zip(answers_of(model), answers_of(whole)):
        assert [of["id"] for of in answered["answers"]] == [of["id"] for of in expected["answers"]]
        for one, other in zip(answered["answers"], expected["answers"]):
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    found = entries(out)
    if width == 8:
        widths = result["widths"]
        metrics = {split: cells["8"] for split, cells in widths.items()}
        assert found == expected_entries(metrics, widths, 8)
    else:
        narrower = {("test", key, ("width", 4)): result["widths"]["test"]["4"][key] for key in ("mrr", "hits_at_10")}
        assert found == narrower and "Width 5 was not measured" in (out / "README.md").read_text()


def test_the_whole_width_is_no_crop(croppable, tmp_path):
    whole, same = written(croppable, tmp_path / "a"), written(croppable, tmp_path / "b", "--width=8")
    assert (whole / "model.safetensors").read_bytes() == (same / "model.safetensors").read_bytes()
    assert (same / "training.json").is_file() and "that were trained." not in (same / "README.md").read_text()


@pytest.mark.parametrize("width", [8, 4])
def test_a_croppable_embedding_model(width, croppable, tmp_path):
    out, result = written(croppable, tmp_path / "out", f"--width={width}"), results_of(croppable, "rotate")
    metrics = {split: cells[str(width)] for split, cells in result["widths"].items()}
    assert entries(out) == expected_entries(metrics, result["widths"], width) and len(metrics) == 2
    assert answers_of(pmd.load(out)) == answers_of(pmd.load(croppable / "rotate").crop(width))
    assert f"{result['parameters'] * width // 8:,} parameters" in (out / "README.md").read_text()


def test_a_student_and_its_teacher(students, tmp_path):
    out, result = written(students, tmp_path / "out"), results_of(students, "taught-4")
    assert entries(out) == expected_entries(result["metrics"], {}, 4)
    card = (out / "README.md").read_text()
    assert (
        "A TransE embedding model of width 4" in card
        and "`teacher` of the same run (width 8)" in card
        and "{dualde2022," in card
    )
    assert "it began as `first-4`" in card
    out = written(students / "teacher", tmp_path / "teacher")
    assert entries(out) == expected_entries(results_of(students, "teacher")["metrics"], {}, 8)
    assert "dualde2022" not in (out / "README.md").read_text()


def test_a_bert_of_glue(runs, tmp_path, capsys):
    place = runs / "glue"
    place.mkdir()
    write_bert(place / "bert", hidden_dropout_prob=0.1)
    write_task(place / "RTE", "RTE")
    options = {"task": "rte", "data.path": place, "data.cache": place / "cache", "model.name": place / "bert"}
    options |= {"model.widths": WIDTHS, "model.max_length": 24, "train.epochs": 1, "train.batch_size": 8, "name": "rte"}
    options |= {"train.threads": 1, "evaluation.speed_rounds": 1, "runs": runs, "methods": "[finetune,med]"}
    (place / "empty.yaml").write_text("{}")
    glue_command([f"--config={place}/empty.yaml", *(f"--{key}={value}" for key, value in options.items())])
    run = next(runs.glob("rte-*"))
    result = results_of(run, "med")["widths"]
    for width in (32, 16):
        out = written(run, tmp_path / str(width), f"--width={width}")
        assert "taking med, the last stage that is finished\n" in capsys.readouterr().err
        expected = {("validation", "accuracy"): result[str(width)]["metrics"]["validation"]["accuracy"]}
        if width == 32:  # a crop of a BERT is an ordinary one, of one width
            narrower = {of: result[str(of)]["metrics"]["validation"]["accuracy"] for of in (8, 16)}
            expected |= {("validation", "accuracy", ("width", of)): value for of, value in narrower.items()}
        assert entries(out) == expected
        model = AutoModelForSequenceClassification.from_pretrained(out)
        assert sum(of.numel() for of in model.parameters()) == result[str(width)]["parameters"]
        batch = AutoTokenizer.from_pretrained(out)("river near the old town", "a hub", return_tensors="pt")
        whole = pmd.CroppableBertForSequenceClassification.from_pretrained(run / "med").crop(width).eval()
        with torch.no_grad():
            torch.testing.assert_close(model.eval()(**batch).logits, whole(**batch).logits)
        assert (
            not (out / "predictions").exists()
            and f"{result[str(width)]['parameters']:,} parameters" in (out / "README.md").read_text()
        )
    (run / "med" / "model.safetensors").write_bytes(b"xx")
    for options in ([], ["--width=16"]):
        with pytest.raises(PmdError, match=r"med/model\.safetensors: has 2 bytes .* so it is damaged"):
            written(run, tmp_path / "damaged", *options)


def test_a_written_folder_is_sent_as_it_is(croppable, hub, tmp_path):  # noqa: F811
    out = written(croppable, tmp_path / "out")
    card = (out / "README.md").read_text() + "\nEdited by hand.\n"
    (out / "README.md").write_text(card)
    dispatch(["push", str(out), "user/edited"])
    assert hub.files("user/edited")["README.md"].decode() == card
    with pytest.raises(PmdError, match=r"width: '.*'.*written already"):
        dispatch(["push", str(out), "user/edited", "--width=4"])


@pytest.mark.parametrize("name", ["data.sha256", "graph.sha256"])
def test_a_graph_that_changed_since_the_run_is_not_sent(name, folder, tmp_path, hub):  # noqa: F811
    graph = shutil.copytree(folder, tmp_path / "graph")
    run = embeddings(graph, tmp_path, "changed")
    written(run, tmp_path / "before")
    (run / "data.sha256").rename(run / name)
    with open(graph / "train.tsv", "a") as file:
        file.write("e00\tr_in\te01\n")
    for options in ([], ["--width=4"]):
        with pytest.raises(PmdError, match=r"another graph") as caught:
            dispatch(["push", str(run), "user/name", f"--out={tmp_path}/out", *options])
        assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "out").exists() and hub.repos == {}
    (run / name).unlink()
    written(run, tmp_path / "after")
    metrics = (tmp_path / "before" / "README.md").read_text().split("\n## ")[0]
    assert (tmp_path / "after" / "README.md").read_text().split("\n## ")[0] == metrics


def test_a_link_is_to_what_is_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = Graph("my_graph", 3, 1, {})
    assert dataset_of("data/my_graph", here) is None  # where a folder was
    assert dataset_of("user/towns", replace(here, name="user/towns")) == "user/towns"
    assert dataset_of("nyu-mll/glue", None) == "nyu-mll/glue" and dataset_of("data/glue", None) is None
    for name in ("user/bert", "models/bert"):
        snapshot = tmp_path / "cache" / f"models--{name.replace('/', '--')}" / "snapshots" / "1"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").touch()
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models" / "bert").mkdir(parents=True)
    names = ("user/bert", "models/bert", "data/my_bert", "scratch", "package:a/b", "/a/b/c", "~/bert", None)
    assert [hub_id(name) for name in names] == ["user/bert", *[None] * 7]


def test_no_token_is_said_before_anything_is_built(folder, runs, hub, monkeypatch):  # noqa: F811
    run = embeddings(folder, runs, "bare")
    monkeypatch.setattr("pmd.hub.push.get_token", lambda: None)
    with pytest.raises(PmdError, match=r"HF_TOKEN"):
        dispatch(["push", str(run), "user/name"])
    assert not (run / "rotate" / "index").exists() and hub.requests == []
    dispatch(["push", str(run), "user/name", "--token=hf_right"])
    assert (run / "rotate" / "index").exists() and "README.md" in hub.files("user/name")


def test_the_index_of_a_read_only_run_is_sent_from_the_cache(folder, runs, tmp_path, monkeypatch):
    run = embeddings(folder, runs, "bare")
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))
    write = index_writer.write_folder

    def write_folder(path, fill):
        if run in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        write(path, fill)

    monkeypatch.setattr(index_writer, "write_folder", write_folder)
    shutil.rmtree(run / "rotate" / "index", ignore_errors=True)
    dispatch(["push", str(run), "user/name", "--dry-run", f"--out={tmp_path}/sent"])
    (index,) = (tmp_path / "cache").glob("index-*")
    sent = tmp_path / "sent" / "index" / "columns.safetensors"
    assert sent.read_bytes() == (index / "columns.safetensors").read_bytes() and not (run / "rotate" / "index").exists()


@pytest.mark.parametrize("token", ["hf_wrong", "hf_reading"])
def test_one_line_and_exit_code_2(token, croppable, hub, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("HF_TOKEN", token)
    before = {path: path.read_bytes() for path in croppable.rglob("*") if path.is_file() and "index" not in path.parts}
    with pytest.raises(SystemExit) as stopped:
        run_command(lambda: dispatch(["push", str(croppable), "user/name", "--license=mit"]))
    said = capsys.readouterr()
    assert stopped.value.code == 2 and said.out == ""
    assert len(said.err.splitlines()) == 1 and said.err.startswith("error: 'user/name': ")
    assert before == {path: path.read_bytes() for path in before}


def test_a_broken_connection_leaves_the_written_folder(croppable, hub, tmp_path, capsys):  # noqa: F811
    hub.drops = -1
    with pytest.raises(PmdError, match=r"connection"):
        dispatch(["push", str(croppable), "user/name", f"--out={tmp_path}/out"])
    hub.drops = 0
    dispatch(["push", f"{tmp_path}/out", "user/name"])
    held = hub.files("user/name")
    assert held["model.safetensors"] == (croppable / "rotate" / "model.safetensors").read_bytes()
    with pytest.raises(PmdError, match=r"'user/name'.*--update"):
        dispatch(["push", f"{tmp_path}/out", "user/name"])
    (tmp_path / "out" / "README.md").write_text("---\nlicense: mit\n---\n")
    dispatch(["push", f"{tmp_path}/out", "user/name", "--update"])
    assert hub.files("user/name")["README.md"] == b"---\nlicense: mit\n---\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grade=7"], "'grade7'.*rotate"),
        (["--stage=rotat"], "'rotate'"),
        (["--grade=3", "--stage=rotate"], "grade:"),
        (["--dry-run"], "dry_run.*--out FOLDER"),
        (["--width=9", "--dry-run", "--out={out}"], "width 9.*outside 1.*8"),
        (["--dry-run", "--out={full}"], "exists"),
        (["--updat"], "'update'"),
    ],
)
def test_what_cannot_be_pushed(options, message, croppable, hub, tmp_path):  # noqa: F811
    places = {"out": tmp_path / "out", "full": croppable}
    with pytest.raises(PmdError, match=message) as caught:
        dispatch(["push", str(croppable), "user/name", *(option.format(**places) for option in options)])
    assert len(str(caught.value).splitlines()) == 1
    assert hub.requests == [] and not (tmp_path / "out").exists()


def test_models_that_are_in_no_run(croppable, tmp_path):
    dispatch(["crop", str(croppable), "--width=4", f"--out={tmp_path}/small"])
    with pytest.raises(PmdError, match="card"):
        dispatch(["push", f"{tmp_path}/small", "user/name"])
    with pytest.raises(PmdError, match=r"--stage.*--grade"):
        dispatch(["push", str(croppable / "rotate"), "user/name", "--stage=rotate"])
    with pytest.raises(PmdError, match=r"repo: 'name'.*user/name"):
        dispatch(["push", str(croppable), "name"])

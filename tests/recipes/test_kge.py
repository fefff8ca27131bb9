"""Embedding models end to end: one command, and its run folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.papers.figures import curves
from pmd.recipes import stages
from pmd.settings.kge import KgeConfig, KgeStageConfig
from pmd.settings.parsing.config_files import CONFIGS
from pmd.settings.parsing.parse import instantiate, parse, parser_for
from pmd.settings.stages.kge import resolve_kge_stages

evaluate_command = COMMANDS["evaluate"]
progressive_command = COMMANDS["progressive"]
train_command = COMMANDS["train"]

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "--model.dim=8",
    "--train.epochs=4",
    "--train.batch_size=16",
    "--train.lr=0.05",
    "--train.valid_every=2",
    "--train.log_every=1",
    "--train.threads=1",
    "--loss.negatives=4",
]
PNG = b"\x89PNG\r\n\x1a\n"


def train(folder, runs, name, *more):
    train_command([*TINY, f"--data.path={folder}", f"--runs={runs}", f"--name={name}", *more])
    return next(runs.glob(f"{name}-*"))


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A teacher and a student of width 4, alone and in two stages."""
    return train(folder, tmp_path_factory.mktemp("runs"), "whole", "--dual.students=[4]", "--dual.ablations=true")


def test_a_batch_that_holds_the_whole_graph_is_mentioned(folder, tmp_path, capsys):
    said = {}
    for size in (16, 64):
        train(folder, tmp_path, f"by{size}", "--train.epochs=1", f"--train.batch_size={size}")
        said[size] = (
            "rotate: an epoch is a single step (42 examples in batches of 64); smaller" in capsys.readouterr().err
        )
    assert said == {16: False, 64: True}


NAMES = ["teacher", "alone-4", "first-4", "taught-4", "without-first-4", "without-second-4"]


def test_a_run_holds_every_model(run, folder, capsys):
    results = json.loads((run / "results.json").read_text())
    assert list(results) == NAMES
    assert [results[name]["dim"] for name in NAMES] == [8, 4, 4, 4, 4, 4]
    # 48 entities of two parts and 2 relations of one.
    assert [results[name]["parameters"] for name in NAMES] == [8 * 98, *[4 * 98] * 5]
    assert [results[name]["epochs"] for name in ("alone-4", "without-first-4", "without-second-4")] == [6, 6, 6]
    assert (results["first-4"]["epochs"], results["taught-4"]["epochs"]) == (4, 2)
    graph = pmd.load_graph(folder)
    for name in NAMES:
        model = pmd.load_scorer(run / name, graph)
        assert isinstance(model, pmd.KgeModel)
        assert pmd.rank(model, graph, "test").to_dict() == results[name]["metrics"]["test"]
        assert f"{results[name]['metrics']['test']['mrr']:.3f}" in (run / "table.md").read_text()
    assert not (run / "checkpoint").exists() and not list(run.rglob("README.md"))


def test_the_terms_of_each_stage_are_logged(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    terms = {
        name: {key for line in lines if line["stage"] == name and "loss" in line for key in line} for name in NAMES
    }
    always = {"stage", "epoch", "step", "seconds", "loss", "lr", "hard"}
    assert terms["teacher"] == terms["alone-4"] == always
    assert terms["first-4"] == terms["without-second-4"] == always | {"soft"}
    assert terms["taught-4"] == terms["without-first-4"] == always | {"soft", "teacher_soft", "teacher_hard"}
    assert {name: list(curve) for name, curve in curves(run).items()}["taught-4"] == [2]


def test_the_second_stage_starts_from_the_first(folder, tmp_path):
    # So small a step that the weights do not move.
    run = train(folder, tmp_path, "still", "--dual.students=[4]", "--dual.second_lr=1e-12", "--dual.second_epochs=1")
    first, taught = (load_file(run / name / "model.safetensors") for name in ("first-4", "taught-4"))
    assert all(torch.allclose(first[key], taught[key], atol=1e-9) for key in first)


@pytest.mark.parametrize(
    "options",
    [
        ["--model.interaction=transe", "--loss.name=margin", "--train.optimizer=sparse_adam"],
        ["--model.interaction=transh", "--loss.name=margin", "--loss.constraint=0.1"],
        ["--model.interaction=complex", "--loss.name=one_vs_all", "--loss.n3=0.01", "--model.reciprocal=true"],
        ["--model.interaction=simple", "--loss.name=k_vs_all", "--train.optimizer=adagrad"],
        [
            "--model.interaction=PairRE",
            "--loss.name=logistic",
            "--loss.adversarial=1",
            "--model.unit_entities=true",
            "--loss.shared=4",
        ],
        ["--model.interaction=rotate", "--loss.name=softmax", "--loss.filtered=true", "--train.schedule=constant"],
    ],
    ids=lambda options: options[0].split("=")[1],
)
def test_every_kind_learns(options, folder, tmp_path):
    """The training triples rank far above chance (0.09 among 48) and above where they started."""
    run = train(
        folder, tmp_path, "kind", *options, "--train.epochs=40", "--train.valid_every=0", "--evaluation.split=train"
    )
    (result,) = json.loads((run / "results.json").read_text()).values()
    assert result["metrics"]["train"]["mrr"] > 0.3


@pytest.mark.parametrize("options", [(), ("--model.widths=[2,4,8]", "--med.draw=2")], ids=["plain", "draw"])
def test_ctrl_c_and_resume_give_the_same_model(options, folder, tmp_path, monkeypatch):
    options = ("--train.epochs=30", "--train.valid_every=5", *options)
    whole = train(folder, tmp_path / "a", "run", *options)
    calls = []

    import pmd.data.graphs.negatives as triples

    draw = triples.SampledNegatives._draw

    def interrupting(self, *arguments):
        calls.append(1)
        if len(calls) == 41:  # in the middle of an epoch
            os.kill(os.getpid(), signal.SIGINT)
        return draw(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(triples.SampledNegatives, "_draw", interrupting)
        with pytest.raises(KeyboardInterrupt):
            train(folder, tmp_path / "b", "run", *options)
    cut = next((tmp_path / "b").glob("run-*"))
    assert (cut / "checkpoint").exists() and not (cut / "results.json").exists()
    train_command([f"--resume={cut}"])
    one, two = (load_file(place / "rotate" / "model.safetensors") for place in (whole, cut))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_ctrl_c_between_two_stages_is_answered_too(folder, tmp_path, monkeypatch, capsys):
    def interrupt(*of):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "run_stage", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(folder, tmp_path, "between")
    assert re.search(r"stopped; go on with --resume \S+\n$", capsys.readouterr().err)


def test_a_loaded_model_takes_the_place_of_a_stage(run, folder, tmp_path):
    stages = json.dumps(
        [{"name": "wide", "load": str(run / "teacher")}, {"name": "narrow", "dim": 4, "teacher": "wide"}]
    )
    again = train(folder, tmp_path, "loaded", f"--stages={stages}")
    old, new = (load_file(place / "model.safetensors") for place in (run / "teacher", again / "wide"))
    assert all(torch.equal(old[key], new[key]) for key in old)
    wrong = json.dumps([{"name": "wide", "dim": 16, "load": str(run / "teacher")}])
    with pytest.raises(PmdError, match=r"dim 8.*stage 16"):
        train(folder, tmp_path, "wrong", f"--stages={wrong}")


def test_a_stage_has_a_constraint_of_its_own(folder, tmp_path):
    stages = json.dumps([{"name": "held", "constraint": 1000.0}, {"name": "free"}])
    options = ("--model.interaction=transe", "--model.init=1", "--loss.constraint=0", "--train.epochs=20")
    run = train(folder, tmp_path, "own", f"--stages={stages}", *options, "--train.valid_every=0")
    lengths = {
        name: load_file(run / name / "model.safetensors")["entity_rows.weight"].norm(dim=1).max()
        for name in ("held", "free")
    }
    assert lengths["held"] < 1.3 < lengths["free"]


def test_a_loaded_model_must_be_what_the_config_says(run, folder, tmp_path):
    stages = json.dumps([{"name": "wide", "load": str(run / "teacher")}])
    with pytest.raises(PmdError, match=r"norm l2.*l1"):
        train(folder, tmp_path, "norm", f"--stages={stages}", "--model.norm=l1")
    with pytest.raises(PmdError, match=r"reciprocal False.*True"):
        train(folder, tmp_path, "reciprocal", f"--stages={stages}", "--model.reciprocal=true")
    both = json.dumps([{"name": "a"}, {"name": "b", "teacher": "a", "load": str(run / "teacher")}])
    with pytest.raises(PmdError, match="teacher and start"):
        train(folder, tmp_path, "both", f"--stages={both}")


def test_a_model_without_its_vocabulary_or_with_another_order_is_refused(run, folder, tmp_path):
    graph = pmd.load_graph(folder)
    alone = tmp_path / "alone"
    shutil.copytree(run / "teacher", alone)
    (alone / "entities.tsv").unlink()
    with pytest.raises(PmdError, match=r"entities\.tsv: is missing"):
        pmd.load_scorer(alone, graph)
    (alone / "manifest.json").unlink()  # as of an older version
    with pytest.raises(PmdError, match=r"has no entities\.tsv"):
        pmd.load_scorer(alone, graph)
    turned = tmp_path / "turned"
    shutil.copytree(folder, turned)
    lines = (folder / "entities.tsv").read_text().splitlines(keepends=True)
    (turned / "entities.tsv").write_text("".join(reversed(lines)))
    with pytest.raises(PmdError, match=r"48.*order"):
        pmd.load_scorer(run / "teacher", pmd.load_graph(turned))


def test_entities_that_were_never_trained_are_not_ranked(folder, tmp_path):
    inductive = tmp_path / "inductive"
    shutil.copytree(folder, inductive)
    more = "".join(f"n{i}\tnew {i}\ta new place\n" for i in range(4))
    (inductive / "entities.tsv").write_text((folder / "entities.tsv").read_text() + more)
    for name in ("train", "valid", "test"):
        (inductive / f"inductive_{name}.tsv").write_text("n0\tr_in\tn1\nn2\tr_in\tn3\n")
    with pytest.raises(PmdError, match="'inductive_test'"):
        train(inductive, tmp_path, "unseen", "--evaluation.split=inductive_test")
    # The rows of the other graph's entities are not even negatives: they stay where they started.
    for loss in ("softmax", "one_vs_all", "k_vs_all"):
        run = train(inductive, tmp_path, loss, f"--loss.name={loss}", "--train.epochs=2")
        rows = load_file(run / "rotate" / "model.safetensors")["entity_rows.weight"]
        torch.manual_seed(0)
        start = pmd.KgeModel("rotate", 52, 2, 8).entity_rows.weight
        assert torch.equal(rows[48:], start[48:]) and not torch.isclose(rows[:48], start[:48]).any(1).all()


def test_two_processes_run_the_whole_recipe(two_processes, folder, tmp_path):
    """With validation, a best checkpoint and a released teacher, none of which a test of gradients sees."""
    options = [*TINY, f"--data.path={folder}", f"--runs={tmp_path}", "--name=two", "--dual.students=[4]"]
    two_processes.call("pmd.cli.main:dispatch", ["train", *options])
    results = json.loads((next(tmp_path.glob("two-*")) / "results.json").read_text())
    assert list(results) == NAMES[:4] and all(result["valid_mrr"] > 0 for result in results.values())


def test_k_vs_all_with_a_regulariser_on_tiny_batches(folder, tmp_path):
    """A batch may hold queries of one direction only."""
    options = ("--model.interaction=complex", "--loss.name=k_vs_all", "--loss.n3=0.1", "--train.batch_size=3")
    run = train(folder, tmp_path, "small", *options)
    assert json.loads((run / "results.json").read_text())["complex"]["epochs"] == 4


def test_resume_goes_on_with_runs_of_its_own_kind(run, tmp_path):
    other = tmp_path / "text-20300101-000000"
    other.mkdir()
    (other / "config.yaml").write_text("encoder: {}\n")
    with pytest.raises(PmdError, match="no run"):
        train_command(["--resume", f"--runs={tmp_path}"])
    with pytest.raises(PmdError, match="another script"):
        train_command([f"--resume={other}"])


def test_a_stage_key_that_is_misspelt_gets_a_proposal(folder, tmp_path):
    with pytest.raises(PmdError, match=r"'stages\.release'"):
        train(folder, tmp_path, "wrong", '--stages=[{"name": "a", "realease": true}]')


def test_text_and_embedding_models_in_one_table(run, folder, tmp_path, capsys):
    progressive_command(
        [
            *("--encoder.layers=1", "--encoder.hidden_size=8", "--encoder.heads=1", "--encoder.intermediate_size=8"),
            *("--encoder.vocab_size=300", "--encoder.max_length=16", "--train.epochs=1", "--train.batch_size=32"),
            *("--distill.depths=[1]", "--distill.mask_rates=[0]", "--train.threads=1"),
            *(f"--data.path={folder}", f"--runs={tmp_path}", "--name=text", f"--data.cache={tmp_path}/cache"),
        ]
    )
    text = next(tmp_path.glob("text-*"))
    capsys.readouterr()
    evaluate_command(
        [
            f"--model=['{text}/grade1', '{run}/teacher']",
            f"--data.path={folder}",
            f"--data.cache={tmp_path}/cache",
            "--threads=1",
        ]
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["model", "split", "parameters", "MRR", "Hits@1", "Hits@3", "Hits@10", "MR", "queries/s"]
    stored = {
        place: json.loads((place.parent / "results.json").read_text())[place.name]
        for place in (text / "grade1", run / "teacher")
    }
    for row, (place, result) in zip(rows[2:], stored.items(), strict=True):
        assert row[0] == f"{place.parent.name}/{place.name}"
        assert row[2:4] == [f"{result['parameters']:,}", f"{result['metrics']['test']['mrr']:.3f}"]
        assert float(row[-1].replace(",", "")) > 0


def test_an_embedding_model_refuses_another_graph(run, capsys):
    with pytest.raises(PmdError, match=r"48.*'world'.*1,887"):
        evaluate_command([f"--model={run}/teacher", "--data.path=world"])


BUNDLED = [file for folder in ("kge", "dualde", "med") for file in sorted((CONFIGS / folder).glob("*.yaml"))]


@pytest.mark.parametrize("file", BUNDLED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_configs_of_embedding_models_can_be_read(file):
    parser = parser_for(KgeConfig, "")
    config = instantiate(parser, parse(parser, ["--config", str(file)]), KgeConfig)
    stages = resolve_kge_stages(config)
    assert all(isinstance(stage, KgeStageConfig) for stage in stages)
    assert len(stages) == (1 + 3 * 5 if file.parent.name == "dualde" else 1)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ") and any(
        "python scripts/" in line or "accelerate launch" in line for line in lines[:4]
    )
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["data"]["path"]


def test_a_misspelt_option_is_answered_at_once():
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "--model.interacton=rotate"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "did you mean 'model.interaction'?" in done.stderr


def test_a_path_that_is_no_model_never_asks_the_hub(run, folder):
    graph = pmd.load_graph(folder)
    with pytest.raises(PmdError, match="holds no model"):
        pmd.load_scorer(folder, graph)


def test_a_graph_of_another_size_is_refused(run, folder):
    model = pmd.load_scorer(run / "teacher", pmd.load_graph(folder))
    with pytest.raises(PmdError, match=r"48.*'world'.*1,887"):
        pmd.rank(model, pmd.load_graph("world"))


def test_embeddings_are_not_reranked_by_hops(run, folder):
    with pytest.raises(PmdError, match=r"evaluation.rerank_hops:.*text"):
        train_command([*TINY, f"--data.path={folder}", "--evaluation.rerank_hops=2"])
    with pytest.raises(PmdError, match="cosines"):
        evaluate_command([f"--model={run}/teacher", "--evaluation.rerank_hops=2", "--data.path=/no/graph/is/read"])


def test_a_run_that_was_cut_before_its_ranking_remembers_its_training(folder, tmp_path):
    run = train(folder, tmp_path, "cut")
    before = json.loads((run / "results.json").read_text())["rotate"]
    (run / "results.json").unlink()
    train_command([f"--resume={run}"])
    after = json.loads((run / "results.json").read_text())["rotate"]
    for key in ("train_seconds", "epochs", "best_epoch", "valid_mrr", "metrics"):
        assert after[key] == before[key], key


@pytest.mark.parametrize(
    ("loss", "named"),
    [("softmax", r"\(e\d\d, r_\w+, e\d\d\)"), ("k_vs_all", r"\((\?, r_\w+, e\d\d|e\d\d, r_\w+, \?)\)")],
)
def test_a_loss_that_is_not_finite_names_the_triples_of_its_batch(loss, named, folder, tmp_path):
    options = [f"--loss.name={loss}", "--train.lr=1e38", "--train.schedule=constant", "--model.interaction=complex"]
    with pytest.raises(
        PmdError, match=rf"^complex: loss term 'hard' became (nan|-?inf) at step \d+, on {named}, "
    ) as caught:
        train(folder, tmp_path, "nan", *options)
    (file,) = tmp_path.glob("nan-*/checkpoint/complex/not_finite.txt")
    assert f"(all in {file})" in str(caught.value) and len(file.read_text().splitlines()) > 8


@pytest.mark.parametrize(
    ("file", "pending", "message"),
    [
        ("config.json", False, "is missing"),
        ("entities.tsv", False, "is missing"),
        ("training.json", True, "is missing"),
        ("model.safetensors", True, "has another checksum"),
    ],
)
def test_a_stage_that_lost_a_file_is_named_with_the_remedy(file, pending, message, run, tmp_path, capsys):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    if pending:
        shutil.rmtree(copied / "taught-4")
    path = copied / "teacher" / file
    if message == "is missing":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(PmdError) as caught:
        train_command([f"--resume={copied}"])
    said = str(caught.value)
    assert said.startswith(f"{path}: {message}") and "trained anew" not in capsys.readouterr().err
    assert said.endswith(f"; restore it, or remove '{copied}/teacher' to train teacher anew")

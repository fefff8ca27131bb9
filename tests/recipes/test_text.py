"""The main job, end to end on a graph of a few dozen entities."""

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
from transformers import BertConfig, BertModel

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.data.graphs.queries import query_order
from pmd.data.graphs.walks import walk_order
from pmd.distill.kept.rows import RowFile
from pmd.models.text.start import train_wordpiece
from pmd.recipes import stages

from ..says import says
from ..tiny import tiny_graph
from ..tiny_glue import write_bert

evaluate_command = COMMANDS["evaluate"]
progressive_command = COMMANDS["progressive"]

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "--structure=null",
    "--encoder.layers=4",
    "--encoder.hidden_size=16",
    "--encoder.heads=2",
    "--encoder.intermediate_size=32",
    "--encoder.vocab_size=300",
    "--encoder.max_length=24",
    "--train.epochs=3",
    "--distill.epochs=3",
    "--train.batch_size=16",
    "--train.lr=3e-3",
    "--train.log_every=1",
    "--train.threads=1",
]
GRADES = ["teacher", "grade4", "grade3", "grade2", "grade1"]


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    progressive_command(
        [*TINY, f"--data.path={folder}", f"--runs={runs}", "--name=whole", f"--data.cache={runs}/cache"]
    )
    return next(runs.glob("whole-*"))


def test_a_run_folder_holds_every_grade(run):
    results = json.loads((run / "results.json").read_text())
    assert list(results) == GRADES
    assert [results[name]["layers"] for name in GRADES] == [4, 4, 3, 2, 1]
    assert [results[name]["mask_rate"] for name in GRADES] == [0.0, 0.2, 0.1, 0.05, 0.0]
    layer = results["grade4"]["parameters"] - results["grade3"]["parameters"]
    assert results["grade3"]["parameters"] - results["grade2"]["parameters"] == layer > 0
    assert not (run / "checkpoint").exists()
    assert {"torch", "transformers"} <= json.loads((run / "env.json").read_text())["versions"].keys()
    assert yaml.safe_load((run / "config.yaml").read_text())["train"]["lr"] == 3e-3
    for name in GRADES:
        stored = load_file(run / name / "model.safetensors")
        assert sum(tensor.numel() for tensor in stored.values()) == results[name]["parameters"]


def test_the_table_shows_the_results(run):
    results = json.loads((run / "results.json").read_text())
    table = (run / "table.md").read_text()
    for name in GRADES:
        row = next(line for line in table.splitlines() if line.startswith(f"| {name} "))
        assert f"{results[name]['metrics']['test']['mrr']:.3f}" in row and f"{results[name]['parameters']:,}" in row


def test_every_term_of_every_stage_is_logged(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    terms = {name: {key for line in lines if line["stage"] == name for key in line} for name in GRADES}
    always = {"stage", "epoch", "step", "seconds", "loss", "ce", "temperature", "lr"}
    assert terms["teacher"] == always
    assert terms["grade3"] == always | {"score", "feature"}
    assert terms["grade1"] == always | {"score"}  # no masks, no masked features


def test_a_grade_is_a_scorer(run, folder):
    graph = pmd.load_graph(folder)
    metrics = pmd.rank(pmd.load_scorer(run / "grade3", graph, cache=str(run / "cache")), graph)
    stored = json.loads((run / "results.json").read_text())["grade3"]["metrics"]["test"]
    assert metrics.mrr == pytest.approx(stored["mrr"], abs=1e-9)


def test_a_run_on_other_data_does_not_go_on(run, folder, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(run, again)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    with (other / "train.tsv").open("a") as file:
        file.write("e00\tr_in\te01\n")
    with pytest.raises(PmdError, match="other data"):
        progressive_command(["--resume", str(again), f"--data.path={other}"])


def test_ctrl_c_between_two_stages_is_answered_too(folder, tmp_path, monkeypatch, capsys):
    def interrupt(*of):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "run_stage", interrupt)
    with pytest.raises(KeyboardInterrupt):
        progressive_command([*TINY, f"--data.path={folder}", f"--runs={tmp_path}", f"--data.cache={tmp_path}/cache"])
    assert re.search(r"stopped; go on with --resume \S+\n$", capsys.readouterr().err)


def test_a_plain_encoder_is_no_trained_model(tmp_path):
    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)).save_pretrained(
        tmp_path
    )
    with pytest.raises(PmdError, match=r"BERT.*triples") as caught:
        pmd.load_scorer(tmp_path, None)
    assert "\n" not in str(caught.value)


def test_another_vocabulary_than_the_teachers_is_refused(folder, tmp_path):
    """Of an encoder's folder that has changed since the run began."""
    encoder = write_bert(tmp_path / "bert")
    options = [f"--encoder.name={encoder}", "--encoder.max_length=24", "--train.epochs=1", "--distill.epochs=1"]
    options += ['--stages=[{"name": "teacher"}, {"name": "grade1", "layers": 1}]', "--train.batch_size=16"]
    shared = [f"--runs={tmp_path}/runs", f"--data.path={folder}", f"--data.cache={tmp_path}/cache", "--structure=null"]
    progressive_command([*options, *shared, "--train.threads=1"])
    (run,) = (tmp_path / "runs").iterdir()
    shutil.rmtree(run / "grade1")
    train_wordpiece(tiny_graph(), 100).save_pretrained(encoder)
    with pytest.raises(PmdError, match=rf"^'{run}/teacher' has another vocabulary than the encoder"):
        progressive_command([f"--resume={run}"])


def test_a_grade_loads_again_and_ranks_the_same(run, capsys):
    results = json.loads((run / "results.json").read_text())
    evaluate_command([f"--model={run / 'grade2'}", "--threads=1"])
    row = next(line for line in capsys.readouterr().out.splitlines() if "both" in line)
    metrics = results["grade2"]["metrics"]["test"]
    assert [cell.strip() for cell in row.split("|")[3:8]] == [
        *(f"{metrics[name]:.3f}" for name in ("mrr", "hits_at_1", "hits_at_3", "hits_at_10")),
        f"{metrics['mr']:.1f}",
    ]


def test_interrupted_and_resumed_equals_uninterrupted(run, folder, tmp_path, capsys):
    """Ctrl-C in the middle of a distilled grade, then --resume: the same weights to the bit."""
    command = [sys.executable, str(ROOT / "scripts" / "progressive.py")]
    arguments = [*TINY, f"--data.path={folder}", f"--runs={tmp_path}", "--name=cut", f"--data.cache={tmp_path}/cache"]
    process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("grade3  "):
            os.kill(process.pid, signal.SIGINT)
            break
    rest = process.communicate(timeout=120)
    assert process.returncode == 130 and "--resume" in rest[1], rest
    cut = next(tmp_path.glob("cut-*"))
    done = json.loads((cut / "results.json").read_text())
    if "grade3" not in done:  # unless it was faster than the signal
        assert (cut / "checkpoint" / "grade3" / "state").is_dir()
    capsys.readouterr()
    progressive_command(["--resume", str(cut)])
    assert "| grade1 " in capsys.readouterr().out
    for name in GRADES:
        expected, found = (load_file(path / name / "model.safetensors") for path in (run, cut))
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name


def test_stopped_while_the_teacher_is_asked_equals_uninterrupted(run, folder, tmp_path, monkeypatch):
    write, written = RowFile.write, []

    def stop_at_the_sixth(file, block, rows):
        written.append(block)
        if len(written) == 6:
            raise KeyboardInterrupt
        write(file, block, rows)

    monkeypatch.setattr(RowFile, "write", stop_at_the_sixth)
    options = [*TINY, f"--data.path={folder}", f"--runs={tmp_path}", "--name=cut", f"--data.cache={tmp_path}/cache"]
    with pytest.raises(KeyboardInterrupt):
        progressive_command(options)
    (cut,) = tmp_path.glob("cut-*")
    assert [path.name for path in (cut / "checkpoint").iterdir()] == ["teacher.vectors"]
    progressive_command(["--resume", str(cut)])
    assert len(written) == 9  # queries and entities of four grades, one of them twice
    assert not (cut / "checkpoint").exists()
    for name in GRADES:
        expected, found = (load_file(path / name / "model.safetensors") for path in (run, cut))
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name


@pytest.mark.parametrize(("batches", "order"), [("walks", walk_order), ("queries", query_order)])
def test_batches_may_be_walks_or_of_queries(folder, tmp_path, monkeypatch, batches, order):
    calls = []
    monkeypatch.setattr(f"pmd.recipes.text.{order.__name__}", lambda *given: calls.append(given) or order(*given))
    options = [*TINY, f"--data.path={folder}", f"--runs={tmp_path}", f"--data.cache={tmp_path}/cache"]
    progressive_command([*options, f"--contrastive.batches={batches}", "--stages=[{name: teacher}]"])
    assert [epoch for _, _, epoch in calls] == [0, 1, 2]


def test_students_of_one_teacher_share_its_vectors(folder, tmp_path, monkeypatch):
    """And they are, but for rounding, those that ask it in every step."""
    write, written = RowFile.write, []
    monkeypatch.setattr(RowFile, "write", lambda *given: written.append(1) or write(*given))
    taught = ["--distill.taught_by=teacher", "--distill.method=lkd", "--distill.init=teacher", "--distill.epochs=1"]
    losses = []
    for ask_once in ("true", "false"):
        options = [*TINY, *taught, f"--distill.ask_once={ask_once}", f"--data.path={folder}", f"--runs={tmp_path}"]
        progressive_command([*options, f"--name={ask_once}", f"--data.cache={tmp_path}/cache"])
        (metrics,) = tmp_path.glob(f"{ask_once}-*/metrics.jsonl")
        losses.append([json.loads(line)["loss"] for line in metrics.read_text().splitlines()])
    assert len(written) == 2
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train.lrr=1"], "'train.lr'"),
        (["--train.lr=fast"], "train.lr"),
        (["--config=nowhere.yaml"], "nowhere.yaml"),
        (["--data.path=wordl"], "world"),
        (["--train.batch_size=1"], "at least 2"),
        (["--encoder.heads=3"], "encoder.heads (3)"),
        (["--encoder.name=package:no_such_package/model"], "'no_such_package'"),
        (["--resume", "nowhere"], "run folder"),
        (["--evaluation.split=tset"], "'tset'"),
        (["--distill.mask_rates=[0.1]"], "1 values…4 grades"),
        (["--resume", "--train.lr=77"], "leave out --train.lr=77"),
        (["--seed=-1"], "seed: -1"),
        (["--train.workers=-1"], "train.workers"),
        (["--train.threads=-1"], "train.threads"),
        (["--train.lora.r=0"], "train.lora.r: 0"),
        (["--train.lora.targets=[foo]"], "'foo'"),
        (["--train.frozen_share=0.5"], "train.frozen_share…scratch"),
        (["--train.frozen_share=1"], "train.frozen_share: 1.0"),
        (['--stages=[{"name": "a", "frozen_layers": 4}]'], "frozen_layers: 4 of 4 layers"),
        (["--encoder.dropout=2"], "encoder.dropout: 2.0…[0, 1)"),
        (["--encoder.vocab_size=-5"], "encoder.vocab_size"),
        (["--encoder.layers=0"], "encoder.layers: 0"),
        (["--evaluation.rerank_hops=-1"], "evaluation.rerank_hops"),
        (["--contrastive.pre_batches=-1"], "contrastive.pre_batches"),
        (["--contrastive.batches=walks", "--contrastive.directions=independent"], "contrastive.batches"),
        (["--contrastive.batches=queries", "--train.batch_size=15"], "batch_size: 15…at least 16"),
        (["--name=a/b"], "name: 'a/b'"),
        (['--stages=[{"name": "a", "load": "nowhere"}]'], "text…'nowhere'"),
    ],
)
def test_what_cannot_work_is_one_line(arguments, message, tmp_path):
    with pytest.raises(PmdError) as caught:
        progressive_command([f"--runs={tmp_path}", *arguments])
    assert says(str(caught.value), message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        (3, ["--encoder.vocab_size=60"], "vocabulary"),
        (3, ["--encoder.max_length=20"], "max_length=24…max_length=20…encoder.max_length"),
        (2, [], "3 layers, not 2"),
        (3, ["--encoder.hidden_size=32", "--encoder.widths=[16,32]"], "16 wide…32…init: pretrained"),
    ],
)
def test_a_loaded_model_must_be_what_the_config_says(layers, options, message, run, folder, tmp_path):
    stages = json.dumps([{"name": "a", "layers": layers, "load": str(run / "grade3")}, {"name": "b", "layers": 2}])
    with pytest.raises(PmdError) as caught:
        progressive_command([*TINY, f"--data.path={folder}", f"--runs={tmp_path}", f"--stages={stages}", *options])
    assert says(str(caught.value), f"stages (a).load: '{run / 'grade3'}'…{message}")
    assert not list(tmp_path.iterdir())


def test_stages_have_batches_of_their_own(folder, tmp_path, capsys):
    """Of independent directions too: as many examples a step, drawn from twice as many."""
    stages = (
        '[{"name": "teacher"}, {"name": "small", "layers": 1, "batch_size": 5, "pre_batches": 0, "mask_rate": 0.2}]'
    )
    common = [*TINY, f"--data.path={folder}", f"--stages={stages}", "--contrastive.pre_batches=2"]
    common += ["--distill.epochs=1", "--train.epochs=1"]
    triples = len(pmd.load_graph(folder).train)
    for directions in ("shared", "independent"):
        progressive_command([*common, f"--runs={tmp_path}/{directions}", f"--contrastive.directions={directions}"])
        assert "teacher: 31 in-batch + 64 pre-batch + 1 self; small: 9 in-batch + 1 self" in capsys.readouterr().err
        (run,) = (tmp_path / directions).iterdir()
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = {name: max(line["step"] for line in lines if line["stage"] == name) for name in ("teacher", "small")}
        assert steps == {"teacher": -(-triples // 16), "small": -(-triples // 5)}


@pytest.mark.parametrize("options", [[], ["--train.lora.r=2"]], ids=["all weights", "lora"])
def test_frozen_layers_stay_as_they_were(options, run, folder, tmp_path, capsys):
    """A student of two layers, of which the upper one learns."""
    stages = json.dumps([{"name": "teacher", "layers": 3, "load": str(run / "grade3")}, {"name": "small", "layers": 2}])
    common = [*TINY, f"--data.path={folder}", f"--runs={tmp_path}", f"--stages={stages}", "--encoder.dropout=0.1"]
    progressive_command([*common, "--train.frozen_share=0.5", "--distill.init=teacher", *options])
    assert "2, 1 frozen" in capsys.readouterr().err
    (made,) = tmp_path.iterdir()
    assert not (made / "checkpoint").exists()
    before, after = (load_file(made / name / "model.safetensors") for name in ("teacher", "small"))
    changed = {
        name
        for name in after
        if name not in before or not torch.equal(before[name.replace("layer.1.", "layer.2.")], after[name])
    }
    assert changed and all("layer.1." in name or "temperature" in name for name in changed)


def test_lora_trains_adapters_only_and_saves_a_plain_model(folder, tmp_path):
    stages = '[{"name": "full", "epochs": 1}, {"name": "adapted", "layers": 2, "mask_rate": 0.2}]'
    common = [
        *TINY,
        f"--data.path={folder}",
        f"--runs={tmp_path}",
        f"--data.cache={tmp_path}/cache",
        f"--stages={stages}",
    ]
    progressive_command([*common, "--name=lora", "--train.lora.r=2", "--encoder.tied=true"])
    run = next(tmp_path.glob("lora-*"))
    before, after = (load_file(run / name / "model.safetensors") for name in ("full", "adapted"))
    assert not any("lora" in name or name.startswith("entity_encoder") for name in after)
    embeddings = "query_encoder.embeddings.word_embeddings.weight"
    assert torch.equal(before[embeddings], after[embeddings])
    first = "query_encoder.encoder.layer.0.attention.self.{}.weight"
    # evenly spaced over four layers, the student's first layer is the teacher's second
    second = "query_encoder.encoder.layer.1.attention.self.{}.weight"
    assert torch.equal(before[second.format("key")], after[first.format("key")])
    assert not torch.equal(before[second.format("query")], after[first.format("query")])
    assert not torch.equal(before["log_inverse_temperature"], after["log_inverse_temperature"])

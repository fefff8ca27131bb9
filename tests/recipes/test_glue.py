"""GLUE end to end: one command, a table of every sub-model, leaderboard files, crops, and a run that goes on."""

import json
import os
import re
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import pmd
from pmd.cli.commands import COMMANDS
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.data.glue import EncodedSplit, load_glue
from pmd.papers import glue_table
from pmd.recipes import glue
from pmd.recipes import stages as lifecycle
from pmd.recipes.glue import write_answers
from pmd.settings.catalogue import AX, task_of

from ..tiny_glue import WIDTHS, rows_of, write_bert, write_task

glue_command = COMMANDS["glue"]
glue_table_command = COMMANDS["table"]["glue"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of tasks and a BERT."""
    place = tmp_path_factory.mktemp("glue")
    write_bert(place / "bert", hidden_dropout_prob=0.1)
    write_bert(place / "one_segment", type_vocab_size=1)
    write_bert(place / "few_ids", vocab_size=50)
    write_bert(place / "no_tokenizer")
    for file in (place / "no_tokenizer").glob("*token*"):
        file.unlink()
    for name in ("RTE", "STS-B", "MRPC"):
        write_task(place / name, name, test=5 if name == "RTE" else 0)
    return place


def options(place, **changes) -> list[str]:
    values = {"task": "rte", "data.path": place, "data.cache": place / "cache", "model.name": place / "bert"}
    values |= {"model.widths": WIDTHS, "model.max_length": 24, "train.epochs": 2, "train.batch_size": 8}
    values |= {"train.lr": 0.003, "train.threads": 1, "evaluation.speed_rounds": 1, "runs": place / "runs", **changes}
    return [f"--{key}={value}" for key, value in values.items()]


def train(place, name: str, **changes):
    (place / "empty.yaml").write_text("{}")
    glue_command([f"--config={place}/empty.yaml", *options(place, name=name, **changes)])
    (run,) = (place / "runs").glob(f"{name}-*")
    return run, json.loads((run / "results.json").read_text())


@pytest.fixture(scope="module")
def done(place):
    return train(place, "done")


def test_every_sub_model_is_measured(done, place):
    run, results = done
    assert [*results] == ["finetune", "med"] and [*results["med"]["widths"]] == ["8", "16", "32"]
    data = load_glue(str(place), task_of("rte"))
    table = (run / "table.md").read_text()
    tokenizer = AutoTokenizer.from_pretrained(run / "med")
    batch = EncodedSplit(data.splits["validation"], tokenizer, 24, str(place / "cache"))(range(12))
    for width, found in results["med"]["widths"].items():
        dispatch(["crop", str(run), f"--width={width}", f"--out={place}/crop{width}"])  # the only croppable one
        crop = AutoModelForSequenceClassification.from_pretrained(place / f"crop{width}")
        assert crop.config.hidden_size == int(width) and crop.config.id2label == {0: "entailment", 1: "not_entailment"}
        answers = crop(**batch.inputs).logits.argmax(-1)
        right = answers == batch.labels
        assert found["constant"] == (["validation"] if len(answers.unique()) == 1 else [])
        mark = " †" if found["constant"] else ""
        assert found["metrics"] == {"validation": {"accuracy": pytest.approx(float(right.float().mean()))}}
        assert found["parameters"] == sum(parameter.numel() for parameter in crop.parameters())
        assert found["score"] == found["metrics"]["validation"]["accuracy"] and found["seconds"] > 0
        assert f" {found['parameters']:,} |" in table and f"{100 * found['score']:.1f}{mark} |" in table
    assert results["med"]["widths"]["32"]["speedup"] == 1.0 and results["med"]["widths"]["32"]["flop_ratio"] == 1.0
    often = int(data.splits["train"].labels.mean() > 0.5)
    share = float((data.splits["validation"].labels == often).mean())
    assert results["med"]["majority"] == {"validation": {"accuracy": share}}
    assert results["med"]["examples"] == {"validation": 12} and "Validation examples: RTE 12." in table
    (row,) = (line for line in table.splitlines() if "majority class" in line and line.startswith("|"))
    assert [cell.strip() for cell in row.strip("|").split("|")][-2:] == [f"{100 * share:.1f}"] * 2
    assert not (run / "checkpoint").exists()


def test_a_bert_is_asked_for_no_triples(done):
    run, _ = done
    asked = ["answer", f"{run}/med", "--head=Austria", "--relation=x"]
    for command in (["evaluate", "--model", f"{run}/med"], asked, [*asked, "--build=true"]):
        with pytest.raises(PmdError, match=r"med'.*BERT.*triples.*transformers"):
            dispatch(command)
    with pytest.raises(PmdError, match=r"BERT.*triples"):
        pmd.load_scorer(run / "finetune", pmd.load_graph("world"))


def test_the_mean_of_the_widths_chooses_the_epoch(done):
    run, results = done
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "valid_8" in line]
    assert [line["epoch"] for line in lines] == [1, 2]
    for line in lines:
        assert line["valid"] == pytest.approx(sum(line[f"valid_{width}"] for width in WIDTHS) / 3)
    best = max(lines, key=lambda line: line["valid"])
    assert results["med"]["valid"] == best["valid"] and results["med"]["best_epoch"] == best["epoch"]
    assert {width: of["score"] for width, of in results["med"]["widths"].items()} == {
        str(width): best[f"valid_{width}"] for width in WIDTHS
    }


def test_widths_learn_together(place, tmp_path):
    write_task(tmp_path, "rte", train=200, valid=50)
    changes = {
        "data.path": tmp_path,
        "train.epochs": 12,
        "train.lr": 0.01,
        "methods": ["med"],
        "evaluation.speed_rounds": 0,
    }
    _, results = train(place, "learned", **changes)
    scores = [of["score"] for of in results["med"]["widths"].values()]
    assert all(score >= 0.8 for score in scores), scores
    assert "speedup" not in results["med"]["widths"]["8"]


def test_every_method_order_and_start(place):
    taught = [{"name": name, "method": name, "width": 16, "layers": 1} for name in ("bkd", "pkd", "minilm", "rkd")]
    stages = [
        {"name": "finetune"},
        *taught,
        {"name": "narrow", "width": 8, "order": "magnitude", "batch_size": 4},
        {"name": "hat", "method": "hat"},
        {"name": "paper", "method": "med", "med": {"recipe": "med"}},
    ]
    changes = {"stages": json.dumps(stages), "train.epochs": 1, "evaluation.speed_rounds": 0}
    run, results = train(place, "all", **changes, task="stsb")
    assert {name: [*result["widths"]] for name, result in results.items()} == {
        "finetune": ["32"],
        **{name: ["16"] for name in ("bkd", "pkd", "minilm", "rkd")},
        "narrow": ["8"],
        **{name: ["8", "16", "32"] for name in ("hat", "paper")},
    }
    assert results["pkd"]["layers"] == 1 and results["pkd"]["start"] == results["pkd"]["teacher"] == "finetune"
    assert {name: result["order"] for name, result in results.items()} == {
        "finetune": "none",
        "narrow": "magnitude",
        **dict.fromkeys(("bkd", "pkd", "minilm", "rkd", "hat", "paper"), "taylor"),
    }
    assert results["hat"]["start"] == results["paper"]["start"] == "finetune"
    assert {name for name, result in results.items() if result["steps"] == 2 * results["hat"]["steps"]} == {"narrow"}
    assert {*results["bkd"]["widths"]["16"]["metrics"]["validation"]} == {"pearson", "spearmanr"}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"hard", "mutual", "w3"} <= {key for line in lines if line["stage"] == "paper" for key in line}
    for file in (run / "bkd" / "predictions" / "validation" / "16").iterdir():
        values = [float(line.split("\t")[1]) for line in file.read_text().splitlines()[1:]]
        assert file.name == "STS-B.tsv" and len(values) == 12 and all(0 <= value <= 5 for value in values)


def test_nothing_is_read_twice(place, monkeypatch):
    """Validation once an epoch and once at the end, and the training split once by the teacher of all students."""
    plain, seen, said = glue.GlueRun.logits, [], []

    def logits(self, stage, model, split):
        seen.append(split.split.name)
        found = plain(self, stage, model, split)
        said.extend(found if split.split.name == "train" else [])
        return found

    monkeypatch.setattr(glue.GlueRun, "logits", logits)
    stages = [{"name": "finetune"}, *({"name": f"bkd-{w}", "method": "bkd", "width": w} for w in (16, 8))]
    changes = {"stages": json.dumps(stages), "train.epochs": 2, "evaluation.speed_rounds": 0, "task": "mrpc"}
    run, results = train(place, "once", **changes)
    assert (seen.count("validation"), seen.count("train")) == (3 * (2 + 1), 1)
    teacher = AutoModelForSequenceClassification.from_pretrained(run / "finetune").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "finetune")
    data = load_glue(str(place), task_of("mrpc")).splits["train"]
    batch = EncodedSplit(data, tokenizer, 24, str(place / "cache"))(range(24))
    with torch.no_grad():
        torch.testing.assert_close(said[0][batch.positions], teacher(**batch.inputs).logits, atol=1e-5, rtol=1e-4)
    # A run that goes on has the same teacher, who must be asked anew.
    written = (run / "bkd-8" / "model.safetensors").read_bytes()
    shutil.rmtree(run / "bkd-8")
    (run / "results.json").write_text(json.dumps({name: results[name] for name in ("finetune", "bkd-16")}))
    glue_command([f"--resume={run}"])
    assert seen.count("train") == 2 and (run / "bkd-8" / "model.safetensors").read_bytes() == written


def test_speed_is_measured_in_the_precision_of_the_run(place, monkeypatch):
    kinds = {}

    def median_seconds(calls, rounds):
        kinds.update({name: call().dtype for name, call in calls.items()})
        return dict.fromkeys(calls, 1.0)

    monkeypatch.setattr(glue, "median_seconds", median_seconds)
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})  # a process has one precision otherwise
    changes = {"methods": ["med"], "train.epochs": 1, "train.precision": "bf16"}
    train(place, "bf16", **changes)
    assert kinds == dict.fromkeys(["full", 8, 16], torch.bfloat16)


def test_an_order_changes_nothing_but_the_order(place):
    """Before training the full model answers as it did, and its crops do not."""
    from pmd.distill.bert_start import first_model
    from pmd.settings.glue import GlueModelConfig, GlueStageConfig

    config, task = GlueModelConfig(str(place / "bert"), WIDTHS, 24), task_of("rte")
    data = load_glue(str(place), task).splits["train"]
    batch = EncodedSplit(data, AutoTokenizer.from_pretrained(place / "bert"), 24, str(place / "cache"))(range(8))
    found = {}
    for order in ("none", "magnitude", "taylor"):
        torch.manual_seed(0)
        stage = GlueStageConfig("a", method="med", order=order)
        model = first_model(stage, str(place / "bert"), config, task, data.labels, lambda: [batch], torch.device("cpu"))
        assert model.training
        found[order] = model.eval().forward_widths(**batch.inputs)
    for order in ("magnitude", "taylor"):
        torch.testing.assert_close(found[order][-1], found["none"][-1], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(found[order][0], found["none"][0], atol=1e-2)


def test_a_regression_begins_with_the_mean_of_the_labels(place, tmp_path):
    from pmd.distill.bert_start import croppable
    from pmd.settings.glue import GlueModelConfig

    config, labels = GlueModelConfig(widths=WIDTHS, max_length=24), np.array([1.0, 2.5, 4.5], dtype=np.float32)
    first = croppable(str(place / "bert"), config, task_of("stsb"), labels)
    assert first.classifier.bias.tolist() == pytest.approx([8 / 3])
    first.save_pretrained(tmp_path)  # a head that was trained stays
    assert croppable(str(tmp_path), config, task_of("stsb"), labels + 1).classifier.bias.tolist() == pytest.approx(
        [8 / 3]
    )
    assert croppable(str(tmp_path), config, task_of("mnli"), np.array([0, 1, 2])).classifier.bias.tolist() == [0, 0, 0]
    croppable(str(place / "bert"), config, task_of("mnli"), np.array([0, 1, 2])).save_pretrained(tmp_path)
    assert croppable(str(tmp_path), config, task_of("stsb"), labels).classifier.bias.tolist() == pytest.approx([8 / 3])
    other = croppable(str(place / "bert"), config, task_of("rte"), np.array([1, 1, 0]))
    assert other.classifier.bias.tolist() == [0, 0]


def test_ctrl_c_and_resume_give_the_same_models(done, place, monkeypatch):
    whole, results = done
    plain, calls = EncodedSplit.__call__, []

    def interrupt(self, positions):
        calls.append(positions)
        if len(calls) == 12:  # in the second epoch of the second stage
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, positions)

    monkeypatch.setattr(EncodedSplit, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(place, "cut")
    monkeypatch.undo()
    (cut,) = (place / "runs").glob("cut-*")
    assert [*json.loads((cut / "results.json").read_text())] == ["finetune"]
    (cut / "results.json").unlink()  # as if it had been stopped while the first stage was measured
    written = (cut / "finetune" / "model.safetensors").stat().st_mtime_ns
    glue_command([f"--resume={cut}"])
    assert (cut / "finetune" / "model.safetensors").stat().st_mtime_ns == written
    for stage in ("finetune", "med"):
        assert (cut / stage / "model.safetensors").read_bytes() == (whole / stage / "model.safetensors").read_bytes()
    again = json.loads((cut / "results.json").read_text())
    for stage in ("finetune", "med"):
        for mine, other in zip(again[stage]["widths"].values(), results[stage]["widths"].values()):
            assert mine["metrics"] == other["metrics"]
        assert again[stage]["best_epoch"] == results[stage]["best_epoch"]


def test_ctrl_c_between_two_stages_is_answered_too(place, monkeypatch, capsys):
    def interrupt(*of):
        raise KeyboardInterrupt

    monkeypatch.setattr(glue, "measured", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(place, "between", methods=["finetune"], **{"train.epochs": 1})
    assert re.search(r"stopped; go on with --resume \S+\n$", capsys.readouterr().err)
    monkeypatch.undo()
    (run,) = (place / "runs").glob("between-*")
    glue_command([f"--resume={run}"])
    assert [*json.loads((run / "results.json").read_text())] == ["finetune"]
    assert "nothing was trained" not in capsys.readouterr().err
    glue_command([f"--resume={run}"])
    assert "all stages were finished before; nothing was trained\n" in capsys.readouterr().err


def test_ctrl_c_before_there_is_a_run_is_answered(place, monkeypatch, capsys):
    def interrupt(*of):
        raise KeyboardInterrupt

    monkeypatch.setattr(glue, "EncodedSplit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(place, "nothing", methods=["finetune"])
    assert capsys.readouterr().err.endswith("stopped\n")
    assert not [*(place / "runs").glob("nothing-*")]


def test_a_stage_needs_an_example_for_every_process(place, monkeypatch):
    monkeypatch.setattr(
        lifecycle, "accelerator_for", lambda *_: SimpleNamespace(num_processes=4, device=torch.device("cpu"))
    )
    stages = json.dumps([{"name": "finetune"}, {"name": "med", "method": "med", "batch_size": 2}])
    with pytest.raises(PmdError, match=r"^stages \(med\)\.batch_size: 2"):
        train(place, "many", stages=stages)


def test_the_order_is_judged_by_as_many_examples_whatever_the_batch(place, monkeypatch):
    judged = []

    def first(stage, source, config, task, labels, batches, device):
        judged.append([sorted(batch.positions.tolist()) for batch in batches()])
        raise KeyboardInterrupt

    monkeypatch.setattr(glue, "first_model", first)
    monkeypatch.setattr(glue, "ORDER_EXAMPLES", 6)
    monkeypatch.setattr(glue, "ORDER_BATCH", 4)
    for size in (2, 8):
        with pytest.raises(KeyboardInterrupt):
            train(place, f"judged{size}", methods=["finetune"], **{"train.batch_size": size})
    assert [len(part) for part in judged[0]] == [4, 2] and len({*judged[0][0], *judged[0][1]}) == 6
    assert judged[0] == judged[1]


def test_the_newest_run_of_this_script_is_resumed(done, tmp_path, capsys):
    run, _ = done
    (tmp_path / "other-20990101-000000").mkdir()
    (tmp_path / "other-20990101-000000" / "config.yaml").write_text("loss: {}")
    shutil.copytree(run, tmp_path / run.name)
    glue_command(["--resume", f"--runs={tmp_path}"])
    assert capsys.readouterr().out.strip() == (run / "table.md").read_text().strip()  # nothing was left to do


def test_leaderboard_files(done, place):
    run, _ = done
    for width in WIDTHS:
        header, *lines = (run / "med" / "predictions" / "test" / str(width) / "RTE.tsv").read_text().splitlines()
        assert header == "index\tprediction" and [line.split("\t")[0] for line in lines] == ["0", "3", "6", "9", "12"]
        assert {line.split("\t")[1] for line in lines} <= {"entailment", "not_entailment"}


def test_leaderboard_labels(tmp_path):
    idx, ids = np.array([4, 7]), np.array([1, 0])
    expected = {"mnli": "neutral entailment", "wnli": "1 0", "qnli": "not_entailment entailment", "cola": "1 0"}
    for key, words in expected.items():
        write_answers(tmp_path / key, task_of(key), idx, ids)
        first, second = words.split()
        assert (tmp_path / key).read_text() == f"index\tprediction\n4\t{first}\n7\t{second}\n"
    write_answers(tmp_path / "stsb", task_of("stsb"), idx, np.array([-0.25, 7.5]))
    assert (tmp_path / "stsb").read_text() == "index\tprediction\n4\t0.000\n7\t5.000\n"


def test_mnli_has_two_files_and_the_diagnostics(tmp_path):
    write_bert(tmp_path / "bert", head=True)  # for other labels
    write_task(tmp_path / "MNLI", "mnli", test=4)
    (tmp_path / "AX").mkdir()
    (tmp_path / "AX" / "test.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows_of(AX, 3, labelled=False))
    )
    changes = {"task": "mnli", "methods": ["med"], "train.epochs": 1, "evaluation.speed_rounds": 0}
    run, results = train(tmp_path, "mnli", **changes)
    metrics = results["med"]["widths"]["16"]["metrics"]
    assert [*metrics] == ["validation_matched", "validation_mismatched"]
    files = {file.name: len(file.read_text().splitlines()) for file in (run / "med/predictions/test/16").iterdir()}
    assert files == {"MNLI-m.tsv": 5, "MNLI-mm.tsv": 5, "AX.tsv": 4}
    assert "acc. matched" in (run / "table.md").read_text()


@pytest.mark.parametrize(
    "change, message",
    [
        (["--model.widht=3"], "'model.widths'"),
        (['--stages=[{"name": "a", "witdh": 3}]'], "'stages.width'"),
        (["--task=rta"], "'rte'"),
        (["--model.widths=[8,12,32]"], "model.widths: width 12.*heads.*8.*among 8, 16, 24, 32"),
        (["--model.max_length=65"], "max_length: 65.*64"),
        (["--model.name=nowhere/nothing"], "cannot load 'nowhere/nothing'"),
        (["--data.path=PLACE/RTE", "--task=cola"], "folder of RTE.*CoLA"),
        (["--model.name=PLACE/no_tokenizer"], "no_tokenizer'.*give"),
        (["--model.name=PLACE/few_ids"], r"\d+.*below 50"),
        (["--model.name=PLACE/one_segment"], "model.name.*BERT.*RTE"),
        (['--stages=[{"name": "s", "width": 12}]'], r"stages \(s\).width: width 12.*heads.*8"),
        (
            ['--stages=[{"name": "finetune"}, {"name": "s", "method": "bkd", "layers": 9}]'],
            r"stages \(s\).layers: 9.*BERT.*2.*1.*2",
        ),
        (
            ["--model.widths=[24,32]", "--methods=[finetune,minilm]"],
            r"stages \(minilm-24\).width.*teacher's 32.*3 heads",
        ),
        (
            [
                '--stages=[{"name": "finetune"}, {"name": "t", "method": "bkd", "width": 16},'
                ' {"name": "s", "method": "minilm", "width": 24, "teacher": "t", "start": "finetune"}]'
            ],
            r"stages \(s\).width.*teacher's 16.*3 heads",
        ),
        (['--stages=[{"name": "a", "width": 32}]'], r"stages \(a\).width: 32.*BERT"),
        (["--model.widths=null", "--methods=[finetune,bkd]"], "methods: bkd.*width"),
        (["--resume"], "leave out"),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(change, message, place, monkeypatch):
    monkeypatch.setattr(lifecycle, "run_stage", lambda *_: pytest.fail("a stage was started"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PmdError, match=message) as caught:
        glue_command([*options(place), *(part.replace("PLACE", str(place)) for part in change)])
    assert "\n" not in str(caught.value)


def test_a_crop_has_a_tokenizer_or_is_not_written(place, tmp_path):
    with pytest.raises(PmdError, match="no_tokenizer'"):
        dispatch(["crop", str(place / "no_tokenizer"), "--width=16", f"--out={tmp_path}/crop"])
    assert not (tmp_path / "crop").exists()


def test_one_segment_is_enough_for_one_text(place, tmp_path):
    write_task(tmp_path, "cola")
    changes = {"data.path": tmp_path, "model.name": place / "one_segment", "methods": ["finetune"], "train.epochs": 1}
    _, results = train(place, "one", **changes, task="cola")
    assert [*results["finetune"]["widths"]] == ["32"]


def table_options(place, out, *more) -> list[str]:
    base = options(place, **{"train.epochs": 1, "evaluation.speed_rounds": 1})
    base = [f"--base.{option[2:]}" for option in base if not option.startswith(("--task", "--runs"))]
    return [*base, "--base.methods=[med,bkd]", f"--out={out}", *more]


def test_the_table_fills_the_papers_layout_and_goes_on(place, tmp_path, capsys, monkeypatch):
    out = tmp_path / "table"
    tuned = '--tuned=[{"task": "mrpc", "epochs": 2}, {"task": "cola", "epochs": 3}]'  # CoLA is left out
    glue_table_command(table_options(place, out, "--tasks=[rte,mrpc]", "--seeds=[0,1]", tuned))
    table = (out / "table.md").read_text()
    assert capsys.readouterr().out.strip() == table.strip()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    assert lines[0] == ["model", "#P (M)", "speed-up", "MRPC F1/acc.", "RTE acc.", "mean"]
    assert lines[lines.index([""]) + 1] == ["Validation examples: MRPC 12, RTE 12."]
    lines = lines[: lines.index([""])]
    ours = [line[0] for line in lines[2:] if "published" not in line[0]]
    assert ours == ["finetune, 32", "best, 32", "best, 16", "bkd-16", "best, 8", "bkd-8", "majority class"]
    found = json.loads((out / "results.json").read_text())
    scores = [100 * run["med"]["widths"]["8"]["metrics"]["validation"]["accuracy"] for run in found["rte"]]
    (row,) = (line for line in lines if line[0] == "best, 8")
    assert row[4].split(" †")[0] == f"{np.mean(scores):.1f} ± {np.std(scores, ddof=1):.1f}"
    assert found["mrpc"][0]["med"]["epochs"] == 2 and found["rte"][0]["med"]["epochs"] == 1
    published = [line for line in lines if line[0].startswith("BERT-MED (published)")]
    assert [line[1] for line in published] == ["54", "17.5", "6.36"] and published[0][4] == "67.2"
    files = {str(file.relative_to(out / "predictions")) for file in (out / "predictions").rglob("*.tsv")}
    assert {"test/med-8/RTE.tsv", "validation/bkd-16/MRPC.tsv"} <= files
    monkeypatch.setattr(glue_table, "train_glue", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(glue_table, "read_inputs", lambda *_: pytest.fail("read again"))
    glue_table_command(table_options(place, out, "--tasks=[rte,mrpc]", "--seeds=[0,1]", tuned))
    assert (out / "table.md").read_text() == table
    with pytest.raises(PmdError, match=r"train\.epochs 1.*3"):
        glue_table_command(
            table_options(place, out, "--tasks=[rte,mrpc]", "--seeds=[0,1]", tuned, "--base.train.epochs=3")
        )
    for less, left in (("--tasks=[rte]", "mrpc of seed 0"), ("--seeds=[1]", "mrpc of seed 0")):
        with pytest.raises(PmdError, match=rf"{left}.*--tasks"):
            glue_table_command(table_options(place, out, "--tasks=[rte,mrpc]", "--seeds=[0,1]", less))
    assert (out / "table.md").read_text() == table


@pytest.mark.parametrize(
    "more, message",
    [
        (["--tasks=[]"], "--tasks.*--seeds:"),
        (["--tasks=[rte]", '--tuned=[{"task": "colla", "lr": 1}]'], "tuned: 'colla'.*'cola'"),
        (["--tasks=[rte,stbs]"], "tasks: 'stbs'.*'stsb'"),
        (["--tasks=[rte]", "--base.methods=[medd]"], "medd"),
        (["--tasks=[rte,RTE]"], "--tasks: rte"),
        (["--tasks=[rte]", "--seeds=[1,1]"], "--seeds: 1"),
        (["--tasks=[rte]", "--base.seed=4"], "--base.seed: 4"),
        (["--tasks=[rte]", "--base.task=nonsense"], "--base.task: nonsense.*--tasks"),
        (["--tasks=[rte]", "--base.name=mine"], "--base.name: mine.*--out"),
        (["--tasks=[rte]", "--base.runs=mine"], "--base.runs: mine.*--out"),
    ],
)
def test_tables_that_cannot_be_filled_are_refused(more, message, place, tmp_path):
    with pytest.raises(PmdError, match=message):
        glue_table_command(table_options(place, tmp_path, *more))


def test_a_table_looks_at_all_its_data_and_its_folder_first(done, place, tmp_path, monkeypatch):
    monkeypatch.setattr(glue_table, "train_glue", lambda *_: pytest.fail("trained first"))
    with pytest.raises(PmdError, match=r"train\.jsonl.*'QNLI'"):
        glue_table_command(table_options(place, tmp_path / "late", "--tasks=[rte,qnli]"))
    with pytest.raises(PmdError, match=r"model\.widths: width 12.*heads"):
        glue_table_command(table_options(place, tmp_path / "late", "--tasks=[rte]", "--base.model.widths=[12,32]"))
    assert not (tmp_path / "late").exists()
    (tmp_path / "med").mkdir()
    (tmp_path / "med" / "results.json").write_text('{"best": []}')
    with pytest.raises(PmdError, match=r"med'.*GLUE"):
        glue_table_command(table_options(place, tmp_path / "med", "--tasks=[rte]"))
    with pytest.raises(PmdError, match=r"--out: '.*done-.*'"):
        glue_table_command(table_options(place, done[0], "--tasks=[rte]"))


def test_one_process_writes_a_table(place, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PmdError, match="2 processes"):
        glue_table_command(table_options(place, tmp_path / "table", "--tasks=[rte]"))
    assert not (tmp_path / "table").exists()

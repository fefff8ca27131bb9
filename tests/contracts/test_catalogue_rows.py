"""Every row of the catalogue, through all that is done with a model: trained, ranked, asked, exported, published, reported.

The rows themselves are the cases, so a new one is walked through without a line here.
"""

import json

import pytest
from transformers import AutoModelForSequenceClassification

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.run import Run
from pmd.evaluation.glue import FORMULAS as GLUE_FUNCTIONS
from pmd.hub.card import bibtex_entries
from pmd.settings.catalogue import FAMILIES, INTERACTIONS, METHODS, METRICS, TASKS

from ..tiny_glue import WIDTHS, write_bert, write_task

SMALL = {"train.batch_size": 64, "train.threads": 1, "train.epochs": 1, "train.log_every": 1}
EMBEDDING = {**SMALL, "model.dim": 8, "train.lr": 0.05, "loss.negatives": 4, "train.valid_every": 0}
TEXT = {**SMALL, "encoder.layers": 2, "encoder.hidden_size": 16, "encoder.heads": 2, "encoder.intermediate_size": 16}
TEXT |= {"encoder.vocab_size": 120, "encoder.max_length": 16}
BERT = {**SMALL, "task": "rte", "model.widths": WIDTHS, "model.max_length": 16, "evaluation.speed_rounds": 0}


def stages_of(family: str) -> list[dict]:
    """A stage for each method, after one that teaches; what a method needs, its row says."""
    teacher = {"name": "first"}
    sizes = {"text": {"layers": 1, "mask_rate": 0.2}, "embedding": {"dim": 4}, "bert": {"width": WIDTHS[0]}}[family]
    stages = [{"name": "first", "method": "finetune"} if family == "bert" else teacher]
    for row in METHODS[family].values():
        stage = {"name": f"by-{row.name}", "method": row.name}
        if row.croppable:
            stage |= {"widths": [2, 4, 8]} if family == "embedding" else {}
        elif row.teacher:
            stage |= {"teacher": "first", **sizes}
        stages.append(stage)
    return stages


def run_of(runs, name, command, options) -> Run:
    COMMANDS[command](["--config=" + str(runs / "empty.yaml"), *(f"--{key}={value}" for key, value in options.items())])
    return Run(next(runs.glob(f"{name}-2*")))


@pytest.fixture(scope="session")
def all_rows(folder, tmp_path_factory):
    """By family: a run with a stage for each of its methods; and by interaction, a run of one model."""
    runs = tmp_path_factory.mktemp("rows")
    (runs / "empty.yaml").write_text("{}")
    graph = {"data.path": folder, "runs": runs, "data.cache": runs / "cache"}
    bert, task = write_bert(runs / "bert"), write_task(runs / "RTE", "RTE")
    options = {
        "text": {**TEXT, **graph},
        "embedding": {**EMBEDDING, **graph},
        "bert": {**BERT, "data.path": task, "model.name": bert, "runs": runs, "data.cache": runs / "cache"},
    }
    found = {
        family: run_of(
            runs, family, row.command, {**options[family], "name": family, "stages": json.dumps(stages_of(family))}
        )
        for family, row in FAMILIES.items()
        if family in METHODS
    }
    for name in INTERACTIONS:
        found[name] = run_of(runs, name, "train", {**options["embedding"], "model.interaction": name, "name": name})
    parts = [
        str(found[name].folder) for name in ("text", next(row.name for row in INTERACTIONS.values() if row.product))
    ]
    COMMANDS["fuse"]([*parts, f"--out={runs / 'fused'}"])
    return {**found, "fused": Run(runs / "fused")}


CASES = [
    *((family, f"by-{name}") for family, rows in METHODS.items() for name in rows),
    *((name, name) for name in INTERACTIONS),
    ("fused", "fused"),
]
MODELS = pytest.mark.parametrize(("run", "stage"), CASES)
RANKED = pytest.mark.parametrize(("run", "stage"), [case for case in CASES if case[0] != "bert"])


@MODELS
def test_it_is_trained_and_measured(run, stage, all_rows):
    result = all_rows[run].results[stage]
    if run == "fused":
        assert result.metrics["test"]["num_queries"] == all_rows["text"].results["first"].metrics["test"]["num_queries"]
        return
    if run in INTERACTIONS:
        assert (result.interaction, result.method) == (run, "supervised")
        return
    row = METHODS[run][stage.removeprefix("by-")]
    assert result.method == row.name and (result.teacher == "first") == row.teacher
    sizes = result.sub_models if run == "bert" else result.by_width("test")
    assert (len(sizes) > 1) == row.croppable


@RANKED
def test_it_ranks_and_answers(run, stage, all_rows, folder):
    graph, model = pmd.load_graph(folder), all_rows[run].folder / stage
    again = pmd.rank(pmd.load_scorer(model, graph), graph, split="test").to_dict()
    noted = all_rows[run].results[stage].metrics["test"]
    assert {key: again[key] for key in METRICS["ranking"]} == pytest.approx(
        {key: noted[key] for key in METRICS["ranking"]}, abs=1e-6
    )
    assert len(pmd.load(model).answer(tail="Icelandish", relation="speaks", top_k=3)) == 3


@MODELS
def test_it_is_exported(run, stage, all_rows, tmp_path):
    model = all_rows[run].folder / stage
    if run == "bert":  # is one of transformers as it is, and so is its crop
        COMMANDS["crop"]([str(model), f"--width={WIDTHS[0]}", f"--out={tmp_path}/out"])
        assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config.hidden_size == WIDTHS[0]
        return
    if run == "fused":
        pytest.importorskip("onnxruntime")
    to = {"text": "sentence-transformers", "fused": "onnx"}.get(run, "embeddings")
    COMMANDS["export"]([str(model), f"--to={to}", f"--out={tmp_path}/out"])
    assert (tmp_path / "out" / "README.md").is_file()


@MODELS
def test_it_has_a_card(run, stage, all_rows, tmp_path):
    COMMANDS["push"]([str(all_rows[run].folder / stage), "user/name", "--dry-run", f"--out={tmp_path}/out"])
    card = (tmp_path / "out" / "README.md").read_text()
    if run == "fused":
        rows = [INTERACTIONS[all_rows[run].results[stage].interaction]]
        assert f"a {rows[0].title} embedding model, side by side" in card
    elif run in INTERACTIONS:
        rows = [INTERACTIONS[run]]
        assert f"A {rows[0].title} embedding model" in card and rows[0].score in card
    else:
        rows = [METHODS[run][stage.removeprefix("by-")]]
        assert rows[0].summary in card
    keys = [key for row in rows if (key := row.citation)] + [*FAMILIES.get(run, FAMILIES["embedding"]).citations]
    assert all(entry in card for entry in bibtex_entries(keys)) and len(bibtex_entries(keys)) == len(keys)


def test_the_runs_are_reported(all_rows, tmp_path):
    pytest.importorskip("matplotlib")
    runs = [str(run.folder) for run in all_rows.values()]
    COMMANDS["report"]([*runs, f"--out={tmp_path}/page.html", "--rank=false"])
    page = (tmp_path / "page.html").read_text()
    assert all(stage in page for _, stage in CASES)
    assert all(row.title in page for row in METRICS["ranking"].values())


@pytest.mark.parametrize("row", METRICS["ranking"].values(), ids=lambda row: row.name)
def test_a_ranking_metric_has_a_column_everywhere(row, all_rows, tmp_path, capsys):
    run = all_rows["rotate"]
    value = row.text(run.results["rotate"].metrics["test"][row.name])
    COMMANDS["evaluate"]([str(run.folder / "rotate")])
    COMMANDS["push"]([str(run.folder), "user/name", "--dry-run", f"--out={tmp_path}/out"])
    for text in (
        (run.folder / "table.md").read_text(),
        capsys.readouterr().out,
        (tmp_path / "out/README.md").read_text(),
    ):
        header = next(line for line in text.splitlines() if f" {row.title} |" in line)
        cells = text[text.index(header) :].splitlines()[2].split("|")
        assert (
            cells[
                header.split("|").index(next(cell for cell in header.split("|") if cell.strip() == row.title))
            ].strip()
            == value
        )


@pytest.mark.parametrize("row", METRICS["glue"].values(), ids=lambda row: row.name)
def test_a_metric_of_glue_is_computed_for_a_task(row):
    assert row.name in GLUE_FUNCTIONS and any(row.name in task.metrics for task in TASKS.values())

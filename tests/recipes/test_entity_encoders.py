"""Runs whose entities are computed by NodePiece and EARL: they train, teach, rank, answer, and are published like tables."""

import json

import pytest
from safetensors.torch import load_file

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.settings.catalogue import ENTITY_ENCODERS
from pmd.settings.kge import KgeConfig
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.kge import check_kge_run

from .test_kge import TINY

SETTINGS = ["--model.nodepiece.anchors=5", "--model.nodepiece.nearest=2", "--model.nodepiece.relations=2"]
SETTINGS += ["--model.earl.reserved=0.2", "--model.earl.nearest=3", "--model.earl.selection=degree"]
STAGES = [
    {"name": "wide", "encoder": "nodepiece"},
    {"name": "alone", "dim": 4, "encoder": "earl"},
    {"name": "first", "dim": 4, "encoder": "earl", "teacher": "wide"},
    {"name": "taught", "dim": 4, "encoder": "earl", "teacher": "wide", "start": "first", "release": True},
    {"name": "table", "dim": 4, "teacher": "wide"},
]


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    options = [*TINY, *SETTINGS, "--train.epochs=20", f"--data.path={folder}", f"--runs={runs}", "--name=few"]
    COMMANDS["train"]([*options, f"--stages={json.dumps(STAGES)}", "--evaluation.split=train"])
    return next(runs.glob("few-*"))


def test_every_model_ranks_as_noted(run, folder):
    graph, results = pmd.load_graph(folder), json.loads((run / "results.json").read_text())
    for stage in STAGES:
        result, model = results[stage["name"]], pmd.load_scorer(run / stage["name"], graph)
        assert model.encoder == stage.get("encoder", "table")
        assert result.get("entity_encoder", "table") == model.encoder
        assert pmd.rank(model, graph, "train").to_dict() == result["metrics"]["train"]
        assert result["parameters"] == sum(p.numel() for p in model.parameters())
    # 48 entities, 2 relations; 16 numbers of an entity of 8 dimensions, and one of each relation's.
    tokens, layers = (5 + 1 + 12 + 2 * 2 + 1) * 16, (4 * 16 + 1) * 32 + (32 + 1) * 16
    assert results["wide"]["parameters"] == tokens + layers + 2 * 8
    assert results["table"]["parameters"] == 4 * (2 * 48 + 2)
    chance = sum(1 / rank for rank in range(1, 49)) / 48
    assert all(result["metrics"]["train"]["mrr"] > 1.3 * chance for result in results.values())
    assert results["taught"]["start"] == "first" and results["taught"]["released"]
    before, after = (load_file(run / name / "model.safetensors") for name in ("first", "taught"))
    assert all((before[key] == after[key]).all() for key in before if key.endswith(("reserved", "nearest", "triples")))
    assert (before["entity_encoder.reserved_rows.weight"] != after["entity_encoder.reserved_rows.weight"]).any()


def test_a_run_goes_on_with_the_same_numbers(run, folder, tmp_path):
    """And a graph is read alike: the entities that stand for others are those of the seed."""
    options = [*TINY, *SETTINGS, "--train.epochs=20", f"--data.path={folder}", f"--runs={tmp_path}", "--name=few"]
    COMMANDS["train"]([*options, f"--stages={json.dumps(STAGES[:2])}", "--evaluation.split=train"])
    again = next(tmp_path.glob("few-*"))
    for stage in ("wide", "alone"):
        one, other = (load_file(folder / stage / "model.safetensors") for folder in (run, again))
        assert all((one[key] == other[key]).all() for key in one)


@pytest.mark.parametrize("stage", ["wide", "taught"])
def test_a_model_is_used_like_a_table(run, folder, stage, tmp_path, capsys):
    model, graph = run / stage, pmd.load_graph(folder)
    assert len(pmd.load(model).answer(tail="Icelandish", relation="speaks", top_k=3)) == 3
    COMMANDS["evaluate"]([f"--model={model}", f"--data.path={folder}"])
    assert f"{pmd.rank(pmd.load_scorer(model, graph), graph, 'test').mrr:.3f}" in capsys.readouterr().out
    COMMANDS["export"]([str(model), "--to=embeddings", f"--out={tmp_path}/out"])
    scorer = pmd.load_scorer(model, graph)
    stored = load_file(tmp_path / "out" / "embeddings.safetensors")
    assert (stored["entities"] == scorer.entities.detach().flatten(1)).all()
    assert (stored["relations"] == scorer.relations.detach().flatten(1)).all()
    pmd.crop(model, pmd.load(model).widths[-1], tmp_path / "copy")
    assert pmd.rank(pmd.load_scorer(tmp_path / "copy", graph), graph, "test") == pmd.rank(scorer, graph, "test")
    with pytest.raises(PmdError, match="no narrower ones"):
        COMMANDS["crop"]([str(model), "--width=2", f"--out={tmp_path}/small"])


@pytest.mark.parametrize("stage", ["wide", "taught", "table"])
def test_its_card_says_where_its_vectors_come_from(run, stage, tmp_path):
    COMMANDS["push"]([str(run / stage), "user/name", "--dry-run", f"--out={tmp_path}/out"])
    card = (tmp_path / "out" / "README.md").read_text()
    row = ENTITY_ENCODERS[next(s for s in STAGES if s["name"] == stage).get("encoder", "table")]
    parameters = json.loads((run / "results.json").read_text())[stage]["parameters"]
    assert (row.summary in card) == (stage != "table") and f"{parameters:,} parameters" in card
    assert [row.citation in card for row in ENTITY_ENCODERS.values() if row.citation] == [
        other.citation == row.citation for other in ENTITY_ENCODERS.values() if other.citation
    ]


def test_it_is_reported(run):
    COMMANDS["report"]([str(run)])
    assert "taught" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.encoder=nodepeice"], "encoder: 'nodepeice' is not one of table, nodepiece, earl"),
        (["--model.earl.nearest=3"], "model.earl: no model has this encoder"),
        (["--model.encoder=earl", "--model.nodepiece.anchors=3"], "model.nodepiece: no model has this encoder"),
        (["--model.encoder=earl", "--model.earl.reserved=0"], "model.earl.reserved: 0.0 is not in (0, 1]"),
        (["--model.encoder=nodepiece", "--model.nodepiece.anchors=0"], "model.nodepiece.anchors"),
        (["--model.encoder=earl", "--train.optimizer=sparse_adam"], "sparse_adam moves rows of tables, and earl has"),
        (["--model.encoder=earl", "--model.widths=[4,8]"], "widths: earl computes entities of one width"),
        (
            ['--stages=[{"name":"a","encoder":"earl"},{"name":"b","dim":4,"crop":"a"}]'],
            "(b).crop: 'a' computes its entities (earl)",
        ),
        (
            ['--stages=[{"name":"a"},{"name":"b","start":"a","encoder":"earl"}]'],
            "(b).encoder: 'a' has table; start from one that has earl",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_loaded(options, message):
    with pytest.raises(PmdError) as caught:
        check_kge_run(read_config(KgeConfig, ["--model.dim=8", *options]))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.encoder=nodepiece", "--model.nodepiece.anchors=49"], "49 of 48 entities; choose fewer"),
        (["--model.encoder=earl", "--model.earl.reserved=0.1"], "nearest: 10 of 4 reserved entities"),
    ],
)
def test_what_does_not_fit_the_graph_is_refused(options, message, folder, tmp_path):
    with pytest.raises(PmdError, match=message):
        COMMANDS["train"]([*TINY, f"--data.path={folder}", f"--runs={tmp_path}", *options])

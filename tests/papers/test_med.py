"""Croppable models end to end: one command, the widths in its table, crops without training, pictures."""

import json
from pathlib import Path

import pytest
import torch

import pmd
from pmd.cli.commands import COMMANDS
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.distill.kge_dimension_order import dimension_order
from pmd.papers.figures import curves
from pmd.settings.kge import LossConfig
from pmd.settings.med_table import (
    MedTableConfig,
    WidthConfig,
    assistant_stages,
    check_table,
    croppable_stages,
    rival_stages,
    run_settings,
)
from pmd.settings.parsing.config_files import CONFIGS
from pmd.settings.parsing.parse import instantiate, parse, parser_for
from pmd.settings.stages.kge import check_kge_run, resolve_kge_stages

from ..recipes.test_kge import TINY, train

figure_command = COMMANDS["figure"]
med_command = COMMANDS["table"]["med"]

WIDTHS = "--model.widths=[2,4,8]"


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return train(folder, tmp_path_factory.mktemp("runs"), "croppable", WIDTHS, "--model.norm=l2")


def test_one_run_holds_all_widths(run, folder):
    result = json.loads((run / "results.json").read_text())["rotate"]
    graph = pmd.load_graph(folder)
    model = pmd.load_scorer(run / "rotate", graph)
    assert model.widths == (2, 4, 8) and [*result["widths"]["test"]] == ["2", "4", "8"]
    table = (run / "table.md").read_text()
    for width, metrics in result["widths"]["test"].items():
        found = pmd.rank(model.crop(int(width)), graph, "test")
        assert metrics["mrr"] == pytest.approx(found.mrr, abs=1e-6)
        assert f"| {found.mrr:.3f} |" in table
    assert result["metrics"]["test"]["mrr"] == pytest.approx(result["widths"]["test"]["8"]["mrr"], abs=1e-6)


def test_the_mean_of_the_widths_is_validated(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "valid" in line]
    assert [line["epoch"] for line in lines] == [2, 4]
    for line in lines:
        assert line["valid"] == pytest.approx(sum(line[f"valid_{width}"] for width in (2, 4, 8)) / 3)
    assert [*curves(run)] == ["rotate", *(f"rotate, width {width}" for width in (2, 4, 8))]


def test_curves_are_drawn(run, tmp_path, folder):
    figure_command([f"--run={run}", f"--out={tmp_path}/widths.png"])
    assert (tmp_path / "widths.png").read_bytes()[:4] == b"\x89PNG"
    plain = train(folder, tmp_path, "plain", "--train.valid_every=0")
    with pytest.raises(PmdError, match=r"train\.valid_every"):
        figure_command([f"--run={plain}"])


@pytest.mark.parametrize("recipe", ["best", "med", "joint"])
def test_every_recipe_learns(recipe, folder, tmp_path):
    options = ("--loss.name=logistic", "--train.epochs=40", "--train.valid_every=0", "--evaluation.split=train")
    run = train(folder, tmp_path, recipe, WIDTHS, f"--med.recipe={recipe}", *options)
    found = json.loads((run / "results.json").read_text())["rotate"]["widths"]["train"]
    least = {"best": 0.3, "med": 0.12, "joint": 0.3}[recipe]  # of the widest; chance is 0.09
    assert found["8"]["mrr"] > least and all(metrics["mrr"] > 0.09 for metrics in found.values()), found


def test_crops_without_training(folder, tmp_path):
    stages = [{"name": "wide"}]
    stages += [{"name": f"ext_{order}", "dim": 3, "crop": "wide", "order": order} for order in ("loss", "value")]
    run = train(
        folder, tmp_path, "crops", f"--stages={json.dumps([*stages, {'name': 'ext', 'dim': 3, 'crop': 'wide'}])}"
    )
    graph = pmd.load_graph(folder)
    wide, *crops = (pmd.load_scorer(run / name, graph) for name in ("wide", "ext_loss", "ext_value", "ext"))
    assert torch.equal(crops[2].entities, wide.entities[..., :3])
    worth = wide.entities.abs().mean((0, 1)) + wide.relations.abs().mean((0, 1))
    assert torch.equal(crops[1].entities, wide.entities[..., worth.argsort(descending=True)[:3]])
    columns = {tuple(column) for column in wide.entities.flatten(0, 1).T.tolist()}
    assert {tuple(column) for column in crops[0].entities.flatten(0, 1).T.tolist()} <= columns
    results = json.loads((run / "results.json").read_text())
    assert results["ext"]["metrics"]["test"] == pmd.rank(wide.crop(3), graph, "test").to_dict()
    assert "train_seconds" not in results["ext"] and results["ext_loss"]["train_seconds"] > 0


def test_dimensions_are_ordered_once(folder, tmp_path, monkeypatch):
    """Of every model that is cropped, on a sample of the validation triples; who asks first has the seconds."""
    asked = []

    def order(model, by, batches, options):
        batches = [*batches]
        asked.append((model.entities.sum().item(), by, options.margin, batches))
        return dimension_order(model, by, batches, options)

    monkeypatch.setattr("pmd.recipes.kge.dimension_order", order)
    monkeypatch.setattr("pmd.recipes.kge.EXAMPLES", 3)
    monkeypatch.setattr("pmd.recipes.kge.SCORES", 11)
    crops = [("a", "loss", 5), ("a", "loss", 3), ("a", "value", 3), ("b", "loss", 3)]
    stages = [{"name": "a", "margin": 2}, {"name": "b", "margin": 3}]
    stages += [{"name": f"{of}-{by}-{dim}", "dim": dim, "crop": of, "order": by} for of, by, dim in crops]
    options = [f"--stages={json.dumps(stages)}", "--loss.name=logistic", "--loss.shared=2", "--seed=5"]
    run = train(folder, tmp_path, "order", *options)
    graph = pmd.load_graph(folder)
    models = {name: pmd.load_scorer(run / name, graph) for name in ("a", "b", *(f"{o}-{b}-{d}" for o, b, d in crops))}
    assert [call[:3] for call in asked] == [
        (models[of].entities.sum().item(), by, margin)
        for of, by, margin in (("a", "loss", 2), ("a", "value", 2), ("b", "loss", 3))
    ]
    drawn = graph.split("valid")[
        torch.randperm(len(graph.split("valid")), generator=torch.Generator().manual_seed(5))[:3]
    ]
    assert len(drawn) < len(graph.split("valid"))
    batches = asked[0][3]
    assert torch.equal(torch.cat([batch.triples for batch in batches]), drawn) and [
        len(b.triples) for b in batches
    ] == [2, 1]
    assert all(len(side.negatives) == len(side.triples) for batch in batches for side in batch.sides)
    best = dimension_order(models["a"], "loss", batches, LossConfig("logistic", margin=2.0, negatives=4))
    for dim in (5, 3):
        assert torch.equal(models[f"a-loss-{dim}"].entities, models["a"].entities[..., best[:dim]])
    results = json.loads((run / "results.json").read_text())
    timed = [name for name, result in results.items() if "train_seconds" in result]
    assert timed == ["a", "b", "a-loss-5", "a-value-3", "b-loss-3"]


def test_learned_weights_are_logged(folder, tmp_path):
    options = (WIDTHS, "--med.recipe=med", "--loss.name=logistic", "--train.valid_every=0")
    run = train(folder, tmp_path, "logged", *options)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in ("w1", "w2", "w3"):
        values = [line[name] for line in lines]
        assert values[0] == pytest.approx(1, abs=0.1) and values[-1] != values[0]


def test_methods_by_widths(folder, tmp_path, capsys, monkeypatch):
    base = {option.split("=")[0].replace("--", "--base."): option.split("=")[1] for option in TINY}
    options = [f"{key}={value}" for key, value in base.items()]
    options += [f"--base.data.path={folder}", "--base.model.widths=[2,4,8]", "--base.train.epochs=2", "--seeds=[0,1]"]
    paper = {"name": "paper", "widths": [2, 3, 4, 8], "loss": "logistic", "margin": 2, "med": {"recipe": "med"}}
    rows = [{"name": "best"}, paper]
    few = [{"name": "few", "encoder": "nodepiece", "dim": 3, "lr": 0.02}, {"name": "earl", "encoder": "earl", "dim": 2}]
    options += ["--base.model.earl.nearest=2", "--base.model.nodepiece.anchors=4", f"--encoded={json.dumps(few)}"]
    options += [
        f"--croppable={json.dumps(rows)}",
        f"--tuned={json.dumps([{'width': 2, 'lr': 0.1}])}",
        f"--out={tmp_path}",
    ]
    med_command(options)
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    found = results["results"]
    assert [*found] == ["dt", "ext", "ext_l", "ext_v", "bkd", "iterde", "dualde", "best", "paper", "ta"]
    every, narrow = {"2", "4", "8"}, {"2", "4"}
    assert all({*found[row]} == (narrow if row in ("bkd", "iterde", "dualde", "ta") else every) for row in found)
    assert all(len(cell) == 2 for row in found.values() for cell in row.values())
    whole = json.loads((tmp_path / "seed0/main/results.json").read_text())["paper"]["widths"]["test"]
    assert [*whole] == ["2", "3", "4", "8"]
    assert all(found["paper"][width][0]["metrics"]["test"] == whole[width] for width in every)
    mean = sum(r["metrics"]["test"]["mrr"] for r in found["dt"]["2"]) / 2
    line = next(line for line in printed.splitlines() if line.startswith("| DT"))
    assert f"{mean:.3f} ±" in line
    assert found["ext"]["8"] == found["dt"]["8"] and found["iterde"]["2"][0]["teacher"] == "iterde-4"
    assert [r["teacher"] for r in found["ta"]["2"]] == ["assistant-4"] * 2
    assert found["dualde"]["4"][0]["start"] == "dualde_first-4" and found["dualde"]["4"][0]["released"]
    alone = [sum(cell[seed]["train_seconds"] for cell in found["dt"].values()) for seed in (0, 1)]
    assert results["seconds"]["dt"] == pytest.approx(sum(alone) / 2)
    once = sum(r["train_seconds"] for r in found["best"]["2"]) / 2
    assert results["seconds"]["best"] == pytest.approx(once)
    effi = printed.split("Effi")[1]
    size = found["dt"]["2"][0]["parameters"] / 1e6
    assert f"{mean / size:.1f} ±" in next(line for line in effi.splitlines() if line.startswith("| DT"))
    figure_command([f"--run={tmp_path}", "--what=methods"])
    assert (tmp_path / "methods.png").read_bytes()[:4] == b"\x89PNG"
    capsys.readouterr()
    monkeypatch.setattr("pmd.papers.med.train_kge", None)
    med_command(options)  # nothing is left to do
    assert capsys.readouterr().out == printed
    assert [seed["entity_encoder"] for seed in results["encoded"]["few"]] == ["nodepiece"] * 2
    table = printed.split("by parameters")[1].splitlines()
    for row, width, seeds in (("few", 3, results["encoded"]["few"]), ("best", 4, found["best"]["4"])):
        size = seeds[0]["parameters"] / (2 if row == "best" else 1) / 1e6
        mrr = [seed["metrics"]["test"]["mrr"] for seed in seeds]
        cells = next(line for line in table if line.startswith(f"| {row} ") and f" {width} |" in line[:22]).split("|")
        assert f"{sum(mrr) / 2:.3f} ±" in cells[3] and f"{sum(mrr) / 2 / size:.3f} ±" in cells[-3]
        assert cells[-2].strip() == f"{size:.3g}"
    captions = [line for line in printed.splitlines() if " by width" in line]
    assert captions == [f"rotate, test: {name} by width" for name in ("MRR", "Hits@1", "Hits@3", "Hits@10")]
    for title, name in (("Hits@1", "hits_at_1"), ("Hits@3", "hits_at_3")):
        mean = sum(r["metrics"]["test"][name] for r in found["bkd"]["4"]) / 2
        rows = printed.split(f"{title} by width")[1].split("by width")[0].splitlines()
        assert f"{mean:.3f} ±" in next(line for line in rows if line.startswith("| BKD")).split("|")[3]
    med_command([*options, "--metrics=[mr]"])  # from the same runs
    lines = capsys.readouterr().out.split("Effi")[0].splitlines()
    ranks = {row: sum(r["metrics"]["test"]["mr"] for r in found[row]["2"]) / 2 for row in found}
    for row, title in (("dt", "DT"), ("ext_l", "Ext-L"), ("ta", "TA"), ("best", "best"), ("paper", "paper")):
        cell = next(line for line in lines if line.startswith(f"| {title} ")).split("|")[2]
        assert f"{ranks[row]:.1f} ±" in cell and ("**" in cell) == (ranks[row] == min(ranks.values()))
    with pytest.raises(PmdError, match="--metrics: 'hits' is not one of mrr, "):
        med_command([*options, "--metrics=[hits]"])


def test_methods_have_settings_of_their_own():
    tuned = [WidthConfig(width=4, lr=0.1, margin=2), WidthConfig(width=4, methods=["dualde", "ta"], lr=0.3)]
    tuned[-1].alpha, tuned[-1].beta, tuned[-1].second_lr = 0.3, 0.7, 0.02
    config = MedTableConfig(tuned=tuned)
    config.base.model.widths, config.base.model.dim = [4, 8], 8
    stages = {stage.name: (stage.lr, stage.margin) for stage in rival_stages(config)}
    assert stages["dt-4"] == stages["bkd-4"] == stages["iterde-4"] == (0.1, 2)
    assert stages["dualde_first-4"] == (0.3, None) and stages["dualde-4"] == (0.02, None)
    assert stages["dt-8"] == (None, None)
    weights = {stage.name: (stage.alpha, stage.beta) for stage in rival_stages(config)}
    assert weights["dualde-4"] == (0.3, 0.7) and weights["bkd-4"] == weights["dt-4"] == (None, None)
    alone = StageResult(valid_mrr=0.5, metrics={"test": {"mrr": 0.5}})
    (*_, taught) = assistant_stages(config, {"dt-4": alone, "dt-8": alone}, Path("run"))
    assert (taught.name, taught.lr, taught.margin, taught.alpha) == ("ta-4", 0.3, None, 0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base.model.widths=[4,2]"], "base.model.widths:"),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", '--croppable=[{"name": "joint"}]'],
            "--croppable.*'joint'.*med.recipe",
        ),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", '--croppable=[{"name": "all", "widths": [2, 8]}]'],
            "--croppable.*'all'.*width 4",
        ),
        (["--base.model.widths=[4,8]", "--base.model.dim=8", '--croppable=[{"name": "dt"}]'], "--croppable: 'dt'"),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", '--tuned=[{"width": 4}, {"width": 4, "lr": 1}]'],
            "--tuned: width 4",
        ),
        (
            [
                "--base.model.widths=[4,8]",
                "--base.model.dim=8",
                '--tuned=[{"width": 4, "methods": ["bkd", "dt"]}, {"width": 4, "methods": ["bkd"]}]',
            ],
            "--tuned: width 4",
        ),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", '--tuned=[{"width": 4, "methods": ["ext"]}]'],
            "--tuned: 'ext'.*width 8",
        ),
        (["--base.model.widths=[4,8]", "--base.model.dim=8", "--base.seed=3"], "--base.seed: 3.*--seeds"),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", '--encoded=[{"name":"dt","encoder":"earl","dim":4}]'],
            "--encoded: 'dt' is the name of another row",
        ),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", '--encoded=[{"name":"a","encoder":"table","dim":4}]'],
            "--encoded: 'a' has a table",
        ),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", '--croppable=[{"name": "all", "widths": [8, 4]}]'],
            "croppable: widths of all:",
        ),
        ([], "--base.model.widths.*--seeds.*widths"),
        (["--base.model.widths=[4,8]", "--base.model.dim=8", '--tuned=[{"width": 5}]'], "--tuned: width 5"),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", "--base.train.valid_every=0"],
            "--methods: 'ta'.*validation.*--base.train.valid_every",
        ),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", '--tuned=[{"width": 8, "methods": ["bkd"]}]'],
            "--tuned: width 8.*'bkd'",
        ),
        (
            [
                "--base.model.widths=[4,8]",
                "--base.model.dim=8",
                "--methods=[dt,bkd]",
                '--tuned=[{"width": 4, "methods": ["dualde"]}]',
            ],
            "--tuned: width 4.*'dualde'.*bkd",
        ),
        (
            ["--base.model.widths=[4,8]", "--base.model.dim=8", '--tuned=[{"width": 8, "alpha": 0.3}]'],
            "--tuned: width 8:",
        ),
        (
            [
                "--base.model.widths=[4,8]",
                "--base.model.dim=8",
                '--tuned=[{"width": 4, "methods": ["bkd"], "second_lr": 1}]',
            ],
            "--tuned: width 4: .*second_lr",
        ),
    ],
)
def test_tables_that_cannot_be_filled_are_refused(options, message):
    with pytest.raises(PmdError, match=message):
        med_command(options)


def test_a_crop_stands_alone(run, folder, tmp_path, capsys):
    """From the run, from its stage, and in Python: the same small model, its files in proportion."""
    dispatch(["crop", str(run), "--width=4", f"--out={tmp_path}/small"])
    said = capsys.readouterr().out
    graph, whole, small = pmd.load_graph(folder), pmd.load(run / "rotate"), pmd.load(tmp_path / "small")
    assert f"{tmp_path}/small: {4 * 98} of {8 * 98} parameters, 4 of 8 dimensions" in said
    assert small.widths == (2, 4) and torch.equal(small.model.entities, whole.model.entities[..., :4])
    expected = json.loads((run / "results.json").read_text())["rotate"]["widths"]["test"]["4"]
    found = pmd.rank(pmd.load_scorer(tmp_path / "small", graph), graph, "test")
    assert found.to_dict() == expected
    bytes_of = [
        path.stat().st_size for path in (run / "rotate" / "model.safetensors", tmp_path / "small" / "model.safetensors")
    ]
    assert bytes_of[0] - bytes_of[1] == pytest.approx(4 * 4 * 98, abs=32)
    pmd.crop(run / "rotate", 3, tmp_path / "three")
    assert pmd.load(tmp_path / "three").widths == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width=9", "--out={tmp_path}/x"], "width 9.*outside 1.*8"),
        (["--width=2", "--out={run}"], "exists"),
        (["--width=two", "--out={tmp_path}/x"], "two"),
    ],
)
def test_what_cannot_be_cropped(arguments, message, run, tmp_path):
    with pytest.raises(PmdError, match=message):
        dispatch(["crop", str(run), *(a.format(run=run, tmp_path=tmp_path) for a in arguments)])
    assert not (tmp_path / "x").exists()


def test_methods_are_drawn_of_their_folder_alone(run):
    with pytest.raises(PmdError, match=r"pmd table med"):
        figure_command([f"--run={run}", "--what=methods"])


def test_commands_by_name(capsys):
    dispatch(["--help"])
    assert "crop" in capsys.readouterr().out
    with pytest.raises(PmdError, match=r"'corp'.*'crop'"):
        dispatch(["corp"])


@pytest.mark.parametrize("file", sorted((CONFIGS / "med" / "tables").glob("*.yaml")), ids=lambda file: file.stem)
def test_configs_of_tables_can_be_filled(file):
    parser = parser_for(MedTableConfig, "")
    config = instantiate(parser, parse(parser, ["--config", str(file)]), MedTableConfig)
    check_table(config)
    check_kge_run(run_settings(config))
    rows = {stage.name for stage in croppable_stages(config)}
    assert rows == {row.name for row in config.croppable}
    assert (
        config.base.model.widths[-1]
        == config.base.model.dim
        == (160 if {"umls", "inductive"} & {*file.stem.split("_")} else 640)
    )
    for stage in resolve_kge_stages(run_settings(config)):
        literal = stage.med is not None and stage.med.recipe == "med" and stage.med.improvement == "literal"
        if stage.name == "med" or stage.name.startswith("med_n"):  # as the paper has it
            assert literal and stage.med.learned and stage.med.weight_lr == 1e-3 and not stage.med.power
        if stage.name.startswith("best_n"):
            assert stage.med.recipe == "best"
    assert f"scripts/med.py --config configs/med/tables/{file.name}" in file.read_text(encoding="utf-8")

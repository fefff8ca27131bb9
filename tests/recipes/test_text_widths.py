"""Depth × width, end to end on a graph of a few dozen entities: one run, every grade at every width."""

import json
import shutil
import statistics

import pytest
import torch
import yaml
from safetensors.torch import load_file

import pmd
from pmd.cli.commands import COMMANDS
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.evaluation.rerank import NeighbourRerank
from pmd.evaluation.tables import widths_tables
from pmd.evaluation.width_ranking import AtWidth
from pmd.models.text import scorer as module
from pmd.models.vectors import leading_dimensions
from pmd.papers.figures import curves
from pmd.recipes.ranking import measure_widths
from pmd.settings.parsing.config_files import CONFIGS
from pmd.settings.parsing.parse import read_config
from pmd.settings.shared import EvaluationConfig
from pmd.settings.stages.text import check_progressive, resolve_stages
from pmd.settings.text import ProgressiveConfig

from .test_text import TINY

evaluate_command = COMMANDS["evaluate"]
progressive_command = COMMANDS["progressive"]

WIDTHS = [4, 8, 16]
GRADES = ["teacher", "grade2", "grade1"]
KEYS = ("mrr", "hits_at_1", "hits_at_3", "hits_at_10")


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    options = ["--encoder.widths=[4,8,16]", "--distill.depths=[2,1]", "--distill.mask_rates=[0.2,0]"]
    options += ["--train.valid_every=1", "--evaluation.split=[train,valid]"]
    progressive_command(
        [*TINY, *options, f"--data.path={folder}", f"--runs={runs}", "--name=wide", f"--data.cache={runs}/cache"]
    )
    return next(runs.glob("wide-*"))


@pytest.fixture
def results(run):
    return json.loads((run / "results.json").read_text())


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_every_grade_has_every_width(results):
    assert list(results) == GRADES
    for result in results.values():
        assert result["dim"] == 16
        for split in ("train", "valid"):
            assert list(result["widths"][split]) == ["4", "8", "16"]
            assert result["widths"][split]["16"] == result["metrics"][split]
    found = {result["widths"]["train"][width]["mrr"] for result in results.values() for width in ("4", "8", "16")}
    assert len(found) > 6


def test_one_table_of_grades_by_widths(run, results):
    table = (run / "table.md").read_text()
    for split in ("train", "valid"):
        part = table[table.index(f", {split} split") :]
        for title, key in (("MRR by width", "mrr"), ("Hits@10 by width", "hits_at_10")):
            lines = part[part.index(title) :].splitlines()
            assert cells(lines[2]) == ["grade", "layers", "4", "8", "16"]
            for name, line in zip(GRADES, lines[4:]):
                values = [f"{of[key]:.3f}" for of in results[name]["widths"][split].values()]
                assert cells(line) == [name, str(results[name]["layers"]), *values]


def test_plain_grades_beside_croppable_ones():
    metrics = dict.fromkeys(KEYS, 0.5)
    plain = StageResult(layers=4, dim=8, metrics={"test": metrics})
    wide = StageResult(
        layers=2, dim=8, metrics={"test": metrics}, widths={"test": {"4": {**metrics, "mrr": 0.25}, "8": metrics}}
    )
    assert widths_tables({"a": plain, "b": plain}, "test") == []
    mrr, hits = widths_tables({"a": plain, "b": wide}, "test")
    assert mrr.caption == "MRR by width" and mrr.columns == ["grade", "layers", "4", "8"]
    assert mrr.rows == [["a", "4", "", "0.500"], ["b", "2", "0.250", "0.500"]]
    assert hits.caption == "Hits@10 by width"
    structure = StageResult(dim=64, metrics={"test": metrics})
    mrr, _ = widths_tables({"b": wide, "structure": structure}, "test")
    assert mrr.columns == ["grade", "layers", "4", "8", "64"]
    assert mrr.rows == [["b", "2", "0.250", "0.500", ""], ["structure", "", "", "", "0.500"]]


def test_the_mean_of_the_widths_decides_which_epoch_is_kept(run, results):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in GRADES:
        found = [line for line in lines if line["stage"] == name and "valid" in line]
        assert [line["epoch"] for line in found] == [1, 2, 3]
        for line in found:
            assert line["valid"] == pytest.approx(statistics.fmean(line[f"valid_{width}"] for width in WIDTHS))
        best = max(found, key=lambda line: line["valid"])
        kept = [results[name]["widths"]["valid"][str(width)]["mrr"] for width in WIDTHS]
        assert kept == pytest.approx([best[f"valid_{width}"] for width in WIDTHS])


def test_curves_by_width_are_read_by_the_figures(run):
    found = curves(run)
    assert [*found] == [f"{name}{width}" for name in GRADES for width in ("", ", width 4", ", width 8", ", width 16")]
    assert all([*curve] == [1, 2, 3] for curve in found.values())


def test_one_index_serves_every_width(run, folder, results, monkeypatch):
    graph = pmd.load_graph(folder)
    scorer = pmd.load_scorer(run / "grade1", graph, cache=str(run.parent / "cache"))
    stored = load_file(run / "grade1" / "entities.safetensors")["entities"]
    assert scorer.widths == (4, 8, 16) and stored.shape == (48, 16) and torch.equal(scorer.entities, stored)
    scorer.prepare(graph.train)
    monkeypatch.setattr(module, "encode_texts", None)
    found = pmd.rank_widths(scorer, graph, "train")
    assert {str(width): m.to_dict() for width, m in found.items()} == results["grade1"]["widths"]["train"]


def test_widths_are_ranked_by_neighbours_too(run, folder, monkeypatch):
    graph = pmd.load_graph(folder)
    scorer = pmd.load_scorer(run / "grade1", graph, cache=str(run.parent / "cache"))
    config = EvaluationConfig(rerank_hops=1, rerank_weight=0.3)
    rerank = NeighbourRerank(graph.train, graph.num_entities, hops=1, weight=0.3)
    found = measure_widths(scorer, graph, config, "train", triples=20)
    asked = len(scorer._keys)
    monkeypatch.setattr(module, "encode_texts", None)  # a sample is encoded once, for all widths
    for width, metrics in found.items():
        wanted = pmd.rank(AtWidth(scorer, width), graph, "train", rerank=rerank, max_triples=20)
        assert metrics == wanted and metrics.num_queries == 40 > asked
        assert metrics.mrr != pmd.rank(AtWidth(scorer, width), graph, "train", max_triples=20).mrr


@pytest.mark.parametrize("name", ["teacher", "grade1"])
def test_a_crop_is_the_width_of_its_model(name, run, folder, results, tmp_path, capsys):
    dispatch(["crop", str(run / name), "--width=8", f"--out={tmp_path}/small"])
    said = capsys.readouterr()
    assert said.out.strip() == f"{tmp_path}/small: vectors of 8 of 16 dimensions, by the same encoders"
    assert said.err == ""
    whole, small = (pmd.BiEncoder.from_pretrained(path) for path in (run / name, tmp_path / "small"))
    assert (whole.dim, small.dim, whole.widths, small.widths) == (16, 8, (4, 8, 16), (4, 8))
    index = [load_file(path / "entities.safetensors")["entities"] for path in (run / name, tmp_path / "small")]
    torch.testing.assert_close(index[1], leading_dimensions(index[0], 8), atol=0, rtol=0)
    graph, cache = pmd.load_graph(folder), str(run.parent / "cache")
    scorers = [pmd.load_scorer(path, graph, cache=cache) for path in (run / name, tmp_path / "small")]
    for target in ("head", "tail"):
        wanted = scorers[0].score_all(graph.test, target, 8)
        torch.testing.assert_close(scorers[1].score_all(graph.test, target), wanted, atol=1e-6, rtol=0)
        torch.testing.assert_close(
            scorers[1].score_all(graph.test, target, 4), scorers[0].score_all(graph.test, target, 4), atol=1e-6, rtol=0
        )
    options = ["--threads=1", f"--data.path={folder}", "--evaluation.split=train"]
    evaluate_command([f"--model={tmp_path}/small", *options])
    row = next(line for line in capsys.readouterr().out.splitlines() if "both" in line)
    assert cells(row)[2:6] == [f"{results[name]['widths']['train']['8'][key]:.3f}" for key in KEYS]


def test_crops_that_are_noted_and_refused(run, tmp_path, capsys):
    dispatch(["crop", str(run / "grade1"), "--width=5", f"--out={tmp_path}/five"])
    note = "note: width 5 was not trained itself; it is between two of the trained ones: 4, 8, 16"
    assert capsys.readouterr().err.strip() == note
    for arguments, message in (
        (["--width=17", f"--out={tmp_path}/x"], "width 17.*outside 1.*16"),
        (["--width=8", f"--out={run}"], "exists"),
    ):
        with pytest.raises(PmdError, match=message):
            dispatch(["crop", str(run / "grade1"), *arguments])
    assert not (tmp_path / "x").exists()


def test_of_a_run_the_last_stage_is_cropped_or_the_one_that_is_named(run, tmp_path, capsys):
    for options, layers, said in (([], 1, "cropping grade1\n"), (["--stage=grade2"], 2, "")):
        dispatch(["crop", str(run), "--width=8", f"--out={tmp_path}/{layers}", *options])
        assert capsys.readouterr().err == said
        assert pmd.BiEncoder.from_pretrained(tmp_path / str(layers)).depth == layers


def test_a_plain_teacher_teaches_every_width(run, folder, tmp_path):
    """One that was trained at its full width alone: loaded, ranked at that, and beside its student in the table."""
    plain = pmd.BiEncoder.from_pretrained(run / "teacher")
    shutil.copytree(run / "teacher", tmp_path / "teacher", ignore=shutil.ignore_patterns("index"))
    plain.config.widths = None
    plain.save_pretrained(tmp_path / "teacher")
    stages = json.dumps([{"name": "plain", "load": str(tmp_path / "teacher")}, {"name": "narrow", "layers": 1}])
    options = [f"--data.path={folder}", f"--runs={tmp_path}", f"--data.cache={run.parent}/cache", f"--stages={stages}"]
    progressive_command([*TINY, "--encoder.widths=[8,16]", "--name=taught", *options])
    found = next(tmp_path.glob("taught-*"))
    results = json.loads((found / "results.json").read_text())
    assert "widths" not in results["plain"] and list(results["narrow"]["widths"]["test"]) == ["8", "16"]
    table = (found / "table.md").read_text()
    rows = [cells(line) for line in table[table.index("MRR by width") :].splitlines()[4:6]]
    plain_mrr = f"{results['plain']['metrics']['test']['mrr']:.3f}"
    assert rows[0] == ["plain", "4", "", plain_mrr] and rows[1][:2] == ["narrow", "1"] and "" not in rows[1]


def test_students_with_widths_are_not_copied_from_a_wider_teacher(run, folder, tmp_path):
    shutil.copytree(run / "teacher", tmp_path / "teacher", ignore=shutil.ignore_patterns("index"))
    config = pmd.BiEncoder.from_pretrained(run / "teacher").config
    config.encoder.hidden_size, config.widths = 32, None
    pmd.BiEncoder(config).save_pretrained(tmp_path / "teacher")
    stages = [{"name": "wide", "load": str(tmp_path / "teacher")}, {"name": "narrow", "layers": 1, "init": "teacher"}]
    options = [f"--data.path={folder}", f"--runs={tmp_path}", f"--stages={json.dumps(stages)}"]
    with pytest.raises(PmdError, match=r"stages \(wide\).load: .* 32 wide, .*encoder.widths 16"):
        progressive_command([*TINY, "--encoder.widths=[8,16]", "--name=refused", *options])
    assert not [*tmp_path.glob("refused-*")]


def test_without_widths_there_is_one_table(folder, tmp_path):
    stages = '[{"name": "only", "layers": 1, "epochs": 1}]'
    progressive_command([*TINY, f"--data.path={folder}", f"--runs={tmp_path}", "--name=plain", f"--stages={stages}"])
    found = next(tmp_path.glob("plain-*"))
    assert "widths" not in json.loads((found / "results.json").read_text())["only"]
    assert "by width" not in (found / "table.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--encoder.widths=[16]"], r"encoder.widths: \[16\].*single"),
        (["--encoder.widths=[8,4,16]"], r"encoder.widths: \[8, 4, 16\]"),
        (["--encoder.widths=[0,16]"], r"encoder.widths: \[0, 16\]"),
        (["--encoder.widths=[8,32]"], "encoder.widths: 32.*dimension 16.*encoder.hidden_size"),
        (["--encoder.widths=[4,8]"], "after 8.*16.*encoder.hidden_size.*8"),
        (["--encoder.widths=[a]"], "encoder.widths"),
        (["--encoder.width=[8,16]"], "'encoder.widths'"),
    ],
)
def test_widths_that_cannot_be_trained(options, message, tmp_path):
    with pytest.raises(PmdError, match=message) as caught:
        progressive_command([*TINY, f"--runs={tmp_path}", *options])
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_widths_of_a_pretrained_encoder(run, folder, tmp_path):
    """Its size is known once it has been found."""
    encoder = tmp_path / "bert"
    pmd.BiEncoder.from_pretrained(run / "grade1").query_encoder.save_pretrained(encoder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (encoder / name).write_bytes((run / "grade1" / name).read_bytes())
    common = [
        f"--encoder.name={encoder}",
        f"--data.path={folder}",
        f"--runs={tmp_path}/runs",
        "--encoder.max_length=24",
    ]
    for widths, message in (
        ("[8,32]", "encoder.widths: 32.*dimension 16.*width.*encoder.name"),
        ("[4,8]", "after 8.*16.*width.*encoder.name.*8"),
    ):
        with pytest.raises(PmdError, match=message):
            progressive_command([*common, f"--encoder.widths={widths}"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["world", "umls"])
def test_the_configs_say_what_they_are(name):
    file = CONFIGS / "pmd" / f"{name}_widths.yaml"
    config = read_config(ProgressiveConfig, ["--config", str(file)])
    check_progressive(config)
    assert config.encoder.widths == [8, 16, 32, 64] and config.encoder.widths[-1] == config.encoder.hidden_size
    assert [stage.layers for stage in resolve_stages(config, config.encoder.layers)] == [4, 4, 3, 2, 1]
    assert f"--config configs/pmd/{file.name}" in file.read_text(encoding="utf-8")


def test_world_widths_is_world_with_widths():
    settings = [yaml.safe_load((CONFIGS / "pmd" / f"{name}.yaml").read_text()) for name in ("world", "world_widths")]
    assert settings[1].pop("name") == "world-widths" and settings[1]["encoder"].pop("widths") == [8, 16, 32, 64]
    assert settings[0].pop("structure") and settings[0] == settings[1]

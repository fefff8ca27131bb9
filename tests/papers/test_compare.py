import json
from pathlib import Path

import pytest

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.data.graphs.sources import load_graph
from pmd.papers.compare import CompareConfig, comparison_tables
from pmd.papers.seeds import finished_run
from pmd.settings.parsing.parse import read_config
from pmd.settings.shared import DataConfig
from pmd.settings.stages.text import resolve_stages
from pmd.settings.text import ProgressiveConfig

from ..says import says

compare_command = COMMANDS["table"]["compare"]


def result(value):
    return StageResult(metrics={"test": {"mrr": value}})


def test_cells_are_mean_and_standard_deviation():
    results = {"a": [{"x": result(0.1), "y": result(0.5)}, {"x": result(0.3)}], "b": [{"x": result(0.2)}]}
    (table,) = comparison_tables(results, ["mrr"])
    assert table.columns == ["mrr, test", "x", "y", "seeds"]
    assert table.rows == [["a", "0.200 ± 0.141", "0.500", "2"], ["b", "0.200", "", "1"]]


def test_several_metrics_make_a_table_each():
    results = {"a": [{"x": StageResult(metrics={"test": {"mrr": 0.25, "mr": 12.34}})}]}
    tables = comparison_tables(results, ["mrr", "mr"])
    assert [(table.columns[0], table.rows[0][1]) for table in tables] == [("mrr, test", "0.250"), ("mr, test", "12.3")]


CONFIGS = Path(__file__).parents[2] / "pmd" / "configs" / "pmd"
METHODS = {  # rows, and the epochs to each depth
    "world_methods": (12, {4: 6, 3: 12, 2: 18, 1: 24}),
    "umls_methods": (15, {3: 5, 1: 15}),
    "wn18rr_inductive_methods": (10, {6: 5, 5: 10, 3: 15, 2: 20}),
}
NAMES = ["features", "lengths", "mask_rates", "masks", "schedules", "starts", "weights"]


def planned(name: str) -> dict[str, list]:
    """The stages of every row of a comparison."""
    config = read_config(CompareConfig, ["--config", str(CONFIGS / f"{name}.yaml")])
    depth = 4 if config.base == "pmd/world" else 6

    def stages(options: list[str]) -> list:
        settings = read_config(ProgressiveConfig, ["--config", config.base, *config.options, *options])
        return resolve_stages(settings, depth)

    assert stages([])  # of the shared teacher
    return {variant.name: stages(variant.options) for variant in config.variants}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_same_epochs_to_a_depth(name):
    num_rows, expected = METHODS[name]
    rows = planned(name)
    assert len(rows) == num_rows
    for row, stages in rows.items():
        by_name = {stage.name: stage for stage in stages}
        for stage in stages[1:]:
            before = stage
            epochs = 0
            while before.teacher != "none":
                epochs, before = epochs + before.epochs, by_name[before.teacher]
            if row == "no distillation":
                epochs = stage.epochs - stages[0].epochs
            assert epochs == expected[stage.layers], (row, stage.name)
    full_depth = 4 if name == "world_methods" else 6
    assert [stage.layers for stage in rows["PMD in one step"]] == [full_depth, min(expected)]


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_of_other_comparisons_can_run(name):
    rows = planned(name)
    assert len(rows) >= 2 and all(len(stages) >= 2 for stages in rows.values())


def test_variants_share_a_teacher_and_nothing_is_done_twice(folder, tmp_path, capsys):
    base = tmp_path / "base.yaml"
    base.write_text(
        f"data: {{path: {folder}}}\n"
        "encoder: {layers: 2, hidden_size: 8, heads: 1, intermediate_size: 8, vocab_size: 300, max_length: 16}\n"
        "train: {epochs: 1, batch_size: 16, lr: 1e-3, threads: 1}\n"
        "distill: {depths: [1], mask_rates: [0.1]}\n"
    )
    variants = json.dumps(
        [{"name": "alone", "options": ["--distill.method=none"]}, {"name": "LKD", "options": ["--distill.method=lkd"]}]
    )
    arguments = [f"--base={base}", f"--out={tmp_path}/out", "--seeds=[4]", f"--variants={variants}"]
    compare_command(arguments)
    first = capsys.readouterr().out
    assert "| alone" in first and "| LKD" in first
    out = tmp_path / "out" / "seed4"
    weights = [(out / name / "teacher" / "model.safetensors").read_bytes() for name in ("teacher", "alone", "lkd")]
    assert weights[0] == weights[1] == weights[2]
    grades = [(out / name / "grade1" / "model.safetensors").read_bytes() for name in ("alone", "lkd")]
    assert grades[0] != grades[1]
    written = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    compare_command(arguments)
    assert capsys.readouterr().out == first
    assert written == {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    base.write_text(base.read_text().replace("lr: 1e-3", "lr: 2e-3"))
    with pytest.raises(PmdError, match=r"lr 0.001.*0.002"):
        compare_command(arguments)


def test_a_wrong_variant_stops_before_anything_runs(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("name: x\n")
    variants = '[{"name": "a"}, {"name": "b", "options": ["--distill.mehtod=lkd"]}]'
    with pytest.raises(PmdError, match=r"'distill\.method'"):
        compare_command([f"--base={base}", f"--out={tmp_path}/out", f"--variants={variants}"])
    assert not (tmp_path / "out").exists()


def test_variants_do_not_share_a_folder(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("name: x\n")
    with pytest.raises(PmdError, match="'pmd'"):
        compare_command([f"--base={base}", f"--out={tmp_path}/out", '--variants=[{"name": "PMD"}, {"name": "pmd"}]'])


ROWS = json.dumps([{"name": "a"}, {"name": "b", "options": ["--distill.method=lkd"]}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=[]"], "--seeds: []"),
        (["--seeds=[0,0]"], "--seeds: [0, 0]; …each once"),
        (["--variants=[]"], "--metric and --variants"),
        (["--metric=[]"], "--metric and --variants"),
        (['--variants=[{"name": ""}]'], "variants: a name is empty"),
        (['--variants=[{"name": "a", "options": ["--seed=7"]}]'], "variants: 'a': --seed=7"),
        (['--variants=[{"name": "a"}, {"name": "b", "options": ["--evaluation.split=valid"]}]'], "variants: …splits"),
        (["--options+=--data.path=nowhere"], "nowhere"),
    ],
)
def test_what_a_comparison_cannot_be_is_said_before_anything_is_written(arguments, message, tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("name: x\n")
    with pytest.raises(PmdError) as error:
        compare_command([f"--base={base}", f"--out={tmp_path}/out", f"--variants={ROWS}", *arguments])
    assert says(str(error.value), message)
    assert not (tmp_path / "out").exists()


def test_no_folder_is_written_over_that_holds_more_or_something_else(tmp_path):
    (tmp_path / "base.yaml").write_text("name: x\n")
    arguments = [f"--base={tmp_path}/base.yaml", f"--out={tmp_path}/out", f"--variants={ROWS}", "--seeds=[1]"]
    other = tmp_path / "out" / "seed0" / "a"
    other.mkdir(parents=True)
    (other / "results.json").write_text("{}")
    with pytest.raises(PmdError, match=r"has a of seed 0, which this table would leave out"):
        compare_command(arguments)
    (tmp_path / "out" / "config.yaml").touch()
    with pytest.raises(PmdError, match=r"is the folder of a run"):
        compare_command(arguments)


def test_rows_of_one_table_are_of_one_graph(tmp_path):
    graph, folder = tmp_path / "graph", tmp_path / "runs" / "a"
    graph.mkdir()
    for split in ("train", "valid", "test"):
        (graph / f"{split}.tsv").write_text("a\tr\tb\nb\tr\tc\n")
    settings = ProgressiveConfig(data=DataConfig(path=str(graph)))
    trained = []

    def train(settings, run):
        run.refuse_other_data(load_graph(settings.data.path).checksum())
        run.add_result("teacher", StageResult(epochs=1))
        trained.append(run)
        return run

    for _ in range(2):
        finished_run(settings, folder, ["teacher"], train)
    assert len(trained) == 1
    (graph / "test.tsv").write_text("a\tr\tc\n")
    with pytest.raises(PmdError, match=r"other data than data\.path holds now"):
        finished_run(settings, folder, ["teacher"], train)

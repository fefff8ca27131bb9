"""DualDE's tables: which stage fills which row, the layout, and a comparison that goes on."""

import json

import pytest

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.evaluation.tables import Strong
from pmd.papers.dualde import DualdeConfig, dual_table, row_of, taught_by
from pmd.settings.kge import KgeConfig
from pmd.settings.parsing.config_files import CONFIGS
from pmd.settings.parsing.parse import parse, parser_for, read_config
from pmd.settings.stages.kge import resolve_kge_stages

from ..recipes.test_kge import TINY

dualde_command = COMMANDS["table"]["dualde"]


def test_the_rows_of_stages():
    config = KgeConfig(**{"stages": None})
    config.dual.students, config.dual.ablations = [4], True
    stages = resolve_kge_stages(config)
    assert [row_of(stage, stages) for stage in stages] == ["Tea.", "no-DS", None, "DS", "−S1", "−S2"]
    assert [stage.epochs for stage in stages] == [200, 300, 200, 100, 300, 300]  # every row as many as both stages
    # Of a config that trains no student of one stage, the first stage stands for it.
    assert [row_of(stage, stages[:-1]) for stage in stages[:-1]] == ["Tea.", "no-DS", "−S2", "DS", "−S1"]


BUNDLED = sorted((CONFIGS / "dualde").glob("*.yaml"))


@pytest.mark.parametrize("file", BUNDLED, ids=lambda file: file.stem)
def test_every_row_of_a_width_has_equal_epochs(file):
    settings = read_config(KgeConfig, ["--config", str(file)])
    stages = resolve_kge_stages(settings)
    rows = {stage.name: row_of(stage, stages) for stage in stages}
    for dim in (32, 16, 8):
        epochs = {rows[stage.name]: stage.epochs for stage in stages if stage.dim == dim}
        epochs["DS"] += epochs.pop(None)
        assert {*epochs} == {"no-DS", "DS", "−S1", "−S2"}
        assert max(epochs.values()) - min(epochs.values()) <= 1, epochs  # shares of epochs are rounded


def test_the_table_in_the_papers_layout():
    def results_of(*values):
        return [StageResult(**{"metrics": {"test": {"mrr": value, "hits_at_10": 2 * value}}}) for value in values]

    results = {
        "transe": {(8, "no-DS"): results_of(0.1, 0.2), (8, "DS"): results_of(0.3), (64, "Tea."): results_of(0.4)},
        "rotate": {(8, "no-DS"): results_of(0.2), (8, "DS"): results_of(0.1)},
    }
    table = dual_table(results, "test", ("Tea.", "no-DS", "DS"), {"MRR": "mrr", "H10": "hits_at_10"})
    assert table.columns == ["Dim", "Method", "transe MRR", "transe H10", "rotate MRR", "rotate H10"]
    assert table.rows == [
        ["64", "Tea.", "0.400", "0.800", "", ""],
        ["8", "no-DS", "0.150 ± 0.071", "0.300 ± 0.141", "0.200", "0.400"],
        ["8", "DS", "0.300", "0.600", "0.100", "0.200"],
    ]
    bold = [[column for column, cell in zip(table.columns, row) if isinstance(cell, Strong)] for row in table.rows]
    assert bold == [[], ["rotate MRR", "rotate H10"], []]  # one seed is not set beside two


def test_a_config_over_seeds(folder, tmp_path, capsys):
    parser = parser_for(KgeConfig, "")
    arguments = [*TINY, f"--data.path={folder}", "--dual.students=[4]", "--train.epochs=2"]
    settings = parse(parser, arguments)
    file = tmp_path / "towns.yaml"
    file.write_text(parser.dump(settings))
    command = [f"--configs=['{file}']", f"--out={tmp_path}/out", "--seeds=[0,1]"]
    dualde_command(command)
    first = capsys.readouterr().out
    assert "Table 3, test" in first and "Table 6, test" in first and "±" in first
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("model.safetensors")}
    assert len(written) == 8
    assert [path.name for path in sorted((tmp_path / "out").glob("seed0/*"))] == ["towns"]
    dualde_command(command)
    assert capsys.readouterr().out == first
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("model.safetensors")}


def test_configs_that_belong_in_two_tables_are_refused(folder, tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    for file, path in ((one, "a"), (two, "b")):
        file.write_text(f"data: {{path: {path}}}\nmodel: {{interaction: transe}}\ndual: {{students: [4]}}\n")
    with pytest.raises(PmdError, match="two of them are of transe"):
        dualde_command([f"--configs=['{one}','{two}']", f"--out={tmp_path}/out"])
    two.write_text(two.read_text().replace("transe", "rotate"))
    with pytest.raises(PmdError, match="they are of several graphs, a and b"):
        dualde_command([f"--configs=['{one}','{two}']", f"--out={tmp_path}/out"])


def test_a_config_without_students(folder, tmp_path):
    options = json.dumps([*TINY, f"--data.path={folder}"])
    with pytest.raises(PmdError, match=r"stages.*dual.students"):
        dualde_command(["--configs=[kge/wn18rr_rotate]", f"--options={options}", f"--out={tmp_path}"])


def test_students_by_the_width_of_their_teacher(folder, tmp_path, capsys):
    options = [*TINY, f"--data.path={folder}", "--dual.students=[4,2]", "--dual.ablations=true", "--train.epochs=2"]
    command = ["--configs=[dualde/wn18rr_transe]", f"--options={json.dumps(options)}", "--teachers=[8,4]"]
    command += [f"--out={tmp_path}", "--seeds=[0,1]"]
    dualde_command(command)
    printed = capsys.readouterr().out
    assert "Figure 2, test" in printed and "Table 3" not in printed
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    assert rows[0] == ["Dim", "8", "4"] and [row[0] for row in rows[2:]] == ["Tea.", "4", "2"]
    for label, *cells in rows[2:]:
        for teacher, cell in zip((8, 4), cells):
            stage = "teacher" if label == "Tea." else f"taught-{label}"
            found = [
                json.loads((tmp_path / f"seed{seed}/wn18rr_transe-teacher{teacher}/results.json").read_text())
                for seed in (0, 1)
            ]
            assert [*found[0]] == ["teacher", "first-4", "taught-4", "first-2", "taught-2"]
            assert found[0]["teacher"]["dim"] == teacher and found[0]["taught-2"]["teacher"] == "teacher"
            mean = sum(results[stage]["metrics"]["test"]["mrr"] for results in found) / 2
            assert cell.startswith(f"{mean:.3f} ±")
    assert "wider than its teacher" in refusal([*command[:2], "--teachers=[2]", f"--out={tmp_path}/narrow"])


def refusal(command) -> str:
    with pytest.raises(PmdError) as caught:
        dualde_command(command)
    return str(caught.value)


def test_the_configs_of_the_figure_are_plans():
    for file in ("wn18rr_teachers", "umls_teachers"):
        config = read_config(DualdeConfig, ["--config", f"dualde/tables/{file}"])
        settings = read_config(KgeConfig, ["--config", config.configs[0]])
        for teacher in config.teachers:
            stages = resolve_kge_stages(taught_by(settings, teacher))
            assert [(s.dim, s.epochs > 0) for s in stages if s.release] == [(dim, True) for dim in (32, 16, 8)]
            assert [s.dim for s in stages if not s.teacher] == [teacher] and len(stages) == 7

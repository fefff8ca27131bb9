"""DualDE's tables: which stage fills which row, the layout, and a comparison that goes on."""

import json

import pytest

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.evaluation.tables import Strong
from pmd.papers.dualde import dual_table, row_of
from pmd.settings.kge import KgeConfig
from pmd.settings.kge_stages import resolve_kge_stages
from pmd.settings.parse import parse, parser_for

from ..recipes.test_kge import TINY

dualde_command = COMMANDS["table"]["dualde"]


def test_the_rows_of_stages():
    config = KgeConfig(**{"stages": None})
    config.dual.students, config.dual.ablations = [4], True
    stages = resolve_kge_stages(config)
    assert [row_of(stage, stages) for stage in stages] == ["Tea.", "no-DS", "−S2", "DS", "−S1"]


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
    assert bold == [[], ["rotate MRR", "rotate H10"], ["transe MRR", "transe H10"]]


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

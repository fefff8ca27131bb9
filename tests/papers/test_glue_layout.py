"""The layout of GLUE tables: means, marks, notes and the published rows."""

from pathlib import Path

import pytest

from pmd.core.results import StageResult
from pmd.papers.glue_layout import layout_table, published_rows
from pmd.papers.glue_table import recipe_titles
from pmd.recipes.glue_tables import COLUMNS, run_table
from pmd.settings.catalogue import task_of
from pmd.settings.glue import GlueConfig, GlueStageConfig
from pmd.settings.med import MedConfig
from pmd.settings.stages.glue import resolve_glue_stages


def result(score, method="med", constant=(), width="8", **more):
    """A stage of one width on RTE."""
    metrics = {"validation": {"accuracy": score}}
    model = {"metrics": metrics, "parameters": 2_000_000, "constant": [*constant], "flop_ratio": 1.0, "score": score}
    return StageResult(method=method, layers=2, widths={width: model}, **more)


def rows_of(table):
    return {row[0]: row[1:] for row in table.rows}


def test_the_page_shows_them_as_they_are():
    columns = [column for title in ("STS-B", "MRPC", "RTE") for column in COLUMNS if column.title == title]
    page = (Path(__file__).parents[2] / "docs" / "results" / "glue.md").read_text()
    for name, *cells in published_rows(columns):
        if name.startswith(("BERT (", "BERT-HAT", "BERT-MED")):
            assert f"| {' | '.join([name.removesuffix(' (published)'), *cells])} |\n" in page


def test_published_rows_by_value():
    rows = {(row[0], row[1]): row for row in published_rows(COLUMNS)}
    assert len(rows) == 15 and rows["BERT (published)", "110"][2:5] == ["1.0×", "84.4", "85.3"]
    med = ["72.6", "73.7", "84.1/78.1", "86.0", "79.6/82.7", "61.7", "86.9", "82.8/81.6"]
    assert rows["BERT-MED (published)", "6.36"][3:11] == med
    assert rows["BERT (published)", "110"][-1] == ""  # it has no CoLA, and so no mean over all columns
    (fsd,) = (row for row in published_rows(COLUMNS[2:3]) if row[0] == "BERT6-FSD (published)")
    assert fsd[3:] == ["87.1/82.2", f"{(87.1 + 82.2) / 2:.1f}"]


def test_a_row_without_all_columns_has_no_mean():
    runs = {"rte": [{"med": result(0.5)}, {"med": result(0.7)}], "sst2": [{"med": result(0.9)}]}
    table = layout_table(runs, published=False)
    assert table.columns == ["model", "#P (M)", "speed-up", "RTE acc.", "SST-2 acc.", "mean"]
    assert table.rows == [["med, 8", "2", "", "60.0 ± 14.1", "90.0", "70.0"]]
    assert layout_table({**runs, "rte": runs["rte"][:1], "sst2": [{}]}, published=False).rows == [
        ["med, 8", "2", "", "50.0", "", ""]
    ]


def test_rows_are_called_after_their_recipe():
    runs = {"rte": [{"med": result(0.5), "other": result(0.7), "med-8": result(0.6)}]}
    table = layout_table(runs, published=False, titles={"med": "best"})
    assert [row[0] for row in table.rows] == ["best, 8", "other, 8", "med-8"]
    by_recipe = {
        ("med", None): {"med": "best"},
        ("med", "med"): {},
        ("best", "med"): {"best": "med"},
        ("mine", "med"): {},
    }
    for (name, recipe), titles in by_recipe.items():
        stage = GlueStageConfig(name, method="med", med=MedConfig(recipe) if recipe else None)
        config = GlueConfig(stages=[GlueStageConfig("finetune"), stage])
        config.model.widths = [8, 16]
        assert recipe_titles(resolve_glue_stages(config)) == titles
    swapped = [("med", MedConfig("best")), ("best", MedConfig("med")), ("joint", MedConfig("joint"))]
    config.stages = [GlueStageConfig(name, method="med", med=med) for name, med in swapped]
    assert recipe_titles(resolve_glue_stages(config)) == {"med": "best (med)", "best": "med (best)"}


def test_tables_say_what_has_learned_nothing():
    known = {"majority": {"validation": {"accuracy": 0.527}}, "examples": {"validation": 1277}}
    med, hat = result(0.6, **known), result(0.5, "hat", ["validation"], **known)
    seeds = [
        {"med": med, "hat": hat, "bkd": result(0.5, "bkd", ["validation"], **known)},
        {"med": med, "hat": hat, "bkd": result(0.7, "bkd", **known)},
    ]
    table = layout_table({"rte": seeds}, published=False)
    assert rows_of(table) == {
        "med, 8": ["2", "", "60.0 ± 0.0", "60.0 ± 0.0"],
        "hat, 8": ["2", "", "50.0 ± 0.0 †", "50.0 ± 0.0"],
        "bkd, 8": ["2", "", "60.0 ± 14.1 †1/2", "60.0 ± 14.1"],
        "majority class": ["", "", "52.7", "52.7"],
    }
    assert table.notes[0] == "Validation examples: RTE 1,277."
    assert [note.split()[0] for note in table.notes[1:]] == ["majority", "†", "An"]  # the last of `med` and `hat`
    # A regression has no classes, so a mean over it and RTE has no row of the majority class.
    similar = {"metrics": {"validation": {"pearson": 0.5, "spearmanr": 0.5}}, "parameters": 1, "constant": []}
    both = {"rte": seeds, "stsb": [{"med": StageResult(widths={"8": similar}, majority={"validation": {}})}]}
    assert rows_of(layout_table(both, published=False))["majority class"] == ["", "", "52.7", "", ""]


@pytest.mark.parametrize("make", [layout_table, run_table])
def test_results_from_before_these_marks_still_print(make):
    old = result(0.5)
    del old.widths["8"]["constant"]
    table = make({"rte": [{"med": old}]}, False) if make is layout_table else make({"med": old}, task_of("rte"))
    (row,) = table.rows
    assert "50.0" in row and not table.notes


def test_what_rounds_to_zero_has_no_sign():
    metrics = {"validation": {"matthews_correlation": -2e-4}}
    model = StageResult(method="med", widths={"8": {"parameters": 1e6, "metrics": metrics}})
    assert layout_table({"cola": [{"med": model}]}, published=False).rows == [["med, 8", "1", "", "0.0", "0.0"]]

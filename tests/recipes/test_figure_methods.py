"""What a picture of methods says, read from its SVG, where matplotlib notes every text."""

import json
import re
import statistics

import pytest

from pmd.core.errors import PmdError
from pmd.core.kge_config import KgeConfig
from pmd.recipes.commands import figure_command
from pmd.recipes.figure_methods import looks
from pmd.recipes.figures import every_curve


def texts(svg):
    return re.findall(r"<!-- (.*?) -->", svg.read_text())


def test_the_ratio_of_each_method_is_drawn(table, tmp_path):
    figure_command([f"--run={table.out}", "--what=retention", f"--out={tmp_path}/retention.svg"])
    found = json.loads((table.out / "results.json").read_text())["retention"]
    means = [
        statistics.fmean(sum(k for _, k in of.values()) / sum(a for a, _ in of.values()) for of in found[row])
        for row in ("dt", "ext_v", "bkd", "ta", "best")  # rivals first
    ]
    said = texts(tmp_path / "retention.svg")
    assert [text for text in said if re.fullmatch(r"[01]\.\d{3}", text)] == [f"{mean:.3f}" for mean in means]
    assert [text for text in said if text in ("DT", "Ext-V", "BKD", "TA", "best")] == 2 * [
        *("DT", "Ext-V", "BKD", "TA", "best")
    ]
    assert "narrowest width that answers" in said and "8" not in said  # of the widest, nothing can be lost


def test_a_table_without_retention_says_how_to_get_it(table, tmp_path):
    results = json.loads((table.out / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps({"results": results["results"]}))
    with pytest.raises(PmdError, match=r"was made before retention was measured; repeat its command"):
        figure_command([f"--run={tmp_path}", "--what=retention"])
    with pytest.raises(PmdError, match=r"is not a folder of scripts/med.py"):
        figure_command([f"--run={tmp_path}/none", "--what=retention"])


TASKS = {"labelling": {"dt": {"2": []}}, "recommendation": {"none": {"": []}, "dt": {"2": []}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({"results": TASKS}), "--run: '.*' is not a folder of scripts/med.py"),
        (json.dumps({"results": {"dt": {"two": []}}}), "--run: '.*' is not a folder of scripts/med.py"),
        ('{"results": ', r"--run: '.*results.json' cannot be read \(Expecting value.*\); repeat the command"),
        ("[1]", "--run: '.*results.json' holds no results by name"),
    ],
)
@pytest.mark.parametrize("what", ["methods", "retention", "tsne"])
def test_what_is_no_table_of_methods(what, text, message, tmp_path):
    """Such as a folder of scripts/downstream.py, whose results are by task."""
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(PmdError, match=message):
        figure_command([f"--run={tmp_path}", f"--what={what}"])


@pytest.mark.parametrize("what", ["widths", "epochs"])
def test_broken_results_of_a_run(what, table, tmp_path):
    (tmp_path / "config.yaml").write_text((table.out / "seed0/main/config.yaml").read_text())
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(PmdError, match=r"results\.json' cannot be read"):
        figure_command([f"--run={tmp_path}", f"--what={what}"])


@pytest.mark.parametrize("option", ["dim=4", "widths=[2]", "rows=[dt]", "types=types.tsv"])
@pytest.mark.parametrize("what", ["widths", "epochs", "methods", "retention", "tsne"])
def test_options_without_a_use_are_refused(what, option, table):
    name = option.partition("=")[0]
    users = {"dim": "epochs", "rows": "methods, retention, tsne"}.get(name, "tsne")
    if what not in users:
        message = rf"--{name}: the picture '{what}' has no use for it \(but {users}\); leave it out"
        with pytest.raises(PmdError, match=message):
            figure_command([f"--run={table.out}", f"--what={what}", f"--{option}"])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["bandwidth", "plain"], ["bandwidth", "plain"]),
        (["plain", "width", "width, width 2", "width, width 4"], ["width, width 2", "width, width 4"]),
        (["plain", "a", "a, width 2", "a, width 4", "b", "b, width 4"], ["a, mean of widths", "b, mean of widths"]),
    ],
)
def test_curves_of_some_models(names, expected, tmp_path):
    every_curve({name: {1: 0.1, 2: 0.2} for name in names}, KgeConfig(), tmp_path / "curves.svg")
    assert [text for text in texts(tmp_path / "curves.svg") if text in (*names, *expected)] == expected


@pytest.mark.parametrize("what", ["methods", "retention"])
def test_rows_are_chosen_by_name(what, table, tmp_path):
    out = tmp_path / "rows.svg"
    figure_command([f"--run={table.out}", f"--what={what}", "--rows=[best,dt]", f"--out={out}"])
    shown = texts(out)
    assert "DT" in shown and "best" in shown and "BKD" not in shown
    with pytest.raises(PmdError, match="--rows: no row 'bset'; there are dt, "):
        figure_command([f"--run={table.out}", f"--what={what}", "--rows=[bset]"])


def test_no_two_rows_look_alike():
    found = looks([f"r{i}" for i in range(18)])
    assert len({tuple(look.items()) for look in found.values()}) == 18

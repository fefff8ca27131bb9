"""What a picture of methods says, read from its SVG, where matplotlib notes every text."""

import json
import re
import statistics

import pytest

from pmd.core.errors import PmdError
from pmd.recipes.commands import figure_command


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

"""What a picture of methods says."""

import itertools
import json
import re
import statistics

import pytest

pytest.importorskip("matplotlib")
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.papers.figures import every_curve
from pmd.reports.figure_methods import STEP, bar_look, looks
from pmd.reports.pictures import width_axis
from pmd.settings.kge import KgeConfig
from pmd.settings.med_table import TITLES

figure_command = COMMANDS["figure"]


def texts(picture):
    """The texts of a picture that are seen."""
    return [text.get_text() for text in picture.findobj(Text) if text.get_visible() and text.get_text()]


def test_the_ratio_of_each_method_is_drawn(table, tmp_path, pictures):
    figure_command([f"--run={table.out}", "--what=retention", f"--out={tmp_path}/retention.svg"])
    found = json.loads((table.out / "results.json").read_text())["retention"]
    means = [
        statistics.fmean(sum(k for _, k in of.values()) / sum(a for a, _ in of.values()) for of in found[row])
        for row in ("dt", "ext_v", "bkd", "ta", "best")  # rivals first
    ]
    shown = texts(pictures[0])
    assert [text for text in shown if re.fullmatch(r"[01]\.\d{3}", text)] == [f"{mean:.3f}" for mean in means]
    methods = ["DT", "Ext-V", "BKD", "TA", "best"]
    assert [text for text in shown if text in methods] == 2 * methods
    assert "narrowest width that answers" in shown and "8" not in shown  # of the widest, nothing can be lost


def test_a_table_without_retention_says_how_to_get_it(table, tmp_path):
    results = json.loads((table.out / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps({"results": results["results"]}))
    with pytest.raises(PmdError, match=r"was made before retention was measured; repeat its command"):
        figure_command([f"--run={tmp_path}", "--what=retention"])
    with pytest.raises(PmdError, match=r"is not a folder of `pmd table med`"):
        figure_command([f"--run={tmp_path}/none", "--what=retention"])


TASKS = {"labelling": {"dt": {"2": []}}, "recommendation": {"none": {"": []}, "dt": {"2": []}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({"results": TASKS}), "--run: '.*' is not a folder of `pmd table med`"),
        (json.dumps({"results": {"dt": {"two": []}}}), "--run: '.*' is not a folder of `pmd table med`"),
        ('{"results": ', r"'.*results.json' cannot be read \(Expecting value.*\); restore it"),
        ("[1]", "'.*results.json' does not hold a JSON object"),
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
def test_curves_of_some_models(names, expected, tmp_path, pictures):
    every_curve({name: {1: 0.1, 2: 0.2} for name in names}, KgeConfig(), tmp_path / "curves.svg")
    assert [text for text in texts(pictures[0]) if text in (*names, *expected)] == expected


@pytest.mark.parametrize("what", ["methods", "retention"])
def test_rows_are_chosen_by_name(what, table, tmp_path, pictures):
    figure_command([f"--run={table.out}", f"--what={what}", "--rows=[best,dt]", f"--out={tmp_path}/rows.svg"])
    shown = texts(pictures[0])
    assert "DT" in shown and "best" in shown and "BKD" not in shown
    with pytest.raises(PmdError, match="--rows: no row 'bset'; there are dt, "):
        figure_command([f"--run={table.out}", f"--what={what}", "--rows=[bset]"])


def test_no_two_rows_look_alike():
    found = looks([f"r{i}" for i in range(18)])
    assert len({tuple(look.items()) for look in found.values()}) == 18


def luminance(colour):
    """Relative, in [0, 1] (WCAG 2.1)."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts))


def test_rows_are_told_apart_without_colours():
    rows = [*TITLES, *(f"r{i}" for i in range(8))]
    found = looks(rows)
    assert len({(look["marker"], look.get("markerfacecolor")) for look in found.values()}) == 16
    rivals, croppable = [found[row] for row in rows[:8]], [found[row] for row in rows[8:]]
    assert all(1.05 / (luminance(look["color"]) + 0.05) > 4.5 for look in rivals)  # contrast that texts must have
    assert max(look["linewidth"] for look in rivals) < min(look["linewidth"] for look in croppable)
    assert looks(["ta", "bkd", "mine"])["bkd"] == found["bkd"]  # the same in every picture
    bars = [bar_look(row, found[row]) for row in rows]
    assert len({tuple(bar.values()) for bar in bars}) == 16
    assert len({bar["hatch"] for bar in bars[:8]}) == 8


def spread_of(axis):
    """The ends of the error bars (rows, widths, 2) of an axis."""
    found = [part for part in axis.collections if isinstance(part, LineCollection)]
    return [[segment[:, 1].tolist() for segment in part.get_segments()] for part in found]


def test_every_row_has_its_spread_and_the_picture_its_title(table, folder, tmp_path, pictures):
    for what in ("methods", "retention"):
        figure_command([f"--run={table.out}", f"--what={what}", f"--out={tmp_path}/{what}.png"])
    found = json.loads((table.out / "results.json").read_text())["results"]
    (methods,), (bars, lines) = pictures[0].axes, pictures[1].axes
    assert methods.get_title("left") == bars.get_title("left") == f"RotatE, {folder.name}"
    assert bars.get_xlabel() == "ability retention ratio, first 10 candidates, train"
    rows = ("dt", "ext_v", "bkd", "ta", "best")
    ends = spread_of(methods)
    for row, line, of_row in zip(rows, methods.get_lines()[::3], ends, strict=True):  # two of caps after each
        each = [[r["metrics"]["train"]["mrr"] for r in found[row][width]] for width in sorted(found[row])]
        assert line.get_label() == TITLES.get(row, row)
        assert line.get_ydata() == pytest.approx([statistics.fmean(values) for values in each])
        spreads = [statistics.stdev(values) for values in each]
        assert [(high - low) / 2 for low, high in of_row] == pytest.approx(spreads) and any(spreads)
    places = [line.get_transform().transform((4, 0.5))[0] for line in methods.get_lines()[::3]]
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert steps == pytest.approx(4 * [STEP * methods.figure.dpi])  # side by side
    assert [label.get_text() for label in methods.get_xticklabels()] == ["2", "4", "8"]
    assert [label.get_text() for label in lines.get_xticklabels()] == ["2", "4"]
    assert len({(bar.get_facecolor(), bar.get_edgecolor(), bar.get_hatch()) for bar in bars.patches}) == 5


@pytest.fixture
def wide(tmp_path):
    """A table of 64 widths up to 640 of three rows, two seeds each."""
    widths = range(10, 650, 10)
    rows = {
        row: {str(w): [{"metrics": {"test": {"mrr": mrr * w / 640 + shift}}} for shift in (0, 0.01)] for w in widths}
        for row, mrr in (("dt", 0.5), ("ext", 0.4), ("best", 0.6))
    }
    retention = {row: [{str(w): [10, 9] for w in widths}] * 2 for row in rows}
    (tmp_path / "results.json").write_text(json.dumps({"results": rows, "retention": retention}))
    return tmp_path


def test_many_widths_have_few_ticks_and_bands(wide, pictures):
    for what in ("methods", "retention"):
        figure_command([f"--run={wide}", f"--what={what}"])
    (methods,), (_, lines) = pictures[0].axes, pictures[1].axes
    ticks = [10, 20, 40, 80, 160, 320, 640]
    assert methods.get_xticks().tolist() == ticks
    assert [label.get_text() for label in methods.get_xticklabels()] == [str(tick) for tick in ticks]
    assert lines.get_xticks().tolist() == [10, 20, 40, 80, 160, 320, 630]
    assert methods.get_title("left") == ""  # its runs are gone
    assert [line.get_label() for line in methods.get_lines()] == ["DT", "Ext", "best"]
    for line, band, mrr in zip(methods.get_lines(), methods.collections, (0.5, 0.4, 0.6), strict=True):
        assert [line.get_xdata()[place] for place in line.get_markevery()] == ticks
        assert line.get_ydata() == pytest.approx([mrr * width / 640 + 0.005 for width in range(10, 650, 10)])
        low, high = statistics.mean([0, 0.01]) - statistics.stdev([0, 0.01]), statistics.stdev([0, 0.01]) + 0.005
        ends = band.get_paths()[0].vertices[:, 1]
        assert (ends.min(), ends.max()) == pytest.approx((mrr / 64 + low, mrr + high))


@pytest.mark.parametrize(
    ("widths", "ticks", "named"),
    [
        ((4, 10, 40, 160), (4, 10, 40, 160), (4, 10, 40, 160)),
        ((8,), (8,), (8,)),
        (range(80, 641, 80), range(80, 641, 80), (80, 160, 240, 320, 480, 640)),  # 8, of which some would touch
        (range(4, 65, 4), (4, 8, 16, 32, 64), (4, 8, 16, 32, 64)),
        (range(1, 1025), (1, 4, 16, 64, 256, 1024), (1, 4, 16, 64, 256, 1024)),
        (range(10, 341, 10), (10, 20, 40, 80, 160, 320, 340), (10, 20, 40, 80, 160, 340)),
    ],
)
def test_ticks_of_widths(widths, ticks, named):
    axis = Figure().add_subplot()
    assert width_axis(axis, widths) == axis.get_xticks().tolist() == [*ticks]
    assert [label.get_text() for label in axis.get_xticklabels()] == [str(w) if w in named else "" for w in ticks]

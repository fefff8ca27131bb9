"""What the pictures of a run of embedding models show, by value."""

import json
import shutil

import pytest

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.papers.figures import by_epoch, every_curve
from pmd.settings.kge import KgeConfig, KgeStageConfig

from ..recipes.test_kge import PNG, run  # noqa: F401  (a fixture)

figure_command = COMMANDS["figure"]


@pytest.fixture
def main(table, tmp_path):
    """A run of models of three widths that were trained alone, of crops, of taught ones and of a croppable one."""
    for name in ("config.yaml", "results.json"):
        shutil.copy(table.out / "seed0" / "main" / name, tmp_path)
    return tmp_path


def of(results, *names):
    """MRR and thousands of parameters of models."""
    found = [results[name] for name in names]
    return [r["metrics"]["train"]["mrr"] for r in found], [r["parameters"] / 1000 for r in found]


def test_the_widths_of_a_croppable_model_are_drawn(main, folder, pictures):
    result = json.loads((main / "results.json").read_text())["best"]
    (main / "results.json").write_text(json.dumps({"best": result}))
    figure_command([f"--run={main}", "--what=widths"])
    mrr, size = pictures[0].axes  # the time of its widths was not measured
    for axis in (mrr, size):
        (line,) = axis.get_lines()
        assert line.get_xdata().tolist() == [2, 4, 8] and line.get_markevery() == [0, 1, 2]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["2", "4", "8"]
    values = [result["widths"]["train"][width]["mrr"] for width in ("2", "4", "8")]
    assert mrr.get_lines()[0].get_ydata().tolist() == values and len({*values}) == 3
    parameters = result["parameters"] / 1000
    assert size.get_lines()[0].get_ydata() == pytest.approx([parameters / 4, parameters / 2, parameters])
    assert [text.get_text() for text in mrr.get_legend().get_texts()] == ["best, croppable"]
    assert mrr.get_title("left") == f"RotatE, {folder.name}" and mrr.get_ylabel() == "MRR, train"


def test_croppable_models_stand_beside_those_trained_alone(main, pictures):
    results = json.loads((main / "results.json").read_text())
    figure_command([f"--run={main}", "--what=widths"])
    axes = pictures[0].axes
    alone, croppable = axes[0].get_lines()
    assert (alone.get_label(), croppable.get_label()) == ("trained alone", "best, croppable")
    expected = of(results, "dt-2", "dt-4", "dt-8")  # and no crop, which was not trained
    for axis, values in zip(axes, expected):
        assert axis.get_lines()[0].get_ydata().tolist() == pytest.approx(values)
    seconds = [line.get_ydata().tolist() for line in axes[2].get_lines()]
    assert seconds[0] == [results[f"dt-{width}"]["rank_seconds"]["train"] for width in (2, 4, 8)]
    assert seconds[1] == pytest.approx([float("nan")] * 2 + [results["best"]["rank_seconds"]["train"]], nan_ok=True)
    assert len({(line.get_color(), line.get_marker()) for line in axes[0].get_lines()}) == 2


def test_a_single_width_is_no_picture(main):
    results = json.loads((main / "results.json").read_text())
    (main / "results.json").write_text(json.dumps({name: results[name] for name in ("dt-8", "ext_v-2", "bkd-2")}))
    with pytest.raises(PmdError, match=r"--run:.*1 widths"):
        figure_command([f"--run={main}", "--what=widths"])


def whole(axis):
    """The ticks of its epochs that are seen."""
    ticks = [tick for tick in axis.get_xticks() if tick <= axis.get_xlim()[1]]
    return ticks == sorted({round(tick) for tick in ticks}) and len(ticks) > 1


@pytest.mark.parametrize("last", [1, 2, 3, 20, 300])
def test_epochs_are_whole_numbers(last, tmp_path, pictures):
    curve = {epoch: epoch / last for epoch in range(1, last + 1)}
    every_curve({"a": curve, "b": curve}, KgeConfig(), tmp_path / "all.png")
    stages = [
        KgeStageConfig("wide", dim=8),
        KgeStageConfig("first", dim=4, teacher="wide", epochs=last),
        KgeStageConfig("second", dim=4, teacher="wide", start="first", release=True, epochs=last),
        KgeStageConfig("alone", dim=4),
    ]
    validations = {"first": curve, "second": curve, "alone": curve}
    results = {"first": StageResult(epochs=last)}
    by_epoch(validations, KgeConfig(stages=stages), results, None, tmp_path / "taught.png")
    every, taught = pictures[0].axes[0], pictures[1].axes[0]
    assert whole(every) and whole(taught)
    assert taught.get_lines()[0].get_xdata().tolist() == [*range(1, 2 * last + 1)]
    assert len({(line.get_color(), line.get_marker()) for line in every.get_lines()}) == 2
    assert all(line.get_marker() in "os" for line in every.get_lines())  # seen even where it is a single point


def test_files_of_pictures(run, tmp_path, capsys):  # noqa: F811
    for what in ("widths", "epochs"):
        figure_command([f"--run={run}", f"--what={what}", f"--out={tmp_path}/{what}.png"])
        assert (tmp_path / f"{what}.png").read_bytes().startswith(PNG)
    assert capsys.readouterr().out.split() == [f"{tmp_path}/widths.png", f"{tmp_path}/epochs.png"]
    with pytest.raises(PmdError, match=r"end it with \.png"):
        figure_command([f"--run={run}", f"--out={tmp_path}/picture.foo"])
    with pytest.raises(PmdError, match="--dim: no student of width 5 with both stages"):
        figure_command([f"--run={run}", "--dim=5"])


def test_a_run_of_other_models_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("encoder: {}\ndata: {path: world}\n")
    for what in ("epochs", "widths", "tsne"):
        with pytest.raises(PmdError, match=r"--run: .* is no run of embedding models"):
            figure_command([str(tmp_path), f"--what={what}"])

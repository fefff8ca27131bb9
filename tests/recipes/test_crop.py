"""What `pmd crop` says of the width, and of folders that cannot be cropped."""

import shutil

import pytest

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.models.kge.folder import save

BELOW = "note: width 1 was not trained itself; it is below the narrowest of the trained ones: 2, 4, 8"
BETWEEN = "note: width 3 was not trained itself; it is between two of the trained ones: 2, 4, 8"
ALONE = "note: the model was trained at width 8 alone; cropped to 4 it is much worse"


@pytest.fixture
def saved(folder, tmp_path):
    def make(widths=None):
        graph = pmd.load_graph(folder)
        save(tmp_path / "model", pmd.KgeModel("transe", 48, 2, 8, widths=widths), graph)
        return tmp_path / "model"

    return make


@pytest.mark.parametrize(
    ("widths", "width", "note"),
    [((2, 4, 8), 1, BELOW), ((2, 4, 8), 3, BETWEEN), ((2, 4, 8), 4, ""), (None, 4, ALONE), (None, 8, "")],
)
def test_a_width_that_was_not_trained_is_noted(widths, width, note, saved, tmp_path, capsys):
    dispatch(["crop", str(saved(widths)), f"--width={width}", f"--out={tmp_path}/small"])
    said = capsys.readouterr()
    assert said.err.strip() == note
    assert said.out.strip() == f"{tmp_path}/small: {width * 50} of 400 parameters, {width} of 8 dimensions"


def test_answers_by_a_width_that_was_not_trained_are_noted(saved, folder, capsys):
    for width, note in ((4, ALONE + "\n"), (8, "")):
        question = ["--head=e06", "--relation=r_in", f"--width={width}", f"--data.path={folder}"]
        dispatch(["answer", str(saved()), *question])
        said = capsys.readouterr()
        assert said.err.partition("no probabilities: ")[0] == note and "rank" in said.out


def test_nothing_is_noted_of_a_width_that_is_refused(saved, tmp_path, capsys):
    with pytest.raises(PmdError, match=r"width 9.*outside 1.*8"):
        dispatch(["crop", str(saved()), "--width=9", f"--out={tmp_path}/small"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[1]", r"\[1\]"),
        ("5", " 5"),
        ("{}", "'.*'.*neither"),
        ("{", "cannot be read"),
    ],
)
def test_a_config_of_no_embedding_model(settings, message, saved, tmp_path):
    model = saved()
    (model / "manifest.json").unlink()
    (model / "config.json").write_text(settings)
    with pytest.raises(PmdError, match=message):
        dispatch(["crop", str(model), "--width=4", f"--out={tmp_path}/small"])
    with pytest.raises(PmdError, match=message):
        pmd.load(model)


@pytest.mark.parametrize("settings", ["5", '["interaction"]', "{"])
def test_a_broken_config_is_no_scorer(settings, saved, folder):
    model = saved()
    (model / "manifest.json").unlink()
    (model / "config.json").write_text(settings)
    with pytest.raises(PmdError, match=f"'{model}/config.json'"):
        pmd.load_scorer(model, pmd.load_graph(folder))


@pytest.mark.parametrize(("name", "rows", "kept"), [("entities", 48, 5), ("relations", 2, 1)])
def test_a_vocabulary_of_another_model(name, rows, kept, folder, saved, tmp_path):
    model = saved()
    lines = (model / f"{name}.tsv").read_text().splitlines(keepends=True)
    (model / "manifest.json").unlink()
    (model / f"{name}.tsv").write_text("".join(lines[:kept]))
    said = f"'{model}': its model has {rows} {name}, its {name}.tsv {kept} lines"
    with pytest.raises(PmdError, match=said):
        dispatch(["crop", str(model), "--width=4", f"--out={tmp_path}/small"])
    assert not (tmp_path / "small").exists()
    with pytest.raises(PmdError, match=said):
        pmd.load_scorer(model, pmd.load_graph(folder))


def test_another_graph_is_refused_whatever_the_option_is_called(saved, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    path = tmp_path / "other" / "entities.tsv"
    path.write_text(path.read_text() + "e48\tnowhere\t\n")
    with pytest.raises(PmdError, match=r"48.*'other'.*49.*data path"):
        pmd.load_scorer(saved(), pmd.load_graph(tmp_path / "other"))

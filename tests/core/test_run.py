"""A run folder: what it holds comes back, what is broken is named, and folders are written whole."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pmd.core.errors import PmdError
from pmd.core.files import new_folder, write_folder
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.settings.kge import DualConfig, KgeConfig, KgeStageConfig
from pmd.settings.med import MedConfig
from pmd.settings.text import ProgressiveConfig


def test_what_was_left_beside_a_folder_goes_after_a_day(tmp_path):
    folder = tmp_path / "index"
    for name, days in ((".index.killed", 2), (".index.running", 0), (".other.killed", 2)):
        (tmp_path / name / "new").mkdir(parents=True)
        os.utime(tmp_path / name, times=(time.time() - days * 86400,) * 2)
    for text in ("one", "two"):  # where there is no folder, what is left may be all there is of it
        write_folder(folder, lambda aside, text=text: (aside / "file").write_text(text))
        found = {path.name for path in tmp_path.iterdir()} - {"index"}
        assert found == {".index.running", ".other.killed", *([".index.killed"] if text == "one" else [])}
    assert (folder / "file").read_text() == "two"


def test_the_current_folder_is_no_new_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PmdError, match=r"^\.: is the current folder"):
        new_folder(".")
    assert new_folder("other") == Path("other")


def test_results_come_back_by_stage(tmp_path):
    run = Run(tmp_path)
    assert run.results == {}
    run.add_result("first", StageResult(epochs=3, metrics={"test": {"mrr": 0.5}}))
    run.add_result("second", StageResult(epochs=1, metrics={}))
    assert run.results["first"].epochs == 3 and run.results["second"].epochs == 1
    Run(tmp_path, main=False).add_result("third", StageResult(metrics={}))
    assert run.finished == [*run.results] == ["first", "second"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", r"results.json' cannot be read \("), ("[5]", r"results\.json'.*\[5\]")],
)
def test_broken_results_are_named(text, message, tmp_path):
    (tmp_path / "results.json").write_text(text)
    for use in (lambda run: run.results, lambda run: run.add_result("second", {})):
        with pytest.raises(PmdError, match=message):
            use(Run(tmp_path))


@pytest.mark.parametrize("name", ["data.sha256", "graph.sha256"])
def test_a_run_goes_on_with_its_own_data_alone(name, tmp_path):
    run = Run(tmp_path)
    assert run.data_checksum is None
    run.refuse_other_data("a1")
    (tmp_path / "data.sha256").rename(tmp_path / name)  # older runs call it graph.sha256
    assert run.data_checksum == "a1"
    run.refuse_other_data("a1")
    with pytest.raises(PmdError, match=r"data\.path"):
        run.refuse_other_data("b2")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_is_written_in_the_place_of_another(tmp_path):
    place = tmp_path / "runs" / "index"
    for text in ("one", "two"):
        write_folder(place, lambda aside, text=text: (aside / text).write_text(text))
        assert [path.name for path in place.iterdir()] == [text] and os.listdir(place.parent) == ["index"]
    (tmp_path / "plain").mkdir()
    assert place.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_folder_alone(error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    place = tmp_path / "index"
    write_folder(place, lambda aside: (aside / "old").touch())
    with pytest.raises(error):
        write_folder(place, fail)
    assert os.listdir(tmp_path) == ["index"] and os.listdir(place) == ["old"]
    moved = []

    def second(source, target):
        moved.append(target)
        return fail() if len(moved) == 2 else replace(source, target)

    replace = os.replace
    monkeypatch.setattr(os, "replace", second)
    with pytest.raises(error):
        write_folder(place, lambda aside: (aside / "new").touch())
    assert len(moved) == 3 and os.listdir(tmp_path) == ["index"] and os.listdir(place) == ["old"]


def test_a_writer_that_was_quicker_is_replaced(tmp_path, monkeypatch):
    place, replace, moved = tmp_path / "index", os.replace, []

    def beside_another(source, target):
        moved.append(target)
        if len(moved) == 2:  # between moving the old folder away and the new one in
            place.mkdir()
            (place / "theirs").touch()
        replace(source, target)

    write_folder(place, lambda aside: (aside / "old").touch())
    monkeypatch.setattr(os, "replace", beside_another)
    write_folder(place, lambda aside: (aside / "ours").touch())
    assert len(moved) == 4 and os.listdir(tmp_path) == ["index"] and os.listdir(place) == ["ours"]


def test_several_write_one_folder_at_once(tmp_path):
    place, everyone, failed = tmp_path / "index", threading.Barrier(4), []

    def fill(aside, name):
        for part in ("first", "second"):
            (aside / part).write_text(name)
            everyone.wait(timeout=60)  # all of them are half done at the same time

    def write(name):
        try:
            for _ in range(20):
                write_folder(place, lambda aside: fill(aside, name))
        except BaseException as error:
            failed.append(error)
            everyone.abort()

    threads = [threading.Thread(target=write, args=(f"writer {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and os.listdir(tmp_path) == ["index"]
    written = {path.name: path.read_text() for path in place.iterdir()}
    assert written.keys() == {"first", "second"} and len(set(written.values())) == 1


def started(folder, runs, model, **more):
    """The settings of a run that was started in a folder, with a model to load."""
    stages = [KgeStageConfig("taught", load=model), KgeStageConfig("plain")]
    config = KgeConfig(name="second", runs=str(runs), stages=stages, **more)
    Run(folder).start(config)
    return config


def test_where_a_run_lies_is_no_setting(tmp_path, monkeypatch):
    """Neither a run nor a model beside it: they may be moved together, or named by another path."""
    out = tmp_path / "out"
    asked = started(out / "second", out, f"{out}/first/teacher")
    run = Run(out / "second")
    run.refuse_other_settings(asked)
    monkeypatch.chdir(tmp_path)

    def elsewhere(runs, model, name="renamed"):
        return replace(asked, runs=runs, name=name, stages=[KgeStageConfig("taught", load=model), asked.stages[1]])

    run.refuse_other_settings(elsewhere("out", "out/first/teacher"))
    run.refuse_other_settings(elsewhere("moved", "moved/first/teacher"))
    run.refuse_other_settings(elsewhere("moved", f"{out}/first/teacher"))  # moved alone
    for model in ("moved/first/other", "out/first/teacher", None):
        with pytest.raises(PmdError, match=r"out/second'.*stages.0.load '.*/first/teacher'"):
            run.refuse_other_settings(elsewhere("moved", model))


def test_other_settings_are_named(tmp_path):
    asked = started(tmp_path, "runs", "m/teacher", dual=DualConfig(alpha=0.25))
    for other, message in (
        (replace(asked, dual=DualConfig(alpha=0.5)), "dual.alpha 0.25.*0.5"),
        (replace(asked, seed=1), "seed 0.*1"),
        (replace(asked, stages=[*asked.stages, KgeStageConfig("third")]), "stages.2.name None.*'third'"),
        (replace(asked, stages=[asked.stages[0], replace(asked.stages[1], med=MedConfig())]), "stages.1.med"),
    ):
        with pytest.raises(PmdError, match=rf"^'{tmp_path}'.*{message}"):
            Run(tmp_path).refuse_other_settings(other)


CUT = "lacks {}:"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda text: "a: [b", r"cannot be read \(while parsing"),
        (lambda text: "name: \x00", r"\(unacceptable character"),
        (lambda text: "name: 2020-13-45", r"\(month must be in"),
        (lambda text: "", "None"),
        (lambda text: "[1, 2]", r"\[1, 2\]"),
        (lambda text: text[: text.index("runs:")], CUT.format("runs")),
        (lambda text: text[: text.index("dual:") + 20], CUT.format("dual.beta")),
        (lambda text: text[: text.index("dual:") + 5], CUT.format("med")),
        (lambda text: text.replace("  filtered: false\n", ""), CUT.format("loss.filtered")),
    ],
)
def test_a_broken_config_is_named(broken, message, tmp_path):
    asked = started(tmp_path / "run-20250102-000000", tmp_path, "m/teacher")
    file = tmp_path / "run-20250102-000000" / "config.yaml"
    file.write_text(broken(file.read_text()))
    with pytest.raises(PmdError, match=rf"^'{file}'.*{message}") as caught:
        Run(file.parent).refuse_other_settings(asked)
    assert len(str(caught.value).splitlines()) == 1
    if "lacks" not in message:
        for folder in (str(file.parent), "latest"):
            with pytest.raises(PmdError, match=rf"^'{file}'.*{message}"):
                Run.open(folder, runs=str(tmp_path), key="loss")


def test_the_latest_run_of_a_script(tmp_path):
    for stamp, config in (("20250101", KgeConfig()), ("20250102", KgeConfig()), ("20250103", ProgressiveConfig())):
        Run(tmp_path / f"a-{stamp}-000000").start(config)
    (tmp_path / "b-20250100-000000").mkdir()
    (tmp_path / "b-20250100-000000" / "config.yaml").write_text("a: [b")  # older: nobody asks for it
    assert Run.open("latest", runs=str(tmp_path), key="loss").folder.name == "a-20250102-000000"
    assert Run.open("latest", runs=str(tmp_path)).folder.name == "a-20250103-000000"
    with pytest.raises(PmdError, match=r"--resume.*no run"):
        Run.open("latest", runs=str(tmp_path / "none"), key="loss")

"""A run folder: what it holds comes back, and what is broken is named."""

from dataclasses import replace

import pytest

from pmd.core.cores import processor_name
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.core.run import Run, environment, read_settings
from pmd.settings.kge import DualConfig, KgeConfig, KgeStageConfig
from pmd.settings.med import MedConfig
from pmd.settings.text import ProgressiveConfig


def test_results_come_back_by_stage(tmp_path):
    run = Run(tmp_path)
    assert run.results == {}
    run.add_result("first", StageResult(epochs=3, dim=4, parameters=40, metrics={"test": {"mrr": 0.5}}))
    run.add_result("second", StageResult(epochs=1, dim=4, parameters=40, metrics={}))
    assert run.results["first"].epochs == 3 and run.results["second"].epochs == 1
    Run(tmp_path, main=False).add_result("third", StageResult(metrics={}))
    assert run.finished == [*run.results] == ["first", "second"]


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path):
    runs = [Run.create(str(tmp_path / "runs"), "a", KgeConfig(seed=seed)) for seed in range(4)]
    assert [read_settings(run.folder / "config.yaml")["seed"] for run in runs] == [0, 1, 2, 3]
    assert Run.open("latest", runs=str(tmp_path / "runs")).folder == runs[-1].folder


@pytest.mark.parametrize("text", ["a: b", "encoder: 3", "data: towns", "data:"])
def test_settings_that_are_no_runs_are_named(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(PmdError, match=r"config\.yaml' does not say what data"):
        Run(tmp_path).settings  # noqa: B018


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
        (lambda text: "a: [b", r", line 1: expected ',' or '\]'"),
        (lambda text: "name: \x00", ": unacceptable character"),
        (lambda text: "name: 2020-13-45", ": month must be in"),
        (lambda text: "", "holds nothing"),
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


def test_the_environment_says_how_and_where_a_run_was_started(monkeypatch):
    for program, called in (
        ("/usr/bin/pmd", "pmd"),
        ("/a/pmd/__main__.py", "pmd"),
        ("/a/scripts/med.py", "python scripts/med.py"),
    ):
        monkeypatch.setattr("sys.argv", [program, "--seeds=[0, 1]"])
        assert environment()["command"] == f"{called} '--seeds=[0, 1]'"
    assert environment()["processor"] == processor_name() != ""


def test_what_will_be_logged_again_is_removed_from_the_log(tmp_path):
    run, file = Run(tmp_path), tmp_path / "metrics.jsonl"
    assert run.rewind_log("a", 0) == 0
    for stage, step in (("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3)):
        run.log(stage=stage, step=step)
    whole = file.read_text()
    assert run.rewind_log("b", 3) == run.rewind_log("c", 0) == Run(tmp_path, main=False).rewind_log("b", 0) == 0
    assert file.read_text() == whole
    file.write_text(whole + '{"stage": "b", "st')  # cut off by a kill
    assert run.rewind_log("b", 2) == 2
    assert file.read_text().splitlines() == whole.splitlines()[:4]
    assert run.rewind_log("b", 0) == 2 and file.read_text().splitlines() == whole.splitlines()[:2]

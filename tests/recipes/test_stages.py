"""The life of a run, with a family that trains nothing: what is done, in which order, and what is never done again."""

import json
import shutil
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.models.families import write_training
from pmd.recipes.stages import Banner, FamilyRun, run_stages
from pmd.settings.shared import DataConfig, LoopConfig
from pmd.training.stopping import Interrupted


@dataclass
class StageConfig:
    name: str
    batch_size: int = 8


@dataclass
class RunConfig:
    runs: str
    name: str | None = None
    seed: int = 3
    data: DataConfig = field(default_factory=DataConfig)
    stages: list[StageConfig] = field(default_factory=lambda: [StageConfig("first"), StageConfig("second")])
    train: LoopConfig = field(default_factory=lambda: LoopConfig(threads=1))


def family(done, failing=""):
    """A family that notes in `done` what it is asked for; in one method, `failing`, there comes a Ctrl-C."""

    class Noting(FamilyRun):
        @staticmethod
        def resolve(config):
            if not config.stages:
                raise PmdError("stages: the list is empty")
            return config.stages

        def note(self, *what):
            done.append(what)
            if what[0] == failing:
                raise KeyboardInterrupt

        def load_data(self, pending):
            self.note("load", *(stage.name for stage in pending))
            return SimpleNamespace(name="a graph/1", checksum=lambda: "c0ffee")

        @property
        def run_name(self):
            return self.data.name

        def banner(self):
            return Banner({"graph": "small"}, ("stage",), [[name] for name in self.stages])

        def make(self, stage, seed):
            self.note("make", stage.name, seed)
            return f"model of {stage.name}", {"epochs": seed}

        def save(self, folder, model, trained):
            folder.mkdir(parents=True)
            (folder / "config.json").write_text("{}")
            write_training(folder, trained)

        def read(self, folder):
            return f"model of {folder.name}"

        def measure(self, stage, model, trained):
            self.note("measure", model, trained["epochs"])
            return StageResult(dim=8, parameters=80, metrics={"test": {"mrr": 0.5}}, best_epoch=trained["epochs"])

        def summary(self, result):
            return f"MRR {result.metrics['test']['mrr']}"

        def tables(self, results):
            return {"test": ", ".join(results)}

    return Noting


def test_stages_are_made_measured_and_put_in_a_table(tmp_path, capsys):
    done = []
    run = run_stages(family(done), RunConfig(str(tmp_path)))
    assert done == [
        ("load", "first", "second"),
        ("make", "first", 3000),
        ("measure", "model of first", 3000),
        ("make", "second", 3001),
        ("measure", "model of second", 3001),
    ]
    assert run.folder.name.startswith("a-graph-1-") and run.finished == ["first", "second"]
    assert (run.folder / "table.md").read_text() == "a graph/1, test split\n\nfirst, second\n"
    assert run.data_checksum == "c0ffee" and not (run.folder / "checkpoint").exists()
    said = capsys.readouterr().err
    assert said.index("graph      small") < said.index("| second") < said.index("first: MRR 0.5 (best epoch 3000)")


@pytest.mark.parametrize(
    ("failing", "again"),
    [
        ("make", [("load", "first", "second"), ("make", "first", 3000), ("measure", "model of first", 3000)]),
        ("measure", [("load", "first", "second"), ("measure", "model of first", 3000)]),
    ],
)
def test_a_stopped_run_goes_on_with_what_it_has(failing, again, tmp_path):
    config = RunConfig(str(tmp_path), name="run")
    with pytest.raises(Interrupted):
        run_stages(family([], failing), config)
    (folder,) = tmp_path.iterdir()
    assert Run(folder).finished == []
    done = []
    run_stages(family(done), config, Run(folder))
    assert done[: len(again)] == again and Run(folder).finished == ["first", "second"]
    done.clear()
    run_stages(family(done), config, Run(folder))  # nothing is pending
    assert done == [("load",)]


def trained_run(tmp_path, **environment):
    """A run whose stages are finished, as it would be after a start in another environment."""
    config = RunConfig(str(tmp_path), name="run")
    run = run_stages(family([]), config)
    noted = json.loads((run.folder / "env.json").read_text())
    (run.folder / "env.json").write_text(json.dumps({**noted, **environment}))
    return config, run


def test_a_stage_goes_on_with_as_many_processes_as_it_began_with(tmp_path, capsys):
    config, run = trained_run(tmp_path, processes=2)
    shutil.rmtree(run.folder / "second")
    state = run.folder / "checkpoint" / "second" / "state"
    state.mkdir(parents=True)
    done = []
    with pytest.raises(PmdError, match=r"2 process\(es\) on cpu, not by 1 .*remove '.*checkpoint/second'"):
        run_stages(family(done), config, Run(run.folder))
    assert done == [] and run.environment["processes"] == 2
    state.rmdir()
    run_stages(family(done), config, Run(run.folder))
    assert ("make", "second", 3001) in done and run.environment["processes"] == 1
    assert "2 process(es) on cpu, not by 1" in capsys.readouterr().err


def test_a_finished_stage_whose_model_is_gone_is_trained_anew(tmp_path, capsys):
    config, run = trained_run(tmp_path)
    shutil.rmtree(run.folder / "first")
    done = []
    run_stages(family(done), config, Run(run.folder))
    assert done == [("load", "first"), ("make", "first", 3000), ("measure", "model of first", 3000)]
    assert "first is finished, but its model" in capsys.readouterr().err and run.loadable == ["first", "second"]


def test_a_finished_run_keeps_what_it_noted_of_its_environment(tmp_path):
    config, run = trained_run(tmp_path, commit="earlier")
    run_stages(family([]), config, Run(run.folder))
    assert run.environment["commit"] == "earlier"


def test_two_processes_do_not_go_on_with_the_same_run(tmp_path):
    config, run = trained_run(tmp_path)
    shutil.rmtree(run.folder / "second")
    done = []
    with run.held(), pytest.raises(PmdError, match=f"^'{run.folder}': another process trains there; wait"):
        run_stages(family(done), config, Run(run.folder))
    assert done == [("load", "second")]
    run_stages(family(done), config, Run(run.folder))
    assert run.loadable == ["first", "second"]


def test_a_broken_result_is_refused_before_data_are_loaded(tmp_path):
    config, run = trained_run(tmp_path)
    (run.folder / "results.json").write_text('{"first": null}')
    done = []
    with pytest.raises(PmdError, match=r"results\.json'.*None"):
        run_stages(family(done), config, Run(run.folder))
    assert done == []


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "stages: the list is empty"),
        ([StageConfig("a"), StageConfig("b", batch_size=1)], r"stages \(b\).batch_size: 1 .* use 2 or more"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(stages, message, tmp_path):
    done = []
    with pytest.raises(PmdError, match=message):
        run_stages(family(done), RunConfig(str(tmp_path), stages=stages))
    assert done == [] and not [*tmp_path.iterdir()]


def test_ctrl_c_while_data_are_loaded_leaves_no_run(tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        run_stages(family([], "load"), RunConfig(str(tmp_path)))
    assert not isinstance(caught.value, Interrupted) and not [*tmp_path.iterdir()]

"""`--report_to`: what TensorBoard, MLflow and trackio have stored is what the run folder holds."""

import importlib.util
import json
import sys
import types
import warnings

import pytest
import yaml

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.core.run import flat
from pmd.recipes.kge import KgeRun
from pmd.training import trackers
from pmd.training.stopping import Interrupted
from pmd.training.trackers import Trackers, shown

from ..says import says
from ..tiny_glue import write_bert, write_task

NAMES = [name for name in ("tensorboard", "mlflow", "trackio") if importlib.util.find_spec(name)]
TINY = [
    *("--model.dim=8", "--model.widths=[2,8]", "--train.epochs=4", "--train.batch_size=16", "--train.lr=0.05"),
    *("--train.valid_every=2", "--train.log_every=1", "--train.threads=1", "--loss.negatives=4"),
]
TWO = '--stages=[{"name": "one", "widths": [2, 8]}, {"name": "two", "dim": 4}]'
STAGES = [option for option in TINY if "widths" not in option] + [TWO]


@pytest.fixture(scope="module", autouse=True)
def stores(tmp_path_factory):
    """Neither a server of the user nor a store outside of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))  # read when trackio is imported
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "TRACKIO_SPACE_ID"):
            patch.delenv(name, raising=False)
        yield


def train(folder, runs, *more, names=NAMES):
    COMMANDS["train"](
        [f"--data.path={folder}", f"--runs={runs}", "--name=told", f"--report_to=[{','.join(names)}]", *more]
    )


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory, stores):
    """A run of two stages that was stopped after the first and then went on."""
    runs = tmp_path_factory.mktemp("runs")
    measure = KgeRun.measure

    def stopped(self, stage, model, training):
        if stage.name == "two":
            raise KeyboardInterrupt
        return measure(self, stage, model, training)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KgeRun, "measure", stopped)
        with pytest.raises(Interrupted):
            train(folder, runs, *STAGES)
    (made,) = runs.glob("told-*")
    COMMANDS["train"]([f"--resume={made}"])
    return made


def expected_lines(run):
    """(name, step, value) of everything in metrics.jsonl."""
    for line in map(json.loads, (run / "metrics.jsonl").open()):
        stage, step = line.pop("stage"), line.pop("step")
        yield from ((f"{stage}/{name}", step, value) for name, value in line.items())


def expected_results(run):
    stored = json.loads((run / "results.json").read_text())
    return {
        f"{stage}/result/{key.replace('.', '/')}": value
        for stage, result in stored.items()
        for key, value in flat(result).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def expected_settings(run):
    return {key: shown(value) for key, value in flat(yaml.safe_load((run / "config.yaml").read_text())).items()}


def check(run, series, settings, table, rel):
    """`series` is a function from a name to its values by step, in order."""
    wanted = {}
    for name, step, value in expected_lines(run):
        wanted.setdefault(name, []).append((step, value))
    assert {"one/loss", "one/hard", "one/lr", "one/valid", "one/valid_2", "two/valid"} <= wanted.keys()
    for name, values in wanted.items():
        found = series(name)
        assert [step for step, _ in found] == [step for step, _ in values], name
        assert [value for _, value in found] == pytest.approx([value for _, value in values], rel=rel), name
    results = expected_results(run)
    assert {"one/result/metrics/test/mrr", "one/result/widths/test/2/mrr", "two/result/train_seconds"} <= results.keys()
    for name, value in results.items():
        assert [found for _, found in series(name)] == pytest.approx([value], rel=rel), name
    assert settings.items() >= expected_settings(run).items()
    assert table and table.strip() in (run / "table.md").read_text() and table.count("\n") == 4


def test_tensorboard(run):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    def read(place):
        events = EventAccumulator(str(place), {"scalars": 0, "tensors": 0, "images": 0})
        return events.Reload()

    events = read(run / "tracking" / "tensorboard")
    (table,) = events.Tensors("table/test/text_summary")
    (hparams,) = {file.parent for file in run.glob("tracking/tensorboard/*/events*")}
    content = read(hparams).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = {}
    for key, value in HParamsPluginData.FromString(content).session_start_info.hparams.items():
        settings[key] = getattr(value, value.WhichOneof("kind"))
    check(
        run,
        lambda name: [(event.step, event.value) for event in events.Scalars(name)],
        settings,
        table.tensor_proto.string_val[0].decode(),
        rel=1e-6,
    )
    (picture,) = events.Images("scores")
    assert picture.width == 600 and picture.encoded_image_string.startswith(b"\x89PNG")


def test_mlflow(run):
    mlflow = pytest.importorskip("mlflow")
    before = mlflow.get_tracking_uri()
    assert str(run) not in before  # what the run set is taken back
    client = mlflow.MlflowClient(f"sqlite:///{run}/tracking/mlflow/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'told'")
    (told,) = client.search_runs([experiment.experiment_id])
    assert told.info.run_name == run.name and told.info.status == "FINISHED"
    artifacts = run / "tracking" / "mlflow" / "artifacts" / told.info.run_id / "artifacts"
    assert told.info.artifact_uri == artifacts.as_uri()

    def series(name):
        return [(entry.step, entry.value) for entry in client.get_metric_history(told.info.run_id, name)]

    params = {key: str(value) for key, value in expected_settings(run).items()}
    assert told.data.params == params
    check(run, series, expected_settings(run), (artifacts / "table" / "test.md").read_text(), rel=1e-12)
    assert (artifacts / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_trackio(run):
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage
    from trackio.utils import MEDIA_DIR

    assert SQLiteStorage.get_runs("told") == [run.name]
    entries = SQLiteStorage.get_logs("told", run.name)

    def series(name):
        return [(entry["step"], entry[name]) for entry in entries if name in entry]

    ((_, table),) = series("table/test")
    check(run, series, SQLiteStorage.get_run_config("told", run.name), table["_value"], rel=1e-12)
    ((_, picture),) = series("scores")
    assert (MEDIA_DIR / picture["file_path"]).read_bytes().startswith(b"\x89PNG")


def test_a_finished_run_is_told_no_more_and_reporting_changes_nothing(run, folder, tmp_path):
    files = {file: file.stat().st_mtime_ns for file in run.rglob("tracking/**/*")}
    COMMANDS["train"]([f"--resume={run}"])
    assert {file: file.stat().st_mtime_ns for file in run.rglob("tracking/**/*")} == files
    train(folder, tmp_path, *STAGES, names=[])
    (silent,) = tmp_path.glob("told-*")
    assert not (silent / "tracking").exists()
    lines = [[json.loads(line) for line in (place / "metrics.jsonl").open()] for place in (run, silent)]
    for line in (line for both in lines for line in both):
        line.pop("seconds", None)
    assert lines[0] == lines[1]


@pytest.mark.parametrize("family", ["progressive", "glue"])
def test_other_families_are_told_alike(family, folder, tmp_path, capsys):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = [f"--runs={tmp_path}", "--train.epochs=1", "--train.threads=1", "--report_to", "tensorboard"]
    if family == "glue":
        data, bert = write_task(tmp_path / "data" / "RTE", "rte").parent, tmp_path / "bert"
        write_bert(bert)
        options += [f"--data.path={data}", "--task=rte", f"--model.name={bert}", "--model.widths=[8,16,32]"]
        options += ["--evaluation.speed_rounds=1", "--train.batch_size=8", "--model.max_length=24"]
    else:
        sizes = {"hidden_size": 16, "heads": 2, "intermediate_size": 32, "layers": 1, "vocab_size": 300}
        options += [*(f"--encoder.{key}={value}" for key, value in sizes.items()), f"--data.path={folder}"]
        options += ['--stages=[{"name": "teacher"}]', "--structure=null"]
    COMMANDS[family](options)
    (made,) = (file.parent for file in tmp_path.glob("*/results.json"))
    events = EventAccumulator(str(made / "tracking" / "tensorboard"), {"scalars": 0}).Reload()
    for name, value in expected_results(made).items():
        assert [event.value for event in events.Scalars(name)] == pytest.approx([value], rel=1e-6)
    assert any(name.startswith("table/") for name in events.Tags()["tensors"]) and events.Tags()["images"] == ["scores"]


def test_a_missing_package_is_refused_before_anything(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("pmd.core.errors.find_spec", lambda name: None)
    for options in (["--report_to", "wandb"], ["--train.report_to=[tensorboard,wandb]"]):
        with pytest.raises(PmdError) as caught:
            COMMANDS["train"]([*TINY, f"--data.path={folder}", f"--runs={tmp_path / 'runs'}", *options])
        missing = "wandb" if "=" not in options[0] else "tensorboard"
        assert says(str(caught.value), f"train.report_to needs {missing}: pip install 'pmd[{missing}]'")
    assert not (tmp_path / "runs").exists()


class Recorded(trackers.Tracker):
    """A tracker that notes what it is told, and fails in one call."""

    name = "recorded"
    failing = ""

    def start(self, settings):
        self.told = []
        self.note("start")

    def note(self, what):
        self.told.append(what)
        if what == self.failing:
            raise OSError("the disk is full")

    def log(self, stage, values, step):
        self.note(f"{stage} {step} {values}")

    def finish(self):
        self.note("finish")


def test_a_tracker_that_fails_is_left_out_and_one_that_does_not_start_is_refused(tmp_path, monkeypatch):
    def told(kind):
        monkeypatch.setitem(trackers.TRACKERS, "recorded", kind)
        return Trackers(["recorded"], "project", tmp_path, {})

    with told(Recorded) as all_told:
        (tracker,) = all_told.trackers
        all_told.line(stage="one", step=3, loss=0.5, better=True, note="x")
    assert tracker.told == ["start", "one 3 {'loss': 0.5}", "finish"]
    broken = type("Broken", (Recorded,), {"failing": "one 3 {'loss': 0.5}"})
    with told(broken) as all_told:
        with pytest.warns(UserWarning, match=r"recorded is told no more \(the disk is full\)"):
            all_told.line(stage="one", step=3, loss=0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            all_told.line(stage="one", step=4, loss=0.5)
    dead = told(type("Dead", (Recorded,), {"failing": "start"}))
    with pytest.raises(PmdError) as caught, dead:
        pass
    assert says(str(caught.value), "train.report_to: recorded does not start (the disk is full)…leave it out")


def test_wandb_gets_the_step_of_a_stage_beside_its_values(tmp_path, monkeypatch):
    """Against a module that stands for the real one, which needs a server."""
    calls = []

    class Run:
        def log(self, values, step=None):
            calls.append((values, step))

        def define_metric(self, name, step_metric):
            calls.append((name, step_metric))

        def finish(self):
            calls.append("finish")

    module = types.ModuleType("wandb")
    module.init = lambda **options: calls.append(options) or Run()
    module.config = types.SimpleNamespace(update=lambda values, **options: calls.append(values))
    monkeypatch.setitem(sys.modules, "wandb", module)
    module.Image = lambda pixels: pixels.shape
    run, results = tmp_path / "told-1", {"one": StageResult(dim=4, metrics={"test": {"mrr": 0.25}})}
    for _ in range(2):
        with Trackers(["wandb"], "told", run, {"train": {"lr": 0.1, "report_to": None}}) as all_told:
            all_told.line(stage="one", step=3, loss=0.5)
            all_told.tables({"test": "| a |"}, results)
    start = {"project": "told", "name": "told-1", "id": "told-1", "resume": "allow"}
    start["dir"] = str(run / "tracking" / "wandb")
    logged = [
        ("one/*", "one/step"),
        ({"one/step": 3, "one/loss": 0.5}, None),
        ({"table/test": "| a |"}, None),
        ({"scores": [(130, 600, 3)]}, None),
        "finish",
    ]
    assert calls == [start, {"train.lr": 0.1, "train.report_to": "null"}, *logged, start, *logged]

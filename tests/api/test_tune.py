"""`pmd tune`: the same trials each time, however often it is stopped; what is refused, pruned, kept and written."""

import dataclasses
import json

import pytest
import torch
import yaml

import pmd
from pmd.api.settings import settings_of
from pmd.api.tuning.space import read_space, space_file
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.run import held
from pmd.settings.kge import KgeConfig
from pmd.settings.parsing.config_files import CONFIGS
from pmd.settings.text import ProgressiveConfig
from pmd.settings.tune import kind_of

from ..says import says

pytest.importorskip("optuna")
pytestmark = pytest.mark.filterwarnings("ignore:graph '")
TRAIN = {"epochs": 4, "batch_size": 16, "valid_every": 1, "lr": 0.05, "threads": 1, "log_every": 1}
SMALL = {"model": {"dim": 4}, "train": TRAIN, "loss.negatives": 4}
LR = "train.lr: {low: 1e-4, high: 0.2, log: true}\n"
SPACE = LR + "loss.negatives: {low: 2, high: 8}\nmodel.interaction: {values: [rotate, transe]}\n"


def tuner(folder, place):
    """What makes a study of a graph, by default in one folder, of what a space says."""

    def call(text=SPACE, **settings):
        (place / "space.yaml").write_text(text)
        given = {"space": str(place / "space.yaml"), "out": str(place / "study"), "trials": 3, **SMALL}
        return pmd.tune(folder, **{**given, "runs": str(place / "runs"), **settings})

    return call


@pytest.fixture
def tune(folder, tmp_path):
    return tuner(folder, tmp_path)


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    """A study that is done."""
    return tuner(folder, tmp_path_factory.mktemp("done"))(trials=4)


def without_times(trials):
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in trials]


def test_the_same_settings_make_the_same_trials_and_the_best_is_kept(tune, study):
    one, two = study, tune(trials=4)
    assert without_times(one.trials) == without_times(two.trials) and len(one.trials) == 4
    assert one.trials[0]["values"] == {"train.lr": 0.05, "loss.negatives": 4, "model.interaction": "rotate"}
    assert len({str(trial["values"]) for trial in one.trials}) == 4
    assert one.value == max(trial["value"] for trial in one.trials)
    assert one.best == next(trial["values"] for trial in one.trials if trial["value"] == one.value)
    assert one.run.metrics(split="valid")["mrr"] == one.value
    assert list(one.to_pandas()["train.lr"]) == [trial["values"]["train.lr"] for trial in one.trials]
    with_models = [path.parent.parent.name for path in (one.folder / "trials").glob("*/*/model.safetensors")]
    assert with_models == [one.run.folder.name]
    assert one._repr_markdown_() in (one.folder / "table.md").read_text()


def test_the_settings_of_the_best_run_by_themselves_with_the_split_that_was_asked_for(study):
    run = pmd.train(config=study.folder / "best.yaml")
    assert list(run.metrics()) and next(iter(run.results.values())).splits == ["test"]
    again = pmd.train(config=study.settings, evaluation={"split": "valid"})
    assert again.metrics()["mrr"] == study.value


def test_the_test_split_is_not_ranked(tune, monkeypatch):
    from pmd.recipes import kge, ranking

    ranked = []
    for module, name in ((kge, "ranks"), (ranking, "rank")):
        original = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda *arguments, _original=original, **more: ranked.append(arguments[2]) or _original(*arguments, **more),
        )
    result = tune(LR, trials=2)
    assert len(ranked) > 2 and {*ranked} == {"valid"}
    for results in result.folder.glob("trials/*/results.json"):
        assert {split for stage in json.loads(results.read_text()).values() for split in stage["metrics"]} == {"valid"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit], ids=["ctrl-c", "killed"])
def test_a_study_that_was_stopped_goes_on(tune, study, stop):
    def stopped(line):
        if line["trial"] == 1 and line["epoch"] == 2:
            raise stop

    with pytest.raises(stop):
        tune(callback=stopped)
    seen = []
    result = tune(callback=lambda line: seen.append(line["trial"]))
    assert without_times(result.trials) == without_times(study.trials[:3])
    assert {*seen} == {1, 2}
    assert without_times(tune(trials=4).trials) == without_times(study.trials)


def test_a_trial_that_is_killed_again_and_again_has_failed(tune):
    def killed(line):
        if line["trial"] == 1:
            raise SystemExit

    for _ in range(2):
        with pytest.raises(SystemExit):
            tune(LR, callback=killed)
    result = tune(LR, callback=killed)
    assert [trial["state"] for trial in result.trials] == ["complete", "failed", "complete"]
    assert result.trials[1]["reason"] == "it was killed 2 times"


@pytest.mark.slow
def test_low_trials_are_pruned_and_their_folders_say_so(tune):
    space = "train.lr: {low: 1e-3, high: 0.3, log: true}\n"
    result = tune(space, trials=10)
    pruned = [trial for trial in result.trials if trial["state"] == "pruned"]
    assert pruned and all(trial["value"] is None and len(trial["valid"]) < 4 for trial in pruned)
    median = sorted(trial["value"] for trial in result.trials[:4])[1]
    assert all(max(trial["valid"].values()) < max(median, result.value) for trial in pruned)
    folder = result.folder / "trials" / f"{pruned[0]['trial']:03}"
    note = json.loads((folder / "trial.json").read_text())
    assert note["state"] == "pruned" and says(note["reason"], "epoch …: MRR …, low beside other trials")
    assert not list(folder.glob("*/model.safetensors")) and not (folder / "checkpoint").exists()
    page = pmd.report(folder, rank=False)[1].read_text()
    assert "This trial of a study was pruned" in page
    unpruned = tune(space, trials=pruned[0]["trial"] + 1, pruner="none", out=f"{result.folder}-all")
    assert {trial["state"] for trial in unpruned.trials} == {"complete"}


def test_trials_that_fail_do_not_end_the_study(tune, tmp_path, monkeypatch):
    result = tune("train.lr: {values: [0.05, 1e30]}\n", trials=2)
    assert [trial["state"] for trial in result.trials] == ["complete", "failed"]
    assert says(result.trials[1]["reason"], "loss term …became nan")
    with pytest.raises(PmdError, match=r"the first 3 trials all failed, the last one so: .* became (nan|inf)"):
        tune("train.lr: {low: 1e30, high: 1e32}\n", out=str(tmp_path / "hopeless"), trials=9)

    from pmd.api.tuning import trials as module

    run_stages = module.run_stages

    def out_of_memory(family, config, run, **more):
        if run.folder.name == "001":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        if run.folder.name == "002":
            raise RuntimeError("a bug")
        return run_stages(family, config, run, **more)

    monkeypatch.setattr(module, "run_stages", out_of_memory)
    with pytest.raises(RuntimeError, match="a bug"):
        tune(LR, out=str(tmp_path / "memory"))
    monkeypatch.undo()
    states = [trial["state"] for trial in tune(LR, out=str(tmp_path / "memory")).trials]
    assert states == ["complete", "failed", "complete"]


def test_trials_and_minutes_are_totals(tune):
    assert len(tune(LR, minutes=1e-6).trials) == 1
    assert len(tune(LR, minutes=1e-6).trials) == 1
    assert len(tune(LR, minutes=10).trials) == 3


@pytest.mark.slow
def test_values_that_were_tried_are_not_tried_again(tune, capsys):
    result = tune("train.lr: {values: [0.01, 0.05]}\nloss.negatives: {low: 4, high: 5}\n", trials=9)
    assert len({str(trial["values"]) for trial in result.trials}) == len(result.trials) == 4
    assert "every value of the space was tried: 4 trials" in capsys.readouterr().err


def test_a_study_of_something_else_is_refused(tune, study, folder):
    out = str(study.folder)
    for settings, named in (
        ({"train": {**TRAIN, "epochs": 3}}, "study'…settings.train.epochs 4, not 3; choose another --out"),
        ({"space": "tune/embedding"}, "study'…with space.…choose another --out"),
        ({"metric": "hits_at_10"}, "study'…judged 'MRR on valid, last stage', not 'Hits@10 on valid"),
        ({"out": str(folder)}, "holds something else than a study"),
    ):
        with pytest.raises(PmdError) as refused:
            tune(**{"out": out, **settings})
        assert says(str(refused.value), named)
    other = pmd.load_graph(folder)
    with pytest.raises(PmdError, match=r"is a study of another graph than data.path holds now; choose another --out"):
        pmd.tune(dataclasses.replace(other, train=other.train[:-1]), out=out, **SMALL)


@pytest.mark.parametrize(
    ("space", "named"),
    [
        ("trian.lr: {low: 1, high: 2}", "space.yaml: trian.lr: there is no such option; did you mean 'train.lr'?"),
        ("train.lr: {low: 1, hihg: 2}", "train.lr: there is no 'hihg'; did you mean 'high'?"),
        ("train.lr: {low: 1}", "train.lr: a range has low and high; write {low"),
        ("train.lr: {low: 2, high: 1}", "train.lr: low 2 is not below high 1"),
        ("train.lr: {low: 0, high: 1, log: true}", "train.lr: log needs a low above 0"),
        ("train.lr: {low: 0.1, high: 1, log: 'false'}", "train.lr: log is true or false, not 'false'"),
        ("train.lr: {low: -1, high: 1}", "train.lr: -1.0 is not positive"),
        ("train.lr: {low: a, high: 1}", "train.lr: 'a' is not a number"),
        ("train.lr: 0.1", "train.lr: 0.1 is no range; write"),
        ("train: {lr: {low: 1, high: 2}}", "train: write the whole path of an option in one line: train.lr: {"),
        ("train.epochs: {low: 1, high: 2.5}", "train.epochs: '2.5' is not a whole number"),
        ("train.optimizer: {values: [adam, adamm]}", "train.optimizer: 'adamm' is not one of…did you mean 'adam'?"),
        ("loss.filtered: {low: 0, high: 1}", "loss.filtered: '0' is not true or false"),
        ("loss.margin: {low: 1, high: 9}", "loss.margin: the softmax loss has no use for it"),
        ("stages.x.lr: {low: 0.1, high: 1}", "stages.x.lr: no stage 'x'; the config lists none"),
        ("seed: {low: 0, high: 9}", "seed: seed is the same for all trials"),
        ("evaluation.split: {values: [test]}", "evaluation.split is the same for all trials"),
        ("data.path: {values: [world]}", "data is the same for all trials"),
        ("train.lr: {low: 1, high: 2", "space.yaml, line 2: …correct its YAML"),
        ("", "space.yaml: holds nothing"),
    ],
)
def test_a_space_that_no_run_could_have_is_refused(tune, tmp_path, space, named):
    with pytest.raises(PmdError) as refused:
        tune(f"{space}\n")
    assert says(str(refused.value), f"--space: …{named}")
    assert not (tmp_path / "study").exists()


def test_a_value_that_fits_beside_others_alone_is_not_refused(tune):
    space = "loss.margin: {low: 1, high: 9}\nloss.name: {values: [softmax, logistic]}\n"
    states = {trial["values"]["loss.name"]: trial["state"] for trial in tune(space, trials=4).trials}
    assert states["logistic"] == "complete"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"space": "tune/embeding"}, "--space: tune/embeding: no such file, and no bundled…'tune/embedding'?"),
        ({"stage": "rotte"}, "--stage: no stage 'rotte'; did you mean 'rotate'?"),
        ({"width": 3}, "--width: rotate has no width 3; there are 4"),
        ({"metric": "mmr"}, "metric: 'mmr' is not one of mrr"),
        ({"trials": 0}, "trials: 0 is not positive"),
        ({"minutes": -1}, "minutes: -1"),
        ({"trails": 3}, "trails: there is no such option; did you mean 'trials'?"),
    ],
)
def test_settings_that_cannot_work_are_refused(tune, settings, named):
    with pytest.raises(PmdError) as refused:
        tune(**settings)
    assert says(str(refused.value), named)


def test_optuna_is_an_extra(tune, monkeypatch):
    monkeypatch.setattr("pmd.core.errors.find_spec", lambda name: None)
    with pytest.raises(PmdError, match=r"tuning needs optuna: pip install 'pmd\[tune\]'"):
        tune()


def test_several_processes_are_refused(tune, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PmdError, match="2 processes were started"):
        tune()


def test_two_processes_do_not_tune_in_one_folder(tune, study):
    with held(study.folder / "study.yaml"), pytest.raises(PmdError, match="another process"):
        tune(out=str(study.folder))


@pytest.mark.slow
def test_croppable_models_are_judged_by_a_width_or_the_mean_over_all(tune, tmp_path):
    options = {"model": {"dim": 8, "widths": [2, 8]}, "trials": 2}
    mean, narrow = tune(LR, **options), tune(LR, **options, width=2, metric="mr", out=str(tmp_path / "narrow"))
    for trial in mean.trials:
        run = pmd.TrainedRun(mean.folder / "trials" / f"{trial['trial']:03}")
        by_width = {width: metrics["mrr"] for width, metrics in run.results["rotate"].by_width("valid").items()}
        assert trial["value"] == pytest.approx(sum(by_width.values()) / 2)
    of_narrow = {
        trial["trial"]: pmd.TrainedRun(narrow.folder / "trials" / f"{trial['trial']:03}").results["rotate"]
        for trial in narrow.trials
    }
    assert {n: r.by_width("valid")[2]["mr"] for n, r in of_narrow.items()} == {
        trial["trial"]: trial["value"] for trial in narrow.trials
    }
    assert narrow.value == min(trial["value"] for trial in narrow.trials)


def test_the_first_trial_is_the_config_as_it_is(tune):
    options = {"model": {"dim": 8, "widths": [2, 8]}, "loss.name": "logistic", "space": "tune/med", "trials": 1}
    (trial,) = tune(**options).trials
    usual = {
        "loss.margin": 6.0,
        "med.prefix": 0.3,
        "med.power": 0.5,
    }  # what the run makes of options that are left open
    assert {path: trial["values"][path] for path in usual} == usual and trial["values"]["train.lr"] == 0.05


def test_options_of_a_stage_vary(tune):
    stages = [{"name": "teacher"}, {"name": "small", "dim": 2, "teacher": "teacher"}]
    space = "stages.small.lr: {low: 0.01, high: 0.1}\nstages.small.alpha: {values: [0.25, 0.75]}\n"
    result = tune(space, stages=stages, trials=2, stage="small")
    assert result.trials[0]["values"]["stages.small.lr"] != result.trials[1]["values"]["stages.small.lr"]
    best = yaml.safe_load((result.folder / "best.yaml").read_text())
    assert best["stages"][1]["lr"] == result.best["stages.small.lr"]
    assert best["stages"][1]["alpha"] == result.best["stages.small.alpha"]


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("tune/*.yaml")), ids=lambda file: file.stem)
def test_bundled_spaces_are_of_options_that_exist(file):
    is_text = file.stem in ("text", "progressive")
    config = settings_of(ProgressiveConfig, "pmd/world") if is_text else KgeConfig()
    space = read_space(space_file(f"tune/{file.stem}"), config, lambda config: None)
    assert space and list(space) == list(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize(
    ("config", "options", "kind"),
    [
        (None, (), "embedding"),
        ("pmd/world", (), "text"),
        ("kge/wn18rr_rotate", ("train",), "embedding"),
        (None, ("encoder",), "text"),
        (ProgressiveConfig(), (), "text"),
    ],
)
def test_the_kind_of_runs_follows_the_settings(config, options, kind):
    assert kind_of(config, options) == kind


def test_text_models_are_tuned_and_the_command_says_what_to_do_next(folder, tmp_path, capsys):
    (tmp_path / "text.yaml").write_text("encoder: {name: scratch, layers: 2, hidden_size: 16, heads: 2}\n")
    options = ["--train.epochs=1", "--train.batch_size=16", "--train.threads=1", "--encoder.intermediate_size=16"]
    options += [f"--config={tmp_path / 'text.yaml'}", f"--data.path={folder}", f"--runs={tmp_path / 'runs'}"]
    options += ['--stages=[{"name": "teacher"}, {"name": "small", "layers": 1}]', "--trials=2", "--train.warmup=0"]
    COMMANDS(["tune", *options], "pmd")
    printed = capsys.readouterr()
    (study,) = (tmp_path / "runs").glob("tune-*-progressive-*")
    assert says(" ".join(printed.out.split()), f"trial…best: trial …train it: pmd progressive --config {study}")
    assert says(" ".join(printed.err.split()), "judged by MRR on valid, last stage…space tune/progressive…no trial is")
    COMMANDS(["tune", *options], "pmd")
    assert capsys.readouterr().out == printed.out  # found again, and nothing is trained
    assert {*yaml.safe_load((study / "best.yaml").read_text())["evaluation"]["split"].split()} == {"test"}
    COMMANDS(["progressive", f"--config={study / 'best.yaml'}"], "pmd")


def test_a_study_has_a_page(study, tmp_path):
    page, markdown = pmd.report(study.folder, out=tmp_path / "study.html")
    text = markdown.read_text()
    assert f"The best of 4 trials has {study.value:.3f} as MRR on valid, last stage." in text
    assert all(f"| {trial['trial']} " in text for trial in study.trials)
    for name in ("history", "validation", "importance", "option0", "option2"):
        assert (page.with_suffix("") / f"{name}.svg").is_file()
    with pytest.raises(PmdError, match="a study has a page of its own"):
        pmd.report([study.folder, study.folder])
    (tmp_path / "trials.json").write_text("{}")
    with pytest.raises(PmdError, match="does not hold the trials of a study"):
        pmd.report(tmp_path)

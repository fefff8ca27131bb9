"""The state on disk: nothing in it runs, and a replacement that was cut short is finished."""

import errno
import json
import os
import pickle
import re
import shutil
import signal
import zipfile

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.training.stopping import SIGNALS, Interrupted, Stop

from .test_loop import DATA, Batch, settings, train

FILES = ("model.safetensors", "optimizer.bin", "random_states_0.pkl", "training.json", "custom_checkpoint_0.pkl")


def cut(folder, number=signal.SIGINT, at=13):
    """A training that was asked to stop at a step; returns its exception."""
    calls = []

    def interrupting(positions):
        calls.append(positions)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return Batch(DATA[positions])

    with pytest.raises(Interrupted) as caught:
        train(folder, collate=interrupting, validate=lambda: {"valid": 1.0}, settings=settings(valid_every=1))
    return caught.value


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    cut(folder)
    return folder


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("file", [*(f"state/{name}" for name in FILES), "best.safetensors"])
def test_a_planted_pickle_is_refused_and_does_not_run(file, stopped, tmp_path):
    checkpoint, ran = shutil.copytree(stopped / "checkpoint", tmp_path / "checkpoint"), tmp_path / "ran"
    for write in (
        pickle.dumps,
        lambda value: torch.save(value, checkpoint / "saved") or (checkpoint / "saved").read_bytes(),
    ):
        (checkpoint / file).write_bytes(write(Planted(ran)))
        with pytest.raises(PmdError, match=r"checkpoint' is damaged"):
            train(tmp_path, settings=settings(valid_every=1))
        assert not ran.exists()


def test_a_checkpoint_of_an_older_version_goes_on_and_its_pickles_do_not_run(stopped, tmp_path):
    checkpoint = shutil.copytree(stopped / "checkpoint", tmp_path / "checkpoint")
    training = json.loads((checkpoint / "state/training.json").read_text())
    (checkpoint / "state/training.json").unlink()
    del training["progress"]["lines"]
    for number, part in enumerate(("progress", "schedule")):
        torch.save(training[part], checkpoint / f"state/custom_checkpoint_{number}.pkl")
    planted = shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-planted")
    options = {"validate": lambda: {"valid": 1.0}, "settings": settings(valid_every=1)}
    expected, _ = train(shutil.copytree(stopped, tmp_path / "new"), **options)
    resumed, progress = train(tmp_path, **options)
    assert progress.step == 20 and progress.lines == -1
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in expected.state_dict().items())
    torch.save(Planted(tmp_path / "ran"), planted / "checkpoint/state/custom_checkpoint_1.pkl")
    with pytest.raises(PmdError, match=r"checkpoint' is damaged"):
        train(planted, **options)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("core", ["core", "_core"])
def test_a_checkpoint_of_numpy_1_and_of_numpy_2_goes_on(core, stopped, tmp_path):
    file = shutil.copytree(stopped / "checkpoint", tmp_path / "checkpoint") / "state" / "random_states_0.pkl"
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, re.sub(rb"numpy\._?core\.", f"numpy.{core}.".encode(), content))
    assert f"numpy.{core}.multiarray".encode() in file.read_bytes()
    _, progress = train(tmp_path, validate=lambda: {"valid": 1.0}, settings=settings(valid_every=1))
    assert progress.step == 20


@pytest.mark.parametrize("names", [("state.old",), ("state.old", "state.new")])
def test_a_replacement_that_was_cut_short_is_finished(names, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    options = {"validate": lambda: {"valid": 1.0}, "settings": settings(valid_every=1)}
    for name in names:
        shutil.copytree(tmp_path / "checkpoint/state", tmp_path / "checkpoint" / name)
    shutil.rmtree(tmp_path / "checkpoint/state")
    steps = []
    train(tmp_path, **options, log=lambda **values: steps.append(values["step"]))
    assert steps[0] == 14


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_saves_and_says_which_it_was(number, tmp_path):
    before = signal.getsignal(number)
    if before == signal.SIG_IGN and number != signal.SIGINT:
        pytest.skip("this process was started to ignore it")
    assert cut(tmp_path, number).number == number
    assert (tmp_path / "checkpoint/state/training.json").is_file() and signal.getsignal(number) == before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_lines_that_will_be_logged_again_are_named(tmp_path):
    counts, lines = [], []
    options = {"rewind": counts.append, "log": lambda **values: lines.append(values)}
    train(tmp_path / "whole", **options)
    assert counts == [0]
    cut(tmp_path / "cut")  # 13 steps and two validations
    train(tmp_path / "cut", **options)
    assert counts == [0, 15]


@pytest.mark.parametrize(("aside", "kept"), [("state.new", "state/training.json"), ("best.new", "best.safetensors")])
def test_a_full_disk_leaves_the_last_state(aside, kept, stopped, tmp_path, monkeypatch):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    before, replace = (tmp_path / "checkpoint" / kept).read_bytes(), os.replace

    def full(source, target):
        if aside in str(source):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    options = {"validate": lambda: {"valid": 2.0}, "settings": settings(valid_every=1, save_minutes=0)}
    with pytest.raises(
        PmdError, match=rf"^{tmp_path}/checkpoint.*: the disk is full: about [\d,]+ bytes are needed and "
    ):
        train(tmp_path, **options)
    monkeypatch.undo()
    assert (tmp_path / "checkpoint" / kept).read_bytes() == before
    assert train(tmp_path, **options)[1].step == 20

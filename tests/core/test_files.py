"""Folders are written completely or not at all, whoever else writes them."""

import errno
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from pmd.core.errors import PmdError
from pmd.core.files import new_folder, reserve, room_for, tidy, write_bytes, write_folder

FULL = "Error while serializing: I/O error: No space left on device (os error 28)"


def test_a_folder_is_written_in_the_place_of_another(tmp_path):
    path = tmp_path / "runs" / "index"
    for text in ("one", "two"):
        write_folder(path, lambda new, text=text: (new / text).write_text(text))
        assert [path.name for path in path.iterdir()] == [text] and os.listdir(path.parent) == ["index"]
    (tmp_path / "plain").mkdir()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_folder_alone(error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    path = tmp_path / "index"
    write_folder(path, lambda new: (new / "old").touch())
    with pytest.raises(error):
        write_folder(path, fail)
    assert os.listdir(tmp_path) == ["index"] and os.listdir(path) == ["old"]
    moved = []

    def second(source, target):
        moved.append(target)
        return fail() if len(moved) == 2 else replace(source, target)

    replace = os.replace
    monkeypatch.setattr(os, "replace", second)
    with pytest.raises(error):
        write_folder(path, lambda new: (new / "new").touch())
    assert len(moved) == 3 and os.listdir(tmp_path) == ["index"] and os.listdir(path) == ["old"]


def test_a_writer_that_was_quicker_is_replaced(tmp_path, monkeypatch):
    path, replace, moved = tmp_path / "index", os.replace, []

    def beside_another(source, target):
        moved.append(target)
        if len(moved) == 2:  # between moving the old folder away and the new one in
            path.mkdir()
            (path / "theirs").touch()
        replace(source, target)

    write_folder(path, lambda new: (new / "old").touch())
    monkeypatch.setattr(os, "replace", beside_another)
    write_folder(path, lambda new: (new / "ours").touch())
    assert len(moved) == 4 and os.listdir(tmp_path) == ["index"] and os.listdir(path) == ["ours"]


def test_several_write_one_folder_at_once(tmp_path):
    path, everyone, failed = tmp_path / "index", threading.Barrier(4), []

    def fill(new, name):
        for part in ("first", "second"):
            (new / part).write_text(name)
            everyone.wait(timeout=60)  # all of them are half done at the same time

    def write(name):
        try:
            for _ in range(20):
                write_folder(path, lambda new: fill(new, name))
        except BaseException as error:
            failed.append(error)
            everyone.abort()

    threads = [threading.Thread(target=write, args=(f"writer {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and os.listdir(tmp_path) == ["index"]
    written = {path.name: path.read_text() for path in path.iterdir()}
    assert written.keys() == {"first", "second"} and len(set(written.values())) == 1


def test_temporary_folders_are_removed_after_a_day(tmp_path):
    folder = tmp_path / "index"
    for name, days in ((".index.killed", 2), (".index.running", 0), (".other.killed", 2)):
        (tmp_path / name / "new").mkdir(parents=True)
        os.utime(tmp_path / name, times=(time.time() - days * 86400,) * 2)
    for text in ("one", "two"):  # where there is no folder, what is left may be all there is of it
        write_folder(folder, lambda new, text=text: (new / "file").write_text(text))
        found = {path.name for path in tmp_path.iterdir()} - {"index"}
        assert found == {".index.running", ".other.killed", *([".index.killed"] if text == "one" else [])}
    assert (folder / "file").read_text() == "two"


def test_the_current_folder_is_not_new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PmdError, match=r"^\.: is the current folder"):
        new_folder(".")
    assert new_folder("other") == Path("other")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(PmdError, match=r"^deep/other: cannot be written, for '.*' is read-only; choose another place"):
        new_folder("deep/other")


def test_what_killed_processes_left_is_removed_or_finished(tmp_path):
    def left(name, *parts):
        for part in parts:
            (tmp_path / name / part).mkdir(parents=True)
            (tmp_path / name / part / "file").write_text(part)

    for name in ("there", "index"):
        (tmp_path / name).mkdir()
    left(".there.abcdefgh", "new", "tmp12345678")  # complete, but what is there counts
    left(".moved.abcdefgh", "new", "tmp12345678/old")  # killed between two moves
    left(".first.abcdefgh", "new", "tmp12345678")  # nothing was there before
    left(".put_back.abcdefgh", "tmp12345678/old")
    left(".cut.abcdefgh", "new")  # not complete
    left(".index.abcdefgh", "new")
    (tmp_path / "there" / ".results.json.abcdefgh").touch()
    (tmp_path / ".hidden").touch()
    tidy(tmp_path, without=("index",))
    assert sorted(os.listdir(tmp_path)) == [
        ".hidden",
        ".index.abcdefgh",
        "first",
        "index",
        "moved",
        "put_back",
        "there",
    ]
    assert os.listdir(tmp_path / "there") == [] and (tmp_path / "moved" / "file").read_text() == "new"
    assert (tmp_path / "put_back" / "file").read_text() == "tmp12345678/old"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError(FULL)])
def test_a_full_disk_is_told_with_what_is_needed_and_left(error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("pmd.core.files.shutil.disk_usage", lambda path: SimpleNamespace(free=2_000_000))
    folder = tmp_path / "runs" / "new"
    with pytest.raises(PmdError, match=rf"^{tmp_path}/runs: the disk is full: 2.0 MB are left; free some space, or"):
        write_folder(folder, fail)
    assert os.listdir(tmp_path / "runs") == []
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PmdError, match=r"runs: the disk is full: about 3.0 MB are needed and 2.0 MB are left; free"):
        write_bytes(folder, bytes(3_000_000))
    assert os.listdir(tmp_path / "runs") == []


def test_pytorch_does_not_say_that_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr("pmd.core.files.shutil.disk_usage", lambda path: SimpleNamespace(free=1_000))
    for needed, expected in ((2_000, PmdError), (500, RuntimeError)):
        with pytest.raises(expected), room_for(tmp_path / "not" / "there", needed):
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    with pytest.raises(PmdError, match=r"^lr: 1"), room_for(tmp_path, 2_000):
        raise PmdError("lr: 1")


def test_the_room_of_a_file_is_taken_before_it_is_written(tmp_path):
    file = tmp_path / "vectors"
    with open(file, "wb") as opened:
        opened.truncate(1 << 20)
    before = file.stat().st_blocks
    reserve(file)
    assert file.stat().st_size == 1 << 20 and file.read_bytes() == bytes(1 << 20)
    assert before == 0 and file.stat().st_blocks >= (1 << 20) // 512

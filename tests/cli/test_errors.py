"""What every command does with errors, and the flags --quiet and --debug."""

import errno
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from safetensors import SafetensorError

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.training.stopping import Interrupted


def command(error: BaseException | None = None):
    def act() -> None:
        print("remark", file=sys.stderr)
        print("result", *sys.argv[1:])
        if error is not None:
            raise error

    return act


@pytest.fixture
def arguments(monkeypatch):
    return lambda *given: monkeypatch.setattr("sys.argv", ["pmd", *given])


FULL = "the disk is full; "
LEFT = ": the disk is full: "


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (PmdError("lr: -1 must be positive"), "lr: -1 must be positive"),
        (FileNotFoundError(2, "No such file", "a.tsv"), "a.tsv: No such file; "),
        (SafetensorError('I/O error: Permission denied (os error 13) at path "a/.x"'), "a/.x: Permission denied; "),
        (OSError(errno.ENOSPC, "No space left on device"), FULL),
        (OSError(errno.ENOSPC, "No space left on device", "from", None, "to"), f"to{LEFT}"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "out"), f"out{LEFT}"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), FULL),
    ],
)
@pytest.mark.parametrize("quiet", [False, True])
def test_an_error_is_one_line(error, start, quiet, arguments, capsys):
    arguments("a", *(["--quiet"] if quiet else []))
    with pytest.raises(SystemExit) as stopped:
        run(command(error))
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and printed.out == "result a\n"
    *remarks, line = printed.err.splitlines()
    assert remarks == ([] if quiet else ["remark"]) and line.startswith(f"error: {start}")


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("a\nb"), OSError(errno.EIO, "Input/output error", "a.tsv"), PermissionError(errno.EACCES, "no")],
)
def test_an_unexpected_error_leaves_its_traceback(error, arguments, capsys, tmp_path, monkeypatch):
    arguments()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        run(command(error))
    last = capsys.readouterr().err.splitlines()[-1]
    message, file = re.fullmatch(r"error: unexpected (.*); its traceback is in (.*)", last).groups()
    assert stopped.value.code == 1 and message == f"{type(error).__name__}: {str(error).splitlines()[0]}"
    assert re.fullmatch(r"pmd-error-\w+\.txt", Path(file).name) and list(tmp_path.iterdir()) == [Path(file)]
    text = Path(file).read_text()
    assert text.startswith("Traceback") and ", in act" in text and text.strip().endswith(str(error))


def test_a_traceback_that_cannot_be_written(arguments, capsys, tmp_path, monkeypatch):
    arguments()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit):
        run(command(ZeroDivisionError("a")))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[1].startswith("error: unexpected ZeroDivisionError: a; --debug ")


def test_debug_shows_where(arguments, capsys):
    arguments("--debug", "a")
    for error, status in ((PmdError("no"), 2), (ZeroDivisionError("no"), 1)):
        arguments("--debug", "a")
        with pytest.raises(SystemExit) as stop:
            run(command(error))
        said = capsys.readouterr()
        assert (stop.value.code, said.out) == (status, "result a\n")
        assert "Traceback (most recent call last)" in said.err and "in act" in said.err
        assert said.err.splitlines()[-1].startswith("error: ") and "traceback is in" not in said.err


def test_quiet_leaves_the_result(arguments, capsys):
    arguments("a", "--quiet", "b")
    run(command())
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("result a b\n", "")


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (Interrupted(), 130), (Interrupted(signal.SIGTERM), 143)]
)
def test_a_signal_has_its_own_status(error, status, arguments):
    arguments()
    with pytest.raises(SystemExit) as stopped:
        run(command(error))
    assert stopped.value.code == status


def test_a_reader_that_has_enough_is_no_error():
    program = "from pmd.cli.errors import run; run(lambda: [print(i, flush=True) for i in range(100_000)])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 141

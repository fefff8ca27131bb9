"""What every command does with errors, and its two flags."""

import shlex
import subprocess
import sys

import pytest

from pmd.core.errors import PmdError
from pmd.recipes.cli import run
from pmd.recipes.main import dispatch


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


@pytest.mark.parametrize(
    ("error", "line", "status"),
    [
        (PmdError("lr: -1 must be positive"), "error: lr: -1 must be positive", 2),
        (
            FileNotFoundError(2, "No such file", "a.tsv"),
            "error: a.tsv: No such file; choose another place or mend it",
            2,
        ),
        (
            ZeroDivisionError("a\nb"),
            "error: ZeroDivisionError: a; this should not happen: --debug shows where it did",
            1,
        ),
    ],
)
@pytest.mark.parametrize("quiet", [False, True])
def test_an_error_is_one_line(error, line, status, quiet, arguments, capsys):
    arguments("a", *(["--quiet"] if quiet else []))
    with pytest.raises(SystemExit) as stopped:
        run(command(error))
    printed = capsys.readouterr()
    assert stopped.value.code == status and printed.out == "result a\n"
    assert printed.err == ("" if quiet else "remark\n") + line + "\n"


def test_debug_shows_where(arguments, capsys):
    arguments("--debug", "a")
    with pytest.raises(PmdError, match="no"):
        run(command(PmdError("no")))
    assert capsys.readouterr().out == "result a\n"


def test_quiet_leaves_the_result(arguments, capsys):
    arguments("a", "--quiet", "b")
    run(command())
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("result a b\n", "")


def test_ctrl_c_has_its_own_status(arguments):
    arguments()
    with pytest.raises(SystemExit) as stopped:
        run(command(KeyboardInterrupt()))
    assert stopped.value.code == 130


def test_a_reader_that_has_enough_is_no_error():
    program = "from pmd.recipes.cli import run; run(lambda: [print(i, flush=True) for i in range(100_000)])"
    shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} | head -n 1"
    result = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("0\n", "")


def test_help_names_commands_and_flags(capsys):
    dispatch(["--help"])
    printed = capsys.readouterr().out
    for word in ("train", "evaluate", "answer", "crop", "export", "push", "report", "data", "--quiet", "--debug"):
        assert word in printed

"""What every command does with errors, and its two flags."""

import errno
import itertools
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from safetensors import SafetensorError

from pmd.cli import commands
from pmd.cli.command import Group, run
from pmd.cli.main import COMMANDS, dispatch
from pmd.core.errors import PmdError
from pmd.settings.kge import KgeConfig
from pmd.settings.parse import read_config


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
            OSError(errno.ENOSPC, "No space left on device"),
            "error: writing: no space is left there; make room, or choose another place",
            2,
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded", "out"),
            "error: out: no space is left there; make room, or choose another place",
            2,
        ),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "error: writing: no space is left there; make room, or choose another place",
            2,
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


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("a\nb"), OSError(errno.EIO, "Input/output error", "a.tsv"), PermissionError(errno.EACCES, "no")],
)
def test_what_should_not_happen_leaves_its_traceback(error, arguments, capsys, tmp_path, monkeypatch):
    arguments()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        run(command(error))
    last = capsys.readouterr().err.splitlines()[-1]
    found = re.fullmatch(r"error: (\w+: .*); this should not happen: its traceback is in (.*)", last)
    assert stopped.value.code == 1 and found[1] == f"{type(error).__name__}: {str(error).splitlines()[0]}"
    file = Path(found[2])
    assert re.fullmatch(r"pmd-error-\w+\.txt", file.name) and list(tmp_path.iterdir()) == [file]
    text = file.read_text()
    assert text.startswith("Traceback") and ", in act" in text and text.strip().endswith(str(error))


def test_a_traceback_that_cannot_be_written(arguments, capsys, tmp_path, monkeypatch):
    arguments()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit):
        run(command(ZeroDivisionError("a")))
    said = "error: ZeroDivisionError: a; this should not happen: --debug shows where it did\n"
    assert capsys.readouterr().err == f"remark\n{said}"


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


def test_ctrl_c_has_its_own_status(arguments):
    arguments()
    with pytest.raises(SystemExit) as stopped:
        run(command(KeyboardInterrupt()))
    assert stopped.value.code == 130


def test_a_reader_that_has_enough_is_no_error():
    program = "from pmd.cli.command import run; run(lambda: [print(i, flush=True) for i in range(100_000)])"
    shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} | head -n 1"
    result = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("0\n", "")


def test_help_names_commands_and_flags(capsys):
    dispatch(["--help"])
    printed = capsys.readouterr().out
    for word in ("train", "evaluate", "answer", "crop", "export", "push", "report", "data", "--quiet", "--debug"):
        assert word in printed
    dispatch(["data"])
    assert capsys.readouterr().out.startswith("usage: pmd data COMMAND …")


def all_commands(group, prog):
    for name, command in group.commands.items():
        inside = f"{prog} {name}"
        yield from all_commands(command, inside) if isinstance(command, Group) else [(inside, command)]


@pytest.mark.parametrize(("prog", "command"), all_commands(COMMANDS, "pmd"))
def test_the_help_of_a_command(prog, command, capsys):
    with pytest.raises(SystemExit) as stopped:
        dispatch([*prog.split()[1:], "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert stopped.value.code == 0 and lines[0].startswith(f"usage: {prog} [") and command.text in lines
    assert [line.split()[0] for line in lines if re.match(r"  --(quiet|debug) ", line)] == ["--quiet", "--debug"]
    assert lines[-len(command.examples) - 1 :] == ["examples:", *(f"  {example}" for example in command.examples)]
    assert 1 <= len(command.examples) <= 2 and all(prog in example for example in command.examples)


@pytest.mark.parametrize(("prog", "command"), all_commands(COMMANDS, "pmd"))
def test_examples_can_be_typed(prog, command, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])  # where the configs are
    for example in command.examples:
        words = shlex.split(example[example.index(prog) :].split(">")[0].strip(" )"))
        options = command.parser(prog).parse_args(command._named(words[len(prog.split()) :]))
        rest = words[len(prog.split()) :]
        named = [*itertools.takewhile(lambda word: not word.startswith("-"), rest)]
        for name, value in zip(command.leading, named):
            assert options[name] == (named if command.several and len(named) > 1 else value)


def test_a_script_says_its_own_name(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["scripts/evaluate.py", "--help"])
    with pytest.raises(SystemExit):
        commands.evaluate_command()
    assert capsys.readouterr().out.startswith("usage: evaluate.py [")


def test_a_dash_in_an_option_stands_for_an_underscore():
    given = ["run", "--top-k=3", "--data.max-neighbours", "-1", "--text", "a-b", "--head=x-y"]
    named = commands.answer_command._named(given)
    assert named == ["--model=run", "--top_k=3", "--data.max_neighbours", "-1", "--text", "a-b", "--head=x-y"]


def test_a_flag_needs_no_value():
    assert read_config(KgeConfig, ["--med.dynamic", "--model.dim=8"]).med.dynamic is True
    parser = commands.answer_command.parser()
    for given, expected in ((["--new"], True), (["--new", "true"], True), (["--new=false"], False), ([], False)):
        options = parser.parse_args(["--model=run", *given, "-k", "3"])
        assert (options.new, options.top_k, options.model) == (expected, 3, "run")


def test_flags_are_in_no_written_config(capsys):
    with pytest.raises(SystemExit):
        dispatch(["train", "--print_config"])
    printed = capsys.readouterr().out
    assert "interaction: " in printed and "quiet" not in printed and "debug" not in printed

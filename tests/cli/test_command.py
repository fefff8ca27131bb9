"""The commands: their help, their examples, and what is typed for their options."""

import re
import runpy
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name

import pytest

from pmd.cli.command import Group, _parser_of
from pmd.cli.commands import COMMANDS
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.settings.kge import KgeConfig
from pmd.settings.parsing.parse import instantiate, parse, read_config

ROOT = Path(__file__).parents[2]


def all_commands(group=COMMANDS, prog="pmd"):
    for name, command in group.commands.items():
        called = f"{prog} {name}"
        yield from all_commands(command, called) if isinstance(command, Group) else [(called, command)]


def test_help_names_commands_and_flags(capsys):
    dispatch(["--help"])
    words = capsys.readouterr().out.split()
    assert {*COMMANDS.commands, "--quiet", "--debug", "--version"} <= {*words}
    dispatch(["data"])
    assert capsys.readouterr().out.startswith("usage: pmd data COMMAND …")


def test_version(capsys):
    dispatch(["--version"])
    assert capsys.readouterr().out == f"pmd {version('pmd')}\n"


@pytest.mark.parametrize(("prog", "command"), all_commands())
def test_the_help_of_a_command(prog, command, capsys):
    with pytest.raises(SystemExit) as stopped:
        dispatch([*prog.split()[1:], "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert stopped.value.code == 0 and command.text in lines
    names = [name.rpartition(".")[2].upper() for name in command.positional]
    assert lines[0].replace(" …", "") == " ".join(["usage:", prog, *names, "[--OPTION VALUE]"])
    assert [line.split()[0] for line in lines if re.match(r"  --(quiet|debug) ", line)] == ["--quiet", "--debug"]
    assert lines[-len(command.examples) - 1 :] == ["examples:", *(f"  {example}" for example in command.examples)]
    assert 1 <= len(command.examples) <= 2 and all(prog in example for example in command.examples)


def test_the_help_shows_what_a_command_does_by_default(capsys):
    """`pmd progressive` has the config pmd/world beneath it, which trains its teacher for ten epochs."""
    with pytest.raises(SystemExit):
        dispatch(["progressive", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--train.epochs EPOCHS passes over the training examples. (type: int, default: 10)" in text
    assert _parser_of(COMMANDS["progressive"], "pmd progressive").get_defaults()["train.epochs"] == 20


@pytest.mark.parametrize(("prog", "command"), all_commands())
def test_examples_can_be_typed(prog, command, monkeypatch):
    monkeypatch.setattr(type(command), "act", lambda self, parser, arguments: parse(parser, arguments))
    for example in command.examples:
        words = shlex.split(example[example.index(prog) :].split(">")[0].strip(" )"))
        command(words[len(prog.split()) :], prog)


@pytest.mark.parametrize(
    ("arguments", "json", "new"),
    [
        ("RUN --head a", False, False),
        ("--json RUN --head a", True, False),
        ("--head a --new --json RUN", True, True),
        ("--json false --head a RUN --new", False, True),
        ("--json=true -k 3 --head a --new true RUN", True, True),
    ],
)
def test_options_may_come_before_the_model(arguments, json, new):
    options = parse(COMMANDS["answer"].parser("pmd answer"), arguments.split())
    assert (options.model, options.head, options.json, options.new) == ("RUN", "a", json, new)


@pytest.mark.parametrize("script", sorted(ROOT.glob("scripts/*.py")), ids=lambda script: script.stem)
def test_a_script_is_a_command_of_its_own_name(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    status = 0
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as stopped:  # of a command's help; that of a group returns
        status = stopped.code
    shown = capsys.readouterr().out
    assert status == 0
    assert shown.startswith(f"usage: {script.name} ") and "examples:" in shown


def options(name, *arguments):
    """The config of a command."""
    command = COMMANDS[name]
    parser = command.parser()
    return instantiate(parser, parse(parser, arguments), resolve_name(command.config))


def test_some_values_need_no_name():
    assert options("answer", "run", "--head=a").model == options("answer", "--head=a", "--model=run").model == "run"
    assert options("answer", "--head=a", "run").model == "run"
    assert options("push", "run", "user/name").repo == "user/name"
    assert options("report", "a", "b", "--out=c").run == options("report", "--run=[a,b]").run == ["a", "b"]
    assert options("evaluate", "a").models == options("evaluate", "--model=a").models == ["a"]
    info = COMMANDS["data"]["info"].parser()
    assert [parse(info, words).data.path for words in (["a"], ["--data.path=b"], [])] == ["a", "b", "world"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "^model: not given"),
        (["run", "other"], "^unexpected argument 'other'"),
        (["run", "--mdoel=x"], "^mdoel: .* did you mean 'model'"),
        (["run", "--head"], "^--head: the value is missing"),
        (["run", "--data=world"], r"^data: 'world' .* --data\.NAME"),
    ],
)
def test_wrong_words_are_named(words, message):
    with pytest.raises(PmdError, match=message):
        options("answer", *words)


def test_a_command_that_there_is_not():
    with pytest.raises(PmdError, match=r"^pmd: no command 'anser'; .* did you mean 'answer'"):
        dispatch(["anser"])


def test_a_dash_in_an_option_stands_for_an_underscore(monkeypatch):
    answer, seen = COMMANDS["answer"], []
    monkeypatch.setattr(type(answer), "act", lambda self, parser, arguments: seen.append(parse(parser, arguments)))
    answer(["my-run", "--top-k=3", "--text", "a-b", "--head=x-y", "--data.path=a-b"])
    assert [seen[0][name] for name in ("model", "top_k", "text", "head")] == ["my-run", 3, "a-b", "x-y"]
    assert seen[0].data.path == "a-b"


def test_a_flag_needs_no_value():
    assert read_config(KgeConfig, ["--med.dynamic", "--model.dim=8"]).med.dynamic is True
    for words, expected in ((["--new"], True), (["--new", "true"], True), (["--new=false"], False), ([], False)):
        asked = options("answer", "--model=run", *words, "-k", "3")
        assert (asked.new, asked.top_k, asked.model) == (expected, 3, "run")
    for words, expected in ((["--mcp"], True), (["--mcp", "http"], "http"), (["--mcp=http"], "http"), ([], False)):
        for order in ([*words, "run"], ["run", *words]):
            served = options("serve", *order)
            assert (served.mcp, served.model) == (expected, "run")


def test_flags_are_in_no_written_config(capsys):
    with pytest.raises(SystemExit):
        dispatch(["train", "--print_config"])
    printed = capsys.readouterr().out
    assert "interaction: " in printed and "quiet" not in printed and "debug" not in printed

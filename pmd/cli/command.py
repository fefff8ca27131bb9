"""A command line made of a config class and a function: options, help, and what is printed.

`jsonargparse` makes the parser (`pmd.settings.parsing.parse`). It is made only for the command that is run, so that `pmd` starts
without importing the others.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

from jsonargparse import ArgumentParser

from pmd.cli.errors import FLAGS
from pmd.core.cores import sleep_while_waiting
from pmd.core.errors import PmdError, nearest
from pmd.core.printing import printable
from pmd.settings.parsing.parse import instantiate, parse, parser_for, type_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Command:
    """A command: its options are the fields of a config class; a function turns the config into what is printed.

    Args:
        text: one line for the help.
        config, function: `MODULE:NAME` of either. The class is imported to parse the arguments, the
            function, which may load torch, after they have been understood.
        examples: command lines for the help.
        more: further config classes whose fields are options too.
        positional: options whose values may also be given without their names.
        repeated: the positional option takes any number of values.
        short: abbreviations by option, such as `-k` for `--top_k`.
        environment: variables that are set, unless they are already, before anything is imported.
        measures_load: the load of the machine is measured first, which takes a quarter of a second.
    """

    text: str
    config: str
    function: str
    examples: Sequence[str]
    more: Sequence[str] = ()
    positional: Sequence[str] = ()
    repeated: bool = False
    short: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    measures_load: bool = True

    stopped = "the same command goes on"
    """What is printed after Ctrl-C if the run can go on; with {run} for its folder."""

    def parser(self, prog: str | None = None) -> ArgumentParser:
        """Its parser; `prog` is how it is called, by default the script's name."""
        metavars = [name.rpartition(".")[2].upper() + " …" * self.repeated for name in self.positional]
        usage = " ".join(["%(prog)s", *metavars, "[--OPTION VALUE …]"])
        examples = "\n".join(["examples:", *(f"  {example}" for example in self.examples)])
        classes = [resolve_name(name) for name in (self.config, *self.more)]
        parser = parser_for(classes[0], self.text, classes[1:], prog=prog, usage=usage, epilog=examples)
        for name, metavar in zip(self.positional, metavars):
            more = {"metavar": metavar, "help": f"same as --{name}", "default": argparse.SUPPRESS}
            if self.repeated:
                parser.add_argument(name, nargs="*", **more)
            else:
                parser.add_argument(name, nargs="?", type=type_of(parser._option_string_actions[f"--{name}"]), **more)
        for abbreviation, option in self.short.items():
            action = parser._option_string_actions[abbreviation] = parser._option_string_actions[option]
            action.option_strings.insert(0, abbreviation)
        for flag, text in FLAGS.items():  # for the help alone: `pmd.cli.errors.run` has taken them out
            parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
        return parser

    def __call__(self, arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
        """Parse the arguments, by default those of the process, call the function and print its result."""
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)
        arguments = sys.argv[1:] if arguments is None else arguments
        try:
            if self.measures_load and not {"-h", "--help"} & {*arguments}:
                sleep_while_waiting()
            self.act(
                _parser_of(self, prog or Path(sys.argv[0]).name), [_underscored(argument) for argument in arguments]
            )
        except KeyboardInterrupt as interrupt:
            # A run that can go on raises a subclass. Of several processes, one prints.
            if os.environ.get("RANK", "0") == "0":
                can_go_on = type(interrupt) is not KeyboardInterrupt
                words = self.stopped.format(run=getattr(interrupt, "run", None) or "")
                print(f"stopped; {words}".rstrip() if can_go_on else "stopped", file=sys.stderr)
            raise

    def act(self, parser: ArgumentParser, arguments: Sequence[str]) -> None:
        """Call the function and print its result."""
        config = instantiate(parser, parse(parser, arguments), resolve_name(self.config))
        result = resolve_name(self.function)(config)
        if os.environ.get("RANK", "0") != "0":  # of several processes, one prints
            return
        for text in [result] if isinstance(result, (str, Path)) else result:
            print(printable(str(text)))


@cache
def _parser_of(command: Command, prog: str) -> ArgumentParser:
    """A command's parser, made once in a process: that takes longer than to parse with it."""
    return command.parser(prog)


def _underscored(argument: str) -> str:
    """`--top-k=3` as `--top_k=3`: options may be written with either."""
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else argument


@dataclass(frozen=True)
class Group:
    """Commands by name, and the flags that its help lists."""

    text: str
    commands: Mapping[str, Command | Group]
    flags: Mapping[str, str] = field(default_factory=lambda: FLAGS)

    def __getitem__(self, name: str) -> Command | Group:
        return self.commands[name]

    def __call__(self, arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
        """Run the command that the first argument, by default of the process, names. PmdError, with the nearest name, if
        there is none."""
        arguments = sys.argv[1:] if arguments is None else arguments
        prog = prog or Path(sys.argv[0]).name
        if not arguments or arguments[0] in ("-h", "--help"):
            print(self.help(prog))
            return
        name, *rest = arguments
        if name not in self.commands:
            raise PmdError(
                f"{prog}: no command '{name}'; there are {', '.join(self.commands)}{nearest(name, self.commands)}"
            )
        self.commands[name](rest, f"{prog} {name}")

    def help(self, prog: str) -> str:
        """A line and an example for each command."""
        usage = f"usage: {prog} COMMAND …   ({prog} COMMAND --help lists its options)"
        texts = {name: command.text for name, command in self.commands.items()}
        commands, flags = ([f"  {name:<14}{text}" for name, text in lines.items()] for lines in (texts, self.flags))
        examples = [f"  {command.examples[0]}" for command in self.commands.values()]
        return "\n".join([usage, "", *commands, "", *flags, "", "examples:", *examples])

    @property
    def examples(self) -> list[str]:
        """The examples of its commands."""
        return [example for command in self.commands.values() for example in command.examples]

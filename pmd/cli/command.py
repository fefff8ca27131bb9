"""From a config class and a function to a command line: YAML, dotted overrides, help, one-line errors.

`jsonargparse` does the work; what is added is the proposal for a misspelt key and the exit status 2.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name

from jsonargparse import ArgumentParser

from pmd.core.errors import PmdError
from pmd.settings.parse import Formatter, instantiate, parse, parser_for

FLAGS = {
    "--quiet": "no progress and no remarks, results and errors alone",
    "--debug": "a traceback with an error",
}
"""What every command understands, beside its own options."""

MENDABLE = (
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY),
    *(errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL, errno.EBUSY, errno.ELOOP, errno.EXDEV),
)
"""What can be wrong with a path that the user named."""

FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line: options that are the fields of a config class, and a recipe that makes of them what is printed.

    Args:
        text: what it does.
        config, recipe: `MODULE:NAME` of the class and of the function. They may load torch: the class is imported when
            there is something to parse, the function when that has been understood.
        examples: command lines.
        leading: options whose values may stand first without their names.
        several: the last of them is a list.
        short: other spellings, of options by their names.
        environment: variables that are set, unless they are, before anything is imported.
    """

    text: str
    config: str
    recipe: str
    examples: Sequence[str] = ()
    leading: Sequence[str] = ()
    several: bool = False
    short: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    stopped = "the same command goes on"
    """What is said when a run was stopped that goes on."""

    def parser(self, prog: str | None = None) -> ArgumentParser:
        """Its parser; `prog` is how it is called, by default the script's name."""
        lines = "\n".join(["examples:", *(f"  {example}" for example in self.examples)]) if self.examples else None
        parser = parser_for(resolve_name(self.config), self.text, prog=prog, epilog=lines, formatter_class=Formatter)
        for name, option in self.short.items():
            action = parser._option_string_actions[name] = parser._option_string_actions[option]
            action.option_strings.append(name)
        for name, text in FLAGS.items():
            # For the help alone: `run` takes them away before they are parsed.
            parser.add_argument(name, action="store_true", default=argparse.SUPPRESS, help=text)
        return parser

    def __call__(self, arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
        """Parse, by default what the shell gave, act and print."""
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)
        try:
            self.act(self.parser(prog), self._named(list(sys.argv[1:] if arguments is None else arguments)))
        except KeyboardInterrupt as stop:
            # An exception of a class of its own says that the run goes on; one process of several speaks.
            if os.environ.get("RANK", "0") == "0":
                print("stopped" if type(stop) is KeyboardInterrupt else f"stopped; {self.stopped}", file=sys.stderr)
            raise

    def act(self, parser: ArgumentParser, arguments: Sequence[str]) -> None:
        """What it does with arguments that are all options."""
        config = instantiate(parser, parse(parser, arguments), resolve_name(self.config))
        printed = resolve_name(self.recipe)(config)
        for text in [printed] if isinstance(printed, (str, Path)) else printed:
            print(text)

    def _named(self, arguments: list[str]) -> list[str]:
        """The arguments, all of them with the names of their options, in which `-` stands for `_` too."""
        arguments = [_underscored(argument) for argument in arguments]
        count = next((place for place, argument in enumerate(arguments) if argument[:1] == "-"), len(arguments))
        if self.several and count > 1:
            values = json.dumps(arguments[:count], ensure_ascii=False)
            return [f"--{self.leading[0]}={values}", *arguments[count:]]
        count = min(count, len(self.leading))
        return [*(f"--{name}={value}" for name, value in zip(self.leading, arguments[:count])), *arguments[count:]]


def _underscored(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else argument


@dataclass(frozen=True)
class Group:
    """Commands by their names."""

    text: str
    commands: Mapping[str, Command | Group]

    def __call__(self, arguments: Sequence[str], prog: str) -> None:
        """Run the command that the first argument names. PmdError, with the nearest name, if there is none."""
        if not arguments or arguments[0] in ("-h", "--help"):
            print(self.help(prog))
            return
        name, *rest = arguments
        if name not in self.commands:
            close = difflib.get_close_matches(name, self.commands, 1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise PmdError(f"{prog}: no command '{name}'; there are {', '.join(self.commands)}{hint}")
        self.commands[name](rest, f"{prog} {name}")

    def help(self, prog: str) -> str:
        """What there is, a line for each, and an example of each."""
        usage = f"usage: {prog} COMMAND …   ({prog} COMMAND --help lists its options)"
        texts = [(name, command.text) for name, command in self.commands.items()]
        lines, flags = ([f"  {name:<14}{text}" for name, text in rows] for rows in (texts, FLAGS.items()))
        examples = [f"  {example}" for command in self.commands.values() for example in command.examples[:1]]
        return "\n".join([usage, "", *lines, "", *flags, "", "examples:", *examples])

    @property
    def examples(self) -> list[str]:
        """Those of its commands."""
        return [example for command in self.commands.values() for example in command.examples]


def run(command: Callable[[], None]) -> None:
    """Run a command: what goes wrong is said on one line, with exit status 2 if the user can mend it, 1 if not.

    Every command knows two flags more: `--quiet` leaves out progress and remarks, `--debug` shows where an error arose.
    """
    given = {flag for flag in FLAGS if flag in sys.argv[1:]}
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in given]
    stderr = sys.stderr
    try:
        with contextlib.ExitStack() as stack:
            if "--quiet" in given:
                stack.enter_context(contextlib.redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
            command()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever reads, `head` perhaps, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if "--debug" in given:
            traceback.print_exc(file=stderr)
        text, status = _said(error, debug="--debug" in given)
        print(f"error: {text}", file=stderr)
        sys.exit(status)


def _said(error: Exception, *, debug: bool) -> tuple[str, int]:
    """An error in one line, and the exit status."""
    if isinstance(error, PmdError):
        return str(error), 2
    code, file = getattr(error, "errno", None), getattr(error, "filename", None)
    # Other libraries than Python's own hand the words on, not the number.
    if code in FULL or os.strerror(errno.ENOSPC) in str(error):
        return f"{file or 'writing'}: no space is left there; make room, or choose another place", 2
    if isinstance(error, OSError) and file is not None and code in MENDABLE:
        return f"{file}: {error.strerror}; choose another place or mend it", 2
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}; this should not happen{'' if debug else f': {_traceback(error)}'}", 1


def _traceback(error: Exception) -> str:
    """Where the traceback of an error can be read, for which a file is written."""
    lines = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="pmd-error-", suffix=".txt", delete=False
        ) as file:
            file.write(lines)
    except OSError:
        return "--debug shows where it did"
    return f"its traceback is in {file.name}"

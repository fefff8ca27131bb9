"""From a config class and a function to a command line: YAML, dotted overrides, help, one-line errors.

`jsonargparse` does the work; what is added is the proposal for a misspelt key and the exit status 2.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from pmd.core.config import StageConfig
from pmd.core.errors import PmdError
from pmd.core.glue_config import GlueStageConfig
from pmd.core.kge_config import KgeStageConfig

FLAGS = ("--debug", "--quiet")
"""What every command understands, beside its own options."""

STAGES = {stage.__name__: stage for stage in (StageConfig, KgeStageConfig, GlueStageConfig)}


def parser_for(config_class: type, description: str) -> ArgumentParser:
    """A parser whose options are the fields of a config dataclass, `--config FILE` included."""
    parser = ArgumentParser(description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="a YAML file; options after it override it")
    parser.add_class_arguments(config_class)
    return parser


def parse(parser: ArgumentParser, arguments: Sequence[str] | None = None) -> Namespace:
    """The parsed options.

    Raises:
        PmdError: for what cannot be understood, with the nearest known key.
    """
    try:
        return parser.parse_args(arguments)
    except ArgumentError as error:
        raise PmdError(_explain(str(error), parser)) from None
    except FileNotFoundError as error:
        raise PmdError(f"--config: {error.filename}: no such file") from None


def instantiate(parser: ArgumentParser, options: Namespace, config_class: type) -> Any:
    """The config object of parsed options."""
    made = parser.instantiate(options) if hasattr(parser, "instantiate") else parser.instantiate_classes(options)
    # By key: under `vars`, a field that is called like a method of Namespace (`update`) has another name.
    return config_class(**{name: made[name] for name in config_class.__dataclass_fields__ if name in made})


def read_config(config_class: type, arguments: Sequence[str]) -> Any:
    """The config object of command line arguments, `--config FILE` among them."""
    parser = parser_for(config_class, "")
    return instantiate(parser, parse(parser, arguments), config_class)


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
            raise
        text, status = _said(error)
        print(f"error: {text}", file=stderr)
        sys.exit(status)


def _said(error: Exception) -> tuple[str, int]:
    """An error in one line, and the exit status."""
    if isinstance(error, PmdError):
        return str(error), 2
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; choose another place or mend it", 2
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}; this should not happen: --debug shows where it did", 1


def _explain(message: str, parser: ArgumentParser) -> str:
    keys = [action.dest for action in parser._actions]
    message = " ".join(message.split())
    found = re.search(
        r"(?:Key|Option|key|option)\s+['\"]([\w.-]+)['\"]|[Uu]nrecognized arguments: --?([\w.-]+)", message
    )
    in_stage = re.search(r"(\w*StageConfig).*?Option '(?P<option>\w+)' is not accepted", message)
    found = in_stage or found
    if not found:
        return message
    wrong = in_stage["option"] if in_stage else next(group for group in found.groups() if group)
    group = re.search(r"Group '([\w.]+)'", message)
    if group:
        keys = [key for key in keys if key.startswith(f"{group[1]}.")]
    if in_stage:
        # The parser's own words list every type that it has tried.
        keys = [f"stages.{name}" for name in STAGES[in_stage[1]].__dataclass_fields__]
        message = f"stages: option '{wrong}' is not accepted"
    leaves = {key.rsplit(".", 1)[-1]: key for key in keys}
    close = difflib.get_close_matches(wrong, keys, 1, 0.6)
    if not close and "." not in wrong:
        close = [leaves[leaf] for leaf in difflib.get_close_matches(wrong, list(leaves), 1, 0.6)]
    return f"{message}; did you mean '{close[0]}'?" if close and close[0] != wrong else message

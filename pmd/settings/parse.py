"""From a config class to a parser and back: YAML, dotted overrides, help.

`jsonargparse` does the work.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, get_args

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace

from pmd.core.errors import PmdError
from pmd.settings.parse_errors import explain


class Formatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Leaves the lines of the examples as they are."""


def parser_for(config_class: type, description: str, **more: Any) -> ArgumentParser:
    """A parser whose options are the fields of a config dataclass, `--config FILE` included.

    `--name` alone stands for `--name true`; `more` is for the parser.
    """
    parser = ArgumentParser(description=description, exit_on_error=False, allow_abbrev=False, **more)
    parser.add_argument("--config", action="config", help="a YAML file; options after it override it")
    parser.add_class_arguments(config_class)
    for action in parser._actions:
        if is_flag(action):
            action.nargs, action.const = "?", True
    return parser


def type_of(action: argparse.Action) -> Any:
    """The type of an option that is a field of a config class; None for others."""
    return getattr(action, "_typehint", None)


def is_flag(action: argparse.Action) -> bool:
    """Whether an option is true or false, or null besides."""
    kind = type_of(action)
    return bool in (kind, *get_args(kind))


def parse(parser: ArgumentParser, arguments: Sequence[str] | None = None) -> Namespace:
    """The parsed options.

    Raises:
        PmdError: for what cannot be understood, with the nearest known key.
    """
    try:
        return parser.parse_args(arguments)
    except ArgumentError as error:
        raise PmdError(explain(str(error), parser)) from None
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

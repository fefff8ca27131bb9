"""From a config class to a parser, and from arguments and YAML files to an object of the class.

`jsonargparse` does the work; the messages about wrong options are rewritten (`pmd.settings.parsing.parse_errors`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace

from pmd.core.errors import PmdError
from pmd.settings.catalogue import choices
from pmd.settings.parsing.config_files import check_config, config_file
from pmd.settings.parsing.parse_errors import explain

FLAG_VALUES = ("true", "false", "yes", "no", "on", "off", "null", "none")
"""What may follow a flag as its value."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the line breaks of the examples, and leaves out defaults and types that say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = super()._get_help_string(action)
        if action.default in (None, ""):
            text = text.replace(", default: %(default)s", "").replace(" (default: %(default)s)", "")
        if action.metavar and action.metavar.startswith(("{", "[{")):  # choices or true,false
            text = text.replace("type: %(type)s, ", "").replace(", type: %(type)s", "")
        return text


class NamedConfig(ActionConfigFile):
    """An option that reads a YAML file of settings, given by its path or by the name of a bundled config."""

    def __call__(self, parser, namespace, value, option_string=None) -> None:
        options = {action.dest.partition(".")[0] for action in parser._actions}
        file = config_file(value, options)
        if Path(file).is_file():
            parts = {action.dest.rpartition(".")[0] for action in parser._actions}
            groups = {action.dest for action in parser._actions if action.dest in parts and type_of(action) is None}
            check_config(file, options, groups)
        super().__call__(parser, namespace, file, option_string)


def parser_for(config_class: type, description: str = "", more: Sequence[type] = (), **options: Any) -> ArgumentParser:
    """A parser whose options are the fields of a config dataclass, and of `more` of them, `--config FILE` included.

    `--name` alone stands for `--name true`; `options` are those of `ArgumentParser`.
    """
    parser = ArgumentParser(
        description=description, formatter_class=HelpFormatter, exit_on_error=False, allow_abbrev=False, **options
    )
    for options_class in (config_class, *more):
        parser.add_class_arguments(options_class, as_group=False)
    parser.add_argument(
        "--config",
        action=NamedConfig,
        help="a YAML file of settings, or the name of a bundled one (pmd/world); later options override it",
    )
    parser._option_string_actions["--print_config"].help = "print the resulting settings as YAML, and stop"
    for action in parser._actions:
        if is_flag(action):
            action.nargs, action.const = "?", True
        elif names := choices(type_of(action)):
            braces = f"{{{','.join(names)}}}"
            action.metavar = f"[{braces},...]" if action.metavar else braces
    return parser


def type_of(action: argparse.Action) -> Any:
    """The type of an option that is a field of a config class; None for others."""
    return getattr(action, "_typehint", None)


def is_flag(action: argparse.Action) -> bool:
    """Whether an option is a bool, or a bool or null."""
    hint = type_of(action)
    return bool in (hint, *get_args(hint))


def values_of(flag: argparse.Action) -> set[str]:
    """What may follow a flag as its value: `FLAG_VALUES`, and the names that it takes beside true and false."""
    return {*FLAG_VALUES, *(name for part in get_args(type_of(flag)) for name in get_args(part))}


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """The parsed options.

    Raises:
        PmdError: for arguments that do not fit the config class, with the nearest known key.
    """
    try:
        return parser.parse_args(_flags_alone(parser, arguments))
    except ArgumentError as error:
        raise PmdError(explain(str(error), parser)) from None


def _flags_alone(parser: ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """The arguments with `--name` as `--name=true` where what follows is no value of the flag but a positional option."""
    flags = {name: values_of(action) for name, action in parser._option_string_actions.items() if is_flag(action)}
    if all(action.option_strings for action in parser._actions):
        return [*arguments]
    following = [*arguments[1:], ""]
    return [
        f"{argument}=true" if argument in flags and after.lower() not in flags[argument] else argument
        for argument, after in zip(arguments, following)
    ]


def instantiate(parser: ArgumentParser, options: Namespace, config_class: type) -> Any:
    """The config object of parsed options."""
    values = parser.instantiate(options)
    # By key: `vars` renames a field that is called like a method of Namespace, such as `update`.
    return config_class(**{name: values[name] for name in config_class.__dataclass_fields__ if name in values})


def read_config(config_class: type, arguments: Sequence[str]) -> Any:
    """The config object of command line arguments, `--config FILE` among them."""
    parser = _plain_parser(config_class)
    return instantiate(parser, parse(parser, arguments), config_class)


@cache
def _plain_parser(config_class: type) -> ArgumentParser:
    """The parser of a config class, made once in a process: that takes longer than to parse with it."""
    return parser_for(config_class)

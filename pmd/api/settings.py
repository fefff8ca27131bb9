"""Settings from Python: a dataclass, the name of a config or keywords, checked as the command line's are."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from pmd.core.errors import PmdError
from pmd.settings.parsing.parse import instantiate, parse, parser_for
from pmd.settings.parsing.parse_errors import explain

Config = TypeVar("Config")


def settings_of(
    config_class: type[Config], config: Config | str | os.PathLike[str] | None = None, **settings: Any
) -> Config:
    """The settings of a command.

    Args:
        config: where they begin: an object of the class, a YAML file, or the name of a bundled config (`pmd/world`).
        settings: what differs, by group as in a YAML file (`train={"epochs": 3}`) or by key (`**{"train.epochs": 3}`).

    Raises:
        PmdError: for a setting that does not exist or cannot have this value, with the nearest one that does.
    """
    parser = parser_of(config_class)
    if isinstance(config, config_class):
        begin = dataclasses.asdict(config)
    elif config is None:
        begin = {}
    elif isinstance(config, (str, os.PathLike)):
        begin = parse(parser, ["--config", os.fspath(config)]).as_dict()
    else:
        raise PmdError(f"config: {type(config).__name__} is no {config_class.__name__}, and no name of a config")
    begin.pop("config", None)
    for key, value in settings.items():
        _check_kind(config_class, key, value)
        begin = _merged(begin, _nested(key, value))
    try:
        return instantiate(parser, parser.parse_object(begin), config_class)
    except ArgumentError as error:
        raise PmdError(explain(str(error), parser)) from None


@cache
def parser_of(config_class: type) -> ArgumentParser:
    return parser_for(config_class)


def _check_kind(config_class: type, key: str, value: Any) -> None:
    """PmdError for None where there must be a value, and for a group that is neither a mapping nor a dataclass."""
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    field = fields.get(key)
    if field is None:
        return
    if value is None and "None" not in str(field.type) and field.default is not None:
        raise PmdError(f"{key}: None is no value; leave it out")
    is_group = dataclasses.is_dataclass(field.default_factory)
    if is_group and not (isinstance(value, (Mapping, str)) or dataclasses.is_dataclass(value)):
        raise PmdError(f"{key}: {value!r:.60} is no group of settings; write for example {key}={{NAME: VALUE}}")


def _nested(key: str, value: Any) -> dict[str, Any]:
    """`train.epochs` as a group; dataclasses, paths and numbers of NumPy as YAML has them."""
    name, dot, rest = key.partition(".")
    return {name: _nested(rest, value) if dot else _plain(value)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ in ("numpy", "torch") and getattr(value, "ndim", 1) == 0:
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _merged(one: Any, other: Any) -> Any:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return other
    return {**one, **{key: _merged(one[key], value) if key in one else value for key, value in other.items()}}

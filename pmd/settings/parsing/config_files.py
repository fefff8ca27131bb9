"""The configs that travel with the package, and how `--config` finds one: by its path, or by its name from any folder."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Container, Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml

from pmd.core.errors import PmdError, nearest
from pmd.core.files import read_mapping
from pmd.settings.catalogue import FAMILIES

CONFIGS = Path(__file__).parents[2] / "configs"


def config_file(value: str, options: Collection[str]) -> str:
    """The file that a value of `--config` names; a value that is no name stays as it is.

    Args:
        value: a path, or the name of a bundled config: `world`, `pmd/world`, `configs/pmd/world.yaml`.
        options: what the command takes; where configs of several commands share a name, its own is meant.

    Raises:
        PmdError: if no config, or more than one, has that name.
    """
    if Path(value).is_file() or not re.fullmatch(r"[\w./\\-]+", value):
        return value
    name = PurePath(value).as_posix().removeprefix("./").removeprefix("configs/").removesuffix(".yaml")
    bundled = {file.relative_to(CONFIGS).with_suffix("").as_posix(): file for file in sorted(CONFIGS.rglob("*.yaml"))}
    named = [full for full in bundled if f"/{full}".endswith(f"/{name}")]
    fitting = [full for full in named if _fits(bundled[full], options)]
    if len(fitting) == 1:
        return str(bundled[fitting[0]])
    if fitting:
        raise PmdError(f"--config: '{value}' may be {', '.join(fitting[:-1])} or {fitting[-1]}; say which")
    if named:
        check_config(str(bundled[named[0]]), options)
    known = [full for full, file in bundled.items() if _fits(file, options)]
    spellings = {spelling: full for full in known for spelling in (full.rpartition("/")[2], full)}
    close = difflib.get_close_matches(name, spellings, 1)
    remedy = f"did you mean '{spellings[close[0]]}'?" if close else f"there are {', '.join(known)}"
    raise PmdError(f"--config: {value}: no such file, and no bundled config of that name; {remedy}")


def check_config(file: str, options: Collection[str], groups: Container[str] = ()) -> None:
    """Refuse a file that holds no settings of a command with these options. `groups` are those that have settings of their
    own, by their dotted names."""
    settings = read_yaml(file)
    for name in (str(key).partition(".")[0] for key in settings):
        if name not in options:
            command = next((f"`pmd {family.command}`" for family in FAMILIES.values() if family.key == name), None)
            remedy = f", which is of {command}; use that command, or another file" if command else "; --help lists all"
            raise PmdError(f"--config: {file}: this command has no option '{name}'{nearest(name, options) or remedy}")
    _check_groups(file, settings, groups)


def _check_groups(file: str, settings: Mapping[str, Any], groups: Container[str], prefix: str = "") -> None:
    for key, value in settings.items():
        if f"{prefix}{key}" not in groups or isinstance(value, str):  # another file
            continue
        if not isinstance(value, dict):
            raise PmdError(
                f"--config: {file}: {prefix}{key}: {value!r} is no mapping; write its settings indented, as NAME: VALUE"
            )
        _check_groups(file, value, groups, f"{prefix}{key}.")


def read_yaml(file: str, option: str = "--config") -> dict[str, Any]:
    """The settings of a YAML file. PmdError, with the option that names it, file and line, if there are none."""
    return read_mapping(Path(file), f"{option}: {file}")


def _fits(file: Path, options: Container[str]) -> bool:
    """Whether a command takes all settings of a bundled config."""
    return all(key in options for key in yaml.safe_load(file.read_text(encoding="utf-8")))

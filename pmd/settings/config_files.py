"""The configs that travel with the package, and how `--config` finds one: by its path, or by its name from any folder."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container
from pathlib import Path, PurePath

import yaml

from pmd.core.errors import PmdError

CONFIGS = Path(__file__).parents[1] / "configs"


def config_file(value: str, options: Container[str]) -> str:
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
        raise PmdError(f"--config: {' and '.join(named)} cannot be used here: its settings are of another command")
    known = [full for full, file in bundled.items() if _fits(file, options)]
    spellings = {spelling: full for full in known for spelling in (full.rpartition("/")[2], full)}
    close = difflib.get_close_matches(name, spellings, 1)
    remedy = f"did you mean '{spellings[close[0]]}'?" if close else f"there are {', '.join(known)}"
    raise PmdError(f"--config: {value}: no such file, and no bundled config of that name; {remedy}")


def _fits(file: Path, options: Container[str]) -> bool:
    """Whether a command takes all settings of a bundled config."""
    return all(key in options for key in yaml.safe_load(file.read_text(encoding="utf-8")))

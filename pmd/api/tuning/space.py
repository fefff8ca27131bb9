"""What varies from trial to trial: options of a run by their paths, each with a range or a list of values."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pmd.api.settings import parser_of, settings_of
from pmd.core.errors import PmdError, nearest
from pmd.settings.parsing.config_files import CONFIGS, read_yaml
from pmd.settings.parsing.parse import type_of

FIXED = ("name", "runs", "seed", "data", "evaluation.split", "train.report_to", "train.threads")
"""Options, or groups of them, that do not vary: what is learned from, what is compared, and how it is written down."""
KEYS = ("low", "high", "log", "values")
FORM = "write {low: …, high: …, log: true} or {values: […]}"
DRAWS = 40
"""So many draws of the other options are tried beside a value that the config refuses."""
STAGES = "stages."


@dataclass(frozen=True)
class Option:
    """An option that varies: over `values`, or from `low` to `high`.

    Args:
        path: of the option, as `train.lr`, or as `stages.NAME.lr` of a stage that the config lists.
        log: every factor of the range counts alike, not every difference.
        whole: numbers of the range are integers.
    """

    path: str
    values: list[Any] | None = None
    low: float = 0
    high: float = 0
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> list[Any]:
        """The values, or the ends of the range."""
        return [self.low, self.high] if self.values is None else self.values

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values) if self.values is not None else self.high - self.low + 1 if self.whole else math.inf

    def has(self, value: Any) -> bool:
        """Whether a value may be drawn."""
        if self.values is not None:
            return value in self.values
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def suggest(self, trial: Any) -> Any:
        """The value of a trial of optuna, which draws it the first time."""
        if self.values is not None:
            return self.restored(trial.suggest_categorical(self.path, [self.stored(value) for value in self.values]))
        draw = trial.suggest_int if self.whole else trial.suggest_float
        return draw(self.path, self.low, self.high, log=self.log)

    def stored(self, value: Any) -> Any:
        """A value as optuna keeps it: one of a list as JSON, for it may be a list itself."""
        return value if self.values is None else json.dumps(value)

    def restored(self, value: Any) -> Any:
        """What `stored` returned as the value that it was."""
        return value if self.values is None else json.loads(value)

    def __str__(self) -> str:
        if self.values is not None:
            return ", ".join(map(str, self.values))
        return f"{self.low:g} to {self.high:g}{', log scale' if self.log else ''}"


def space_file(named: str) -> Path:
    """The file that a value of `space` names: a path, or a bundled space. PmdError if there is none."""
    path = Path(named).expanduser()
    if path.is_file():
        return path
    bundled = {f"tune/{file.stem}": file for file in sorted(CONFIGS.glob("tune/*.yaml"))}
    name = f"tune/{named.removeprefix('configs/').removeprefix('tune/').removesuffix('.yaml')}"
    if name not in bundled:
        remedy = nearest(name, bundled) or f"; bundled are {', '.join(bundled)}"
        raise PmdError(f"--space: {named}: no such file, and no bundled space{remedy}")
    return bundled[name]


def read_space(file: Path, config: Any, check: Callable[[Any], Any], *, bundled: bool = False) -> dict[str, Option]:
    """The options of a space by their paths. PmdError, naming file, option and remedy, for what no run could have.

    Args:
        config: the settings of the run to which values of the space are applied.
        check: raises PmdError for settings that cannot work.
        bundled: leave out options that the run has no use for, in place of refusing them.
    """
    given = read_yaml(str(file), "--space")
    try:
        options = {str(path): _option(str(path), text, config) for path, text in given.items()}
        beside = {} if bundled else options
        refused = {path: _refusal(option, beside, config, check) for path, option in options.items()}
        if not bundled and any(refused.values()):
            raise next(filter(None, refused.values()))
    except PmdError as error:
        raise PmdError(f"--space: {file}: {error}") from None
    return {path: option for path, option in options.items() if not refused[path]}


def _refusal(
    option: Option, options: Mapping[str, Option], config: Any, check: Callable[[Any], Any]
) -> PmdError | None:
    """Why the config refuses a value, by itself and beside all draws of the other options."""

    def error_of(values: Mapping[str, Any]) -> PmdError | None:
        try:
            check(applied(config, values))
        except PmdError as error:
            return error
        return None

    generator = random.Random(0)
    draws = [{path: generator.choice(other.ends) for path, other in options.items()} for _ in range(DRAWS)]
    for value in option.ends:
        alone = {option.path: value}
        error = error_of(alone)
        if error and all(error_of({**draw, **alone}) for draw in draws if draw):
            return error if option.path in str(error) else PmdError(f"{option.path}: {value}: {error}")
    return None


def applied(config: Any, values: Mapping[str, Any]) -> Any:
    """The settings with other values by path. PmdError for an option that does not exist, or cannot have this value."""
    changes = {path: value for path, value in values.items() if not path.startswith(STAGES)}
    if len(changes) < len(values):
        changes["stages"] = [dataclasses.asdict(stage) for stage in config.stages or ()]
    for path in values.keys() - changes.keys():
        position, key = _place_in_stages(path, config)
        changes["stages"][position][key] = values[path]
    return settings_of(type(config), config, **changes)


def value_at(config: Any, path: str, resolved: Any = None) -> Any:
    """The value that the settings have now; where they leave it open, that of a `resolved` stage."""
    if path.startswith(STAGES):
        position, path = _place_in_stages(path, config)
        config = config.stages[position]
    places = [(config, path), (resolved, path), (resolved, path.rpartition(".")[2])]
    values = (reduce(lambda group, name: getattr(group, name, None), key.split("."), place) for place, key in places)
    return next((value for value in values if value is not None), None)


def _place_in_stages(path: str, config: Any) -> tuple[int, str]:
    """The position of the stage that a path names, and the option of it. PmdError if there is no such stage or option."""
    name, _, key = path.removeprefix(STAGES).rpartition(
        "."
    )  # names of stages may have dots, those of options have none
    names = [stage.name for stage in config.stages or ()]
    if name not in names:
        known = f"; there are {', '.join(names)}" if names else "; the config lists none; write its stages there"
        raise PmdError(f"{path}: no stage '{name}'{nearest(name, names) or known}")
    keys = [field.name for field in dataclasses.fields(config.stages[0])]
    if key not in keys:
        raise PmdError(f"{path}: a stage has no option '{key}'{nearest(key, keys)}")
    return names.index(name), key


def _option(path: str, given: Any, config: Any) -> Option:
    """An option from what a file says of it."""
    fixed = next((name for name in FIXED if path == name or path.startswith(f"{name}.")), None)
    if fixed:
        raise PmdError(f"{path}: {fixed} is the same for all trials; leave it out")
    if not isinstance(given, dict) or not given:
        raise PmdError(f"{path}: {given!r} is no range; {FORM}")
    if isinstance(next(iter(given.values())), dict):
        raise PmdError(f"{path}: write the whole path of an option in one line: {path}.{next(iter(given))}: {{…}}")
    unknown = next((key for key in given if key not in KEYS), None)
    if unknown is not None:
        raise PmdError(f"{path}: there is no '{unknown}'{nearest(str(unknown), KEYS) or f'; {FORM}'}")
    if "values" not in given:
        return _range(path, given, config)
    if len(given) > 1 or not isinstance(given["values"], list) or not given["values"]:
        raise PmdError(f"{path}: values are a list by themselves; {FORM}")
    return Option(path, [value_at(applied(config, {path: value}), path) for value in given["values"]])


def _range(path: str, given: Mapping[str, Any], config: Any) -> Option:
    if not {"low", "high"} <= given.keys():
        raise PmdError(f"{path}: a range has low and high; {FORM}")
    low, high = (value_at(applied(config, {path: given[end]}), path) for end in ("low", "high"))
    types = _types(path, config)
    if not types & {int, float}:
        raise PmdError(f"{path}: takes no numbers; write {{values: […]}}")
    whole, log = float not in types, given.get("log", False)
    if not isinstance(log, bool):
        raise PmdError(f"{path}: log is true or false, not {log!r}")
    if low >= high:
        raise PmdError(f"{path}: low {given['low']} is not below high {given['high']}; exchange them")
    if log and low <= 0:
        raise PmdError(f"{path}: log needs a low above 0; raise it, or leave log out")
    return Option(path, None, low, high, log, whole)


def _types(path: str, config: Any) -> set[Any]:
    """The types that an option takes."""
    if path.startswith(STAGES):
        hint = get_type_hints(type(config.stages[0]))[_place_in_stages(path, config)[1]]
    else:
        hint = next((type_of(action) for action in parser_of(type(config))._actions if action.dest == path), None)
    return {hint, *get_args(hint)}

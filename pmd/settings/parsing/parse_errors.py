"""The messages of `jsonargparse` about wrong arguments, rewritten as one line: the option, the value, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pkgutil import resolve_name

from jsonargparse import ArgumentParser

TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list",
    "dict": "a mapping",
}
"""Types in plain words."""


def explain(message: str, parser: ArgumentParser) -> str:
    """The message about arguments that the parser refuses, in one line."""
    key = ".".join(re.findall(r'Parser key "([\w.]+)"', message))  # from the outermost to the innermost
    keys = [action.dest for action in parser._actions]
    known = _wrong_value(message, key) or _unknown_key(message, key, keys) or _other(message, key)
    return known or " ".join(message.split())


def _wrong_value(message: str, key: str) -> str | None:
    """About a value that does not fit its option; None for other messages."""
    *_, innermost = message.rpartition("Parser key")  # of a list of stages, the option that is wrong
    value = re.search(r"(?:Got|Given) value: ([^\n]*)", innermost)
    if "Not a valid subclass of" in innermost and value:
        return f"{key}: '{value[1]}' is not a mapping of settings; write '[{{name: …}}]'"
    expected = re.findall(r"Expected (?:an? )?(?:<class '(\w+)'>|typing\.Literal\[([^\]]*)\])", innermost)
    types = [name for name, _ in expected if name in TYPES]
    choices = [choice.strip(" '") for _, listed in expected for choice in listed.split(",") if listed]
    if value is None or not (types or choices):
        return None
    if inner := re.match(r"NestedArg\(key='([^']*)'", value[1]):  # of an option that has no parts
        return f"{key}.{inner[1]}: there is no such option; {key} takes a value itself"
    fitting = [*dict.fromkeys(TYPES[name] for name in types), *([f"one of {', '.join(choices)}"] if choices else [])]
    close = get_close_matches(value[1], choices, 1)
    remedy = (
        "; write '{NAME: VALUE}'"
        if "dict" in types
        else f"; write '[{value[1].lstrip('[')}]'"
        if "list" in types
        and (len(types) == 1 or "," in value[1])  # a single value that was refused fits no list either
        else f"; did you mean '{close[0]}'?"
        if close
        else ""
    )
    return f"{key}: '{value[1]}' is not {' or '.join(fitting)}{remedy}"


def _unknown_key(message: str, key: str, keys: Sequence[str]) -> str | None:
    """About an option that does not exist, with the nearest that does; None for other messages."""
    stray = re.match(r"unrecognized arguments: ((?:--?)?)([^\s=]+)", message)
    if stray and not stray[1]:
        return f"unexpected argument '{stray[2]}'; write options as --NAME VALUE"
    in_group = re.search(r"Group '([\w.]+)' does not accept option '([\w.-]+)'", message)
    in_class = re.findall(r"class_path '([\w.]+)':\s+Option '([\w.-]+)' is not accepted", message)
    in_file = re.match(r"Option '([\w.-]+)' is not accepted", message)
    if in_class:
        class_path, name = in_class[-1]
        name, keys = f"{key}.{name}", [f"{key}.{field}" for field in resolve_name(class_path).__dataclass_fields__]
    elif in_group:
        name = f"{in_group[1]}.{in_group[2]}"
    elif stray or in_file:
        name = stray[2] if stray else in_file[1]
    else:
        return None
    nearest = _nearest(name, keys)
    return f"{name}: there is no such option; " + (f"did you mean '{nearest}'?" if nearest else "--help lists all")


def _nearest(name: str, keys: Sequence[str]) -> str | None:
    """The known key that is spelt most alike: in the same group if there is such a group, else anywhere."""
    group, _, leaf = name.rpartition(".")
    siblings = {key.rpartition(".")[2]: key for key in keys if key.rpartition(".")[0] == group}
    leaves = {key.rpartition(".")[2]: key for key in reversed(keys)}  # of several, the first
    if group:
        searches = [(leaf, siblings)] if siblings else [(name, dict(zip(keys, keys)))]
    else:
        searches = [(leaf, siblings), (leaf, leaves)]
    return next((known[match] for word, known in searches for match in get_close_matches(word, known, 1)), None)


def _other(message: str, key: str) -> str | None:
    """About files that cannot be read, options without values, and missing options; None for other messages."""
    if absent := re.search(r"(?:File does not exist|Path is not a file): '?([^'\n]+)", message):
        return f"--{key}: {absent[1].strip()}: no such file"
    if broken := re.match(r"(?:Problems parsing|Unexpected) config:\s+(.*)", message, re.DOTALL):
        return f"--config: the file does not hold settings by name ({' '.join(broken[1].split())}); correct its YAML"
    if unread := re.search(r"Unable to load config '([^'\n]*)'|Expected a dot import path string: (.*)", message):
        group = key.partition(".")[0]
        return (
            f"{group}: '{unread[1] or unread[2]}' is not a file of settings; to give single ones, write --{group}.NAME"
        )
    if required := re.search(r"the following arguments are required: ([^\n]*)", message):
        names = (f"{key}.{name}" if key else name for name in required[1].split(", "))
        return f"{', '.join(names)}: not given; --help describes every option"
    if without := re.match("argument ([^:]+): expected", message):
        return f"{without[1]}: the value is missing"
    return None

"""What a parser of command lines says of a mistake, told in one line for those who made it."""

from __future__ import annotations

import difflib
import re

from jsonargparse import ArgumentParser

from pmd.settings.glue import GlueStageConfig
from pmd.settings.kge import KgeStageConfig
from pmd.settings.text import StageConfig

STAGES = {stage.__name__: stage for stage in (StageConfig, KgeStageConfig, GlueStageConfig)}

KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "list": "a list"}
"""Types as people call them."""


def explain(message: str, parser: ArgumentParser) -> str:
    """What the parser refuses, in one line: the option, the value, what it takes, and what may have been meant."""
    told = _wrong_value(message)
    if told is not None:
        return told
    keys = [action.dest for action in parser._actions]
    message = " ".join(message.split())
    absent = re.search(r'Parser key "config": File does not exist: \'?([^\']+)', message)
    if absent:
        return f"--config: {absent[1].strip()}: no such file"
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


def _wrong_value(message: str) -> str | None:
    """Of a value that does not fit its option; None for other mistakes."""
    *_, innermost = message.rpartition("Parser key")  # of a list of stages the one option that is wrong
    value = re.search(r"(?:Got|Given) value: ([^\n]*)", innermost)
    wanted = re.findall(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[([^\]]*)\])", innermost)
    known = [kind for kind, _ in wanted if kind in KINDS]
    choices = [choice.strip(" '") for _, listed in wanted for choice in listed.split(",") if listed]
    if value is None or not (known or choices):
        return None
    key = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    takes = [*dict.fromkeys(KINDS[kind] for kind in known), *([f"one of {', '.join(choices)}"] if choices else [])]
    close = difflib.get_close_matches(value[1], choices, 1, 0.6)
    remedy = f"; write '[{value[1]}]'" if "list" in known else f"; did you mean '{close[0]}'?" if close else ""
    return f"{key}: '{value[1]}' is not {' or '.join(takes)}{remedy}"

"""Options that are counted or measured in something say in what: their help is their meaning in the reference, too."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from pmd.cli.command import Group
from pmd.cli.commands import COMMANDS

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "typed"))
from stub import hints_of, loaded, meanings_of

UNITS = {
    r"(.*_)?minutes": "minutes",
    r"(.*_)?seconds": "seconds",
    r".*_mb": "megabytes",
    r".*_ms": "milliseconds",
    r"(.*_)?(share|coverage|inductive)|valid|test|keep": "share|so many such questions",
    r"(.*_)?lr": "rate|Adam",
    r"(.*_)?epochs": "epochs|passes",
    r"valid_every": "epochs|validations",
    r"threads": "threads",
    r"workers|processes": "processes|how many",
    r"max_length": "tokens",
    r"batch_size": "examples|triples|texts|facts|purchases",
    r"max_triples|valid_triples": "triples",
    r"(.*_)?(widths?|dims?)": "dimension|width|numbers",
    r"(.*_)?(warmup|log_every)": "steps",
}
"""By name of a number, words of which its meaning has one."""


def configs_of(group: Group) -> Iterator[type]:
    for entry in group.commands.values():
        if isinstance(entry, Group):
            yield from configs_of(entry)
        else:
            yield from with_groups(loaded(entry.config))


def with_groups(config: type) -> Iterator[type]:
    yield config
    for hint in hints_of(config).values():
        for part in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(part):
                yield from with_groups(part)


CONFIGS = sorted({*configs_of(COMMANDS)}, key=lambda config: config.__name__)


def test_there_are_many():
    assert len(CONFIGS) > 40


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_a_number_says_its_unit(config):
    meanings = meanings_of(config)
    for name, hint in hints_of(config).items():
        if re.search(r"\b(int|float)\b", str(hint)) and "Literal" not in str(hint):
            assert meanings[name]
            for names, words in UNITS.items():
                if re.fullmatch(names, name):
                    assert re.search(words, meanings[name]), f"{name}: {meanings[name]}"

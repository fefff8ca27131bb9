"""Write pmd/__init__.pyi: what editors and type checkers read of the package, whose names are loaded on first use.

    python scripts/typed/stub.py

Functions have an argument for every setting of their command and no others, so that a misspelt one is refused, and every group of
settings is a TypedDict, with the meanings that stand in the dataclasses. Dotted keys, as `**{"train.epochs": 3}`, are no names of
arguments: functions take them, but type checkers read the same as `train={"epochs": 3}`. A test compares the file with what this writes.
"""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

from docstring_parser import parse

import pmd
from pmd.settings.catalogue import choices

OUT = Path(pmd.__file__).with_suffix(".pyi")
CONFIGS = {
    "progressive": "pmd.settings.text:ProgressiveConfig",
    "train": "pmd.settings.kge:KgeConfig",
    "glue": "pmd.settings.glue:GlueConfig",
    "tune": "pmd.settings.tune:TuneConfig pmd.settings.kge:KgeConfig pmd.settings.text:ProgressiveConfig",
    "fit": "pmd.api.fitting.fit:FitConfig",
    "fuse": "pmd.settings.fuse:FuseConfig",
    "shrink": "pmd.settings.shrink:ShrinkConfig",
    "update": "pmd.recipes.update.command:UpdateConfig",
    "evaluate": "pmd.settings.shared:EvaluateConfig",
    "crop": "pmd.recipes.crop:CropConfig",
    "export": "pmd.recipes.exporting.export:ExportConfig",
    "push": "pmd.recipes.push:PushConfig",
    "report": "pmd.reports.write:ReportConfig",
}
"""The settings of each function that takes more of them than its signature names."""

FORWARDED = {
    "load_graph": ["pmd.data.graphs.files.triples:Options", "pmd.data.graphs.files.hub_source:load_dataset_graph"],
    "graph_from": ["pmd.data.graphs.files.triples:Options"],
    "rank": ["pmd.evaluation.ranking:ranks"],
    "rank_widths": ["pmd.evaluation.ranking:ranks"],
}
"""Whose arguments with a default a function takes too, as `**options`."""

HEAD = """# Written by scripts/typed/stub.py; change the functions and dataclasses it reads.
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

"""


RETURNED = """from pmd.api.fitting.fit import FitResult
from pmd.api.trained import ShrunkRun
from pmd.api.tuning.tune import TuneResult
from pmd.core.types import Rerank, TripleScorer
from pmd.evaluation.width_ranking import Croppable
from pmd.recipes.evaluate import ModelMetrics
"""


class Stub:
    """The groups of settings that were met, and the modules that must be imported."""

    def __init__(self):
        self.groups: dict[str, type] = {}
        self.imports: set[str] = set()

    def hint(self, hint: Any) -> str:
        """A type as source text; a group of settings may be a dataclass or a mapping."""
        if hint is None or hint is type(None):
            return "None"
        if names := choices(hint) if isinstance(hint, NewType) else []:
            return f"Literal[{', '.join(map(repr, names))}]"
        origin = get_origin(hint)
        if origin is Literal:
            return f"Literal[{', '.join(map(repr, get_args(hint)))}]"
        if origin in (Union, types.UnionType):
            return " | ".join(sorted(dict.fromkeys(map(self.hint, get_args(hint))), key="None".__eq__))
        if origin is not None:
            arguments = ", ".join("..." if part is ... else self.hint(part) for part in get_args(hint))
            return f"{origin.__name__}[{arguments}]"
        if dataclasses.is_dataclass(hint) and hint.__name__.endswith("Config"):
            self.groups[hint.__name__] = hint
            self.imports.add(hint.__module__)
            return f"{hint.__module__}.{hint.__name__} | {hint.__name__.removesuffix('Config')}Settings"
        return getattr(hint, "__name__", "Any")

    def group(self, config: type) -> str:
        """A TypedDict of the fields of a dataclass."""
        meanings, lines = (
            meanings_of(config),
            [f"class {config.__name__.removesuffix('Config')}Settings(TypedDict, total=False):"],
        )
        lines += [f'    """{first_line(config)}"""', ""]
        for name, hint in hints_of(config).items():
            lines += [f"    {name}: {self.hint(hint)}", f'    """{meanings.get(name, "")}"""']
        return "\n".join(lines)

    def function(self, name: str, function: Any, configs: list[type]) -> str:
        """A function with the settings of its command as arguments of their own; what several have is of either type."""
        hints, meanings = {}, {}
        for config in configs:
            hints |= {key: hints.get(key, hint) | hint for key, hint in hints_of(config).items()}
            meanings = meanings_of(config) | meanings
        return self.function_text(name, function, hints, meanings)

    def forwarding(self, name: str, function: Any, takers: list[str]) -> str:
        """A function with the arguments of those that it gives its options to."""
        hints, meanings = {}, {}
        for taker in map(loaded, takers):
            meanings |= meanings_in(taker)
            known, parameters = get_type_hints(taker), inspect.signature(taker).parameters.values()
            hints |= {p.name: known[p.name] for p in parameters if p.default is not p.empty and p.name != "options"}
        return self.function_text(name, function, hints, meanings)

    def function_text(self, name: str, function: Any, hints: dict[str, Any], meanings: dict[str, str]) -> str:
        """A function with arguments of these types and meanings in place of its `**` argument."""
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        named = {parameter.name for parameter in parameters}
        arguments = [argument(p) for p in parameters if p.kind is not p.KEYWORD_ONLY]
        arguments += ["*", *(argument(p) for p in parameters if p.kind is p.KEYWORD_ONLY)]
        hints = {key: hint for key, hint in hints.items() if key not in named}
        arguments += [f"{key}: {self.hint(hint)} = ..." for key, hint in hints.items()]
        lines = [f"    {key}: {meanings[key]}" for key in hints if key in meanings]
        doc = "\n".join([inspect.getdoc(function), "", "Settings:", *lines]).replace("\\", "\\\\")
        doc = "\n".join(f"    {line}".rstrip() for line in doc.splitlines()).strip()
        head = f"def {name}({', '.join(arguments)}) -> {signature.return_annotation}:"
        return f'{head}\n    """{doc}"""'


def hints_of(config: type) -> dict[str, Any]:
    """The types of the fields of a dataclass, in their order."""
    hints = get_type_hints(config)
    return {field.name: hints[field.name] for field in dataclasses.fields(config)}


def argument(parameter: inspect.Parameter) -> str:
    """A parameter of a function as source text."""
    hint = str(parameter.annotation).replace("Folder", "str | os.PathLike[str]")
    return f"{parameter.name}: {hint}" + ("" if parameter.default is parameter.empty else " = ...")


def meanings_of(config: type) -> dict[str, str]:
    """What every field of a dataclass means, by the docstrings of its classes."""
    bases = [base for base in reversed(config.__mro__) if dataclasses.is_dataclass(base)]
    return {name: text for base in bases for name, text in meanings_in(base).items()}


def meanings_in(thing: Any) -> dict[str, str]:
    """What every argument means, by the docstring of a class or function."""
    return {
        name.strip(): " ".join((parameter.description or "").split())
        for parameter in parse(inspect.getdoc(thing) or "").params
        for name in parameter.arg_name.split(",")
    }


def first_line(config: type) -> str:
    return (inspect.getdoc(config) or "").splitlines()[0]


def loaded(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def written() -> str:
    """The whole file."""
    stub = Stub()
    functions = {
        name: stub.function(name, getattr(pmd, name), [*map(loaded, places.split())])
        for name, places in sorted(CONFIGS.items())
    }
    functions |= {name: stub.forwarding(name, getattr(pmd, name), takers) for name, takers in FORWARDED.items()}
    homes = sorted(pmd._HOMES.items())
    names = [f"from {home} import {name} as {name}" for name, home in homes if name not in functions]
    groups = "\n\n".join(every_group(stub))
    modules = "".join(f"import {module}\n" for module in sorted(stub.imports))
    listed = f"__all__ = {sorted(pmd._HOMES)!r}\n"
    text = (
        HEAD
        + modules
        + RETURNED
        + "\n".join(names)
        + "\n\n"
        + listed
        + "\n"
        + groups
        + "\n\n"
        + "\n\n".join(functions.values())
        + "\n"
    )
    done = subprocess.run(
        ["ruff", "format", "--stdin-filename", str(OUT), "-"], input=text, capture_output=True, text=True, check=True
    )
    sorted_imports = ["ruff", "check", "--select", "I,F401", "--fix", "--stdin-filename", str(OUT), "-", "-q"]
    return subprocess.run(sorted_imports, input=done.stdout, capture_output=True, text=True).stdout


def every_group(stub: Stub) -> Iterator[str]:
    """The groups that functions take, and the groups in these."""
    done: set[str] = set()
    while waiting := sorted(stub.groups.keys() - done):
        for name in waiting:
            done.add(name)
            yield stub.group(stub.groups[name])


if __name__ == "__main__":
    OUT.write_text(written(), encoding="utf-8")
    print(OUT, file=sys.stderr)

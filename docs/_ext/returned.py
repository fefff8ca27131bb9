"""The types that public functions return, and those that their attributes and methods give: each has a page in the reference."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, cached_property
from typing import Any

import pmd

INNER = {"Calibration", "Index", "Judge", "Margins", "Metric", "Types", "WidthScores"}
"""What other modules read of a result: named in the reference, without a page."""


@cache
def returned_types() -> dict[str, type]:
    """By name, without those that stand in `pmd.__all__` themselves."""
    functions = (getattr(pmd, name) for name in pmd.__all__ if inspect.isfunction(getattr(pmd, name)))
    found: dict[type, None] = {}
    waiting = [kind for function in functions for kind in _types_in(function)]
    while waiting:
        kind = waiting.pop(0)
        if kind not in found and kind.__name__ not in INNER:
            found[kind] = None
            waiting += [other for part in _annotated(kind) for other in _types_in(part)]
    shared = [base for kind in found for base in kind.__bases__ if _is_ours(base) and any(_own_members(base))]
    found |= {base: None for base in shared if shared.count(base) > 1}
    return {kind.__name__: kind for kind in sorted(found, key=lambda kind: kind.__name__) if not _is_public(kind)}


def has_page(kind: type) -> bool:
    return _is_public(kind) or returned_types().get(kind.__name__) is kind


def parts_of(kind: type) -> list[type]:
    """A class, then the bases that its page describes too, for they have none."""
    bases = [part for base in kind.__bases__ if _is_ours(base) and not has_page(base) for part in parts_of(base)]
    return [kind, *dict.fromkeys(bases)]


def bases_with_pages(kind: type) -> list[type]:
    """The bases whose pages describe what the class has besides."""
    return [base for part in parts_of(kind) for base in part.__bases__ if _is_ours(base) and has_page(base)]


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that the page of a class describes, as functions, by name."""
    seen = set()
    for part in parts_of(kind):
        for name, function in _own_members(part):
            if name not in seen:
                seen.add(name)
                yield name, function


def is_attribute(kind: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(kind, name), (property, cached_property))


def _own_members(kind: type) -> Iterator[tuple[str, Any]]:
    for name, held in vars(kind).items():
        function = next((getattr(held, at) for at in ("__func__", "fget", "func") if hasattr(held, at)), held)
        if not name.startswith("_") and inspect.isfunction(function):
            inherits = function.__doc__ is None and any(hasattr(base, name) for base in kind.__bases__)
            if not inherits:
                yield name, function


def _annotated(kind: type) -> Iterator[Any]:
    for part in filter(_is_ours, kind.__mro__):
        yield part
        yield from (function for _, function in _own_members(part))


def pages_of(thing: Any) -> list[str]:
    """The names of what a function returns, or an attribute is, as far as they have pages."""
    return [kind.__name__ for kind in _types_in(thing) if has_page(kind)]


def _types_in(thing: Any) -> Iterator[type]:
    """The classes of pmd in the annotations of a class, or in what a function returns."""
    thing = inspect.unwrap(thing)
    texts = inspect.get_annotations(thing)
    texts = texts.values() if inspect.isclass(thing) else [texts.get("return", "")]
    names = dict.fromkeys(name for text in texts for name in re.findall(r"\b[A-Z]\w*", str(text)))
    held = (_namespace(thing.__module__).get(name) for name in names)
    return (kind for kind in held if inspect.isclass(kind) and _is_ours(kind))


@cache
def _namespace(module: str) -> dict[str, Any]:
    """What the names in a module's annotations mean, those of `if TYPE_CHECKING` too."""
    held = dict(vars(sys.modules[module]))
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                with suppress(ImportError):  # of an optional package
                    exec(compile(ast.Module([statement], []), module, "exec"), held)
    return held


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("pmd.")


def _is_public(kind: type) -> bool:
    return kind.__name__ in pmd.__all__ and getattr(pmd, kind.__name__) is kind

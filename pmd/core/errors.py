"""The one exception that is meant for the user.

Commands print its message on one line and exit with status 2; a traceback of it would be a bug.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec


class PmdError(ValueError):
    """Input that cannot be used. The message says, on one line, what is wrong, where, and how to correct it.

    Example:
        >>> pmd.train("my_graph", train={"epoch": 3})
        Traceback (most recent call last):
        pmd.core.errors.PmdError: train.epoch: there is no such option; did you mean 'train.epochs'?
    """


def first_line(error: object) -> str:
    """The first line of a message, or the name of an exception without a message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def nearest(value: str, known: Iterable[str]) -> str:
    """The end of a message that proposes the most similar known value; empty if none is similar."""
    return next((f"; did you mean '{close}'?" for close in get_close_matches(value, [*known], 1)), "")


def need_package(package: str, user: str, extra: str, module: str | None = None) -> None:
    """PmdError if a package of an extra is not installed. `module` is its import name where that differs."""
    if find_spec(module or package) is None:
        raise PmdError(f"{user} {package}: pip install 'pmd[{extra}]'")

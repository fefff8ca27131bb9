"""The exception and the warnings that are meant for the user.

Commands print the message of the exception on one line and exit with status 2; a traceback of it would be a bug.
"""

import inspect
import warnings
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import wraps
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

Arguments, Result = ParamSpec("Arguments"), TypeVar("Result")


class PmdError(ValueError):
    """Input that cannot be used. The message says, on one line, what is wrong, where, and how to correct it.

    Example:
        >>> pmd.train("my_graph", train={"epoch": 3})
        Traceback (most recent call last):
        pmd.core.errors.PmdError: train.epoch: there is no such option; did you mean 'train.epochs'?
    """


class PmdWarning(UserWarning):
    """What may be wrong, or was understood in one of several ways, in one line; the work goes on.

    Example:
        >>> import warnings
        >>> warnings.simplefilter("ignore", pmd.PmdWarning)
    """


class GraphWarning(PmdWarning):
    """What the reader of a graph understood, and what may be wrong with the graph."""


def warn(message: str, category: type[PmdWarning] = PmdWarning) -> None:
    """Warn at the line of the user's program that led here: the one that called the outermost function of ours, for decorators
    of other packages may lie between ours."""
    stack = inspect.stack(context=0)
    ours = [at for at, frame in enumerate(stack) if frame[0].f_globals.get("__name__", "").partition(".")[0] == "pmd"]
    warnings.warn(message, category, stacklevel=ours[-1] + 2)


def first_line(error: object) -> str:
    """The first line of a message, or the name of an exception without a message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


MEND_UTF8 = (
    "mend that character; if the whole file has another encoding, convert it, for example: iconv -f latin1 -t utf-8"
)


def not_utf8(place: object, error: UnicodeDecodeError, lines_before: int = 0) -> PmdError:
    """The error about the bytes of `place`, before which it has so many lines: which byte of which line is not UTF-8."""
    data, start = error.object, error.start
    line, byte = lines_before + data.count(b"\n", 0, start) + 1, start - data.rfind(b"\n", 0, start)
    return PmdError(f"{place}, line {line}: byte {byte} (0x{data[start]:02x}) is not UTF-8; {MEND_UTF8}")


def nearest(value: str, known: Iterable[str]) -> str:
    """The end of a message that proposes the most similar known value; empty if none is similar."""
    return next((f"; did you mean '{close}'?" for close in get_close_matches(value, [*known], 1)), "")


def refuse_unknown(function: str, options: Iterable[str], known: Sequence[str]) -> None:
    """PmdError, with the nearest name, for an option that a function does not know."""
    for option in options:
        if option not in known:
            raise PmdError(
                f"{function}: unknown option '{option}'; there are {', '.join(known)}{nearest(option, known)}"
            )


def options_of(function: Callable[..., object]) -> list[str]:
    """The arguments of a function or class that may be given by name."""
    parameters = inspect.signature(function).parameters.values()
    return [
        parameter.name
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]


def names_options(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator of a function that says, as commands do, which of its options is nearest to one that it does not have."""
    known = [name for name in options_of(function) if name != "self"]

    @wraps(function)
    def checked(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        refuse_unknown(function.__name__, options, known)
        return function(*arguments, **options)

    return checked


def need_package(package: str, user: str, extra: str, module: str | None = None) -> None:
    """PmdError if a package of an extra is not installed. `module` is its import name where that differs."""
    if find_spec(module or package) is None:
        raise PmdError(f"{user} {package}: pip install 'pmd[{extra}]'")

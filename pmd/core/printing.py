"""Text for terminals and pages: what they would act upon is escaped, what they cannot show does not stop a command."""

from __future__ import annotations

import codecs
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, marks that change the direction of what follows, and halves of characters."""


def printable(text: str) -> str:
    """Text whose control characters and the like are written as JSON writes them: `\\u001b`."""
    return ACTS.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """What a stream's encoding lacks, as JSON writes it."""
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)), error.end


@contextmanager
def plain_output() -> Iterator[None]:
    """In here warnings are a line without the place in the code, and streams escape what their encoding lacks."""
    codecs.register_error("pmd.escape", _escape)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="pmd.escape")
    before, warnings.formatwarning = warnings.formatwarning, _line
    try:
        yield
    finally:
        warnings.formatwarning = before


def _line(message: Any, *place: Any, **more: Any) -> str:
    return f"warning: {printable(' '.join(str(message).split()))}\n"


def say(*lines: str) -> None:
    """Print remarks, on stderr."""
    print(printable("\n".join(lines)), file=sys.stderr, flush=True)


def answer_command(model: str | os.PathLike[str], question: Mapping[str, str]) -> str:
    """The shell command that asks a model; a value that looks like an option is tied to its own."""
    words = ["pmd", "answer", os.fspath(model)]
    for part, value in question.items():
        words += [f"--{part}={value}"] if value.startswith("-") else [f"--{part}", value]
    return shlex.join(words)


def progress_bar(total: int, visible: bool) -> Any:
    """A progress bar for so many queries on stderr, which disappears at the end."""
    from tqdm.auto import tqdm

    return tqdm(total=total, disable=not visible, desc="ranking", unit="query", leave=False, dynamic_ncols=True)

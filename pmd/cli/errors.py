"""What any command does with an error: one line on stderr, and an exit status that says whose mistake it is."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.core.files import FULL, full_disk, is_full
from pmd.core.printing import plain_output, printable

FLAGS = {
    "--quiet": "print results and errors only: no progress, no remarks",
    "--debug": "print the traceback of an error",
}
"""Flags that every command understands beside its own options."""

PATH_ERRORS = (
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY),
    *(errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL, errno.EBUSY, errno.ELOOP, errno.EXDEV, errno.EFBIG),
)
"""Errors of the operating system that the user can correct, usually by choosing another path."""


def run(command: Callable[[], None]) -> None:
    """Run a command; an error becomes one line on stderr and ends the process.

    The flags of `FLAGS` are taken out of `sys.argv` first.

    Exit statuses: 2 for an error that the user can correct, 1 for any other, 141 if the reader of stdout has gone, and 128
    and its number for a signal (130 for Ctrl-C, 143 for SIGTERM).
    """
    flags = {flag for flag in FLAGS if flag in sys.argv[1:]}
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in flags]
    stderr = sys.stderr
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(plain_output())
            if "--quiet" in flags:
                stack.enter_context(contextlib.redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
            command()
    except KeyboardInterrupt as stop:
        sys.exit(128 + getattr(stop, "number", signal.SIGINT))
    except BrokenPipeError:  # such as `pmd … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        debug = "--debug" in flags
        if debug:
            traceback.print_exc(file=stderr)
        message, status = describe(error)
        if status == 1 and not debug:
            message += f"; {save_traceback(error)}"
        print(f"error: {printable(message)}", file=stderr)
        sys.exit(status)


def describe(error: Exception) -> tuple[str, int]:
    """An error as one line, and the exit status that belongs to it."""
    if isinstance(error, PmdError):
        return str(error), 2
    number, path = getattr(error, "errno", None), getattr(error, "filename", None)
    if number in FULL and getattr(error, "filename2", None) is not None:  # of a copy: where it was to be
        path = error.filename2
    # safetensors and others pass the words on, but not the number and the path.
    if in_words := re.search(r'\(os error (\d+)\) at path "([^"]*)"', str(error)):
        number, path = int(in_words[1]), in_words[2]
    if number in FULL or is_full(error):
        return full_disk(Path(path)) if path else "the disk is full; free some space, or choose another folder", 2
    if path is not None and number in PATH_ERRORS:
        reason = getattr(error, "strerror", None) or os.strerror(number)
        return f"{path}: {reason}; correct it, or choose another path", 2
    if int(os.environ.get("WORLD_SIZE") or 1) > 1 and re.search(r"Connection (closed|reset) by peer", str(error)):
        return (
            "another process of this run has ended; its own message says why, and --resume goes on from the last save",
            2,
        )
    first_line = next(iter(str(error).strip().splitlines()), "")
    return f"unexpected {type(error).__name__}: {first_line}", 1


def save_traceback(error: Exception) -> str:
    """Write the traceback of an error to a file; says where it is."""
    lines = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="pmd-error-", suffix=".txt", delete=False
        ) as file:
            file.write(lines)
    except OSError:
        return "--debug prints its traceback"
    return f"its traceback is in {file.name}"

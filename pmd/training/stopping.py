"""Being asked to stop: by Ctrl-C, by the end of a terminal or a container, or by a cluster's warning before its limit."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
"""SIGHUP comes when a terminal is closed, SIGUSR1 is what SLURM sends ahead of a job's limit (`--signal=USR1@60`)."""


class Interrupted(KeyboardInterrupt):
    """A run was stopped on request; its folder holds all that is needed to resume it.

    Args:
        number: the signal that asked for it.
        run: that folder, where it is known.
    """

    def __init__(self, number: int = signal.SIGINT, run: Path | None = None):
        super().__init__()
        self.number, self.run = number, run


class Stop:
    """While it is entered, the signals of `SIGNALS` are noted in `asked` (0 for none); a second Ctrl-C stops at once.

    A process that was started to ignore the end of its terminal (`nohup`) goes on ignoring that. Ctrl-C is noted even where
    it is ignored, as it is in what a script starts with `&`: there, only `kill -INT` sends it.
    """

    def __enter__(self) -> Stop:
        self.asked = 0
        self._old = {}
        try:
            for number in SIGNALS:
                if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    self._old[number] = signal.signal(number, self._ask)
        except ValueError:  # not in the main thread, where Python allows no handlers
            pass
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = number

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


@contextmanager
def resumable(run: Path | None = None) -> Iterator[None]:
    """Turn Ctrl-C into `Interrupted`, outside of training too: the `run` can be resumed from its folder.

    It resumes at the step at which it was asked to stop or, after a second Ctrl-C, which does not wait, at the last save.
    """
    try:
        yield
    except Interrupted as interrupt:
        interrupt.run = interrupt.run or run
        raise
    except KeyboardInterrupt:
        raise Interrupted(run=run) from None

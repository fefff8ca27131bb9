"""How far work has come, on a terminal and elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

SOON = 10.0
"""Seconds after which work that has said nothing yet says how fast it is."""


def shows_bars() -> bool:
    """On a terminal and in a notebook; elsewhere, as in a log file, a bar would be a line for every update."""
    return sys.stderr.isatty() or in_notebook()


def in_notebook() -> bool:
    """Whether the program runs in Jupyter or one of its kind."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell" or "google.colab" in type(shell).__module__


def minutes_left(steps: int, speed: float) -> str:
    """How long steps take at this many a second: `12 min left`."""
    seconds = steps / max(1e-9, speed)
    return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"


class Bar:
    """On a terminal a progress bar with the loss terms; elsewhere a line for every tenth of the steps, and one before them if
    that takes long.

    Args:
        unit: what is counted, in the plural.
        leave: whether the bar stays on the terminal at the end.
    """

    def __init__(self, total: int, step: int, label: str, *, shown: bool, unit: str = "steps", leave: bool = True):
        self.total, self.label, self.shown, self.unit = total, label, shown, unit
        self.tenth = step * 10 // max(1, total)
        self.started, self.first, self.silent = time.monotonic(), step, True
        self.bar = None
        if shown and shows_bars():
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=step, desc=label, dynamic_ncols=True, unit=f" {unit}", leave=leave)

    def show(self, step: int, values: dict[str, float]) -> None:
        text = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(text)
        elif self.shown and (step * 10 // self.total > self.tenth or step == self.total):
            self.tenth = step * 10 // self.total
            self.line(step, text)

    def tick(self, step: int) -> None:
        """Count a step of which nothing is said."""
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
        elif self.shown and self.silent and time.monotonic() - self.started > SOON:
            self.line(step, "")

    def count(self, done: int) -> None:
        """Count work of which nothing is said but how far it is, and in a log not even that if it ends soon."""
        if self.bar is not None:
            self.bar.update(done - self.bar.n)
        elif (
            self.shown
            and time.monotonic() - self.started > SOON
            and (self.silent or done * 10 // self.total > self.tenth)
        ):
            self.tenth = done * 10 // self.total
            self.line(done, "")

    def line(self, step: int, text: str) -> None:
        self.silent = False
        speed = (step - self.first) / max(1e-9, time.monotonic() - self.started)
        left = f"{minutes_left(self.total - step, speed)}  " if step < self.total else ""
        pace = f"{self.label}  {step}/{self.total}  {speed:.2f} {self.unit}/s  {left}{text}"
        print(pace.rstrip(), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Print a line of its own, below the bar or among the other lines."""
        if self.shown:
            from tqdm import tqdm

            tqdm.write(f"{self.label}  {text}", file=sys.stderr)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: Any) -> None:
        if self.bar is not None:
            self.bar.close()

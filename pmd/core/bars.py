"""Whether a progress bar can be seen."""

from __future__ import annotations

import sys


def shows_bars() -> bool:
    """On a terminal and in a notebook; elsewhere, as in a log file, a bar would be a line for every update."""
    return sys.stderr.isatty() or in_notebook()


def in_notebook() -> bool:
    """Whether the program runs in Jupyter or one of its kind."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell" or "google.colab" in type(shell).__module__

"""Keep the libraries' own output out of ours."""

from __future__ import annotations


def quiet() -> None:
    """Keep the libraries' own progress bars and advice out of a run's output."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()

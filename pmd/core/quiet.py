"""Silences other libraries."""

from __future__ import annotations


def quiet() -> None:
    """Switch off the progress bars and warnings of transformers."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()

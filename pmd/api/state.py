"""What a command changes in its process, and a function must leave as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restores the threads of torch, random states, what `transformers` prints, and accelerate's state, if it had none."""
    import numpy as np
    import torch
    from accelerate.state import AcceleratorState, PartialState
    from transformers.utils import logging

    threads, states = torch.get_num_threads(), (random.getstate(), np.random.get_state(), torch.get_rng_state())
    verbosity, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    is_fresh = not PartialState._shared_state
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        logging.set_verbosity(verbosity)
        if shows_bars:
            logging.enable_progress_bar()
        if is_fresh:
            state = PartialState._shared_state.get("distributed_type")
            if state is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            AcceleratorState._reset_state(reset_partial_state=True)

"""How the processes of a launcher find each other: within a stated time, and anew after each restart.

`torchrun` keeps one store of addresses for all of its attempts. A process that is started again may read there the address
of one that has died: it then fails, or waits for ever. So each attempt's addresses get a prefix of their own. That is
possible where one `torchrun` starts all processes; of several, each counts its own attempts.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

from accelerate.utils import InitProcessGroupKwargs
from torch.distributed import PrefixStore, Store
from torch.distributed.rendezvous import register_rendezvous_handler, rendezvous

from pmd.core.errors import PmdError, first_line
from pmd.core.launch import is_on_one_machine

SECONDS = "PMD_MEET_SECONDS"
"""The variable that says how long a process waits for the others."""
DEFAULT_SECONDS = 300
SCHEME = "pmd-attempt"


def group_options() -> list[InitProcessGroupKwargs]:
    """What `Accelerator` needs to let the processes of each attempt meet by themselves."""
    is_prefixed = _processes() > 1 and "TORCHELASTIC_RESTART_COUNT" in os.environ and is_on_one_machine()
    return [InitProcessGroupKwargs(init_method=f"{SCHEME}://")] if is_prefixed else []


def _store_of_attempt(url: str, **options: Any) -> Iterator[tuple[Store, int, int]]:
    """The launcher's store, rank and number of processes; the keys of each attempt have their own prefix."""
    store, rank, processes = next(iter(rendezvous(url.replace(SCHEME, "env", 1), **options)))
    yield PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store), rank, processes


register_rendezvous_handler(SCHEME, _store_of_attempt)


@contextmanager
def meeting() -> Iterator[None]:
    """Where the processes meet. What goes wrong, or takes longer than PMD_MEET_SECONDS, is told in one line: by a PmdError,
    or, where all of PyTorch waits, by the end of the process."""
    processes = _processes()
    if processes == 1:
        yield
        return
    timer = Timer(_seconds(), _give_up, [processes])
    timer.daemon = True
    timer.start()
    try:
        yield
    except RuntimeError as error:
        raise PmdError(f"{_not_met(processes)} ({first_line(error):.200}); start all of them again") from None
    finally:
        timer.cancel()


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE") or 1)


def _seconds() -> float:
    """The seconds to wait. PmdError if the variable is no number."""
    said = os.environ.get(SECONDS) or str(DEFAULT_SECONDS)
    try:
        return float(said)
    except ValueError:
        raise PmdError(f"{SECONDS}: '{said}' is no number of seconds") from None


def _not_met(processes: int) -> str:
    address = ":".join(os.environ.get(f"MASTER_{part}", "?") for part in ("ADDR", "PORT"))
    rank = os.environ.get("RANK", "?")
    return f"process {rank} of {processes}, on {platform.node()}, did not meet the others at {address}"


def _give_up(processes: int) -> None:
    """End this process, whatever it waits for."""
    print(
        f"error: {_not_met(processes)} within {_seconds():g} s; see that all were started and reach that address, or set {SECONDS}",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)

"""How this process was started, for what starts a run again: torchrun after a failure, SLURM when it requeues a job."""

from __future__ import annotations

import os
import platform


def launch() -> str | None:
    """What started this process, by the same name when it starts it again; None where nothing does."""
    if job := os.environ.get("SLURM_JOB_ID"):
        return f"SLURM job {job}"
    if name := os.environ.get("TORCHELASTIC_RUN_ID"):
        address = ":".join(os.environ.get(f"MASTER_{part}", "") for part in ("ADDR", "PORT"))
        here = f" by process {os.getppid()} of {platform.node()}" if is_on_one_machine() else ""
        return f"torchrun {name} at {address}{here}"
    return None


def is_restarted() -> bool:
    """Whether it was started before and has failed, or was taken from its machine."""
    return any(int(os.environ.get(name) or 0) > 0 for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"))


def is_on_one_machine() -> bool:
    """Whether all processes of a launcher are on this machine."""
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")

"""The `Accelerator` of a run: its processes, threads, precision and device."""

from __future__ import annotations

import contextlib
import ctypes
import os

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from pmd.core.cores import Watch, thread_count
from pmd.core.devices import best_device
from pmd.core.errors import PmdError, warn
from pmd.core.run import Run
from pmd.settings.text import TrainConfig
from pmd.training.meeting import group_options, meeting

UNNOTED = (
    *("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_USE_DEEPSPEED"),
    *("ACCELERATE_USE_FSDP", "ACCELERATE_USE_MEGATRON_LM", "ACCELERATE_USE_PARALLELISM_CONFIG"),
)
"""Variables of a launcher that change results and are no settings of a run."""
CHANGES_NOTHING = ("", "0", "1", "no", "false")
"""What they may say: no accumulation is 1 step, and accelerate takes nothing but `true` for a yes."""


def accelerator_for(config: TrainConfig, run: Run | None = None) -> Accelerator:
    """The accelerator of a run, with the threads of a CPU run set.

    The settings decide their number; else, for a resumed run, whose sums depend on it, the earlier number; else the user's
    environment; else the number of free cores.

    Raises:
        PmdError: if the launcher started several processes that do not meet or are not connected, or changes the results.
    """
    refuse_unnoted()
    on_cpu = best_device().type == "cpu"
    with meeting():
        accelerator = Accelerator(mixed_precision=config.precision, cpu=on_cpu, kwargs_handlers=group_options())
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise PmdError(
            f"{started} processes were started, but each believes it is one of {accelerator.num_processes}; "
            "on CPUs use `ACCELERATE_USE_CPU=true torchrun --nproc_per_node N -m pmd …`"
        )
    if accelerator.device.type == "cpu":
        noted = run.threads_of(accelerator.num_processes) if run else 0
        threads = config.threads or noted or thread_count(_local_processes(accelerator))
        torch.set_num_threads(broadcast_object_list([threads])[0])
        keep_freed_memory()
        if config.precision == "fp16":
            warn("train.precision fp16 is of GPUs only: on this CPU the run computes in fp32")
        elif config.precision == "bf16" and not computes_bf16():
            warn("train.precision bf16 is slower than fp32 on most CPUs")
    return accelerator


def refuse_unnoted() -> None:
    """PmdError if a launcher sets something that would change the results and that no run notes."""
    for name in UNNOTED:
        if os.environ.get(name, "").lower() not in CHANGES_NOTHING:
            raise PmdError(
                f"{name}={os.environ[name]} in the environment would change results without being noted; unset it "
                "(train.batch_size sets the batch, and train.recompute lets a large one fit)"
            )


def precision_of(accelerator: Accelerator) -> str:
    """What an accelerator computes in: fp16 that is asked for on a CPU is fp32."""
    return accelerator.mixed_precision if accelerator.native_amp else "fp32"


def watch_for(accelerator: Accelerator) -> Watch:
    """What notices changes of the machine's load during a run on CPUs; on a GPU the load does not matter."""
    on_cpu = accelerator.device.type == "cpu"
    return Watch(torch.get_num_threads() * _local_processes(accelerator) if on_cpu else 0)


def _local_processes(accelerator: Accelerator) -> int:
    """The processes of the run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))


def computes_bf16() -> bool:
    """Whether the CPU multiplies bf16 numbers in hardware (AMX, AVX-512 BF16 …); False if torch cannot tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # of torch 2.10 and later
    return any(present for name, present in capabilities.items() if name.endswith("bf16"))


def bf16_is_fast() -> bool:
    """Whether large matrices are multiplied faster in bf16 on the device that runs take."""
    device = best_device()
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and computes_bf16()


def keep_freed_memory() -> None:
    """Let the C library keep the memory that a step frees for the next one.

    glibc returns large blocks to the system at once; getting them back, page by page, can take half of the time of a step.
    Other C libraries are left as they are.
    """
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        # Not by M_MMAP_THRESHOLD, which cannot exceed 32 MB: the gradient of a word embedding is larger. The second option
        # alone would only switch off the threshold's own adaptation.
        if libc.mallopt(mmap_max, 0):
            libc.mallopt(trim_threshold, 2**31 - 1)

"""Which device a process computes on, and in which precision it can."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """The device that `accelerate` chooses: Apple's `mps`, `cuda` or Intel's `xpu`, or else the CPU."""
    present = {
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available(),
        "xpu": torch.xpu.is_available(),
    }
    return torch.device(next((name for name, is_present in present.items() if is_present), "cpu"))


def device_name(device: torch.device) -> str:
    """What a device is called: a GPU by its maker's name, where there is a way to ask."""
    asked = getattr(getattr(torch, device.type, None), "get_device_name", None)
    return asked() if asked and device.type != "cpu" else device.type


def supports_float64(device: torch.device) -> bool:
    """Whether a device computes in double precision: Apple's do not, and not all of Intel's."""
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type != "mps"


def widest_float(device: torch.device) -> torch.dtype:
    """Double precision, or single where the device has no other."""
    return torch.double if supports_float64(device) else torch.float

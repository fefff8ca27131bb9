"""Negatives of all processes, and what they draw: two of them train exactly as one does with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("two_processes.py")


def gradients(kind: str, processes: int, out: Path) -> dict[str, torch.Tensor]:
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [*(launcher if processes > 1 else [sys.executable]), str(SCRIPT), kind, str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(out)


@pytest.mark.parametrize("kind", ["pmd", "pkd", "mean"])
def test_two_processes_equal_one(kind, tmp_path):
    one, two = (gradients(kind, n, tmp_path / f"{n}.safetensors") for n in (1, 2))
    assert one.pop("processes") == 1 and two.pop("processes") == 2
    assert one.keys() == two.keys()
    size = torch.cat([value.flatten() for value in one.values()]).norm()
    for name, value in one.items():
        # Some gradients are nothing but rounding (a key's bias moves no softmax), hence the absolute part.
        assert (two[name] - value).norm() < 1e-4 * value.norm() + 1e-7 * size, name


def test_two_processes_draw_the_widths_that_one_draws(tmp_path):
    one, two = (gradients("drawn", n, tmp_path / f"{n}.safetensors") for n in (1, 2))
    (expected,) = one["drawn"].tolist()
    assert len(expected) == 40  # one width a step, and three
    assert two["drawn"].tolist() == [expected, expected]

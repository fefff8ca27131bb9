"""Two processes train embedding models exactly as one does with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("kge_two_processes.py")
TERMS = {
    "logistic": {"hard"},
    "shared": {"hard", "constraint"},
    "sparse": {"hard"},
    "one_vs_all": {"hard", "n3"},
    "k_vs_all": {"hard"},
    "dualde": {"soft", "hard", "teacher_soft", "teacher_hard"},
    "med": {"hard", "mutual", "soft", "constraint", "scale_2", "scale_16", "w3"},
}


@pytest.fixture(scope="module")
def gradients(tmp_path_factory) -> dict[int, dict[str, torch.Tensor]]:
    """Of all objectives, by number of processes."""
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    folder, found = tmp_path_factory.mktemp("gradients"), {}
    for processes in (1, 2):
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        out = folder / f"{processes}.safetensors"
        command = [sys.executable, *(launcher if processes > 1 else []), str(SCRIPT), str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
        found[processes] = load_file(out)
        assert found[processes].pop("processes") == processes
    return found


@pytest.mark.parametrize("kind", TERMS)
def test_two_processes_equal_one(kind, gradients):
    one, two = ({n: v for n, v in gradients[count].items() if n.startswith(f"{kind}/")} for count in (1, 2))
    assert one.keys() == two.keys()
    assert {name.split("term:")[1] for name in one if "term:" in name} == TERMS[kind]
    assert sum("_rows" in name for name in one) == (4 if kind == "dualde" else 2)
    for name, value in one.items():
        assert value.norm() > 1e-3, name
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6, msg=name)

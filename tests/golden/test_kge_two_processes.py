"""Two processes train embedding models exactly as one does with the whole batch."""

import pytest
import torch
from safetensors.torch import load_file

from . import kge_gradients

TERMS = {
    "logistic": {"hard"},
    "shared": {"hard", "constraint"},
    "sparse": {"hard"},
    "one_vs_all": {"hard", "n3"},
    "k_vs_all": {"hard"},
    "confidences": {"hard"},
    "confidences of all": {"hard"},
    "dualde": {"soft", "hard", "teacher_soft", "teacher_hard"},
    "evolution": {"hard", "mutual", "w1", "w2", "w3"},
    "evolution by confidence": {"hard", "mutual", "w1", "w2", "w3"},
    "med": {"hard", "mutual", "soft", "constraint", "scale_2", "scale_16", "w3"},
}


@pytest.fixture(scope="module")
def gradients(two_processes, tmp_path_factory) -> dict[int, dict[str, torch.Tensor]]:
    """Of all objectives, by number of processes."""
    folder = tmp_path_factory.mktemp("gradients")
    kge_gradients.write(folder / "1.safetensors")
    two_processes.call("tests.golden.kge_gradients:write", folder / "2.safetensors")
    found = {processes: load_file(folder / f"{processes}.safetensors") for processes in (1, 2)}
    assert all(values.pop("processes") == processes for processes, values in found.items())
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

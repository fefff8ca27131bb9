"""Negatives of all processes, and what they draw: two of them train exactly as one does with the whole batch."""

import pytest
import torch
from safetensors.torch import load_file

from . import text_gradients


@pytest.fixture
def gradients(two_processes, tmp_path):
    """What one process and two give, by kind."""

    def both(kind: str) -> list[dict[str, torch.Tensor]]:
        text_gradients.write(kind, tmp_path / "1.safetensors")
        two_processes.call("tests.golden.text_gradients:write", kind, tmp_path / "2.safetensors")
        return [load_file(tmp_path / f"{processes}.safetensors") for processes in (1, 2)]

    return both


@pytest.mark.parametrize("kind", [*text_gradients.PMD, "pkd", "confidences", "mean"])
def test_two_processes_equal_one(kind, gradients):
    one, two = gradients(kind)
    assert one.pop("processes") == 1 and two.pop("processes") == 2
    assert one.keys() == two.keys()
    size = torch.cat([value.flatten() for value in one.values()]).norm()
    for name, value in one.items():
        # Some gradients are nothing but rounding (a key's bias moves no softmax), hence the absolute part.
        assert (two[name] - value).norm() < 1e-4 * value.norm() + 1e-7 * size, name


def test_two_processes_draw_the_widths_that_one_draws(gradients):
    one, two = gradients("drawn")
    (expected,) = one["drawn"].tolist()
    assert len(expected) == 40  # one width a step, and three
    assert two["drawn"].tolist() == [expected, expected]

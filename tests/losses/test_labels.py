import math

import pytest
import torch

from pmd.losses.labels import label_loss


def test_cross_entropy_of_each_model_by_hand():
    logits = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]], [[math.log(3), 0.0], [0.0, math.log(7)]]])
    labels = torch.tensor([0, 1])
    expected = [(math.log(2) + math.log(4)) / 2, (math.log(4 / 3) + math.log(8 / 7)) / 2]
    assert label_loss(logits, labels).tolist() == pytest.approx(expected, abs=1e-6)


def test_squared_error_where_labels_are_numbers():
    logits, labels = torch.tensor([[[1.0], [4.0]], [[2.0], [2.0]]]), torch.tensor([2.0, 2.0])
    assert label_loss(logits, labels).tolist() == [2.5, 0.0]

import shutil

import numpy as np
import pytest

import pmd
from pmd.use import index as index_module
from pmd.use import text_models
from pmd.use.answer_records import Question

from ..asked import own_cache, write_model  # noqa: F401  a fixture
from ..tiny import tiny_graph


@pytest.mark.parametrize("width", [None, 8])
def test_many_vectors_stay_on_disk_in_fp16(width, tmp_path, monkeypatch):
    folder, graph = write_model("wide", tmp_path / "model", tiny_graph()), tiny_graph()
    asked = [Question("tail", 1, 3), Question("head", 0, 5), Question("tail", 2, 0)]

    def opened():
        model = pmd.load(folder, graph)
        return model if width is None else model.crop(width)

    expected, rows = opened().scores(asked), np.array([3, 1])
    vectors = opened().unit_vectors(rows)
    shutil.rmtree(folder / "index")
    monkeypatch.setattr(text_models, "HALF_FROM", 1)
    monkeypatch.setattr(index_module, "BLOCK", 5)
    model = opened()
    scores, stored = model.scores(asked), model.index.stored_vectors
    assert stored.dtype == np.float16 and isinstance(stored.base, np.memmap) and scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    np.testing.assert_allclose(model.unit_vectors(rows), vectors, atol=1e-3)
    assert not np.array_equal(scores, expected)

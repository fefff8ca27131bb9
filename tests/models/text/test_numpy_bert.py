"""The query encoder in NumPy gives the vectors of the bi-encoder."""

import json

import numpy as np
import pytest
import torch

from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.numpy_bert import NumpyBert, can_read, gelu
from pmd.models.text.scorer import encode_texts

from ...tiny import tiny_encoder, tiny_graph, tiny_model, tiny_text

PAIRS = [(entity, relation) for entity in range(13) for relation in range(6)]


def saved(model, folder):
    model.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("settings", [{}, {"tied": True}, {"width": 8}, {"hidden": 64, "layers": 3}])
def test_vectors_are_those_of_the_bi_encoder(settings, tmp_path):
    model, text = tiny_model(dropout=0.3, **settings), tiny_text()
    texts = text.queries(*np.array(PAIRS).T)
    found = NumpyBert(tmp_path, saved(model, tmp_path)).vectors(texts)
    expected = encode_texts(model, "query", texts, text.pad)
    assert found.dtype == np.float32 and found.shape == (78, model.dim)
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=3e-6, rtol=0)
    assert len(tiny_graph().relation_ids) == 3  # so relations 3 to 5 above are inverse


def test_a_bert_without_segments(tmp_path):
    config = tiny_encoder()
    config.type_vocab_size = 1
    torch.manual_seed(0)
    model, text = BiEncoder(BiEncoderConfig(encoder=config)), tiny_text()
    texts = text.queries(np.array([3, 8]), np.array([0, 4]))
    found = NumpyBert(tmp_path, saved(model, tmp_path)).vectors(texts)
    torch.testing.assert_close(
        torch.from_numpy(found), encode_texts(model, "query", texts, text.pad), atol=3e-6, rtol=0
    )


def test_gelu():
    x = np.linspace(-9, 9, 10_001, dtype=np.float32)
    expected = torch.nn.functional.gelu(torch.from_numpy(x).double()).numpy()
    assert np.abs(gelu(x) - expected).max() < 1e-6


def test_other_encoders_are_not_read(tmp_path):
    settings = saved(tiny_model(), tmp_path)
    assert can_read(tmp_path, settings)
    for other in ({"model_type": "distilbert"}, {"hidden_act": "relu"}, {"position_embedding_type": "relative_key"}):
        assert not can_read(tmp_path, {**settings, "encoder": {**settings["encoder"], **other}})
    (tmp_path / "model.safetensors").unlink()
    assert not can_read(tmp_path, settings)

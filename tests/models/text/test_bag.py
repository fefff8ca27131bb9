"""Grade 0: a text is the mean of its word pieces, which begin as what a teacher makes of each."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu, normalize

from pmd.data.texts.batches import TripleCollator, chunks
from pmd.models.text.bag import Bag, BagConfig
from pmd.models.text.bi_encoder import BiEncoder
from pmd.models.text.encode import encode
from pmd.models.text.numpy_bag import NumpyBag, is_bag
from pmd.models.text.scorer import encode_texts
from pmd.models.text.students import COMMON, bag_of

from ...tiny import tiny_graph, tiny_model, tiny_text

PAIRS = np.array([(entity, relation) for entity in range(13) for relation in range(6)])


def bag(**settings) -> BiEncoder:
    """A bag whose relations change the sum, as after training."""
    student = bag_of(tiny_model(**settings), tiny_text())
    torch.manual_seed(1)
    for role in ("query", "entity"):
        torch.nn.init.normal_(student.encoder(role).gate.weight)
        torch.nn.init.normal_(student.encoder(role).shift.weight, std=0.1)
    return student


def by_hand(encoder: Bag, first: list[int], second: list[int]) -> torch.Tensor:
    """The vector of a text of one or two segments, one piece after the other."""
    table, total = encoder.pieces.weight.clone(), 0
    table[encoder.config.special] = 0
    hidden = torch.zeros(table.shape[1])
    if second:
        hidden = gelu(encoder.relation(sum(table[piece] for piece in second) / len(second)))
    for piece in first:
        total = total + table[piece] * (1 + encoder.gate(hidden)) + encoder.shift(hidden)
    for piece in second:
        total = total + table[piece] + encoder.shift(hidden)
    return normalize(total, dim=-1)


@torch.no_grad()
@pytest.mark.parametrize("tied", [False, True])
def test_a_text_is_the_mean_of_its_pieces(tied):
    student, text = bag(tied=tied), tiny_text()
    entities, queries = text.entities(np.arange(13)), text.queries(*PAIRS.T)
    for role, texts in (("entity", entities), ("query", queries)):
        expected = [
            by_hand(student.encoder(role), texts.ids[row][:second].tolist(), texts.ids[row][second:].tolist())
            for row, second in enumerate(texts.second)
        ]
        torch.testing.assert_close(encode_texts(student, role, texts, text.pad), torch.stack(expected))
        encoded = encode(student, role, [*chunks(texts, text.pad, 60)])
        torch.testing.assert_close(encoded.pooled, torch.stack(expected))


@torch.no_grad()
def test_the_pieces_begin_as_what_the_teacher_makes_of_them():
    teacher, text = tiny_model(dropout=0.3).eval(), tiny_text()
    student = bag_of(teacher, text)
    assert student.inverse_temperature == teacher.inverse_temperature and student.depth == 0
    _, rows = TripleCollator(tiny_graph().train, text, 60).distinct_texts()
    read = np.unique(np.concatenate([np.arange(text.num_entities), rows]))
    counts = np.bincount(np.concatenate([text.rows.take(read).flat, text.relations.flat]))
    piece = int(counts.argmax())
    ids = torch.tensor([[*text.frame.before, piece, *text.frame.after]])
    hidden = teacher("query", ids, torch.ones_like(ids), torch.zeros_like(ids))[-1]
    rarity = COMMON / (COMMON + counts[piece] / counts.sum())
    vectors = student.query_encoder.pieces.weight
    torch.testing.assert_close(vectors[piece], rarity * normalize(hidden.mean(1), dim=-1)[0])


@pytest.mark.parametrize("settings", [{}, {"tied": True}])
def test_numpy_reads_the_same(settings, tmp_path):
    student, text = bag(**settings), tiny_text()
    student.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    texts = text.queries(*PAIRS.T)
    assert is_bag(config)
    numpy_vectors = torch.from_numpy(NumpyBag(tmp_path, config).vectors(texts))
    torch.testing.assert_close(numpy_vectors, encode_texts(student, "query", texts, text.pad), atol=3e-6, rtol=0)
    again = BiEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(again.state_dict(), student.state_dict(), rtol=0, atol=0)
    narrow = again.crop(5)
    narrow.save_pretrained(tmp_path / "narrow")
    config = json.loads((tmp_path / "narrow" / "config.json").read_text())
    numpy_vectors = torch.from_numpy(NumpyBag(tmp_path / "narrow", config).vectors(texts))
    torch.testing.assert_close(numpy_vectors, encode_texts(narrow, "query", texts, text.pad), atol=3e-6, rtol=0)


def test_without_segments_the_relation_is_a_word_among_others():
    encoder = Bag(BagConfig(vocab_size=9, hidden_size=4, type_vocab_size=1))
    ids = torch.tensor([[3, 4, 8]])
    out = encoder(ids, torch.ones_like(ids), output_hidden_states=True)
    torch.testing.assert_close(out.last_hidden_state, encoder.pieces.weight[ids])
    assert len(out.hidden_states) == 1

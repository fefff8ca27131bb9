"""The leading dimensions of a bi-encoder's vectors: pooled, scored, cropped and ranked."""

import numpy as np
import pytest
import torch
from transformers import AutoModel

import pmd
from pmd.core.errors import PmdError
from pmd.evaluation.ranking import rank
from pmd.models.text import scorer as module
from pmd.models.text.bi_encoder import BiEncoder, pool
from pmd.models.text.encode import encode
from pmd.models.text.scorer import TextScorer, encode_texts
from pmd.models.text.students import student_of
from pmd.models.vectors import leading_dimensions

from ... import slow
from ...tiny import READING, tiny_batch, tiny_graph, tiny_model, tiny_text, tiny_tokenizer

WIDTHS = [4, 16, 32]


def croppable(**settings) -> BiEncoder:
    return tiny_model(widths=WIDTHS, **settings).eval()


def slow_leading(rows: torch.Tensor, width: int) -> list[float]:
    """Mean of rows (L, d), its first numbers, divided by their length: number by number."""
    mean = [sum(row[i].item() for row in rows) / len(rows) for i in range(width)]
    length = sum(value**2 for value in mean) ** 0.5
    return [value / length for value in mean]


@pytest.mark.parametrize("width", [1, 4, 7, 16, 32])
def test_a_prefix_is_cut_before_it_is_brought_to_length_1(width):
    hidden, lengths = torch.randn(5, 7, 32), [7, 1, 3, 5, 2]
    mask = torch.tensor([[int(i < n) for i in range(7)] for n in lengths])
    cut = pool(hidden, mask, width)
    for row, length in enumerate(lengths):
        assert cut[row].tolist() == pytest.approx(slow_leading(hidden[row, :length], width), abs=1e-6)
    # Of the stored unit vector the same: a length does not matter for what is brought to length 1.
    torch.testing.assert_close(leading_dimensions(pool(hidden, mask), width), cut, atol=1e-6, rtol=0)


def test_the_full_width_is_left_as_it_is():
    vectors = torch.randn(3, 8)
    assert leading_dimensions(vectors, 8) is vectors
    hidden, mask = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.long)
    assert torch.equal(pool(hidden, mask, 8), pool(hidden, mask))


def test_by_hand():
    assert leading_dimensions(torch.tensor([[0.6, 0.0, 0.8]]), 2).tolist() == [[1.0, 0.0]]
    hidden = torch.tensor([[[3.0, 0.0, 9.0], [3.0, 8.0, 9.0], [99.0, 99.0, 99.0]]])
    assert pool(hidden, torch.tensor([[1, 1, 0]]), 2)[0].tolist() == pytest.approx([0.6, 0.8])


def test_gradients_are_those_of_the_mean_that_is_cut():
    """Through the unit vector of full width, as in training, or through the mean itself."""
    found = []
    for cut in (lambda h, m: pool(h, m, 4), lambda h, m: leading_dimensions(pool(h, m), 4)):
        hidden = torch.randn(5, 7, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        weights = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
        (cut(hidden, torch.ones(5, 7, dtype=torch.long)) * weights).sum().backward()
        found.append(hidden.grad)
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-4)
    assert found[1][..., :4].abs().min() > 0 and not found[0][..., 4:].any() and found[1][..., 4:].abs().max() < 1e-7


@pytest.mark.parametrize("tied", [False, True])
def test_a_cropped_model_stands_alone(tied, tmp_path):
    whole = croppable(tied=tied)
    small = whole.crop(16)
    small.save_pretrained(tmp_path)
    again, auto = BiEncoder.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    assert (whole.dim, whole.widths, whole.config.width) == (32, (4, 16, 32), None)
    text = tiny_text()
    texts = text.entities(np.arange(13))
    expected = leading_dimensions(encode_texts(whole, "entity", texts, text.pad), 16)
    for model in (small, again, auto):
        assert (model.dim, model.hidden_size, model.widths, model.config.width) == (16, 32, (4, 16), 16)
        found = encode_texts(model, "entity", texts, text.pad)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    batch = tiny_batch([0, 1, 2, 8])
    with torch.no_grad():
        pooled = [encode(model, "query", batch.queries).pooled for model in (whole, small)]
    torch.testing.assert_close(pooled[1], leading_dimensions(pooled[0], 16), atol=1e-6, rtol=0)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))


def test_crops_of_crops_and_of_plain_models():
    whole = croppable()
    assert (whole.crop(20).widths, whole.crop(16).crop(5).widths, whole.crop(2).widths) == ((4, 16, 20), (4, 5), (2,))
    assert (whole.crop(32).widths, whole.crop(32).config.width) == ((4, 16, 32), None)
    plain = tiny_model()
    assert (plain.widths, plain.config.widths, plain.crop(8).widths, plain.crop(8).dim) == ((32,), None, (8,), 8)
    with torch.no_grad():  # a crop shares nothing
        plain.crop(8).log_inverse_temperature.fill_(0.0)
    assert plain.inverse_temperature.item() == pytest.approx(20)


@pytest.mark.parametrize("width", [0, -1, 33])
def test_a_width_that_there_is_not(width):
    model, message = tiny_model(), f"^width {width} is outside 1 to 32, the model's own width$"
    with pytest.raises(PmdError, match=message):
        model.crop(width)
    with pytest.raises(PmdError, match=message):
        TextScorer(model, tiny_text(), torch.zeros(13, 32), width=width)
    with pytest.raises(PmdError, match=message):
        TextScorer(model, tiny_text(), torch.zeros(13, 32)).score_all(tiny_graph().test, "tail", width)
    with pytest.raises(PmdError, match=r"width 17.*outside 1.*16"):
        model.crop(16).crop(17)


def test_a_student_is_as_wide_as_its_encoder():
    whole = croppable(layers=3)
    for source in (whole, whole.crop(16)):
        plain, taught = student_of(source, [2]), student_of(source, [0, 2], [8, 32])
        assert (plain.dim, plain.widths, plain.config.widths, plain.depth) == (32, (32,), None, 1)
        assert (taught.dim, taught.widths, taught.config.widths, taught.depth) == (32, (8, 32), [8, 32], 2)


def slow_scores(model: BiEncoder, triple: list[int], target: str, width: int) -> list[float]:
    """Cosines of the leading numbers, each text read by itself."""
    graph, tokenizer = tiny_graph(), tiny_tokenizer()
    head, relation, tail = triple
    if target == "head":
        head, relation = tail, relation + graph.num_relations
    asked = slow.text_of(graph, head, READING), slow.relation_of(graph, relation)
    query = slow_leading(slow.hidden_of(model, "query", *slow.tokens(tokenizer, *asked, READING.max_length)), width)
    scores = []
    for entity in range(graph.num_entities):
        read = slow.tokens(tokenizer, slow.text_of(graph, entity, READING), None, READING.max_length)
        other = slow_leading(slow.hidden_of(model, "entity", *read), width)
        scores.append(sum(a * b for a, b in zip(query, other)))
    return scores


TRIPLES = torch.tensor([[7, 0, 3], [12, 2, 0], [0, 1, 8], [7, 0, 3]])


@torch.no_grad()
@pytest.mark.parametrize("target", ["head", "tail"])
@pytest.mark.parametrize("width", [3, 16, 32])
def test_any_prefix_scores_from_one_matrix(width, target):
    model = croppable()
    whole = TextScorer(model, tiny_text())
    assert whole.entities.shape == (13, 32)
    found = whole.score_all(TRIPLES, target, width)
    expected = torch.tensor([slow_scores(model, triple, target, width) for triple in TRIPLES.tolist()])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    fixed = TextScorer(model, tiny_text(), whole.entities, width=width)
    assert torch.equal(fixed.score_all(TRIPLES, target), found)
    for entities in (whole.entities, leading_dimensions(whole.entities, width), None):
        small = TextScorer(model.crop(width), tiny_text(), entities)
        torch.testing.assert_close(small.score_all(TRIPLES, target), found, atol=1e-6, rtol=0)


def test_the_full_width_scores_as_ever():
    model = croppable()
    scorer = TextScorer(model, tiny_text())
    scorer.score_all(TRIPLES, "tail", 4)
    scorer.score_all(TRIPLES, "tail", 16)
    plain = TextScorer(tiny_model().eval(), tiny_text())
    found = scorer.score_all(TRIPLES, "tail")
    assert torch.equal(found, plain.score_all(TRIPLES, "tail"))
    order = torch.from_numpy(np.searchsorted(plain._keys, plain._key(TRIPLES, "tail")))
    assert torch.equal(found, plain._queries[order] @ plain.entities.T)


def test_all_widths_are_ranked_from_one_encoding(monkeypatch):
    graph, model = tiny_graph(), croppable()
    expected = {width: rank(TextScorer(model.crop(width), tiny_text()), graph, "train").to_dict() for width in WIDTHS}
    scorer = TextScorer(model, tiny_text())
    scorer.prepare(graph.train)
    monkeypatch.setattr(module, "encode_texts", None)
    found = pmd.rank_widths(scorer, graph, "train")
    assert {width: metrics.to_dict() for width, metrics in found.items()} == expected
    assert len({metrics.mrr for metrics in found.values()}) == 3


@pytest.mark.parametrize("targets", [("head", "tail"), ("tail",)])
def test_ranking_widths_reads_every_text_once(targets, monkeypatch):
    graph, read = tiny_graph(), []

    def counted(model, role, texts, *options, **named):
        read.append((role, len(texts)))
        return encode_texts(model, role, texts, *options, **named)

    monkeypatch.setattr(module, "encode_texts", counted)
    scorer = TextScorer(croppable(), tiny_text())
    expected = pmd.rank_widths(scorer, graph, "train", targets=targets, batch_size=3)
    places = {"head": [1, 2], "tail": [0, 1]}
    queries = sum(len(graph.train[:, places[target]].unique(dim=0)) for target in targets)
    assert read == [("entity", 13), ("query", queries)]
    scorer.prepare(graph.train, targets)  # again: they are at hand
    assert len(read) == 2 and [*expected] == WIDTHS


def test_a_scorer_of_another_graph_is_refused(random_graph):
    with pytest.raises(PmdError, match=r"13.*'random'.*12"):
        rank(TextScorer(croppable(), tiny_text()), random_graph())

import numpy as np
import pytest
import torch

from pmd.core.types import TripleScorer
from pmd.data.texts.batches import chunks
from pmd.models import vectors
from pmd.models.text import folder
from pmd.models.text import scorer as module
from pmd.models.text.scorer import TextScorer, encode_texts

from ... import slow
from ...tiny import READING, tiny_graph, tiny_model, tiny_text, tiny_tokenizer


@pytest.fixture(scope="module")
def model():
    return tiny_model(dropout=0.5).train()


@pytest.fixture
def scorer(model):
    return TextScorer(model, tiny_text(), tokens=70)


def slow_scores(model, triple: list[int], target: str) -> list[float]:
    """Cosines of all entities, each text read by itself."""
    graph, tokenizer = tiny_graph(), tiny_tokenizer()
    head, relation, tail = triple
    if target == "head":
        head, relation = tail, relation + graph.num_relations
    query = slow.text_of(graph, head, READING), slow.relation_of(graph, relation)
    asked = slow.vector_of(model, "query", *slow.tokens(tokenizer, *query, READING.max_length))
    scores = []
    for entity in range(graph.num_entities):
        read = slow.tokens(tokenizer, slow.text_of(graph, entity, READING), None, READING.max_length)
        scores.append(float(asked @ slow.vector_of(model, "entity", *read)))
    return scores


@pytest.mark.parametrize("target", ["head", "tail"])
def test_scores_are_cosines_of_the_texts(scorer, model, target):
    triples = torch.tensor([[7, 0, 3], [12, 2, 0], [0, 1, 8], [7, 0, 3]])
    scores = scorer.score_all(triples, target)
    assert scores.dtype == torch.float32 and scores.shape == (4, 13)
    model.eval()
    with torch.no_grad():
        expected = torch.tensor([slow_scores(model, triple, target) for triple in triples.tolist()])
    model.train()
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_the_entry_at_the_target_is_not_read(scorer):
    assert torch.equal(
        scorer.score_all(torch.tensor([[7, 0, 3]]), "tail"), scorer.score_all(torch.tensor([[7, 0, 11]]), "tail")
    )
    assert torch.equal(
        scorer.score_all(torch.tensor([[7, 0, 3]]), "head"), scorer.score_all(torch.tensor([[2, 0, 3]]), "head")
    )


def test_it_is_a_triple_scorer_and_leaves_the_model_as_it_was(scorer, model):
    assert isinstance(scorer, TripleScorer)
    assert model.training and not scorer.entities.requires_grad


def test_prepared_queries_are_encoded_once(scorer, monkeypatch):
    train = tiny_graph().train
    expected = {target: scorer.score_all(train, target) for target in ("head", "tail")}
    scorer.prepare(train)
    monkeypatch.setattr(module, "encode_texts", None)
    for target, scores in expected.items():
        torch.testing.assert_close(scorer.score_all(train, target), scores, atol=1e-6, rtol=0)
        torch.testing.assert_close(scorer.score_all(train[[9, 2]], target), scores[[9, 2]], atol=1e-6, rtol=0)
    with pytest.raises(TypeError):  # only an unprepared query needs the encoder
        scorer.score_all(torch.tensor([[12, 1, 0]]), "tail")


def test_given_entities_are_used(model):
    entities = torch.eye(13, 32)
    scorer = TextScorer(model, tiny_text(), entities)
    scores = scorer.score_all(torch.tensor([[7, 0, 3]]), "tail")
    assert torch.equal(scores[0], scorer._queries[0, :13])


@pytest.mark.parametrize("part", [5, 1000])
@pytest.mark.parametrize("width", [None, 8])
def test_many_entities_are_encoded_into_a_file_in_fp16(model, width, part, tmp_path, monkeypatch):
    asked, text = torch.tensor([[7, 0, 3], [12, 2, 0]]), tiny_text()
    expected = TextScorer(model, text, width=width).score_all(asked, "head")
    for place, name, value in (
        (module, "HALF_FROM", 1),
        (folder, "HALF_FROM", 1),
        (module, "PART", part),
        (vectors, "BLOCK", 4),
    ):
        monkeypatch.setattr(place, name, value)
    made = TextScorer(model, text, width=width)
    folder.save(tmp_path / "model", folder.TextModel(model, tiny_tokenizer()), tiny_graph(), made.entities)
    stored = folder.stored_entities(tmp_path / "model", tiny_graph())
    for entities in (made.entities, stored):
        assert entities.dtype == torch.half
        scores = TextScorer(model, text, entities, width=width).score_all(asked, "head")
        torch.testing.assert_close(scores, expected, atol=1e-3, rtol=0)
        assert scores.dtype == torch.float32 and not torch.equal(scores, expected)
    assert torch.equal(made.entities, stored)


def test_many_entities_are_encoded_part_by_part(model, monkeypatch):
    expected = TextScorer(model, tiny_text()).entities
    monkeypatch.setattr(module, "PART", 5)
    entities = TextScorer(model, tiny_text()).entities
    assert entities.dtype == torch.float32
    torch.testing.assert_close(entities, expected, atol=1e-6, rtol=0)


def test_no_triples_give_no_scores(scorer):
    assert scorer.score_all(torch.empty(0, 3, dtype=torch.long), "tail").shape == (0, 13)


def test_texts_are_encoded_in_their_order(model):
    text = tiny_text()
    texts = text.entities(np.array([5, 3, 12, 0]))
    found = encode_texts(model, "entity", texts, text.pad, 30)
    model.eval()
    with torch.no_grad():
        for row, (ids, types, _) in enumerate(slow.unpadded(list(chunks(texts, text.pad, 999)))):
            torch.testing.assert_close(found[row], slow.vector_of(model, "entity", ids, types), atol=1e-6, rtol=0)
    model.train()
    assert encode_texts(model, "entity", text.entities(np.empty(0, dtype=np.int64)), text.pad).shape == (0, 32)

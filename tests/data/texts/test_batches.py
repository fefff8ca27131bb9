import numpy as np
import pytest
import torch

from pmd.data.texts.batches import TripleCollator, chunks

from ... import slow
from ...tiny import READING, TRAIN, tiny_batch, tiny_graph, tiny_text, tiny_tokenizer

EVERY = [*range(len(TRAIN))]


def strings(positions: list[int]) -> list[tuple[tuple[str, str], str, str]]:
    """For every example of a batch: the texts of its query, its answer and its own head."""
    return [
        *(example_strings(position, False) for position in positions),
        *(example_strings(position, True) for position in positions),
    ]


def example_strings(position: int, inverse: bool) -> tuple[tuple[str, str], str, str]:
    graph = tiny_graph()
    head, relation, tail = graph.train[position].tolist()
    if inverse:
        head, relation, tail = tail, relation + graph.num_relations, head
    own = slow.text_of(graph, head, READING, without=tail)
    answer = slow.text_of(graph, tail, READING, without=head)
    return (own, slow.relation_of(graph, relation)), answer, own


def all_rows(text):
    """The rows of every text: of the entities, and of those that leave a name out."""
    return np.concatenate([np.arange(text.num_entities), text.num_entities + text.rows.pairs])


@pytest.mark.parametrize("tokens", [1, 24, 60, 100_000])
def test_chunks_hold_exactly_the_texts(tokens):
    text = tiny_text()
    rows = all_rows(text)
    texts = text.queries(rows, np.arange(len(rows)) % 6)
    made = list(chunks(texts, text.pad, tokens))
    assert sorted(torch.cat([chunk.rows for chunk in made]).tolist()) == [*range(len(rows))]
    for row, (ids, types, _) in enumerate(slow.unpadded(made)):
        assert ids == texts.ids[row].tolist()
        assert types == [int(i >= texts.second[row]) for i in range(len(ids))]
    for chunk in made:
        padding = chunk.attention_mask == 0
        assert (chunk.input_ids[padding] == text.pad).all()
        assert (chunk.token_type_ids[padding] == 0).all()
        assert (chunk.attention_mask.diff(dim=1) <= 0).all()  # padding is on the right


@pytest.mark.parametrize("tokens", [24, 50, 99, 1000])
def test_chunks_keep_to_their_budget_and_waste_none(tokens):
    text = tiny_text()
    made = list(chunks(text.entities(all_rows(text)), text.pad, tokens))
    for chunk, following in zip(made, [*made[1:], None]):
        rows, length = chunk.input_ids.shape
        assert rows * length <= tokens
        assert following is None or (rows + 1) * length > tokens
        assert chunk.attention_mask[0].sum() == length


def test_a_text_beyond_the_budget_has_a_chunk_of_its_own():
    text = tiny_text()
    made = list(chunks(text.entities(np.array([12, 3, 8])), text.pad, 5))
    assert [chunk.rows.tolist() for chunk in made] == [[1], [2], [0]]  # by falling length


@pytest.mark.parametrize("positions", [EVERY, [0], [9, 7, 8], [11, 12], [10], [3, 3]])
def test_every_example_points_to_its_texts(positions):
    assert_points_to(tiny_batch(positions), strings(positions))


def assert_points_to(batch, expected: list[tuple[tuple[str, str], str, str]]) -> None:
    tokenizer = tiny_tokenizer()
    queries, entities = slow.unpadded(batch.queries), slow.unpadded(batch.entities)
    assert len(batch.examples) == len(expected)
    for i, (query, answer, own) in enumerate(expected):
        assert queries[batch.query[i]][:2] == slow.tokens(tokenizer, *query, READING.max_length)
        assert entities[batch.entity[i]][:2] == slow.tokens(tokenizer, answer, None, READING.max_length)
        assert entities[batch.head[i]][:2] == slow.tokens(tokenizer, own, None, READING.max_length)


@pytest.mark.parametrize("positions", [EVERY, [11, 12], [1, 7, 8, 9]])
def test_examples_are_the_triples_in_both_directions(positions):
    batch, graph = tiny_batch(positions), tiny_graph()
    forward = [TRAIN[i] for i in positions]
    backward = [(t, r + graph.num_relations, h) for h, r, t in forward]
    assert [tuple(row) for row in batch.examples.tolist()] == [*forward, *backward]


def test_queries_have_the_same_key_where_they_have_the_same_text():
    n, collate = len(TRAIN), TripleCollator(tiny_graph().train, tiny_text(), 60, shared=False)
    keys, texts = collate.query_keys(), [example_strings(position % n, position >= n)[0] for position in range(2 * n)]
    assert len(keys) == 2 * n and len({*keys}) < 2 * n
    assert [[a == b for a in keys] for b in keys] == [[a == b for a in texts] for b in texts]


@pytest.mark.parametrize("positions", [[0], [9, 7, 8], [3, len(TRAIN) + 3], [len(TRAIN) + 10, 11, 0]])
def test_directions_that_are_independent_make_an_example_of_a_position(positions):
    n, graph = len(TRAIN), tiny_graph()
    confidences = torch.arange(n) / n
    collate = TripleCollator(graph.train, tiny_text(), 60, confidences, shared=False)
    batch = collate(positions)
    assert len(collate) == 2 * n and len(TripleCollator(graph.train, tiny_text(), 60)) == n
    assert_points_to(batch, [example_strings(position % n, position >= n) for position in positions])
    both_ways = [*TRAIN, *((t, r + graph.num_relations, h) for h, r, t in TRAIN)]
    assert [tuple(row) for row in batch.examples.tolist()] == [both_ways[position] for position in positions]
    assert batch.confidences.tolist() == [confidences[position % n].item() for position in positions]


def test_distinct_texts_are_there_once():
    batch, graph = tiny_batch(EVERY), tiny_graph()
    reads = set()
    for head, relation, tail in batch.examples.tolist():
        listed = tail in slow.neighbours(graph, head, READING.max_neighbours)
        short = len(graph.entity_descriptions[head].split()) < READING.neighbours_below
        # What an entity reads depends on the answer only if that is one of its neighbours.
        reads.add((head, relation, tail if listed and short else None))
    assert len(slow.unpadded(batch.queries)) == len(reads) < 2 * len(EVERY)
    num_entities = len({(head, without) for head, _, without in reads})
    assert len(slow.unpadded(batch.entities)) == num_entities
    assert sorted(set(batch.query.tolist())) == [*range(len(reads))]
    assert sorted(set(batch.entity.tolist())) == [*range(num_entities)]


def test_moving_a_batch_keeps_it():
    collate = TripleCollator(tiny_graph().train, tiny_text(), 60)
    batch = collate([0, 5])
    moved = batch.to(torch.device("cpu"))
    assert slow.unpadded(moved.queries) == slow.unpadded(batch.queries)
    assert slow.unpadded(moved.entities) == slow.unpadded(batch.entities)
    assert torch.equal(moved.head, batch.head) and torch.equal(moved.examples, batch.examples)
    assert batch.to(torch.device("meta")).entities[0].rows.device.type == "meta"

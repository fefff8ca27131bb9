from dataclasses import replace

import pytest
import torch
from accelerate.utils import save
from safetensors.torch import load_model

from pmd.data.texts.batches import TripleCollator
from pmd.distill.text_supervised import Supervised, gather_vectors, logits
from pmd.settings.text import ContrastiveConfig

from .. import slow
from ..tiny import READING, TRAIN, supervised_arguments, tiny_batch, tiny_graph, tiny_model, tiny_text, tiny_tokenizer

BATCHES = [[7, 8, 9, 10, 11, 0], [1, 2, 3, 13, 14, 12], [4, 5, 6, 17, 18, 19], [7, 0, 16, 20, 1, 11]]
KNOWN = {triple for h, r, t in TRAIN for triple in ((h, r, t), (t, r + 3, h))}


def objective(options: ContrastiveConfig | None = None, **settings) -> Supervised:
    options = options or ContrastiveConfig()
    return Supervised(*supervised_arguments(tiny_model(init_temperature=0.1), options), **settings).train()


def examples(positions: list[int]) -> list[tuple[int, int, int]]:
    forward = [TRAIN[i] for i in positions]
    return [*forward, *((t, r + 3, h) for h, r, t in forward)]


def vectors(model, positions: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Query, tail and head of every example, each text read by itself and without padding."""
    graph, longest = tiny_graph(), READING.max_length
    columns = ([], [], [])
    for head, relation, tail in examples(positions):
        own, answer = slow.text_of(graph, head, READING, tail), slow.text_of(graph, tail, READING, head)
        asked = slow.tokens(tiny_tokenizer(), own, slow.relation_of(graph, relation), longest)
        columns[0].append(slow.vector_of(model, "query", *asked))
        for column, text in ((1, answer), (2, own)):
            columns[column].append(slow.vector_of(model, "entity", *slow.tokens(tiny_tokenizer(), text, None, longest)))
    return tuple(torch.stack(column) for column in columns)


def masked(asked, entities, options: ContrastiveConfig, diagonal: bool = True) -> list[list[bool]]:
    """Which entities are no negatives of the queries: known answers and, unless they count in batches, their heads."""
    heads_count = options.self_negatives and options.in_batch_heads

    def is_masked(i: int, j: int) -> bool:
        head, relation, _ = asked[i]
        if i == j and not diagonal:
            return False
        return (head, relation, entities[j]) in KNOWN or (not heads_count and entities[j] == head)

    return [[is_masked(i, j) for j in range(len(entities))] for i in range(len(asked))]


def reference(objective: Supervised, positions: list[int], earlier=None, earlier_entities=()) -> float:
    """SimKGC's loss of a batch, what is no negative masked by a double loop."""
    asked, options = examples(positions), objective.options
    query, tail, head = vectors(objective.student, positions)
    false = masked(asked, [t for _, _, t in asked], options, diagonal=False)
    more = {}
    if options.self_negatives:
        more |= {"head": head, "head_is_answer": [(h, r, h) in KNOWN for h, r, _ in asked]}
    if earlier is not None:
        seen = masked(asked, earlier_entities, options)
        more |= {"earlier": earlier, "earlier_is_answer": seen, "earlier_weight": options.pre_batch_weight}
    scale = objective.student.inverse_temperature.item()
    return slow.simkgc_loss(query, tail, scale, options.margin, false, **more).item()


def loss(objective: Supervised, positions: list[int]) -> float:
    return objective(tiny_batch(positions))["ce"].item()


def test_there_is_something_to_mask():
    asked = examples(BATCHES[0])
    assert any((h, r, h) in KNOWN for h, r, _ in asked)
    assert sum((h, r, other[2]) in KNOWN for h, r, t in asked for other in asked if other[2] != t) > 3


@pytest.mark.parametrize("self_negatives", [True, False])
@pytest.mark.parametrize("in_batch_heads", [True, False])
@pytest.mark.parametrize("positions", [*BATCHES, [11, 12], [10, 10], [*range(len(TRAIN))]])
@torch.no_grad()
def test_it_is_simkgcs_loss_of_texts_read_one_by_one(positions, in_batch_heads, self_negatives):
    options = ContrastiveConfig(self_negatives=self_negatives, in_batch_heads=in_batch_heads, margin=0.05)
    plain = objective(options)
    assert loss(plain, positions) == pytest.approx(reference(plain, positions), rel=1e-5)


@pytest.mark.parametrize("self_negatives", [True, False])
def test_a_head_is_a_negative_once_or_never(self_negatives):
    """Pulled by the gradient: of the entities that the batch holds, and of those of an earlier one, the head is left out."""
    options = ContrastiveConfig(self_negatives=self_negatives, in_batch_heads=False, pre_batches=1, margin=0.0)
    plain = objective(options)
    loss(plain, [0, 1, 2])
    asked = examples([0, 1, 2])
    query, tail, head = (part.detach() for part in vectors(plain.student, [0, 1, 2]))
    remembered = plain.earlier_entities.tolist()
    scale, total = plain.student.inverse_temperature.item(), 0.0
    for i, (h, r, t) in enumerate(asked):

        def counts(entity: int, h: int = h, r: int = r) -> bool:
            return entity != h and (h, r, entity) not in KNOWN

        logit = [scale * float(query[i] @ vector) for vector in tail]
        row = [logit[i]] + [logit[j] for j, (_, _, e) in enumerate(asked) if j != i and counts(e)]
        row += [0.5 * logit[j] for j, e in enumerate(remembered) if counts(e)]
        if self_negatives and (h, r, h) not in KNOWN:
            row.append(scale * float(query[i] @ head[i]))
        others = [k for k, (a, b, _) in enumerate(asked) if k != i and t != a and (a, b, t) not in KNOWN]
        column = [logit[i]] + [scale * float(query[k] @ tail[i]) for k in others]
        total += sum(torch.tensor(values).logsumexp(0).item() - logit[i] for values in (row, column))
    assert loss(plain, [0, 1, 2]) == pytest.approx(total / len(asked), rel=1e-4)


@torch.no_grad()
def test_independent_directions_that_hold_both_are_shared_ones():
    collate = TripleCollator(tiny_graph().train, tiny_text(), 60, shared=False)
    both = collate([*BATCHES[0], *(position + len(TRAIN) for position in BATCHES[0])])
    assert objective()(both)["ce"].item() == loss(objective(), BATCHES[0])


@torch.no_grad()
def test_every_option_matters():
    base = ContrastiveConfig(margin=0.02)
    found = {
        loss(objective(options), BATCHES[0])
        for options in (base, replace(base, margin=0.2), replace(base, self_negatives=False))
    }
    assert len(found) == 3


@pytest.mark.parametrize("pre_batches", [1, 2])
@torch.no_grad()
def test_entities_of_earlier_batches_are_negatives(pre_batches):
    queued = objective(ContrastiveConfig(pre_batches=pre_batches, pre_batch_weight=0.3))
    tails, entities = [], []
    for positions in BATCHES:
        seen = tails[-pre_batches:]
        remembered = [entity for batch in entities[-pre_batches:] for entity in batch]
        expected = reference(queued, positions, torch.cat(seen) if seen else None, remembered)
        assert loss(queued, positions) == pytest.approx(expected, rel=1e-5)
        tails.append(vectors(queued.student, positions)[1])
        entities.append([t for _, _, t in examples(positions)])
        assert queued.earlier_entities.tolist() == [entity for batch in entities[-pre_batches:] for entity in batch]
        torch.testing.assert_close(queued.earlier_vectors, torch.cat(tails[-pre_batches:]), atol=1e-5, rtol=0)


def test_the_queue_is_part_of_the_state():
    queued = objective(ContrastiveConfig(pre_batches=2))
    for positions in BATCHES[:2]:
        loss(queued, positions)
    again = objective(ContrastiveConfig(pre_batches=2))
    loss(again, BATCHES[3])  # a queue of another length
    again.load_state_dict(queued.state_dict())
    assert torch.equal(again.earlier_vectors, queued.earlier_vectors)
    assert torch.equal(again.earlier_entities, queued.earlier_entities)
    assert loss(again, BATCHES[2]) == loss(queued, BATCHES[2])
    empty = objective(ContrastiveConfig(pre_batches=2))
    queued.load_state_dict(empty.state_dict())
    assert queued.earlier_vectors.shape == (0, 32) and len(queued.earlier_entities) == 0


@pytest.mark.parametrize("seen", [0, 1])
def test_the_queue_survives_the_files_of_accelerate(seen, tmp_path):
    queued, again = (objective(ContrastiveConfig(pre_batches=1)) for _ in range(2))
    for positions in BATCHES[:seen]:
        loss(queued, positions)
    loss(again, BATCHES[3])
    save(queued.state_dict(), tmp_path / "model.safetensors", safe_serialization=True)
    load_model(again, tmp_path / "model.safetensors")
    assert torch.equal(again.earlier_vectors, queued.earlier_vectors)
    assert torch.equal(again.earlier_entities, queued.earlier_entities)


def test_the_queue_has_no_gradient():
    queued = objective(ContrastiveConfig(pre_batches=1))
    queued(tiny_batch(BATCHES[0]))
    assert not queued.earlier_vectors.requires_grad
    queued(tiny_batch(BATCHES[1]))["ce"].backward()


@torch.no_grad()
def test_eval_mode_does_not_move_the_queue():
    queued = objective(ContrastiveConfig(pre_batches=1))
    loss(queued, BATCHES[0])
    before, queued = queued.earlier_entities.clone(), queued.eval()
    first = loss(queued, BATCHES[1])
    assert loss(queued, BATCHES[1]) == first
    assert torch.equal(queued.earlier_entities, before)
    plain = objective().eval()
    loss(plain, BATCHES[0])
    assert len(plain.earlier_entities) == 0


def test_answers_equal_a_double_loop():
    plain, asked = objective(), torch.tensor(examples([*range(len(TRAIN))]))
    entities = torch.tensor([3, 12, 0, 0, 7, 2, 11, 1])
    expected = [[(h, r, entity) in KNOWN for entity in entities.tolist()] for h, r, _ in asked.tolist()]
    assert plain.answers(asked, entities).tolist() == expected
    assert plain.answers(asked, torch.tensor([12])).tolist() == [[False]] * len(asked)


def test_gradients_reach_both_encoders_and_the_temperature():
    plain = objective()
    terms = plain(tiny_batch(BATCHES[0]))
    assert [*terms] == ["ce"] and plain.total(terms) == terms["ce"]
    terms["ce"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in plain.parameters())
    assert plain.student.log_inverse_temperature.grad != 0
    for role in ("query", "entity"):
        assert plain.student.encoder(role).embeddings.word_embeddings.weight.grad.any()


def test_recomputing_gives_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        plain = objective(recompute=recompute)
        plain(tiny_batch(BATCHES[0]))["ce"].backward()
        gradients.append([p.grad for p in plain.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*gradients))


@torch.no_grad()
def test_logits_are_cosines_over_the_temperature_without_margin():
    plain, batch = objective(), tiny_batch(BATCHES[0])
    found = logits(gather_vectors(*plain.encode(plain.student, batch), batch), plain.student)
    query, tail, _ = vectors(plain.student, BATCHES[0])
    torch.testing.assert_close(found, query @ tail.T * 10, atol=1e-4, rtol=0)

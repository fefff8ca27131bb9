"""What masks are drawn by: weights of tokens and rates of texts, each beside a plain version."""

import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.texts.masking import mask_positions
from pmd.distill.masks import attention_received, rates_by_sureness, token_information, token_weights, turn_without
from pmd.models.text.encode import encode
from pmd.settings.text import DistillConfig

from .. import slow
from ..tiny import tiny_batch, tiny_model, tiny_text
from .test_text_pmd import APART, POSITIONS, SAME, masked_of, objective, terms_of

CHOICES = ["random", "rare", "attention", "uncertainty"]


def test_information_is_that_of_the_tokens_of_the_graph():
    text = tiny_text()
    tokens = [i for row in range(text.num_entities) for i in text.rows[row].tolist()]
    tokens += [i for row in range(len(text.relations)) for i in text.relations[row].tolist()]
    counts = Counter([*tokens, *text.special, text.mask])
    found = token_information(text)
    total = sum(counts.values()) + len(found)
    for token, count in counts.items():
        assert found[token].item() == pytest.approx(-math.log((count + 1) / total), rel=1e-5)
    common, rare = max(counts, key=counts.get), min(counts, key=counts.get)
    assert found[common] < found[rare]


@torch.no_grad()
def test_attention_is_what_real_tokens_pay_in_the_last_layer():
    model = tiny_model(2)
    for chunk in tiny_batch(POSITIONS).queries:
        found = attention_received(model, "query", chunk)
        assert model.encoder("query").config._attn_implementation == "sdpa"
        for row in range(len(chunk.rows)):
            length = int(chunk.attention_mask[row].sum())
            ids = chunk.input_ids[row : row + 1, :length]
            types = chunk.token_type_ids[row : row + 1, :length]
            encoder = model.encoder("query")
            encoder.set_attn_implementation("eager")
            output = encoder(
                input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=types, output_attentions=True
            )
            encoder.set_attn_implementation("sdpa")
            heads = output.attentions[-1][0]
            expected = [float(sum(head[i, j] for head in heads for i in range(length))) for j in range(length)]
            expected = [value / (len(heads) * length) for value in expected]
            assert found[row, :length].tolist() == pytest.approx(expected, abs=1e-5)
            assert sum(expected) == pytest.approx(1, abs=1e-4)


def test_an_encoder_that_gives_no_attention_is_refused(monkeypatch):
    model, (chunk, *_) = tiny_model(1), tiny_batch([0]).queries
    monkeypatch.setattr(type(model.query_encoder), "forward", lambda self, **_: SimpleNamespace(attentions=None))
    with pytest.raises(PmdError, match=r"^distill\.mask_choice: a 'bert' encoder gives no attention; choose random"):
        attention_received(model, "query", chunk)


def test_a_vector_turns_by_what_it_loses():
    hidden, mask = torch.randn(2, 5, 8), torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    found = turn_without(hidden, mask)
    for row, length in enumerate((4, 5)):
        whole = slow.mean_unit([*hidden[row, :length]])
        for j in range(length):
            rest = slow.mean_unit([hidden[row, i] for i in range(length) if i != j])
            assert found[row, j].item() == pytest.approx(1 - float(whole @ rest), abs=1e-5)


@torch.no_grad()
def test_rates_are_by_the_entropy_of_the_teachers_answers():
    teacher, batch = tiny_model(2, init_temperature=0.2), tiny_batch(POSITIONS)
    whole = encode(teacher, "query", batch.queries), encode(teacher, "entity", batch.entities)
    queries, answers = whole[0].pooled[batch.query], whole[1].pooled[batch.entity]
    logits = (queries @ answers.T) * 5
    found = rates_by_sureness(0.2, whole, teacher, batch)
    for scores, text, rates in ((logits, batch.query, found[0]), (logits.T, batch.entity, found[1])):
        entropies: dict[int, list[float]] = {}
        for row, t in zip(scores.softmax(-1).tolist(), text.tolist()):
            entropies.setdefault(t, []).append(-sum(p * math.log(p) for p in row) / math.log(len(row)))
        sure = {t: 1 - sum(values) / len(values) for t, values in entropies.items()}
        mean = sum(sure.values()) / len(sure)
        expected = [min(0.9, 0.2 * sure[t] / mean) if t in sure else 0.2 for t in range(len(rates))]
        assert rates.tolist() == pytest.approx(expected, rel=1e-3)
        assert max(expected) > min(expected)


def test_draws_are_in_proportion_to_the_weights():
    """One of four tokens: as often as its weight; two: as successive draws say."""
    torch.manual_seed(0)
    draws, weights = 20_000, [1.0, 2.0, 3.0, 4.0]
    ids = torch.tensor([[2, 10, 11, 12, 13, 3]]).expand(draws, -1)
    table = torch.tensor([[9.0, *weights, 9.0]]).expand(draws, -1)
    one = mask_positions(ids, 0.25, torch.tensor([0, 2, 3]), table).float().mean(0)
    assert one.tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0], abs=0.012)
    two = mask_positions(ids, 0.5, torch.tensor([0, 2, 3]), table)
    assert (two.sum(1) == 2).all()
    expected = [
        w / 10 + sum(v / 10 * w / (10 - v) for j, v in enumerate(weights) if j != i) for i, w in enumerate(weights)
    ]
    assert two.float().mean(0)[1:5].tolist() == pytest.approx(expected, abs=0.012)


def test_rates_may_differ_by_text():
    ids = torch.tensor([[2, *range(10, 20), 3]]).expand(4, -1)
    masks = mask_positions(ids, torch.tensor([[0.0], [0.1], [0.5], [0.9]]), torch.tensor([0, 2, 3]))
    assert masks.sum(1).tolist() == [0, 1, 5, 9]


@pytest.mark.parametrize("distill", [SAME, APART], ids=["same", "separate"])
@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_masks_as_many_tokens(choice, distill):
    information = token_information(tiny_text()) if choice == "rare" else None
    chosen = objective(replace(distill, mask_choice=choice), information=information)
    plain = objective(distill)
    counts = [[mask.sum(1).tolist() for masks in masked_of(each)[1] for mask in masks] for each in (chosen, plain)]
    assert [sum(part) for part in counts[0]] and len(counts[0]) == len(counts[1])
    if distill is SAME:
        assert counts[0] == counts[1]
    terms = terms_of(chosen)
    assert terms["feature"].isfinite() and terms["feature"] > 0
    weights = [token_weights(choice, information, tiny_model(3, seed=2), "query", c) for c in tiny_batch([0]).queries]
    assert (weights[0] is None) == (choice == "random")


@pytest.mark.parametrize("distill", [SAME, APART], ids=["same", "separate"])
def test_a_rate_by_the_teacher_changes_how_many_are_masked_and_not_which_terms_there_are(distill):
    plain, sure = objective(distill), objective(replace(distill, mask_rate_by="uncertainty"))
    expected, found = terms_of(plain), terms_of(sure)
    assert found.keys() == expected.keys() and found["feature"] != expected["feature"]
    if distill is APART:  # labels and scores are of whole texts in both
        assert found["ce"] == expected["ce"] and found["score"] == expected["score"]


def test_the_defaults_draw_as_ever():
    assert (DistillConfig().mask_choice, DistillConfig().mask_rate_by) == ("random", "schedule")

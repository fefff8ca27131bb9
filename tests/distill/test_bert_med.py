"""MED for a classifier: every term against its definition, written with loops."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, huber_loss

from pmd.distill.bert_finetune import FineTuning, Supernet
from pmd.distill.bert_med import BertMutualEvolution, true_first
from pmd.settings.med import MedConfig
from pmd.settings.stages.glue import resolve_bert_med

from ..tiny_glue import WIDTHS, tiny_batch, tiny_classifier

N = len(WIDTHS)


@pytest.fixture
def batch(tmp_path):
    return tiny_batch(tmp_path, "mnli")


@pytest.fixture
def similar(tmp_path):
    return tiny_batch(tmp_path, "stsb")


def objective(labels: int = 3, recipe: str = "joint", **settings) -> BertMutualEvolution:
    model = tiny_classifier(num_labels=labels).eval()
    return BertMutualEvolution(model, resolve_bert_med(MedConfig(recipe, **settings)))


def logits_of(own: BertMutualEvolution, batch) -> list[torch.Tensor]:
    """Of each width, from its stand-alone crop."""
    return [own.model.crop(width)(**batch.inputs).logits for width in WIDTHS]


def test_labels_of_all_widths(batch):
    own = objective()
    terms = own(batch)
    expected = sum(cross_entropy(logits, batch.labels) for logits in logits_of(own, batch)) / N
    assert terms.keys() == {"hard"} and float(own.total(terms)) == pytest.approx(float(expected), abs=1e-5)


def test_a_regression_keeps_its_squared_error(similar):
    own = objective(1, "med", w3=0.5)
    terms = own(similar)
    logits = logits_of(own, similar)
    errors = [(found[:, 0] - similar.labels).square().mean() for found in logits]
    expected = sum(error * math.exp(0.5 * width / 32) for error, width in zip(errors, WIDTHS)) / N
    assert float(terms["hard"]) == pytest.approx(float(expected), rel=1e-5)
    mutual = sum(huber_loss(a, b) for a, b in zip(logits[1:], logits)) / (N - 1)
    assert float(terms["mutual"]) == pytest.approx(float(mutual), rel=1e-5)
    assert own.learned == ["w3"] and not own.w1.requires_grad  # nothing reads w1 and w2


def slow_evolution(logits: list[torch.Tensor], labels: torch.Tensor, w1: float, w2: float) -> list[float]:
    """Eq. 3-5 with an example and its class as a triple, and with each other class as a negative."""
    losses = []
    for i, own in enumerate(logits):
        examples = range(len(labels))
        wrong = [(e, c) for e in examples for c in range(own.shape[-1]) if c != labels[e]]
        positive, negative = dict.fromkeys(examples, 1.0), dict.fromkeys(wrong, 1.0)
        if i:
            narrower = logits[i - 1].detach()
            positive = {e: math.exp(w1 / max(0.1, float(narrower[e, labels[e]].sigmoid()))) for e in examples}
            negative = {place: math.exp(w2 * float(narrower[place])) for place in wrong}
        loss = -sum(positive[e] * float(own[e, labels[e]].sigmoid().log()) for e in examples) / sum(positive.values())
        loss -= sum(negative[p] * float((-own[p]).sigmoid().log()) for p in wrong) / sum(negative.values())
        losses.append(loss)
    return losses


def test_the_papers_terms_equal_loops(batch):
    own = objective(recipe="med", w1=0.7, w2=1.3, w3=0.4)
    terms, logits = own(batch), logits_of(own, batch)
    each = slow_evolution(logits, batch.labels, 0.7, 1.3)
    expected = sum(loss * math.exp(0.4 * width / 32) for loss, width in zip(each, WIDTHS)) / N
    assert float(terms["hard"]) == pytest.approx(expected, rel=1e-4)
    mutual = sum(huber_loss(a, b) for a, b in zip(logits[1:], logits)) / (N - 1)
    assert float(terms["mutual"]) == pytest.approx(float(mutual), rel=1e-4)
    assert float(own.total(terms)) == pytest.approx(expected + float(mutual), rel=1e-4)
    own.total(terms).backward()
    assert all(getattr(own, name).grad is not None for name in ("w1", "w2", "w3"))


@pytest.mark.parametrize("teacher", ["next", "widest"])
def test_soft_labels_come_from_wider_ones_one_way(teacher, batch):
    own = objective(soft=1.0, teacher=teacher, temperature=2.0)
    terms, logits = own(batch), logits_of(own, batch)
    total = 0.0
    for i in range(N - 1):
        theirs = logits[i + 1 if teacher == "next" else -1].div(2).softmax(-1)
        total += (theirs * (theirs.log() - logits[i].div(2).log_softmax(-1))).sum(-1).mean() * 4
    assert float(terms["soft"]) == pytest.approx(float(total) / (N - 1), rel=1e-4)
    # What the narrow sub-models do not have belongs to the teacher, which learns nothing here.
    terms["soft"].backward()
    weight = own.model.bert.encoder.layer[0].intermediate.dense.weight
    assert weight.grad[32:].abs().sum() == 0 < weight.grad[:16].abs().sum()


def test_switches():
    assert objective(recipe="med", learned=False).learned == []
    assert objective(recipe="med", evolutionary=False).learned == ["w3"]
    assert objective(recipe="med", dynamic=False).learned == ["w1", "w2"]


def test_some_widths_are_drawn_the_widest_always(batch):
    own = objective(mutual=1.0, draw=2)
    asked, plain = [], own.model.forward_widths
    own.model.forward_widths = lambda widths, **texts: asked.append(widths) or plain(widths=widths, **texts)
    torch.manual_seed(0)
    for _ in range(8):
        own(batch)
    assert {tuple(widths) for widths in asked} == {(8, 32), (16, 32)}


def test_the_true_class_comes_first():
    logits = torch.arange(6.0).view(1, 2, 3)
    assert true_first(logits, torch.tensor([1, 2])).tolist() == [[[1, 2, 0], [5, 3, 4]]]


def test_plain_fine_tuning_and_the_supernet(batch):
    model = tiny_classifier(num_labels=3).eval()
    losses = [float(cross_entropy(model.crop(width)(**batch.inputs).logits, batch.labels)) for width in WIDTHS]
    assert float(FineTuning(model)(batch)["hard"]) == pytest.approx(losses[-1], abs=1e-5)
    supernet = Supernet(model)
    torch.manual_seed(0)
    seen = [float(supernet(batch)["hard"].detach()) for _ in range(12)]
    assert all(min(abs(loss - own) for own in losses) < 1e-5 for loss in seen)  # one width a step
    assert all(min(abs(loss - own) for loss in seen) < 1e-5 for own in losses)  # each has its turn

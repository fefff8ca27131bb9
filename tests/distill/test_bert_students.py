"""Taught students: terms and weights by value, and a teacher that stays as it was."""

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, normalize

from pmd.distill.bert_students import BasicKd, MiniLm, PatientKd, RelationalKd
from pmd.losses.relations import agreement, angles, distances
from pmd.settings.glue import GlueDistillConfig

from ..tiny_glue import tiny_batch, tiny_classifier

DISTILL = GlueDistillConfig(alpha=0.3, temperature=2.0, layers=0.7, relations=0.5, distance=2.0, angle=3.0)


def pair(width: int = 16, labels: int = 3, **settings):
    teacher = tiny_classifier(seed=1, num_labels=labels).crop(32)
    student = tiny_classifier(seed=2, num_labels=labels, **settings).crop(width).eval()
    return student, teacher


STUDENTS = {"pkd": PatientKd, "minilm": MiniLm, "rkd": RelationalKd}
METHODS = ["bkd", *STUDENTS]


def taught(method, student, teacher, batch):
    """The objective; of basic distillation with the teacher's logits at hand, and nonsense for other examples."""
    if method != "bkd":
        return STUDENTS[method](student, teacher, DISTILL)
    logits = torch.full((24, student.config.num_labels), 99.0)
    logits[batch.positions] = teacher.eval()(**batch.inputs).logits.detach()
    return BasicKd(student, logits, DISTILL)


@pytest.fixture
def batch(tmp_path):
    return tiny_batch(tmp_path, "mnli")


def hidden(model, batch):
    output = model(**batch.inputs, output_hidden_states=True)
    return output.hidden_states, output.logits


@pytest.mark.parametrize("method", METHODS)
def test_terms_and_weights(method, batch):
    student, teacher = pair()
    before = [parameter.clone() for parameter in teacher.parameters()]
    objective = taught(method, student, teacher, batch)
    terms = objective(batch)
    (ours, mine), (theirs, other) = hidden(student, batch), hidden(teacher, batch)
    expected = {"hard": cross_entropy(mine, batch.labels)}
    if method in ("bkd", "pkd"):
        soft = kl_div((mine / 2).log_softmax(-1), (other / 2).softmax(-1), reduction="batchmean")
        expected["logits"], weights = 4 * soft, {"hard": 0.7, "logits": 0.3}
    if method == "pkd":  # of two layers the first is in the middle
        apart = normalize(objective.project(ours[1][:, 0]), dim=-1) - normalize(theirs[1][:, 0], dim=-1)
        expected["layers"], weights["layers"] = apart.square().sum(-1).mean(), 0.7
    if method == "minilm":
        expected |= dict(zip(("attention", "values"), slow_minilm(student, teacher, batch)))
        weights = {"hard": 1.0, "attention": 0.5, "values": 0.5}
    if method == "rkd":
        first, second = ours[-1][:, 0], theirs[-1][:, 0]
        expected["distance"] = agreement(distances(first), distances(second))
        expected["angle"], weights = (
            agreement(angles(first), angles(second)),
            {"hard": 1.0, "distance": 2.0, "angle": 3.0},
        )
    assert {name: float(term.detach()) for name, term in terms.items()} == pytest.approx(
        {name: float(term.detach()) for name, term in expected.items()}, rel=1e-4
    )
    assert objective.weights == weights
    objective.train()
    objective.total(objective(batch)).backward()
    assert not teacher.training and all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.parameters()))
    assert not any("teacher" in name for name in objective.state_dict())


def slow_minilm(student, teacher, batch):
    """From the attention of `transformers` itself where it is the student's; the teacher's 4 heads are taken as 2."""
    mask = batch.texts.attention_mask.bool()
    found = []
    for model in (student, teacher):
        below = model(**batch.inputs, output_hidden_states=True).hidden_states[-2]
        layer = model.bert.encoder.layer[-1].attention.self
        size = model.config.hidden_size // 2
        relations = []
        for left, right in ((layer.query, layer.key), (layer.value, layer.value)):
            heads = [slice(0, size), slice(size, 2 * size)]
            scores = torch.stack(
                [left(below)[..., head] @ right(below)[..., head].transpose(1, 2) / size**0.5 for head in heads], 1
            )
            relations.append(scores.masked_fill(~mask[:, None, None], float("-inf")).softmax(-1))
        found.append(relations)
    for own, theirs in zip(*found):
        ratio = torch.where(theirs > 0, (theirs / own).log(), 0.0)
        each = (theirs * ratio).sum(-1).transpose(1, 2)[mask]  # (real tokens, heads)
        yield each.mean()


def test_attention_relations_are_the_attention_of_transformers(batch):
    student, teacher = pair(width=32)
    teacher.set_attn_implementation("eager")
    output = teacher(**batch.inputs, output_hidden_states=True, output_attentions=True)
    objective = MiniLm(student, teacher, DISTILL)
    relations, _ = objective.relations(teacher, output, batch.texts.attention_mask)
    torch.testing.assert_close(relations.exp(), output.attentions[-1], atol=1e-5, rtol=1e-4)


def test_a_regression_is_taught_by_squared_error(tmp_path):
    batch = tiny_batch(tmp_path, "stsb")
    student, teacher = pair(labels=1)
    for method in METHODS:
        terms = taught(method, student, teacher, batch)(batch)
        mine, other = (model(**batch.inputs).logits for model in (student, teacher))
        assert float(terms["hard"]) == pytest.approx(float((mine[:, 0] - batch.labels).square().mean()), rel=1e-5)
        if "logits" in terms:
            assert float(terms["logits"]) == pytest.approx(float((mine - other).square().mean()), rel=1e-5)


def test_a_student_of_one_layer_has_none_in_the_middle(batch):
    student, teacher = pair(num_hidden_layers=1)
    objective = PatientKd(student, teacher, DISTILL)
    assert "layers" not in objective(batch)
    assert not [*objective.project.parameters()]  # nothing would read them

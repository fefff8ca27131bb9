import copy
from dataclasses import replace

import pytest
import torch

from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.distill.text_supervised import Supervised
from pmd.settings.text import ContrastiveConfig, DistillConfig

from .. import slow
from ..tiny import TRAIN, supervised_arguments, tiny_batch, tiny_model, tiny_text

SAME = DistillConfig(alpha=0.3, beta=0.2, masked_view="same", score="mse")
APART = replace(SAME, masked_view="separate", masked_share=0.5)
VIEWS = pytest.mark.parametrize("distill", [SAME, APART], ids=["same", "separate"])
FORMS = pytest.mark.parametrize("form", ["token", "pooled"])
POSITIONS = [*range(0, len(TRAIN), 2)]


def objective(distill=SAME, rate: float = 0.3, student=None, teacher=None, **options) -> MaskedFeatureDistillation:
    text = tiny_text()
    return MaskedFeatureDistillation(
        *supervised_arguments(student or tiny_model(1, seed=1), ContrastiveConfig()),
        teacher=teacher or tiny_model(3, seed=2, init_temperature=0.2),
        distill=distill,
        mask_rate=rate,
        mask=text.mask,
        special=torch.tensor(text.special),
        **options,
    ).train()


def terms_of(objective, seed: int = 7, tokens: int = 60) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return objective(tiny_batch(POSITIONS, tokens))


def masked_of(objective, seed: int = 7):
    """The masked texts of `terms_of`: models without dropout draw nothing before."""
    torch.manual_seed(seed)
    return objective.mask_batch(tiny_batch(POSITIONS), objective.share if objective.separate else 1.0)


def slow_logits(model, batch) -> torch.Tensor:
    """Every query and answer of the examples, read one by one."""
    queries, entities = slow.unpadded(batch.queries), slow.unpadded(batch.entities)
    asked = torch.stack([slow.vector_of(model, "query", *queries[i][:2]) for i in batch.query.tolist()])
    answers = torch.stack([slow.vector_of(model, "entity", *entities[i][:2]) for i in batch.entity.tolist()])
    scale = model.inverse_temperature
    return torch.stack([torch.stack([(a * b).sum() * scale for b in answers]) for a in asked])


def slow_features(model, batch, masks) -> dict[str, list[list[torch.Tensor]]]:
    """Hidden states at the masked positions, text by text."""
    found = []
    for role, chunks, where in (("query", batch.queries, masks[0]), ("entity", batch.entities, masks[1])):
        for ids, types, at in slow.unpadded(chunks, where):
            if at:
                found.append([slow.hidden_of(model, role, ids, types)[i] for i in at])
    return found


@VIEWS
@torch.no_grad()
def test_scores_and_labels_speak_of_the_texts_that_were_read(distill):
    objective_ = objective(distill)
    terms = terms_of(objective_)
    read = masked_of(objective_)[0] if distill is SAME else tiny_batch(POSITIONS)
    difference = slow_logits(objective_.student, read) - slow_logits(objective_.teacher.model, read)
    assert terms["score"].item() == pytest.approx(difference.square().mean().item(), rel=1e-4)
    labels = Supervised(*supervised_arguments(objective_.student, ContrastiveConfig()))
    assert terms["ce"].item() == pytest.approx(labels(read)["ce"].item(), rel=1e-5)


@FORMS
@VIEWS
@torch.no_grad()
def test_features_are_compared_at_the_masks_and_only_there(distill, form):
    objective_ = objective(replace(distill, feature=form))
    found = terms_of(objective_)["feature"].item()
    batch, masks = masked_of(objective_)
    ours, theirs = (slow_features(model, batch, masks) for model in (objective_.student, objective_.teacher.model))
    if form == "pooled":
        ours, theirs = ([[slow.mean_unit(text)] for text in side] for side in (ours, theirs))
    errors = [(a - b).square().mean().item() for mine, other in zip(ours, theirs) for a, b in zip(mine, other)]
    assert len(errors) > 8
    assert found == pytest.approx(sum(errors) / len(errors), rel=1e-4)


@FORMS
@VIEWS
@torch.no_grad()
def test_sides_are_the_mean_of_the_queries_and_that_of_the_entities(distill, form):
    objective_ = objective(replace(distill, feature=form, feature_mean="sides"))
    found = terms_of(objective_)["feature"].item()
    batch, masks = masked_of(objective_)
    nothing = [torch.zeros_like(mask) for mask in masks[0]], [torch.zeros_like(mask) for mask in masks[1]]
    expected = 0.0
    for side in ((masks[0], nothing[1]), (nothing[0], masks[1])):
        models = objective_.student, objective_.teacher.model
        ours, theirs = (slow_features(model, batch, side) for model in models)
        if form == "pooled":
            ours, theirs = ([[slow.mean_unit(text)] for text in texts] for texts in (ours, theirs))
        errors = [(a - b).square().mean().item() for mine, other in zip(ours, theirs) for a, b in zip(mine, other)]
        assert len(errors) > 3
        expected += sum(errors) / len(errors)
    assert found == pytest.approx(expected, rel=1e-4)


@FORMS
@pytest.mark.parametrize("width", [32, 16])
@torch.no_grad()
def test_a_sum_over_the_width_is_as_many_means_as_the_teacher_is_wide(form, width):
    """Of a narrower student too: it is compared in the teacher's width."""
    student = tiny_model(1, width, seed=1)
    mean, total = (
        objective(replace(APART, feature=form, feature_norm=norm), student=student) for norm in ("mean", "sum")
    )
    total.project.load_state_dict(mean.project.state_dict())
    expected = terms_of(mean)
    found = terms_of(total)
    assert found.pop("feature").item() == pytest.approx(32 * expected.pop("feature").item(), rel=1e-5)
    assert found == expected


def test_labels_may_have_a_weight_of_their_own():
    distill = DistillConfig(alpha=0.5, beta=40.0, label_weight=0.4)
    assert objective(distill).weights == {"ce": 0.4, "score": 0.5, "feature": 40.0}
    assert objective(replace(distill, label_weight=0.0)).weights["ce"] == 0.0


@VIEWS
def test_masks_replace_tokens_and_nothing_else(distill):
    objective_, text, plain = objective(distill), tiny_text(), tiny_batch(POSITIONS)
    batch, masks = masked_of(objective_)
    for before, after, where in ((plain.queries, batch.queries, masks[0]), (plain.entities, batch.entities, masks[1])):
        originals = {}
        for chunk in before:
            for row, ids, types in zip(chunk.rows.tolist(), chunk.input_ids.tolist(), chunk.token_type_ids.tolist()):
                originals[row] = ids, types
        assert len(before) == len(after) == len(where)
        for chunk, mask in zip(after, where):
            for place, row in enumerate(chunk.rows.tolist()):
                ids, types = originals[row]
                expected = [text.mask if hit else i for i, hit in zip(ids, mask[place].tolist())]
                assert chunk.input_ids[place].tolist() == expected
                assert chunk.token_type_ids[place].tolist() == types
        assert any(mask.any() for mask in where)


def test_a_separate_reading_takes_its_share():
    batch = tiny_batch(POSITIONS)
    masked, _ = masked_of(objective(APART))
    for before, after in zip(batch.queries, masked.queries):
        assert len(after.rows) == max(1, round(len(before.rows) / 2))
        assert set(after.rows.tolist()) <= set(before.rows.tolist())
        assert len(set(after.rows.tolist())) == len(after.rows)


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.1), (0.5, 0.0), (0.0, 0.45), (0.3, 0.2)])
def test_the_weights_are_those_of_equation_6(alpha, beta):
    distill = DistillConfig(alpha=alpha, beta=beta)
    objective_ = objective(distill)
    expected = {"ce": 1 - alpha - beta} | ({"score": alpha} if alpha else {}) | ({"feature": beta} if beta else {})
    assert objective_.weights == pytest.approx(expected)
    assert sum(objective_.weights.values()) == pytest.approx(1)
    terms = terms_of(objective_)
    assert terms.keys() == expected.keys()
    total = sum(expected[name] * terms[name].item() for name in expected)
    assert objective_.total(terms).item() == pytest.approx(total, rel=1e-6)
    without = objective(replace(distill, beta=0.0)).weights
    assert without == pytest.approx({"ce": 1 - alpha} | ({"score": alpha} if alpha else {}))


@VIEWS
@torch.no_grad()
def test_without_a_mask_rate_or_features_nothing_is_masked(distill, monkeypatch):
    monkeypatch.setattr("pmd.distill.text_pmd.mask_positions", None)
    plain, none = objective(distill, rate=0.0), objective(replace(distill, beta=0.0))
    for objective_ in (plain, none):
        terms = terms_of(objective_)
        assert [*terms] == ["ce", "score"] == [*objective_.weights]
    labels = Supervised(*supervised_arguments(plain.student, ContrastiveConfig()))
    assert terms["ce"].item() == pytest.approx(labels(tiny_batch(POSITIONS))["ce"].item(), rel=1e-6)
    assert none.weights == pytest.approx({"ce": 0.7, "score": 0.3})


@VIEWS
@FORMS
def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it(distill, form):
    student = tiny_model(2, init_temperature=0.2)
    objective_ = objective(replace(distill, feature=form), student=student, teacher=copy.deepcopy(student))
    terms = terms_of(objective_)
    assert terms["score"].item() == 0 and terms["feature"].item() == 0
    assert terms["ce"].item() > 0


@VIEWS
def test_the_teacher_is_frozen_and_no_part_of_the_objective(distill):
    teacher = tiny_model(3, seed=2, dropout=0.5).train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    objective_ = objective(distill, teacher=teacher).train()
    assert not objective_.teacher.model.training and objective_.student.training
    objective_.total(terms_of(objective_)).backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    inside = {id(p) for p in objective_.parameters()}
    assert not any(id(p) in inside for p in teacher.parameters())
    names = {f"student.{name}" for name in objective_.student.state_dict()}
    assert objective_.state_dict().keys() == names


@VIEWS
def test_every_term_reaches_the_student(distill):
    for name in ("ce", "score", "feature"):
        objective_ = objective(distill)
        terms_of(objective_)[name].backward()
        for role in ("query", "entity"):
            assert objective_.student.encoder(role).embeddings.word_embeddings.weight.grad.any(), name


@FORMS
def test_widths_that_differ_get_a_projection(form):
    objective_ = objective(replace(SAME, feature=form), student=tiny_model(1, 16, seed=1))
    assert objective_.project.weight.shape == (32, 16)
    terms = terms_of(objective_)
    terms["feature"].backward()
    assert objective_.project.weight.grad.any()
    assert "project.weight" in objective_.state_dict()
    assert not any("project" in name for name in objective_.student.state_dict())
    assert not [*objective().project.parameters()]
    with torch.no_grad():
        batch, masks = masked_of(objective_)
        ours = [
            [objective_.project.weight @ state for state in text]
            for text in slow_features(objective_.student, batch, masks)
        ]
        theirs = slow_features(objective_.teacher.model, batch, masks)
        if form == "pooled":
            ours, theirs = ([[slow.mean_unit(text)] for text in side] for side in (ours, theirs))
        errors = [(a - b).square().mean().item() for mine, other in zip(ours, theirs) for a, b in zip(mine, other)]
    assert terms["feature"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)


@FORMS
def test_a_batch_without_masks_costs_nothing(form):
    objective_ = objective(replace(SAME, feature=form), rate=0.001)  # no text is long enough for one mask
    terms = terms_of(objective_)
    assert terms["feature"].item() == 0
    objective_.total(terms).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective_.parameters())


@VIEWS
def test_recomputing_gives_the_same_gradients(distill):
    gradients = []
    for recompute in (False, True):
        objective_ = objective(distill, student=tiny_model(2, seed=1, dropout=0.2), recompute=recompute)
        objective_.total(terms_of(objective_)).backward()
        gradients.append([p.grad for p in objective_.parameters()])
    for first, second in zip(*gradients):
        torch.testing.assert_close(first, second, atol=1e-7, rtol=1e-6)


@torch.no_grad()
def test_softened_scores_are_compared_in_both_directions():
    soft = objective(replace(SAME, score="kl", temperature=3.0), rate=0.0)
    batch = tiny_batch(POSITIONS)
    mine, other = slow_logits(soft.student, batch) / 3, slow_logits(soft.teacher.model, batch) / 3
    expected = 0.0
    for own, its in ((mine, other), (mine.T, other.T)):
        for row, target in zip(own, its):
            p, q = target.softmax(-1), row.softmax(-1)
            expected += float((p * (p / q).log()).sum()) * 9 / len(own)
    assert soft(batch)["score"].item() == pytest.approx(expected, rel=1e-4)


def test_a_projection_without_a_feature_term_is_not_trained():
    objective_ = objective(rate=0.0, student=tiny_model(1, 16, seed=1))
    objective_.total(terms_of(objective_)).backward()
    assert objective_.project.weight.shape == (32, 16)
    assert all(p.grad is not None for p in objective_.parameters() if p.requires_grad)

"""DualDE by value: the student's two terms, the released teacher's two, and who learns from which."""

from dataclasses import replace

import pytest
import torch

from pmd.distill.kge_dualde import DualDistillation
from pmd.distill.kge_supervised import KgeSupervised
from pmd.settings.kge import DualConfig, LossConfig

from . import slow_kge as slow
from .slow_kge import LOSSES, batch_of, build, rows_of

OPTIONS = pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES)
STAGES = pytest.mark.parametrize("release", [False, True], ids=["frozen", "released"])
DUAL = DualConfig(alpha=0.3, beta=0.9)


def teacher_options(options):
    """A margin and a scale of its own."""
    return replace(options, margin=options.margin + 0.5, scale=options.scale * 0.8)


def dual(graph, options, release, name="rotate", weights=DUAL):
    student, teacher = build(graph, name, dim=4, seed=1), build(graph, name, dim=16, seed=2)
    objective = DualDistillation(student, teacher, options, teacher_options(options), weights, release=release)
    return objective.train(), student, teacher


def has_gradient(model):
    return {p.grad is not None and bool(p.grad.any()) for p in model.parameters()}


@OPTIONS
@pytest.mark.parametrize(("name", "temperature"), [("transe", 1.0), ("complex", 1.0), ("rotate", 3.0)])
def test_the_four_terms_of_equation_11(options, name, temperature, random_graph):
    graph, weights = random_graph(2), replace(DUAL, temperature=temperature)
    batch = batch_of(graph, options)
    objective, student, teacher = dual(graph, options, True, name, weights)
    terms, theirs = objective(batch), teacher_options(options)
    ours, its = (rows_of(model, batch, graph, options) for model in (student, teacher))
    expected = {
        "soft": slow.soft(ours, its, options, theirs, temperature),
        "hard": slow.hard(ours, options),
        "teacher_soft": slow.soft(its, ours, theirs, options, temperature),
        "teacher_hard": slow.hard(its, theirs),
    }
    assert len({round(value, 3) for value in expected.values()}) >= 3
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(expected, rel=2e-4)
    total = 0.3 * expected["soft"] + 0.7 * expected["hard"]
    total += 0.9 * expected["teacher_soft"] + 0.1 * expected["teacher_hard"]
    assert objective.total(terms).item() == pytest.approx(total, rel=2e-4)


@OPTIONS
def test_a_frozen_teacher_leaves_the_two_terms_of_equation_5(options, random_graph):
    graph = random_graph(2)
    batch = batch_of(graph, options)
    objective, student, teacher = dual(graph, options, False)
    terms = objective(batch)
    ours, its = (rows_of(model, batch, graph, options) for model in (student, teacher))
    expected = {"soft": slow.soft(ours, its, options, teacher_options(options)), "hard": slow.hard(ours, options)}
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(expected, rel=2e-4)
    assert objective.total(terms).item() == pytest.approx(0.3 * expected["soft"] + 0.7 * expected["hard"], rel=2e-4)
    assert terms["hard"].item() == pytest.approx(KgeSupervised(student, options)(batch)["hard"].item(), rel=1e-6)
    released = dual(graph, options, True)[0](batch)  # the student's terms are the same in both stages
    assert {name: released[name].item() for name in terms} == pytest.approx({k: v.item() for k, v in terms.items()})


@OPTIONS
def test_soft_labels_teach_only_whom_they_are_given_to(options, random_graph):
    graph = random_graph(2)
    batch = batch_of(graph, options)
    for term in ("soft", "hard", "teacher_soft", "teacher_hard"):
        objective, student, teacher = dual(graph, options, True)
        objective(batch)[term].backward()
        learns, rests = (teacher, student) if term.startswith("teacher") else (student, teacher)
        assert has_gradient(learns) == {True} and has_gradient(rests) == {False}, term


@OPTIONS
def test_a_frozen_teacher_stays_as_it_is(options, random_graph):
    graph = random_graph(2)
    objective, student, teacher = dual(graph, options, False)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    objective.total(objective(batch_of(graph, options))).backward()
    assert has_gradient(student) == {True} and has_gradient(teacher) == {False}
    assert not any(p.requires_grad for p in teacher.parameters()) and not teacher.training
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert {id(p) for p in objective.parameters()} == {id(p) for p in student.parameters()}
    assert [*objective.state_dict()] == ["model.entity_rows.weight", "model.relation_rows.weight"]


def test_a_released_teacher_is_trained_and_saved(random_graph):
    objective, student, teacher = dual(random_graph(2), LOSSES["logistic"], True)
    both = {id(p) for model in (student, teacher) for p in model.parameters()}
    assert {id(p) for p in objective.parameters()} == both and teacher.training
    assert {name.split(".")[0] for name in objective.state_dict()} == {"model", "released"}


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.0, 1.0), (0.2, 0.7)])
def test_the_weights(alpha, beta, random_graph):
    graph, weights = random_graph(2), DualConfig(alpha, beta)
    frozen, released = (dual(graph, LOSSES["logistic"], release, weights=weights)[0] for release in (False, True))
    expected = {"soft": alpha, "hard": 1 - alpha, "n3": 0.0, "constraint": 0.0}
    assert frozen.weights == pytest.approx(expected)
    own = {"teacher_soft": beta, "teacher_hard": 1 - beta, "teacher_n3": 0.0, "teacher_constraint": 0.0}
    assert released.weights == pytest.approx(expected | own)


@STAGES
@pytest.mark.parametrize(
    ("name", "loss", "regulariser"),
    [
        ("complex", LossConfig("one_vs_all", margin=0.0, n3=0.2), "n3"),
        ("transh", LossConfig("margin", margin=1.0, negatives=4, constraint=0.2), "constraint"),
    ],
    ids=["n3", "constraint"],
)
def test_every_model_that_learns_is_regularised(name, loss, regulariser, release, random_graph):
    graph = random_graph(2)
    batch = batch_of(graph, loss)
    objective, student, teacher = dual(graph, loss, release, name)
    terms, models = objective(batch), {"": student} | ({"teacher_": teacher} if release else {})
    assert {n for n in terms if n.endswith(regulariser)} == {f"{prefix}{regulariser}" for prefix in models}
    for prefix, model in models.items():
        alone = KgeSupervised(model, loss)(batch)[regulariser].item()
        assert terms[f"{prefix}{regulariser}"].item() == pytest.approx(alone, rel=1e-6) and alone > 0
        assert objective.weights[f"{prefix}{regulariser}"] == 0.2


@STAGES
def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it(release, random_graph):
    graph = random_graph(2)
    for options in LOSSES.values():
        student, teacher = build(graph, "transe", seed=3), build(graph, "transe", seed=3)
        objective = DualDistillation(student, teacher, options, options, DUAL, release=release)
        terms = objective(batch_of(graph, options))
        softs = [terms[name] for name in terms if name.endswith("soft")]
        gradients = torch.autograd.grad(sum(softs), [*objective.parameters()], allow_unused=True)
        assert all(g.abs().max() < 1e-6 for g in gradients), options.name
        assert len(softs) == 1 + release and (options.name != "margin" or sum(softs).item() == 0)

"""The logged norms of gradients against a backward pass of each term by itself, for objectives of all families."""

import math

import pytest
import torch
from accelerate import Accelerator

from pmd.training.gradients import gradient_norms

from ..distill.test_bert_med import objective as bert_objective
from ..distill.test_text_pmd import APART, SAME, terms_of
from ..distill.test_text_pmd import objective as text_objective
from ..golden.kge_gradients import LOSSES, objective_of, share
from ..tiny import tiny_model
from ..tiny_glue import tiny_batch as glue_batch
from .test_loop import DATA, Batch, Regression, settings, train


def plain_norms(objective, compute_terms) -> dict[str, float]:
    """Every term computed anew, weighted, and passed backward alone."""
    norms = {}
    for name in [name for name in compute_terms() if name in objective.weights]:
        objective.zero_grad()
        term = objective.weights[name] * compute_terms()[name]
        if term.requires_grad:
            term.backward()
        gradients = [p.grad.to_dense() for p in objective.parameters() if p.grad is not None]
        norms[f"grad_{name}"] = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
    objective.zero_grad()
    return norms


def check(objective, compute_terms) -> dict[str, float]:
    """The norms are the plain ones, and leave no trace in the gradients of the step."""
    expected = plain_norms(objective, compute_terms)
    objective.total(compute_terms()).backward()
    undisturbed = [None if p.grad is None else p.grad.to_dense() for p in objective.parameters()]
    objective.zero_grad()
    terms, trained = compute_terms(), [p for p in objective.parameters() if p.requires_grad]
    norms = gradient_norms(objective.weights, terms, trained, Accelerator(cpu=True))
    assert norms == pytest.approx(expected, rel=1e-5)
    assert all(p.grad is None for p in trained)
    objective.total(terms).backward()
    for before, parameter in zip(undisturbed, objective.parameters()):
        assert before is None if parameter.grad is None else torch.equal(before, parameter.grad.to_dense())
    return norms


def test_norms_by_hand():
    x, y = torch.tensor(2.0, requires_grad=True), torch.tensor(5.0, requires_grad=True)
    terms = {"a": x**2, "b": 3 * y, "unweighted": x * y, "constant": torch.tensor(1.0)}
    weights = {"a": 1.0, "b": 0.5, "constant": 2.0, "absent": 1.0}
    norms = gradient_norms(weights, terms, [x, y], Accelerator(cpu=True))
    assert norms == {"grad_a": 4.0, "grad_b": 1.5, "grad_constant": 0.0}


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("distill", [SAME, APART], ids=["same", "separate"])
def test_texts(distill, recompute):
    student = tiny_model(2, 16, seed=1, dropout=0.2)
    objective = text_objective(distill, student=student, recompute=recompute)
    norms = check(objective, lambda: terms_of(objective))
    assert norms.keys() == {"grad_ce", "grad_score", "grad_feature"} and all(norms.values())


@pytest.mark.parametrize("kind", LOSSES)
def test_embeddings(kind):
    objective = objective_of(kind)
    batch = share(LOSSES[kind], weighted="confidence" in kind, process=0, processes=1)
    norms = check(objective, lambda: objective(batch))
    assert norms["grad_hard"] > 1e-3 and len(norms) >= (3 if kind == "med" else 1)


def test_croppable_berts(tmp_path):
    objective, batch = bert_objective(recipe="med"), glue_batch(tmp_path, "mnli")
    norms = check(objective, lambda: objective(batch))
    assert all(norms[name] > 0 for name in ("grad_hard", "grad_mutual"))


def test_training_logs_them_and_does_not_change(tmp_path):
    lines = {True: [], False: []}
    models = {}
    for logged, written in lines.items():
        options = settings(log_every=3, gradient_norms=logged)
        log = lambda written=written, **values: written.append(values)  # noqa: E731
        models[logged], _ = train(tmp_path / str(logged), settings=options, log=log, monitor=lambda: {"heat": 1.0})
    for name, value in models[False].state_dict().items():
        assert torch.equal(value, models[True].state_dict()[name]), name
    names = {"grad_error", "grad_size"}
    assert [line["step"] for line in lines[True]] == [3, 6, 9, 12, 15, 18, 20]
    for line, plain in zip(lines[True], lines[False]):
        assert line.keys() - plain.keys() == names and all(line[name] > 0 for name in names)
        assert all(line[name] == plain[name] for name in plain if name != "seconds")


def test_the_logged_norms_are_those_of_the_step_before_clipping(tmp_path):
    """The first step's, from the same numbers: dropout draws the same."""
    lines = []
    options = settings(epochs=1, batch_size=40, grad_clip=1e-3, gradient_norms=True)
    objective = Regression()
    first = {name: value.clone() for name, value in objective.state_dict().items()}
    batches = []
    train(
        tmp_path,
        objective=objective,
        settings=options,
        log=lambda **values: lines.append(values),
        collate=lambda positions: batches.append(Batch(DATA[positions])) or batches[-1],
    )
    again = Regression()
    again.load_state_dict(first)

    def compute_terms():
        torch.manual_seed(7)
        return again.train()(batches[0])

    expected = plain_norms(again, compute_terms)
    assert {name: lines[0][name] for name in expected} == pytest.approx(expected, rel=1e-5)

import pytest
import torch
from scipy.special import rel_entr, softmax

from pmd.distill.text_baselines import LogitDistillation, PatientDistillation
from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.distill.text_supervised import Supervised
from pmd.settings.text import ContrastiveConfig, DistillConfig

from .. import slow
from ..tiny import TRAIN, supervised_arguments, tiny_batch, tiny_model

POSITIONS = [*range(0, len(TRAIN), 2)]
METHODS = pytest.mark.parametrize("method", ["lkd", "pkd"])


def objective(method: str, student=None, teacher=None) -> LogitDistillation:
    kind = {"lkd": LogitDistillation, "pkd": PatientDistillation}[method]
    return kind(
        *supervised_arguments(student or tiny_model(2, seed=1), ContrastiveConfig()),
        teacher=teacher or tiny_model(4, seed=2, init_temperature=0.2),
        distill=DistillConfig(alpha=0.4, beta=0.3, temperature=3.0),
    ).train()


def vectors(model, role: str, chunks, layer: int = -1) -> torch.Tensor:
    return torch.stack([slow.vector_of(model, role, ids, types, layer) for ids, types, _ in slow.unpadded(chunks)])


def slow_logits(model, batch):
    asked, answers = vectors(model, "query", batch.queries), vectors(model, "entity", batch.entities)
    return (asked[batch.query] @ answers[batch.entity].T * model.inverse_temperature).double().numpy()


@METHODS
@torch.no_grad()
def test_logits_are_softened_in_both_directions(method):
    objective_, batch = objective(method), tiny_batch(POSITIONS)
    mine, other = slow_logits(objective_.student, batch), slow_logits(objective_.teacher.model, batch)
    expected = 0.0
    for axis in (0, 1):
        p, q = (softmax(scores / 3, axis=axis) for scores in (other, mine))
        expected += rel_entr(p, q).sum() / len(p) * 9
    terms = objective_(batch)
    assert terms["logits"].item() == pytest.approx(expected, rel=1e-4)
    labels = Supervised(*supervised_arguments(objective_.student, ContrastiveConfig()))
    assert terms["ce"].item() == pytest.approx(labels(batch)["ce"].item(), rel=1e-6)


@torch.no_grad()
def test_middle_layers_follow_the_skipped_ones():
    objective_, batch = objective("pkd", tiny_model(3, seed=1), tiny_model(6, seed=2)), tiny_batch(POSITIONS)
    assert objective_.pairs == {1: 2, 2: 4}
    errors = []
    for role, chunks in (("query", batch.queries), ("entity", batch.entities)):
        for own, other in ((1, 2), (2, 4)):
            ours = vectors(objective_.student, role, chunks, own)
            theirs = vectors(objective_.teacher.model, role, chunks, other)
            errors += [float(((a - b) ** 2).sum()) for a, b in zip(ours, theirs)]
    assert objective_(batch)["layers"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_the_terms_and_their_weights():
    assert objective("lkd").weights == pytest.approx({"ce": 0.6, "logits": 0.4})
    assert objective("pkd").weights == pytest.approx({"ce": 0.6, "logits": 0.4, "layers": 0.3})
    assert objective("pkd", tiny_model(1)).weights == pytest.approx({"ce": 0.6, "logits": 0.4})  # no middle layer
    for method in ("lkd", "pkd"):
        objective_ = objective(method)
        terms = objective_(tiny_batch(POSITIONS))
        assert terms.keys() == objective_.weights.keys()
        total = sum(objective_.weights[name] * term.item() for name, term in terms.items())
        assert objective_.total(terms).item() == pytest.approx(total, rel=1e-6)


@METHODS
def test_gradients_reach_the_student_only(method):
    teacher = tiny_model(4, seed=2, dropout=0.5).train()
    objective_ = objective(method, teacher=teacher)
    objective_.total(objective_(tiny_batch(POSITIONS))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective_.student.parameters())
    assert all(p.grad is None for p in teacher.parameters()) and not teacher.training
    assert not any(name.startswith("teacher") for name in objective_.state_dict())


def test_widths_that_differ_get_a_projection_of_the_layers():
    objective_ = objective("pkd", tiny_model(2, 16, seed=1))
    objective_(tiny_batch(POSITIONS))["layers"].backward()
    assert objective_.project.weight.shape == (32, 16) and objective_.project.weight.grad.any()


@METHODS
def test_a_projection_that_no_term_reads_is_not_trained(method):
    """Processes that share gradients would wait for its gradient."""
    objective_ = objective(method, tiny_model(1, 16, seed=1))
    objective_.total(objective_(tiny_batch(POSITIONS))).backward()
    assert objective_.project.weight.shape == (32, 16) and "layers" not in objective_.weights
    assert all(p.grad is not None for p in objective_.parameters() if p.requires_grad)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it():
    objective_ = objective("pkd", tiny_model(2, seed=5), tiny_model(2, seed=5))
    terms = objective_(tiny_batch(POSITIONS))
    assert terms["logits"].item() == pytest.approx(0, abs=1e-5)
    assert objective_.pairs == {1: 1} and terms["layers"].item() == pytest.approx(0, abs=1e-6)


@torch.no_grad()
def test_without_masked_features_pmd_with_softened_scores_is_lkd():
    distill = DistillConfig("pmd_no_mgfd", alpha=0.4, beta=0.0, score="kl", temperature=3.0)
    student, teacher = tiny_model(2, seed=1), tiny_model(4, seed=2, init_temperature=0.2)
    plain = MaskedFeatureDistillation(
        *supervised_arguments(student, ContrastiveConfig()),
        teacher=teacher,
        distill=distill,
        mask_rate=0.0,
        mask=0,
        special=torch.tensor([0]),
    ).train()
    lkd, batch = objective("lkd"), tiny_batch(POSITIONS)
    assert plain.total(plain(batch)).item() == lkd.total(lkd(batch)).item() > 0


@torch.no_grad()
def test_with_one_layer_pkd_is_lkd():
    found = []
    for method in ("lkd", "pkd"):
        objective_ = objective(method, tiny_model(1, seed=1))
        found.append(objective_.total(objective_(tiny_batch(POSITIONS))).item())
    assert found[0] == found[1] > 0

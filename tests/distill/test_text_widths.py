"""One training, every width of a bi-encoder's vectors: losses width by width, against plain versions."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import kl_div, log_softmax

from pmd.distill.text_baselines import PatientDistillation
from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.distill.text_supervised import Supervised
from pmd.settings.text import ContrastiveConfig, DistillConfig

from .. import slow
from ..tiny import TRAIN, supervised_arguments, tiny_batch, tiny_model, tiny_text
from .test_text_supervised import BATCHES, KNOWN, examples, masked, vectors

WIDTHS = [4, 16, 32]
POSITIONS = BATCHES[0]


def cut(rows: torch.Tensor, width: int) -> torch.Tensor:
    """The leading numbers of rows (n, d), each row over its own length."""
    return torch.stack([row[:width] / row[:width].square().sum().sqrt() for row in rows])


def student(widths=WIDTHS, layers: int = 1, seed: int = 1):
    return tiny_model(layers, seed=seed, widths=widths, init_temperature=0.1)


def supervised(options=None, widths=WIDTHS, **settings) -> Supervised:
    return Supervised(*supervised_arguments(student(widths), options or ContrastiveConfig()), **settings).train()


def distilled(distill, ours=None, theirs=None, kind=MaskedFeatureDistillation):
    text, model = tiny_text(), ours or student()
    more = {"mask_rate": 0.3, "mask": text.mask, "special": torch.tensor(text.special)}
    return kind(
        *supervised_arguments(model, ContrastiveConfig()),
        teacher=theirs or tiny_model(3, seed=2, init_temperature=0.2, widths=WIDTHS),
        distill=distill,
        **(more if kind is MaskedFeatureDistillation else {}),
    ).train()


def plain_label_loss(objective, positions, width, earlier=None, earlier_entities=()) -> float:
    """SimKGC's loss of vectors that are cut one by one."""
    asked, options = examples(positions), objective.options
    query, tail, head = (cut(rows, width) for rows in vectors(objective.student, positions))
    false = masked(asked, [t for _, _, t in asked], options, diagonal=False)
    more = {}
    if options.self_negatives:
        more |= {"head": head, "head_is_answer": [(h, r, h) in KNOWN for h, r, _ in asked]}
    if earlier is not None:
        seen = masked(asked, earlier_entities, options)
        more |= {"earlier": cut(earlier, width), "earlier_is_answer": seen}
        more["earlier_weight"] = options.pre_batch_weight
    scale = objective.student.inverse_temperature.item()
    return slow.simkgc_loss(query, tail, scale, options.margin, false, **more).item()


def weighed(each):
    """Half of what the widest of three widths gives, and a quarter of what the others give."""
    narrow, middle, widest = each
    return 0.25 * narrow + 0.25 * middle + 0.5 * widest


@pytest.mark.parametrize("self_negatives", [True, False])
@pytest.mark.parametrize("positions", [*BATCHES, [*range(len(TRAIN))]])
@torch.no_grad()
def test_the_label_loss_is_that_of_the_widths(positions, self_negatives):
    objective = supervised(ContrastiveConfig(self_negatives=self_negatives, margin=0.05))
    each = [plain_label_loss(objective, positions, width) for width in WIDTHS]
    assert len({round(value, 3) for value in each}) == len(WIDTHS)
    assert objective(tiny_batch(positions))["ce"].item() == pytest.approx(weighed(each), rel=1e-5)


@torch.no_grad()
def test_earlier_entities_are_kept_whole_and_cut_when_used():
    objective = supervised(ContrastiveConfig(pre_batches=1, pre_batch_weight=0.3))
    objective(tiny_batch(BATCHES[0]))
    whole = vectors(objective.student, BATCHES[0])[1]
    torch.testing.assert_close(objective.earlier_vectors, whole, atol=1e-5, rtol=0)
    remembered = [tail for _, _, tail in examples(BATCHES[0])]
    each = [plain_label_loss(objective, BATCHES[1], width, whole, remembered) for width in WIDTHS]
    assert objective(tiny_batch(BATCHES[1]))["ce"].item() == pytest.approx(weighed(each), rel=1e-5)


def test_one_width_is_the_plain_objective_to_the_bit():
    """Losses and gradients of a model whose only width is its own."""
    found = []
    for widths in (None, [32]):
        objective = distilled(DistillConfig(alpha=0.3, beta=0.2), student(widths), tiny_model(3, seed=2))
        torch.manual_seed(7)
        terms = objective(tiny_batch(POSITIONS))
        objective.total(terms).backward()
        found.append([*terms.values(), *(p.grad for p in objective.student.parameters())])
    assert all(torch.equal(first, second) for first, second in zip(*found))


def plain_scores(model, width: int) -> torch.Tensor:
    query, tail, _ = vectors(model, POSITIONS)
    return cut(query, width) @ cut(tail, width).T * model.inverse_temperature


def plain_kl(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    rows = [
        kl_div(log_softmax(a / 2, -1), log_softmax(b / 2, -1), reduction="sum", log_target=True) * 4
        for mine, other in ((ours, theirs), (ours.T, theirs.T))
        for a, b in zip(mine, other)
    ]
    return sum(rows) / len(ours)


LOSSES = {"kl": plain_kl, "mse": lambda ours, theirs: (ours - theirs).square().mean()}


@pytest.mark.parametrize("teacher_widths", [WIDTHS, [16, 32], None])
@pytest.mark.parametrize("score", LOSSES)
@torch.no_grad()
def test_the_score_term_is_that_of_the_widths(score, teacher_widths):
    teacher = tiny_model(3, seed=2, init_temperature=0.2, widths=teacher_widths)
    objective = distilled(DistillConfig(score=score), theirs=teacher)
    other = plain_scores(teacher, 32)  # whatever widths the teacher has
    each = [LOSSES[score](plain_scores(objective.student, width), other).item() for width in WIDTHS]
    found = objective(tiny_batch(POSITIONS))
    assert found["score"].item() == pytest.approx(weighed(each), rel=1e-4)
    labels = [plain_label_loss(objective, POSITIONS, width) for width in WIDTHS]
    assert found["ce"].item() == pytest.approx(weighed(labels), rel=1e-5)


@torch.no_grad()
def test_softened_logits_too():
    objective = distilled(DistillConfig(), student(layers=2), kind=PatientDistillation)
    other = plain_scores(objective.teacher.model, 32)
    each = [plain_kl(plain_scores(objective.student, width), other) for width in WIDTHS]
    assert objective(tiny_batch(POSITIONS))["logits"].item() == pytest.approx(weighed(each).item(), rel=1e-4)


def test_a_cropped_teacher_teaches_by_what_it_has():
    """Its vectors are narrower, its hidden states are not."""
    teacher = tiny_model(3, seed=2, widths=WIDTHS)
    objective = distilled(DistillConfig(score="mse"), theirs=teacher.crop(16))
    assert isinstance(objective.project, torch.nn.Identity)
    terms = objective(tiny_batch(POSITIONS))
    with torch.no_grad():
        other = plain_scores(teacher, 16)
        each = [LOSSES["mse"](plain_scores(objective.student, width), other).item() for width in WIDTHS]
    assert terms["score"].item() == pytest.approx(weighed(each), rel=1e-4)
    assert terms["feature"] > 0


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_those_of_the_widths(recompute):
    """Each that of a cropped model, which knows its own width alone."""
    objective = supervised(recompute=recompute)
    objective(tiny_batch(POSITIONS))["ce"].backward()
    each = []
    for width in WIDTHS:
        cropped = objective.student.crop(width)
        cropped.config.widths = None
        cropped.zero_grad()
        alone = Supervised(*supervised_arguments(cropped, ContrastiveConfig())).train()
        alone(tiny_batch(POSITIONS))["ce"].backward()
        each.append([p.grad for p in alone.student.parameters()])
    for (name, parameter), *parts in zip(objective.student.named_parameters(), *each):
        torch.testing.assert_close(parameter.grad, weighed(parts), atol=2e-5, rtol=1e-3)
        assert parameter.grad.isfinite().all() and (parameter.grad.any() or name.endswith("key.bias")), name


def test_narrow_widths_change_what_is_learned():
    terms = {}
    for widths in (None, [16, 32], WIDTHS):
        objective = supervised(widths=widths)
        terms[str(widths)] = objective(tiny_batch(POSITIONS))["ce"].item()
    assert len(set(terms.values())) == 3
    weights = distilled(replace(DistillConfig(), alpha=0.3, beta=0.2)).weights
    assert weights == pytest.approx({"ce": 0.5, "score": 0.3, "feature": 0.2})

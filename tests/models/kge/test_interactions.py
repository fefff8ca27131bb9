"""Six interactions against PyKEEN's modules, against numbers by hand, and against loops over pairs and widths."""

import math
from dataclasses import replace

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.models.kge import kernels
from pmd.models.kge.interactions import Interaction, RotatE, TransE, make_interaction, running_sums
from pmd.settings.catalogue import INTERACTIONS

from ...says import says

CLASSES = {name: row.load_class() for name, row in INTERACTIONS.items()}
CASES = [(name, norm) for name, kind in CLASSES.items() for norm in kind.norms or (None,)]
EVERY = pytest.mark.parametrize(("name", "norm"), CASES)
DISTANCES = pytest.mark.parametrize(("name", "norm"), [case for case in CASES if case[1]])
DIM = 12
WIDTHS = pytest.mark.parametrize("widths", [[4, 8, 12], [1, 5, 12], [3, 9], [12]], ids=str)


def draw(interaction, heads, tails=None, seed=0, dtype=torch.float32):
    """So many heads, relations and tails."""
    generator = torch.Generator().manual_seed(seed)
    parts = (interaction.entity_parts, interaction.relation_parts, interaction.entity_parts)
    counts = (heads, heads, tails or heads)
    return [torch.randn(n, p, DIM, generator=generator, dtype=dtype) for n, p in zip(counts, parts)]


def pykeen_score(name, norm, h, r, t):
    """The same embeddings in PyKEEN's conventions."""
    modules, utils = pytest.importorskip("pykeen.nn.modules"), pytest.importorskip("pykeen.utils")
    options = {"l1": {"p": 1}, "l2": {"p": 2}, "squared": {"p": 2, "power_norm": True}}.get(norm, {})
    (head, tail), relation = (x[..., 0, :] for x in (h, t)), r.unbind(-2)
    if name == "transe":
        return modules.TransEInteraction(**options)(head, relation[0], tail)
    if name == "transh":  # PyKEEN takes the normal as it is
        unit = relation[0] / relation[0].norm(dim=-1, keepdim=True)
        return modules.TransHInteraction(**options)(head, (unit, relation[1]), tail)
    if name == "pairre":
        return modules.PairREInteraction(**options)(head, relation, tail)
    if name == "simple":  # PyKEEN's pairs are (forward, backward): a tail's forward part is its role as a tail
        return modules.SimplEInteraction()(h.unbind(-2), relation, t.unbind(-2)[::-1])
    h, t = (torch.complex(*x.unbind(-2)) for x in (h, t))
    if name == "complex":
        return modules.ComplExInteraction()(h, torch.complex(*relation), t)
    r = torch.polar(torch.ones_like(relation[0]), relation[0])
    if norm == "l2":
        return modules.RotatEInteraction(p=2)(h, r, t)
    return utils.negative_norm(h * r - t, **options)  # its module reads no p: the norm is always l2


@EVERY
@pytest.mark.parametrize("width", [1, 5, DIM])
def test_scores_are_pykeens(name, norm, width):
    interaction = make_interaction(name, norm)
    h, r, t = (x[..., :width] for x in draw(interaction, 40))
    expected = pykeen_score(name, norm, h, r, t)
    assert expected.std() > 0.1
    torch.testing.assert_close(interaction.score(h, r, t), expected, rtol=1e-5, atol=1e-5)


TRANSLATION = [[[1.0, 2.0]], [[0.0, 1.0]], [[3.0, 0.0]]]  # h + r − t = (−2, 3)
PLANE = [[[1.0, 2.0]], [[2.0, 0.0], [0.0, 1.0]], [[3.0, -2.0]]]  # (0, 2) + (0, 1) − (0, −2) = (0, 5)
ROTATION = [[[3.0, 0.0], [4.0, 0.0]], [[math.pi, 1.0]], [[0.0, 12.0], [0.0, 0.0]]]  # (−3 − 4i, 0) − (0, 12)
PAIR = [[[1.0, 2.0]], [[2.0, 1.0], [1.0, 3.0]], [[5.0, 2.0]]]  # (2, 2) − (5, 6) = (−3, −4)


@pytest.mark.parametrize(
    ("name", "norm", "triple", "expected"),
    [
        ("transe", None, TRANSLATION, -5.0),
        ("transe", "l2", TRANSLATION, -math.sqrt(13)),
        ("transe", "squared", TRANSLATION, -13.0),
        ("transh", None, PLANE, -5.0),
        ("transh", "squared", PLANE, -25.0),
        ("complex", None, [[[1.0], [2.0]], [[3.0], [1.0]], [[2.0], [-1.0]]], -5.0),  # (1 + 7i)(2 + i)
        ("rotate", None, ROTATION, -13.0),
        ("rotate", "l1", ROTATION, -17.0),
        ("rotate", "squared", ROTATION, -169.0),
        ("simple", None, [[[2.0], [3.0]], [[5.0], [7.0]], [[11.0], [13.0]]], 180.5),  # (2·5·13 + 11·7·3) / 2
        ("pairre", None, PAIR, -7.0),
        ("pairre", "l2", PAIR, -5.0),
    ],
)
def test_by_hand(name, norm, triple, expected):
    score = make_interaction(name, norm).score(*(torch.tensor(x) for x in triple))
    assert score.item() == pytest.approx(expected, abs=1e-5)


@EVERY
@pytest.mark.parametrize("target", ["head", "tail"])
@pytest.mark.parametrize("block", [2**22, 6 * DIM], ids=["whole", "blocks"])
def test_all_pairs_equal_a_double_loop_of_scores(name, norm, target, block, monkeypatch):
    monkeypatch.setattr(kernels, "CPU_BLOCK", block)  # three candidates of a query at a time, and the two that are left
    interaction = make_interaction(name, norm)
    known, r, others = draw(interaction, 5, 8)
    slow = torch.empty(5, 8)
    for i in range(5):
        for j in range(8):
            h, t = (known[i], others[j]) if target == "tail" else (others[j], known[i])
            slow[i, j] = interaction.score(h, r[i], t)
    query = interaction.query(known, r, target)
    seen = [interaction.candidate(others, r[i], target) for i in range(5)]
    one_by_one = [interaction.pairwise(query[i : i + 1], seen[i])[0] for i in range(5)]
    torch.testing.assert_close(torch.stack(one_by_one), slow, rtol=1e-5, atol=1e-5)
    batched = interaction.pairwise(query.unsqueeze(1), torch.stack([x.expand_as(others) for x in seen]))
    torch.testing.assert_close(batched.squeeze(1), slow, rtol=1e-5, atol=1e-5)
    if interaction.relation_free:
        torch.testing.assert_close(interaction.pairwise(query, others), slow, rtol=1e-5, atol=1e-5)


@EVERY
@WIDTHS
def test_running_sums_equal_a_loop_over_widths(name, norm, widths):
    interaction = make_interaction(name, norm)
    h, r, t = draw(interaction, 20, seed=1)
    slow = [interaction.score(h[..., :w], r[..., :w], t[..., :w]) for w in widths]
    torch.testing.assert_close(
        interaction.score_widths(h, r, t, widths), torch.stack(slow, dim=-1), rtol=1e-5, atol=1e-5
    )


@WIDTHS
def test_sums_of_the_first_terms(widths):
    terms = torch.randn(3, 2, DIM, dtype=torch.float64)
    found = running_sums(terms, widths)
    for i, row in enumerate(terms):
        for j, line in enumerate(row.tolist()):
            assert found[i, j].tolist() == pytest.approx([math.fsum(line[:w]) for w in widths], abs=1e-12)


@EVERY
@WIDTHS
def test_gradients_of_all_widths_are_the_sum_of_theirs(name, norm, widths):
    interaction = make_interaction(name, norm)
    leaves = [x.requires_grad_() for x in draw(interaction, 6, seed=2, dtype=torch.float64)]
    weight = torch.randn(6, len(widths), dtype=torch.float64)
    found = torch.autograd.grad((interaction.score_widths(*leaves, widths) * weight).sum(), leaves)
    expected = [torch.zeros_like(x) for x in leaves]
    for column, width in enumerate(widths):
        score = interaction.score(*(x[..., :width] for x in leaves))
        for total, part in zip(expected, torch.autograd.grad((score * weight[:, column]).sum(), leaves)):
            total += part
    for one, other in zip(found, expected):
        assert other.abs().max() > 1e-3
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def exact_triple(name):
    """h, r and t at distance 0, to the last bit."""
    interaction = make_interaction(name)
    h, r = ((x * 8).round() / 8 for x in draw(interaction, 3, seed=3)[:2])  # so that no sum is rounded
    t = h.clone()
    if name == "transe":
        t = h + r
    elif name == "transh":
        r[:, 1] = 0
    else:  # no rotation, or no scaling
        r.fill_(0.0 if name == "rotate" else 1.0)
    return [x.requires_grad_() for x in (h, r, t)]


@DISTANCES
def test_an_exact_fit_has_a_score_and_a_gradient_of_zero(name, norm):
    interaction, (h, r, t) = make_interaction(name, norm), exact_triple(name)
    seen, before = interaction.candidate(t, r, "tail"), interaction.candidate(h, r, "head")
    for scores in (
        interaction.score(h, r, t),
        interaction.score_widths(h, r, t, [4, 8, 12]),
        interaction.pairwise(interaction.tail(h, r).unsqueeze(1), seen.unsqueeze(1)),
        interaction.pairwise(interaction.head(t, r).unsqueeze(1), before.unsqueeze(1)),
    ):
        assert scores.abs().max() < 1e-6
        for gradient in torch.autograd.grad(scores.sum(), (h, r, t), retain_graph=True, materialize_grads=True):
            assert gradient.abs().max() == 0  # nor NaN, which equals nothing


@EVERY
def test_a_query_for_the_head_scores_as_one_for_the_tail(name, norm):
    interaction = make_interaction(name, norm)
    h, r, t = draw(interaction, 20, seed=4)
    seen = interaction.candidate(h, r, "head")
    score = interaction.reduce(interaction.terms(interaction.head(t, r), seen).sum(-1))
    torch.testing.assert_close(score, interaction.score(h, r, t), rtol=1e-5, atol=1e-5)


def test_names_and_norms():
    assert [*CLASSES] == ["transe", "transh", "complex", "rotate", "simple", "pairre"]
    assert type(make_interaction("RotatE", "l1")) is CLASSES["rotate"]
    usual = {name: make_interaction(name).norm for name in CLASSES}
    assert usual == {"transe": "l1", "transh": "l2", "complex": None, "rotate": "l2", "simple": None, "pairre": "l1"}


@pytest.mark.parametrize(
    ("name", "norm", "message"),
    [
        ("distmult", None, "'distmult'…transe, transh, complex, rotate, simple"),
        ("transe", "l3", "norm 'l3'…TransE…l1, l2, squared"),
        ("complex", "l2", "norm 'l2'…ComplEx"),
        ("simple", "l1", "norm 'l1'…SimplE"),
    ],
)
def test_what_there_is_not_is_refused(name, norm, message):
    with pytest.raises(PmdError) as caught:
        make_interaction(name, norm)
    assert says(str(caught.value), message)


def test_a_class_without_both_queries_is_refused(monkeypatch):
    class Half(RotatE):
        head = Interaction.head

    monkeypatch.setattr("pmd.models.kge.interactions.Half", Half, raising=False)
    row = replace(INTERACTIONS["rotate"], implementation="pmd.models.kge.interactions:Half")
    monkeypatch.setitem(INTERACTIONS, "rotate", row)
    with pytest.raises(PmdError, match=r"Half of 'rotate' has no head;"):
        make_interaction("rotate")


def test_a_row_that_contradicts_its_class_is_refused(monkeypatch):
    monkeypatch.setitem(INTERACTIONS, "rotate", replace(INTERACTIONS["rotate"], product=True))
    with pytest.raises(PmdError, match=r"'rotate'.*correct the row"):
        make_interaction("rotate")


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        (
            "builtins:Rotate",
            "class 'builtins:Rotate' of 'rotate' cannot be loaded (module 'builtins'…give the row MODULE:CLASS",
        ),
        ("no_such_module:RotatE", "cannot be loaded (No module named 'no_such_module')…give the row MODULE:CLASS"),
        ("not a path", "cannot be loaded…give the row MODULE:CLASS"),
        ("builtins:dict", "'builtins:dict' of 'rotate' is no Interaction; derive the class from one"),
    ],
)
def test_a_row_of_a_wrong_class_is_refused(path, refusal, monkeypatch):
    monkeypatch.setitem(INTERACTIONS, "rotate", replace(INTERACTIONS["rotate"], implementation=path))
    with pytest.raises(PmdError) as refused:
        make_interaction("rotate")
    assert says(str(refused.value), refusal)


class OneWay(TransE):
    """Its relation scales a head, and `head` forgets that."""

    relation_parts = 2

    def tail(self, h, r):
        return h * r[..., 1:, :] + r[..., :1, :]

    def head(self, t, r):
        return t - r[..., :1, :]


class OnePart(OneWay):
    relation_parts = 1


class NothingGiven(TransE):
    def head(self, t, r):
        t - r


class Changing(TransE):
    """PairRE's kind, without the flag."""

    def tail(self, h, r):
        return h * r

    def head(self, t, r):
        return t * r

    def candidate(self, e, r, target):
        return e * r


class OddNorm(TransE):
    default_norm = "l3"


class NoTarget(TransE):
    def candidate(self, e, r):
        return e


class ByWidth(TransE):
    """A query that is scaled by its width has no running sums."""

    def tail(self, h, r):
        return (h + r) / h.shape[-1]

    def head(self, t, r):
        return (t - r) / t.shape[-1]

    def candidate(self, e, r, target):
        return e / e.shape[-1]


class OddSum(TransE):
    default_norm = "squared"
    term_kind = "moduli"


class OddPairs(TransE):
    def pairwise(self, query, candidates):
        return 2 * super().pairwise(query, candidates)


class Failing(TransE):
    def tail(self, h, r):
        return h @ r


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        (
            OneWay,
            "OneWay: a triple has the score … by `tail` and … by `head`, each beside `candidate`; they are two ways…",
        ),
        (NothingGiven, "NothingGiven.head: gives NoneType for entities of shape (4, 1, 8) and…"),
        (Changing, "Changing: `candidate` changes with the relation; say so by relation_free = False in the class"),
        (OddNorm, "OddNorm: default_norm 'l3' is none of l1, l2, squared"),
        (NoTarget, "NoTarget: fails for entities of shape…(TypeError: …"),
        (ByWidth, "ByWidth: `score_widths` gives a width other scores than embeddings cropped to it; …"),
        (OddSum, "OddSum: `compare_widths` gives other scores than `terms`; term_kind says which sum they are"),
        (OddPairs, "OddPairs: `pairwise` gives other scores than `terms` and `reduce`; all three must agree"),
        (
            OnePart,
            "OnePart.tail: gives (4, 0, 8) for entities of shape (4, 1, 8) and relations of shape (4, 1, 8); entity_parts…",
        ),
        (
            Failing,
            "Failing: fails for entities of shape (4, 1, 8) and relations of shape…; entity_parts and relation_parts…(RuntimeError: …",
        ),
    ],
)
def test_queries_of_a_wrong_shape_or_of_two_scores_are_refused(kind, refusal, monkeypatch):
    row = replace(INTERACTIONS["transe"], implementation=f"{__name__}:{kind.__name__}")
    monkeypatch.setattr(type(row), "load_class", lambda self: kind)
    monkeypatch.setitem(INTERACTIONS, "transe", row)
    with pytest.raises(PmdError) as refused:
        make_interaction("transe")
    assert says(str(refused.value), refusal) and "(PmdError" not in str(refused.value)

"""Interactions: what six embedding methods compute from the embeddings of a triple. Higher is more plausible.

Embeddings come as (…, parts, dim) and broadcast; parts are real and imaginary, head and tail role, or the
two vectors of a relation. A prefix of `dim` is a narrower model: nothing here depends on the width but sums
and norms over what is given.

Every interaction compares a *query* with a *candidate*. `tail(h, r)` is what the tail should be and
`head(t, r)` what the head should be; `measure` says how near the candidate comes, by a distance or by a dot
product. So one query meets many candidates without being computed again, and all candidates of a query
are one call of a tuned kernel (`pairwise`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pmd.core.errors import PmdError
from pmd.core.types import Target
from pmd.models.kge.kernels import euclidean, manhattan, moduli
from pmd.models.kge.prefixes import Terms, accumulated, block_sums, running_sums, sizes_of

Norm = Literal["l1", "l2", "squared"]


class Interaction:
    """The common part. Subclasses give `tail`, `head`, and `candidate` where it depends on the relation.

    Args:
        norm: of a distance: `l1`, `l2` or `squared` (the square of l2). None is the interaction's default.
    """

    entity_parts = 1
    relation_parts = 1
    norms: tuple[Norm, ...] = get_args(Norm)
    default_norm: Norm | None = "l2"
    relation_free = True
    """Whether a candidate is the same for every relation."""
    has_running_sums = True
    """Whether the terms of a prefix do not depend on its width."""
    complex_parts = False
    """Whether the two parts are real and imaginary."""
    relation_start: tuple[float, float] | None = None
    """Between which numbers relations start; None: as entities do."""

    def __init__(self, norm: Norm | None = None):
        if norm is not None and norm not in self.norms:
            known = f"it knows {', '.join(self.norms)}" if self.norms else "it is no distance: leave it out"
            raise PmdError(f"norm '{norm}' does not fit {type(self).__name__}; {known}")
        self.norm = norm or self.default_norm

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        """The query (h, r, ?): where the tail should be, (…, entity_parts, dim)."""
        raise NotImplementedError

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        """The query (?, r, t): where the head should be, (…, entity_parts, dim)."""
        raise NotImplementedError

    def candidate(self, e: Tensor, r: Tensor, target: Target) -> Tensor:
        """What an entity is compared as when it stands in the place of `target`."""
        return e

    def query(self, known: Tensor, r: Tensor, target: Target) -> Tensor:
        """`tail` or `head`: the query that leaves `target` open."""
        return self.tail(known, r) if target == "tail" else self.head(known, r)

    def score(self, h: Tensor, r: Tensor, t: Tensor) -> Tensor:
        """Scores (…) of triples."""
        return self.reduce(self.terms(self.tail(h, r), self.candidate(t, r, "tail")).sum(-1))

    def score_widths(self, h: Tensor, r: Tensor, t: Tensor, widths: Sequence[int]) -> Tensor:
        """Scores (…, n) of the sub-models of all widths, from one pass: running sums of the same terms."""
        return self.reduce(running_sums(self.terms(self.tail(h, r), self.candidate(t, r, "tail")), widths))

    def compare_widths(
        self, known: Tensor, r: Tensor, candidates: Tensor, target: Target, widths: Sequence[int], scale: float = 1.0
    ) -> Tensor:
        """Scores of all widths, (n, g, m, k), of candidates in the place of `target`.

        known (g, m, parts, dim) and r (g, m, parts, dim) are those of m queries in a group, candidates (g, k, parts,
        dim) theirs. `scale` is that of `accumulated`: how much a sub-model trains dimensions of narrower ones.
        """
        query, sizes = self.query(known, r, target), sizes_of(widths)
        if self.relation_free:
            return self.reduce(accumulated(block_sums(self.sum_of, query, candidates, sizes), 0, scale))
        # Every query sees the candidates in the light of its own relation: m groups of one query.
        seen = self.candidate(candidates.unsqueeze(1), r.unsqueeze(2), target)  # (g, m, k, parts, dim)
        sums = block_sums(self.sum_of, query.flatten(0, 1).unsqueeze(1), seen.flatten(0, 1), sizes)
        return self.reduce(accumulated(sums.reshape(-1, *seen.shape[:3]), 0, scale))

    @property
    def sum_of(self) -> Terms:
        """What the dimensions add, for the kernel that sums it."""
        return "moduli" if self.norm == "l1" else "squared"

    def terms(self, query: Tensor, candidate: Tensor) -> Tensor:
        """What each dimension adds to the comparison: (…, parts, dim) twice -> (…, dim)."""
        difference = query - candidate
        if self.norm == "l1":  # of two parts: the modulus of a complex number
            return difference.abs().squeeze(-2) if difference.shape[-2] == 1 else modulus(difference)
        return difference.square().sum(-2)

    def reduce(self, total: Tensor) -> Tensor:
        """From the sum of terms to the score."""
        return -(root(total) if self.norm == "l2" else total)

    def pairwise(self, query: Tensor, candidates: Tensor) -> Tensor:
        """(…, m, parts, dim) queries, (…, n, parts, dim) candidates -> scores (…, m, n)."""
        if self.norm == "l1" and query.shape[-2] > 1:
            distance = moduli(query, candidates)
        else:
            kernel = manhattan if self.norm == "l1" else euclidean
            distance = kernel(query.flatten(-2), candidates.flatten(-2))
        if self.norm == "squared":
            return -distance.square()
        return -distance if distance.requires_grad else distance.neg_()  # ranking holds one table, not two


class TransE(Interaction):
    """−‖h + r − t‖ (Bordes et al., NIPS 2013)."""

    default_norm = "l1"

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        return h + r

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        return t - r


class TransH(Interaction):
    """−‖P h + d − P t‖ with P x = x − (w·x) w, w a unit normal (Wang et al., AAAI 2014).

    The relation's parts are w, normalised after the crop, and d. PyKEEN takes w as it is.
    """

    relation_parts = 2
    relation_free = False
    has_running_sums = False  # the projection depends on the width; `score_widths` takes it apart

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        w, d = split(r)
        return project(h, w) + d

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        w, d = split(r)
        return project(t, w) - d

    def candidate(self, e: Tensor, r: Tensor, target: Target) -> Tensor:
        return project(e, split(r)[0])

    def score_widths(self, h: Tensor, r: Tensor, t: Tensor, widths: Sequence[int]) -> Tensor:
        """With v = h − t + d and u = h − t: ‖v − c w‖² = v·v − 2c (w·v) + c² (w·w), c = (w·u) / (w·w).

        All four are running sums. With norm l1 there are none, and the widths are scored one by one.
        """
        if self.norm == "l1":
            return torch.stack([self.score(h[..., :n], r[..., :n], t[..., :n]) for n in widths], dim=-1)
        w, d = split(r)
        u = h - t
        v = u + d
        products = torch.cat(torch.broadcast_tensors(v * v, w * v, w * u, w * w), dim=-2)  # (…, 4, dim)
        vv, wv, wu, ww = running_sums(products, widths).unbind(-2)
        return self._without_normal(vv, wv, wu, ww)

    def _without_normal(self, vv: Tensor, wv: Tensor, wu: Tensor, ww: Tensor) -> Tensor:
        c = wu / ww.clamp(min=TINY)
        return self.reduce((vv - 2 * c * wv + c * c * ww).clamp(min=0))

    def compare_widths(
        self, known: Tensor, r: Tensor, candidates: Tensor, target: Target, widths: Sequence[int], scale: float = 1.0
    ) -> Tensor:
        """As `score_widths`, from two comparisons: of the translated query, and of the normal, with the candidates."""
        if self.norm == "l1":
            raise PmdError("TransH with norm l1 has no running sums; use norm l2 or squared")
        (w, d), sizes = split(r), sizes_of(widths)
        moved = known + d if target == "tail" else known - d  # of the head, both differences change their sign

        def row(x: Tensor) -> Tensor:
            """(g, m, 1, dim) -> (n, g, m, 1)"""
            return running_sums(x, widths, scale).movedim(-1, 0)

        vv = accumulated(block_sums("squared", moved, candidates, sizes), 0, scale)
        wt = accumulated(block_sums("product", w, candidates, sizes), 0, scale)
        return self._without_normal(vv, row(w * moved) - wt, row(w * known) - wt, row(w * w))


class ComplEx(Interaction):
    """Re⟨h, r, t̄⟩ (Trouillon et al., ICML 2016); parts are real and imaginary."""

    entity_parts = relation_parts = 2
    complex_parts = True
    norms = ()
    default_norm = None
    sum_of: Terms = "product"

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        return times(h, r)

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        return times(t, conjugate(r))

    def terms(self, query: Tensor, candidate: Tensor) -> Tensor:
        return (query * candidate).sum(-2)

    def reduce(self, total: Tensor) -> Tensor:
        return total

    def pairwise(self, query: Tensor, candidates: Tensor) -> Tensor:
        return query.flatten(-2) @ candidates.flatten(-2).transpose(-1, -2)


class SimplE(ComplEx):
    """½ (⟨h_head, r, t_tail⟩ + ⟨t_head, r_inverse, h_tail⟩) (Kazemi and Poole, NeurIPS 2018).

    Parts are the head and the tail role of an entity, a relation and its inverse.
    """

    complex_parts = False

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        return (h * r).flip(-2) / 2  # the head role of h meets the tail role of t, and the other way round

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        return (t * r.flip(-2)).flip(-2) / 2


class RotatE(Interaction):
    """−‖h ∘ r − t‖, r a rotation of the complex plane by a phase for each dimension (Sun et al., ICLR 2019).

    An entity's parts are real and imaginary; a relation is its phases, in radians. `l1` is the sum of the
    moduli, as in the authors' code; `l2` is PyKEEN's.
    """

    entity_parts = 2
    complex_parts = True
    relation_start = (-math.pi, math.pi)

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        return times(h, rotation(r))

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        return times(t, rotation(-r))  # a rotation keeps distances: |h ∘ r − t| = |h − t ∘ r̄|


class PairRE(Interaction):
    """−‖h ∘ r_head − t ∘ r_tail‖ (Chao et al., ACL 2021); the relation's parts are r_head and r_tail.

    The paper's unit entities are `unit_entities` of the model; here an entity is taken as it is.
    """

    relation_parts = 2
    relation_free = False
    default_norm = "l1"
    relation_start = (
        -0.5,
        0.5,
    )  # of both signs: where all are positive, relations that differ by a sign are not learned

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        return h * split(r)[0]

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        return t * split(r)[1]

    def candidate(self, e: Tensor, r: Tensor, target: Target) -> Tensor:
        return e * split(r)[1 if target == "tail" else 0]


INTERACTIONS: dict[str, type[Interaction]] = {
    kind.__name__.lower(): kind for kind in (TransE, TransH, ComplEx, RotatE, SimplE, PairRE)
}

TINY = 1e-24  # under a square root: far below what fp32 sums of squares can tell from zero


def make_interaction(name: str, norm: Norm | None = None) -> Interaction:
    """An interaction by name. PmdError if there is none, or if the norm does not fit it."""
    if name.lower() not in INTERACTIONS:
        raise PmdError(f"interaction '{name}' is unknown; there are {', '.join(INTERACTIONS)}")
    return INTERACTIONS[name.lower()](norm)


def root(total: Tensor) -> Tensor:
    """Square root with a gradient of 0 at 0, where a triple fits exactly."""
    return total.clamp(min=TINY).sqrt()


def modulus(z: Tensor) -> Tensor:
    """(…, 2, dim) -> (…, dim): the moduli of complex numbers."""
    real, imaginary = split(z)
    return root(real.square() + imaginary.square()).squeeze(-2)  # many times faster than a norm over two numbers


def split(r: Tensor) -> tuple[Tensor, Tensor]:
    """(…, 2, dim) -> twice (…, 1, dim)."""
    return r[..., :1, :], r[..., 1:, :]


def project(x: Tensor, w: Tensor) -> Tensor:
    """x without its component along w."""
    w = normalize(w, dim=-1)
    return x - (x * w).sum(-1, keepdim=True) * w


def times(x: Tensor, y: Tensor) -> Tensor:
    """The product of complex numbers, part by part."""
    (a, b), (c, d) = split(x), split(y)
    return torch.cat(torch.broadcast_tensors(a * c - b * d, a * d + b * c), dim=-2)


def conjugate(z: Tensor) -> Tensor:
    real, imaginary = split(z)
    return torch.cat([real, -imaginary], dim=-2)


def rotation(phase: Tensor) -> Tensor:
    """(…, 1, dim) radians -> (…, 2, dim) unit complex numbers."""
    return torch.cat([phase.cos(), phase.sin()], dim=-2)

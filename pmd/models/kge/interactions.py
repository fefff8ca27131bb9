"""Interactions: what six embedding methods compute from the embeddings of a triple. Higher is more plausible.

Embeddings come as (…, parts, dim) and broadcast; parts are real and imaginary, head and tail role, or the
two vectors of a relation. A prefix of `dim` is a narrower model: only sums and norms depend on the width, and
they are taken over what is given.

Every interaction compares a *query* with a *candidate*: `tail(h, r)` is what the tail should be, `head(t, r)` what
the head should be, and `candidate(e, r, target)` what an entity is compared as. A dimension adds a *term* (`terms`), and
`reduce` makes the score from the sum of the terms. So a query is computed once for many candidates, and all
candidates of a query are one call of a fast kernel (`pairwise`).

Example, TransE with norm l1: h = (1, 2), r = (0, 1) and t = (3, 0) give the query (1, 3), the terms |1 − 3| = 2 and
|3 − 0| = 3, and the score −5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.types import Target
from pmd.models.kge.interaction_checks import check_interaction
from pmd.models.kge.kernels import euclidean, manhattan, sum_of_moduli
from pmd.models.kge.parts import EPSILON, conjugate, modulus, project, root, rotation, split, times
from pmd.models.kge.prefixes import TermKind, accumulate, block_sizes, block_sums, running_sums
from pmd.settings.catalogue import INTERACTIONS, lookup

Norm = Literal["l1", "l2", "squared"]


class Interaction:
    """The common part. Subclasses define `tail`, `head`, and `candidate` where it depends on the relation.

    Args:
        norm: of a distance: `l1`, `l2` or `squared` (the square of l2). None is the interaction's default.

    Raises:
        PmdError: for a norm that does not fit the interaction.
    """

    entity_parts = 1
    relation_parts = 1
    norms: tuple[Norm, ...] = get_args(Norm)
    default_norm: Norm | None = "l2"
    relation_free = True
    """Whether an entity is compared as the same candidate for every relation."""
    has_running_sums = True
    """Whether the terms do not depend on the width, so that the scores of all prefixes are running sums."""
    complex_parts = False
    """Whether the two parts of an embedding are real and imaginary."""
    relation_is_plane = False
    """Whether the two parts of a relation are the normal of a plane and a translation in it."""
    relation_start: tuple[float, float] | None = None
    """Range that relations are drawn from at the start; None: that of the entities."""

    def __init__(self, norm: Norm | None = None):
        if norm is not None and norm not in self.norms:
            known = f"it knows {', '.join(self.norms)}" if self.norms else "it is not a distance: leave it out"
            raise PmdError(f"norm '{norm}' does not fit {type(self).__name__}; {known}")
        self.norm = norm or self.default_norm

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        """The query (h, r, ?): where the tail should be, (…, entity_parts, dim)."""
        raise NotImplementedError

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        """The query (?, r, t): where the head should be, (…, entity_parts, dim)."""
        raise NotImplementedError

    def candidate(self, e: Tensor, r: Tensor, target: Target) -> Tensor:
        """What entity `e` is compared as when it stands at `target`, (…, entity_parts, dim)."""
        return e

    def query(self, known: Tensor, r: Tensor, target: Target) -> Tensor:
        """The query that leaves `target` open: `tail` or `head` of the known entity and the relation."""
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
        """Scores of all widths, (n, g, m, k), of candidates that stand at `target`, in g groups of m queries.

        Args:
            known, r: (g, m, parts, dim), the known entities and relations of the queries.
            candidates: (g, k, parts, dim), those of all queries of a group.
            scale: that of `prefixes.accumulate`: how much a sub-model trains the dimensions of narrower ones.
        """
        query, sizes = self.query(known, r, target), block_sizes(widths)
        if self.relation_free:
            return self.reduce(accumulate(block_sums(self.term_kind, query, candidates, sizes), 0, scale))
        # Every relation changes the candidates in its own way: g · m groups of one query.
        changed = self.candidate(candidates.unsqueeze(1), r.unsqueeze(2), target)  # (g, m, k, parts, dim)
        sums = block_sums(self.term_kind, query.flatten(0, 1).unsqueeze(1), changed.flatten(0, 1), sizes)
        return self.reduce(accumulate(sums.reshape(-1, *changed.shape[:3]), 0, scale))

    @property
    def term_kind(self) -> TermKind:
        """What `terms` computes, for the kernels that sum it."""
        return "moduli" if self.norm == "l1" else "squared"

    def terms(self, query: Tensor, candidate: Tensor) -> Tensor:
        """What each dimension adds to the comparison: (…, parts, dim) twice -> (…, dim)."""
        difference = query - candidate
        if self.norm == "l1":  # of two parts: the modulus of a complex number
            return difference.abs().squeeze(-2) if difference.shape[-2] == 1 else modulus(difference)
        return difference.square().sum(-2)

    def reduce(self, total: Tensor) -> Tensor:
        """The score, from the sum of the terms."""
        return -(root(total) if self.norm == "l2" else total)

    def pairwise(self, query: Tensor, candidates: Tensor) -> Tensor:
        """(…, m, parts, dim) queries, (…, n, parts, dim) candidates -> scores (…, m, n)."""
        if self.norm == "l1" and query.shape[-2] > 1:
            distance = sum_of_moduli(query, candidates)
        else:
            kernel = manhattan if self.norm == "l1" else euclidean
            distance = kernel(query.flatten(-2), candidates.flatten(-2))
        if self.norm == "squared":
            return -distance.square()
        # In place where it can be: ranking then holds one table, not two.
        return -distance if distance.requires_grad else distance.neg_()


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
    relation_is_plane = True
    has_running_sums = False  # the projection depends on the width; `score_widths` writes it as four running sums

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

        All four products are running sums. With norm l1 there are none: widths are scored one after the other.
        """
        if self.norm == "l1":
            return torch.stack([self.score(h[..., :n], r[..., :n], t[..., :n]) for n in widths], dim=-1)
        w, d = split(r)
        u = h - t
        v = u + d
        products = torch.cat(torch.broadcast_tensors(v * v, w * v, w * u, w * w), dim=-2)  # (…, 4, dim)
        vv, wv, wu, ww = running_sums(products, widths).unbind(-2)
        return self._score_of_products(vv, wv, wu, ww)

    def _score_of_products(self, vv: Tensor, wv: Tensor, wu: Tensor, ww: Tensor) -> Tensor:
        c = wu / ww.clamp(min=EPSILON)
        return self.reduce((vv - 2 * c * wv + c * c * ww).clamp(min=0))

    def compare_widths(
        self, known: Tensor, r: Tensor, candidates: Tensor, target: Target, widths: Sequence[int], scale: float = 1.0
    ) -> Tensor:
        """As `score_widths`, from two comparisons with the candidates: of the translated query, and of the normal."""
        if self.norm == "l1":
            raise PmdError("TransH with norm l1 has no running sums; use norm l2 or squared")
        (w, d), sizes = split(r), block_sizes(widths)
        # With u = known − candidate and v = moved − candidate. For the head both have the opposite sign: nothing changes.
        moved = known + d if target == "tail" else known - d

        def of_queries(x: Tensor) -> Tensor:
            """Terms (g, m, 1, dim) -> running sums (n, g, m, 1)."""
            return running_sums(x, widths, scale).movedim(-1, 0)

        vv = accumulate(block_sums("squared", moved, candidates, sizes), 0, scale)
        wc = accumulate(block_sums("product", w, candidates, sizes), 0, scale)  # w · candidate
        return self._score_of_products(vv, of_queries(w * moved) - wc, of_queries(w * known) - wc, of_queries(w * w))


class Product(Interaction):
    """The common part of products: the score is the inner product of the query and the candidate."""

    norms = ()
    default_norm = None
    term_kind: TermKind = "product"

    def terms(self, query: Tensor, candidate: Tensor) -> Tensor:
        return (query * candidate).sum(-2)

    def reduce(self, total: Tensor) -> Tensor:
        return total

    def pairwise(self, query: Tensor, candidates: Tensor) -> Tensor:
        return query.flatten(-2) @ candidates.flatten(-2).transpose(-1, -2)


class ComplEx(Product):
    """Re⟨h, r, t̄⟩ (Trouillon et al., ICML 2016); parts are real and imaginary."""

    entity_parts = relation_parts = 2
    complex_parts = True

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        return times(h, r)

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        return times(t, conjugate(r))


class SimplE(Product):
    """½ (⟨h_head, r, t_tail⟩ + ⟨t_head, r_inverse, h_tail⟩) (Kazemi and Poole, NeurIPS 2018).

    An entity's parts are its head and its tail role, a relation's are itself and its inverse.
    """

    entity_parts = relation_parts = 2

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

    The paper scales entities to length 1: `unit_entities` of the model. Here an entity is taken as it is.
    """

    relation_parts = 2
    relation_free = False
    default_norm = "l1"
    # Of both signs: if all start positive, relations that differ by a sign are not learned.
    relation_start = (-0.5, 0.5)

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        return h * split(r)[0]

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        return t * split(r)[1]

    def candidate(self, e: Tensor, r: Tensor, target: Target) -> Tensor:
        return e * split(r)[1 if target == "tail" else 0]


def make_interaction(name: str, norm: Norm | None = None) -> Interaction:
    """An interaction by name. PmdError if there is none, if its row is not true of it, or if the norm does not fit it."""
    row = lookup(INTERACTIONS, name.lower(), "interaction")
    kind = row.load_class()
    if not (isinstance(kind, type) and issubclass(kind, Interaction)):
        raise PmdError(
            f"catalogue: '{row.implementation}' of '{row.name}' is no Interaction; derive the class from one"
        )
    missing = [part for part in ("tail", "head") if getattr(kind, part) is getattr(Interaction, part)]
    if missing:
        raise PmdError(
            f"catalogue: {kind.__name__} of '{row.name}' has no {' and no '.join(missing)}; define what the query is there"
        )
    interaction = kind(norm)
    if row.product != (interaction.norm is None):
        raise PmdError(f"catalogue: product={row.product} of '{row.name}' contradicts its class; correct the row")
    # Also where a model is made on the meta device, or under the caller's autocast.
    with torch.device("cpu"), torch.no_grad(), torch.autocast("cpu", enabled=False):
        check_interaction(interaction)
    return interaction

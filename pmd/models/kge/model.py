"""`KgeModel`: a table of embeddings and an interaction, croppable to any width.

Tables are (num, parts, dim); a sub-model of width w is `[..., :w]` of all of them. Scoring takes the width
as an argument (`width=40`), scores all widths in one pass (`score_widths`), and `crop(40)` is the
stand-alone model of that width; the three agree. The model is a `TripleScorer`: `pmd.rank` ranks it.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from pmd.core.errors import PmdError
from pmd.core.types import TARGETS, Target
from pmd.models.kge.interactions import Norm, make_interaction
from pmd.models.kge.kernels import rows
from pmd.models.kge.width_scores import Sweep
from pmd.settings.med import check_widths


class KgeModel(nn.Module, PyTorchModelHubMixin, library_name="pmd", tags=["knowledge-graph-completion"]):
    """An embedding model of a knowledge graph.

    Args:
        interaction: transe, transh, complex, rotate, simple or pairre.
        num_entities, num_relations: of the graph.
        dim: width: numbers in each part of an embedding.
        widths: the sub-models that `score_widths` scores, increasing, the last one `dim`; default `dim` alone.
        norm: `l1`, `l2` or `squared`, for a distance; default the interaction's own.
        reciprocal: every relation has a second embedding for its inverse, and (?, r, t) is asked as
            (t, inverse r, ?) (Lacroix et al., ICML 2018). `score` asks for the tail.
        unit_entities: entities are scaled to length 1 after the crop, as PairRE's authors do.
        init: entities start uniform in ±init; default so that their length is about 1, whatever `dim`.

    Raises:
        PmdError: for an unknown interaction or norm, or widths that do not increase up to `dim`.
    """

    def __init__(
        self,
        interaction: str,
        num_entities: int,
        num_relations: int,
        dim: int,
        widths: Sequence[int] | None = None,
        norm: Norm | None = None,
        reciprocal: bool = False,
        unit_entities: bool = False,
        init: float | None = None,
    ):
        super().__init__()
        self.name, self.interaction = interaction.lower(), make_interaction(interaction, norm)
        self.num_entities, self.num_relations, self.dim = num_entities, num_relations, dim
        if dim < 1:
            raise PmdError(f"dim must be at least 1, not {dim}")
        self.widths = tuple(widths) if widths else (dim,)
        if self.widths != (dim,):
            check_widths("widths", self.widths, dim, "dim")
        self.reciprocal, self.unit_entities = reciprocal, unit_entities
        parts, rows = self.interaction.entity_parts, num_relations * (2 if reciprocal else 1)
        # One row per entity, its parts one after the other, so that gathering a row is one read.
        self.entity_rows = nn.Embedding(num_entities, parts * dim)
        self.relation_rows = nn.Embedding(rows, self.interaction.relation_parts * dim)
        self._initialise(init or math.sqrt(3 / (parts * dim)))

    @property
    def entities(self) -> Tensor:
        """(num_entities, parts, dim), the parameters themselves."""
        return self.entity_rows.weight.unflatten(-1, (-1, self.dim))

    @property
    def relations(self) -> Tensor:
        """(num_relations, parts, dim), twice as many rows with reciprocal relations; phases in radians (RotatE)."""
        return self.relation_rows.weight.unflatten(-1, (-1, self.dim))

    @property
    def norm(self) -> Norm | None:
        """Of the distance; None for a product."""
        return self.interaction.norm

    @property
    def device(self) -> torch.device:
        return self.entity_rows.weight.device

    def sparse_gradients(self, sparse: bool = True) -> KgeModel:
        """Let the tables have gradients for the rows that a batch read only (for `SparseAdam`)."""
        self.entity_rows.sparse = self.relation_rows.sparse = sparse
        return self

    def score(self, triples: Tensor, width: int | None = None) -> Tensor:
        """Integer triples (b, 3) -> scores (b,); `width` for those of a sub-model."""
        h, r, t = self.embed(triples, width)
        return self.interaction.score(h, r, t)

    def score_widths(self, triples: Tensor) -> Tensor:
        """Integer triples (b, 3) -> (b, n): the scores of all sub-models in `widths`, in one pass."""
        if self.unit_entities:  # a length that depends on the prefix: no running sum of these terms
            return torch.stack([self.score(triples, width) for width in self.widths], dim=-1)
        h, r, t = self.embed(triples, self.widths[-1])
        return self.interaction.score_widths(h, r, t, self.widths)

    def score_against(self, triples: Tensor, target: Target, entities: Tensor, width: int | None = None) -> Tensor:
        """Score candidates in the place of `target`: those of each triple, or shared by groups of triples.

        Args:
            triples: (b, 3); the entry at `target` is not read.
            entities: (groups, k) integers; consecutive triples, ⌈b / groups⌉ at a time, share a row of k
                candidates, so (b, k) gives every triple its own.

        Returns:
            (b, k) scores.
        """
        return self.score_comparisons([(triples, target, entities)], width)[0]

    def score_comparisons(
        self, comparisons: Sequence[tuple[Tensor, Target, Tensor]], width: int | None = None
    ) -> list[Tensor]:
        """`score_against` of several (triples, target, entities) at once: every table is read in one go, which
        is what the step of a training costs most."""
        return [
            at_least_single(self._compare(known, r, candidates, place)[: len(triples)])
            for triples, known, r, candidates, place in self._compared(comparisons, self._width(width))
        ]

    def score_comparisons_widths(
        self, comparisons: Sequence[tuple[Tensor, Target, Tensor]], widths: Sequence[int], scale: float = 1.0
    ) -> list[Tensor]:
        """The same for the sub-models of all `widths`, from one pass: (n, b, k) each.

        Args:
            widths: increasing, up to `dim`.
            scale: how much of a sub-model's gradient dimensions of narrower ones get; values do not depend on it.

        Raises:
            PmdError: where prefixes are no running sums: with unit entities, or TransH with norm l1.
        """
        if self.unit_entities:
            raise PmdError("unit_entities: lengths depend on the width, so widths cannot be trained in one pass")
        return [
            at_least_single(
                self.interaction.compare_widths(
                    grouped(known, len(candidates)), grouped(r, len(candidates)), candidates, place, widths, scale
                ).flatten(1, 2)[:, : len(triples)]
            )
            for triples, known, r, candidates, place in self._compared(comparisons, self._width(widths[-1]))
        ]

    def _compared(
        self, comparisons: Sequence[tuple[Tensor, Target, Tensor]], width: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Target]]:
        """Of each comparison its triples, their known entities and relations (b, parts, width), the candidates
        (groups, k, parts, width), and where the interaction sees them."""
        known = [triples[:, 0 if target == "tail" else 2].to(self.device) for triples, target, _ in comparisons]
        asked = [entities.to(self.device) for _, _, entities in comparisons]
        relations = [self._relation_ids(triples, target) for triples, target, _ in comparisons]
        # Not joined into one: a row of each would be copied again, on the way there and back.
        entities, r = self._rows(width, *known, *asked), self._relations(width, *relations)
        for (triples, target, _), e, own, candidates in zip(comparisons, entities, r, entities[len(comparisons) :]):
            yield triples, e, own, candidates, self._place(target)

    def _compare(self, known: Tensor, r: Tensor, candidates: Tensor, place: Target) -> Tensor:
        """(b, parts, width) known entities and relations, (groups, k, parts, width) -> (groups · size, k)."""
        query = grouped(self.interaction.query(known, r, place), len(candidates))
        if self.interaction.relation_free:
            return self.interaction.pairwise(query, candidates).flatten(0, 1)
        # Every triple sees the candidates in the light of its own relation.
        r = grouped(r, len(candidates)).unsqueeze(2)
        seen = self.interaction.candidate(candidates.unsqueeze(1), r, place)
        return self.interaction.pairwise(query.unsqueeze(2), seen).squeeze(2).flatten(0, 1)

    def score_all(self, triples: Tensor, target: Target, width: int | None = None) -> Tensor:
        """Scores (b, num_entities), fp32, of every entity as the `target` of each triple (b, 3)."""
        width = self._width(width)
        (known,) = self._rows(width, triples[:, 0 if target == "tail" else 2])
        (r,) = self._relations(width, self._relation_ids(triples, target))
        query = self.interaction.query(known, r, self._place(target))
        everything = self._lengths(self.entities[..., :width])
        if self.interaction.relation_free:
            return self.interaction.pairwise(query, everything).float()
        # Triples of one relation see the same candidates: those are computed once for each relation.
        place, ids = self._place(target), self._relation_ids(triples, target)
        scores = torch.empty(len(triples), self.num_entities, device=query.device)
        parts = []
        for relation in ids.unique():
            same = (ids == relation).nonzero().squeeze(1)
            seen = self.interaction.candidate(everything, self.relations[relation, :, :width], place)
            parts.append((same, self.interaction.pairwise(query[same], seen).float()))
        return scores.index_copy(0, *(torch.cat(column) for column in zip(*parts))) if parts else scores

    @property
    def has_running_sums(self) -> bool:
        """Whether the scores of all widths are running sums, so that one pass ranks them all."""
        return self.interaction.has_running_sums and not self.unit_entities

    @property
    def shares_queries(self) -> bool:
        """Whether it is faster to sum queries that several triples share once than to begin from their true answers."""
        return self.interaction.sum_of == "moduli"

    def sweep(self, triples: Tensor, target: Target) -> Sweep:
        """The queries of triples (q, 3), to be compared with `looked_up` candidates at all widths in one pass."""
        width, place = self.widths[-1], self._place(target)
        (known,) = self._rows(width, triples[:, 0 if target == "tail" else 2])
        ids = self._relation_ids(triples, target)
        (relations,) = self._relations(width, ids)
        return Sweep(self.interaction, known, relations, place, ids, self.widths)

    def looked_up(self, entities: Tensor) -> Tensor:
        """(c,) integers -> (c, parts, dim) embeddings."""
        return self._rows(self.dim, entities)[0]

    def crop(self, width: int) -> KgeModel:
        """A stand-alone model of this width with the same numbers; its widths are those that fit, and its own."""
        width = self._width(width)
        return self._of(torch.arange(width), [w for w in self.widths if w < width] + [width])

    def select(self, dims: Tensor) -> KgeModel:
        """A stand-alone model of these dimensions (w,), in this order. It has one width: its prefixes are not those that
        were trained."""
        return self._of(dims, [len(dims)])

    def _of(self, dims: Tensor, widths: list[int]) -> KgeModel:
        dims = dims.to(self.device)
        settings = {**self._hub_mixin_config, "dim": len(dims), "widths": widths}
        with torch.random.fork_rng(devices=[]):  # what it starts from is thrown away
            small = KgeModel(**settings)
        small.to(self.entity_rows.weight)
        with torch.no_grad():
            small.entities.copy_(self.entities[..., dims])
            small.relations.copy_(self.relations[..., dims])
        return small

    def embed(
        self, triples: Tensor, width: int | None = None, target: Target = "tail"
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Integer triples (b, 3) -> embeddings (b, parts, width) of heads, relations and tails.

        With reciprocal relations the relation is the one that a query for `target` asks.
        """
        width = self._width(width)
        h, t = self._rows(width, triples[:, 0], triples[:, 2])
        (r,) = self._relations(width, self._relation_ids(triples, target))
        return h, r, t

    def _relation_ids(self, triples: Tensor, target: Target) -> Tensor:
        if target not in TARGETS:
            raise PmdError(f"target '{target}' is unknown; use 'head' or 'tail'")
        inverse = self.num_relations if self.reciprocal and target == "head" else 0
        return triples[:, 1].to(self.device) + inverse

    def _place(self, target: Target) -> Target:
        """Where the interaction sees the open place: with reciprocal relations always at the tail."""
        return "tail" if self.reciprocal else target

    def _rows(self, width: int, *ids: Tensor) -> list[Tensor]:
        return [self._lengths(found) for found in self._read(self.entity_rows, width, ids)]

    def _relations(self, width: int, *ids: Tensor) -> list[Tensor]:
        return self._read(self.relation_rows, width, ids)

    def _read(self, table: nn.Embedding, width: int, ids: Sequence[Tensor]) -> list[Tensor]:
        """(…) integers each -> (…, parts, width) each."""
        found = rows(table.weight, *(part.to(self.device) for part in ids), sparse=table.sparse)
        found = [part.unflatten(-1, (-1, self.dim)) for part in found]
        return found if width == self.dim else [part[..., :width] for part in found]  # a slice copies its gradient

    def _lengths(self, entities: Tensor) -> Tensor:
        if not self.unit_entities:
            return entities
        return normalize(entities.flatten(-2), dim=-1).unflatten(-1, entities.shape[-2:])

    def _width(self, width: int | None) -> int:
        width = self.dim if width is None else width
        if not 1 <= width <= self.dim:
            raise PmdError(f"width {width} is outside 1 to {self.dim}, the model's dim")
        return width

    def _initialise(self, scale: float) -> None:
        nn.init.uniform_(self.entity_rows.weight, -scale, scale)
        nn.init.uniform_(self.relation_rows.weight, *(self.interaction.relation_start or (-scale, scale)))

    @classmethod
    def _from_pretrained(cls, **options: Any) -> KgeModel:
        with contextlib.redirect_stdout(io.StringIO()):  # the mixin says from where it reads
            return super()._from_pretrained(**options)


def grouped(rows: Tensor, groups: int) -> Tensor:
    """(b, parts, dim) -> (groups, ⌈b / groups⌉, parts, dim); what is missing in the last group is zero."""
    size = -(-len(rows) // groups)
    missing = groups * size - len(rows)
    return pad(rows, (0, 0, 0, 0, 0, missing)).unflatten(0, (groups, size))


def at_least_single(scores: Tensor) -> Tensor:
    """Scores in fp32 where mixed precision made them half."""
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores

"""`KgeModel`: a table of embeddings and an interaction, croppable to any width.

Tables are (num, parts, dim); a sub-model of width w is `[..., :w]` of all of them. `score` takes the width as an
argument (`width=40`), `score_widths` scores all widths in one pass, and `crop(40)` is the stand-alone model of that
width; the three agree. The model is a `TripleScorer`: `pmd.rank` ranks it, `pmd.rank_widths` all its widths.

Entities may be computed by an encoder in place of a table (`pmd.models.kge.entities`); such a model has one width.
"""

from __future__ import annotations

import contextlib
import copy
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn.functional import normalize

from pmd.core.errors import PmdError
from pmd.core.types import KNOWN_COLUMN, TARGETS, Target
from pmd.models.families import check_width
from pmd.models.kge.entities.encoder import Sizes, make_encoder
from pmd.models.kge.interactions import Norm, make_interaction
from pmd.models.kge.kernels import at_least_single, grouped, read_rows
from pmd.models.kge.width_scores import WidthScores
from pmd.settings.entity_encoders import TABLE
from pmd.settings.med import check_widths

Comparison = tuple[Tensor, Target, Tensor]
"""Triples (b, 3), the place in them that candidates take (its entry is not read), and candidates: entities (groups, k).
Consecutive triples, ⌈b / groups⌉ at a time, share a row of k candidates, so (b, k) gives every triple its own."""

NOT_CROPPED = (
    "width: an encoder computes the entities of this model, which has no narrower ones; train one of that width"
)


class KgeModel(nn.Module, PyTorchModelHubMixin, library_name="pmd", tags=["knowledge-graph-completion"]):
    """An embedding model of a knowledge graph.

    Args:
        interaction: transe, transh, complex, rotate, simple or pairre.
        num_entities, num_relations: of the graph.
        dim: width: numbers in each part of an embedding.
        widths: of the sub-models that `score_widths` scores, increasing, the last one `dim`; default `dim` alone.
        norm: `l1`, `l2` or `squared`, for a distance; default the interaction's own.
        reciprocal: every relation has a second embedding for its inverse, and (?, r, t) is asked as
            (t, inverse r, ?) (Lacroix et al., ICML 2018). `score` asks for the tail.
        unit_entities: entities are scaled to length 1 after the crop, as PairRE's authors do.
        init: entities are drawn evenly from ±init; default such that their length is about 1, whatever `dim`.
        entity_encoder: `name` and arguments of what computes the entities; default a table of them. `read_graph` of the
            attribute then gives it the triples of training.

    Raises:
        PmdError: for an unknown interaction, norm or encoder, or widths that do not increase up to `dim`.

    Example:
        >>> model = pmd.KgeModel("rotate", num_entities=9, num_relations=2, dim=8, widths=[4, 8])
        >>> triples = torch.tensor([[0, 1, 2], [3, 0, 4]])
        >>> model.score(triples).shape, model.score_widths(triples).shape, model.score_all(triples, "tail").shape
        (torch.Size([2]), torch.Size([2, 2]), torch.Size([2, 9]))
        >>> torch.equal(model.crop(4).score(triples), model.score(triples, width=4))
        True
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
        entity_encoder: Mapping[str, Any] | None = None,
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
        parts, relations = self.interaction.entity_parts, num_relations * (2 if reciprocal else 1)
        relation_size, scale = self.interaction.relation_parts * dim, init or math.sqrt(3 / (parts * dim))
        sizes = Sizes(num_entities, num_relations, parts * dim, relation_size, scale)
        self.entity_encoder = make_encoder(entity_encoder, sizes) if entity_encoder else None
        # A row for each entity, its parts one after the other, so that an embedding is one read.
        self.entity_rows = None if entity_encoder else nn.Embedding(num_entities, parts * dim)
        self.relation_rows = nn.Embedding(relations, relation_size)
        self._initialise(scale)
        if entity_encoder:
            self._checked_width(self.widths[0])

    @property
    def entities(self) -> Tensor:
        """(num_entities, parts, dim), the parameters themselves unless an encoder computes them."""
        encoder, relations = self.entity_encoder, self.relation_rows.weight
        rows = encoder.entities(relations) if encoder else self.entity_rows.weight
        return rows.unflatten(-1, (-1, self.dim))

    @property
    def relations(self) -> Tensor:
        """(num_relations, parts, dim), twice as many rows with reciprocal relations. RotatE's are phases in radians."""
        return self._relation_table.unflatten(-1, (-1, self.dim))

    @property
    def _relation_table(self) -> Tensor:
        rows = self.relation_rows.weight
        return self.entity_encoder.relations(rows) if self.entity_encoder else rows

    @property
    def encoder(self) -> str:
        """Where the entities' vectors come from: `table`, or the name of their encoder."""
        return self._hub_mixin_config["entity_encoder"]["name"] if self.entity_encoder else TABLE

    @property
    def norm(self) -> Norm | None:
        """The norm of the distance; None for a product."""
        return self.interaction.norm

    @property
    def device(self) -> torch.device:
        """Where its tables are."""
        return self.relation_rows.weight.device

    def sparse_gradients(self, sparse: bool = True) -> KgeModel:
        """Give the tables `sparse` gradients, of only the rows that were read (for `SparseAdam`). PmdError without a table."""
        if sparse and self.entity_encoder:
            raise PmdError("sparse gradients: an encoder computes the entities, and all its parameters move; use adam")
        for table in filter(None, (self.entity_rows, self.relation_rows)):
            table.sparse = sparse
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

    def score_comparisons(self, comparisons: Sequence[Comparison], width: int | None = None) -> list[Tensor]:
        """Scores (b, k) of each of the comparisons, by the leading `width` dimensions. All of them read every table in one go:
        reading is most of a training step."""
        return [
            at_least_single(self._compare(known, relations, candidates, target)[:count])
            for count, known, relations, candidates, target in self._read_comparisons(comparisons, width)
        ]

    def score_comparisons_widths(
        self, comparisons: Sequence[Comparison], widths: Sequence[int], scale: float = 1.0
    ) -> list[Tensor]:
        """Scores (n, b, k) of each of the comparisons by the sub-models of all `widths`, from one pass.

        Args:
            widths: increasing, up to `dim`.
            scale: factor on the gradients that a sub-model sends to dimensions of narrower ones; values do not depend on it.

        Raises:
            PmdError: where scores of prefixes are not running sums: with unit entities, or TransH with norm l1.
        """
        if self.unit_entities:
            raise PmdError("unit_entities: lengths depend on the width, so widths cannot be trained in one pass")
        all_scores = []
        for count, known, relations, candidates, target in self._read_comparisons(comparisons, widths[-1]):
            known, relations = (grouped(rows, len(candidates)) for rows in (known, relations))
            scores = self.interaction.compare_widths(known, relations, candidates, target, widths, scale)
            all_scores.append(at_least_single(scores.flatten(1, 2)[:, :count]))
        return all_scores

    def _read_comparisons(
        self, comparisons: Sequence[Comparison], width: int | None
    ) -> Iterator[tuple[int, Tensor, Tensor, Tensor, Target]]:
        """Of each comparison b, embeddings (b, parts, width) of known entities and of relations, embeddings (groups, k,
        parts, width) of candidates, and the target that the interaction is asked for."""
        width = self._checked_width(width)
        relation_ids = [self._relation_ids(triples, target) for triples, target, _ in comparisons]
        known = [triples[:, KNOWN_COLUMN[target]].to(self.device) for triples, target, _ in comparisons]
        candidates = [entities.to(self.device) for _, _, entities in comparisons]
        # Not joined into one tensor of ids: its rows would be copied once more, forward and backward.
        entities = self._read_entities(width, *known, *candidates)
        relations = self._read_relations(width, *relation_ids)
        embeddings = zip(entities, relations, entities[len(known) :])
        for (triples, target, _), (known_rows, relation_rows, candidate_rows) in zip(comparisons, embeddings):
            yield len(triples), known_rows, relation_rows, candidate_rows, self.asked_target(target)

    def _compare(self, known: Tensor, relations: Tensor, candidates: Tensor, target: Target) -> Tensor:
        """(b, parts, width) known entities and relations, (groups, k, parts, width) -> (groups · size, k)."""
        query = grouped(self.interaction.query(known, relations, target), len(candidates))
        if self.interaction.relation_free:
            return self.interaction.pairwise(query, candidates).flatten(0, 1)
        # The relation of every triple changes the candidates in its own way.
        relations = grouped(relations, len(candidates)).unsqueeze(2)
        changed = self.interaction.candidate(candidates.unsqueeze(1), relations, target)
        return self.interaction.pairwise(query.unsqueeze(2), changed).squeeze(2).flatten(0, 1)

    def score_all(self, triples: Tensor, target: Target, width: int | None = None) -> Tensor:
        """Scores (b, num_entities), fp32, of every entity as the `target` of the triples (b, 3); `width` for a sub-model's."""
        width = self._checked_width(width)
        known, relations, relation_ids = self._read_queries(triples, target, width)
        target = self.asked_target(target)
        query = self.interaction.query(known, relations, target)
        entities = self._normalised(self.entities[..., :width])
        if self.interaction.relation_free:
            return self.interaction.pairwise(query, entities).float()
        # Triples of one relation are compared with the same candidates: those are computed once for each relation.
        scores = torch.empty(len(triples), self.num_entities, device=query.device)
        parts = []
        all_relations = self.relations[..., :width]
        for relation in relation_ids.unique():
            same = (relation_ids == relation).nonzero().squeeze(1)
            changed = self.interaction.candidate(entities, all_relations[relation], target)
            parts.append((same, self.interaction.pairwise(query[same], changed).float()))
        return scores.index_copy(0, *(torch.cat(column) for column in zip(*parts))) if parts else scores

    @property
    def has_running_sums(self) -> bool:
        """Whether the scores of all widths are running sums of the same terms, so that one pass ranks them all."""
        return self.interaction.has_running_sums and not self.unit_entities

    @property
    def shares_queries(self) -> bool:
        """Whether `width_scores` can compare one query with several true answers, as only sums of moduli can."""
        return self.interaction.term_kind == "moduli"

    def width_scores(self, triples: Tensor, target: Target) -> WidthScores:
        """The queries of triples (q, 3) for the `target`, ready to be compared with `entity_embeddings` at all widths in one pass."""
        known, relations, relation_ids = self._read_queries(triples, target, self.widths[-1])
        target = self.asked_target(target)
        return WidthScores(self.interaction, known, relations, target, relation_ids, self.widths)

    def entity_embeddings(self, entities: Tensor) -> Tensor:
        """Entities (c,) -> embeddings (c, parts, dim), as candidates are compared."""
        return self._read_entities(self.dim, entities)[0]

    @torch.no_grad()
    def entity_vectors(self, entities: Tensor, width: int | None = None) -> Tensor:
        """Entities (n,) -> (n, parts · width) on the CPU: the leading dimensions of each part, one part after the other, as
        a sub-model compares them: of length 1 where the model has unit entities. PmdError for a width that it has not."""
        small = self if width is None else self.crop(width)
        return small.entity_embeddings(entities).flatten(1).cpu()

    def crop(self, width: int) -> KgeModel:
        """A stand-alone model of this width with the same numbers; its widths are the model's narrower ones and its own."""
        width = self._checked_width(width)
        narrower = [w for w in self.widths if w < width]
        return copy.deepcopy(self) if self.entity_encoder else self._selected(torch.arange(width), [*narrower, width])

    def select(self, dims: Tensor) -> KgeModel:
        """A stand-alone model of the dimensions `dims` (w,), in this order. It has a single width, for its prefixes are not
        those that were trained."""
        return self._selected(dims, [len(dims)])

    def _selected(self, dims: Tensor, widths: list[int]) -> KgeModel:
        if self.entity_encoder:
            raise PmdError(NOT_CROPPED)
        settings, dims = {**self._hub_mixin_config, "dim": len(dims), "widths": widths}, dims.to(self.device)
        with torch.random.fork_rng(devices=[]):  # its initial numbers are overwritten
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

        With reciprocal relations the relation is that of a query for `target`.
        """
        width = self._checked_width(width)
        h, t = self._read_entities(width, triples[:, 0], triples[:, 2])
        (r,) = self._read_relations(width, self._relation_ids(triples, target))
        return h, r, t

    def asked_target(self, target: Target) -> Target:
        """The target that the interaction is asked for: with reciprocal relations always the tail."""
        return "tail" if self.reciprocal else target

    def _relation_ids(self, triples: Tensor, target: Target) -> Tensor:
        if target not in TARGETS:
            raise PmdError(f"target '{target}' is unknown; use 'head' or 'tail'")
        inverse = self.num_relations if self.reciprocal and target == "head" else 0
        return triples[:, 1].to(self.device) + inverse

    def _read_queries(self, triples: Tensor, target: Target, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (b, parts, width) of the known entities and of the relations of queries, and relation ids (b,)."""
        relation_ids = self._relation_ids(triples, target)
        (known,) = self._read_entities(width, triples[:, KNOWN_COLUMN[target]])
        (relations,) = self._read_relations(width, relation_ids)
        return known, relations, relation_ids

    def _read_entities(self, width: int, *ids: Tensor) -> list[Tensor]:
        ids = [part.to(self.device) for part in ids]
        if self.entity_encoder:
            rows = self.entity_encoder.read(self.relation_rows.weight, *ids)
        else:
            rows = read_rows(self.entity_rows.weight, *ids, sparse=self.entity_rows.sparse)
        return [self._normalised(embeddings) for embeddings in self._embeddings(rows, width)]

    def _read_relations(self, width: int, *ids: Tensor) -> list[Tensor]:
        ids = [part.to(self.device) for part in ids]
        return self._embeddings(read_rows(self._relation_table, *ids, sparse=self.relation_rows.sparse), width)

    def _embeddings(self, rows: Sequence[Tensor], width: int) -> list[Tensor]:
        """Rows (…, parts · dim) each -> embeddings (…, parts, width) each."""
        embeddings = [row.unflatten(-1, (-1, self.dim)) for row in rows]
        # Only if needed: a slice of everything would still copy the gradient.
        return embeddings if width == self.dim else [part[..., :width] for part in embeddings]

    def _normalised(self, entities: Tensor) -> Tensor:
        """Entities (…, parts, width), scaled to length 1 where the model says so."""
        if not self.unit_entities:
            return entities
        return normalize(entities.flatten(-2), dim=-1).unflatten(-1, entities.shape[-2:])

    def _checked_width(self, width: int | None) -> int:
        width = self.dim if width is None else width
        check_width(width, self.dim)
        if self.entity_encoder and width < self.dim:
            raise PmdError(NOT_CROPPED)
        return width

    def _initialise(self, scale: float) -> None:
        if self.entity_rows is not None:
            nn.init.uniform_(self.entity_rows.weight, -scale, scale)
        nn.init.uniform_(self.relation_rows.weight, *(self.interaction.relation_start or (-scale, scale)))

    @classmethod
    def _from_pretrained(cls, **options: Any) -> KgeModel:
        with contextlib.redirect_stdout(io.StringIO()):  # the mixin prints where it reads from
            return super()._from_pretrained(**options)

"""What a model proposes for a whole graph: the most plausible facts that it lacks (`pmd.trust.missing`), with ids and names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pmd.core.errors import PmdError, options_of, refuse_unknown
from pmd.trust.held_out import VISIBLE
from pmd.trust.missing.limits import Limits
from pmd.trust.missing.search import Part, Search, State

if TYPE_CHECKING:
    from pmd.trust.types import Types
    from pmd.use.index import Index

Pair = tuple[str, str]
Known = Literal["all", "train"]
Progress = Callable[[int, int, State], None]
"""Is told after every block how many of how many queries are done, and the state from which a search can go on."""


@dataclass(frozen=True)
class Suggestion:
    """A triple that the graph lacks.

    Args:
        rank: from 1.
        head, relation, tail: the id and the name of each.
        probability: by which it is ranked, in [0, 1].
        head_probability, tail_probability: those that it has as an answer for the head and for the tail.
        known: the splits that have it, of those that were not taken as known.
    """

    rank: int
    head: Pair
    relation: Pair
    tail: Pair
    probability: float
    head_probability: float
    tail_probability: float
    known: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The suggestion for JSON."""
        named = {part: dict(zip(("id", "name"), getattr(self, part))) for part in ("head", "relation", "tail")}
        return {**asdict(self), **named, "known": list(self.known)}


@dataclass(frozen=True, repr=False)
class Suggestions(Sequence):
    """What a graph may lack: a sequence of `Suggestion`, best first.

    Args:
        suggestions: the triples.
        held_back: how many candidates were left out because their relation or entity had reached its limit.
        withheld: the splits that were not taken as known.
    """

    suggestions: tuple[Suggestion, ...]
    held_back: int = 0
    withheld: tuple[str, ...] = ()

    def __getitem__(self, index):
        return self.suggestions[index]

    def __len__(self) -> int:
        return len(self.suggestions)

    def __repr__(self) -> str:
        """A line for each: rank, probability, the triple by names, and the splits that have it."""
        lines = [f"Suggestions({len(self)})"]
        for each in self:
            known = f"  known: {', '.join(each.known)}" if each.known else ""
            names = ", ".join(name for _, name in (each.head, each.relation, each.tail))
            lines.append(f"{each.rank:>4}  {each.probability:6.1%}  {names}{known}")
        return "\n".join(lines)

    def precision(self, count: int) -> float:
        """The share of the first `count` that stands in the splits that were withheld: a lower bound of how many hold, for these have but a
        part of what training lacks. PmdError if there are none."""
        if not self.withheld or not 0 < count <= len(self):
            raise PmdError("precision: of suggestions that split files can confirm; ask with known='train'")
        return sum(bool(each.known) for each in self[:count]) / count


@dataclass(frozen=True)
class Wanted:
    """What is sought; `SuggestsFacts.suggest` describes the fields. PmdError for what cannot be."""

    top: int = 100
    relations: Sequence[str] | None = None
    about: Sequence[str] | None = None
    heads: Sequence[str] | None = None
    tails: Sequence[str] | None = None
    types: Literal["soft", "strict"] = "soft"
    seen: bool = False
    per_relation: int | None = None
    per_entity: int | None = None
    at_least: float = 0.01
    known: Known = "all"

    def __post_init__(self):
        for name in ("relations", "about", "heads", "tails"):
            if getattr(self, name) is not None and not getattr(self, name):
                raise PmdError(f"{name}: there are none; name one, or leave it out")
        if self.about is not None and (self.heads is not None or self.tails is not None):
            raise PmdError("about: entities at either end; leave heads and tails out, or give those alone")
        for name, values in (("types", ("soft", "strict")), ("known", ("all", "train"))):
            if getattr(self, name) not in values:
                raise PmdError(f"{name}: {getattr(self, name)!r} is neither {' nor '.join(values)}")


class SuggestsFacts:
    """What a model that answers questions proposes for a whole graph."""

    index: Index
    types: Types | None

    def suggest(
        self, top: int = 100, *, progress: Progress | None = None, state: State | None = None, **options: Any
    ) -> Suggestions:
        """The most plausible triples that the graph lacks, best first: relation and both ends are open.

        A triple has a probability as an answer to (h, r, ?), and one as an answer to (?, r, t). Its odds are the geometric mean of both
        odds, each times the rate of its query, which says how many facts such queries lack (`pmd.trust.missing.likely`). So the
        probability says how often such a triple holds if the graph lacks as many facts as were held out of training.

        Args:
            top: how many.
            relations: ids or names of the only relations; by default all.
            about: ids or names of entities one of which stands at either end.
            heads, tails: those of the only entities that stand at these ends.
            types: `soft`, as answers are ordered; `strict` also leaves out triples with an end that does not fit, and need not
                ask for it.
            seen: only entities that stand at that end of the relation in training, too: quick, and it finds no new kinds of facts.
            per_relation: at most so many of a relation; by default a fifth of `top`, in equal parts if there are fewer than five
                relations, and never fewer than ten; `top` with `about`.
            per_entity: at most so many with the same entity at either end; by default a twentieth of `top`, and at least ten; `top` with
                `about`.
            at_least: the probability that each has as either answer; the higher, the quicker.
            known: facts of which splits are known and so left out: `all`, or `train` to see how many of the others are found.
            progress: called after every block of queries.
            state: where to go on; a search that was stopped has handed it to `progress`.

        Returns:
            The suggestions; a sequence.

        Raises:
            PmdError: for names and options that cannot be used, and for a model that gives no probabilities.
        """
        refuse_unknown("suggest", options, [*options_of(Wanted), "progress", "state"])
        wanted = Wanted(top, **options)
        search = self._search(wanted)
        state = State() if state is None else state
        for done in search.run(state):
            if progress is not None:
                progress(done, len(search), state)
        probabilities = search.rates.probabilities(state.kept, state.kept_sides)
        rows = search.limits.chosen(state.kept, probabilities)
        withheld = tuple(name for name in self.index.metadata["splits"] if name not in search.known)
        suggestions = self._named(state.kept[rows], probabilities[rows], state.kept_sides[rows])
        return Suggestions(suggestions, len(state.kept) - len(rows), withheld)

    def _search(self, wanted: Wanted) -> Search:
        self._check_calibrated()
        relations = self.index.relations
        rows = range(len(relations))
        if wanted.relations is not None:
            rows = dict.fromkeys(relations.find(name, "relations") for name in wanted.relations)
        most = wanted.per_relation, wanted.per_entity
        if wanted.about is not None:  # all are of these entities
            most = [wanted.top if number is None else number for number in most]
        limits = Limits.of(wanted.top, *most, wanted.at_least, len(rows))
        splits = self.index.metadata["splits"]
        known = splits if wanted.known == "all" else [name for name in splits if name in VISIBLE]
        return Search(self, [part for row in rows for part in self._searched(row, wanted)], limits, known)

    def _check_calibrated(self) -> None:
        if not self._calibrations:
            raise PmdError(f"suggest: needs probabilities: {self._why_uncalibrated('valid')}")

    def _searched(self, relation: int, wanted: Wanted) -> list[Part]:
        """What is searched of a relation; the end with fewer entities is where the queries begin."""
        ends = {"head": self._fitting("head", relation, wanted), "tail": self._fitting("tail", relation, wanted)}
        if wanted.about is None:
            target = "tail" if ends["head"].sum() <= ends["tail"].sum() else "head"
            return [_part(relation, target, ends)]
        about = self._positions(wanted.about, "about")
        return [
            _part(relation, "tail", {**ends, "head": ends["head"] & about}),
            _part(relation, "head", {**ends, "tail": ends["tail"] & about}),
        ]

    def _fitting(self, end: str, relation: int, wanted: Wanted) -> np.ndarray:
        """Which entities (num_entities,) may stand at an end of a relation."""
        names = wanted.heads if end == "head" else wanted.tails
        entities = np.ones(self.index.num_entities, dtype=bool) if names is None else self._positions(names, f"{end}s")
        if wanted.types == "strict":
            if self.types is None:
                raise PmdError(
                    f"types: {self.index.folder} has none; rebuild it: pmd answer {self.index.model} --build"
                )
            entities &= self.types.fitting(relation + self.index.num_relations * (end == "head"))
        if wanted.seen:
            triples = self.index.triples(*VISIBLE)
            seen = np.zeros(self.index.num_entities, dtype=bool)
            seen[triples[triples[:, 1] == relation, 0 if end == "head" else 2]] = True
            entities &= seen
        return entities

    def _positions(self, names: Iterable[str], option: str) -> np.ndarray:
        """Which entities (num_entities,) have these ids or names."""
        chosen = np.zeros(self.index.num_entities, dtype=bool)
        chosen[[self.index.entities.find(name, option) for name in names]] = True
        return chosen

    def _named(self, triples: np.ndarray, probabilities: np.ndarray, sides: np.ndarray) -> tuple[Suggestion, ...]:
        entities, relations = self.index.entities, self.index.relations
        columns = (triples.tolist(), probabilities.tolist(), sides.tolist(), self.index.splits_of(triples).tolist())
        return tuple(
            Suggestion(
                rank,
                entities.pair(head),
                relations.pair(relation),
                entities.pair(tail),
                probability,
                *of_sides,
                self.index.split_names(bits),
            )
            for rank, ((head, relation, tail), probability, of_sides, bits) in enumerate(zip(*columns), 1)
        )


def _part(relation: int, target: str, ends: dict[str, np.ndarray]) -> Part:
    asked = ends["head" if target == "tail" else "tail"]
    return Part(relation, target, np.flatnonzero(asked), ends[target])

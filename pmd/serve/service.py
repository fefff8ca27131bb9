"""What a served model is asked, over HTTP and by agents: plain values in, values for JSON out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pmd.core.errors import PmdError
from pmd.serve.completion import Completion
from pmd.use.answers import TrainedModel

Asked = Mapping[str, str | None]
"""The parts of a question that are given, as `TrainedModel.answer` names them; an empty one is not."""
SHOWN_DESCRIPTION = 120


class Service:
    """A model and what is needed to answer at once; it reads no files that a question could name."""

    def __init__(self, model: TrainedModel):
        self.model, self.index = model, model.index

    def warm_up(self) -> None:
        """Load what the first questions would wait for; where the index is of an earlier version, learn how triples are judged once for all
        processes."""
        first = {"head": self.index.entities.ids[0], "relation": self.index.relations.ids[0]}
        self.answers([first], top_k=1)
        if self.index.num_entities > 1:
            self.model.judge  # noqa: B018
        self.entities("a", 1)

    def graph(self) -> dict[str, Any]:
        """Which model and graph this is, and its relations."""
        index, metadata = self.index, self.index.metadata
        relations = [_named(index.relations.pair(row)) for row in range(index.num_relations)]
        sizes = {"entities": index.num_entities, "facts": len(index.triples(*metadata["splits"]))}
        model = {"model": index.model.name, "kind": metadata["kind"], "graph": metadata["graph_name"]}
        return {**model, **sizes, "splits": [*metadata["splits"]], "relations": relations}

    def answers(self, questions: Sequence[Asked], **options: Any) -> list[dict[str, Any]]:
        """The answers to questions with one end, listed as `TrainedModel.answer` describes."""
        known = _each(questions, lambda asked: self.model.question(**asked))
        return [answers.to_dict() for answers in self.model.answer_all(known, **options)]

    def verdicts(self, triples: Sequence[Asked]) -> list[dict[str, Any]]:
        """Whether each triple holds."""
        known = _each(triples, lambda asked: self.model.triple(**_complete(asked, "head", "relation", "tail")))
        return [verdict.to_dict() for verdict in self.model.classify_all(known)]

    def relations(self, pairs: Sequence[Asked], **options: Any) -> list[dict[str, Any]]:
        """The relations that join head and tail of each pair."""
        find = self.index.entities.find
        known = _each(
            pairs, lambda asked: tuple(find(name, end) for end, name in _complete(asked, "head", "tail").items())
        )
        return [relations.to_dict() for relations in self.model.relations_all(known, **options)]

    def why(self, asked: Asked, count: int = 3) -> dict[str, Any]:
        """What speaks for a triple: training facts like it, paths between its ends, parts of a fused model's score."""
        return self.model.why(**_complete(asked, "head", "relation", "tail"), count=count).to_dict()

    def suggestions(self, entity: str, relation: str | None, top_k: int, ends: float) -> dict[str, Any]:
        """The most plausible facts about an entity that the graph lacks. PmdError if the search has not ended at a time of
        `time.monotonic`."""
        names = self.index.entities.pair(self.index.entities.find(entity, "entity"))
        only = [self.index.relations.ids[self.index.relations.find(relation, "relation")]] if relation else None

        def stop_late(*_: Any) -> None:
            if time.monotonic() > ends:
                raise PmdError("suggest: the search takes too long; name a relation, or run pmd suggest")

        suggestions = self.model.suggest(top_k, about=[names[0]], relations=only, progress=stop_late)
        return {"entity": _named(names), "suggestions": [each.to_dict() for each in suggestions]}

    def entities(self, typed: str, limit: int = 10) -> dict[str, Any]:
        """Entities whose name or id has what was typed; what begins so is first."""
        names = self.index.entities
        rows = self._completion.rows(typed, limit)
        descriptions = names.descriptions
        about = [_shortened(descriptions[row]) if descriptions else "" for row in rows]
        return {"entities": [{**_named(names.pair(row)), "about": text} for row, text in zip(rows, about)]}

    def facts(self, entity: str, limit: int = 30) -> dict[str, Any]:
        """The facts of an entity in the graph, and how many there are."""
        index = self.index
        row = index.entities.find(entity, "entity")
        triples, splits = index.facts_of(row)
        listed = [
            {
                "head": _named(index.entities.pair(head)),
                "relation": _named(index.relations.pair(relation)),
                "tail": _named(index.entities.pair(tail)),
                "known": list(index.split_names(bits)),
            }
            for (head, relation, tail), bits in zip(triples[:limit].tolist(), splits[:limit].tolist())
        ]
        return {"entity": _named(index.entities.pair(row)), "num_facts": len(triples), "facts": listed}

    @cached_property
    def _completion(self) -> Completion:
        return Completion(self.index.entities)


def _each(asked: Sequence[Asked], look_up) -> list[Any]:
    """What is looked up for each question; of several, a PmdError names the one."""
    known = []
    for position, question in enumerate(asked):
        try:
            known.append(look_up({part: value or None for part, value in question.items()}))
        except PmdError as error:
            raise PmdError(f"questions[{position}]: {error}" if len(asked) > 1 else str(error)) from None
    return known


def _complete(asked: Asked, *parts: str) -> dict[str, str]:
    """These parts. PmdError if one is missing."""
    missing = [part for part in parts if not asked.get(part)]
    if missing:
        raise PmdError(f"{missing[0]}: none is given; name it by its id or name")
    return {part: asked[part] for part in parts}


def _named(pair: tuple[str, str]) -> dict[str, str]:
    return {"id": pair[0], "name": pair[1]}


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_DESCRIPTION else text[: SHOWN_DESCRIPTION - 1] + "…"

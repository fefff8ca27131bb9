"""The requests of the JSON API, as pydantic checks and OpenAPI describes them. No field names a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pmd.serve.limits import MAX_BATCH, MAX_LISTED, MAX_TEXT

Text = Annotated[str, Field(max_length=MAX_TEXT)]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Triple(Request):
    """A triple, or the part of one that is known, by ids or names."""

    head: Text | None = None
    relation: Text | None = None
    tail: Text | None = None


class Asked(Triple):
    """A question: a relation and one known end; or, for a text model, a `text` that describes an entity that is not in the
    graph, with which `target` says which end is asked for."""

    text: Text | None = None
    target: Literal["head", "tail"] | None = None


class Pair(Request):
    """Two entities, by ids or names."""

    head: Text
    tail: Text


class Reasons(Triple):
    """A triple, and how many facts and paths are listed that speak for it."""

    count: int = Field(3, ge=1, le=20)


class Listing(Request):
    """How many are listed, and whether those that the graph has are left out."""

    top_k: int = Field(10, ge=1, le=MAX_LISTED)
    new: bool = False


class AnswerListing(Listing):
    """Known answers stand by themselves unless `all` are asked for in one list; `types` says how answers that do not fit the open
    end are treated. With `coverage`, the smallest set that holds the true answer of so many such questions, of at most `max_set`."""

    all: bool = False
    types: Literal["soft", "strict", "off"] = "soft"
    coverage: float | None = Field(None, gt=0, lt=1)
    max_set: int = Field(100, ge=1, le=MAX_LISTED)


class Missing(Request):
    """An entity at either end of the facts that are sought, and perhaps their only relation, by ids or names."""

    entity: Text
    relation: Text | None = None
    top_k: int = Field(10, ge=1, le=MAX_LISTED)


class Question(AnswerListing, Asked):
    pass


class PairQuestion(Listing, Pair):
    pass


class Questions(AnswerListing):
    questions: list[Asked] = Field(min_length=1, max_length=MAX_BATCH)


class Triples(Request):
    questions: list[Triple] = Field(min_length=1, max_length=MAX_BATCH)


class Pairs(Listing):
    questions: list[Pair] = Field(min_length=1, max_length=MAX_BATCH)

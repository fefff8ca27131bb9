"""What a row of the catalogue holds (`pmd.settings.catalogue`): strings and numbers.

A class is written `MODULE:NAME` and imported by `load`, when it is needed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import resolve_name
from types import ModuleType
from typing import Any, Literal, NewType, TypeVar

from pmd.core.errors import PmdError

Row = TypeVar("Row")

# Settings that name a row: `pmd.settings.catalogue.choices` knows what each takes, for help and completion.
InteractionName = NewType("InteractionName", str)
TextMethod = NewType("TextMethod", str)
EmbeddingMethod = NewType("EmbeddingMethod", str)
BertMethod = NewType("BertMethod", str)
RankingMetric = NewType("RankingMetric", str)
TaskName = NewType("TaskName", str)

FamilyName = Literal["text", "embedding", "bert"]


@dataclass(frozen=True)
class Interaction:
    """What an embedding model computes from the embeddings of a triple.

    Args:
        name: in settings, in lower case.
        title: in papers.
        implementation: its class, a `pmd.models.kge.interactions.Interaction`.
        score: of a triple (h, r, t), as a formula.
        product: whether that is a product, not a distance.
        citation: its key in `pmd/hub/papers.bib`; None for one that no paper describes.
    """

    name: str
    title: str
    implementation: str
    score: str
    product: bool = False
    citation: str | None = None

    def load(self) -> type:
        """The class."""
        return resolve_name(self.implementation)


@dataclass(frozen=True)
class Method:
    """A way to train a student.

    Args:
        name: in settings.
        title: in papers.
        family: of the models that it trains.
        objective: its class, a `pmd.core.types.Objective` with a class method `for_stage`.
        summary: how it trains: the end of a sentence that begins with "It was trained".
        teacher: whether it needs one.
        croppable: whether it trains all widths of one model.
        masks: whether texts are read with a share of their tokens masked (`mask_rate`).
        weights: which of the settings `alpha` and `beta` weigh its terms. Of text models they sum to less than 1, and the
            labels have the rest.
        citation: its key in `pmd/hub/papers.bib`, if it has a paper.
    """

    name: str
    title: str
    family: FamilyName
    objective: str
    summary: str
    teacher: bool = False
    croppable: bool = False
    masks: bool = False
    weights: tuple[str, ...] = ()
    citation: str | None = None

    def load(self) -> Any:
        """The class of the objective."""
        return resolve_name(self.objective)


@dataclass(frozen=True)
class Metric:
    """A number that says how good a model is.

    Args:
        key: in results.json.
        title: in tables.
        measures: `ranking` of entities, or `glue`: answers to a task of GLUE.
        digits: after the point, in tables.
        more_is_better: false for a mean rank.
    """

    key: str
    title: str
    measures: Literal["ranking", "glue"] = "ranking"
    digits: int = 3
    more_is_better: bool = True

    @property
    def name(self) -> str:
        return self.key

    def text(self, value: float | None) -> str:
        """A value as tables have it; empty for None, of results that are older than the metric."""
        return "" if value is None else f"{value:.{self.digits}f}"


@dataclass(frozen=True)
class Family:
    """A kind of models, and of the runs that train them.

    Args:
        name: as `Method.family`.
        title: what one of its models is called.
        runs: what a run of them is called.
        command: that trains them.
        key: a setting that only its runs have.
        module: of the functions that load, save and crop its models and, if they can, make scorers of them.
        model_type: of a model's config.json; None for embedding models, which have an `interaction` there.
        ranks: whether its models score the triples of a graph, and so rank, answer and have an index.
        reads: whether they score entities that they were not trained on, by their texts.
        exports: the formats of `pmd export`.
        citations: of what its models stand on, whatever the method.
    """

    name: FamilyName
    title: str
    runs: str
    command: str
    key: str
    module: str
    model_type: str | None = None
    ranks: bool = True
    reads: bool = False
    exports: tuple[str, ...] = ()
    citations: tuple[str, ...] = ()

    def load(self) -> ModuleType:
        """The module."""
        return import_module(self.module)


@dataclass(frozen=True)
class Encoder:
    """An encoder of `transformers` that the contract tests run as a text model. Others need no row: what they are like is
    found from config and modules (`pmd.models.text.encoders`).

    Args:
        name: its `model_type`.
        title: in papers.
        citation: its key in `pmd/hub/papers.bib`.
        note: what is different with it, as a sentence.
    """

    name: str
    title: str
    citation: str
    note: str = ""


def lookup(rows: Mapping[str, Row], name: str, place: str) -> Row:
    """The row of a name. PmdError, with the nearest name, if there is none; `place` is the setting that names it."""
    if name not in rows:
        close = difflib.get_close_matches(name, rows, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise PmdError(f"{place}: '{name}' is not one of {', '.join(rows)}{hint}")
    return rows[name]

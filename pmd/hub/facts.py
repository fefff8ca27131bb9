"""What a card is written from: a run's own files, and what was counted in the folder that is published.

Nothing here is measured; what the run did not measure stays empty, and the card is silent about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pmd.core.results import StageResult, SubModelResult
from pmd.settings.catalogue import (
    ENCODERS,
    FAMILIES,
    INTERACTIONS,
    METHODS,
    Encoder,
    Family,
    FamilyName,
    GlueTask,
    Interaction,
    Method,
    lookup,
    task_of,
)
from pmd.settings.kge_stages import usual_method

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """The graph of a model: its name, sizes, and how many distinct triples its splits have."""

    name: str
    num_entities: int
    num_relations: int
    triples: Mapping[str, int]


@dataclass(frozen=True)
class Example:
    """A question and what the published model answered when its card was written."""

    question: Mapping[str, str]
    answers: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A published model.

    Args:
        repo: its Hub id; `revision` the branch that it is on, None for main.
        family: of the catalogue; a `bert` is one that was fine-tuned on GLUE.
        stage: of the run.
        config, results, environment: config.yaml, results.json and env.json of the run.
        encoder: of a text model, the `model_type` of its encoders.
        dim, whole: the width of what is published, and that of the stage.
        widths: that were trained and can be cropped from it, up to `dim`.
        parameters, size: numbers and bytes of its weights.
        tables: of all stages of the run in Markdown, by split.
        graph, example: of what answers questions.
        dataset, base_model: Hub ids of the data and of the weights that the run began with, if they have such.
        license: an identifier of the Hub.
        notes: where the data comes from and under which terms, if that is known.
    """

    repo: str
    family: FamilyName
    stage: str
    config: Mapping[str, Any]
    results: Mapping[str, StageResult]
    environment: Mapping[str, Any]
    dim: int
    whole: int
    widths: tuple[int, ...]
    parameters: int
    size: int
    tables: Mapping[str, str] = field(default_factory=dict)
    graph: Graph | None = None
    example: Example | None = None
    dataset: str | None = None
    base_model: str | None = None
    license: str | None = None
    encoder: str | None = None
    notes: str | None = None
    revision: str | None = None

    @property
    def name(self) -> str:
        """The Hub id without its namespace."""
        return self.repo.split("/")[-1]

    @property
    def family_row(self) -> Family:
        """What the catalogue says of its family."""
        return FAMILIES[self.family]

    @property
    def result(self) -> StageResult:
        """What the run noted of the stage."""
        return self.results[self.stage]

    @property
    def stage_settings(self) -> Mapping[str, Any]:
        """What the run's config lists of the stage; empty where it leaves the stages to their defaults."""
        return next((stage for stage in self.config.get("stages") or () if stage["name"] == self.stage), {})

    @property
    def interaction(self) -> Interaction:
        """Of an embedding model."""
        return lookup(INTERACTIONS, self.result.interaction, "interaction")

    @property
    def task(self) -> GlueTask:
        """Of a BERT."""
        return task_of(self.config["task"])

    @property
    def method(self) -> Method:
        """How the stage was trained; of a method that the catalogue does not have, all that is known is its name."""
        name = self.result.method or usual_method(self.result.widths, self.teacher)
        return METHODS[self.family].get(name) or Method(name, name, self.family, "", f"with the method `{name}`")

    @property
    def teacher(self) -> str | None:
        """The stage that taught it."""
        return None if self.result.teacher == "none" else self.result.teacher

    @property
    def teacher_dim(self) -> int | None:
        """The width of its teacher, where that is another one."""
        dim = self.results[self.teacher].dim if self.teacher in self.results else None
        return dim if dim != self.whole else None

    @property
    def encoder_row(self) -> Encoder | None:
        """What the catalogue says of its encoders, if it knows them."""
        return ENCODERS.get(self.encoder)

    @property
    def citations(self) -> list[str]:
        """The papers that the model stands on, by their keys in papers.bib."""
        family = self.family_row
        keys = [self.method.citation, *family.citations]
        if self.result.interaction:
            keys.append(self.interaction.citation)
        if self.encoder_row:
            keys.append(self.encoder_row.citation)
        if len(self.widths) > 1:
            keys.append(family.widths_citation)
        return [*dict.fromkeys(filter(None, keys))]

    @property
    def sub_model(self) -> SubModelResult:
        """What the run measured of a BERT of the published width; empty for a width that it did not measure."""
        return self.result.sub_models.get(self.dim, SubModelResult())

    @property
    def by_width(self) -> dict[str, dict[int, Metrics]]:
        """The metrics of every split, by the published widths that the run measured."""
        published, result = (*self.widths, self.dim), self.result
        return {
            split: {width: metrics for width, metrics in sorted(result.by_width(split).items()) if width in published}
            for split in result.splits
        }

    @property
    def metrics(self) -> dict[str, Metrics]:
        """Of the published width, by split; none if the run did not measure that width."""
        return {split: cells[self.dim] for split, cells in self.by_width.items() if self.dim in cells}

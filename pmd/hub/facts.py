"""What a card is written from: the run's files, and counts of the published folder.

Nothing is measured here; what the run did not measure stays empty, and the card does not mention it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pmd.core.results import StageResult, SubModelResult
from pmd.settings.catalogue import (
    ENCODERS,
    ENTITY_ENCODERS,
    FAMILIES,
    INTERACTIONS,
    METHODS,
    Encoder,
    EntityEncoder,
    Family,
    FamilyName,
    GlueTask,
    Interaction,
    Method,
    lookup,
    task_of,
)
from pmd.settings.entity_encoders import TABLE
from pmd.settings.stages.kge import usual_method

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A model's graph: its name, its sizes, and how many distinct triples each split has."""

    name: str
    num_entities: int
    num_relations: int
    triples: Mapping[str, int]


@dataclass(frozen=True)
class Example:
    """A question, and the published model's answers when its card was written."""

    question: Mapping[str, str]
    answers: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A published model.

    Args:
        repo, revision: its Hub id and branch; None for main.
        family: its name in the catalogue; a `bert` was fine-tuned on GLUE.
        stage: the name of its stage in the run.
        config, results, environment: config.yaml, results.json and env.json of the run.
        encoder: for a text model, the `model_type` of its encoders.
        dim, whole: the published width, and the stage's width.
        widths: the trained widths up to `dim`, which can be cropped from it.
        parameters, size: how many weights it has, and their bytes.
        tables: all stages of the run in Markdown, by split.
        graph, example: for a model that answers questions.
        dataset, base_model: Hub ids of the data and of the weights that the run began with, if known.
        license: one of the Hub's identifiers.
        fused: of a model of text and structure, its config.json.
        notes: where the data comes from and under which terms, if known.
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
    fused: Mapping[str, Any] | None = None
    notes: str | None = None
    revision: str | None = None

    @property
    def name(self) -> str:
        """The Hub id without its namespace."""
        return self.repo.split("/")[-1]

    @property
    def family_row(self) -> Family:
        """The catalogue's row of its family."""
        return FAMILIES[self.family]

    @property
    def result(self) -> StageResult:
        """What the run noted of the stage."""
        return self.results[self.stage]

    @property
    def stage_settings(self) -> Mapping[str, Any]:
        """The stage's entry in the run's config; empty if the config lists no stages."""
        return next((stage for stage in self.config.get("stages") or () if stage["name"] == self.stage), {})

    @property
    def interaction(self) -> Interaction:
        """The interaction of an embedding model."""
        return lookup(INTERACTIONS, self.result.interaction, "interaction")

    @property
    def own_interaction(self) -> str | None:
        """The class of an interaction that the package does not have, as MODULE:CLASS."""
        if not self.result.interaction or self.interaction.implementation.startswith("pmd."):
            return None
        return self.interaction.implementation

    @property
    def entity_encoder(self) -> EntityEncoder:
        """What the entities of an embedding model come from."""
        return ENTITY_ENCODERS[self.result.entity_encoder or TABLE]

    @property
    def task(self) -> GlueTask:
        """The task of a BERT."""
        return task_of(self.config["task"])

    @property
    def method(self) -> Method:
        """How the stage was trained; only the name is known of a method that the catalogue lacks."""
        name = self.result.method or usual_method(self.result.widths, self.teacher)
        return METHODS.get(self.family, {}).get(name) or Method(
            name, name, self.family, "", f"with the method `{name}`"
        )

    @property
    def teacher(self) -> str | None:
        """The stage that taught it."""
        return None if self.result.teacher == "none" else self.result.teacher

    @property
    def teacher_dim(self) -> int | None:
        """The width of its teacher, if it differs."""
        dim = self.results[self.teacher].dim if self.teacher in self.results else None
        return dim if dim != self.whole else None

    @property
    def encoder_row(self) -> Encoder | None:
        """The catalogue's row of its encoders, if there is one."""
        return ENCODERS.get(self.encoder)

    @property
    def citations(self) -> list[str]:
        """The papers that the model builds on, by their keys in papers.bib."""
        family = self.family_row
        keys = [self.method.citation, *family.citations]
        if self.result.interaction:
            keys += [self.interaction.citation, self.entity_encoder.citation]
        if self.encoder_row:
            keys.append(self.encoder_row.citation)
        if len(self.widths) > 1:
            keys.append(family.widths_citation)
        return [*dict.fromkeys(filter(None, keys))]

    @property
    def sub_model(self) -> SubModelResult:
        """A BERT's result at the published width; empty if the run did not measure that width."""
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
        """The metrics of the published width, by split; empty if the run did not measure that width."""
        return {split: cells[self.dim] for split, cells in self.by_width.items() if self.dim in cells}

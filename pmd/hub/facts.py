"""What a card is written from: a run's own files, and what was counted in the folder that is published.

Nothing here is measured; what the run did not measure stays empty, and the card is silent about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
        kind: `text`, `embedding`, or `bert` for one that was fine-tuned on GLUE.
        stage: of the run.
        config, results, environment: config.yaml, results.json and env.json of the run.
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
    kind: Literal["text", "embedding", "bert"]
    stage: str
    config: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Any]]
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
    notes: str | None = None
    revision: str | None = None

    @property
    def name(self) -> str:
        """The Hub id without its namespace."""
        return self.repo.split("/")[-1]

    @property
    def result(self) -> Mapping[str, Any]:
        """What the run noted of the stage."""
        return self.results[self.stage]

    @property
    def listed(self) -> Mapping[str, Any]:
        """What the run's config says of the stage by name; empty where it leaves the stages to their defaults."""
        return next((of for of in self.config.get("stages") or () if of["name"] == self.stage), {})

    @property
    def by_width(self) -> dict[str, dict[int, Metrics]]:
        """The metrics of every split, by the widths of what is published that the run measured."""
        if self.kind == "bert":
            found: dict[str, dict[int, Metrics]] = {}
            for width, of in self.result["widths"].items():
                for split, metrics in of["metrics"].items():
                    found.setdefault(split, {})[int(width)] = metrics
        else:
            widths = self.result.get("widths", {})
            found = {
                split: {self.whole: metrics, **{int(width): of for width, of in widths.get(split, {}).items()}}
                for split, metrics in self.result["metrics"].items()
            }
        return {
            split: {width: of for width, of in sorted(cells.items()) if width in (*self.widths, self.dim)}
            for split, cells in found.items()
        }

    @property
    def metrics(self) -> dict[str, Metrics]:
        """Of the published width, by split; none if the run did not measure that width."""
        return {split: cells[self.dim] for split, cells in self.by_width.items() if self.dim in cells}

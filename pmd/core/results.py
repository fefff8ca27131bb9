"""The results of a finished stage: a typed record with the keys of results.json.

A model that ranks triples has `metrics` by split and, if it can be cropped, `widths` by split and width. A BERT of
a GLUE task has only `widths`: a record of each sub-model. A key that a family, or an older version, does not write
is None; a key that this version does not know is kept and written back.
"""

from __future__ import annotations

from typing import Any

from pmd.core.errors import PmdError

Metrics = dict[str, Any]
"""The metrics of one ranking or of one GLUE split, by key."""


class Record:
    """A JSON object whose keys are attributes. An attribute that the class declares is None if the key is missing.

    `vars` returns the keys and values as they were.
    """

    def __init__(self, **values: Any):
        self.__dict__ = values

    def __getattr__(self, name: str) -> Any:
        if name in type(self).__annotations__:
            return None
        raise AttributeError(f"{type(self).__name__} has no '{name}'")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(**{vars(self)})"


class SubModelResult(Record):
    """One width of a BERT on a GLUE task.

    Args:
        score: the mean of its metrics over all validation splits.
        metrics: by validation split and name.
        constant: the splits whose examples all get the same answer.
        parameters: how many numbers.
        flop_ratio: the operations of the whole BERT over its own.
        seconds: of one batch.
        speedup: the seconds of the whole BERT over its own.
    """

    score: float
    metrics: dict[str, Metrics]
    constant: list[str] | None
    parameters: int
    flop_ratio: float
    seconds: float | None
    speedup: float | None


class StageResult(Record):
    """What a stage is, how it was trained, and its metrics, as results.json has them. What a family, or an older version, does not
    write is None.

    Args:
        method: by which it was trained.
        teacher: the stage that taught it.
        train_seconds: of its training.
        dim: width of its vectors; text and embedding models.
        parameters: how many numbers; text and embedding models.
        metrics: of the ranking, by split and name; text and embedding models.
        widths: of text and embedding models the same by split and width, where they were ranked at several; of BERTs a record of
            each width.
        relations: metrics by split, where `pmd evaluate --tasks` measured how relations are ranked.
        triples: metrics by split, where it measured how triples are classified.
        types: `soft` or `strict`, where the ranking used them.
        layers: of text models and BERTs.
        mask_rate: share of the tokens that were masked; text models.
        entities_per_second: how fast entities were encoded; text models.
        start: the stage that the weights started from; embedding models and BERTs.
        epochs: that were trained; embedding models and BERTs.
        best_epoch: the one whose weights were kept; embedding models and BERTs.
        interaction: of an embedding model.
        entity_encoder: of an embedding model that computes its entities.
        released: whether the teacher of an embedding model learned too.
        valid_mrr: the best MRR of validation while an embedding model was trained.
        rank_seconds: of the ranking, by split; embedding models.
        rules: the comparison of the rules for weights, as a table; fused models.
        task: of GLUE; BERTs.
        order: by which a BERT's heads, neurons and dimensions were sorted.
        steps: that a BERT was trained.
        valid: the best score of validation while a BERT was trained.
        examples: how many, by validation split; BERTs.
        majority: the metrics of the most frequent class, by validation split; BERTs.
    """

    method: str | None
    teacher: str | None
    train_seconds: float | None
    dim: int | None
    parameters: int | None
    metrics: dict[str, Metrics] | None
    widths: dict[str, Any] | None
    relations: dict[str, Metrics] | None
    triples: dict[str, Metrics] | None
    types: str | None
    layers: int | None
    mask_rate: float | None
    entities_per_second: float | None
    start: str | None
    epochs: int | None
    best_epoch: int | None
    interaction: str | None
    entity_encoder: str | None
    released: bool | None
    valid_mrr: float | None
    rank_seconds: dict[str, float] | None
    rules: dict[str, Any] | None
    task: str | None
    order: str | None
    steps: int | None
    valid: float | None
    examples: dict[str, int] | None
    majority: dict[str, Metrics] | None

    @classmethod
    def read(cls, stored: Any, file: object) -> StageResult:
        """The record of what is `stored` as an entry of results.json. PmdError, naming the `file`, if that is none."""
        if not _is_result(stored):
            raise PmdError(
                f"'{file}' does not hold a stage's result but {stored!r:.60}; restore it, or start a new run"
            )
        return cls(**stored)

    def by_width(self, split: str) -> dict[int, Metrics]:
        """The metrics of a split for each width of a croppable model, or for the one width of another."""
        if self.metrics is None:  # of a BERT
            return {w: model.metrics[split] for w, model in self.sub_models.items() if split in model.metrics}
        if self.widths and split in self.widths:
            return {int(width): metrics for width, metrics in self.widths[split].items()}
        return {self.dim: self.metrics[split]}

    @property
    def splits(self) -> list[str]:
        """The splits that the stage's model was measured on."""
        if self.metrics is not None:
            return [*self.metrics]
        return [*dict.fromkeys(split for model in self.sub_models.values() for split in model.metrics)]

    @property
    def sub_models(self) -> dict[int, SubModelResult]:
        """The sub-models of a BERT by width, narrow to wide."""
        return {int(width): SubModelResult(**result) for width, result in (self.widths or {}).items()}


def _is_result(stored: Any) -> bool:
    """Whether an object of JSON has what every reader of results takes for granted."""
    if not isinstance(stored, dict):
        return False
    parts = [stored[key] for key in ("metrics", "widths") if key in stored]
    sizes = [stored.get(key) for key in ("dim", "parameters")] if "metrics" in stored else []
    objects = all(isinstance(part, dict) and all(isinstance(value, dict) for value in part.values()) for part in parts)
    return bool(parts) and objects and not _has_text(parts) and all(isinstance(size, int) for size in sizes)


def _has_text(value: Any) -> bool:
    """Whether there is text where numbers should be; `constant` alone lists names."""
    if isinstance(value, dict):
        return any(_has_text(part) for name, part in value.items() if name != "constant")
    return any(map(_has_text, value)) if isinstance(value, list) else isinstance(value, str)

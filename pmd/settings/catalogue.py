"""The catalogue: a row for each family of models, encoder, interaction, entity encoder, method, metric and task, in
catalogue.yaml.

Checks, tables, cards, reports, shell completion and help read names and titles here and nowhere else. `register` adds a
row from outside the package, and every reader then knows it. Rows are strings and numbers: a class is written
`MODULE:NAME` and imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any, Literal, NewType, TypeVar, get_args

import yaml

from pmd.core.errors import PmdError, first_line, nearest

Row = TypeVar("Row")

# Settings that name a row: `choices` knows what each takes, for help and completion.
InteractionName = NewType("InteractionName", str)
TextMethod = NewType("TextMethod", str)
EmbeddingMethod = NewType("EmbeddingMethod", str)
EntityEncoderName = NewType("EntityEncoderName", str)
BertMethod = NewType("BertMethod", str)
RankingMetric = NewType("RankingMetric", str)
TaskName = NewType("TaskName", str)

FamilyName = Literal["text", "embedding", "fused", "bert"]


def _loaded_class(name: str, path: str) -> Any:
    """The class of a row. PmdError if there is none at its path."""
    try:
        return resolve_name(path)
    except (AttributeError, ImportError, ValueError) as error:
        raise PmdError(
            f"catalogue: the class '{path}' of '{name}' cannot be loaded ({first_line(error)}); give the row MODULE:CLASS"
        ) from error


@dataclass(frozen=True)
class Interaction:
    """What an embedding model computes from the embeddings of a triple.

    Args:
        name: in settings, in lower case.
        title: in papers.
        implementation: its class, a `pmd.models.kge.interactions.Interaction`.
        score: of a triple (h, r, t), as a formula.
        product: whether the score is a product; else it is a distance.
        citation: its key in `pmd/hub/papers.bib`; None for one that no paper describes.
    """

    name: str
    title: str
    implementation: str
    score: str
    product: bool = False
    citation: str | None = None

    def load_class(self) -> type:
        return _loaded_class(self.name, self.implementation)


@dataclass(frozen=True)
class EntityEncoder:
    """Where an embedding model has the vectors of its entities from.

    Args:
        name: in settings.
        title: in papers.
        implementation: its class, a `pmd.models.kge.entities.encoder.EntityEncoder`; None for a table of them.
        summary: how it comes to them: the end of a sentence that begins with "Its entities' vectors are".
        citation: its key in `pmd/hub/papers.bib`, if it has a paper.
    """

    name: str
    title: str
    summary: str
    implementation: str | None = None
    citation: str | None = None

    def load_class(self) -> Any:
        return _loaded_class(self.name, self.implementation)


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
        without_masks: the method that takes its place for a student without attention, which masks teach nothing.
        weights: which of the settings `alpha` and `beta` weigh its terms. For text models they sum to less than 1, and
            the labels have the rest, unless `distill.label_weight` is given.
        added_weights: those of `weights` that take nothing from the labels and so may be of any size.
        scores_suffice: whether it learns from the teacher's scores alone, whoever gives them; of text models.
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
    without_masks: str | None = None
    weights: tuple[str, ...] = ()
    added_weights: tuple[str, ...] = ()
    scores_suffice: bool = False
    citation: str | None = None

    def load_class(self) -> Any:
        return _loaded_class(self.name, self.objective)


@dataclass(frozen=True)
class Metric:
    """A number that says how good a model is.

    Args:
        name: in results.json.
        title: in tables.
        digits: after the point, in tables.
        more_is_better: false for a mean rank.
    """

    name: str
    title: str
    digits: int = 3
    more_is_better: bool = True

    def text(self, value: float | None) -> str:
        """A value as tables show it; empty for None, in results older than the metric."""
        return "" if value is None else f"{value:.{self.digits}f}"


@dataclass(frozen=True)
class Family:
    """A kind of models, and of the runs that train them.

    Args:
        name: as `Method.family`.
        title: what one of its models is called.
        runs: what its runs are called.
        command: the command that trains them.
        key: a setting that only its runs have.
        module: the functions that load, save and crop its models and, if they rank, make scorers of them.
        use: the functions that open its models to answer, and write and crop what their index has beside names and triples.
        model_type: in a model's config.json; None for embedding models, which have an `interaction` there.
        ranks: whether its models score the triples of a graph, and so rank, answer and have an index.
        reads: whether its models score entities that they were not trained on, by their texts.
        cosines: whether its scores are cosines.
        exports: the formats of `pmd export`.
        citations: the papers that its models build on, whatever the method.
        widths_citation: the paper behind training several widths at once, where no method stands for that.
        library, pipeline_tag, tags: of a published model on the Hub; `pmd` is among its tags anyway.
    """

    name: FamilyName
    title: str
    runs: str
    command: str
    key: str
    module: str
    use: str = ""
    model_type: str | None = None
    ranks: bool = True
    reads: bool = False
    cosines: bool = False
    exports: tuple[str, ...] = ()
    citations: tuple[str, ...] = ()
    widths_citation: str | None = None
    library: str = "pmd"
    pipeline_tag: str = "graph-ml"
    tags: tuple[str, ...] = ()

    def load_module(self) -> ModuleType:
        return import_module(self.module)

    def load_use(self) -> ModuleType:
        return import_module(self.use)


@dataclass(frozen=True)
class Encoder:
    """An encoder of `transformers` that the contract tests run as a text model. Others need no row: their properties are
    read from config and modules (`pmd.models.text.encoders`).

    Args:
        name: its `model_type`.
        title: in papers.
        citation: its key in `pmd/hub/papers.bib`.
        note: what is different with it, as a sentence.
        begins: whether a run can begin with one; else it is made from a teacher.
    """

    name: str
    title: str
    citation: str
    note: str = ""
    begins: bool = True


@dataclass(frozen=True)
class GlueTask:
    """A task of GLUE (Wang et al., ICLR 2019).

    Args:
        key: the configuration of the Hub data set `nyu-mll/glue`.
        title: as papers write it.
        columns: of the one or two texts.
        labels: names of the classes by label id; empty for a regression from 0 to 5.
        files: names of the leaderboard's files, in the order of the splits.
        metrics: names as `evaluate` gives them; the score of the task is their mean.
        validation, test: names of the splits.
        plain: the leaderboard wants the label ids, not their names.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    files: tuple[str, ...]
    metrics: tuple[str, ...]
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)
    plain: bool = False

    @property
    def regression(self) -> bool:
        return not self.labels

    @property
    def num_labels(self) -> int:
        return len(self.labels) or 1


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast: every command reads the file
_STORED = yaml.load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"), _LOADER)


def _rows(row: type[Row], stored: Mapping[str, Mapping[str, Any]], **shared: str) -> dict[str, Row]:
    """The rows of a part of the file by name."""
    cells = {
        name: {key: tuple(cell) if isinstance(cell, list) else cell for key, cell in entry.items()}
        for name, entry in stored.items()
    }
    return {name: row(name, **shared, **entry) for name, entry in cells.items()}


FAMILIES = _rows(Family, _STORED["families"])
ENCODERS = _rows(Encoder, _STORED["encoders"])
INTERACTIONS = _rows(Interaction, _STORED["interactions"])
ENTITY_ENCODERS = _rows(EntityEncoder, _STORED["entity_encoders"])
METHODS = {family: _rows(Method, stored, family=family) for family, stored in _STORED["methods"].items()}
METRICS = {measured: _rows(Metric, stored) for measured, stored in _STORED["metrics"].items()}
TASKS = _rows(GlueTask, _STORED["tasks"])

AX = replace(TASKS["mnli"], key="ax", title="AX", files=("AX.tsv",), validation=(), test=("test",))
"""The diagnostic set of GLUE: no training, a test split alone, answered by a model of MNLI."""


def lookup(rows: Mapping[str, Row], name: str, setting: str) -> Row:
    """The row of a name. PmdError, with the nearest name, if there is none; `setting` is the key that names it."""
    if name not in rows:
        takes_more = any(rows is table for table in (INTERACTIONS, *METHODS.values()))
        remedy = nearest(name, rows)
        if takes_more:
            remedy += " If it is your own," if remedy else "; if it is your own,"
            remedy += " first import the file that registers it (docs/extending.md)"
        raise PmdError(f"{setting}: '{name}' is not one of {', '.join(rows)}{remedy}")
    return rows[name]


def task_key(name: str) -> str:
    """The key of a task from its name in papers: `SST-2` -> `sst2`."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def task_of(name: str, setting: str = "task") -> GlueTask:
    """A task by its name on the Hub or in papers, in any case of letters. PmdError, with the nearest, if there is none."""
    return lookup(TASKS, task_key(name), setting)


def register(row: Interaction | Method) -> None:
    """Add a row. PmdError if its name is taken or could not be looked up, or if it is of another kind."""
    if not isinstance(row, (Interaction, Method)):
        raise PmdError(f"catalogue: {row!r} is neither an Interaction nor a Method; only these can be registered")
    if isinstance(row, Interaction) and row.name != row.name.lower():
        raise PmdError(f"catalogue: the name '{row.name}' is not in lower case; call it '{row.name.lower()}'")
    rows: Any = lookup(METHODS, row.family, "catalogue: family") if isinstance(row, Method) else INTERACTIONS
    if row.name in rows:
        raise PmdError(f"catalogue: the name '{row.name}' is taken by {rows[row.name].title}; choose another one")
    rows[row.name] = row


def choices(hint: Any) -> list[str]:
    """The names that a setting of this type takes, where the catalogue has them; empty for other types."""
    tables: dict[Any, Mapping[str, Any]] = {
        InteractionName: INTERACTIONS,
        TextMethod: METHODS["text"],
        EmbeddingMethod: METHODS["embedding"],
        EntityEncoderName: ENTITY_ENCODERS,
        BertMethod: METHODS["bert"],
        RankingMetric: METRICS["ranking"],
        TaskName: TASKS,
    }
    return next(([*tables[part]] for part in (hint, *get_args(hint)) if part in tables), [])

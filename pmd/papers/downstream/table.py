"""Table 5 of MED (Zhu et al., ACL 2025): embeddings of every width as features of other models.

Two tasks read entity embeddings, which stay as they are: labelling entities and recommending items to users. Rows are as
in `pmd.papers.med`: models of each width trained alone (DT), distilled or cropped ones, and croppable models, cropped to
the width. Two more: `none` is the recommender without embeddings, `PCA` reduces the widest DT model.

The graph of `base.data.path` decides which tasks there are: labels come from a file, from labels.tsv in the graph's folder
or from the prefixes of its ids; a recommender needs interactions.tsv. `shop` is a graph drawn from a seed that has both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor

from pmd.core.errors import PmdError, need_package
from pmd.core.run import Run
from pmd.data.graphs.files.tsv import find_file, read_lines
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.evaluation.tables import Table, write_tables
from pmd.models.kge.folder import load_for
from pmd.models.kge.interactions import make_interaction
from pmd.models.kge.model import KgeModel
from pmd.papers.downstream.interactions import read_interactions, read_labels
from pmd.papers.downstream.labelling import (
    SMALLEST_CLASS,
    LabellingConfig,
    large_classes,
    prefix_labels,
    train_labelling,
)
from pmd.papers.downstream.recommend import NcfConfig, standardised, train_ncf
from pmd.papers.downstream.shop import ShopConfig, make_shop, write_shop
from pmd.papers.med import methods_table, models_of, training_seconds
from pmd.papers.seeds import announce, finished_run
from pmd.recipes.kge import train_kge
from pmd.settings.checks import check_numbers, check_share
from pmd.settings.kge import KgeConfig, KgeTrainConfig, LossConfig, ModelConfig
from pmd.settings.med_table import TITLES as MED_TITLES
from pmd.settings.med_table import CroppableConfig, MedTableConfig, check_table, run_settings
from pmd.settings.shared import DataConfig
from pmd.settings.stages.kge import check_kge_run

Task = Literal["labelling", "recommendation"]
RowName = Literal["pca", "ext", "ext_l", "ext_v", "bkd", "dualde", "iterde"]
METRICS: dict[str, tuple[str, str]] = {"labelling": ("accuracy", "f1"), "recommendation": ("ndcg@5", "ndcg@10")}
TITLES = {"none": "no embedding", "pca": "PCA", **MED_TITLES}
SHOP = "shop"
"""The graph that is drawn; a folder of this name is `./shop`."""


def transe() -> KgeConfig:
    """TransE, as the paper has it, on the drawn shop."""
    return KgeConfig(
        data=DataConfig(SHOP),
        model=ModelConfig("transe", dim=64, widths=[4, 16, 64], norm="l2"),
        loss=LossConfig(negatives=32),
        train=KgeTrainConfig(epochs=40, lr=0.01, valid_every=10),
    )


@dataclass
class DownstreamConfig(MedTableConfig):
    """Methods by widths, compared by what their embeddings are worth to other models.

    Args:
        base: what all embedding models share, as for `pmd train`; `base.model.widths` are the columns.
        methods: rows beside `dt` and the croppable models.
        tuned: settings of single widths, of all methods or of some; the croppable ones have their own.
        croppable: the croppable models, a row each.
        seeds: of the embeddings, the split of the labels and the models of the tasks.
        out: folder of the runs and the table; the same command continues it where it was stopped.
        tasks: those of them that the graph has the data for.
        labels: a file with lines of entity id, tab, label; default: see above.
        shop: the graph that is drawn where `base.data.path` is `shop`.
        labelling: the classifier.
        ncf: the recommender.
    """

    base: KgeConfig = field(default_factory=transe)
    methods: list[RowName] = field(default_factory=lambda: ["pca", "dualde"])
    croppable: list[CroppableConfig] = field(default_factory=lambda: [CroppableConfig(name="best")])
    out: str = "runs/downstream"
    tasks: list[Task] = field(default_factory=lambda: ["labelling", "recommendation"])
    labels: str | None = None
    shop: ShopConfig = field(default_factory=ShopConfig)
    labelling: LabellingConfig = field(default_factory=LabellingConfig)
    ncf: NcfConfig = field(default_factory=NcfConfig)


@dataclass
class TasksConfig:
    """The config of a seed's `tasks` folder: the settings that its results depend on, beside those of the embeddings, and
    checksums of the data."""

    seed: int
    checksums: dict[str, str]
    labelling: LabellingConfig
    ncf: NcfConfig
    runs: str = ""
    name: str = ""


Features = Callable[[Tensor], Tensor]
"""Entity positions (n,) -> their vectors (n, d)."""
Solve = Callable[[Features | None, int], dict[str, Any]]
"""A task: (features, or None for none; seed) -> metrics of `valid` and `test`."""


def downstream(config: DownstreamConfig) -> str:
    """Train and solve what is not there yet; the tables in Markdown. PmdError for settings or data that cannot be
    used."""
    widths = config.base.model.widths
    check_table(config)
    if any(row.name == "pca" for row in config.croppable):
        raise PmdError("--croppable: 'pca' is the name of another row; choose one of your own")
    check_tasks(config)
    need_package("scikit-learn", "downstream tasks need", "downstream", "sklearn")  # before anything is trained
    config = replace(config, base=replace(config.base, data=replace(config.base.data, path=data_path(config))))
    settings = run_settings(config)
    check_kge_run(settings)
    graph = load_graph(config.base.data.path, **config.base.data.options)
    tasks = tasks_of(config, graph)
    checksums = data_checksums(config, graph)
    cells = {cell_name(task, *cell): (task, *cell) for task in tasks for cell in cells_of(config, task)}
    seconds: dict[str, list[float]] = defaultdict(list)
    results: dict[str, dict[str, dict[str, list[Any]]]] = {task: {} for task in tasks}
    text = ""
    for seed in config.seeds:
        announce(f"== seed {seed}")
        folder, settings = Path(config.out) / f"seed{seed}", replace(settings, seed=seed)
        stages = [stage.name for stage in settings.stages]
        main = finished_run(settings, folder / "main", stages, train_kge).results
        for row in rows_of(config):
            seconds[row].append(training_seconds(main, row, widths[-1]))

        def solve(tasks_config: TasksConfig, run: Run, folder: Path = folder) -> Run:
            for name, (task, row, width) in cells.items():
                if name not in run.finished:
                    metrics = tasks[task](features_of(folder, graph, row, width, widths), tasks_config.seed)
                    run.add_result(name, metrics)
                    tested = ", ".join(f"{key} {value:.3f}" for key, value in metrics["test"].items())
                    announce(f"{name.replace('_', ' ')}: {tested}")
            return run

        tasks_config = TasksConfig(seed, checksums, config.labelling, config.ncf)
        solved = finished_run(tasks_config, folder / "tasks", cells, solve).stored
        for name, (task, row, width) in cells.items():
            results[task].setdefault(row, {}).setdefault(str(width), []).append(solved[name])
        stored = {"seconds": seconds, "results": results}
        text = write_tables(Path(config.out), stored, tables_of(config, seconds, results))
    return text


def check_tasks(config: DownstreamConfig) -> None:
    """Refuse settings of the tasks that cannot work."""
    settings = {f"ncf.{name}": value for name, value in vars(config.ncf).items() if name != "dropout"}
    settings |= {f"labelling.{name}": value for name, value in vars(config.labelling).items() if name != "least"}
    empty = next((key for key, value in settings.items() if value == []), None)
    if empty:
        raise PmdError(f"{empty}: the list is empty; give at least one number")
    numbers = {key: min(value) if isinstance(value, list) else value for key, value in settings.items()}
    not_negative = {key: numbers.pop(key) for key in ("ncf.weight_decay", "labelling.l2")}
    check_numbers(numbers, not_negative)
    if config.labelling.least < SMALLEST_CLASS:
        raise PmdError(
            f"labelling.least: {config.labelling.least} entities are too few for a split; give at least {SMALLEST_CLASS}"
        )
    check_share("ncf.dropout", config.ncf.dropout, "[0, 1)")


def data_path(config: DownstreamConfig) -> str:
    """The path of the graph; `shop` is drawn into the `out` folder. PmdError if there is a shop of other settings, or if
    another graph has settings of a shop."""
    if config.base.data.path != SHOP:
        changed = next((f.name for f in fields(ShopConfig) if getattr(config.shop, f.name) != f.default), None)
        if changed is not None:
            raise PmdError(
                f"--shop.{changed}: nothing is drawn, the graph is '{config.base.data.path}'; leave it out, or set "
                f"base.data.path to {SHOP}"
            )
        return config.base.data.path
    folder, shop = Path(config.out) / SHOP, make_shop(config.shop)
    if not folder.exists():
        write_shop(shop, folder)
    elif load_graph(folder).checksum() != shop.graph.checksum():
        raise PmdError(f"'{folder}' was drawn with other settings of --shop; choose another --out, or remove it")
    return str(folder)


def task_files(config: DownstreamConfig) -> dict[str, Path]:
    """`labels` (those of the option, or of the graph's folder) and `interactions`, as far as there are such files."""
    folder = Path(config.base.data.path).expanduser()
    files = {name: find_file(folder, f"{name}.tsv") for name in ("labels", "interactions") if folder.is_dir()}
    if config.labels:
        files["labels"] = Path(config.labels).expanduser()
    return {name: file for name, file in files.items() if file}


def tasks_of(config: DownstreamConfig, graph: KnowledgeGraph) -> dict[str, Solve]:
    """The tasks that the graph has data for. PmdError if there is none."""
    tasks: dict[str, Solve] = {}
    files = task_files(config)
    if "labelling" in config.tasks and ("labels" in files or all(":" in key for key in graph.entity_ids)):
        labelled = read_labels(graph, files["labels"]) if "labels" in files else prefix_labels(graph)
        tasks["labelling"] = labelling_task(*labelled, config)
    if "recommendation" in config.tasks and "interactions" in files:
        tasks["recommendation"] = recommendation_task(graph, files["interactions"].parent, config)
    if not tasks:
        raise PmdError(
            f"--tasks: '{graph.name}' has neither labels (--labels, labels.tsv or prefixes of ids) nor interactions.tsv "
            f"for {' and '.join(config.tasks) or 'none'}; add them to its folder"
        )
    return tasks


def labelling_task(entities: Tensor, labels: Sequence[str], config: DownstreamConfig) -> Solve:
    """Label entities; classes that are too small are left out, and named."""
    settings = config.labelling
    kept, small = large_classes(labels, settings.least)
    if small:
        names = ", ".join(f"{label} ({count})" for label, count in small.items())
        announce(f"labelling: fewer than {settings.least} entities, left out: {names}")
    entities, labels = entities[kept], [labels[position] for position in kept]
    check_pca(config, entities)
    return lambda features, seed: train_labelling(features(entities), labels, settings, seed)[1]


def recommendation_task(graph: KnowledgeGraph, folder: Path, config: DownstreamConfig) -> Solve:
    """Recommend items to the users of interactions.tsv."""
    data = read_interactions(graph, folder)
    check_pca(config, data.users)
    return lambda features, seed: train_ncf(data, features and standardised(features(data.users)), config.ncf, seed)[1]


def check_pca(config: DownstreamConfig, entities: Tensor) -> None:
    """Refuse a width of `pca` that needs more entities than a task has."""
    parts, (*_, wide, widest) = make_interaction(config.base.model.interaction).entity_parts, config.base.model.widths
    if "pca" in config.methods:
        check_components(wide * parts, len(entities), widest * parts)


def data_checksums(config: DownstreamConfig, graph: KnowledgeGraph) -> dict[str, str]:
    """The SHA-256, shortened, of all that tasks may read: the graph and the files that exist."""
    texts = {name: "\n".join(read_lines(file)) for name, file in task_files(config).items()}
    sums = {name: sha256(text.encode()).hexdigest() for name, text in texts.items()}
    return {name: checksum[:12] for name, checksum in {"graph": graph.checksum(), **sums}.items()}


def rows_of(config: DownstreamConfig) -> list[str]:
    return ["dt", *config.methods, *(row.name for row in config.croppable)]


def cells_of(config: DownstreamConfig, task: str) -> Iterator[tuple[str, int | str]]:
    """Rows and widths of a task's table. Nothing teaches the widest; without embeddings there is no width."""
    widths = config.base.model.widths
    if task == "recommendation":
        yield "none", ""
    for row in rows_of(config):
        yield from ((row, width) for width in (widths[:-1] if row in config.methods else widths))


def cell_name(task: str, row: str, width: int | str) -> str:
    return f"{task}_{row}-{width}" if width else f"{task}_{row}"


def features_of(
    folder: Path, graph: KnowledgeGraph, row: str, width: int | str, widths: Sequence[int]
) -> Features | None:
    """The features of a row and width, from the models in the folder of a seed."""
    if row == "none":
        return None
    (model_row, model_width), vectors = (
        (("dt", widths[-1]), pca_vectors) if row == "pca" else ((row, width), KgeModel.entity_vectors)
    )
    model = load_for(models_of(model_row, widths, folder)[model_width], graph)
    return lambda entities: vectors(model, entities, width)


def check_components(components: int, entities: int, numbers: int) -> None:
    """Refuse more principal components than there are entities, or numbers for each."""
    if not 1 <= components <= min(entities, numbers):
        raise PmdError(f"PCA: {components} components of {entities} entities with {numbers} numbers; lower the width")


def pca_vectors(model: KgeModel, entities: Tensor, width: int) -> Tensor:
    """(n,) -> (n, parts · width): the principal components of these entities' whole embeddings."""
    from sklearn.decomposition import PCA

    whole = model.entity_vectors(entities).cpu().double()
    components = width * model.interaction.entity_parts
    check_components(components, *whole.shape)
    return torch.from_numpy(PCA(components, svd_solver="full").fit_transform(whole.numpy())).float()


def tables_of(config: DownstreamConfig, seconds: dict[str, list[float]], results: dict[str, Any]) -> list[Table]:
    """A table for each task and metric: methods down, widths across, the mean on the test over seeds."""
    widths, interaction = config.base.model.widths, config.base.model.interaction
    took = {row: fmean(of_seeds) for row, of_seeds in seconds.items()}
    tables = []
    for task, rows in results.items():
        for metric in METRICS[task]:
            values = {
                row: {w: [seed["test"][metric] for seed in cells.get(str(w), cells.get("", []))] for w in widths}
                for row, cells in rows.items()
            }
            tables.append(methods_table(f"{task}, {interaction}, {metric} by width", values, widths, took, TITLES))
    return tables

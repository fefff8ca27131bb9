"""Embeddings of every width at work: Table 5 of MED (Zhu et al., ACL 2025).

Two tasks read entity embeddings, which stay as they are: labelling entities (`pmd.papers.downstream.labelling`) and recommending items
to users (`pmd.papers.downstream.recommend`). Rows are as in `pmd.papers.med`: models of each width trained alone (DT), distilled or cut
ones, and croppable models, cut to the width. Two more: `none` is the recommender without embeddings, `PCA` reduces the
widest DT model.

The graph of `base.data.path` says which tasks there are: labels come from a file, from labels.tsv in the graph's folder or
from the prefixes of its ids; a recommender needs interactions.tsv. `shop` is a graph drawn from a seed that has both.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.files import write_json, write_text
from pmd.core.run import Run
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.data.graphs.tsv import find_file, read_lines
from pmd.models.kge.folder import load_for
from pmd.models.kge.interactions import make_interaction
from pmd.models.kge.vectors import entity_vectors
from pmd.papers import med_rows
from pmd.papers.downstream.features import check_components, pca_vectors, standardised
from pmd.papers.downstream.interactions import read_interactions, read_labels
from pmd.papers.downstream.labelling import SPLIT, LabellingConfig, large_classes, prefix_labels, train_labelling
from pmd.papers.downstream.metrics import sklearn
from pmd.papers.downstream.recommend import NcfConfig, train_ncf
from pmd.papers.downstream.shop import ShopConfig, make_shop, write_shop
from pmd.papers.seeds import finished_run
from pmd.recipes.kge import train_kge
from pmd.recipes.tables import markdown, spread
from pmd.settings.checks import check_numbers
from pmd.settings.kge import KgeConfig, KgeTrainConfig, LossConfig, ModelConfig
from pmd.settings.kge_stages import check_kge_run
from pmd.settings.med_table import TITLES as MED_TITLES
from pmd.settings.med_table import CroppableConfig, MedTableConfig, check_table, run_settings
from pmd.settings.shared import DataConfig

Task = Literal["labelling", "recommendation"]
Row = Literal["pca", "ext", "ext_l", "ext_v", "bkd", "dualde", "iterde"]
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
    """Methods by widths, by what their embeddings are worth to other models.

    Args:
        base: what all embedding models share, as for `pmd train`; `base.model.widths` are the columns.
        methods: rows beside `dt` and the croppable models.
        tuned: settings of single widths, of all methods or of some; the croppable ones have their own.
        croppable: the croppable models, a row each.
        seeds: of the embeddings, the split of the labels and the models of the tasks.
        out: folder of the runs and the table; the same command goes on where it was stopped.
        tasks: those of them that the graph has the data for.
        labels: a file with lines of entity id, tab, label; default: see above.
        shop: the graph that is drawn where `base.data.path` is `shop`.
        labelling: the classifier.
        ncf: the recommender.
    """

    base: KgeConfig = field(default_factory=transe)
    methods: list[Row] = field(default_factory=lambda: ["pca", "dualde"])
    croppable: list[CroppableConfig] = field(default_factory=lambda: [CroppableConfig(name="best")])
    out: str = "runs/downstream"
    tasks: list[Task] = field(default_factory=lambda: ["labelling", "recommendation"])
    labels: str | None = None
    shop: ShopConfig = field(default_factory=ShopConfig)
    labelling: LabellingConfig = field(default_factory=LabellingConfig)
    ncf: NcfConfig = field(default_factory=NcfConfig)


@dataclass
class TasksConfig:
    """What a seed's `tasks` folder answers: the settings that its results depend on, beside those of the embeddings, and
    checksums of the data."""

    seed: int
    checksums: dict[str, str]
    labelling: LabellingConfig
    ncf: NcfConfig
    runs: str = ""
    name: str = ""


Solve = Callable[[Callable[[Tensor], Tensor] | None, int], dict[str, Any]]
"""A task: (how to make vectors of entities, or None for none; seed) -> metrics of `valid` and `test`."""


def downstream(config: DownstreamConfig) -> str:
    """Train and solve what is not there yet; the tables in Markdown.

    Raises:
        PmdError: for settings or data that cannot be used.
    """
    widths = config.base.model.widths
    check_table(config)
    if any(row.name == "pca" for row in config.croppable):
        raise PmdError("--croppable: 'pca' is the name of another row; choose one of your own")
    check_tasks(config)
    sklearn("metrics")  # before anything is trained
    config = replace(config, base=replace(config.base, data=replace(config.base.data, path=data_path(config))))
    settings = run_settings(config)
    check_kge_run(settings)
    graph = load_graph(config.base.data.path, **config.base.data.options)
    tasks = tasks_of(config, graph)
    data = checksums(config, graph)
    seconds: dict[str, list[float]] = {}
    results: dict[str, dict[str, dict[str, list[Any]]]] = {task: {} for task in tasks}
    for seed in config.seeds:
        print(f"== seed {seed}", file=sys.stderr, flush=True)
        folder, settings = Path(config.out) / f"seed{seed}", replace(settings, seed=seed)
        run = finished_run(settings, folder / "main", [stage.name for stage in settings.stages], train_kge)
        for row in rows_of(config):
            seconds.setdefault(row, []).append(med_rows.training_seconds(run.results, row, widths[-1]))
        cells = {cell_name(task, *cell): (task, *cell) for task in tasks for cell in cells_of(config, task)}

        def solve(asked: TasksConfig, to: Run, cells=cells, run=run) -> Run:
            for name, (task, row, width) in cells.items():
                if name not in to.finished:
                    made = maker(run.folder.parent, graph, row, width, widths)
                    to.add_result(name, found := tasks[task](made, asked.seed))
                    shown = ", ".join(f"{key} {value:.3f}" for key, value in found["test"].items())
                    print(f"{name.replace('_', ' ')}: {shown}", file=sys.stderr, flush=True)
            return to

        asked = TasksConfig(seed, data, config.labelling, config.ncf)
        found = finished_run(asked, folder / "tasks", cells, solve).stored
        for name, (task, row, width) in cells.items():
            results[task].setdefault(row, {}).setdefault(str(width), []).append(found[name])
        write(config, seconds, results)
    return (Path(config.out) / "table.md").read_text(encoding="utf-8")


def check_tasks(config: DownstreamConfig) -> None:
    """Refuse settings of the tasks that cannot work."""
    ncf, labelling = config.ncf, config.labelling
    positive = {f"ncf.{name}": getattr(ncf, name) for name in ("factors", "negatives", "epochs", "valid_every")}
    positive |= {f"ncf.{name}": getattr(ncf, name) for name in ("patience", "batch_size", "lr")}
    positive |= {f"labelling.{name}": getattr(labelling, name) for name in ("hidden", "epochs", "lr")}
    lists = {"ncf.layers": ncf.layers, "ncf.weight_decay": ncf.weight_decay, "labelling.l2": labelling.l2}
    empty = next((key for key, values in lists.items() if not values), None)
    if empty:
        raise PmdError(f"{empty}: the list is empty; give at least one number")
    least = {key: min(values) for key, values in lists.items()}
    check_numbers({**positive, "ncf.layers": least.pop("ncf.layers")}, least)
    if labelling.least < SPLIT:
        raise PmdError(f"labelling.least: {labelling.least} entities are too few for a split; give at least {SPLIT}")
    if not 0 <= ncf.dropout < 1:
        raise PmdError(f"ncf.dropout: {ncf.dropout} is not in [0, 1)")


def data_path(config: DownstreamConfig) -> str:
    """Where the graph is; `shop` is drawn into the `out` folder. PmdError if there is a shop of other settings, or if
    another graph has settings of a shop."""
    if config.base.data.path != SHOP:
        given = next((f.name for f in fields(ShopConfig) if getattr(config.shop, f.name) != f.default), None)
        if given is not None:
            raise PmdError(
                f"--shop.{given}: nothing is drawn, the graph is '{config.base.data.path}'; leave it out, or set "
                f"base.data.path to {SHOP}"
            )
        return config.base.data.path
    folder, shop = Path(config.out) / SHOP, make_shop(config.shop)
    if not folder.exists():
        write_shop(shop, folder)
    elif load_graph(folder).checksum() != shop.graph.checksum():
        raise PmdError(f"'{folder}' was drawn with other settings of --shop; choose another --out, or remove it")
    return str(folder)


def tasks_of(config: DownstreamConfig, graph: KnowledgeGraph) -> dict[str, Solve]:
    """The tasks that the graph has data for. PmdError if there is none."""
    tasks: dict[str, Solve] = {}
    folder = Path(config.base.data.path).expanduser()
    if "labelling" in config.tasks:
        labelled = labels_of(config, graph, folder)
        if labelled:
            tasks["labelling"] = labelling_task(*labelled, config)
    if "recommendation" in config.tasks and folder.is_dir() and find_file(folder, "interactions.tsv"):
        tasks["recommendation"] = recommendation_task(graph, folder, config)
    if not tasks:
        raise PmdError(
            f"--tasks: '{graph.name}' has neither labels (--labels, labels.tsv or prefixes of ids) nor interactions.tsv "
            f"for {' and '.join(config.tasks) or 'none'}; add them to its folder"
        )
    return tasks


def labels_of(config: DownstreamConfig, graph: KnowledgeGraph, folder: Path) -> tuple[Tensor, list[str]] | None:
    """Labelled entities and their labels; None if nothing labels them."""
    if config.labels:
        return read_labels(graph, Path(config.labels).expanduser())
    path = find_file(folder, "labels.tsv") if folder.is_dir() else None
    if path:
        return read_labels(graph, path)
    return prefix_labels(graph) if all(":" in key for key in graph.entity_ids) else None


def labelling_task(entities: Tensor, labels: Sequence[str], config: DownstreamConfig) -> Solve:
    """Label entities; classes that are too small are left out, and named."""
    settings = config.labelling
    kept, small = large_classes(labels, settings.least)
    if small:
        named = ", ".join(f"{label} ({count})" for label, count in small.items())
        print(f"labelling: fewer than {settings.least} entities, left out: {named}", file=sys.stderr)
    entities, labels = entities[kept], [labels[place] for place in kept]
    check_pca(config, entities)
    return lambda vectors, seed: train_labelling(vectors(entities), labels, settings, seed)[1]


def recommendation_task(graph: KnowledgeGraph, folder: Path, config: DownstreamConfig) -> Solve:
    """Recommend items to the users of interactions.tsv."""
    data = read_interactions(graph, folder)
    check_pca(config, data.users)
    return lambda vectors, seed: train_ncf(data, vectors and standardised(vectors(data.users)), config.ncf, seed)[1]


def check_pca(config: DownstreamConfig, entities: Tensor) -> None:
    """Refuse a width of `pca` that needs more of a task's entities."""
    parts, (*_, wide, widest) = make_interaction(config.base.model.interaction).entity_parts, config.base.model.widths
    if "pca" in config.methods:
        check_components(wide * parts, len(entities), widest * parts)


def checksums(config: DownstreamConfig, graph: KnowledgeGraph) -> dict[str, str]:
    """The SHA-256, shortened, of what tasks read, whichever are asked for: the graph and the files that there are."""
    folder = Path(config.base.data.path).expanduser()
    files = {name: find_file(folder, f"{name}.tsv") for name in ("labels", "interactions") if folder.is_dir()}
    if config.labels:
        files["labels"] = Path(config.labels).expanduser()
    texts = {name: "\n".join(read_lines(file)) for name, file in files.items() if file}
    sums = {name: sha256(text.encode()).hexdigest() for name, text in texts.items()}
    return {name: found[:12] for name, found in {"graph": graph.checksum(), **sums}.items()}


def rows_of(config: DownstreamConfig) -> list[str]:
    return ["dt", *config.methods, *(row.name for row in config.croppable)]


def cells_of(config: DownstreamConfig, task: str) -> Iterator[tuple[str, int | str]]:
    """Rows and widths of a task's table. The widest is nobody's student; without embeddings there is no width."""
    widths = config.base.model.widths
    if task == "recommendation":
        yield "none", ""
    for row in rows_of(config):
        yield from ((row, width) for width in (widths[:-1] if row in config.methods else widths))


def cell_name(task: str, row: str, width: int | str) -> str:
    return f"{task}_{row}-{width}" if width else f"{task}_{row}"


def maker(
    folder: Path, graph: KnowledgeGraph, row: str, width: int | str, widths: Sequence[int]
) -> Callable[[Tensor], Tensor] | None:
    """What makes the vectors of entities, for a row and width, of the models in the folder of a seed."""
    if row == "none":
        return None
    if row == "pca":
        whole = load_for(med_rows.models_of("dt", widths, folder)[widths[-1]], graph)
        return lambda entities: pca_vectors(whole, entities, width)
    model = load_for(med_rows.models_of(row, widths, folder)[width], graph)
    return lambda entities: entity_vectors(model, entities, width)


def write(config: DownstreamConfig, seconds: dict[str, list[float]], results: dict[str, Any]) -> None:
    out, name = Path(config.out), config.base.model.interaction
    write_json(out / "results.json", {"seconds": seconds, "results": results})
    parts = [
        f"{task}, {name}, {metric} by width\n\n{task_table(config.base.model.widths, found, metric, seconds)}"
        for task, found in results.items()
        for metric in METRICS[task]
    ]
    write_text(out / "table.md", "\n\n".join(parts) + "\n")


def task_table(
    widths: Sequence[int], found: dict[str, dict[str, list[Any]]], metric: str, seconds: dict[str, list[float]]
) -> str:
    """Methods down, widths across, the mean on the test over seeds; the best of each width is bold."""
    cells = {
        row: {width: [r["test"][metric] for r in of.get(str(width), of.get("", []))] for width in widths}
        for row, of in found.items()
    }
    means = {(row, width): statistics.fmean(found) for row, of in cells.items() for width, found in of.items() if found}
    best = {width: max(mean for (_, other), mean in means.items() if other == width) for width in widths}

    def text(row: str, width: int) -> str:
        shown = spread(cells[row][width])
        return f"**{shown}**" if means.get((row, width)) == best[width] else shown

    rows = []
    for row in cells:
        took = f"{statistics.fmean(seconds[row]):,.0f}" if row in seconds else ""
        rows.append([TITLES.get(row, row), *(text(row, width) for width in widths), took])
    return markdown(["method", *(str(width) for width in widths), "training (s)"], rows)

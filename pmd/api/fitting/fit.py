"""`pmd fit`: whatever holds triples becomes models that answer, in the time that the user has."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pmd.api.fitting.go_on import model_of, plan_from
from pmd.api.fitting.plan import Plan, in_words, plans
from pmd.api.graphs import data_settings
from pmd.api.runs import progressive, train
from pmd.api.settings import settings_of
from pmd.api.state import undisturbed
from pmd.api.trained import TrainedRun
from pmd.core.cores import cores_at_start
from pmd.core.errors import GraphWarning, PmdError
from pmd.core.printing import answer_command, say
from pmd.core.quiet import quiet
from pmd.core.run import as_yaml
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.profile import number_named
from pmd.data.graphs.sources import remarks_on
from pmd.data.graphs.split import Shares
from pmd.evaluation.tables import ranking_cells, table_of
from pmd.recipes.update.changes import GraphState
from pmd.recipes.update.command import index_of, newer_data
from pmd.recipes.update.splits import is_split_here, keep_splits
from pmd.settings.shared import DataConfig

if TYPE_CHECKING:
    from pmd.use.answer_records import Answers

COMMANDS = {"text": "progressive", "embedding": "train"}
"""By kind of model, the command that trains it."""


@dataclass
class FitConfig:
    """From triples to answers: understand a graph, split it if need be, choose and train models, rank them, report.

    Args:
        data: the graph: a file or folder of triples in any layout of docs/graphs.md, or the name of a data set.
        minutes: the minutes that all of it may take on this machine.
        kind: `text` reads names and descriptions, `embedding` the structure alone; `auto` takes what suits the graph and
            fits the time, one or both.
        runs: folder of the run folders.
        seed: of everything random.
        from_run: (--from) a run, or a stage's folder in one, whose last model goes on to learn, by the settings that it had, for
            a third of its epochs at most; rows of an embedding are taken by id.
        report: write a web page about the runs.
        dry_run: print the settings as YAML, and train nothing.
    """

    data: DataConfig = field(default_factory=DataConfig)
    minutes: float = 30.0
    kind: Literal["auto", "text", "embedding", "both"] = "auto"
    runs: str = "runs"
    seed: int = 0
    from_run: str | None = None
    report: bool = True
    dry_run: bool = False


@dataclass(frozen=True, repr=False)
class FitResult:
    """What `fit` made.

    Args:
        graph: the graph, split.
        plans: the settings by kind of model, `text` or `embedding`.
        runs: the trained runs by kind.
        best: the kind with the best MRR on the validation split; None where nothing was trained.
        report: the page; None if none was asked for, or if matplotlib is missing.
        question: the command that asks the best model a first question.
    """

    graph: KnowledgeGraph
    plans: Mapping[str, Any]
    runs: Mapping[str, TrainedRun] = field(default_factory=dict)
    best: str | None = None
    report: Path | None = None
    question: str | None = None

    def answer(self, **question: Any) -> Answers:
        """Answers of the best model to a `question`, given as to `pmd.load(…).answer`."""
        return self.runs[self.best].load().answer(**question)

    def table(self) -> str:
        """A row for each model, in Markdown: how it ranks the test split."""
        records = []
        for kind, run in self.runs.items():
            (name, result), *_ = run.results.items()
            costs = {"parameters": f"{result.parameters:,}", "seconds": f"{result.train_seconds:,.0f}"}
            records.append({"model": kind, **ranking_cells(run.metrics(name, "test")), **costs, "run": str(run.folder)})
        return table_of(records, left=("run",)).markdown()

    def choice(self) -> str:
        """How the best of several models was chosen: by the validation split, so that the test split stays untouched."""
        mrr = {kind: f"{run.metrics(split='valid')['mrr']:.3f}" for kind, run in self.runs.items()}
        others = ", ".join(f"{kind} {value}" for kind, value in mrr.items() if kind != self.best)
        return f"best on valid: {self.best}, MRR {mrr[self.best]} ({others}); the table is of test"

    def _repr_markdown_(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return self.table() if self.runs else f"FitResult(plans={[*self.plans]})"


def fit(graph: Any = None, config: Any = None, **settings: Any) -> FitResult:
    """Train on any graph what fits the time, as `pmd fit` does.

    Args:
        graph: a graph, or what names or holds one (see `pmd.graph_from` and `pmd.load_graph`).
        config: a `FitConfig`.
        settings: what differs from it, as `minutes=10`.

    Returns:
        The result: `.runs` and `.plans` by kind of model, `.best`, `.report`, `.answer(…)`.

    Raises:
        PmdError: for data or settings that cannot be used.

    Example:
        >>> result = pmd.fit("edges.tsv", minutes=10)
        >>> result.best
        'embedding'
        >>> answers = result.answer(head="Austria", relation="official language")
    """
    options = settings_of(FitConfig, config, **settings)
    if graph is not None:
        options = settings_of(FitConfig, options, data=data_settings(graph, options.runs, settings.get("data")))
    check(options)
    with undisturbed():
        return fitted(options)


def check(config: FitConfig) -> None:
    """PmdError for settings that cannot work."""
    if config.from_run is not None and config.kind != "auto":
        raise PmdError("kind: a run that goes on is of its own kind; leave it out")
    if not 0 < config.minutes < float("inf"):
        raise PmdError(f"minutes: {config.minutes} is no time; give a number above 0, such as 30")


def fitted(config: FitConfig) -> FitResult:
    """What `fit` does, with its settings resolved."""
    quiet()
    began = time.monotonic()
    source = _source(config.data.path)
    model = None if config.from_run is None else model_of(config.from_run)
    if model is not None:
        config.data = newer_data(config.data, model)
    graph, data = _read(config, model)
    say(f"{'source':<11}{source}{_header(source, graph)}", *_understood(graph))
    if config.report and find_spec("matplotlib") is None:  # said now, not after training
        config = dataclasses.replace(config, report=False)
        say("no report is written: its pictures need matplotlib (pip install 'pmd[report]')")
    if model is None:
        made, remarks = plans(graph, data, config.kind, config.minutes, config.runs, config.seed)
    else:
        shared = (data, config.minutes, config.runs, config.seed)
        made, remarks = [plan_from(model, graph, *shared, dry_run=config.dry_run)], []
    say(*remarks, *(f"{plan.kind + ':':<11}{_described(plan)}" for plan in made))
    settings = {plan.kind: plan.config for plan in made}
    if config.dry_run:
        return FitResult(graph, settings)
    total = sum(plan.seconds for plan in made)
    over = f", more than the {config.minutes:g} asked for" if total > 60 * config.minutes else ""
    then = ", then the report" if config.report else ""
    say(f"{'time':<11}{in_words(total)} to train and rank{over}{then}", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GraphWarning)  # what there is to say of the graph was printed above
        runs = {plan.kind: (progressive if plan.kind == "text" else train)(config=plan.config) for plan in made}
    best = max(runs, key=lambda kind: runs[kind].metrics(split="valid")["mrr"])
    page = _page(list(runs.values())) if config.report else None
    say(f"{in_words(time.monotonic() - began)} in all", "")
    return FitResult(graph, settings, runs, best, page, _question(graph, runs[best].folder))


def _read(config: FitConfig, model: Path | None) -> tuple[KnowledgeGraph, DataConfig]:
    """The graph, and settings that load it again. A folder that lacks a split is written with its splits; facts of the graph of
    the `model` that goes on keep theirs."""
    from pmd.data.graphs.sources import read_graph

    graph = read_graph(config.data.path, shares=Shares(seed=config.seed), **config.data.options)
    path = Path(config.data.path).expanduser()
    if path.exists():
        config.data.path = str(path.resolve())
    if is_split_here(graph):
        graph = graph if model is None else keep_splits(graph, GraphState.of_index(index_of(model)))
        return graph, settings_of(DataConfig, **data_settings(graph, config.runs, {"cache": config.data.cache}))
    return graph, config.data


def _source(path: str) -> str:
    """What a path names."""
    place = Path(path).expanduser()
    kind = "one file" if place.is_file() else "a folder" if place.is_dir() else "a graph by name"
    return f"{path}, {kind}" if path != FitConfig().data.path else f"{path}, the graph that comes with the package"


def _header(source: str, graph: KnowledgeGraph) -> str:
    """That the files have no header, where they could; the notes of the graph name the words of one."""
    has_one = any("header" in note for note in graph.notes)
    return ", no header" if source.endswith(("one file", "a folder")) and not has_one else ""


def _understood(graph: KnowledgeGraph) -> list[str]:
    named = number_named(graph) / graph.num_entities
    described = sum(map(bool, graph.entity_descriptions)) / graph.num_entities
    cores = cores_at_start()
    from pmd.core.devices import best_device, device_name

    device = best_device()
    machine = f"{cores.free} of {cores.usable} cores free" if device.type == "cpu" else device_name(device)
    return [
        f"{'graph':<11}{graph.name}: {graph.sizes}",
        *(f"{'':<11}{note}" for note in remarks_on(graph)),
        f"{'texts':<11}{named:.0%} of the entities have a name that says more than their id, {described:.0%} a description",
        f"{'machine':<11}{machine}",
    ]


def _described(plan: Plan) -> str:
    config = plan.config
    if plan.kind == "text":
        encoder = config.encoder
        what = f"a BERT of {encoder.layers} layers from scratch" if encoder.name == "scratch" else encoder.name
        what += f" in {config.train.precision}" if config.train.precision != "no" else ""
    else:
        what = f"{config.model.interaction}, {config.model.dim} wide, by {config.loss.name}"
    return f"{what}; {plan.reason}"


def _page(runs: Sequence[TrainedRun]) -> Path:
    from pmd.reports.write import ReportConfig, report

    folders = [run.folder for run in runs]
    several = folders[0].parent / f"report-{folders[0].name}.html"  # beside those of other graphs and days
    return report(ReportConfig(run=[*map(str, folders)], out=str(several) if len(folders) > 1 else None))[0]


def _question(graph: KnowledgeGraph, run: Path) -> str:
    """The command that asks for the tail of a test triple."""
    head, relation, _ = graph.test[0].tolist()
    names = [graph.entity_names[head], graph.relation_names[relation]]
    ids = [graph.entity_ids[head], graph.relation_ids[relation]]
    values = [
        name if list(known).count(name) == 1 else key
        for name, key, known in zip(names, ids, (graph.entity_names, graph.relation_names))
    ]
    return answer_command(run, dict(zip(("head", "relation"), values)))


def fit_command(config: FitConfig) -> list[str]:
    """What `pmd fit` prints: a table, the report and a question; of a dry run the settings."""
    check(config)
    result = fitted(config)
    if not config.dry_run:
        page = [f"report: {result.report}"] if result.report else []
        choice = [result.choice()] if len(result.runs) > 1 else []
        return [result.table(), "", *choice, *page, f"ask it: {result.question}"]
    documents = []
    for kind, settings in result.plans.items():
        documents.append(f"# pmd {COMMANDS[kind]} --config THIS_FILE\n{as_yaml(settings)}")
    if len(documents) > 1:
        say("two runs; --kind text or --kind embedding prints the settings of one")
    return ["---\n".join(documents)]

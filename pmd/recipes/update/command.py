"""`pmd update`: a trained model of a newer state of its graph, without training: what changed is read anew, the rest is kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pmd.core.errors import PmdError
from pmd.core.files import new_folder
from pmd.models.families import ranking_family, stored_settings
from pmd.settings.shared import DataConfig
from pmd.use.index import Index, files_checksum, has_index, index_folder, model_files
from pmd.use.load import current_index, graph_of_run, known_graph, loaded, run_of
from pmd.use.locate import locate

if TYPE_CHECKING:
    from pmd.data.graphs.graph import KnowledgeGraph


@dataclass
class UpdateConfig:
    """Bring a trained model to a newer state of its graph: only texts that changed are encoded, new entities get a structure part
    from their facts, and facts that the model has never seen are ranked.

    Args:
        model: a run folder, a stage's folder in one, or a Hub id. Its graph then is the one of its index.
        data: the newer graph; by default what is now in the place of the run's. Ids decide which entities and relations are the
            same; settings that are left out are the run's.
        stage: stage of a run folder; by default the last finished one.
        revision: branch, tag or commit of a Hub id; by default main.
        out: the new folder, of a run a run with this stage; by default MODEL-updated beside it.
        steps: of gradient descent for the rows of new entities in an embedding; 0 leaves them at the mean of their like.
        max_facts: new facts of each split that are ranked, at most; 0 for none.
        keep_learned: keep what was learned on validation: how much types count, probabilities, sets and verdicts. By default it is
            learned again, which asks thousands of questions; for small changes of a large graph nothing else takes as long.
        dry_run: say what changed, and write nothing.
        batch_size: facts that are ranked at a time.
        threads: CPU threads; 0 for OMP_NUM_THREADS, or else for all free cores.
    """

    model: str
    data: DataConfig | None = None
    stage: str | None = None
    revision: str | None = None
    out: str | None = None
    steps: int = 100
    max_facts: int = 1000
    keep_learned: bool = False
    dry_run: bool = False
    batch_size: int = 256
    threads: int = 0


def update(config: UpdateConfig) -> str:
    """Write the new folder; what changed and how new facts rank, in tables.

    Raises:
        PmdError: if there is no such model or graph, if nothing tells what the graph was, and if an embedding model would need
            to know new relations.
    """
    if min(config.steps, config.max_facts) < 0 or config.batch_size < 1:
        raise PmdError(
            "steps, max_facts and batch_size: they cannot be negative; give 0 for none, and a batch of 1 or more"
        )
    folder = locate(config.model, config.stage, config.revision)
    ranking_family(stored_settings(folder), folder)
    out = None if config.dry_run else new_folder(config.out or default_out(config.model, folder))
    data = newer_data(config.data, folder)
    index = index_of(folder)
    graph = loaded(data)
    from pmd.recipes.update.changes import GraphState
    from pmd.recipes.update.splits import is_split_here, keep_splits, written
    from pmd.recipes.update.write import say_changes, write_update

    if is_split_here(graph):
        graph = keep_splits(graph, GraphState.of_index(index))
        data = data if out is None else written(graph, out.parent, data)
    if out is None:
        return say_changes(graph, index)
    return write_update(config, folder, out, data, graph, index)


def default_out(model: str, folder: Path) -> Path:
    """Beside the run, or beside a folder that is in none; a Hub id's in the current folder."""
    if not Path(model).expanduser().is_dir():
        return Path(f"{model.rsplit('/', 1)[-1]}-updated")
    run = run_of(folder).folder
    beside = run if (run / "config.yaml").is_file() else folder.resolve()
    return beside.with_name(f"{beside.name}-updated")


def newer_data(given: DataConfig | None, folder: Path) -> DataConfig:
    """The settings of the newer graph: those given, and of the run what they leave out."""
    source = known_graph(folder) if given is None else graph_of_run(folder)
    if given is None or source is None:
        return given or source
    usual = asdict(DataConfig())
    named = {name: value for name, value in asdict(given).items() if name == "path" or value != usual[name]}
    return replace(source, **named)


def index_of(folder: Path) -> Index:
    """The index of a model as it was when it was built, whatever has become of its graph since.

    Raises:
        PmdError: if it is of other weights, or if there is none and the graph of the run has changed.
    """
    if not has_index(folder):
        graph = graph_trained_on(folder)
        return current_index(folder, graph)
    index = Index(index_folder(folder), folder)
    if files_checksum(model_files(folder)) != index.metadata["model"]:
        raise PmdError(
            f"'{folder}' changed since its index was built; build it anew with the graph that the model is of: "
            f"pmd answer {folder} --build --data.path OLD"
        )
    return index


def graph_trained_on(folder: Path) -> KnowledgeGraph:
    """The graph that a run was trained on. PmdError if it has changed, or is gone."""
    source, noted = known_graph(folder), run_of(folder).data_checksum
    graph = loaded(source, folder)
    if noted is not None and not graph.has_checksum(noted):
        raise PmdError(
            f"'{folder}' has no index yet, and '{source.path}' has changed since it was trained, so nothing tells what is new; "
            f"build the index with the graph as it was: pmd answer {folder} --build --data.path OLD"
        )
    return graph

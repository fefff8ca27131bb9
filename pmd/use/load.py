"""`pmd.load`: a model of a folder, a run or a Hub id, ready to answer questions, with a fresh index.

Nothing heavy is imported here: a question to a text model that has an index needs NumPy alone.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from pmd.core.cores import sleep_while_waiting
from pmd.core.errors import PmdError, names_options, warn
from pmd.core.manifest import check_manifest
from pmd.core.run import Run
from pmd.models.families import ranking_family, stored_settings
from pmd.settings.shared import DataConfig
from pmd.use.index import (
    COMPLETED,
    FileStats,
    Index,
    file_stats,
    files_checksum,
    graph_files,
    has_index,
    index_folder,
    model_files,
)
from pmd.use.locate import locate

if TYPE_CHECKING:
    import torch

    from pmd.core.types import TripleScorer
    from pmd.data.graphs.graph import KnowledgeGraph
    from pmd.use.embedding_models import TrainedKge
    from pmd.use.fused_models import TrainedFused
    from pmd.use.text_models import TrainedText

DATA = Path(__file__).parents[1] / "data"
"""Where bundled graphs lie."""


@names_options
def load(
    folder: str | os.PathLike[str],
    graph: KnowledgeGraph | DataConfig | str | None = None,
    *,
    stage: str | None = None,
    revision: str | None = None,
) -> TrainedKge | TrainedText | TrainedFused:
    """A trained model that answers (`.answer`) and can be cropped (`.crop`).

    Args:
        folder: a stage's folder in a run, a run folder, or a Hub id.
        graph: the model's graph, or where it comes from; by default that of the run that the folder is in. Without
            either, the folder's own index answers.
        stage: of a run folder; by default the last finished one.
        revision: of a Hub id: a branch, a tag or a commit; by default main.

    Returns:
        The model, with an index of its graph, which is built where there is none.

    Raises:
        PmdError: if there is no such model.

    Example:
        >>> model = pmd.load("runs/world-…")
        >>> answers = model.answer(head="Austria", relation="official language", top_k=3)
        >>> [answer.name for answer in answers.known]
        ['German']
        >>> len(answers.answers)
        3
    """
    model = locate(os.fspath(folder), stage, revision)
    open_index = functools.cache(lambda: current_index(model, graph))
    settings = stored_settings(model)
    return ranking_family(settings, model).load_use().open_model(model, settings, open_index)


@names_options
def load_scorer(
    folder: str | Path,
    graph: KnowledgeGraph,
    *,
    device: torch.device | str = "cpu",
    cache: str | None = None,
    shared: bool = False,
) -> TripleScorer:
    """A trained text, embedding or fused model as a scorer of a graph.

    Args:
        folder: a stage's folder in a run, a run (its last finished stage), or a Hub id.
        graph: the graph to score. A text model reads any, and so does a fused one; an embedding model only its own.
        device: where the model computes.
        cache: folder for tokenised texts.
        shared: whether several processes share what is encoded, here and by `prepare`; all must then call both alike.

    Returns:
        The scorer: `.score_all(triples, target)` gives scores (b, num_entities) to int64 triples (b, 3).

    Raises:
        PmdError: if there is no such model, or if it cannot score this graph.

    Example:
        >>> graph = pmd.load_graph("world")
        >>> scorer = pmd.load_scorer("runs/world-…/grade1", graph)
        >>> tuple(scorer.score_all(graph.test[:5], "tail").shape)
        (5, 1887)
    """
    folder = locate(str(folder))
    family = ranking_family(stored_settings(folder), folder)
    return family.load_module().scorer(folder, graph, device=device, cache=cache, shared=shared)


def current_index(
    model: Path, graph: KnowledgeGraph | DataConfig | str | None = None, *, rebuild: bool = False
) -> Index:
    """The index of a model's folder: built if there is none, and built anew if the graph or the model has changed.

    The graph of the model's run may be gone, or on the Hub; then it is taken to be as it was. A graph that is named here
    is compared.

    Raises:
        PmdError: if the index is broken, if it must be built and no graph is found, or if there is no graph of that name.
    """
    named = graph is not None
    source = graph if named else graph_of_run(model)
    if isinstance(source, str):
        source = DataConfig(path=source)
    if rebuild or not has_index(model, any_format=source is None):
        return build(model, source, named=named)
    index = Index(index_folder(model), model)
    changed = changes(index, model, source, named=named)
    if not changed:
        index = completed(index, model, source, named=named)
        if remark := index.remark_on_learning():
            warn(remark)
        return index
    if "the model" in changed:
        check_weights(model)
    print(f"{model}: {' and '.join(changed)} changed since its index was built; building it anew", file=sys.stderr)
    return build(model, source, named=named, earlier=None if "the model" in changed else index)


def completed(index: Index, model: Path, source: KnowledgeGraph | DataConfig | None, *, named: bool) -> Index:
    """The index with all that this version learns of a model; as it is where it has that, where its graph is not at hand, and
    where nothing can be written."""
    missing = [name for name in COMPLETED if name not in index.metadata]
    at_hand = graph_file_stats(source) is not None if isinstance(source, DataConfig) else source is not None
    if not missing or not at_hand:
        return index
    sleep_while_waiting()
    from pmd.use.index_writer import complete_index

    print(f"{model}: its index is of an older version, without {' and '.join(missing)}; completing it", file=sys.stderr)
    graph = loaded(source, None if named else model) if isinstance(source, DataConfig) else source
    try:
        return complete_index(index, model, graph)
    except PmdError as error:
        print(f"{model}: {error}; it answers without", file=sys.stderr)
        return index


def changes(index: Index, model: Path, source: KnowledgeGraph | DataConfig | None, *, named: bool) -> list[str]:
    """What has changed since the index was built: `the model`, `the graph`, both or nothing.

    Files of the same size and time are the same. Where these differ, checksums decide; if the content is the same, the
    index notes the new times. A graph that is in no folder here is loaded only if it is `named`.
    """
    changed, metadata = [], index.metadata
    files = model_files(model)
    stats = file_stats(model, files)
    if stats != metadata["model_files"]:
        if files_checksum(files) != metadata["model"]:
            changed.append("the model")
        else:
            index.update(model_files=stats)
    if isinstance(source, DataConfig):
        stats = graph_file_stats(source)
        # Options may read the same files in another way.
        doubtful = named if stats is None else stats != metadata["graph_files"] or (named and bool(source.options))
        if doubtful and loaded(source, None if named else model).checksum() != metadata["graph"]:
            changed.append("the graph")
        elif doubtful and stats is not None:
            index.update(graph_files=stats)
    elif source is not None and source.checksum() != metadata["graph"]:
        changed.append("the graph")
    return changed


def check_weights(model: Path) -> None:
    """PmdError if a file of weights is cut off or damaged."""
    weights = {file for file in model_files(model) if file.suffix == ".safetensors"}
    for file in sorted({*model.glob("*.safetensors"), *weights}):
        try:
            safe_open(file, "numpy")
        except (SafetensorError, OSError) as error:
            raise PmdError(f"{file}: is cut off or damaged ({error}); copy or download it anew") from None


def run_of(model: Path) -> Run:
    """The run that a model's folder is in, if it is in one."""
    return Run(model.resolve().parent)


def graph_of_run(model: Path) -> DataConfig | None:
    """Where the graph of a model's run is: where the run noted, or else as its settings say; None if the folder is in no
    run."""
    file = run_of(model).folder / "config.yaml"
    if not file.is_file():
        return None
    data, place = run_of(model).settings["data"], run_of(model).data_place
    try:
        return DataConfig(**data | ({"path": str(place)} if place and place.exists() else {}))
    except TypeError as error:  # of other settings
        reason = str(error).partition(" ")[2]
        raise PmdError(f"'{file}': data {reason}; restore it, or say which graph by --data.path") from None


def known_graph(model: Path) -> DataConfig:
    """As `graph_of_run`. PmdError if the folder is in no run."""
    source = graph_of_run(model)
    if source is None:
        raise PmdError(
            f"'{model}' is in no run folder here, so say which graph it is of: --data.path my_graph (in Python graph=\"my_graph\")"
        )
    return source


def graph_file_stats(source: DataConfig) -> FileStats | None:
    """Size and time of the files of a graph; None if it is in no folder or file here."""
    folder = Path(source.path).expanduser()
    if folder.is_file():
        return file_stats(folder.parent, [folder])
    if folder.name == source.path and (DATA / source.path / "train.tsv").is_file():  # a name, not a path
        folder = DATA / source.path
    return file_stats(folder, graph_files(folder)) if folder.is_dir() else None


def loaded(source: DataConfig, model: Path | None = None) -> KnowledgeGraph:
    """The graph of a source; `model` is the model's folder if the user names no graph and the model's run does, which has said
    then what there is to say of it.

    Raises:
        PmdError: for a graph that cannot be read, and for another graph than the run's, unless it has changed in the place
            that the run noted.
    """
    from pmd.data.graphs.sources import load_graph, read_graph

    if model is None:
        return load_graph(source.path, **source.options)
    run = run_of(model)
    origin = f"'{run.folder}' was trained on '{run.data_place or source.path}'"
    try:
        graph = read_graph(source.path, **source.options)
    except PmdError as error:
        raise PmdError(f"{error} ({origin}; say where that is now: --data.path FOLDER)") from None
    path = Path(source.path).expanduser()
    noted = run.data_checksum
    if path.exists() and path != run.data_place and noted is not None and not graph.has_checksum(noted):
        raise PmdError(f"{origin}, and '{source.path}' here is another graph; say which is meant: --data.path FOLDER")
    return graph


def build(
    model: Path, source: KnowledgeGraph | DataConfig | None, *, named: bool, earlier: Index | None = None
) -> Index:
    """Build the index of a model's folder; of an `earlier` one of the same model, vectors of texts that are as they were are
    taken. PmdError if no graph is found, or if the model is of another graph."""
    if source is None:
        source = known_graph(model)
    sleep_while_waiting()
    from pmd.use.index_writer import build_index

    # Before the graph is read: what changes meanwhile will be compared again.
    stats = (graph_file_stats(source) if isinstance(source, DataConfig) else None) or {}
    graph, cache = (
        (loaded(source, None if named else model), source.cache) if isinstance(source, DataConfig) else (source, None)
    )
    family = ranking_family(stored_settings(model), model)
    check_manifest(model, checksums=True)
    return build_index(model, graph, stats, family=family, cache=cache, earlier=earlier)

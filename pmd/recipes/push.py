"""A stage of a run on the Hub: a folder that answers by itself, its card, and the upload.

The folder has the model, its tokenizer, the graph's vocabulary and the index that answers are read from. It is put
together apart from the run, which only gets the index that a question would build.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from safetensors import safe_open

from pmd.core.errors import PmdError
from pmd.core.files import new_folder, read_object, write_folder
from pmd.core.manifest import check_manifest, write_manifest
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.data.graphs.sources import terms_of
from pmd.evaluation.tables import markdown, ranking_tables
from pmd.hub.card import card
from pmd.hub.facts import Example, Facts, Graph
from pmd.hub.push import check_repo, check_token, push, sendable
from pmd.models.families import family_of, stored_settings, width_of
from pmd.models.text.precision import SCALE
from pmd.recipes.glue_tables import run_table
from pmd.recipes.update import UPDATED
from pmd.settings.catalogue import Family, task_of
from pmd.settings.glue import GlueDataConfig
from pmd.settings.shared import DataConfig
from pmd.use.index import Index
from pmd.use.load import check_weights, current_index, graph_of_run, load
from pmd.use.locate import stage_folder

SENT = ("*.json", "*.txt", "model*.safetensors", "entities.tsv", "relations.tsv")
"""Of a stage's folder. Its entities.safetensors has the vectors of the index once more."""
SENT_OF_PARTS = ("weights.safetensors", *(f"{part}/{name}" for part in ("text", "structure") for name in SENT))
"""The same of a fused model."""


@dataclass
class PushConfig:
    """Publish a model of a run on the Hugging Face Hub, with a card written from the run.

    Args:
        model: a run folder or a stage's folder in one; or a folder that --dry-run wrote, which is sent as it is.
        repo: the name of the model on the Hub, user/name.
        stage: stage of a run folder; by default the last finished one.
        grade: number of layers of a grade of a progressive distillation, instead of its stage: 3 for grade3.
        width: number of leading dimensions to send; by default all. Of a fused model, those of the text.
        structure_width: the number of dimensions of a fused model's structure to send; by default all.
        private: make the repository private.
        update: replace a model that the repository already holds.
        revision: branch of the repository; by default main.
        license: licence of the model, for its card: apache-2.0, mit, cc-by-4.0 …
        token: access token; by default HF_TOKEN, or that of `hf auth login`.
        dry_run: write the folder and list what would be sent, but send nothing.
        out: where the folder is kept; needed with --dry-run.
        data: the graph of the run, if it has been moved.
    """

    model: str
    repo: str
    stage: str | None = None
    grade: int | None = None
    width: int | None = None
    structure_width: int | None = None
    private: bool = False
    update: bool = False
    revision: str | None = None
    license: str | None = None
    token: str | None = None
    dry_run: bool = False
    out: str | None = None
    data: DataConfig | None = None


def publish(config: PushConfig) -> str:
    """Push, or with `dry_run` only write what would be sent; the text to print.

    Raises:
        PmdError: for a model, a name or a token that cannot be used, and if the Hub cannot be reached.
    """
    check_repo(config.repo)
    if config.dry_run and config.out is None:
        raise PmdError("dry_run: say where the folder goes: --out FOLDER")
    given = Path(config.model).expanduser()
    if is_written(given):
        refuse_options(config)
        return sent(config, given, f"{config.repo.split('/')[1]}, by pmd push")
    stage = asked_stage(config, given)
    if not config.dry_run:
        check_token(config.token)  # before an index is built, which may take long
    with tempfile.TemporaryDirectory(prefix="pmd-push-") as temporary:
        folder = new_folder(config.out or Path(temporary) / "model")
        write_folder(folder, lambda aside: assemble(config, stage, aside))
        text = sent(config, folder, f"{stage.resolve().parent.name}, {stage.name}, by pmd push")
    if config.license is None:
        print("the card names no licence; --license apache-2.0 adds one", file=sys.stderr)
    return text


def sent(config: PushConfig, folder: Path, message: str) -> str:
    """Send a folder unless it is a dry run; what was sent."""
    files = sendable(folder)
    if config.dry_run:
        rows = [*((name, f"{size:,}") for name, size in files.items()), ("all", f"{sum(files.values()):,}")]
        return f"{markdown(('file', 'bytes'), rows)}\n\n{folder}: what {config.repo} would get; nothing was sent"
    options = {name: getattr(config, name) for name in ("private", "update", "revision", "token")}
    url = push(folder, config.repo, message=message, **options)
    return f"{url}: {len(files)} files, {sum(files.values()) / 1e6:,.1f} MB"


def is_written(folder: Path) -> bool:
    """Whether a folder has a model and its card, and is no stage of a run: what --dry-run writes."""
    has = all((folder / name).is_file() for name in ("config.json", "README.md"))
    return has and not in_run(folder)


def in_run(folder: Path) -> bool:
    """Whether a folder is a finished stage of the run that it lies in."""
    run = folder.resolve().parent
    return (run / "config.yaml").is_file() and folder.resolve().name in Run(run).finished


def refuse_options(config: PushConfig) -> None:
    """Refuse what a folder that is written already cannot follow any more."""
    for name in ("stage", "grade", "width", "structure_width", "license", "out", "dry_run"):
        if getattr(config, name):
            raise PmdError(f"{name}: '{config.model}' is written already and is sent as it is; leave the option out")


def asked_stage(config: PushConfig, given: Path) -> Path:
    """The folder of the stage that is meant. PmdError if there is none, or if it is in no run."""
    if config.grade is not None and config.stage is not None:
        raise PmdError("grade: the stage is named already; leave one of the two out")
    name = f"grade{config.grade}" if config.grade is not None else config.stage
    if (given / "config.yaml").is_file():
        stage = stage_folder(given, name)
        if name is None and len(Run(given).finished) > 1:
            print(f"taking {stage.name}, the last stage that is finished", file=sys.stderr)
        return stage
    if not in_run(given):
        raise PmdError(
            f"model: '{given}' is neither a run nor a finished stage of one, and a card is written from a run"
        )
    if name is not None:
        raise PmdError(f"stage: '{given}' is one already; leave out --stage and --grade, or give the run's folder")
    return given.resolve()


def assemble(config: PushConfig, stage: Path, folder: Path) -> None:
    """Write the folder that is sent."""
    family = family_of(stored_settings(stage), stage)
    check_manifest(stage, checksums=True)
    check_weights(stage)
    settings = stored_settings(stage)
    whole = settings.get("text_dim") or width_of(settings)
    if config.width in (None, whole) and config.structure_width is None:
        patterns = (*SENT, *SENT_OF_PARTS)
        for source in sorted({path for pattern in patterns for path in stage.glob(pattern) if path.is_file()}):
            (folder / source.relative_to(stage)).parent.mkdir(exist_ok=True)
            shutil.copy2(source, folder / source.relative_to(stage))
        if family.ranks:
            shutil.copytree(current_index(stage, config.data).folder, folder / "index")
    else:
        from pmd.recipes.crop import CropConfig, crop

        options = {"structure_width": config.structure_width, "data": config.data}
        crop(CropConfig(str(stage), config.width or whole, str(folder), **options))
        if family.ranks:
            current_index(folder, config.data or graph_of_run(stage))
            for part in (folder, folder / "text"):
                (part / "entities.safetensors").unlink(missing_ok=True)
    if family.ranks:
        index = Index(folder / "index")
        graphs = (index.metadata["graph"], index.metadata.get("graph_without_types"))
        if Run(stage.parent).data_checksum not in (None, *graphs):
            raise PmdError(
                f"'{stage.parent}' was run on another graph than the index holds that would be sent, and its metrics are "
                "of that one; name its own by --data.path, or start a new run"
            )
        index.update(graph_files={})  # the names of neighbouring files are not published
    write_manifest(folder)
    (folder / "README.md").write_text(card(facts_of(config, family, stage, folder)), encoding="utf-8")


def facts_of(config: PushConfig, family: Family, stage: Path, folder: Path) -> Facts:
    """What the card says of the model in a folder, taken from a stage of a run."""
    run = Run(stage.parent)
    config_yaml, result = run.settings, run.results[stage.name]
    settings, weights = stored_settings(folder), sorted(folder.rglob("model*.safetensors"))
    dim, data = width_of(settings), config_yaml["data"].get("path")
    index = Index(folder / "index") if family.ranks else None
    graph = index and graph_of(index)
    return Facts(
        repo=config.repo,
        revision=config.revision,
        family=family.name,
        stage=stage.name,
        config=config_yaml,
        results=run.results,
        environment=read_object(run.folder / "env.json", "restore it, or remove it"),
        encoder=settings.get("encoder", {}).get("model_type"),
        dim=dim,
        whole=width_of(stored_settings(stage)),
        widths=tuple(width for width in settings.get("widths") or () if width <= dim) or (dim,),
        # What an encoder of entities has read of the graph lies beside its parameters.
        parameters=result.parameters if result.entity_encoder else sum(numbers_in(path) for path in weights),
        size=sum(path.stat().st_size for path in weights),
        tables=tables_of(family, config_yaml, run.results),
        graph=graph,
        example=index and example_of(folder, index),
        dataset=dataset_of(data, graph),
        base_model=hub_id((config_yaml.get("encoder") or config_yaml.get("model") or {}).get("name")),
        fused=settings if family.name == "fused" else None,
        license=config.license,
        notes=" ".join(filter(None, (terms_of(data), note_of_update(stage)))) or None,
    )


def note_of_update(stage: Path) -> str | None:
    """That a model was brought to a newer state of its graph, for its card; None for any other."""
    facts = read_object(stage / UPDATED, "restore it, or remove it")
    if not facts:
        return None
    counts = facts["changes"]
    new = sum(kinds["new"] for name, kinds in counts.items() if name.startswith("facts"))
    return (
        "The model was trained on an earlier state of this graph, and the metrics here are of that state; since then "
        f"{counts['entities']['new']:,} entities and {new:,} facts are new (update.json)."
    )


def numbers_in(weights: Path) -> int:
    """How many parameters a file of weights has."""
    with safe_open(weights, "numpy") as stored:
        names = (name for name in stored.keys() if not name.endswith(SCALE))  # noqa: SIM118
        return sum(prod(stored.get_slice(name).get_shape()) for name in names)


def tables_of(family: Family, config: Mapping[str, Any], results: Mapping[str, StageResult]) -> dict[str, str]:
    """The table of all stages of a run, by split, as the run prints it."""
    if not family.ranks:
        return {"validation": run_table(results, task_of(config["task"])).markdown()}
    split = config["evaluation"]["split"]
    splits = [split] if isinstance(split, str) else split
    return ranking_tables(results, splits)


def graph_of(index: Index) -> Graph:
    """Name and sizes of an index's graph."""
    bits, facts = index.column("tail_splits"), index.metadata
    triples = {name: int((bits >> bit & 1).sum()) for bit, name in enumerate(facts["splits"])}
    return Graph(facts["graph_name"], index.num_entities, index.num_relations, triples)


def example_of(folder: Path, index: Index) -> Example | None:
    """The first tail query of the test split, or else of any, and what the model in the folder answers."""
    keys, bits = index.column("tail_keys"), index.column("tail_splits")
    if not len(keys):
        return None
    tested = (bits >> index.metadata["splits"].index("test") & 1).nonzero()[0]
    query = int(keys[tested[0] if len(tested) else 0]) // index.num_entities
    question = {
        part: spoken(names, row)
        for part, names, row in (
            ("head", index.entities, query // index.num_relations),
            ("relation", index.relations, query % index.num_relations),
        )
    }
    answers = load(folder).answer(**question, top_k=3, all=True)
    return Example(question, tuple((answer.name, answer.score) for answer in answers))


def spoken(names: Any, row: int) -> str:
    """The name of a row, or its id where others have the same name."""
    key, name = names.pair(row)
    try:
        return name if names.find(name, "name") == row else key
    except PmdError:
        return key


def dataset_of(path: str, graph: Graph | None) -> str | None:
    """The Hub id of the data, where it is known to be of the Hub: the name of a graph has a slash only then, and GLUE's
    default is such an id. Any other path may have been that of a folder that is gone."""
    if graph is None:
        return path if path == GlueDataConfig.path else None
    return graph.name if "/" in graph.name else None


def hub_id(name: str | None) -> str | None:
    """The name of the weights that a run began with, where this machine has fetched them from the Hub."""
    if name is None or Path(name).expanduser().exists():
        return None
    try:
        return name if isinstance(try_to_load_from_cache(name, "config.json"), str) else None
    except HFValidationError:  # a path
        return None

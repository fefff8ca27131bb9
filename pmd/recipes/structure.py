"""The structure of a run of text models: an embedding model, trained after the grades and fused with the last one.

RUN/structure and RUN/fused are stages like others; RUN/embedding holds the run that trained the embedding model.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pmd.core.distributed import together
from pmd.core.errors import PmdError
from pmd.core.files import write_folder
from pmd.core.printing import printable
from pmd.core.run import Run
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.models.families import family_of, stored_settings
from pmd.models.kge.as_products import product_tables
from pmd.models.kge.folder import load_for
from pmd.models.kge.model import KgeModel
from pmd.recipes.fuse import PART, STAGE, add_rules, fuse_stage, load_parts, weigh, write_table
from pmd.recipes.kge import train_kge
from pmd.settings.fuse import FuseConfig
from pmd.settings.kge import KgeConfig
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.kge import check_kge_run
from pmd.settings.text import ProgressiveConfig
from pmd.use.load import run_of
from pmd.use.locate import locate

EMBEDDING = "embedding"
"""The folder of the run of the embedding model."""


def embedding_settings(config: ProgressiveConfig, runs: Path) -> KgeConfig:
    """The settings of the embedding model of a run of text models. PmdError for those that cannot work, and for a model that
    cannot be fused."""
    if config.evaluation.rerank_hops:
        raise PmdError(
            "structure: with evaluation.rerank_hops; a fused model has no cosines to add to, leave one of the two out"
            " (--structure null)"
        )
    for stage in config.stages or ():
        if stage.name in (PART, STAGE, EMBEDDING):
            raise PmdError(
                f"stages: with structure, '{stage.name}' is a folder of the embedding model or of the fused one; name the"
                " stage otherwise, or leave structure out (--structure null)"
            )
    settings = given_settings(config.structure)
    splits = [split for split in config.evaluation.splits if not split.startswith("inductive_")]
    settings = replace(
        settings,
        name=EMBEDDING,
        seed=config.seed,
        runs=str(runs),
        data=config.data,
        train=replace(settings.train, threads=config.train.threads, precision=config.train.precision),
        evaluation=replace(config.evaluation, split=splits or "test"),
    )
    model = settings.model
    try:
        check_kge_run(settings)
        product_tables(KgeModel(model.interaction, 2, 1, 4, norm=model.norm, reciprocal=model.reciprocal))
    except PmdError as error:
        raise PmdError(f"structure: '{config.structure}': {str(error).removeprefix('structure: ')}") from None
    return settings


def given_settings(structure: str) -> KgeConfig:
    """The settings of a config of `pmd train`, by name or as a file. PmdError, naming the option, if there is none."""
    if Path(structure).expanduser().is_dir():
        raise PmdError(
            f"structure: '{structure}' is a folder; give a config of `pmd train`, by name or as a file"
            " (a trained embedding model is fused by `pmd fuse`)"
        )
    try:
        return read_config(KgeConfig, ["--config", structure])
    except PmdError as error:
        raise PmdError(f"structure: {str(error).removeprefix('--config: ')}") from None


def add_structure(config: ProgressiveConfig, run: Run) -> None:
    """Train the embedding model of `structure`, fuse it with the last grade, and add both to a run's results and tables;
    what is finished is not done again."""
    if STAGE in run.loadable:
        if run.main:
            add_rules(run)
        return
    with together():  # before a process begins a run that others would find
        for folder in (run.folder / EMBEDDING).glob("*") if run.main else ():
            with suppress(OSError):  # not empty: only a process killed before it wrote settings left one that is
                folder.rmdir()
        begun = sorted((run.folder / EMBEDDING).glob("*/config.yaml"))
    embedding = train_kge(
        embedding_settings(config, run.folder / EMBEDDING), Run(begun[-1].parent, main=run.main) if begun else None
    )
    name, grades = embedding.loadable[-1], [stage for stage in run.loadable if stage != PART]
    ignored = shutil.ignore_patterns("index")
    with together():
        if run.main:
            write_folder(
                run.folder / PART,
                lambda aside: shutil.copytree(embedding.folder / name, aside, dirs_exist_ok=True, ignore=ignored),
            )
            run.add_result(PART, embedding.results[name])
    parts = [str(run.folder / stage) for stage in (grades[-1], PART)]
    options = FuseConfig(*parts, str(run.folder / STAGE), data=config.data, evaluation=config.evaluation)
    weighed = weigh(load_parts(options, "cpu"), options)
    fuse_stage(STAGE, weighed, options, run)
    if not run.main:
        return
    write_table(run, weighed, options)
    said = f"{STAGE}: {PART} and {grades[-1]} -> {run.folder / STAGE}\n\n{weighed.rules.markdown()}\n"
    print(printable(said), file=sys.stderr, flush=True)


def structure_of(folder: str, graph: KnowledgeGraph) -> KgeModel:
    """The embedding model of a run or of a stage's folder. PmdError if it is none, or of another graph."""
    try:
        model = locate(folder)
        if family_of(stored_settings(model), model).name != "embedding":
            raise PmdError(f"'{model}' is no embedding model; give the folder of one")
        trained_on = run_of(model).data_checksum
        if trained_on is not None and not graph.has_checksum(
            trained_on
        ):  # its triples might be those of a split to rank
            raise PmdError(f"'{model}' was trained on another graph, or on another split of it; give one of this graph")
        return load_for(model, graph).eval()
    except PmdError as error:
        raise PmdError(f"distill.structure: {str(error).removeprefix('model: ')}") from None

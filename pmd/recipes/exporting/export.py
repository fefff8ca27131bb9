"""`pmd export`: a trained model as a folder for ONNX Runtime, sentence-transformers or any reader of tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pmd.core.errors import PmdError, need_package
from pmd.core.files import new_folder, write_folder
from pmd.core.run import Run
from pmd.models.families import family_of, stored_settings
from pmd.settings.shared import DataConfig
from pmd.use.load import known_graph, loaded
from pmd.use.locate import locate


@dataclass
class ExportConfig:
    """Write a trained model for other programs.

    Args:
        model: a run folder, a stage's folder in one, or a Hub id.
        to: for a text model `onnx` (both encoders, fp32), `onnx-int8` (the same in 8-bit integers; the test split is
            ranked to measure what that costs), `sentence-transformers` (the entity encoder) or `parquet` (entities and their
            vectors, for vector databases); for an embedding model `embeddings` (safetensors and TSV); for a fused model `onnx` (the encoders, one matrix of entity vectors, and the
            tables that make the structure's part of a query).
        stage: stage of a run folder; by default the last finished one.
        out: the new folder; by default MODEL-FORMAT in the current folder.
        data: the graph of a text model, needed if its folder is not in a run.
        revision: branch, tag or commit of a Hub id; by default main.
    """

    model: str
    to: Literal["onnx", "onnx-int8", "sentence-transformers", "parquet", "embeddings"]
    stage: str | None = None
    out: str | None = None
    data: DataConfig | None = None
    revision: str | None = None


def export(config: ExportConfig) -> str:
    """Write the folder; returns a line about what was written and how close it is to the model.

    Raises:
        PmdError: if there is no such model, if it cannot be exported to this format, or if a package is missing.
    """
    folder = locate(config.model, config.stage, config.revision)
    family = family_of(stored_settings(folder), folder)
    if not family.exports:
        raise PmdError(f"to: '{folder}' is {family.title}, which transformers loads as it is; it needs no export")
    if config.to not in family.exports:
        formats = ", ".join(family.exports)
        others = ", ".join(stages_that_export(folder.parent, config.to))
        remedy = f"; of its run, these do: {others}" if others else ""
        raise PmdError(f"to: '{folder}' is {family.title}; it exports to {formats}, not to {config.to}{remedy}")
    name = name_of(config.model, folder)
    out = new_folder(config.out or f"{name}-{config.to}")
    if config.to == "embeddings":
        return export_embeddings(folder, out, name)
    if config.to == "parquet":
        from pmd.recipes.exporting.parquet import export_parquet

        return export_parquet(folder, out, config.data)
    for package in ("onnx", "onnxruntime") if config.to.startswith("onnx") else ():
        need_package(package, "export to ONNX needs", "export")
    source = config.data or known_graph(folder)
    graph = loaded(source, None if config.data else folder)
    from pmd.recipes.exporting.text import export_fused, export_onnx, export_sentence_transformers

    if family.name == "fused":
        return export_fused(folder, out, name, graph, source.cache)
    if config.to == "sentence-transformers":
        return export_sentence_transformers(folder, out, name, graph, source.cache)
    return export_onnx(folder, out, name, graph, source.cache, int8=config.to == "onnx-int8")


def name_of(model: str, folder: Path) -> str:
    """RUN-STAGE for a folder in a run, the name of any other folder, and what follows the slash of a Hub id."""
    if not Path(model).expanduser().is_dir():
        return model.rsplit("/", 1)[-1]
    folder = folder.resolve()
    return f"{folder.parent.name}-{folder.name}" if (folder.parent / "config.yaml").is_file() else folder.name


def export_embeddings(folder: Path, out: Path, name: str) -> str:
    """Write the tables of an embedding model; returns a line about them."""
    from pmd.models.kge.folder import load_named
    from pmd.use.exporting.export import write_embeddings

    model, vocabulary = load_named(folder)
    write_folder(out, lambda new: write_embeddings(new, model, vocabulary, name))
    return f"{out}: {model.num_entities:,} entities and {model.num_relations:,} relations in safetensors and TSV"


def stages_that_export(run: Path, to: str) -> list[str]:
    """The stages of a run that have a format; empty for a folder that is no run."""
    stages = Run(run).loadable if (run / "config.yaml").is_file() else []
    return [stage for stage in stages if to in family_of(stored_settings(run / stage), stage).exports]

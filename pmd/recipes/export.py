"""A trained model for other programs: a folder that ONNX Runtime, sentence-transformers or any reader of tables takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pmd.core.errors import PmdError
from pmd.core.files import new_folder, write_folder
from pmd.models.families import KINDS, Kind, kind_of
from pmd.settings.shared import DataConfig
from pmd.use.load import graph_of_run, settings_of
from pmd.use.locate import locate

FORMATS: dict[Kind | None, tuple[str, ...]] = {
    "text": ("onnx", "onnx-int8", "sentence-transformers"),
    "embedding": ("embeddings",),
}


@dataclass
class ExportConfig:
    """Write a trained model for other programs.

    Args:
        model: a run folder, a stage's folder in one, or a Hub id.
        to: of a text model `onnx` (both encoders, fp32), `onnx-int8` (the same in 8-bit integers; the test split is
            ranked to see what they cost) or `sentence-transformers` (the entity encoder); of an embedding model
            `embeddings` (safetensors and TSV).
        stage: of a run folder; default its last finished one.
        out: the new folder; by default of the name of the model and the format, in the current one.
        data: the graph of a text model that is in no run folder.
        revision: of a Hub id: a branch, a tag or a commit.
    """

    model: str
    to: Literal["onnx", "onnx-int8", "sentence-transformers", "embeddings"]
    stage: str | None = None
    out: str | None = None
    data: DataConfig | None = None
    revision: str | None = None


def export(config: ExportConfig) -> str:
    """Write the folder; a line that says what was written, and how near it is to the model.

    Raises:
        PmdError: for a model that there is not, or that has no such format, or a package that is not installed.
    """
    place = locate(config.model, config.stage, config.revision)
    kind = kind_of(settings_of(place))
    if kind not in FORMATS:
        raise PmdError(f"'{place}' is neither a text nor an embedding model; a BERT is one of transformers as it is")
    if config.to not in FORMATS[kind]:
        raise PmdError(f"to: '{place}' is {KINDS[kind]}; it exports to {', '.join(FORMATS[kind])}, not to {config.to}")
    name = name_of(config.model, place)
    out = new_folder(config.out or f"{name}-{config.to}")
    if config.to == "embeddings":
        return export_embeddings(place, out, name)
    source = config.data or graph_of_run(place)
    if source is None:
        raise PmdError(f"'{place}' is in no run folder here, so say which graph it is of: --data.path world")
    from pmd.recipes.export_text import export_onnx, export_sentence_transformers

    if config.to == "sentence-transformers":
        return export_sentence_transformers(place, out, name, source)
    return export_onnx(place, out, name, source, int8=config.to == "onnx-int8")


def name_of(model: str, place: Path) -> str:
    """RUN-STAGE of a folder in a run, the name of any other folder, and of a Hub id what follows the slash."""
    if not Path(model).expanduser().is_dir():
        return model.rsplit("/", 1)[-1]
    place = place.resolve()
    return f"{place.parent.name}-{place.name}" if (place.parent / "config.yaml").is_file() else place.name


def export_embeddings(place: Path, out: Path, name: str) -> str:
    """The numbers of an embedding model; a line about them."""
    from pmd.models.kge.folder import load_named
    from pmd.use.export import write_embeddings

    model, vocabulary = load_named(place)
    write_folder(out, lambda aside: write_embeddings(aside, model, vocabulary, name))
    return f"{out}: {model.num_entities:,} entities and {model.num_relations:,} relations in safetensors and TSV"

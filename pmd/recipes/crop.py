"""`pmd crop`: the leading dimensions of a model as a folder of its own."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.core.files import new_folder
from pmd.core.packages import model_source
from pmd.models.families import family_of, stored_settings, warn_of_width
from pmd.settings.shared import DataConfig
from pmd.use.load import current_index
from pmd.use.locate import locate


@dataclass
class CropConfig:
    """Cut a trained embedding model, text model or BERT down to its leading dimensions, without training.

    Args:
        model: a run folder, a stage's folder in one, a Hub id, or any BERT, `package:NAME/FOLDER` included.
        stage: stage of a run folder; by default its only croppable one, or else the last finished one.
        width: number of dimensions to keep; for a BERT, a multiple of the size of its heads. A text model keeps its
            encoders: their vectors become narrower, and so does the index of the encoded entities. Of a fused model, those
            of the text part.
        out: the new folder.
        revision: branch, tag or commit of a Hub id; by default main.
        structure_width: of a fused model, number of dimensions of the structure to keep; by default all.
        data: the graph of the model's run, if it has been moved.
    """

    model: str
    width: int
    out: str
    stage: str | None = None
    revision: str | None = None
    structure_width: int | None = None
    data: DataConfig | None = None


def crop(config: CropConfig) -> str:
    """Write the cropped model; returns a line about it.

    Raises:
        PmdError: if there is no such model, or if it does not have so many dimensions.
    """
    new_folder(config.out)  # before torch is imported
    if config.model.startswith("package:"):
        folder = model_source(config.model)
    else:
        folder = str(locate(config.model, config.stage or only_croppable_stage(config.model), config.revision))
        if config.stage is None and (Path(config.model).expanduser() / "config.yaml").is_file():
            print(f"cropping {Path(folder).name}", file=sys.stderr)
    family = family_of(stored_settings(folder), folder)
    more = {} if config.structure_width is None else {"structure_width": config.structure_width}
    if more and family.name != "fused":
        raise PmdError(
            f"structure_width: '{folder}' is {family.title}, and only a fused one has a structure; leave it out"
        )
    cropped = family.load_module().crop(folder, config.width, config.out, **more)
    warn_of_width(config.width, cropped.widths)
    if more:
        structure = stored_settings(Path(folder) / "structure")
        warn_of_width(config.structure_width, structure.get("widths") or [structure["dim"]])
    if family.ranks:
        take_index(Path(folder), Path(config.out).expanduser(), config.width, config.data)
    return f"{config.out}: {cropped.text}"


def take_index(folder: Path, out: Path, width: int, data: DataConfig | None) -> None:
    """Crop the index of a model too; if it has none, it is built first, provided that the graph is there."""
    with contextlib.suppress(PmdError):  # a model without an index, or with a broken one, is still a model
        index = current_index(folder, data)
        from pmd.use.index_writer import crop_index  # imports torch

        crop_index(index, out, width)


def only_croppable_stage(model: str) -> str | None:
    """The only croppable stage of a run; None if it has none or several, or if the folder is no run."""
    run = Path(model).expanduser()
    stages = [file.parent for file in run.glob("*/config.json")] if (run / "config.yaml").is_file() else []
    croppable = [stage.name for stage in stages if len(stored_settings(stage).get("widths") or []) > 1]
    return croppable[0] if len(croppable) == 1 else None

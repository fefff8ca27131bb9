"""A croppable model, cropped: a folder of its own, in proportion as small."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.core.files import new_folder
from pmd.core.packages import model_source
from pmd.models.families import family_of, stored_settings
from pmd.use.load import current_index
from pmd.use.locate import locate


@dataclass
class CropConfig:
    """Cut a trained embedding model, text model or BERT down to its leading dimensions, without training.

    Args:
        model: a run folder, a stage's folder in one, a Hub id, or any BERT, `package:NAME/FOLDER` included.
        stage: stage of a run folder; by default its only croppable one, or else the last finished one.
        width: number of dimensions to keep; for a BERT, a multiple of the size of its heads. A text model keeps its
            encoders: their vectors become narrower, and so does the index of the encoded entities.
        out: the new folder.
        revision: branch, tag or commit of a Hub id; by default main.
    """

    model: str
    width: int
    out: str
    stage: str | None = None
    revision: str | None = None


def crop(config: CropConfig) -> str:
    """Write the cropped model; a line that says what was written.

    Raises:
        PmdError: if there is no such model, or if it has not so many dimensions.
    """
    # torch and transformers are loaded once it is known that there is something to do.
    new_folder(config.out)
    if config.model.startswith("package:"):
        folder = model_source(config.model)
    else:
        folder = str(locate(config.model, config.stage or stage_of(config.model), config.revision))
        if config.stage is None and (Path(config.model).expanduser() / "config.yaml").is_file():
            print(f"cropping {Path(folder).name}", file=sys.stderr)
    family = family_of(stored_settings(folder), folder)
    cropped = family.load().crop(folder, config.width, config.out)
    warn(config.width, cropped.widths)
    if family.ranks:
        take_index(Path(folder), Path(config.out).expanduser(), config.width)
    return f"{config.out}: {cropped.text}"


def take_index(folder: Path, out: Path, width: int) -> None:
    """Crop the index that a model answers by along with it: built now, if its graph is at hand and it has none."""
    with contextlib.suppress(PmdError):  # without one, or with one that is broken, there is still a model
        index = current_index(folder)
        from pmd.use.index_writer import crop_index  # loads torch

        crop_index(index, out, width)


def warn(width: int, widths: Sequence[int]) -> None:
    """Say on stderr that a width was not trained, and what it is instead."""
    if width in widths:
        return
    if len(widths) == 1:
        print(
            f"note: the model was trained at width {widths[0]} alone; cropped to {width} it is much the worse",
            file=sys.stderr,
        )
        return
    place = "below the narrowest" if width < widths[0] else "between two"
    print(
        f"note: width {width} was not trained by itself; it is {place} of the model's: {', '.join(map(str, widths))}",
        file=sys.stderr,
    )


def stage_of(model: str) -> str | None:
    """The only croppable stage of a run folder; None if it has none, or several, or is none."""
    run = Path(model).expanduser()
    stages = [path.parent for path in run.glob("*/config.json")] if (run / "config.yaml").is_file() else []
    found = [stage.name for stage in stages if len(stored_settings(stage).get("widths") or []) > 1]
    return found[0] if len(found) == 1 else None

"""A croppable model, cropped: a folder of its own, in proportion as small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.recipes.scorers import check_folder, is_embedding_model
from pmd.use.trained import TrainedKge, load


@dataclass
class CropConfig:
    """Take the leading dimensions of a trained embedding model, without training.

    Args:
        model: a run folder, a stage's folder in one, or a Hub id.
        width: how many dimensions to keep.
        out: the new folder.
    """

    model: str
    width: int
    out: str


def crop(config: CropConfig) -> str:
    """Write the cropped model; a line that says what was written.

    Raises:
        PmdError: if there is no such model, or if it has not so many dimensions.
    """
    folder = stage_of(config.model)
    check_folder("model", folder)
    if not is_embedding_model(folder):
        raise PmdError(f"'{folder}' is a text model, whose width is its encoder's; only embedding models are cropped")
    whole = load(folder)
    if config.width not in whole.widths and len(whole.widths) > 1:
        trained = ", ".join(str(width) for width in whole.widths)
        print(f"width {config.width} was not trained by itself (those are {trained}); it lies between two that were")
    small = whole.crop(config.width)
    out = small.save(config.out)
    return f"{out}: {size(small):,} of {size(whole):,} parameters, {config.width} of {whole.model.dim} dimensions"


def size(trained: TrainedKge) -> int:
    return sum(parameter.numel() for parameter in trained.model.parameters())


def stage_of(model: str) -> str:
    """The only model of a run folder; anything else as it is."""
    folder = Path(model)
    if not (folder / "config.yaml").is_file():
        return model
    stages = [path.parent for path in folder.glob("*/config.json")]
    return str(stages[0]) if len(stages) == 1 else model

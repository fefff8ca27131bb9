"""A croppable model, cropped: a folder of its own, in proportion as small."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.core.run import new_folder
from pmd.models.checkpoints import locate
from pmd.models.kge_folder import stored_file
from pmd.recipes.scorers import check_folder
from pmd.use.trained import TrainedKge, load


@dataclass
class CropConfig:
    """Take the leading part of a trained embedding model or BERT, without training.

    Args:
        model: a run folder, a stage's folder in one, or a Hub id; any BERT will do, `package:NAME/FOLDER` too.
        width: how many dimensions to keep; of a BERT a multiple of its heads' size.
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
    folder = locate(stage_of(config.model))
    check_folder("model", folder)
    settings = settings_of(folder)
    if settings.get("model_type") == "bert":
        return crop_bert(folder, settings, config)
    if "interaction" not in settings:
        raise PmdError(
            f"'{folder}' is neither an embedding model nor a BERT; a bi-encoder's width is that of its encoder"
        )
    whole = load(folder)
    small = whole.crop(config.width)
    warn(config.width, whole.widths)
    out = small.save(config.out)
    return f"{out}: {size(small):,} of {size(whole):,} parameters, {config.width} of {whole.model.dim} dimensions"


def crop_bert(folder: str, settings: dict, config: CropConfig) -> str:
    """The same of a BERT, with or without a classifier: a plain one, that `transformers` loads by itself."""
    from pmd.models.croppable_bert import CroppableBert, CroppableBertForSequenceClassification
    from pmd.recipes.device import quiet
    from pmd.recipes.glue_model import save, tokenizer_of

    quiet()
    classifies = any("SequenceClassification" in name for name in settings.get("architectures") or [])
    whole = (CroppableBertForSequenceClassification if classifies else CroppableBert).from_pretrained(folder)
    small = whole.crop(config.width)
    warn(config.width, whole.widths)
    out = new_folder(config.out)
    save(out, small, tokenizer_of(folder))
    before, after = (sum(parameter.numel() for parameter in model.parameters()) for model in (whole, small))
    return f"{out}: {after:,} of {before:,} parameters, {config.width} of {whole.config.hidden_size} dimensions"


def warn(width: int, widths: Sequence[int]) -> None:
    """Say on stderr that a width was not trained, and what it is instead."""
    if width in widths:
        return
    if len(widths) == 1:
        print(f"the model was trained at width {widths[0]} alone, not to be cropped to {width}", file=sys.stderr)
        return
    place = "below the narrowest" if width < widths[0] else "between two"
    trained = ", ".join(map(str, widths))
    print(f"width {width} was not trained by itself; it is {place} of those that were: {trained}", file=sys.stderr)


def size(trained: TrainedKge) -> int:
    return sum(parameter.numel() for parameter in trained.model.parameters())


def settings_of(folder: str | Path) -> dict:
    """The config.json of a folder or a Hub id. PmdError if there is none, or if it is broken."""
    file = stored_file(folder, "config.json")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PmdError(f"cannot read the config.json of '{folder}': {error}") from None
    if not isinstance(settings, dict):
        raise PmdError(f"cannot read the config.json of '{folder}': it is no settings by name but {settings!r:.60}")
    return settings


def stage_of(model: str) -> str:
    """The only model of a run folder, or its only croppable one; anything else as it is."""
    folder = Path(model)
    if not (folder / "config.yaml").is_file():
        return model
    stages = [path.parent for path in folder.glob("*/config.json")]
    if len(stages) > 1:
        stages = [stage for stage in stages if len(settings_of(stage).get("widths") or []) > 1]
    return str(stages[0]) if len(stages) == 1 else model

"""Which family the model of a folder belongs to, and what lies beside it. Loads nothing heavy.

A family's row in the catalogue says what its models can do, and names the module that saves, loads, crops and ranks with
them (`Family.load_module`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pmd.core.errors import PmdError, first_line
from pmd.core.files import read_object
from pmd.core.manifest import check_manifest
from pmd.settings.catalogue import FAMILIES, Family

HIDDEN_SIZE = ("hidden_size", "dim", "d_model", "emb_dim")
"""What the hidden size is called in the configs of BERT, DistilBERT, XLNet and XLM."""


class Cropped(NamedTuple):
    """What was cropped: the trained widths of the whole model, and how much of it is left in words."""

    widths: Sequence[int]
    text: str

    @classmethod
    def of(cls, whole: Any, small: Any, width: int, dim: int) -> Cropped:
        """The same, of two models whose parameters are counted."""
        counts = f"{num_parameters(small):,} of {num_parameters(whole):,} parameters"
        return cls(whole.widths, f"{counts}, {width} of {dim} dimensions")


def num_parameters(model: Any) -> int:
    """How many parameters a model has."""
    return sum(parameter.numel() for parameter in model.parameters())


def check_width(width: int, dim: int) -> None:
    """PmdError for a width that a model of `dim` dimensions does not have."""
    if not 1 <= width <= dim:
        raise PmdError(f"width {width} is outside 1 to {dim}, the model's own width")


def warn_of_width(width: int, widths: Sequence[int]) -> None:
    """Warn on stderr if a width was not trained."""
    if width in widths:
        return
    if len(widths) == 1:
        note = f"the model was trained at width {widths[0]} alone; cropped to {width} it is much worse"
    else:
        relation = "below the narrowest" if width < widths[0] else "between two"
        note = (
            f"width {width} was not trained itself; it is {relation} of the trained ones: {', '.join(map(str, widths))}"
        )
    print(f"note: {note}", file=sys.stderr)


def stored_settings(folder: str | Path) -> dict[str, Any]:
    """The config.json of a model's folder, or of its Hub repository. PmdError if there is none, if it is broken, and if a file
    of the folder is missing or of another size than when it was written."""
    check_manifest(Path(folder))
    return read_object(stored_file(folder, "config.json"), "restore it, or give the folder of another model")


def stored_file(folder: str | Path, name: str) -> Path:
    """A file of a model's folder, or of its Hub repository. PmdError if there is none."""
    file = Path(folder) / name
    if file.is_file():
        return file
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(folder), name))
    except (OSError, ValueError) as error:
        raise PmdError(f"'{folder}' has no {name}: {first_line(error)}") from None


def family_of(settings: Mapping[str, Any], model: object) -> Family:
    """The family of a model by its config.json. PmdError, naming the model, if it is of none."""
    if "interaction" in settings:
        return FAMILIES["embedding"]
    kind = settings.get("model_type")
    family = next((row for row in FAMILIES.values() if kind is not None and row.model_type == kind), None)
    if family is None:
        raise PmdError(f"'{model}' is neither a text model nor an embedding model nor a BERT; give the folder of one")
    return family


def ranking_family(settings: Mapping[str, Any], model: object) -> Family:
    """As `family_of`; PmdError if the model does not score triples."""
    family = family_of(settings, model)
    if not family.ranks:
        raise PmdError(
            f"'{model}' is {family.title} and knows no triples; transformers loads it, and if a GLUE run made it, its scores "
            "are in the run's table.md"
        )
    return family


def width_of(settings: Mapping[str, Any]) -> int:
    """The width of a model's vectors, by its config.json."""
    if "interaction" in settings:
        return settings["dim"]
    encoder = settings.get("encoder", settings)
    return settings.get("width") or next(encoder[name] for name in HIDDEN_SIZE if name in encoder)


def write_training(folder: Path, training: Mapping[str, Any] | None) -> None:
    """Note beside a model how it came to be, in training.json."""
    if training:
        (folder / "training.json").write_text(json.dumps(training), encoding="utf-8")


def training_of(folder: Path) -> dict[str, Any]:
    """How the model of a folder came to be; empty if that was not noted."""
    return read_object(folder / "training.json", "restore it, or remove it")

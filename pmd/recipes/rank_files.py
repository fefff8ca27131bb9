"""The ranks of a stage by width, beside its model, so that what is counted later is not ranked again.

RUN/ranks/STAGE.safetensors holds the realistic ranks of the first ranked split, each width by its name. It can be made
anew from the model at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pmd.core.files import write_bytes
from pmd.evaluation.metrics import Ranks


def rank_file(stage: Path) -> Path:
    """Where the ranks of a stage's folder are: a model's folder holds nothing but the model, which is sent and indexed."""
    return stage.parent / "ranks" / f"{stage.name}.safetensors"


def write_ranks(stage: Path, ranks: Mapping[int, Ranks]) -> None:
    """Keep the ranks of a stage's folder, by width."""
    # Halves of whole numbers: exact in single precision, up to eight million entities.
    write_bytes(rank_file(stage), save({str(width): of.realistic.float() for width, of in ranks.items()}))


def read_ranks(stage: Path, widths: Collection[int]) -> dict[int, Tensor] | None:
    """(q,) realistic ranks of these widths, in the order of the split; None where they are not kept, or cannot be read."""
    try:
        found = load_file(rank_file(stage))
        return {width: found[str(width)].double() for width in widths}
    except (OSError, SafetensorError, KeyError):
        return None

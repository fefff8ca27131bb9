"""A trained embedding model with the names of its rows: loaded from a folder or the Hub, cropped, and saved again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pmd.core.run import new_folder
from pmd.models.kge import KgeModel
from pmd.models.kge_folder import Vocabulary, load_named
from pmd.models.kge_folder import save as save_model


@dataclass(frozen=True, eq=False)
class TrainedKge:
    """An embedding model and the vocabulary of its graph; what stands alone of it is again one.

    `model` is the `KgeModel`, `vocabulary` says which entity and which relation its rows are.
    """

    model: KgeModel
    vocabulary: Vocabulary

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths that were trained, the last one the model's."""
        return self.model.widths

    def crop(self, width: int) -> TrainedKge:
        """The leading `width` dimensions as a model of its own, without training.

        Any width is possible; those that were trained are `widths`. PmdError if it exceeds the model's.
        """
        return TrainedKge(self.model.crop(width), self.vocabulary)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write a folder that `load` reads. PmdError if there is something else already."""
        folder = new_folder(folder)
        save_model(folder, self.model, self.vocabulary)
        return folder


def load(folder: str | os.PathLike[str]) -> TrainedKge:
    """A trained embedding model from its folder, or by its Hub id. PmdError if there is none, or with a wrong vocabulary."""
    return TrainedKge(*load_named(folder))

"""An embedding model on disk: everything that one needs to load it again, in one folder.

config.json, model.safetensors    the model, as the Hub mixin writes it
entities.tsv, relations.tsv       the graph's vocabulary: row i of a table is line i
training.json                     how it came to be: epochs, seconds, the best epoch
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from pmd.core.errors import PmdError, first_line
from pmd.core.files import new_folder
from pmd.core.manifest import write_model
from pmd.data.graphs.files.tsv import count_lines, read_columns
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_vocabulary
from pmd.models.families import Cropped, stored_file, write_training
from pmd.models.kge.model import KgeModel

COLUMNS = {"entities": ("id", "name", "description"), "relations": ("id", "name")}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What the rows of a model's tables are: the vocabulary of its graph, under the same names."""

    entity_ids: Sequence[str]
    entity_names: Sequence[str]
    entity_descriptions: Sequence[str]
    relation_ids: Sequence[str]
    relation_names: Sequence[str]


def save(
    folder: Path, model: KgeModel, graph: KnowledgeGraph | Vocabulary, training: Mapping[str, Any] | None = None
) -> None:
    """Write a model folder, aside and renamed; `training` is how the model came to be."""

    def fill(aside: Path) -> None:
        model.save_pretrained(aside)
        (aside / "README.md").unlink(missing_ok=True)  # the mixin writes a generic one
        write_vocabulary(aside, graph)
        write_training(aside, training)

    write_model(folder, fill)


def load_model(folder: str | Path) -> KgeModel:
    """The model of a folder, or of a Hub id. PmdError if there is none."""
    try:
        return KgeModel.from_pretrained(str(folder))
    except (AttributeError, TypeError) as error:
        raise PmdError(
            f"cannot load an embedding model from '{folder}': its config.json does not describe one ({error})"
        ) from None
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise PmdError(f"cannot load an embedding model from '{folder}': {first_line(error)}") from None


def load_vocabulary(folder: str | Path) -> Vocabulary:
    """The vocabulary beside a model. PmdError if it is missing or broken."""
    return Vocabulary(*(column for name in COLUMNS for column in _read(folder, name)))


def _read(folder: str | Path, name: str, kept: int | None = None) -> list[Sequence[str]]:
    """The columns of the vocabulary of entities or relations, or the first `kept` ones."""
    return read_columns(stored_file(folder, f"{name}.tsv"), COLUMNS[name], kept)


def load_named(folder: str | Path) -> tuple[KgeModel, Vocabulary]:
    """The model of a folder, or of a Hub id, and what its rows are. PmdError if one is missing, or they do not fit."""
    model, vocabulary = load_model(folder), load_vocabulary(folder)
    _check_lines(folder, model, len(vocabulary.entity_ids), len(vocabulary.relation_ids))
    return model, vocabulary


def load_counted(folder: str | Path) -> KgeModel:
    """As `load_named`, the model alone: of the vocabulary, gigabytes where there are millions of entities, lines are counted."""
    model = load_model(folder)
    _check_lines(folder, model, *(count_lines(stored_file(folder, f"{name}.tsv")) for name in COLUMNS))
    return model


def _check_lines(folder: str | Path, model: KgeModel, *lines: int) -> None:
    """PmdError unless the vocabulary has a line for each row of the tables."""
    for name, count, rows in zip(COLUMNS, lines, (model.num_entities, model.num_relations)):
        if count != rows:
            raise PmdError(
                f"'{folder}': its model has {rows:,} {name}, its {name}.tsv {count:,} lines; restore the file, line i "
                "names row i"
            )


def load_for(folder: str | Path, graph: KnowledgeGraph) -> KgeModel:
    """The model of a folder, checked to be of this graph: its rows are the graph's entities and relations.

    Raises:
        PmdError: if there is no such model, or if it was trained on other entities or relations.
    """
    model = load_model(folder)
    ids = [_read(folder, name, 1)[0] for name in COLUMNS]
    _check_lines(folder, model, *map(len, ids))
    for name, stored, wanted in zip(COLUMNS, ids, (graph.entity_ids, graph.relation_ids)):
        if len(stored) != len(wanted) or any(one != other for one, other in zip(stored, wanted)):
            raise PmdError(
                f"'{folder}' was trained on {len(stored):,} {name}, '{graph.name}' has {len(wanted):,} "
                f"{'in another order or with other ids' if len(stored) == len(wanted) else 'others'}; "
                "an embedding model ranks only the graph that it was trained on: give that as the data path, or bring the model to a "
                "newer state of it: pmd update"
            )
    return model


def scorer(
    folder: str | Path,
    graph: KnowledgeGraph,
    *,
    device: torch.device | str = "cpu",
    cache: str | None = None,
    shared: bool = False,
) -> KgeModel:
    """A trained model as a scorer of its graph. PmdError if there is none, or if it is of another graph."""
    return load_for(folder, graph).to(device).eval()


def crop(folder: str | Path, width: int, out: str | Path) -> Cropped:
    """Write the leading dimensions of a model, with its vocabulary, to a new folder.

    Raises:
        PmdError: if there is no such model, if it has fewer dimensions, or if `out` is not new.
    """
    whole, vocabulary = load_named(folder)
    small = whole.crop(width)
    save(new_folder(out), small, vocabulary)
    return Cropped.of(whole, small, width, whole.dim)

"""An embedding model on disk: everything that one needs to load it again, in one folder.

config.json, model.safetensors    the model, as the Hub mixin writes it
entities.tsv, relations.tsv       the graph's vocabulary: row i of a table is line i
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError

from pmd.core.errors import PmdError
from pmd.core.run import write_folder
from pmd.data.graph import KnowledgeGraph
from pmd.data.tsv import read_columns, write_columns
from pmd.models.kge import KgeModel


def save(folder: Path, model: KgeModel, graph: KnowledgeGraph) -> None:
    """Write a model folder, aside and renamed."""

    def fill(aside: Path) -> None:
        model.save_pretrained(aside)
        (aside / "README.md").unlink(missing_ok=True)  # the mixin's is about no model in particular
        write_columns(aside / "entities.tsv", [graph.entity_ids, graph.entity_names, graph.entity_descriptions])
        write_columns(aside / "relations.tsv", [graph.relation_ids, graph.relation_names])

    write_folder(folder, fill)


def load(folder: str | Path) -> KgeModel:
    """The model of a folder, or of a Hub id. PmdError if there is none."""
    try:
        return KgeModel.from_pretrained(str(folder))
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PmdError(f"cannot load an embedding model from '{folder}': {reason}") from None


def load_for(folder: str | Path, graph: KnowledgeGraph) -> KgeModel:
    """The model of a folder, checked to be of this graph: its rows are the graph's entities and relations.

    Raises:
        PmdError: if there is no such model, or if it was trained on other entities or relations.
    """
    model = load(folder)
    for name, wanted in (("entities", graph.entity_ids), ("relations", graph.relation_ids)):
        file = Path(folder) / f"{name}.tsv"
        columns = ("id", "name", "description") if name == "entities" else ("id", "name")
        stored = read_columns(file, columns)[0] if file.is_file() else None
        count = getattr(model, f"num_{name}")
        if count != len(wanted) or (stored is not None and list(stored) != list(wanted)):
            raise PmdError(
                f"'{folder}' was trained on {count:,} {name}, '{graph.name}' has {len(wanted):,} others; "
                "an embedding model ranks only the graph that it was trained on: give that as --data.path"
            )
    return model

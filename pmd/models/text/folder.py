"""A text model on disk: everything that one needs to load it again, in one folder.

config.json, model.safetensors    the bi-encoder, as `transformers` writes it
tokenizer files
entities.tsv, relations.tsv       the graph's vocabulary
entities.safetensors              the encoded entities (num_entities, d), with the graph's checksum
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pmd.core.errors import PmdError, first_line
from pmd.core.files import default_cache, new_folder, write_folder
from pmd.core.quiet import quiet
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_vocabulary
from pmd.data.texts.graph_text import GraphText, Reading
from pmd.models.families import Cropped
from pmd.models.kge.folder import Vocabulary, load_vocabulary
from pmd.models.text.bi_encoder import BiEncoder, leading_dimensions
from pmd.models.text.scorer import TextScorer
from pmd.models.text.start import save_tokenizer


@dataclass(frozen=True, eq=False)
class TextModel:
    """A bi-encoder with its tokenizer."""

    model: BiEncoder
    tokenizer: PreTrainedTokenizerBase

    @property
    def reading(self) -> Reading:
        """How this model forms its texts."""
        config = self.model.config
        return Reading(config.max_tokens, config.neighbours_below, config.max_neighbours)

    def read(self, graph: KnowledgeGraph, cache: str | None = None) -> GraphText:
        """The graph's texts, tokenised for this model."""
        return GraphText(graph, self.tokenizer, self.reading, cache=Path(cache) if cache else default_cache())


def save(
    folder: Path,
    model: TextModel,
    graph: KnowledgeGraph | Vocabulary,
    entities: Tensor | None = None,
    checksum: str | None = None,
) -> None:
    """Write a model folder, aside and renamed; `checksum` is that of the graph of the entities, where only its
    vocabulary is given."""

    def fill(aside: Path) -> None:
        model.model.save_pretrained(aside)
        save_tokenizer(model.tokenizer, aside)
        write_vocabulary(aside, graph)
        if entities is not None:
            metadata = {"graph": checksum or graph.checksum(), "format": "pt"}
            save_file({"entities": entities.cpu().contiguous()}, aside / "entities.safetensors", metadata)

    write_folder(folder, fill)


def load_model(folder: str | Path) -> TextModel:
    """The model of a folder, or of a Hub id. PmdError if there is none."""
    quiet()
    try:
        model, loading = BiEncoder.from_pretrained(folder, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise PmdError(f"cannot load a text model from '{folder}': {first_line(error)}") from None
    if loading["missing_keys"] or loading["unexpected_keys"]:
        raise PmdError(f"'{folder}' does not hold a bi-encoder of this package; give the folder of a trained stage")
    return TextModel(model, tokenizer)


def crop(folder: str | Path, width: int, out: str | Path) -> Cropped:
    """Write a model whose vectors, and encoded entities, are cropped to a new folder; its encoders stay as they are.

    Raises:
        PmdError: if there is no such model, if its vectors have fewer dimensions, or if `out` is not new.
    """
    whole, graph = load_model(folder), load_vocabulary(folder)
    small = replace(whole, model=whole.model.crop(width))
    entities, checksum = encoded_entities(Path(folder))
    save(new_folder(out), small, graph, None if entities is None else leading_dimensions(entities, width), checksum)
    text = f"vectors of {width} of {whole.model.dim} dimensions, by the same encoders"
    return Cropped(whole.model.widths, text)


def encoded_entities(folder: Path) -> tuple[Tensor | None, str | None]:
    """The encoded entities (num_entities, d) of a folder and the checksum of their graph; None if there are none."""
    file = folder / "entities.safetensors"
    if not file.is_file():
        return None, None
    with safe_open(file, "pt") as stored:
        return stored.get_tensor("entities"), stored.metadata().get("graph")


def stored_entities(folder: Path, graph: KnowledgeGraph) -> Tensor | None:
    """The encoded entities of a folder, unless they are missing or of another graph."""
    entities, checksum = encoded_entities(Path(folder))
    return entities if checksum == graph.checksum() else None


def scorer(
    folder: str | Path, graph: KnowledgeGraph, *, device: torch.device | str = "cpu", cache: str | None = None
) -> TextScorer:
    """A trained model as a scorer of any graph; of its own graph, the encoded entities are read from the folder. PmdError if
    there is no such model."""
    text_model = load_model(folder)
    stored = stored_entities(Path(folder), graph)
    return TextScorer(
        text_model.model.to(device), text_model.read(graph, cache), None if stored is None else stored.to(device)
    )

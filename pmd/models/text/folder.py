"""A text model on disk: everything that one needs to load it again, in one folder.

config.json, model.safetensors    the bi-encoder, as `transformers` writes it
tokenizer files
entities.tsv, relations.tsv       the graph's vocabulary
entities.safetensors              the encoded entities (num_entities, d), with the graph's checksum

Weights and entities may be stored in fewer bits (`pmd.models.text.precision`); config.json then says how under `stored`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pmd.core.errors import PmdError, first_line
from pmd.core.files import default_cache, new_folder, read_object, write_json
from pmd.core.manifest import write_model
from pmd.core.quiet import quiet
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_vocabulary
from pmd.data.texts.graph_text import GraphText, Named, Reading
from pmd.data.texts.mapped import MappedColumns
from pmd.models.families import Cropped, stored_file, stored_settings
from pmd.models.kge.folder import Vocabulary, load_vocabulary
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.precision import HALF_FROM, CodedVectors, coded, compressed, read_coded, read_weights, write_coded
from pmd.models.text.scorer import TextScorer
from pmd.models.text.start import save_tokenizer
from pmd.models.vectors import leading_dimensions
from pmd.settings.shrink import Encoders, Vectors


@dataclass(frozen=True, eq=False)
class TextModel:
    """A bi-encoder with its tokenizer."""

    model: BiEncoder
    tokenizer: PreTrainedTokenizerBase

    @property
    def reading(self) -> Reading:
        """How this model forms its texts."""
        config = self.model.config
        prompts = None if config.prompts is None else tuple(config.prompts)
        return Reading(config.max_tokens, config.neighbours_below, config.max_neighbours, prompts)

    def read(self, graph: KnowledgeGraph, cache: str | None = None, earlier: Named | None = None) -> GraphText:
        """The graph's texts, tokenised for this model; `earlier` is an earlier state of the graph."""
        folder = Path(cache) if cache else default_cache()
        return GraphText(graph, self.tokenizer, self.reading, cache=folder, earlier=earlier)


def save(
    folder: Path,
    model: TextModel,
    graph: KnowledgeGraph | Vocabulary,
    entities: Tensor | None = None,
    checksum: str | None = None,
    *,
    encoders: Encoders = "fp32",
    vectors: Vectors = "fp32",
) -> None:
    """Write a model folder, aside and renamed; `checksum` is that of the graph of the entities, where only its
    vocabulary is given. `encoders` and `vectors` say in which precision the weights and the entities are stored."""

    def fill(aside: Path) -> None:
        model.model.save_pretrained(aside)
        save_tokenizer(model.tokenizer, aside)
        write_vocabulary(aside, graph)
        if entities is not None:
            metadata = {"graph": checksum or graph.checksum(), "format": "pt"}
            kind = "fp16" if entities.dtype == torch.half and vectors == "fp32" else vectors
            write_coded(aside / "entities.safetensors", coded(entities.cpu().numpy(), kind), metadata)
        if (encoders, vectors) != ("fp32", "fp32"):
            _store_smaller(aside, encoders, vectors)

    write_model(folder, fill)


def _store_smaller(folder: Path, encoders: Encoders, vectors: Vectors) -> None:
    """Store the weights of a folder in a precision, and note how they and the entities are stored."""
    file = folder / "model.safetensors"
    weights = {name: weight.float().numpy() for name, weight in load_file(file).items()}  # NumPy has no bf16
    save_file(compressed(weights, encoders), file, {"format": "pt"})
    settings = read_object(folder / "config.json", "")
    write_json(folder / "config.json", settings | {"stored": {"encoders": encoders, "vectors": vectors}})


def load_model(folder: str | Path) -> TextModel:
    """The model of a folder, or of a Hub id. PmdError if there is none."""
    quiet()
    try:
        config = BiEncoderConfig.from_pretrained(folder)
        stored = vars(config).pop("stored", {})
        if stored.get("encoders", "fp32") == "fp32":
            model, loading = BiEncoder.from_pretrained(folder, config=config, output_loading_info=True)
        else:
            model, loading = _from_fewer_bits(folder, config)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise PmdError(f"cannot load a text model from '{folder}': {first_line(error)}") from None
    if loading["missing_keys"] or loading["unexpected_keys"]:
        raise PmdError(f"'{folder}' does not hold a bi-encoder of this package; give the folder of a trained stage")
    return TextModel(model, tokenizer)


def _from_fewer_bits(folder: str | Path, config: BiEncoderConfig) -> tuple[BiEncoder, dict[str, Any]]:
    """The model of a folder whose weights are stored in fewer bits, and what is missing or unexpected there."""
    model = BiEncoder(config)
    weights = read_weights(stored_file(folder, "model.safetensors"))
    loading = model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    return model.eval(), loading._asdict()


def stored_precision(folder: str | Path) -> dict[str, str]:
    """How the weights (`encoders`) and entities (`vectors`) of a folder are stored, where it is in fewer bits."""
    return stored_settings(folder).get("stored") or {}


def crop(folder: str | Path, width: int, out: str | Path) -> Cropped:
    """Write a model whose vectors, and encoded entities, are cropped to a new folder; its encoders stay as they are.

    Raises:
        PmdError: if there is no such model, if it is stored in fewer bits, if its vectors have fewer dimensions, or if `out`
            is not new.
    """
    if stored := stored_precision(folder):
        kinds = ", ".join(f"{name} in {kind}" for name, kind in stored.items())
        raise PmdError(
            f"'{folder}' is stored in fewer bits ({kinds}); crop the model that it was made from: pmd shrink --widths"
        )
    whole, graph = load_model(folder), load_vocabulary(folder)
    small = replace(whole, model=whole.model.crop(width))
    entities, checksum = encoded_entities(Path(folder))
    save(
        new_folder(out),
        small,
        graph,
        None if entities is None else leading_dimensions(entities.float(), width),
        checksum,
    )
    text = f"vectors of {width} of {whole.model.dim} dimensions, by the same encoders"
    return Cropped(whole.model.widths, text)


def encoded_entities(folder: Path) -> tuple[Tensor | None, str | None]:
    """The encoded entities (num_entities, d) of a folder, many in fp16 memory-mapped, and the checksum of their graph; None if
    there are none."""
    file = folder / "entities.safetensors"
    if not file.is_file():
        return None, None
    vectors, checksum = read_coded(file)
    if vectors.codes.dtype == np.float16 and vectors.codes.size >= HALF_FROM:
        return torch.from_numpy(MappedColumns(file)["entities"]), checksum
    return torch.from_numpy(vectors.decoded), checksum


def stored_codes(folder: Path, graph: KnowledgeGraph) -> CodedVectors | None:
    """The encoded entities of a folder as they are stored, unless they are missing or of another graph."""
    file = folder / "entities.safetensors"
    vectors, checksum = read_coded(file) if file.is_file() else (None, None)
    return vectors if graph.has_checksum(checksum) else None


def stored_entities(folder: Path, graph: KnowledgeGraph) -> Tensor | None:
    """The encoded entities of a folder, unless they are missing or of another graph."""
    entities, checksum = encoded_entities(Path(folder))
    return entities if graph.has_checksum(checksum) else None


def scorer(
    folder: str | Path,
    graph: KnowledgeGraph,
    *,
    device: torch.device | str = "cpu",
    cache: str | None = None,
    shared: bool = False,
) -> TextScorer:
    """A trained model as a scorer of any graph; of its own graph, the encoded entities are read from the folder. PmdError if
    there is no such model."""
    text_model = load_model(folder)
    stored = stored_entities(Path(folder), graph)
    scorer = TextScorer(
        text_model.model.to(device),
        text_model.read(graph, cache),
        None if stored is None else stored.to(device),
        shared=shared,
    )
    kind = stored_precision(folder).get("vectors", "fp32")
    if stored is None and kind != "fp32":  # of another graph
        scorer.take_entities(torch.from_numpy(coded(scorer.entities.cpu().numpy(), kind).decoded).to(device))
    return scorer

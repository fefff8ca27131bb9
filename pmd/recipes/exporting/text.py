"""Text models for other programs; an ONNX graph is compared with its model before its folder is put in place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.files import write_folder, write_json
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.ranking import rank
from pmd.models.families import stored_settings
from pmd.models.fused.folder import load_model as load_fused
from pmd.models.text.folder import TextModel, load_model, stored_entities
from pmd.models.text.scorer import TextScorer
from pmd.settings.catalogue import INTERACTIONS
from pmd.use.exporting.export import SAMPLE, template_values, write_readme, write_sentence_transformers, write_texts
from pmd.use.exporting.onnx import METADATA_FILE, OnnxEncoders, OnnxScorer, write_encoders

TOLERANCE = 1e-4
"""The largest allowed difference of a number in a unit vector between ONNX Runtime and PyTorch, both in fp32."""


def exportable(folder: Path) -> TextModel:
    """The text model of a folder, unless other programs would not read as it does."""
    text_model = load_model(folder)
    refuse_prompts(text_model)
    return text_model


def refuse_prompts(text_model: TextModel) -> None:
    """Refuse a teacher of another kind than its students: its texts are framed by more than its tokenizer."""
    if text_model.model.config.prompts is not None:
        raise PmdError(
            "to: a model of teacher.model reads prompts, and joins a query by words, which other programs would not; export "
            "a student, or ask it with `pmd answer`"
        )


def export_sentence_transformers(folder: Path, out: Path, name: str, graph: KnowledgeGraph, cache: str | None) -> str:
    """Write the entity encoder as a model of sentence-transformers; returns a line about it."""
    text_model = exportable(folder)
    text = text_model.read(graph, cache)
    write_folder(out, lambda new: write_sentence_transformers(new, text_model, text, graph, name))
    return f"{out}: the entity encoder, {text_model.model.depth} layers, vectors of {text_model.model.dim} dimensions"


def export_onnx(folder: Path, out: Path, name: str, graph: KnowledgeGraph, cache: str | None, *, int8: bool) -> str:
    """Write both encoders as ONNX graphs; returns a line about them and how close they are to the model.

    They are compared by their vectors in fp32, and by the ranking of the test split with 8-bit integers; the tokens that they
    get from texts are compared too.

    Raises:
        PmdError: if vectors in fp32 differ from PyTorch's by more than `TOLERANCE`.
    """
    text_model, comparison = exportable(folder), []

    def fill(new: Path) -> None:
        values, words = _write_onnx(new, folder, text_model, graph, cache, int8=int8)
        comparison.append(words)
        write_readme(new, "onnx.md.jinja", name=name, **values)

    write_folder(out, fill)
    return _exported(out, comparison[0])


def export_fused(folder: Path, out: Path, name: str, graph: KnowledgeGraph, cache: str | None) -> str:
    """Write both encoders of a fused model as ONNX graphs, both parts of all entities as one matrix, and the tables that
    make a query's structure; returns a line about them. Errors as of `export_onnx`."""
    (text_model, structure), settings = load_fused(folder), stored_settings(folder)
    refuse_prompts(text_model)
    fusion, vectors = structure.fusion(graph)
    comparison = []

    def fill(new: Path) -> None:
        values, words = _write_onnx(new, folder / "text", text_model, graph, cache, int8=False)
        comparison.append(words)
        np.save(new / "entities.npy", np.concatenate([np.load(new / "entities.npy"), vectors], 1))
        np.savez(new / "structure.npz", **fusion.columns())
        sizes = {key: settings[key] for key in ("text_dim", "structure_dim", "weights")} | fusion.tables.facts
        sizes |= {"dim": values["dim"] + vectors.shape[1], "parts": fusion.tables.shape[0]}
        write_json(new / METADATA_FILE, json.loads((new / METADATA_FILE).read_text(encoding="utf-8")) | sizes)
        values |= sizes | {
            "interaction": INTERACTIONS[structure.model.name].title,
            "num_relations": graph.num_relations,
        }
        values["question"] = list(graph.relation_names).index(values["relation"])
        write_readme(new, "fused_onnx.md.jinja", name=name, **values)

    write_folder(out, fill)
    return _exported(out, comparison[0])


def _write_onnx(
    new: Path, folder: Path, text_model: TextModel, graph: KnowledgeGraph, cache: str | None, *, int8: bool
) -> tuple[dict[str, Any], str]:
    """Write everything but the README; what it says, and words about how close the graphs are to the model."""
    scorer = TextScorer(text_model.model, text_model.read(graph, cache), stored_entities(folder, graph))
    metadata = write_encoders(new, text_model.model, int8=int8)
    entities, measured, words = (_compare_ranks if int8 else _compare_vectors)(scorer, OnnxEncoders(new), graph)
    np.save(new / "entities.npy", entities.float().numpy())
    write_texts(new, text_model, graph, scorer.text)
    write_json(new / METADATA_FILE, metadata | {"graph": graph.name, **measured})
    return template_values(text_model, graph) | metadata | measured, words


def _exported(out: Path, comparison: str) -> str:
    """A line about a folder with ONNX graphs."""
    files = sorted(out.glob("*.onnx"))
    size = sum(file.stat().st_size for file in files) / 1e6
    return f"{out}: {' and '.join(file.name for file in files)}, {size:.1f} MB; {comparison}"


def _compare_vectors(
    scorer: TextScorer, encoders: OnnxEncoders, graph: KnowledgeGraph
) -> tuple[Tensor, dict[str, float], str]:
    """Compare the vectors of texts of all lengths; returns the entities (n, d) of the model, the largest difference of a
    number, and words about it."""
    text, sample = scorer.text, scorer.text.sample(SAMPLE)
    queries = text.queries(sample, np.arange(len(sample)) % (2 * text.num_relations))
    difference = max(
        float(np.abs(encoders.encode(role, texts, text.pad) - scorer.encode(role, texts).numpy()).max())
        for role, texts in (("query", queries), ("entity", text.entities(sample)))
    )
    if not difference <= TOLERANCE:
        raise PmdError(
            f"to: vectors of the exported '{scorer.model.config.encoder.model_type}' encoder are {difference:.1e} from "
            f"PyTorch's, more than {TOLERANCE:.0e}; this encoder cannot be exported"
        )
    measured = {"compared": 2 * len(sample), "difference": difference}
    return scorer.entities, measured, f"vectors of {2 * len(sample)} texts within {difference:.1e} of PyTorch's"


def _compare_ranks(
    scorer: TextScorer, encoders: OnnxEncoders, graph: KnowledgeGraph
) -> tuple[Tensor, dict[str, float], str]:
    """Rank the test split by the model and by the encoders; returns the entities (n, d) as encoded by them, the MRR of
    both, and words about them."""
    print(f"encoding {graph.num_entities:,} entities and ranking the test split", file=sys.stderr)
    quantised = OnnxScorer(encoders, scorer.text)
    fp32, int8 = rank(scorer, graph, "test"), rank(quantised, graph, "test")
    measured = {"queries": fp32.num_queries, "mrr_fp32": fp32.mrr, "mrr": int8.mrr}
    words = f"MRR on the test split {fp32.mrr:.4f} in fp32, {int8.mrr:.4f} in int8, "
    words += f"difference {int8.mrr - fp32.mrr:+.4f} ({fp32.num_queries:,} queries)"
    return quantised.entities, measured, words

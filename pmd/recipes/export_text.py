"""Text models for other programs, each compared with what it was made from before it is put in place."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.files import write_folder, write_json
from pmd.core.quiet import quiet
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.ranking import rank
from pmd.models.text.folder import load, text_scorer
from pmd.models.text.scorer import TextScorer
from pmd.settings.shared import DataConfig
from pmd.use.export import ExportedText, write_readme, write_sentence_transformers
from pmd.use.load import loaded
from pmd.use.onnx import FACTS, OnnxEncoders, OnnxScorer, needed, write_encoders

TOLERANCE = 1e-4
"""Largest difference of a number of a unit vector between ONNX Runtime and PyTorch, both in fp32."""
SAMPLE = 64
"""About so many texts of each encoder are compared."""


def export_sentence_transformers(place: Path, out: Path, name: str, source: DataConfig) -> str:
    """The entity encoder as a model of sentence-transformers; a line about it."""
    exported = exported_text(place, loaded(source))
    write_folder(out, lambda aside: write_sentence_transformers(aside, exported, name))
    return f"{out}: the entity encoder, {exported.model.depth} layers, vectors of {exported.model.dim} dimensions"


def export_onnx(place: Path, out: Path, name: str, source: DataConfig, *, int8: bool) -> str:
    """Both encoders; a line about them and how near they come to the model: by their vectors, or with 8-bit integers by
    the ranking.

    Raises:
        PmdError: if a package is missing, or if vectors in fp32 are not PyTorch's.
    """
    for package in ("onnx", "onnxruntime"):
        needed(package)
    exported = exported_text(place, loaded(source))
    graph, said = exported.graph, []

    def fill(aside: Path) -> None:
        facts = write_encoders(aside, exported.model, int8=int8)
        encoders = OnnxEncoders(aside)
        scorer = text_scorer(place, graph, cache=source.cache)
        if int8:
            print(f"encoding {graph.num_entities:,} entities and ranking the test split", file=sys.stderr)
            entities, found = compared_ranks(scorer, encoders, graph)
            said.append(
                f"MRR on the test split {found['mrr_fp32']:.4f} in fp32, {found['mrr']:.4f} in int8, "
                f"difference {found['mrr'] - found['mrr_fp32']:+.4f} ({found['queries']:,} queries)"
            )
        else:
            entities, found = scorer.entities, compared_vectors(scorer, encoders)
            said.append(f"vectors of {found['compared']} texts within {found['difference']:.1e} of PyTorch's")
        np.save(aside / "entities.npy", entities.numpy())
        exported.write_texts(aside)
        write_json(aside / FACTS, facts | {"graph": graph.name, **found})
        write_readme(aside, "onnx.md.jinja", name=name, **exported.facts | facts | found)

    write_folder(out, fill)
    files = sorted(out.glob("*.onnx"))
    size = sum(file.stat().st_size for file in files) / 1e6
    return f"{out}: {' and '.join(file.name for file in files)}, {size:.1f} MB; {said[0]}"


def exported_text(place: Path, graph: KnowledgeGraph) -> ExportedText:
    """The model of a folder, and how it reads the graph."""
    quiet()
    trained = load(place)
    return ExportedText(trained.model.eval(), trained.tokenizer, trained.reading, graph)


def compared_vectors(scorer: TextScorer, encoders: OnnxEncoders) -> dict[str, float]:
    """The largest difference of vectors of texts of all lengths. PmdError if it is more than rounding."""
    text = scorer.text
    order = np.argsort(text.rows.lengths[: text.num_entities], kind="stable")
    rows = order[:: max(1, len(order) // SAMPLE)]
    asked = text.queries(rows, np.arange(len(rows)) % (2 * text.num_relations))
    differences = [
        float(np.abs(encoders.encode(role, texts, text.pad) - scorer.encode(role, texts).numpy()).max())
        for role, texts in (("query", asked), ("entity", text.entities(rows)))
    ]
    if not max(differences) <= TOLERANCE:
        kind = scorer.model.config.encoder.model_type
        raise PmdError(
            f"to: vectors of the exported '{kind}' encoder are {max(differences):.1e} from PyTorch's, "
            f"more than {TOLERANCE:.0e}; this encoder cannot be exported"
        )
    return {"compared": 2 * len(rows), "difference": max(differences)}


def compared_ranks(
    scorer: TextScorer, encoders: OnnxEncoders, graph: KnowledgeGraph
) -> tuple[Tensor, dict[str, float]]:
    """The entities as the encoders encode them, and the MRR of the test split by the model and by the encoders."""
    small = OnnxScorer(encoders, scorer.text)
    of_model, of_encoders = rank(scorer, graph, "test"), rank(small, graph, "test")
    return small.entities, {"queries": of_model.num_queries, "mrr_fp32": of_model.mrr, "mrr": of_encoders.mrr}

"""The catalogue: a row for each family of models, interaction, method and metric.

Checks, tables, cards, reports, shell completion and help read names and titles here and nowhere else. `register` adds a
row from outside the package, and every reader then knows it. Nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pmd.core.errors import PmdError
from pmd.settings.rows import (
    BertMethod,
    EmbeddingMethod,
    Family,
    Interaction,
    InteractionName,
    Method,
    Metric,
    RankingMetric,
    Row,
    TaskName,
    TextMethod,
    lookup,
)
from pmd.settings.tasks import TASKS

__all__ = ["FAMILIES", "INTERACTIONS", "METHODS", "METRICS", "choices", "lookup", "register"]


def _by_name(*rows: Row) -> dict[str, Row]:
    return {row.name: row for row in rows}


FAMILIES: dict[str, Family] = _by_name(
    Family(
        "text",
        "a text model",
        "Text models",
        "progressive",
        "encoder",
        "pmd.models.text.folder",
        "pmd_bi_encoder",
        reads=True,
        exports=("onnx", "onnx-int8", "sentence-transformers"),
        citations=("simkgc2022",),
    ),
    Family(
        "embedding",
        "an embedding model",
        "Embedding models",
        "train",
        "loss",
        "pmd.models.kge.folder",
        exports=("embeddings",),
    ),
    Family(
        "bert",
        "a BERT",
        "BERTs of several widths",
        "glue",
        "task",
        "pmd.models.bert.folder",
        "bert",
        ranks=False,
        citations=("bert2019", "glue2019"),
    ),
)

_KGE = "pmd.models.kge.interactions:"

INTERACTIONS: dict[str, Interaction] = _by_name(
    Interaction("transe", "TransE", f"{_KGE}TransE", "−‖h + r − t‖", citation="transe2013"),
    Interaction(
        "transh", "TransH", f"{_KGE}TransH", "−‖h + d − t‖ in the relation's hyperplane", citation="transh2014"
    ),
    Interaction("complex", "ComplEx", f"{_KGE}ComplEx", "Re⟨h, r, t̄⟩", product=True, citation="complex2016"),
    Interaction("rotate", "RotatE", f"{_KGE}RotatE", "−‖h ∘ r − t‖ with r a rotation", citation="rotate2019"),
    Interaction(
        "simple", "SimplE", f"{_KGE}SimplE", "½ (⟨h, r, t⟩ + ⟨t, r⁻¹, h⟩)", product=True, citation="simple2018"
    ),
    Interaction("pairre", "PairRE", f"{_KGE}PairRE", "−‖h ∘ r₁ − t ∘ r₂‖", citation="pairre2021"),
)

_TEXT: tuple[Method, ...] = (
    Method(
        "none",
        "labels only",
        "text",
        "pmd.distill.text_supervised:Supervised",
        "on the graph's triples alone, without a teacher",
    ),
    Method(
        "pmd",
        "PMD",
        "text",
        "pmd.distill.text_pmd:MaskedFeatureDistillation",
        "by progressive distillation with masked generation features (PMD)",
        teacher=True,
        masks=True,
        weights=("alpha", "beta"),
        citation="pmd2024",
    ),
    Method(
        "pmd_no_mgfd",
        "PMD without MGFD",
        "text",
        "pmd.distill.text_pmd:MaskedFeatureDistillation",
        "by progressive distillation without masked generation features",
        teacher=True,
        weights=("alpha",),
        citation="pmd2024",
    ),
    Method(
        "lkd",
        "LKD",
        "text",
        "pmd.distill.text_baselines:LogitDistillation",
        "with softened logits (LKD)",
        teacher=True,
        weights=("alpha",),
        citation="hinton2015",
    ),
    Method(
        "pkd",
        "PKD",
        "text",
        "pmd.distill.text_baselines:PatientDistillation",
        "by patient distillation (PKD)",
        teacher=True,
        weights=("alpha", "beta"),
        citation="pkd2019",
    ),
)

_EMBEDDING: tuple[Method, ...] = (
    Method(
        "supervised",
        "labels only",
        "embedding",
        "pmd.distill.kge_supervised:KgeSupervised",
        "on the graph's triples alone, without a teacher",
    ),
    Method(
        "dualde",
        "DualDE",
        "embedding",
        "pmd.distill.kge_dualde:DualDistillation",
        "with soft labels (DualDE)",
        teacher=True,
        weights=("alpha", "beta"),
        citation="dualde2022",
    ),
    Method(
        "med",
        "MED",
        "embedding",
        "pmd.distill.kge_med:MutualEvolution",
        "with all widths of one model in every step (MED)",
        croppable=True,
        citation="med2025",
    ),
)

_BERT: tuple[Method, ...] = (
    Method("finetune", "fine-tuning", "bert", "pmd.distill.bert_finetune:FineTuning", "on the task's labels alone"),
    Method(
        "med",
        "MED",
        "bert",
        "pmd.distill.bert_med:BertMutualEvolution",
        "with all widths of one model in every step (MED)",
        croppable=True,
        citation="med2025",
    ),
    Method(
        "hat",
        "HAT",
        "bert",
        "pmd.distill.bert_finetune:Supernet",
        "with all widths in one model, one drawn for each step (HAT)",
        croppable=True,
        citation="hat2020",
    ),
    Method(
        "bkd",
        "BKD",
        "bert",
        "pmd.distill.bert_students:BasicKd",
        "with softened logits (BKD)",
        teacher=True,
        weights=("alpha",),
        citation="hinton2015",
    ),
    Method(
        "pkd",
        "PKD",
        "bert",
        "pmd.distill.bert_students:PatientKd",
        "by patient distillation (PKD)",
        teacher=True,
        weights=("alpha",),
        citation="pkd2019",
    ),
    Method(
        "minilm",
        "MiniLM",
        "bert",
        "pmd.distill.bert_students:MiniLm",
        "with attention and value relations (MiniLM)",
        teacher=True,
        citation="minilm2020",
    ),
    Method(
        "rkd",
        "RKD",
        "bert",
        "pmd.distill.bert_students:RelationalKd",
        "with relations between examples (RKD)",
        teacher=True,
        citation="rkd2019",
    ),
)

METHODS: dict[str, dict[str, Method]] = {
    "text": _by_name(*_TEXT),
    "embedding": _by_name(*_EMBEDDING),
    "bert": _by_name(*_BERT),
}

METRICS: dict[str, dict[str, Metric]] = {
    "ranking": _by_name(
        Metric("mrr", "MRR"),
        Metric("hits_at_1", "Hits@1"),
        Metric("hits_at_3", "Hits@3"),
        Metric("hits_at_10", "Hits@10"),
        Metric("mr", "MR", digits=1, more_is_better=False),
    ),
    "glue": _by_name(
        Metric("accuracy", "acc.", "glue"),
        Metric("f1", "F1", "glue"),
        Metric("matthews_correlation", "Matthews", "glue"),
        Metric("pearson", "Pearson", "glue"),
        Metric("spearmanr", "Spearman", "glue"),
    ),
}


def register(row: Interaction | Method | Metric) -> None:
    """Add a row. PmdError if its name is taken."""
    rows: dict[str, Any] = INTERACTIONS
    if isinstance(row, Method):
        rows = METHODS[row.family]
    elif isinstance(row, Metric):
        rows = METRICS[row.measures]
    if row.name in rows:
        raise PmdError(f"catalogue: the name '{row.name}' is taken by {rows[row.name].title}; choose another one")
    rows[row.name] = row


def choices(hint: Any) -> list[str]:
    """The names that a setting of this type takes, where the catalogue has them; empty for other types."""
    tables: dict[Any, Mapping[str, Any]] = {
        InteractionName: INTERACTIONS,
        TextMethod: METHODS["text"],
        EmbeddingMethod: METHODS["embedding"],
        BertMethod: METHODS["bert"],
        RankingMetric: METRICS["ranking"],
        TaskName: TASKS,
    }
    return next(([*tables[part]] for part in (hint, *get_args(hint)) if part in tables), [])

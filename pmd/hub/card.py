"""The model card of a published model: a function from facts to the text of its README.md.

Its YAML head has the metrics as `model-index` entries, which the Hub shows; its body is `card.md.jinja`. All numbers
are those of the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from huggingface_hub import ModelCard, ModelCardData

from pmd.hub.facts import Facts, Metrics
from pmd.hub.metrics import SIDES, eval_results
from pmd.hub.papers import bibtex
from pmd.hub.sentences import cited, limits, settings, speed, summary
from pmd.settings.tasks import task_of

TEMPLATE = Path(__file__).with_name("card.md.jinja")


def card(facts: Facts) -> str:
    """The text of a model's README.md."""
    filled = ModelCard.from_template(
        card_data(facts),
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        facts=facts,
        summary=summary(facts),
        of_branch=f', revision="{facts.revision}"' if facts.revision else "",
        size=f"{facts.size / 1e6:.1f} MB" if facts.size >= 1e6 else f"{facts.size / 1e3:.1f} kB",
        call=_call(facts) if facts.kind == "bert" else "",
        question=_question(facts),
        rows=_rows,
        speed=speed(facts),
        limits=limits(facts),
        training=training(facts),
        settings=yaml.safe_dump(settings(facts), sort_keys=False, allow_unicode=True, default_flow_style=None).strip(),
        citations=bibtex(cited(facts)),
    )
    return re.sub(r"\n{3,}", "\n\n", str(filled)).strip() + "\n"


def card_data(facts: Facts) -> ModelCardData:
    """The YAML head of the card."""
    bert = facts.kind == "bert"
    tags = [facts.kind if not bert else "glue", *(["croppable"] if len(facts.widths) > 1 else [])]
    if not bert:
        tags = ["knowledge-graph", "knowledge-graph-completion", "link-prediction", *tags]
    if facts.result.get("teacher") not in (None, "none"):
        tags.append("knowledge-distillation")
    results = eval_results(facts)
    return ModelCardData(
        model_name=facts.name if results else None,
        eval_results=results or None,
        library_name="transformers" if bert else "pmd",
        pipeline_tag="text-classification" if bert else "graph-ml",
        tags=["pmd", *tags],
        datasets=[facts.dataset] if facts.dataset else None,
        base_model=facts.base_model,
        license=facts.license,
    )


def training(facts: Facts) -> str:
    """How the stage was trained, in a sentence or two."""
    result, environment = facts.result, facts.environment
    counts = {key: result[key] for key in ("epochs", "steps") if key in result}
    parts = [f"{count:,} {key if count != 1 else key.removesuffix('s')}" for key, count in counts.items()]
    if "best_epoch" in result:
        parts.append(f"the best on the validation split, epoch {result['best_epoch']}, was kept")
    if result.get("train_seconds"):
        parts.append(f"{result['train_seconds']:,.0f} s")
    where = [environment.get("device"), f"seed {facts.config['seed']}" if "seed" in facts.config else None]
    if environment.get("processes", 1) > 1:
        where.insert(1, f"{environment['processes']} processes")
    said = "; ".join([", ".join(filter(None, where)), *parts])
    versions = {name: found for name, found in environment.get("versions", {}).items() if found}
    if versions:
        listed = ", ".join(f"{name} {found}" for name, found in versions.items())
        said += f". Python {environment['python']}, {listed}"
    return said + "."


def _question(facts: Facts) -> str:
    parts = facts.example.question if facts.example else {}
    return ", ".join(f"{part}={json.dumps(value, ensure_ascii=False)}" for part, value in parts.items())


def _call(facts: Facts) -> str:
    """What the pipeline of a classifier is given: one text, or two, cut as in training."""
    columns, length = task_of(facts.config["task"]).columns, facts.config.get("model", {}).get("max_length")
    texts = [f"the {name}" for name in columns]
    given = json.dumps(texts[0] if len(texts) == 1 else dict(zip(("text", "text_pair"), texts)))
    return f"classify({given}, truncation=True{f', max_length={length}' if length else ''})"


def _rows(metrics: Metrics) -> Iterator[tuple[str, Metrics]]:
    """The lines of the table of a split: all queries, then those of either side."""
    yield "both", metrics
    for side, query in SIDES.items():
        if side in metrics:
            yield query, metrics[side]

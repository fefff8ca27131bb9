"""The model card of a published model: a function from facts to the text of its README.md.

All sentences are in `card.md.jinja`. The YAML head holds the metrics as `model-index` entries, which the Hub shows beside
a model. All numbers are those of the run, unrounded in the head.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader

from pmd.core.printing import printable
from pmd.hub.facts import Facts, Metrics
from pmd.settings.catalogue import METRICS

NARROW_METRICS = ("mrr", "hits_at_10")
"""The metrics shown for widths below the published one."""

SIDES = {"head": "(?, r, t)", "tail": "(h, r, ?)"}
"""The query of each side."""


def card(facts: Facts) -> str:
    """The text of a model's README.md."""
    options = {"trim_blocks": True, "lstrip_blocks": True, "finalize": lambda value: printable(str(value))}
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), **options)
    environment.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)
    ranking = METRICS["ranking"]
    filled = environment.get_template("card.md.jinja").render(
        facts=facts,
        head=card_data(facts).to_yaml().strip(),
        metrics=[*ranking.values()],
        narrow_metrics=[ranking[key] for key in NARROW_METRICS],
        sides=SIDES,
        settings=yaml.safe_dump(
            published_settings(facts.config), sort_keys=False, allow_unicode=True, default_flow_style=None
        ).strip(),
        citations="\n\n".join(bibtex_entries(facts.citations)),
    )
    return re.sub(r"\n{3,}", "\n\n", filled).strip() + "\n"


def card_data(facts: Facts) -> ModelCardData:
    """The YAML head of the card."""
    family = facts.family_row
    tags = ["pmd", *family.tags]
    if len(facts.widths) > 1:
        tags.append("croppable")
    if facts.teacher:
        tags.append("knowledge-distillation")
    results = [*eval_results(facts)]
    return ModelCardData(
        model_name=facts.name if results else None,
        eval_results=results or None,
        library_name=family.library,
        pipeline_tag=family.pipeline_tag,
        tags=tags,
        datasets=[facts.dataset] if facts.dataset else None,
        base_model=facts.base_model,
        license=facts.license,
    )


def eval_results(facts: Facts) -> Iterator[EvalResult]:
    """The `model-index` entries: all metrics of the published width, some of narrower ones that can be cropped from it."""
    task = _task(facts)
    for split, cells in facts.by_width.items():
        for width, metrics in sorted(cells.items(), reverse=True):
            published = width == facts.dim
            suffix, arguments = ("", {}) if published else (f", width {width}", {"width": width})
            for key, name, value, more in _values(metrics, published):
                yield EvalResult(
                    **task,
                    dataset_split=split,
                    metric_type=key,
                    metric_name=f"{name}{suffix}",
                    metric_value=value,
                    metric_args={**more, **arguments} or None,
                )


def _task(facts: Facts) -> dict[str, Any]:
    """The task and data set, as a `model-index` names them."""
    if facts.graph is None:
        task = facts.config["task"]
        data = {"dataset_config": task, "dataset_name": f"GLUE {task}", "dataset_type": facts.dataset or "glue"}
    else:
        name = facts.graph.name
        data = {"task_name": "Link prediction", "dataset_name": name, "dataset_type": facts.dataset or name}
    return {"task_type": facts.family_row.pipeline_tag, **data}


def _values(metrics: Metrics, published: bool) -> Iterator[tuple[str, str, float, dict[str, str]]]:
    """Key, name, value and arguments of each metric; of a width that is not the published one, only the narrow ones."""
    ranking = METRICS["ranking"]
    if "mrr" not in metrics:
        yield from ((key, key, value, {}) for key, value in metrics.items())
        return
    for key in ranking if published else NARROW_METRICS:
        if key in metrics:
            yield key, ranking[key].title, metrics[key], {}
    for side, query in SIDES.items() if published else ():
        if side in metrics:
            yield "mrr", f"MRR of {query}", metrics[side]["mrr"], {"target": side}


def bibtex_entries(keys: Sequence[str]) -> list[str]:
    """Entries of `papers.bib`, verbatim."""
    entries = Path(__file__).with_name("papers.bib").read_text(encoding="utf-8").strip().split("\n\n")
    by_key = {re.match(r"@\w+\{([^,]+)", entry)[1]: entry for entry in entries}
    return [by_key[key] for key in keys if key in by_key]


def published_settings(settings: Any) -> Any:
    """A run's settings, without those that only say where files were."""
    shown = {key: value for key, value in settings.items() if key not in ("runs", "name")}
    shown["data"] = {key: value for key, value in shown["data"].items() if key != "cache"}
    return _without_folders(shown)


def _without_folders(value: Any) -> Any:
    """The same value, its paths shortened to the name of their file or folder."""
    if isinstance(value, dict):
        return {key: _without_folders(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_folders(part) for part in value]
    if isinstance(value, str) and value.startswith(("/", "~", "./", "../")):
        return PurePath(value).name
    return value

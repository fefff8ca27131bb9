"""The model that `pmd shrink` takes, as a run: its folder has the name of the stage that it comes from, and what the run says of how
that was trained holds of it too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pmd.core.cores import processor_name
from pmd.core.files import write_folder, write_json, write_text
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.evaluation.metrics import RankingMetrics
from pmd.evaluation.tables import ranking_tables
from pmd.models.text.bi_encoder import leading_dimensions
from pmd.models.text.folder import save
from pmd.recipes.shrink.candidates import Candidate, Shrunk
from pmd.recipes.shrink.text import cropped
from pmd.settings.shared import EvaluationConfig

if TYPE_CHECKING:
    from pmd.recipes.shrink.measure import Comparison

COPIED = ("config.yaml", "env.json", "data.sha256", "graph.sha256")
"""Files that say how a run's models were trained, and on what."""
FACTS = "shrink.json"


def write(
    comparison: Comparison,
    run: Run,
    out: Path,
    candidates: list[Candidate],
    row: Candidate,
    draw: Callable[[Shrunk, Path], None],
) -> Shrunk:
    """Write a candidate as a run with one model, with what it keeps; `draw` adds to the folder."""
    splits = EvaluationConfig(**run.settings["evaluation"]).splits
    tested = [split for split in dict.fromkeys([*splits, "test"]) if len(comparison.graph.split(split))]
    metrics = {split: comparison.metrics_of(row.stage, row.width, split, row.encoders, row.vectors) for split in tested}
    shrunk = Shrunk(
        folder=out / row.stage,
        teacher={"stage": comparison.teacher, "mrr": comparison.teacher_mrr},
        candidates=candidates,
        chosen=row,
        test=on_test(comparison, metrics),
        facts=facts_of(comparison, run),
    )

    def fill(folder: Path) -> None:
        for name in COPIED:
            if (run.folder / name).is_file():
                shutil.copy2(run.folder / name, folder / name)
        write_model(comparison, row, folder / row.stage)
        write_json(folder / row.stage / FACTS, shrunk.summary())
        write_json(folder / FACTS, shrunk.stored())
        write_json(folder / "results.json", {**run.stored, row.stage: result_of(run, row, metrics)})
        tables = ranking_tables(Run(folder).results, splits)
        texts = [f"{comparison.graph.name}, {split} split\n\n{table}\n" for split, table in tables.items()]
        write_text(folder / "table.md", "\n".join(texts))
        draw(shrunk, folder)

    write_folder(out, fill)
    return shrunk


def write_model(comparison: Comparison, row: Candidate, folder: Path) -> None:
    """Write a model folder."""
    stage, graph = comparison.stages[row.stage], comparison.graph
    entities = leading_dimensions(stage.scorer(row.encoders, comparison.device).entities, row.width)
    kinds = {"encoders": row.encoders, "vectors": row.vectors}
    save(folder, cropped(stage.whole, row.width), graph, entities, **kinds)


def on_test(comparison: Comparison, metrics: dict[str, RankingMetrics]) -> dict[str, dict[str, float]]:
    """MRR and Hits@10 of the model and of the teacher on the test split; empty if there is none."""
    if "test" not in metrics:
        return {}
    teacher = comparison.metrics_of(comparison.teacher, comparison.stages[comparison.teacher].whole.model.dim, "test")
    both = {"model": metrics["test"], "teacher": teacher}
    return {name: {"mrr": of_one.mrr, "hits_at_10": of_one.hits_at_10} for name, of_one in both.items()}


def facts_of(comparison: Comparison, run: Run) -> dict[str, object]:
    """What was asked for, and on what the candidates were measured."""
    config, graph = comparison.config, comparison.graph
    valid = min(len(graph.valid), config.max_triples or len(graph.valid))
    return {
        "run": run.folder.resolve().name,
        "asked": {"keep": config.share, "max_mb": config.max_mb, "max_ms": config.max_ms},
        "graph": graph.checksum(),
        "valid_queries": 2 * valid,
        "timed": {"questions": config.questions, "threads": 1, "processor": processor_name()},
    }


def result_of(run: Run, row: Candidate, metrics: dict[str, RankingMetrics]) -> dict[str, object]:
    """The entry of results.json: how the stage was trained, and what the written model scores."""
    stored = {key: value for key, value in run.stored[row.stage].items() if key != "widths"}
    measured = {split: of_split.to_dict() for split, of_split in metrics.items()}
    return vars(StageResult(**{**stored, "dim": row.width, "metrics": measured}))

"""The model that `pmd shrink` takes, as a run. That of a text or embedding model has the name of its stage, and what the run says of
how that was trained holds of it too; that of a fused one is as `pmd fuse` writes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from pmd.core.cores import processor_name
from pmd.core.files import write_folder, write_json, write_text
from pmd.core.manifest import write_manifest
from pmd.core.run import Run, environment
from pmd.evaluation.metrics import RankingMetrics
from pmd.evaluation.tables import ranking_tables
from pmd.models.families import num_parameters
from pmd.models.fused.folder import save as save_fused
from pmd.models.kge.folder import save as save_embeddings
from pmd.models.text.folder import save
from pmd.models.vectors import leading_dimensions
from pmd.recipes.fuse import STAGE, Parts, facts_of
from pmd.recipes.shrink.candidates import FACTS, Candidate, Choice, Shrunk
from pmd.recipes.shrink.structure import RULE, stored_as
from pmd.recipes.shrink.text import cropped
from pmd.recipes.stages import place_of
from pmd.settings.fuse import FuseConfig
from pmd.settings.shared import EvaluationConfig

if TYPE_CHECKING:
    from pmd.recipes.shrink.measure import Comparison

COPIED = ("config.yaml", "env.json", "data.sha256", "graph.sha256")
"""Files that say how a run's models were trained, and on what."""


def write(
    comparison: Comparison,
    run: Run,
    out: Path,
    candidates: list[Candidate],
    row: Candidate,
    draw: Callable[[Shrunk, Path], None],
) -> Shrunk:
    """Write a candidate as a run with one model, with what it keeps; `draw` adds to the folder."""
    if row.part == "structure":
        run = comparison.structure.run
    choice = Choice(**{of_choice.name: getattr(row, of_choice.name) for of_choice in fields(Choice)})
    splits = EvaluationConfig(**run.settings["evaluation"]).splits
    tested = [split for split in dict.fromkeys([*splits, "test"]) if comparison.can_rank(choice, split)]
    metrics = {split: comparison.metrics(choice, split) for split in tested}
    stage = STAGE if row.part == "fused" else row.stage
    shrunk = Shrunk(
        folder=out / stage,
        teacher={"stage": comparison.teacher, "mrr": comparison.teacher_mrr},
        candidates=candidates,
        chosen=row,
        test=on_test(comparison, metrics),
        facts=measured_on(comparison, run),
    )

    def fill(folder: Path) -> None:
        if row.part == "fused":
            write_fused(comparison, choice, folder, out, splits)
        else:
            write_part(comparison, choice, folder, run)
        note(folder, stage, choice, metrics)
        write_json(folder / stage / FACTS, shrunk.summary())
        write_manifest(folder / stage)
        write_json(folder / FACTS, shrunk.stored())
        tables = ranking_tables(Run(folder).results, splits)
        texts = [f"{comparison.graph.name}, {split} split\n\n{table}\n" for split, table in tables.items()]
        write_text(folder / "table.md", "\n".join(texts))
        draw(shrunk, folder)

    write_folder(out, fill)
    return shrunk


def write_part(comparison: Comparison, choice: Choice, folder: Path, run: Run) -> None:
    """Write a run with a text or embedding model, and how that was trained."""
    for name in (name for name in COPIED if (run.folder / name).is_file()):
        shutil.copy2(run.folder / name, folder / name)
    write_json(folder / "results.json", {choice.stage: part_of_fused(comparison, choice), **run.stored})
    if choice.part == "text":
        write_text_model(comparison, choice, folder / choice.stage)
    else:
        write_structure(comparison, choice, choice.width, folder / choice.stage)


def part_of_fused(comparison: Comparison, choice: Choice) -> dict[str, Any]:
    """What is noted of a whole text or embedding model whose run says nothing of it: of a run with a fused model alone."""
    text = choice.part == "text"
    model = comparison.stages[choice.stage].whole.model if text else comparison.structure.parts.structure
    sizes = {"layers": choice.layers, "mask_rate": 0.0} if text else {"interaction": model.name}
    return {**sizes, "dim": model.dim, "parameters": num_parameters(model), "teacher": "none", "metrics": {}}


def write_fused(comparison: Comparison, choice: Choice, folder: Path, out: Path, splits: list[str]) -> None:
    """Write a run with a fused model."""
    structure, text = comparison.structure, comparison.text(choice)
    sources = {"text": comparison.stages[choice.stage].folder, "structure": structure.parts.folders["structure"]}
    evaluation = EvaluationConfig(split=splits, batch_size=comparison.config.batch_size)
    settings = FuseConfig(
        str(sources["text"]),
        str(sources["structure"]),
        str(out),
        weights=RULE,
        data=comparison.data,
        evaluation=evaluation,
    )
    run = Run(folder)
    run.start(settings)
    run.refuse_other_data(comparison.graph.checksum(), comparison.graph.checksum(types=False))
    noted = {"device": str(comparison.device), "threads": torch.get_num_threads(), "processes": 1}
    write_json(folder / "env.json", environment(**noted, data=place_of(comparison.data.path)))
    weighing, model = structure.weighing(choice, text), structure.structure(choice, text)
    parts = Parts(sources, comparison.data, comparison.graph, text, model.model)
    halves = {name: folder / f".{name}" for name in sources}
    write_text_model(comparison, choice, halves["text"])
    write_structure(comparison, choice, choice.structure_width, halves["structure"])
    save_fused(folder / STAGE, *halves.values(), model, facts_of(settings, parts, weighing.validated, weighing.weights))
    for half in halves.values():
        shutil.rmtree(half)
    sizes = {
        "interaction": model.model.name,
        "layers": choice.layers,
        "mask_rate": 0.0,
        "teacher": "none",
        "metrics": {},
    }
    scorer = comparison.scorer(choice)
    run.add_result(STAGE, {**sizes, "dim": max(scorer.widths), "parameters": num_parameters(scorer.model)})


def write_text_model(comparison: Comparison, choice: Choice, folder: Path) -> None:
    """Write the folder of a text model."""
    stage, whole = comparison.stages[choice.stage], comparison.text(choice).whole
    entities = leading_dimensions(whole.entities.float(), choice.width)
    kinds = {"encoders": choice.encoders, "vectors": choice.vectors}
    save(folder, cropped(stage.whole, choice.width), comparison.graph, entities, **kinds)


def write_structure(comparison: Comparison, choice: Choice, width: int, folder: Path) -> None:
    """Write the folder of an embedding model."""
    save_embeddings(folder, comparison.structure.model(width, choice.vectors), comparison.graph)
    file, kind = folder / "model.safetensors", stored_as(choice.vectors)
    save_file({name: array.to(kind) for name, array in load_file(file).items()}, file, {"format": "pt"})


def on_test(comparison: Comparison, metrics: dict[str, RankingMetrics]) -> dict[str, dict[str, float]]:
    """MRR and Hits@10 of the model and of the teacher on the test split; empty if there is none."""
    if "test" not in metrics:
        return {}
    both = {"model": metrics["test"], "teacher": comparison.metrics(comparison.whole_teacher, "test")}
    return {name: {"mrr": of_one.mrr, "hits_at_10": of_one.hits_at_10} for name, of_one in both.items()}


def measured_on(comparison: Comparison, run: Run) -> dict[str, Any]:
    """What was asked for, and on what the candidates were measured."""
    config = comparison.config
    return {
        "run": run.folder.resolve().name,
        "asked": {"keep": config.share, "max_mb": config.max_mb, "max_ms": config.max_ms},
        "graph": comparison.graph.checksum(),
        "valid_queries": comparison.valid_queries,
        "timed": {"questions": config.questions, "threads": 1, "processor": processor_name()},
    }


def note(folder: Path, stage: str, choice: Choice, metrics: dict[str, RankingMetrics]) -> None:
    """Note in results.json what the written model scores; how its stage was trained stands there already."""
    run = Run(folder)
    # What was timed was the whole model; widths were its own.
    stored = {key: value for key, value in run.stored[stage].items() if key not in ("widths", "rank_seconds")}
    if choice.part == "structure":
        stored["parameters"] = stored["parameters"] * choice.width // stored["dim"]
    if choice.part != "fused":
        stored["dim"] = choice.width
    run.add_result(stage, {**stored, "metrics": {split: of_split.to_dict() for split, of_split in metrics.items()}})

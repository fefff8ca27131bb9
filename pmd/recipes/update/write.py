"""The folder of an updated model, and what is said of it: update.json beside the model, table.md and results.json of the run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from pmd.core.distributed import refuse_processes
from pmd.core.files import read_object, write_folder, write_json, write_text
from pmd.core.manifest import MANIFEST, write_manifest
from pmd.core.quiet import quiet
from pmd.core.run import Run
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.tables import markdown, ranking_tables
from pmd.models.families import ranking_family, stored_settings
from pmd.recipes.stages import place_of
from pmd.recipes.update import UPDATED
from pmd.recipes.update.changes import Changes, GraphState
from pmd.recipes.update.command import UpdateConfig
from pmd.recipes.update.measure import NewFacts
from pmd.recipes.update.models import WRITE, Source, keep_entities, scorer_of
from pmd.settings.shared import DataConfig
from pmd.settings.text import TrainConfig
from pmd.training.device import accelerator_for
from pmd.use.earlier import EarlierTexts
from pmd.use.index import Index
from pmd.use.index_writer import build_index
from pmd.use.load import graph_file_stats, run_of

REMEDY = "restore it, or remove it"


@dataclass(frozen=True, eq=False)
class Update:
    """What is updated to what."""

    config: UpdateConfig
    folder: Path
    data: DataConfig
    graph: KnowledgeGraph
    index: Index
    changes: Changes


def say_changes(graph: KnowledgeGraph, index: Index) -> str:
    """What differs between the graph of an index and another."""
    return changes_table(Changes(GraphState.of_index(index), GraphState.of_graph(graph)))


def write_update(
    config: UpdateConfig, folder: Path, out: Path, data: DataConfig, graph: KnowledgeGraph, index: Index
) -> str:
    """Write the new folder, a run where the old one was in a run; what is said of it."""
    quiet()
    refuse_processes()
    accelerator_for(TrainConfig(threads=config.threads))
    changes = Changes(GraphState.of_index(index), GraphState.of_graph(graph))
    update, run = Update(config, folder, data, graph, index, changes), run_of(folder)
    said: list[str] = []

    def fill(aside: Path) -> None:
        if (run.folder / "config.yaml").is_file():
            facts = write_model(update, aside / folder.name)
            write_run(update, run, aside, facts)
        else:
            facts = write_model(update, aside)
        said.append(text_of(changes, facts))

    write_folder(out, fill)
    return f"{said[-1]}\n{out}: the model of the newer graph"


def write_model(update: Update, out: Path) -> dict[str, Any]:
    """Write the model's folder with its index; what update.json says."""
    config, graph, data = update.config, update.graph, update.data
    family = ranking_family(stored_settings(update.folder), update.folder)
    scale = float((settings_of_run(update.folder).get("loss") or {}).get("scale") or 1.0)
    source = Source(update.folder, graph, update.index, config.steps, scale, data.cache)
    out.mkdir(parents=True, exist_ok=True)
    stats = graph_file_stats(data) or {}
    facts = WRITE[family.name](source, out)
    (out / MANIFEST).unlink(missing_ok=True)  # of the old model
    kept = {"earlier": update.index, "keep_learned": config.keep_learned}
    index = build_index(out, graph, stats, family=family, cache=data.cache, **kept)
    if family.reads:
        keep_entities(out, index, graph)
        facts["encoded"] = int(EarlierTexts.of(update.index).are_new(index.texts.rows).sum())
    if config.max_facts:
        is_new = update.changes.entities < 0
        new = NewFacts(graph, update.changes.new_facts, is_new, placed=family.name != "text")
        scorers = scorer_of(out, family.name, update.index, data.cache)
        facts["new_facts"] = new.measured(scorers, config.max_facts, config.batch_size)
    facts = {**origin(update), "changes": update.changes.counts, "num_entities": graph.num_entities, **facts}
    write_json(out / UPDATED, facts)
    write_manifest(out)
    return facts


def settings_of_run(folder: Path) -> Mapping[str, Any]:
    """The settings of the run that a model's folder is in; empty if it is in none."""
    run = run_of(folder)
    return run.settings if (run.folder / "config.yaml").is_file() else {}


def origin(update: Update) -> dict[str, Any]:
    """Which graph the model is of now, and which it was trained on, with what was said at earlier updates."""
    earlier, run = read_object(update.folder / UPDATED, REMEDY), run_of(update.folder)
    before = {"name": update.index.metadata["graph_name"], "checksum": update.index.metadata["graph"]}
    trained_on = earlier.get("trained_on")
    if trained_on is None:
        path = settings_of_run(update.folder).get("data", {}).get("path")
        trained_on = {**before, "path": path, "checksum": run.data_checksum or before["checksum"]}
    place = place_of(update.data.path)
    graph = {"name": update.graph.name, "path": place or update.data.path, "checksum": update.graph.checksum()}
    trained = {split: metrics["mrr"] for split, metrics in trained_metrics(update.folder).items()}
    history = [
        *earlier.get("history", ()),
        {key: earlier[key] for key in earlier if key not in ("history", "trained_on")},
    ]
    return {
        "graph": graph,
        "before": before,
        "trained_on": trained_on,
        "trained_mrr": trained,
        "history": [entry for entry in history if entry],
    }


def trained_metrics(folder: Path) -> Mapping[str, Any]:
    """The metrics by split that the run noted of a stage, on the graph that it was trained on."""
    results = run_of(folder).results
    return (results[folder.resolve().name].metrics or {}) if folder.resolve().name in results else {}


def write_run(update: Update, run: Run, out: Path, facts: Mapping[str, Any]) -> None:
    """Write what makes the folder a run: its settings with the newer graph, and the stage's results, which are of the graph that
    it was trained on."""
    stage = update.folder.name
    write_text(
        out / "config.yaml",
        yaml.safe_dump({**run.settings, "data": asdict(update.data)}, sort_keys=False, allow_unicode=True),
    )
    write_text(out / "data.sha256", update.graph.checksum() + "\n")
    write_json(out / "env.json", {**run.environment, "data": place_of(update.data.path)})
    write_json(out / UPDATED, facts)
    write_json(out / "results.json", {stage: {**run.stored[stage], "updated": facts}} if stage in run.stored else {})
    results = Run(out).results
    tables = ranking_tables(results, [*trained_metrics(update.folder)]) if results else {}
    texts = [
        f"{facts['trained_on']['name']} as trained on, {split} split\n\n{table}\n" for split, table in tables.items()
    ]
    write_text(out / "table.md", "\n".join([*texts, text_of(update.changes, facts)]))
    if (run.folder / "metrics.jsonl").is_file():
        shutil.copy2(run.folder / "metrics.jsonl", out)


def text_of(changes: Changes, facts: Mapping[str, Any]) -> str:
    """What changed, what was done, and how new facts rank."""
    lines = [changes_table(changes)]
    if "encoded" in facts:
        lines.append(f"texts encoded: {facts['encoded']:,} of {facts['num_entities']:,}")
    if structure := facts.get("structure"):
        rest = structure["new"] - structure["from_facts"]
        without = f", {rest:,} have none and stand at the mean" if rest else ""
        placed = f"{structure['from_facts']:,} of {structure['new']:,} new entities placed by their facts{without}"
        lines += [f"structure: {placed}"] * bool(structure["new"])
        if structure["relations_without"]:
            lines.append(
                f"structure: none for {structure['relations_without']:,} new relations, which the text alone answers"
            )
    rows = [[f"{split}, when trained", "all", "", f"{mrr:.3f}", ""] for split, mrr in facts["trained_mrr"].items()]
    rows += [
        [
            f"{split}, new facts",
            part,
            f"{values['num_queries']:,}",
            f"{values['mrr']:.3f}",
            f"{values['hits_at_10']:.3f}",
        ]
        for split, parts in facts.get("new_facts", {}).items()
        for part, values in parts.items()
    ]
    if rows:
        lines += [
            "",
            markdown(("facts", "of", "queries", "MRR", "Hits@10"), rows, ("left", "left", "right", "right", "right")),
        ]
    return "\n".join(lines) + "\n"


def changes_table(changes: Changes) -> str:
    """New, changed and gone, by kind; that nothing differs, if so."""
    if changes.is_empty:
        return "nothing changed\n"
    rows = [[kind, *(f"{number:,}" for number in counts.values())] for kind, counts in changes.counts.items()]
    moved = "entities or relations stand at other positions: ids decide\n" if changes.reordered else ""
    return (
        markdown(("of the graph", "new", "changed", "gone"), rows, ("left", "right", "right", "right")) + f"\n\n{moved}"
    )

"""`pmd fuse`: a text model and an embedding model of one graph as one model, in a run of its own.

Nothing is trained but the weights of both parts, which validation chooses. The run has the rows `text`, `structure` and `fused` in
its table, and the model of the last one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pmd.core.distributed import refuse_processes
from pmd.core.errors import PmdError
from pmd.core.files import new_folder, write_folder, write_json, write_text
from pmd.core.quiet import quiet
from pmd.core.results import StageResult
from pmd.core.run import Run, environment
from pmd.core.types import TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.fusing import Validated, choose, cross_validated, shares_of, validate
from pmd.evaluation.metrics import RankingMetrics
from pmd.evaluation.tables import Table, ranking_tables
from pmd.models.families import family_of, num_parameters, stored_settings
from pmd.models.fused.folder import Structure, fused, save
from pmd.models.fused.scorer import FusedScorer
from pmd.models.fused.weights import FusionWeights
from pmd.models.kge import folder as kge
from pmd.models.kge.as_products import product_tables
from pmd.recipes.ranking import ranked, types_used, write_ranks
from pmd.recipes.stages import place_of
from pmd.settings.catalogue import FAMILIES
from pmd.settings.fuse import FuseConfig
from pmd.settings.shared import DataConfig
from pmd.settings.text import TrainConfig
from pmd.training.device import accelerator_for
from pmd.use.load import known_graph, loaded, run_of
from pmd.use.locate import locate

PART, STAGE = "structure", "fused"
RULES = {
    "common": "one share for all",
    "relation": "one for each relation and direction",
    "query": "one for each query, by its scores",
}


@dataclass(frozen=True)
class Parts:
    """The folders of both models, their graph and its settings, and scorers of it."""

    folders: Mapping[str, Path]
    data: DataConfig
    graph: KnowledgeGraph
    text: Any
    structure: Any


@dataclass(frozen=True)
class Weighed:
    """Both parts with their weights: scorers by row of the table, what config.json says, the rules compared, and how long it
    took."""

    parts: Parts
    structure: Structure
    scorers: Mapping[str, Any]
    facts: Mapping[str, Any]
    rules: Table
    seconds: float


def fuse(config: FuseConfig) -> str:
    """Write the run; its tables.

    Raises:
        PmdError: for models that are not of one graph, an embedding model whose scores are no inner products, and a graph
            without validation triples.
    """
    quiet()
    refuse_processes()
    out = new_folder(config.out)
    if config.evaluation.rerank_hops:
        raise PmdError("evaluation.rerank_hops: a fused model has no cosines to add to; leave it out")
    accelerator = accelerator_for(TrainConfig(threads=config.threads))
    weighed = weigh(load_parts(config, accelerator.device), config)
    parts = weighed.parts

    def fill(folder: Path) -> None:
        run = Run(folder)
        run.start(replace(config, data=parts.data, out=str(out)))
        run.refuse_other_data(parts.graph.checksum(), parts.graph.checksum(types=False))
        noted = environment(
            device=str(accelerator.device), threads=torch.get_num_threads(), processes=1, data=place_of(parts.data.path)
        )
        write_json(folder / "env.json", noted)
        for name in weighed.scorers:
            fuse_stage(name, weighed, config, run)
        write_table(run, weighed, config)

    write_folder(out, fill)
    return (out / "table.md").read_text(encoding="utf-8") + f"\n{out / STAGE}: the fused model"


def weigh(parts: Parts, config: FuseConfig) -> Weighed:
    """Choose the weights of both parts by validation, and compare the rules for them."""
    began, graph = time.perf_counter(), parts.graph
    validated = validate(neutral(parts), graph, max_triples=config.max_triples)
    weights = choose(config.weights, validated, 2 * graph.num_relations)
    structure = Structure.of(parts.structure, graph, weights)
    scorers = {"text": parts.text, PART: parts.structure, STAGE: fused(parts.text, structure, graph)}
    seconds, facts = time.perf_counter() - began, facts_of(config, parts, validated, weights)
    return Weighed(parts, structure, scorers, facts, rules_table(validated, 2 * graph.num_relations), seconds)


def fuse_stage(name: str, weighed: Weighed, config: FuseConfig, run: Run) -> None:
    """Note a part, or both, in a run; of both, save the model first."""
    if name == STAGE and run.main:
        save(run.folder / STAGE, *weighed.parts.folders.values(), weighed.structure, weighed.facts)
    result = result_of(name, weighed.scorers[name], weighed.parts, config, run)
    of_both = {"train_seconds": weighed.seconds, "rules": weighed.rules.stored()}
    run.add_result(name, {**vars(result), **of_both} if name == STAGE else result)


def write_table(run: Run, weighed: Weighed, config: FuseConfig) -> None:
    """Write table.md: the results of a run, and the comparison of the rules for weights."""
    tables = ranking_tables(run.results, config.evaluation.splits)
    texts = [f"{weighed.parts.graph.name}, {split} split\n\n{table}\n" for split, table in tables.items()]
    write_text(run.folder / "table.md", "\n".join([*texts, weighed.rules.markdown() + "\n"]))


def add_rules(run: Run) -> None:
    """Put the comparison of the rules below the tables of a run, which have been written anew."""
    rules, file = run.results[STAGE].rules, run.folder / "table.md"
    if rules is not None:
        write_text(file, f"{file.read_text(encoding='utf-8')}\n{Table.restored(**rules).markdown()}\n")


def last_of_family(part: str, family: str, model: str, stage: str | None) -> Path:
    """The folder of a part's model; of a run, by default the last stage that is of a family, for it may end in a fused one.
    PmdError, naming the option of the part, if there is none."""
    run = Path(model).expanduser()
    if stage is None and (run / "config.yaml").is_file():
        fitting = [name for name in Run(run).loadable if family_of(stored_settings(run / name), name).name == family]
        stage = fitting[-1] if fitting else None
    try:
        return locate(model, stage)
    except PmdError as error:
        words = str(error).removeprefix("model: ")
        raise PmdError(f"{part}_{words}" if words.startswith("stage: ") else f"{part}: {words}") from None


def load_parts(config: FuseConfig, device: Any) -> Parts:
    """Both models, checked to be of one graph."""
    folders = {
        "text": last_of_family("text", "text", config.text, config.text_stage),
        "structure": last_of_family("structure", "embedding", config.structure, config.structure_stage),
    }
    for part, family in (("text", "text"), ("structure", "embedding")):
        found = family_of(stored_settings(folders[part]), folders[part])
        if found.name != family:
            raise PmdError(f"{part}: '{folders[part]}' is {found.title}; give {FAMILIES[family].title} there")
    checksums = {part: run_of(folder).data_checksum for part, folder in folders.items()}
    if None not in checksums.values() and checksums["text"] != checksums["structure"]:
        raise PmdError(
            f"structure: '{folders['structure']}' was trained on another graph than '{folders['text']}'; fuse models of one graph"
        )
    product_tables(kge.load_model(folders["structure"]))  # refuses an interaction before texts are encoded
    data = config.data or known_graph(folders["text"])
    graph = loaded(data, None if config.data else folders["text"])
    for part, checksum in checksums.items():
        if checksum is not None and not graph.has_checksum(checksum):
            raise PmdError(
                f"{part}: '{folders[part]}' was trained on another graph than '{data.path}' holds now; say where its own is: "
                "--data.path FOLDER"
            )
    for split in config.evaluation.splits:
        graph.split(split)  # refuses what there is not, before anything is measured
    scorers = {
        part: family_of(stored_settings(folder), folder)
        .load_module()
        .scorer(folder, graph, device=device, cache=data.cache, shared=True)
        for part, folder in folders.items()
    }
    return Parts(folders, data, graph, **scorers)


def neutral(parts: Parts) -> FusedScorer:
    """Both parts unweighted, for validation."""
    shares = torch.full((2 * parts.graph.num_relations,), 0.5).numpy()
    weights = FusionWeights(torch.ones(2).numpy(), shares, 0.5)
    return fused(parts.text, Structure.of(parts.structure, parts.graph, weights), parts.graph)


def facts_of(config: FuseConfig, parts: Parts, validated: Validated, weights: FusionWeights) -> dict[str, Any]:
    """What the model's config.json says beside its sizes: `valid_mrr` is by the weights that these queries chose."""
    curve = validated.reciprocal.mean(0)
    mrr = {"text": curve[0], "structure": curve[-1], STAGE: validated.mrr(shares_of(weights, validated))}
    return {
        "weights": config.weights,
        "common_share": weights.common,
        "valid_mrr": {name: round(float(value), 6) for name, value in mrr.items()},
        "valid_queries": len(validated.questions),
        "graph": parts.graph.checksum(),
        "graph_name": parts.graph.name,
        "parts": {"text": parts.folders["text"].name, "structure": parts.folders["structure"].name},
    }


def rules_table(validated: Validated, num_questions: int) -> Table:
    """The rules for weights, by cross-validation on the validation queries."""
    curve = validated.reciprocal.mean(0)
    alone = {"text alone": float(curve[0]), "structure alone": float(curve[-1])}
    both = {kind: cross_validated(kind, validated, num_questions) for kind in RULES}
    rows = [[part, f"{mrr:.4f}", ""] for part, mrr in alone.items()]
    for kind, words in RULES.items():
        chosen = shares_of(choose(kind, validated, num_questions), validated).mean()
        rows.append([f"{kind}: {words}", f"{both[kind]:.4f}", f"{chosen:.2f}"])
    caption = f"Share of the structure, chosen and compared by five-fold cross-validation of {len(validated.questions):,} queries"
    better = max(alone, key=alone.get)
    if alone[better] > max(both.values()):
        caption += f"; {better} is better than both by any rule"
    return Table(("weights", "MRR, valid", "mean share"), rows, caption)


def result_of(name: str, scorer: TripleScorer, parts: Parts, config: FuseConfig, run: Run) -> StageResult:
    """What the run notes of a part, or of both: sizes, and the rankings of the splits that it can rank, whose ranks are kept."""
    graph, text, structure = parts.graph, parts.text, parts.structure
    sizes: dict[str, dict[str, Any]] = {
        "text": {"layers": text.model.depth, "mask_rate": 0.0, "dim": text.model.dim},
        "structure": {"interaction": structure.name, "dim": structure.dim},
    }
    sizes[STAGE] = {**sizes["structure"], **sizes["text"], "dim": max(scorer.widths)}
    seen, metrics = graph.candidates("train"), {}
    for split in config.evaluation.splits:
        if name == "structure" and seen is not None and not torch.isin(graph.split(split)[:, [0, 2]], seen).all():
            continue  # of unseen entities it knows nothing
        by_width = ranked(scorer, graph, config.evaluation, split)
        if run.main:
            write_ranks(run.folder / name, split, by_width)
        metrics[split] = RankingMetrics.from_ranks(by_width[max(by_width)]).to_dict()
    parameters = num_parameters(getattr(scorer, "model", scorer))
    used = types_used(config.evaluation)
    return StageResult(**sizes[name], parameters=parameters, teacher="none", metrics=metrics, **used)

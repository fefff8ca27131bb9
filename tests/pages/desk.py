"""A folder in which the lines of the pages can be typed: graphs, runs and files of the names that they use, all tiny."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

import pmd
from pmd.data.graphs.graph import KnowledgeGraph

from ..tiny import tiny_tokenizer
from ..tiny_glue import tiny_config, write_task
from ..tiny_glue import write_bert as write_tiny_bert
from ..tiny_teachers import checkpoint

ROOT = Path(__file__).parents[2]

ENCODER = {"hidden_size": 16, "heads": 2, "intermediate_size": 32, "vocab_size": 300, "max_length": 16}
RELATIONS = ("official_language", "spoken_language", "currency", "territory_region")
SPACE = "train.lr: {low: 1e-3, high: 0.1, log: true}\ntrain.epochs: {values: [1, 2]}\n"


def write_graphs(folder: Path) -> None:
    """Facts of `world` about every third territory, in the forms that the pages name."""
    world = pmd.load_graph("world")
    parts = {name: facts_of(world, getattr(world, name)) for name in ("train", "valid", "test")}
    graph = folder / "my_graph"
    graph.mkdir()
    for name, triples in parts.items():
        (graph / f"{name}.tsv").write_text("".join("\t".join(triple) + "\n" for triple in triples), encoding="utf-8")
    triples = [triple for part in parts.values() for triple in part]
    names, relations = texts_of(world)
    used = {entity for head, _, tail in triples for entity in (head, tail)}
    rows = ["\t".join((entity, *text)) + "\n" for entity, text in names.items() if entity in used]
    (graph / "entities.tsv").write_text("".join(rows), encoding="utf-8")
    rows = [f"{relation}\t{relations[relation]}\n" for relation in RELATIONS]
    (graph / "relations.tsv").write_text("".join(rows), encoding="utf-8")
    named = [(names[head][0], relations[r].removeprefix("has "), names[tail][0]) for head, r, tail in triples]
    write_as_table(folder / "edges.tsv", "\t", named)
    write_as_table(folder / "facts.csv", ",", [[cell.replace(",", " ") for cell in row] for row in named])
    (folder / "facts.nt").write_text(as_rdf(triples, names, relations), encoding="utf-8")


def facts_of(world: KnowledgeGraph, triples: torch.Tensor) -> list[tuple[str, str, str]]:
    kept = [i for i, entity in enumerate(world.entity_ids) if entity.startswith("territory:")][::3]
    kept = {*kept, world.entity_ids.index("territory:AT")}
    relations = {world.relation_ids.index(name) for name in RELATIONS}
    return [
        (world.entity_ids[h], world.relation_ids[r], world.entity_ids[t])
        for h, r, t in triples.tolist()
        if h in kept and r in relations
    ]


def texts_of(world: KnowledgeGraph) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    texts = zip(world.entity_names, world.entity_descriptions)
    return dict(zip(world.entity_ids, texts)), dict(zip(world.relation_ids, world.relation_names))


def write_as_table(file: Path, delimiter: str, rows: list) -> None:
    lines = [("head", "relation", "tail"), *rows]
    file.write_text("".join(delimiter.join(row) + "\n" for row in lines), encoding="utf-8")


def as_rdf(triples: list, names: dict, relations: dict) -> str:
    def iri(name: str) -> str:
        return f"<http://example.org/{name.replace(':', '/')}>"

    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    used = {entity for head, _, tail in triples for entity in (head, tail)}
    lines = [f"{iri(h)} {iri(r)} {iri(t)} ." for h, r, t in triples]
    lines += [f'{iri(entity)} {label} "{names[entity][0]}"@en .' for entity in sorted(used)]
    lines += [f'{iri(relation)} {label} "{relations[relation]}"@en .' for relation in RELATIONS]
    return "\n".join(lines) + "\n"


def write_runs(folder: Path) -> None:
    """A run of two text models of `world`, and one of a croppable embedding model."""
    pmd.progressive(
        "world",
        structure=None,
        encoder={**ENCODER, "layers": 2},
        train={"epochs": 1, "batch_size": 512, "threads": 1},
        distill={"epochs": 1, "depths": [1], "mask_rates": [0.1]},
        runs=str(folder / "made"),
    ).folder.rename(named(folder, "world-…"))
    pmd.load(folder / "runs" / "world-…").index  # noqa: B018
    pmd.train(
        "world",
        model={"dim": 32, "widths": [16, 32]},
        train={"epochs": 1, "batch_size": 1024, "threads": 1},
        runs=str(folder / "made"),
    ).folder.rename(named(folder, "world-rotate-…"))


def named(folder: Path, name: str) -> Path:
    """The folder of a run as the pages write it, with an ellipsis in place of the time."""
    (folder / "runs").mkdir(exist_ok=True)
    return folder / "runs" / name


def write_bert(folder: Path) -> None:
    """A croppable classifier of the widths of docs/bert.md, of random weights; a BERT to fine-tune, and a task."""
    place = named(folder, "glue-stsb-…") / "med"
    sizes = {"hidden_size": 384, "intermediate_size": 384, "num_hidden_layers": 1, "num_attention_heads": 12}
    sizes["widths"] = [64, 128, 256, 384]
    pmd.CroppableBertForSequenceClassification(tiny_config(**sizes, num_labels=1)).save_pretrained(place)
    tiny_tokenizer().save_pretrained(place)
    write_tiny_bert(folder / "bert")
    write_task(folder / "glue" / "RTE", "rte")


def write_desk(folder: Path) -> None:
    write_graphs(folder)
    write_runs(folder)
    write_bert(folder)
    (folder / "space.yaml").write_text(SPACE)
    (folder / "RUN").symlink_to("runs/world-…")
    (folder / "triples.tsv").write_text("Austria\tofficial language\tGerman\n", encoding="utf-8")


def write_more(desk: Path, folder: Path) -> None:
    """What fewer lines name: another embedding model, both models in one, the names of other runs, files of entities."""
    runs = folder / "runs"
    settings = {
        "model": {"interaction": "complex", "dim": 16},
        "train": {"epochs": 1, "batch_size": 1024, "threads": 1},
    }
    pmd.train("world", **settings, runs=str(folder / "made")).folder.rename(named(folder, "world-complex-…"))
    pmd.fuse(str(desk / "runs" / "world-…"), str(runs / "world-complex-…"), str(folder / "both"))
    (runs / "my_graph-rotate-…").symlink_to("world-rotate-…")
    (runs / "my_graph-…").symlink_to("world-…")
    (runs / "my_graph-complex-…").symlink_to("world-complex-…")
    (folder / "countries.txt").write_text("Austria\nGermany\n", encoding="utf-8")
    types = [f"{entity}\t{entity.partition(':')[0]}\n" for entity in pmd.load_graph("world").entity_ids]
    (folder / "types.tsv").write_text("".join(types), encoding="utf-8")


def write_whole(desk: Path) -> None:
    """What the long commands name: the data sets in DIR, a teacher and a pretrained BERT of the Hub, and files of the repository."""
    for name in ("configs", "scripts"):
        (desk / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "docs" / "results", desk / "docs" / "results")
    (desk / "DIR").symlink_to(".")
    for name in ("wn18rr", "umls"):
        (desk / name).symlink_to("my_graph")
    write_inductive(desk / "my_graph", desk / "wn18rr_v1_inductive")
    checkpoint("qwen3", desk / "Qwen" / "Qwen3-Embedding-0.6B")
    write_tiny_bert(desk / "bert6", num_hidden_layers=6)
    write_task(desk / "glue" / "STS-B", "stsb")


def write_inductive(graph: Path, folder: Path) -> None:
    """The graph twice, the second time with entities of its own."""
    shutil.copytree(graph, folder)
    for name in ("train", "valid", "test"):
        rows = [line.split("\t") for line in (graph / f"{name}.tsv").read_text(encoding="utf-8").splitlines()]
        text = "".join(f"new:{head}\t{relation}\tnew:{tail}\n" for head, relation, tail in rows)
        (folder / f"inductive_{name}.tsv").write_text(text, encoding="utf-8")
    rows = (graph / "entities.tsv").read_text(encoding="utf-8").splitlines()
    with open(folder / "entities.tsv", "a", encoding="utf-8") as file:
        file.writelines(f"new:{row}\n" for row in rows)

"""Do our embedding models reach the MRR of PyKEEN's at equal width, loss and budget? Run by hand.

Both sides train each interaction with the self-adversarial loss (Sun et al., 2019; temperature 1), Adam, and the same
batch size, epochs and number of negatives for a triple, from their own random start, and choose the learning rate by
validation MRR from the same list. PyKEEN's models keep their own details: unit entities in TransE, complex numbers in
RotatE and so on. Ours decay the rate linearly, which is our default. Each side is ranked by its own evaluator: filtered,
realistic ranks of both directions. Results are kept in a file, so that a stopped benchmark goes on where it was.

    python scripts/bench/kge_quality.py --data ../shared/data/umls --out runs/quality-umls.jsonl
"""

from __future__ import annotations

import json
import logging
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli

from pmd.cli.errors import run as run_reporting_errors
from pmd.core.run import Run, environment
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.evaluation.tables import markdown, mean_and_deviation
from pmd.recipes.kge import train_kge
from pmd.settings.catalogue import INTERACTIONS
from pmd.settings.kge import KgeConfig, KgeTrainConfig, LossConfig, ModelConfig
from pmd.settings.shared import DataConfig, EvaluationConfig

OWN = {"pairre": {"unit_entities": True}}
"""Settings of our models that PyKEEN's models of the same name have built in."""


def main(
    data: str = "../shared/data/umls",
    out: str = "runs/kge_quality.jsonl",
    interactions: list[str] | None = None,
    seeds: list[int] | None = None,
    lrs: list[float] | None = None,
    dim: int = 32,
    epochs: int = 50,
    batch_size: int = 512,
    negatives: int = 16,
    margin: float = 6.0,
    threads: int = 0,
) -> None:
    """Train both sides and print a table.

    Args:
        data: folder of a knowledge graph.
        out: file of results, one JSON object on a line; what is in it is not done again.
        interactions: interactions to compare; by default all.
        seeds: by default 0, 1, 2.
        lrs: learning rates to choose from by validation MRR; by default 0.01, 0.05, 0.1.
        dim: width of the embeddings.
        epochs: epochs of both sides; neither stops early.
        batch_size: positive triples in a batch.
        negatives: negatives for each triple.
        margin: γ of distances; that of products is 0.
        threads: CPU threads; 0 for PyTorch's choice.
    """
    logging.disable(logging.WARNING)
    if threads:
        torch.set_num_threads(threads)
    graph = load_graph(data)
    file = Path(out)
    file.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    names = interactions or list(INTERACTIONS)
    rates, seeds = lrs or [0.01, 0.05, 0.1], seeds or [0, 1, 2]
    for name in names:
        for seed in seeds:
            for lr in rates:
                for side, train in (("pmd", train_ours), ("pykeen", train_pykeen)):
                    key = {"side": side, "interaction": name, "seed": seed, "lr": lr}
                    if any(all(line[k] == v for k, v in key.items()) for line in done):
                        continue
                    gamma = 0.0 if INTERACTIONS[name].product else margin
                    training = Training(data, name, seed, lr, gamma, dim, epochs, batch_size, negatives)
                    began = time.perf_counter()
                    valid, test = train(graph, training)
                    noted = {"data": data, "dim": dim, "epochs": epochs, "environment": noted_environment()}
                    done.append({**key, "valid": valid, "test": test, "seconds": time.perf_counter() - began, **noted})
                    with open(file, "a") as lines:
                        lines.write(json.dumps(done[-1]) + "\n")
    print(table(done, names, seeds))


def noted_environment() -> dict[str, Any]:
    """The versions, machine and command of both sides, which compute on a CPU."""
    return environment(device="cpu", threads=torch.get_num_threads(), processes=1, precision="fp32")


@dataclass(frozen=True)
class Training:
    """What both sides train: the options of `main`, and the values of this training."""

    data: str
    interaction: str
    seed: int
    lr: float
    margin: float
    dim: int
    epochs: int
    batch_size: int
    negatives: int


def train_ours(graph: KnowledgeGraph, of: Training) -> tuple[float, float]:
    """Train our model; its MRR on the validation and the test split."""
    config = KgeConfig(
        name=f"{Path(of.data).name}-{of.interaction}-{of.seed}-{of.lr:g}",
        seed=of.seed,
        runs="runs/kge_quality",
        data=DataConfig(path=of.data),
        model=ModelConfig(
            of.interaction,
            dim=of.dim,
            norm=None if INTERACTIONS[of.interaction].product else PEER_NORM[of.interaction],
            **OWN.get(of.interaction, {}),
        ),
        loss=LossConfig("logistic", margin=of.margin, negatives=of.negatives, adversarial=1.0),
        train=KgeTrainConfig(
            epochs=of.epochs, batch_size=of.batch_size, lr=of.lr, valid_every=0, threads=torch.get_num_threads()
        ),
        evaluation=EvaluationConfig(split=["valid", "test"]),
    )
    run = Run(Path(config.runs) / config.name)
    if not (run.folder / "config.yaml").is_file():
        run.start(config)
    metrics = train_kge(config, run).results[of.interaction].metrics
    return metrics["valid"]["mrr"], metrics["test"]["mrr"]


PEER_NORM = {"transe": "l1", "transh": "l2", "rotate": "l2", "pairre": "l1"}
"""PyKEEN's default norms."""


def train_pykeen(graph: KnowledgeGraph, of: Training) -> tuple[float, float]:
    """Train PyKEEN's model on the same triples; its MRR on the validation and the test split."""
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.losses import NSSALoss
    from pykeen.models import model_resolver
    from pykeen.training import SLCWATrainingLoop
    from pykeen.triples import CoreTriplesFactory
    from pykeen.utils import set_random_seed

    set_random_seed(of.seed)
    candidates = graph.candidates("test")
    splits = {name: graph.split(name).clone() for name in ("train", "valid", "test")}
    if candidates is not None:  # entities of an inductive data set's other graph are left out
        for triples in splits.values():
            triples[:, [0, 2]] = torch.searchsorted(candidates, triples[:, [0, 2]].contiguous())
    sizes = {"num_entities": graph.num_entities if candidates is None else len(candidates)}
    sizes["num_relations"] = graph.num_relations
    factory = CoreTriplesFactory(splits["train"], **sizes)
    model = model_resolver.make(
        of.interaction,
        triples_factory=factory,
        embedding_dim=of.dim,
        loss=NSSALoss(margin=of.margin, adversarial_temperature=1.0),
        random_seed=of.seed,
    )
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=factory,
        optimizer=torch.optim.Adam(model.get_grad_params(), lr=of.lr),
        negative_sampler_kwargs={"num_negs_per_pos": of.negatives},
    )
    loop.train(factory, num_epochs=of.epochs, batch_size=of.batch_size, use_tqdm=False)
    mrr = []
    for name in ("valid", "test"):
        others = [splits[other] for other in splits if other != name]
        result = RankBasedEvaluator(filtered=True).evaluate(
            model, splits[name], additional_filter_triples=others, batch_size=256, use_tqdm=False
        )
        mrr.append(float(result.get_metric("both.realistic.inverse_harmonic_mean_rank")))
    return mrr[0], mrr[1]


def table(done: list[dict], names: list[str], seeds: list[int]) -> str:
    """Test MRR of both sides, each at the learning rate with the best mean validation MRR over the seeds."""
    rows = []
    for name in names:
        row, means = [name], {}
        for side in ("pmd", "pykeen"):
            by_rate: dict[float, list[dict]] = {}
            for line in done:
                if (line["side"], line["interaction"]) == (side, name) and line["seed"] in seeds:
                    by_rate.setdefault(line["lr"], []).append(line)
            best = max(by_rate, key=lambda rate: statistics.fmean(line["valid"] for line in by_rate[rate]))
            tests = [line["test"] for line in by_rate[best]]
            means[side] = statistics.fmean(tests)
            seconds = statistics.median(line["seconds"] for lines in by_rate.values() for line in lines)
            row += [mean_and_deviation(tests), f"{best:g}", f"{seconds:.0f}"]
        rows.append([*row, f"{means['pmd'] - means['pykeen']:+.3f}"])
    return markdown(["MRR, test", "pmd", "lr", "s", "PyKEEN", "lr", "s", "difference"], rows)


if __name__ == "__main__":
    run_reporting_errors(lambda: auto_cli(main))

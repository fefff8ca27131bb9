"""Do our embedding models reach what PyKEEN's reach, at equal width, loss and budget? Run by hand.

Both sides train each interaction with the self-adversarial loss (Sun et al., 2019; temperature 1), the same
negatives per triple, batch size, epochs and Adam, from each side's own start, and choose the learning rate
by validation MRR among the same few. PyKEEN's models keep what is theirs: unit entities in TransE, complex numbers
in RotatE and so on. Ours decay the rate linearly, as is our default. Both are ranked by their own evaluator: filtered, realistic
ranks of both directions. What is done is kept in a file, so a stopped run goes on.

    python scripts/bench/kge_quality.py --data ../shared/data/umls --out runs/quality-umls.jsonl
"""

from __future__ import annotations

import json
import logging
import statistics
import time
from pathlib import Path

import torch
from jsonargparse import auto_cli

from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.recipes.kge import train_kge
from pmd.recipes.tables import markdown, spread
from pmd.settings.catalogue import INTERACTIONS
from pmd.settings.kge import KgeConfig, KgeTrainConfig, LossConfig, ModelConfig
from pmd.settings.shared import DataConfig, EvaluationConfig

OWN = {"pairre": {"unit_entities": True}}
"""Settings of the model class that PyKEEN's class of the same name has built in."""


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
        out: file of results, one JSON object a line; what is in it is not done again.
        interactions: which; default all.
        seeds: default 0, 1, 2.
        lrs: learning rates to choose from by validation MRR; default 0.01, 0.05, 0.1.
        dim: width.
        epochs: of both sides; neither stops early.
        batch_size: positive triples in a batch.
        negatives: for each triple.
        margin: γ of the distances; products have 0.
        threads: CPU threads; 0 for PyTorch's choice.
    """
    logging.disable(logging.WARNING)
    if threads:
        torch.set_num_threads(threads)
    graph = load_graph(data)
    file = Path(out)
    file.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    kinds = interactions or list(INTERACTIONS)
    rates, seeds = lrs or [0.01, 0.05, 0.1], seeds or [0, 1, 2]
    for kind in kinds:
        for seed in seeds:
            for lr in rates:
                for side, train in (("pmd", train_ours), ("pykeen", train_pykeen)):
                    key = {"side": side, "interaction": kind, "seed": seed, "lr": lr}
                    if any(all(line[k] == v for k, v in key.items()) for line in done):
                        continue
                    gamma = 0.0 if INTERACTIONS[kind].product else margin
                    settings = {"dim": dim, "epochs": epochs, "batch_size": batch_size, "negatives": negatives}
                    began = time.perf_counter()
                    valid, test = train(graph, kind, seed=seed, lr=lr, margin=gamma, data=data, **settings)
                    done.append({**key, "valid": valid, "test": test, "seconds": time.perf_counter() - began})
                    with open(file, "a") as lines:
                        lines.write(json.dumps(done[-1]) + "\n")
    print(table(done, kinds, seeds))


def train_ours(
    graph: KnowledgeGraph,
    kind: str,
    *,
    data: str,
    seed: int,
    lr: float,
    margin: float,
    dim: int,
    epochs: int,
    batch_size: int,
    negatives: int,
) -> tuple[float, float]:
    """Validation and test MRR of our model."""
    config = KgeConfig(
        name=f"{Path(data).name}-{kind}-{seed}-{lr:g}",
        seed=seed,
        runs="runs/kge_quality",
        data=DataConfig(path=data),
        model=ModelConfig(
            kind, dim=dim, norm=None if INTERACTIONS[kind].product else PEER_NORM[kind], **OWN.get(kind, {})
        ),
        loss=LossConfig("logistic", margin=margin, negatives=negatives, adversarial=1.0),
        train=KgeTrainConfig(
            epochs=epochs, batch_size=batch_size, lr=lr, valid_every=0, threads=torch.get_num_threads()
        ),
        evaluation=EvaluationConfig(split=["valid", "test"]),
    )
    run = Run(Path(config.runs) / config.name)
    if not (run.folder / "config.yaml").is_file():
        run.start(config)
    metrics = train_kge(config, run).results[kind]["metrics"]
    return metrics["valid"]["mrr"], metrics["test"]["mrr"]


PEER_NORM = {"transe": "l1", "transh": "l2", "rotate": "l2", "pairre": "l1"}
"""PyKEEN's default norms."""


def train_pykeen(
    graph: KnowledgeGraph,
    kind: str,
    *,
    data: str,
    seed: int,
    lr: float,
    margin: float,
    dim: int,
    epochs: int,
    batch_size: int,
    negatives: int,
) -> tuple[float, float]:
    """Validation and test MRR of PyKEEN's model, on the same triples."""
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.losses import NSSALoss
    from pykeen.models import model_resolver
    from pykeen.training import SLCWATrainingLoop
    from pykeen.triples import CoreTriplesFactory
    from pykeen.utils import set_random_seed

    set_random_seed(seed)
    candidates = graph.candidates("test")
    splits = {name: graph.split(name).clone() for name in ("train", "valid", "test")}
    if candidates is not None:  # entities of an inductive data set's other graph have no place here
        for triples in splits.values():
            triples[:, [0, 2]] = torch.searchsorted(candidates, triples[:, [0, 2]].contiguous())
    sizes = {"num_entities": graph.num_entities if candidates is None else len(candidates)}
    sizes["num_relations"] = graph.num_relations
    factory = CoreTriplesFactory(splits["train"], **sizes)
    model = model_resolver.make(
        kind,
        triples_factory=factory,
        embedding_dim=dim,
        loss=NSSALoss(margin=margin, adversarial_temperature=1.0),
        random_seed=seed,
    )
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=factory,
        optimizer=torch.optim.Adam(model.get_grad_params(), lr=lr),
        negative_sampler_kwargs={"num_negs_per_pos": negatives},
    )
    loop.train(factory, num_epochs=epochs, batch_size=batch_size, use_tqdm=False)
    found = []
    for name in ("valid", "test"):
        others = [splits[other] for other in splits if other != name]
        result = RankBasedEvaluator(filtered=True).evaluate(
            model, splits[name], additional_filter_triples=others, batch_size=256, use_tqdm=False
        )
        found.append(float(result.get_metric("both.realistic.inverse_harmonic_mean_rank")))
    return found[0], found[1]


def table(done: list[dict], kinds: list[str], seeds: list[int]) -> str:
    """Test MRR of both sides, each with the learning rate that is best on validation over the seeds."""
    rows = []
    for kind in kinds:
        row, means = [kind], {}
        for side in ("pmd", "pykeen"):
            by_rate: dict[float, list[dict]] = {}
            for line in done:
                if (line["side"], line["interaction"]) == (side, kind) and line["seed"] in seeds:
                    by_rate.setdefault(line["lr"], []).append(line)
            best = max(by_rate, key=lambda rate: statistics.fmean(line["valid"] for line in by_rate[rate]))
            tests = [line["test"] for line in by_rate[best]]
            means[side] = statistics.fmean(tests)
            seconds = statistics.median(line["seconds"] for lines in by_rate.values() for line in lines)
            row += [spread(tests), f"{best:g}", f"{seconds:.0f}"]
        rows.append([*row, f"{means['pmd'] - means['pykeen']:+.3f}"])
    return markdown(["MRR, test", "pmd", "lr", "s", "PyKEEN", "lr", "s", "difference"], rows)


if __name__ == "__main__":
    try:
        auto_cli(main)
    except PmdError as error:
        raise SystemExit(f"error: {error}") from error

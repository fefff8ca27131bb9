"""What structure adds to the text model of every grade, over seeds: MRR and Hits@10 of text, structure and the three rules for
weights, and a paired bootstrap of the fused model against both of its parts. Run by hand.

    python scripts/bench/fuse_grades.py --texts '[RUN0, RUN1, RUN2]' --structures '[EMB0, EMB1, EMB2]' --stages '[teacher, grade1]'

The runs at one place of both lists are of one seed. Weights are chosen by validation; the table is of `--split`.
"""

from __future__ import annotations

from statistics import mean, stdev

import numpy as np
import torch
from jsonargparse import auto_cli

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.core.quiet import quiet
from pmd.evaluation.fusing import choose, cross_validated, validate
from pmd.evaluation.paired import paired_bootstrap, query_values
from pmd.evaluation.ranking import ranks
from pmd.evaluation.tables import markdown
from pmd.models.fused.folder import Structure, fused
from pmd.recipes.fuse import RULES, load_parts, neutral
from pmd.settings.fuse import FuseConfig

METRICS = ("mrr", "hits_at_10")


def ranks_of(text: str, structure: str, stage: str, split: str) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The ranks of both parts and of the fused model by rule, and the cross-validated MRR of each rule."""
    parts = load_parts(FuseConfig(text, structure, out="", text_stage=stage), torch.device("cpu"))
    graph, questions = parts.graph, 2 * parts.graph.num_relations
    validated = validate(neutral(parts), graph, max_triples=0)
    scorers = {"text": parts.text}
    seen = graph.candidates("train")
    if seen is None or torch.isin(graph.split(split)[:, [0, 2]], seen).all():
        scorers["structure"] = parts.structure
    for rule in RULES:
        weights = choose(rule, validated, questions)
        scorers[rule] = fused(parts.text, Structure.of(parts.structure, graph, weights), graph)
    by_model = {name: ranks(scorer, graph, split).realistic.numpy() for name, scorer in scorers.items()}
    return by_model, {rule: cross_validated(rule, validated, questions) for rule in RULES}


def spread(values: list[float]) -> str:
    """Mean, and the standard deviation of several."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def main(
    texts: list[str], structures: list[str], stages: list[str], split: str = "test", samples: int = 10_000
) -> None:
    """Rank and print.

    Args:
        texts, structures: runs of text models and of embedding models, seed by seed.
        stages: of the text runs.
        split: to rank.
        samples: resamples of the bootstrap.
    """
    if len(texts) != len(structures):
        raise PmdError(f"structures: {len(structures)} runs for {len(texts)} texts; give one for each")
    quiet()
    table, chosen, compared = [], [], []
    for stage in stages:
        seeds = [ranks_of(text, structure, stage, split) for text, structure in zip(texts, structures)]
        models = {name: [by_model[name] for by_model, _ in seeds] for name in seeds[0][0]}
        cells = [
            [spread([query_values(r, metric).mean() for r in of_seeds]) for of_seeds in models.values()]
            for metric in METRICS
        ]
        table.append([stage, *(" / ".join(both) for both in zip(*cells))])
        chosen.append([stage, *(spread([valid[rule] for _, valid in seeds]) for rule in RULES)])
        for part in models.keys() - set(RULES):
            by = {
                metric: paired_bootstrap(models["relation"], models[part], metric, samples=samples)
                for metric in METRICS
            }
            compared.append(
                [stage, part, *(f"{p.difference:+.3f} ({p.low:+.3f} to {p.high:+.3f})" for p in by.values())]
            )
    print(f"MRR / Hits@10, {split}\n\n" + markdown(["text model", *models], table))
    print("\nMRR, valid, by five-fold cross-validation\n\n" + markdown(["text model", *RULES], chosen))
    print("\nrelation less a part, 95 % interval\n\n" + markdown(["text model", "part", "MRR", "Hits@10"], compared))


if __name__ == "__main__":
    run(lambda: auto_cli(main, as_positional=False))

"""Calls that a type checker accepts; not run. Completion in an editor reads the same types."""

from pathlib import Path

import pmd
from pmd.settings.shared import EvaluationConfig

graph: pmd.KnowledgeGraph = pmd.load_graph("world")
run: pmd.TrainedRun = pmd.train(
    graph, model={"interaction": "rotate", "dim": 64}, train={"epochs": 3, "lr": 0.05}, seed=1
)
run = pmd.progressive("my_graph", "pmd/world", evaluation=EvaluationConfig(split="valid"), distill={"depths": [4, 2]})
fused = pmd.fuse("runs/text", "runs/embedding", "both", weights="common")
minutes = pmd.fit("edges.tsv", minutes=10).table()
folder: Path = pmd.crop("runs/world/grade1", 16, "small")
records = pmd.evaluate(["runs/world/grade1"], evaluation={"split": ["valid", "test"]})
mrr: float = pmd.rank(pmd.load_scorer("runs/world/grade1", graph), graph, split="test").mrr
best = pmd.tune("world", space="space.yaml", trials=2, model={"dim": 8}, train={"epochs": 3}).best
best = pmd.tune("world", trials=2, encoder={"layers": 2}, train={"epochs": 3}, contrastive={"pre_batches": 1}).best

"""Whether the numbers of a run of the main job can be true: no NaN, far above chance, all grades there."""

import json
import sys
from pathlib import Path

from pmd.data.graphs.sources import load_graph

run = Path(sys.argv[1])
results = json.loads((run / "results.json").read_text(encoding="utf-8"))
chance = sum(1 / rank for rank in range(1, 1888)) / load_graph("world").num_entities
GRADES = ["teacher", "grade4", "grade3", "grade2", "grade1"]
assert list(results) == [*GRADES, "structure", "fused"], list(results)
parameters = [results[name]["parameters"] for name in GRADES]
assert parameters == sorted(parameters, reverse=True) and parameters[0] > parameters[-1], parameters
for name, result in results.items():
    metrics = result["metrics"]["test"]
    assert 10 * chance < metrics["mrr"] <= 1, f"{name}: MRR {metrics['mrr']} against {chance:.4f} by chance"
    assert 0 <= metrics["hits_at_1"] <= metrics["hits_at_3"] <= metrics["hits_at_10"] <= 1, f"{name}: {metrics}"
    assert name not in GRADES or result["entities_per_second"] > 0
    assert f"| {name} " in (run / "table.md").read_text(encoding="utf-8")
mrr = {name: result["metrics"]["test"]["mrr"] for name, result in results.items()}
assert mrr["fused"] > max(mrr["grade1"], mrr["structure"]), mrr
print(f"{len(results)} models with sane numbers; chance is {chance:.4f}")

"""Calls that a type checker refuses, each on the line that says why; not run."""

import pmd

pmd.train("world", model={"interactoin": "rotate"})  # arg-type
pmd.train("world", model={"interaction": "rotat"})  # arg-type
pmd.progressive("world", train={"epochs": "three"})  # arg-type
pmd.fuse("text", "embedding")  # call-arg
pmd.fit("world", kind="texts")  # arg-type
pmd.rank("no scorer", pmd.load_graph("world"))  # arg-type
print(pmd.no_such_name)  # attr-defined
pmd.rank(pmd.load_scorer("runs/world/grade1", pmd.load_graph("world")), pmd.load_graph("world"), batch=3)  # call-arg
pmd.load_graph("edges.tsv", languages="de")  # call-arg
pmd.train("world", trian={"epochs": 3})  # call-arg
pmd.fit("edges.tsv", minuts=3)  # call-arg
pmd.tune("world", modle={"dim": 8})  # call-arg
pmd.evaluate("runs/world/grade1", evaluation={"splits": ["valid"]})  # arg-type

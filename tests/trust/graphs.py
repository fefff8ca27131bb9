"""A graph and a model of random numbers, with what the trust room needs of an index."""

import numpy as np


class SmallIndex:
    """30 entities and two relations; some validation triples stand in training too."""

    num_entities, num_relations, subgraphs = 30, 2, None

    def __init__(self):
        rng = np.random.default_rng(1)
        triples = sorted({tuple(map(int, row)) for row in rng.integers(0, (30, 2, 30), (300, 3))})
        rng.shuffle(triples)
        triples = [tuple(map(int, row)) for row in triples]
        self.splits = {"train": triples[:220], "valid": sorted(triples[215:250]), "test": sorted(triples[250:])}
        self.metadata = {"splits": [*self.splits], "inductive": False}

    def triples(self, *names):
        return np.array(sorted({triple for name in names for triple in self.splits[name]}))

    def splits_of(self, triples):
        members = [set(split) for split in self.splits.values()]
        return np.array(
            [sum((tuple(row) in split) << i for i, split in enumerate(members)) for row in triples.tolist()]
        )

    def known_answers(self, target, entity, relation):
        known, answer = (2, 0) if target == "head" else (0, 2)
        rows = {t[answer] for split in self.splits.values() for t in split if t[known] == entity and t[1] == relation}
        return np.array(sorted(rows), dtype=np.int64), None


class SmallModel:
    """Scores by a table for each direction: the true answers a little higher than others."""

    def __init__(self, index, gain=2.0):
        rng = np.random.default_rng(2)
        shape = (index.num_entities, index.num_relations, index.num_entities)
        self.index, self.table = index, {target: rng.normal(size=shape) for target in ("head", "tail")}
        for split in index.splits.values():
            for h, r, t in set(split):
                self.table["tail"][h, r, t] += gain
                self.table["head"][t, r, h] += gain

    def query_scores(self, target, entities, relations):
        return self.table[target][entities, relations]

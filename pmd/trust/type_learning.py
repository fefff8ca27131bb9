"""Learning which entities fit which questions (`pmd.trust.types`): log-odds from training, how much they count from validation.

The place of a question is a feature like others, but its log-odds leaves the triple itself out: of a training answer it asks
whether it stands there in another triple too. Otherwise all answers of training would have it, and none that is new.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from pmd.data.graphs.answers import distinct_triples
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.ragged import Ragged
from pmd.trust.types import Types
from pmd.trust.validation import Chunk, Graph, ValidationScores

DAMPINGS = (0.0, 0.5, 1.0)
FACTORS = tuple(0.02 * 2**power for power in range(9))
SETTINGS = [(0.0, 1.0), *itertools.product(FACTORS, DAMPINGS)]
"""What is tried on validation queries: no types, then every factor with every damping."""
STRICT_SHARE = 0.02
"""So small a share of the training answers of a question would `strict` leave out, if no types are declared."""
MOST_TYPES = 1000
"""Declared types that are told apart; the rarest others are left out."""
_PREFIX = re.compile(r"([^\W\d_][\w.-]*):(?!//)\S+")
_LARGEST_SHARE = 0.1
"""Prefixes of ids are types if there are at most so many in proportion to the entities."""


def declared_types(graph: KnowledgeGraph) -> list[Sequence[str]] | None:
    """The declared types of each entity: those of the graph or, where it has none and most ids have one, the prefixes of ids such
    as `currency:EUR`. None where neither is there."""
    if any(graph.types.values()):
        return [tuple(dict.fromkeys(graph.types.get(key, ()))) for key in graph.entity_ids]
    prefixes = [(match[1],) if (match := _PREFIX.fullmatch(key)) else () for key in graph.entity_ids]
    number = len({prefix for row in prefixes for prefix in row})
    most = sum(map(len, prefixes)) > graph.num_entities / 2
    return prefixes if most and 2 <= number <= _LARGEST_SHARE * graph.num_entities else None


def type_names(declared: Iterable[Sequence[str]]) -> list[str]:
    """The distinct types, the most frequent first."""
    counts = Counter(name for row in declared for name in row)
    return sorted(counts, key=lambda name: (-counts[name], name))


def learn_types(graph: KnowledgeGraph, validation: ValidationScores) -> Types:
    """What fits the questions of a graph; how much that counts for a model is chosen on its validation scores."""
    return chosen(types_of_graph(graph), graph, validation)


def chosen(types: Types, graph: Graph, validation: ValidationScores) -> Types:
    """The types of a graph, with the weight that they have for a model by its validation scores."""
    return with_setting(types, graph, {"factor": 0.0, "damping": 1.0, **_best_setting(types, validation)})


def with_setting(types: Types, graph: Graph, setting: Mapping[str, Any]) -> Types:
    """The types of a graph with a weight: `factor`, `damping`, and how they were chosen."""
    types = replace(types, facts={**types.facts, **setting, "declared": types.facts["declared"]})
    return types if types.allowed is not None else replace(types, lowest=_lowest_fits(types, graph))


def types_of_graph(graph: KnowledgeGraph) -> Types:
    """The same before it is known how much that counts for a model: a factor of 0, a damping of 1."""
    questions, declared = 2 * graph.num_relations, declared_types(graph)
    names = type_names(declared or ())[:MOST_TYPES]
    seen = [graph.train, *(graph.split(name) for name in graph.splits if name == "inductive_train")]
    stands = _occurrences(graph.train.numpy(), graph)  # (num_entities, questions)
    places = stands if len(seen) == 1 else _occurrences(np.concatenate([triples.numpy() for triples in seen]), graph)
    has = sparse.hstack([places > 0, _memberships(declared, names)]).tocsr() if names else (places > 0).tocsr()
    candidates = graph.candidates("train")
    base = np.asarray((has if candidates is None else has[candidates.numpy()]).mean(0)).reshape(-1)
    weights = _log_odds(stands, has, base)
    features = Ragged(has.indices.astype(np.int32), has.indptr.astype(np.int64))
    allowed = None
    if names:
        allowed = ((stands > 0).T.astype(np.int32) @ has[:, questions:].astype(np.int32)).toarray() > 0
        allowed[~allowed.any(1)] = True
    lowest = np.full(questions, -np.inf, dtype=np.float32)
    facts = {"declared": len(names), "factor": 0.0, "damping": 1.0}
    return Types(weights.astype(np.float32), features, lowest, allowed, facts)


def _occurrences(triples: np.ndarray, graph: Graph) -> sparse.csr_array:
    """In how many distinct triples (n, 3) each entity stands at each place: (num_entities, questions)."""
    heads, relations, tails = distinct_triples(triples, graph.num_relations).astype(np.int32).T
    entities = np.concatenate([tails, heads])
    questions = np.concatenate([relations, relations + np.int32(graph.num_relations)])
    shape = (graph.num_entities, 2 * graph.num_relations)
    return sparse.coo_array((np.ones(len(entities), dtype=np.int32), (entities, questions)), shape=shape).tocsr()


def _memberships(declared: list[Sequence[str]], names: list[str]) -> sparse.csr_array:
    """Which entity has which type: bool (num_entities, types)."""
    number = {name: position for position, name in enumerate(names)}
    rows = [(entity, number[name]) for entity, row in enumerate(declared) for name in row if name in number]
    entities, types = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(rows), dtype=bool), (entities, types)), shape=(len(declared), len(names)))


def _log_odds(stands: sparse.csr_array, has: sparse.csr_array, base: np.ndarray) -> np.ndarray:
    """log P(feature | stands at the place) / P(feature), (questions, features), as if one more entity stood there that has
    each feature as often as any.

    Args:
        stands: (num_entities, questions) in how many training triples.
        has: (num_entities, features); the first ones are the places.
        base: (features,) the share of the entities that have each.
    """
    members = (stands > 0).astype(np.float64)
    number = np.asarray(members.sum(0)).reshape(-1)  # (questions,)
    shared = (members.T @ has.astype(np.float64)).toarray()  # (questions, features)
    own = np.arange(len(number))
    shared[own, own] = np.asarray((stands > 1).sum(0)).reshape(-1)  # in another triple too
    probability = (shared + base) / (number[:, None] + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(base > 0, np.log(probability / base), 0.0)


def _best_setting(types: Types, validation: ValidationScores) -> dict[str, Any]:
    """The factor and the damping of the highest MRR, and both MRRs; a factor of 0 unless it is better by more than the standard
    error of the gain."""
    chunks = [_reciprocal_ranks(types, chunk) for chunk in validation]
    if not chunks:
        return {"queries": 0}
    reciprocal = np.concatenate(chunks)  # (queries, settings)
    best = int(reciprocal.mean(0).argmax())
    gains = reciprocal[:, best] - reciprocal[:, 0]
    if gains.mean() <= gains.std() / np.sqrt(len(gains)):
        best = 0
    without, mrr = reciprocal.mean(0)[[0, best]].tolist()
    factor, damping = SETTINGS[best]
    return {"factor": factor, "damping": damping, "queries": len(reciprocal), "mrr_without": without, "mrr": mrr}


def _reciprocal_ranks(types: Types, chunk: Chunk) -> np.ndarray:
    """Reciprocal ranks (b, 1 + factors · dampings) of the answers of a chunk: without types, then by factor and damping."""
    # As `Types.shifts`, from one sum of log-odds for all dampings.
    sums = replace(types, facts={**types.facts, "damping": 0.0}).fits(chunk.questions)
    lengths = np.maximum(types.features.lengths, 1).astype(np.float32)
    spread = np.std(chunk.scores, 1, keepdims=True)
    ranks = {(0.0, 1.0): chunk.reciprocal_ranks()}
    for damping in DAMPINGS:
        shifts = sums / lengths**damping * spread
        for factor in FACTORS:
            ranks[factor, damping] = chunk.reciprocal_ranks(
                lambda scores, at, by=factor, shifts=shifts: scores + by * shifts[at]
            )
    return np.stack([ranks[setting] for setting in SETTINGS], 1)


def _lowest_fits(types: Types, graph: Graph) -> np.ndarray:
    """(questions,) the fit that all but `STRICT_SHARE` of the training answers of a question have, each without its own triple."""
    stands = _occurrences(graph.train.numpy(), graph).tocsc()
    lowest = np.full(stands.shape[1], -np.inf, dtype=np.float32)
    lengths, damping = types.features.lengths, types.facts["damping"]
    for question in range(len(lowest)):
        column = slice(stands.indptr[question], stands.indptr[question + 1])
        answers, once = stands.indices[column], stands.data[column] == 1
        sums = types.of(answers).fit(question) * lengths[answers] ** damping - once * types.weights[question, question]
        others = lengths[answers] - once
        if (others > 0).any():  # an entity without features may answer anything
            fits = sums[others > 0] / others[others > 0] ** damping
            lowest[question] = np.quantile(fits, STRICT_SHARE, method="lower")
    return lowest

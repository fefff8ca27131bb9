"""One list of triples becomes train, valid and test, so that a test measures what it seems to.

- Every entity and every relation keeps a training triple.
- Triples between the same two entities stay together, in whichever direction and relation: no test triple has its
  inverse, its duplicate or its symmetric twin in train (Toutanova and Chen, 2015; Dettmers et al., AAAI 2018).
- Relations have the same share of each split, as far as the first two rules allow.
- The same triples and seed give the same split, bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from pmd.core.errors import PmdError


@dataclass(frozen=True)
class Split:
    """Rows of triples (n, 3) by split, how many triples were left out and why, and the seed."""

    rows: dict[str, np.ndarray]
    left_out: dict[str, int]
    seed: int


@dataclass(frozen=True)
class Shares:
    """How one list of triples is split.

    Args:
        valid, test: shares of the triples, from 0 to 1.
        seed: draws them.
        inductive: the share of the entities that make a second graph, without a common entity, for an inductive test; 0 for
            none.

    Example:
        >>> graph = pmd.load_graph("edges.tsv", shares=pmd.Shares(valid=0.1, test=0.2, seed=1))
        >>> 0.15 < len(graph.test) / len(graph.known_triples()) < 0.25
        True
    """

    valid: float = 0.05
    test: float = 0.1
    seed: int = 0
    inductive: float = 0.0

    def split(self, triples: np.ndarray) -> Split:
        """The split of triples (n, 3)."""
        if self.inductive:
            return split_inductive(triples, self.inductive, self.valid, self.test, self.seed)
        return split_triples(triples, self.valid, self.test, self.seed)


WHERE_POSSIBLE = Shares()
"""This very object, given as shares, is for a graph that is described: triples that cannot be split stay in train, and splits that a
source lacks are empty."""


def split_triples(triples: np.ndarray, valid: float = 0.05, test: float = 0.1, seed: int = 0) -> Split:
    """Split distinct triples (n, 3) at random into train, valid and test.

    Args:
        valid, test: the share of the triples in each; 0 for one that there is already.

    Raises:
        PmdError: if the shares make no sense, or the graph is too small for them, with what is possible.
    """
    _check_shares(valid, test)
    distinct, repeated = _distinct(triples)
    split = _split_rows(triples, distinct, valid, test, np.random.default_rng(seed))
    return Split(split, {"repeated triples": repeated} if repeated else {}, seed)


def split_inductive(
    triples: np.ndarray, share: float = 0.3, valid: float = 0.05, test: float = 0.1, seed: int = 0
) -> Split:
    """Two graphs without a common entity, each split into train, valid and test (Teru et al., ICML 2020).

    The entities of the inductive graph are those that a breadth-first search from a random entity reaches first: `share`
    of all. Triples between the two graphs are left out, and those of the inductive graph whose relation the training graph
    lacks.
    """
    if not 0 < share < 1:
        raise PmdError(f"inductive: {share} is no share of the entities; choose one between 0 and 1")
    _check_shares(valid, test)
    rng = np.random.default_rng(seed)
    distinct, repeated = _distinct(triples)
    chosen = _neighbourhood(triples[distinct], share, rng)
    head_inside, tail_inside = chosen[triples[distinct, 0]], chosen[triples[distinct, 2]]
    outside, inside = distinct[~head_inside & ~tail_inside], distinct[head_inside & tail_inside]
    if not len(outside) or not len(inside):
        raise PmdError(
            "inductive: no triple lies within one of the two graphs; the graph is too small, split it without"
        )
    splits = _split_rows(triples, outside, valid, test, rng)
    known = np.isin(triples[inside, 1], triples[splits["train"], 1])
    splits |= {
        f"inductive_{name}": rows for name, rows in _split_rows(triples, inside[known], valid, test, rng).items()
    }
    left_out = {
        "repeated triples": repeated,
        "triples between the two graphs": len(distinct) - len(outside) - len(inside),
        "triples of a relation that only the inductive graph has": int((~known).sum()),
    }
    return Split(splits, {reason: count for reason, count in left_out.items() if count}, seed)


def _check_shares(valid: float, test: float) -> None:
    for name, share in (("valid", valid), ("test", test)):
        if not 0 <= share < 1:
            raise PmdError(f"{name}: {share} is no share of the triples; choose one between 0 and 1, such as 0.1")
    if valid + test >= 1 or valid + test == 0:
        raise PmdError(
            f"valid {valid} and test {test} leave nothing to train on, or nothing to split; choose shares such as 0.05 and 0.1"
        )


def _distinct(triples: np.ndarray) -> tuple[np.ndarray, int]:
    """The sorted rows of the first of equal triples, and the number of the others."""
    order = np.lexsort(triples.T)
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(triples[order], axis=0) != 0).any(1)
    return np.sort(order[is_first]), int((~is_first).sum())


def _split_rows(
    triples: np.ndarray, rows: np.ndarray, valid: float, test: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    if not len(rows):
        raise PmdError("inductive: no triple of the inductive graph has a relation of the other; choose another share")
    rows = rng.permutation(rows)
    shuffled = triples[rows]
    pair = _pairs(shuffled)  # (n,): equal for triples between the same two entities
    is_free = ~np.isin(pair, pair[_needed(shuffled)])
    wanted = {"valid": round(valid * len(rows)), "test": round(test * len(rows))}
    shares = {"valid": valid, "test": test}
    if any(shares[name] and not wanted[name] for name in wanted) or sum(wanted.values()) > is_free.sum():
        free = int(is_free.sum())
        is_enough = free >= sum(share > 0 for share in shares.values())
        remedy = f"choose shares between {1 / len(rows):.2g} and together {free / len(rows):.2g}"
        raise PmdError(
            f"{_count(len(rows))} cannot be split by valid {valid:g} and test {test:g}: {free:,} of them can leave train, since "
            f"every entity and relation keeps one there; {remedy if is_enough else 'collect more triples'}"
        )
    part = np.zeros(len(rows), dtype=np.int8)  # 0 train, 1 valid, 2 test
    for number, name in ((1, "valid"), (2, "test")):
        if not wanted[name]:
            continue
        candidates = np.flatnonzero(is_free & (part == 0))
        if not len(
            candidates
        ):  # the other split took more than its share, for triples of the same entities stay together
            raise PmdError(
                f"{_count(len(rows))} cannot be split by valid {valid:g} and test {test:g}: none is left for {name}; choose "
                f"smaller shares, or collect more triples"
            )
        part[_take(candidates, pair, shuffled[:, 1], wanted[name])] = number
    return {name: np.sort(rows[part == number]) for number, name in enumerate(("train", "valid", "test"))}


def _count(triples: int) -> str:
    return f"{triples:,} triple{'s' * (triples != 1)}"


def _pairs(triples: np.ndarray) -> np.ndarray:
    """One number (n,) for each unordered pair of entities, by first appearance."""
    ends = np.sort(triples[:, [0, 2]], axis=1).astype(np.int64)
    keys = ends[:, 0] * (int(ends.max()) + 1) + ends[:, 1]
    order = np.argsort(keys, kind="stable")
    is_new = np.diff(keys[order], prepend=-1) > 0
    first = order[is_new][np.cumsum(is_new) - 1]  # the first position of each key, in sorted order
    numbers = np.empty(len(keys), dtype=np.int64)
    numbers[order] = first
    return numbers


def _needed(triples: np.ndarray) -> np.ndarray:
    """Rows that stay in train: the first triple of each entity and of each relation."""
    rows = []
    for column in (triples[:, [0, 2]].reshape(-1), triples[:, 1]):
        first = np.full(int(column.max()) + 1, len(column))
        np.minimum.at(first, column, np.arange(len(column)))
        first = first[first < len(column)]
        rows.append(first // (len(column) // len(triples)))
    return np.concatenate(rows)


def _take(candidates: np.ndarray, pair: np.ndarray, relation: np.ndarray, wanted: int) -> np.ndarray:
    """About `wanted` of the candidate rows, whole pairs, spread over the relations as the candidates are.

    The pairs are ordered by relation, and evenly spaced ones are taken, which gives each relation its share; as pairs have
    different numbers of triples, a few are then added, or given back, at random.
    """
    pairs, first, sizes = np.unique(pair[candidates], return_index=True, return_counts=True)
    by_relation = np.lexsort((first, relation[candidates[first]]))  # within a relation at random, as rows are shuffled
    quota = np.floor(np.arange(1, len(pairs) + 1) * (wanted / len(candidates)) + 1e-9)
    is_taken = np.diff(quota, prepend=0) > 0
    order = np.argsort(first)  # at random
    taken, others = (order[np.isin(order, by_relation[chosen])] for chosen in (is_taken, ~is_taken))
    ranked = np.concatenate([taken, others])
    number = int(np.searchsorted(np.cumsum(sizes[ranked]), wanted)) + 1
    return candidates[np.isin(pair[candidates], pairs[ranked[:number]])]


def _neighbourhood(triples: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """bool (entities,): those that a breadth-first search from random entities reaches first."""
    num_entities = int(triples[:, [0, 2]].max()) + 1
    links = sparse.coo_array(
        (np.ones(len(triples)), (triples[:, 0], triples[:, 2])), (num_entities, num_entities)
    ).tocsr()
    chosen, target = np.zeros(num_entities, dtype=bool), max(1, round(share * num_entities))
    for start in rng.permutation(num_entities):
        if chosen[start]:
            continue
        reached = csgraph.breadth_first_order(links, start, directed=False, return_predecessors=False)
        reached = reached[~chosen[reached]]
        chosen[reached[: target - int(chosen.sum())]] = True
        if chosen.sum() >= target:
            return chosen
    return chosen

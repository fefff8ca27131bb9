"""`split_triples` and `split_inductive`: what no split may break, by value and over many random graphs."""

import hashlib

import numpy as np
import pytest

from pmd.core.errors import PmdError
from pmd.data.graphs.profile import suspected
from pmd.data.graphs.sources import load_graph, write_graph
from pmd.data.graphs.split import Shares, split_inductive, split_triples
from pmd.recipes.data import SplitConfig, split_graph
from pmd.settings.shared import DataConfig

from ...says import says

pytestmark = pytest.mark.filterwarnings("ignore:graph '")


def random_triples(seed, entities=60, relations=5, number=900):
    """Triples with skewed degrees, repeated ones, loops, and inverse triples of the first relation under the last."""
    rng = np.random.default_rng(seed)
    ends = (rng.beta(0.6, 2, (number, 2)) * entities).astype(int)
    triples = np.stack([ends[:, 0], rng.integers(0, relations - 1, number), ends[:, 1]], axis=1)
    inverse = triples[triples[:, 1] == 0][:, [2, 1, 0]]
    inverse[:, 1] = relations - 1
    return np.concatenate([triples, inverse, triples[:20]])


def sets(triples, rows):
    return {part: {tuple(triple) for triple in triples[index].tolist()} for part, index in rows.items()}


@pytest.mark.parametrize("seed", range(5))
def test_no_entity_or_relation_is_lost_and_no_pair_is_divided(seed):
    triples = random_triples(seed)
    split = split_triples(triples, seed=seed)
    parts = sets(triples, split.rows)
    assert set().union(*parts.values()) == {tuple(triple) for triple in triples.tolist()}
    assert sum(map(len, parts.values())) == len(np.unique(triples, axis=0))
    assert split.left_out == {"repeated triples": len(triples) - len(np.unique(triples, axis=0))}
    train = triples[split.rows["train"]]
    assert set(triples[:, [0, 2]].ravel()) == set(train[:, [0, 2]].ravel()) and set(triples[:, 1]) == set(train[:, 1])
    pairs = {part: {frozenset((head, tail)) for head, _, tail in part_triples} for part, part_triples in parts.items()}
    assert (
        not pairs["train"] & pairs["valid"]
        and not pairs["train"] & pairs["test"]
        and not pairs["valid"] & pairs["test"]
    )


def test_relations_have_equal_shares_and_the_sizes_are_those_asked_for():
    rng = np.random.default_rng(0)
    triples = np.stack(
        [rng.integers(0, 500, 20_000), rng.integers(0, 4, 20_000) ** 2, rng.integers(0, 500, 20_000)], axis=1
    )
    triples = np.unique(triples, axis=0)
    split = split_triples(triples, valid=0.05, test=0.1)
    assert len(split.rows["test"]) == pytest.approx(0.1 * len(triples), abs=3)
    assert len(split.rows["valid"]) == pytest.approx(0.05 * len(triples), abs=3)
    for relation in (0, 1, 4, 9):
        number = (triples[:, 1] == relation).sum()
        assert (triples[split.rows["test"], 1] == relation).sum() == pytest.approx(0.1 * number, rel=0.1)


def test_the_same_seed_gives_the_same_split_and_another_another():
    triples = random_triples(0)
    digest = lambda split: hashlib.sha256(b"".join(rows.tobytes() for rows in split.rows.values())).hexdigest()  # noqa: E731
    assert digest(split_triples(triples, seed=3)) == digest(split_triples(triples, seed=3))
    assert digest(split_triples(triples, seed=3)) != digest(split_triples(triples, seed=4))


def test_suspected_inverses_do_not_leak():
    triples = random_triples(1)
    suspects = suspected(triples, 5)
    assert any(suspect.inverse for suspect in suspects)
    split = split_triples(triples, valid=0.1, test=0.2)
    train = {tuple(triple) for triple in triples[split.rows["train"]].tolist()}
    for head, relation, tail in triples[split.rows["test"]].tolist():
        for suspect in suspects:
            if suspect.relation == relation:
                assert ((tail, suspect.other, head) if suspect.inverse else (head, suspect.other, tail)) not in train


@pytest.mark.parametrize("seed", range(3))
def test_an_inductive_split_has_two_graphs_without_a_common_entity(seed):
    triples = random_triples(seed, entities=300, number=1500)
    split = split_inductive(triples, share=0.3, seed=seed)
    entities = {part: set(triples[rows][:, [0, 2]].ravel()) for part, rows in split.rows.items()}
    one = entities["train"] | entities["valid"] | entities["test"]
    two = entities["inductive_train"] | entities["inductive_valid"] | entities["inductive_test"]
    assert one and two and not one & two
    assert entities["inductive_test"] <= entities["inductive_train"] and entities["test"] <= entities["train"]
    assert set(triples[split.rows["inductive_train"], 1]) <= set(triples[split.rows["train"], 1])
    kept = sum(map(len, split.rows.values()))
    assert kept + sum(split.left_out.values()) == len(triples)


def test_refusals_say_what_is_possible():
    chain = np.array([[i, 0, i + 1] for i in range(9)])  # every triple brings an entity
    with pytest.raises(PmdError) as error:
        split_triples(chain)
    assert says(
        str(error.value), "9 triples…valid 0.05…test 0.1: 3 of them…choose shares between 0.11 and together 0.33"
    )
    with pytest.raises(PmdError, match=r"test: 1\.5 is no share"):
        split_triples(chain, test=1.5)
    with pytest.raises(PmdError, match="leave nothing to train on"):
        split_triples(chain, valid=0.5, test=0.5)
    with pytest.raises(PmdError) as error:
        split_triples(random_triples(0, entities=5, number=20), valid=0.2, test=0.7)
    assert says(str(error.value), "can leave train…choose shares between")


def test_a_folder_that_lacks_a_split_gets_it_from_train(tmp_path):
    triples = random_triples(2)
    for split, rows in (("train", triples), ("test", triples[:9])):
        (tmp_path / f"{split}.tsv").write_text("".join(f"e{h}\tr{r}\te{t}\n" for h, r, t in rows))
    graph = load_graph(tmp_path, shares=Shares(valid=0.1))
    assert len(graph.test) == 9 and len(graph.valid) == pytest.approx(0.1 * len(np.unique(triples, axis=0)), abs=3)
    whole = write_graph(graph, tmp_path / "new")
    assert load_graph(whole, shares=Shares()).checksum() == graph.checksum()  # nothing is missing
    with pytest.raises(PmdError, match="is split already into train, valid, test"):
        split_graph(SplitConfig(str(tmp_path / "again"), DataConfig(str(whole))))


def test_weights_and_negatives_follow_their_triples_and_are_written(tmp_path):
    rows = [
        f"e{h}\tr{r}\te{t}\t{1 if (h + t) % 3 else 0}\t{(h * 7 + t) / 8}"
        for h, r, t in np.unique(random_triples(3), axis=0)
    ]
    (tmp_path / "edges.tsv").write_text("head\trelation\ttail\ttruth\tconfidence\n" + "\n".join(rows) + "\n")
    graph = load_graph(tmp_path / "edges.tsv", weight="confidence")
    for split in ("train", "valid", "test"):
        ids = [(int(graph.entity_ids[h][1:]), int(graph.entity_ids[t][1:])) for h, _, t in graph.split(split).tolist()]
        assert graph.weights[split].tolist() == [(h * 7 + t) / 8 for h, t in ids]
        assert all((h + t) % 3 for h, t in ids)
    assert len(graph.negatives["train"])
    again = load_graph(write_graph(graph, tmp_path / "new"), weight="4")
    assert again.checksum() == graph.checksum()
    assert again.negatives["train"].tolist() == graph.negatives["train"].tolist()


def test_what_leaves_nothing_for_a_split_is_refused():
    pairs = [(head, tail) for head in range(8) for tail in range(head)]
    apart = np.array([[h, 0, t] for h, t in pairs] + [[h + 8, 1, t + 8] for h, t in pairs])  # a relation for each part
    with pytest.raises(PmdError, match="no triple of the inductive graph has a relation of the other"):
        split_inductive(apart, 0.5, 0.1, 0.1, seed=0)
    refusals = set()
    for seed in range(100):  # small ones, of which valid may take all that can leave train
        rng = np.random.default_rng(seed)
        triples = rng.integers((12, 2, 12), size=(40, 3))
        try:
            rows = split_inductive(triples, 0.4, 0.1, 0.1, seed).rows
            assert len(rows) == 6 and all(map(len, rows.values()))
        except PmdError as error:
            refusals.add(str(error).partition(": ")[2])
    assert any("none is left for test; choose smaller shares" in message for message in refusals)

"""What holds for all graphs, scores and models: `hypothesis` looks for some where it does not, the same ones every time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.files.frames import graph_from
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph, write_graph
from pmd.data.graphs.split import Shares, split_triples
from pmd.data.texts.masking import mask_positions
from pmd.evaluation.ranking import ranks
from pmd.models.kge.model import KgeModel
from pmd.settings.catalogue import INTERACTIONS

from ..evaluation.oracle import TableScorer, slow_ranks

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=30, deadline=None, derandomize=True, database=None)
SPLITS = ("train", "valid", "test")


def triples(entities: int, relations: int, least: int = 1, most: int = 40) -> st.SearchStrategy[list[tuple[int, ...]]]:
    """Triples that may be equal, and may hold an entity twice."""
    parts = st.tuples(*(st.integers(0, count - 1) for count in (entities, relations, entities)))
    return st.lists(parts, min_size=least, max_size=most)


def graph_of(train, valid, test, entities: int = 9, relations: int = 3) -> KnowledgeGraph:
    names = [[f"{kind}{i}" for i in range(count)] for kind, count in (("e", entities), ("r", relations))]
    splits = (torch.tensor(rows, dtype=torch.int64).reshape(-1, 3) for rows in (train, valid, test))
    return KnowledgeGraph("drawn", names[0], names[0], [""] * entities, names[1], names[1], *splits)


plain = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1, max_size=8)
"""Texts that a folder can hold."""


@few
@given(
    ids=st.lists(plain, min_size=4, max_size=6, unique=True),
    names=st.lists(plain, min_size=6, max_size=6),
    texts=st.lists(plain | st.just(""), min_size=6, max_size=6),
    rows=triples(4, 1, most=8),
)
def test_a_graph_that_is_written_is_read_again(ids, names, texts, rows, tmp_path_factory):
    positions, count = torch.tensor(rows), len(ids)
    graph = KnowledgeGraph("g", ids, names[:count], texts[:count], ["r"], ["r"], *[positions] * 3)
    folder = tmp_path_factory.mktemp("graph") / "g"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            write_graph(graph, folder)
        except PmdError as error:
            assert len(str(error).splitlines()) == 1
            return
        again = load_graph(folder)
    assert again.checksum() == graph.checksum() and again.entity_ids == ids
    assert [*again.entity_names] == [*graph.entity_names] and torch.equal(again.train, positions)


@few
@given(rows=triples(6, 2, least=3), names=st.lists(plain, min_size=8, max_size=8, unique=True))
def test_what_a_program_holds_is_read_and_given_back(rows, names):
    called = [(names[h], names[6 + r], names[t]) for h, r, t in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph = graph_from({"train": called, "valid": called[:1], "test": called[:1]})
        except PmdError as error:
            assert len(str(error).splitlines()) == 1
            return
    assert [*graph.to_tuples(split="train")] == called


@few
@given(
    parts=st.tuples(*(triples(9, 3, least, most) for least, most in ((1, 40), (1, 5), (1, 9)))),
    seed=st.integers(0, 99),
    values=st.integers(1, 4),
    batch_size=st.integers(1, 12),
    filtered=st.booleans(),
)
def test_ranks_are_those_of_a_double_loop(parts, seed, values, batch_size, filtered):
    graph = graph_of(*parts)
    generator = torch.Generator().manual_seed(seed)
    tables = {target: torch.randint(values, (9, 3, 9), generator=generator).float() for target in ("head", "tail")}
    by_side = ranks(TableScorer(tables), graph, "test", filtered=filtered, batch_size=batch_size).sides
    higher = ranks(
        TableScorer({target: 2 * table + 3 for target, table in tables.items()}), graph, "test", filtered=filtered
    )
    for target, side in by_side.items():
        table = tables[target].tolist()
        slow = slow_ranks(
            lambda known, relation, candidate, table=table: table[known][relation][candidate],
            graph,
            "test",
            target,
            filtered,
            list(range(9)),
        )
        assert list(zip(side.optimistic.tolist(), side.pessimistic.tolist(), side.num_candidates.tolist())) == slow
        assert torch.equal(side.realistic, higher.sides[target].realistic)


@few
@given(
    rows=st.lists(st.lists(st.integers(0, 9), min_size=6, max_size=6), min_size=1, max_size=5),
    rate=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_masks_are_of_ordinary_tokens_and_as_many_as_the_rate_says(rows, rate, seed):
    ids, special = torch.tensor(rows), torch.tensor([0, 1, 2])
    torch.manual_seed(seed)
    masked = mask_positions(ids, rate, special)
    ordinary = ids > 2
    assert not (masked & ~ordinary).any()
    counts = ordinary.sum(1, keepdim=True) * rate + 0.5
    assert torch.equal(masked.sum(1, keepdim=True), counts.floor().long())


@few
@given(
    interaction=st.sampled_from(sorted(INTERACTIONS)),
    widths=st.sets(st.integers(1, 6), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    rows=triples(5, 2, most=6),
)
def test_a_crop_scores_like_its_width(interaction, widths, seed, rows):
    torch.manual_seed(seed)
    widths = sorted(2 * width for width in widths)
    model = KgeModel(interaction, num_entities=5, num_relations=2, dim=widths[-1], widths=widths).eval()
    asked = torch.tensor(rows)
    of_all = model.score_widths(asked)
    for column, width in enumerate(widths):
        crop = model.crop(width)
        assert torch.allclose(crop.score(asked), model.score(asked, width=width), atol=1e-6)
        assert torch.allclose(crop.score(asked), of_all[:, column], atol=1e-5)
        for target, known in (("tail", 2), ("head", 0)):
            scores = crop.score_all(asked, target=target)
            true = scores.gather(1, asked[:, known : known + 1])[:, 0]
            assert torch.allclose(true, crop.score(asked), atol=1e-5)


@few
@given(
    rows=triples(8, 2, least=10, most=60),
    shares=st.tuples(st.floats(0.05, 0.3), st.floats(0.05, 0.3)),
    seed=st.integers(0, 9),
)
def test_a_split_has_every_triple_once_and_leaks_none(rows, shares, seed):
    drawn = np.array(rows)
    try:
        split = split_triples(drawn, *shares, seed)
    except PmdError as error:
        assert len(str(error).splitlines()) == 1
        return
    parts = {name: {tuple(row) for row in drawn[split.rows[name]].tolist()} for name in SPLITS}
    assert sum(map(len, parts.values())) == sum(map(len, split.rows.values())) == len(set(rows))
    assert set.union(*parts.values()) == set(rows)
    train = drawn[split.rows["train"]]
    for column in (0, 1, 2):
        assert set(drawn[:, column]) <= (set(train[:, 1]) if column == 1 else {*train[:, 0], *train[:, 2]})
    pairs = {name: {frozenset((head, tail)) for head, _, tail in part} for name, part in parts.items()}
    assert not pairs["train"] & (pairs["valid"] | pairs["test"]) and not pairs["valid"] & pairs["test"]
    again = split_triples(drawn, *shares, seed)
    assert all(np.array_equal(split.rows[name], again.rows[name]) for name in SPLITS)


@few
@given(rows=triples(12, 2, least=20, most=60), share=st.floats(0.2, 0.6), seed=st.integers(0, 9))
def test_an_inductive_split_has_no_common_entity(rows, share, seed):
    drawn = np.array(rows)
    try:
        split = Shares(0.1, 0.1, seed, share).split(drawn)
    except PmdError as error:
        assert len(str(error).splitlines()) == 1
        return
    sides = [
        np.concatenate([drawn[part] for name, part in split.rows.items() if name.startswith("inductive_") == inside])
        for inside in (False, True)
    ]
    outside, inside = ({*side[:, 0].tolist(), *side[:, 2].tolist()} for side in sides)
    assert not outside & inside
    assert sum(map(len, split.rows.values())) + sum(split.left_out.values()) == len(rows)

"""Suggestions, compared with a plain version that scores every pair of entities and every relation."""

import json
from collections import Counter
from dataclasses import replace
from math import prod, sqrt

import numpy as np
import pytest
import torch

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.trust.missing import search as searching
from pmd.trust.missing.limits import Limits
from pmd.trust.missing.search import State
from pmd.use.answer_records import Question

from ..asked import own_cache, write_model  # noqa: F401


@pytest.fixture
def graph(random_graph):
    return random_graph(0, entities=20, relations=3, train=70, valid=30, test=20)


@pytest.fixture
def model(graph, tmp_path):
    return pmd.load(write_model("rotate", tmp_path / "model", graph), graph)


def plain_rate(graph, target, relation, entity):
    """How many facts a query lacks on average, by loops."""
    known = 2 if target == "head" else 0
    train, valid = {*map(tuple, graph.train.tolist())}, {*map(tuple, graph.valid.tolist())}
    held_out = valid | {*map(tuple, graph.test.tolist())}

    def stands(r, e):
        return any(fact[1] == r and fact[known] == e for fact in train)

    def counted(r):
        facts = sum(fact[1] == r and stands(r, fact[known]) == alike for fact in valid)
        return facts, sum(stands(r, e) == alike for e in range(graph.num_entities))

    alike = stands(relation, entity)
    every = [counted(r) for r in range(graph.num_relations)]
    mean = max(1, sum(facts for facts, _ in every)) / max(1, sum(queries for _, queries in every))
    facts, queries = every[relation]
    return (facts + 5) / (queries + 5 / mean) * len(held_out) / len(valid)


def plain_suggestions(
    model, graph, *, top, per_relation, per_entity, at_least=0.01, splits=("train", "valid", "test"), fits=None
):
    """(head, relation, tail) and their probabilities."""
    known = {tuple(fact) for name in splits for fact in graph.split(name).tolist()}
    loops = {fact[1] for fact in graph.train.tolist() if fact[0] == fact[2]}
    sides = {}
    for r in range(graph.num_relations):
        for e in range(graph.num_entities):
            for target in ("head", "tail"):
                scores = model.answer_scores([Question(target, r, e)])[0]
                answers = [
                    a for a in range(graph.num_entities) if ((a, r, e) if target == "head" else (e, r, a)) in known
                ]
                known_answers = np.array(answers, dtype=np.int64)
                likely = model.probabilities(Question(target, r, e), scores, known_answers, first_answers=False)
                for a in range(graph.num_entities):
                    sides[(a, r, e) if target == "head" else (e, r, a), target] = float(likely[a])
    rates = {
        (t, r, e): plain_rate(graph, t, r, e)
        for t in ("head", "tail")
        for r in range(3)
        for e in range(graph.num_entities)
    }
    likely = {}
    for fact in {fact for fact, _ in sides}:
        both = [sides[fact, "head"], sides[fact, "tail"]]
        if fact in known or min(both) < at_least or (fact[0] == fact[2] and fact[1] not in loops):
            continue
        if fits is None or fits(*fact):
            odds = sqrt(
                prod(p / (1 - p) for p in both) * rates["head", fact[1], fact[2]] * rates["tail", fact[1], fact[0]]
            )
            likely[fact] = odds / (1 + odds)
    chosen, relations, entities = [], Counter(), Counter()
    for fact in sorted(likely, key=lambda fact: (-likely[fact], fact[1], fact[0], fact[2])):
        ends = {fact[0], fact[2]}
        if len(chosen) < top and relations[fact[1]] < per_relation and all(entities[end] < per_entity for end in ends):
            chosen.append(fact)
            relations[fact[1]] += 1
            entities.update(ends)
    return {fact: likely[fact] for fact in chosen}


def positions(graph, suggestion):
    return (
        graph.entity_ids.index(suggestion.head[0]),
        graph.relation_ids.index(suggestion.relation[0]),
        graph.entity_ids.index(suggestion.tail[0]),
    )


def same(graph, suggestions, expected):
    assert [positions(graph, each) for each in suggestions] == [*expected]
    assert [each.probability for each in suggestions] == pytest.approx([*expected.values()], rel=1e-4)
    assert [each.rank for each in suggestions] == [*range(1, len(expected) + 1)]


@pytest.mark.parametrize("per_block", [64, 7])
@pytest.mark.parametrize("kind", ["rotate", "text"])
def test_suggestions_are_those_of_all_pairs(kind, per_block, graph, tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "QUERIES_PER_BLOCK", per_block)
    model = pmd.load(write_model(kind, tmp_path / "model", graph), graph)
    every = {"top": 5000, "per_relation": 5000, "per_entity": 5000, "at_least": 0.001}
    likely = plain_suggestions(model, graph, **every)
    found = model.suggest(**every)
    assert len(found) > 40 and {positions(graph, each) for each in found} == {*likely}
    for options in ({"top": 40, "per_relation": 15, "per_entity": 6}, every):
        found, expected = model.suggest(**options), plain_suggestions(model, graph, **options)
        if kind == "rotate":
            same(graph, found, expected)
        # Texts that are alike have the same cosines but for their last bits.
        probabilities = [each.probability for each in found]
        assert probabilities == pytest.approx([*expected.values()], rel=1e-3)
        assert probabilities == pytest.approx([likely[positions(graph, each)] for each in found], rel=1e-3)


def test_with_training_alone_known_the_other_splits_are_found(model, graph):
    options = {"top": 60, "per_relation": 40, "per_entity": 20}
    suggestions = model.suggest(known="train", **options)
    expected = plain_suggestions(model, graph, splits=("train",), **options)
    same(graph, suggestions, expected)
    held_out = {name: {*map(tuple, graph.split(name).tolist())} for name in ("valid", "test")}
    for each, fact in zip(suggestions, expected):
        assert list(each.known) == [name for name, facts in held_out.items() if fact in facts]
    hits = [any(fact in facts for facts in held_out.values()) for fact in expected]
    assert suggestions.withheld == ("valid", "test") and sum(hits) > 0
    for k in (1, 10, 60):
        assert suggestions.precision(k) == sum(hits[:k]) / k
    for k in (0, 61):
        with pytest.raises(PmdError, match="precision"):
            suggestions.precision(k)
    with pytest.raises(PmdError, match="known='train'"):
        model.suggest(5).precision(5)


def test_what_is_sought_can_be_limited(model, graph):
    wide = {"top": 5000, "per_relation": 5000, "per_entity": 5000}
    train = {*map(tuple, graph.train.tolist())}
    heads, tails = ({(fact[1], fact[end]) for fact in train} for end in (0, 2))
    fitting = {(r, end): model.types.fitting(r + 3 * (end == "head")) for r in range(3) for end in ("head", "tail")}
    cases = [
        ({"relations": ["r1"]}, lambda h, r, t: r == 1),
        ({"about": ["e3", "e4"]}, lambda h, r, t: {h, t} & {3, 4}),
        ({"heads": ["e1", "e2", "e9"], "tails": ["e5", "e6", "e7", "e8"]}, lambda h, r, t: h in (1, 2, 9) and t in (5, 6, 7, 8)),
        ({"tails": ["e5"], "relations": ["r0", "relation 2"]}, lambda h, r, t: t == 5 and r != 1),
        ({"seen": True}, lambda h, r, t: (r, h) in heads and (r, t) in tails),
        ({"types": "strict"}, lambda h, r, t: fitting[r, "head"][h] and fitting[r, "tail"][t]),
    ]  # fmt: skip
    everything = plain_suggestions(model, graph, **wide)
    for options, fits in cases:
        expected = plain_suggestions(model, graph, fits=fits, **wide)
        assert 0 < len(expected) < len(everything)
        same(graph, model.suggest(**wide, **options), expected)


def test_about_an_entity_there_are_as_many_as_are_asked_for(model):
    found = model.suggest(25, about=["e3"])
    assert len(found) == 25 and found == model.suggest(25, about=["e3"], per_relation=25, per_entity=25)
    assert len(model.suggest(25, about=["e3"], per_entity=3)) == 3


def test_a_search_that_is_stopped_goes_on(model, monkeypatch):
    monkeypatch.setattr(searching, "QUERIES_PER_BLOCK", 6)
    steps = []
    whole = model.suggest(
        50, progress=lambda done, total, state: steps.append((done, total, state.to_bytes("options")))
    )
    dones = [done for done, _, _ in steps]
    assert dones == sorted(dones) and {total for _, total, _ in steps} == {2 * 3 * 20} and dones[-1] == 120
    for _, _, stored in steps:
        settings, state = State.from_bytes(stored)
        assert settings == "options" and model.suggest(50, state=state) == whole


def test_loops_are_suggested_only_of_relations_that_have_some(random_graph, tmp_path):
    graph = random_graph(0, entities=20, train=70, valid=30)
    loops = graph.train[:, 0] == graph.train[:, 2]
    train = graph.train[~(loops & (graph.train[:, 1] == 1))]
    train[0] = torch.tensor([4, 0, 4])
    graph = replace(graph, train=train)
    model = pmd.load(write_model("rotate", tmp_path / "model", graph), graph)
    found = model.suggest(9999, per_relation=9999, per_entity=9999, at_least=0.001)
    with_loops = {each.relation[0] for each in found if each.head == each.tail}
    assert "r0" in with_loops and "r1" not in with_loops


def test_limits_have_defaults_and_refuse_nonsense():
    assert Limits.of(1000, None, None, 0.01, 15) == Limits(1000, 200, 50, 0.01)
    assert Limits.of(1000, None, None, 0.01, 2) == Limits(1000, 500, 50, 0.01)
    assert Limits.of(20, None, None, 0.01, 15) == Limits(20, 10, 10, 0.01)
    assert Limits.of(20, 3, 2, 0.1, 15) == Limits(20, 3, 2, 0.1)
    for options in ({"top": 0}, {"per_relation": 0}, {"per_entity": -1}, {"at_least": 0}, {"at_least": 1.5}):
        with pytest.raises(PmdError, match=next(iter(options))):
            Limits(**{"top": 1, "per_relation": 1, "per_entity": 1, "at_least": 0.1} | options)


def test_the_pool_of_a_relation_is_bounded(model, graph, monkeypatch):
    monkeypatch.setattr("pmd.trust.missing.limits.KEPT", 2)
    states = []
    found = model.suggest(12, per_relation=4, progress=lambda done, total, state: states.append(state))
    assert max(Counter(states[-1].kept[:, 1].tolist()).values()) == 8
    same(graph, found, plain_suggestions(model, graph, top=12, per_relation=4, per_entity=10))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"relations": ["r9"]}, "relations: no relation 'r9'"),
        ({"relations": []}, "relations: there are none"),
        ({"about": ["e99"]}, "about: no entity 'e99'"),
        ({"about": ["e1"], "heads": ["e2"]}, "leave heads and tails out"),
        ({"types": "off"}, "types: 'off'"),
        ({"known": "valid"}, "known: 'valid'"),
    ],
)
def test_what_cannot_be_sought_is_refused(model, options, named):
    with pytest.raises(PmdError, match=named):
        model.suggest(5, **options)


def test_without_probabilities_there_are_no_suggestions(graph, model, tmp_path):
    with pytest.raises(PmdError, match="suggest: needs probabilities: it was learned for all dimensions"):
        model.crop(4).suggest(5)
    small = replace(graph, valid=graph.valid[:2])
    other = pmd.load(write_model("rotate", tmp_path / "small", small), small)
    with pytest.raises(PmdError, match="needs probabilities: the split valid has 4 questions"):
        other.suggest(5)


def command(capsys, *options):
    """What a command prints on stdout, and on stderr."""
    dispatch(["suggest", *map(str, options)])
    return capsys.readouterr()


def test_the_same_list_in_every_format(model, graph, tmp_path, capsys):
    folder, found = model.index.model, model.suggest(12)
    out = tmp_path / "new.tsv"
    assert command(capsys, folder, "--top=12", f"--out={out}").out == f"{out}: 12 suggestions\n"
    header, *lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert header[:4] == ["head", "relation", "tail", "probability"]
    assert [line[:4] for line in lines] == [
        [each.head[0], each.relation[0], each.tail[0], f"{each.probability:.4f}"] for each in found
    ]
    lines = command(capsys, folder, "--top=12", "--format=jsonl", "--why").out.splitlines()
    objects = [json.loads(line) for line in lines]
    assert [json.loads(json.dumps(each.to_dict())) for each in found] == [
        {key: value for key, value in each.items() if key != "why"} for each in objects
    ]
    first = found[0]
    why = model.why(head=first.head[0], relation=first.relation[0], tail=first.tail[0]).to_dict()
    assert objects[0]["why"] == json.loads(json.dumps(why))
    table = command(capsys, folder, "--top=3", "--why").out
    assert f"1. {first.head[1]}, {first.relation[1]}, {first.tail[1]}" in table and "near: (" in table
    assert command(capsys, folder, "--top=12", "--about=e3").out.count("\n") > 3


def test_ntriples_are_read_as_the_triples_that_they_are(random_graph, tmp_path, capsys):
    pytest.importorskip("pyoxigraph")
    graph = random_graph(0, entities=20, train=70, valid=30)
    ids = [f"https://example.com/e{i}" if i % 2 else f"an id {i}<>" for i in range(20)]
    graph = replace(graph, entity_ids=ids)
    folder = write_model("rotate", tmp_path / "model", graph)
    found = pmd.load(folder, graph).suggest(15)
    out = tmp_path / "new.nt"
    command(capsys, folder, "--top=15", f"--out={out}", "--base=http://here.org/")
    read = pmd.load_graph(out)
    triples = torch.cat([read.split(name) for name in read.split_names]).tolist()
    assert {(read.entity_ids[h], read.relation_ids[r], read.entity_ids[t]) for h, r, t in triples} == {
        (each.head[0], each.relation[0], each.tail[0]) for each in found
    }
    for base in ("nothing", "http://here.org"):
        with pytest.raises(PmdError, match="base: "):
            dispatch(["suggest", str(folder), "--format=nt", f"--base={base}"])


@pytest.mark.parametrize("ends", [KeyboardInterrupt, MemoryError])
def test_a_command_that_was_stopped_goes_on(ends, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(searching, "QUERIES_PER_BLOCK", 6)
    monkeypatch.setattr("pmd.recipes.triples.suggest.SECONDS_BETWEEN_SAVES", 0)
    folder, out, asked = model.index.model, tmp_path / "new.tsv", []
    command(capsys, folder, "--top=30", f"--out={tmp_path / 'whole.tsv'}")
    ask = searching.Search._ask_second

    def stop(*arguments):
        asked.append(1)
        if len(asked) == 4:
            raise ends
        ask(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(searching.Search, "_ask_second", stop)
        with pytest.raises(ends):
            command(capsys, folder, "--top=30", f"--out={out}")
    state = tmp_path / "new.tsv.state"
    assert state.exists() and not out.exists()
    capsys.readouterr()
    with pytest.raises(PmdError, match="other options"):
        dispatch(["suggest", str(folder), "--top=31", f"--out={out}"])
    assert f"going on from {state}" in command(capsys, folder, "--top=30", f"--out={out}").err
    assert out.read_text() == (tmp_path / "whole.tsv").read_text() and not state.exists()
    with pytest.raises(PmdError, match="exists"):
        dispatch(["suggest", str(folder), "--top=30", f"--out={out}"])
    state = tmp_path / "other.tsv.state"
    state.write_bytes(b"no state")
    with pytest.raises(PmdError, match="cannot be read as the state"):
        dispatch(["suggest", str(folder), f"--out={tmp_path / 'other.tsv'}"])


def test_what_is_said_beside_the_list(model, tmp_path, capsys):
    folder = model.index.model
    few = command(capsys, folder, "--top=30", "--per_entity=1", "--known=train").err
    assert "suggestions instead of 30: " in few and "held back by --per_relation and --per_entity" in few
    assert "stand in valid or test" in few and "lower bound" in few
    none = command(capsys, folder, "--about=e3", "--relations=r1", "--at_least=0.9")
    assert (
        none.out == "no suggestions\n"
        and "instead of 100: no other that is allowed has a probability of 0.9" in none.err
    )
    names = tmp_path / "heads.txt"
    names.write_text("e1\n\nE2\n")
    assert command(capsys, folder, f"--heads={names}", "--format=tsv").out.count("\n") > 1
    names.write_text("\n")
    for options, named in (
        ([f"--heads={names}"], "heads: there are none"),
        (["--base=http://a/"], "base: N-Triples have one"),
        (["--out=x.png"], "out: 'x.png' ends in none of"),
        ([f"--out={tmp_path / 'a file' / 'x.tsv'}"], None),
    ):
        (tmp_path / "a file").write_text("")
        with pytest.raises(PmdError, match=named or "cannot be written"):
            dispatch(["suggest", str(folder), *options])

"""A few of the damages that scripts/bench/fuzz.py makes, the same ones every time."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "bench"))  # scripts are no package

import fuzz

GRAPHS = {name: fuzz.graph_reader(name) for name in fuzz.LAYOUTS} | {name: fuzz.rdf_reader(name) for name in fuzz.RDF}


def assert_nothing_wrong(name, reader, place, trials):
    counts = fuzz.outcomes(name, reader, place, trials, seed=0)
    assert not any(counts[outcome] for outcome in fuzz.WRONG), [file.read_text() for file in place.glob("*.txt")]
    assert counts["refused"] > trials // 4


@pytest.mark.parametrize("name", GRAPHS)
def test_damaged_graphs_are_read_or_refused(name, tmp_path):
    if name in fuzz.RDF:
        pytest.importorskip("pyoxigraph")
    assert_nothing_wrong(name, GRAPHS[name], tmp_path, 12)


def test_damaged_runs_and_questions_are_answered_alike_or_refused(tmp_path):
    trained = fuzz.Trained(tmp_path / "trained", ("embedding",))
    assert_nothing_wrong("run", trained.run_reader("embedding"), tmp_path / "run", 20)
    for name, read, text in (("q", fuzz.read_questions, fuzz.QUESTIONS), ("t", fuzz.read_triples, fuzz.JUDGED)):
        assert_nothing_wrong(name, trained.question_reader(read, text), tmp_path / name, 12)


@pytest.mark.parametrize("kind", fuzz.DAMAGES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("data", [b"", b"a\tb\tc\nd\te\tf\n"])
def test_every_damage_is_made(kind, data):
    made = {kind(data, random.Random(seed)) for seed in range(40)}
    assert made == {None} if kind is fuzz.removed else not data or any(content != data for content in made)

"""The graphs that measurements of size are made on: the same facts and texts in both layouts, in the shape that is stated."""

import subprocess
import sys
from pathlib import Path

import pytest

import pmd

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "big_graph.py"


def by_id(graph):
    """The facts of each split and the texts, by ids."""
    entities, relations = list(graph.entity_ids), list(graph.relation_ids)
    facts = {
        split: {(entities[h], relations[r], entities[t]) for h, r, t in graph.split(split).tolist()}
        for split in ("train", "valid", "test")
    }
    return facts, dict(zip(entities, zip(graph.entity_names, graph.entity_descriptions)))


@pytest.mark.filterwarnings("ignore:graph")
def test_both_layouts_hold_the_same_graph(tmp_path):
    graphs = []
    for layout in ("tsv", "wikidata5m"):
        command = [SCRIPT, tmp_path / layout, "--entities", 2000, "--layout", layout]
        subprocess.run([sys.executable, *map(str, command)], check=True)
        graphs.append(pmd.load_graph(tmp_path / layout))
    one, other = map(by_id, graphs)
    assert one == other
    assert graphs[0].num_entities == 2000 and 4.4 < sum(map(len, one[0].values())) / 2000 < 4.6

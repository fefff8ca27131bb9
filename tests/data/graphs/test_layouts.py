"""A graph written in every layout, and read again."""

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.files.layouts import convert
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph

GRAPH = KnowledgeGraph(
    "small",
    ["a", "b", "00260881"],
    ["Aare, river", "B", "NA"],
    ["a river in Berne", "", "number like"],
    ["runs_through", "near"],
    ["runs through", "near"],
    torch.tensor([[0, 0, 1], [1, 1, 2]]),
    torch.tensor([[0, 1, 2]]),
    torch.tensor([[2, 1, 0], [1, 1, 0]]),
)


def facts(graph: KnowledgeGraph) -> dict:
    """Everything that a graph says, whatever the order of its entities."""
    entities = dict(zip(graph.entity_ids, zip(graph.entity_names, graph.entity_descriptions)))
    relations = dict(zip(graph.relation_ids, graph.relation_names))
    ids = (graph.entity_ids, graph.relation_ids, graph.entity_ids)
    splits = {
        name: [tuple(column[i] for column, i in zip(ids, triple)) for triple in graph.split(name).tolist()]
        for name in graph.split_names
    }
    return {"entities": entities, "relations": relations, **splits}


@pytest.mark.parametrize("layout", ["tsv", "kg-bert", "parquet"])
def test_every_layout_says_the_same(layout, tmp_path):
    convert(GRAPH, layout, tmp_path / "new")
    assert facts(load_graph(tmp_path / "new")) == facts(GRAPH)


@pytest.mark.parametrize("layout", ["kg-bert", "parquet"])
def test_what_has_no_place_is_refused(layout, tmp_path):
    inductive = KnowledgeGraph(**{**vars(GRAPH), "splits": {"inductive_train": GRAPH.train}})
    with pytest.raises(PmdError, match=rf"to: {layout}.*'inductive_train'.*tsv"):
        convert(inductive, layout, tmp_path / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    with pytest.raises(PmdError, match="exists"):
        convert(GRAPH, layout, tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"] and (tmp_path / "full" / "mine").exists()

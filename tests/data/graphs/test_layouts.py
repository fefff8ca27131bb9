"""A graph written in every layout, and read again."""

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.files.layouts import convert
from pmd.data.graphs.files.tables import read_table
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph

from ...says import says

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


def test_a_spreadsheet_may_separate_columns_by_semicolons(tmp_path, write_files, load_error):
    rows = 'from;rel;to\na, b;likes;"c; d"\n"c; d";likes;e\n'
    folder = write_files(tmp_path / "g", {f"{split}.csv": rows for split in ("train", "valid", "test")})
    graph = load_graph(folder, columns={"head": "from", "relation": "rel", "tail": "to"})
    assert graph.entity_ids == ["a, b", "c; d", "e"] and graph.relation_ids == ["likes"]
    (tmp_path / "bars.csv").write_text("a|likes|b\nb|likes|a\n")
    assert says(
        load_error(tmp_path / "bars.csv"), "bars.csv, line 1: 1 column, but 3…separated by tabs, commas, semicolons"
    )


def test_semicolons_within_texts_separate_nothing(tmp_path):
    for ending, quotes in ((".csv", '"'), (".tsv", "")):
        separator = "," if quotes else "\t"
        texts = "".join(f"{key}{separator}{quotes}{key}; the; letter{quotes}\n" for key in "ab")
        (tmp_path / f"texts{ending}").write_text(texts)
        assert read_table(tmp_path / f"texts{ending}").column("2").to_pylist() == ["a; the; letter", "b; the; letter"]

"""Graphs from values in memory and back: every kind, awkward ids, texts, weights, false triples, and each refusal."""

import subprocess
import sys
import warnings

import datasets
import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import pmd
from pmd.core.errors import PmdError
from pmd.data.graphs.files.frames import graph_from
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph

from ...says import says

pytestmark = pytest.mark.filterwarnings("ignore:graph '")
PARTS = ["head", "relation", "tail"]
SPLITS = {
    "train": [("nan", "is_a", "None"), ("007", "is_a", "7"), ("nan", "is_a", "None"), ("7", "NA", 'é "q", \t')],
    "valid": [("None", "NA", "nan")],
    "test": [("007", "is_a", "None"), ('é "q", \t', "NA", "true")],
}
IDS = ["007", "7", "None", "nan", "true", 'é "q", \t']


def graph(**changes):
    """Ids that readers like to change, a duplicate, texts that cannot be guessed from the ids."""
    parts = {
        "name": "odd",
        "entity_ids": IDS,
        "entity_names": ["James Bond", "seven", "nobody", "NaN", "None", "q"],
        "entity_descriptions": ["", "a number", "", "not a number", "", "a description, with: marks"],
        "relation_ids": ["NA", "is_a"],
        "relation_names": ["nan", "kind of"],
        "train": torch.tensor([[3, 1, 2], [0, 1, 1], [3, 1, 2], [1, 0, 5]]),
        "valid": torch.tensor([[2, 0, 3]]),
        "test": torch.tensor([[0, 1, 2], [5, 0, 4]]),
    }
    return KnowledgeGraph(**parts | changes)


def ids(graph, split):
    return [
        (graph.entity_ids[h], graph.relation_ids[r], graph.entity_ids[t]) for h, r, t in graph.split(split).tolist()
    ]


def in_each(part):
    """The same triples in every split."""
    return dict.fromkeys(SPLITS, part)


def dense(number=40):
    """Distinct triples among ten entities, of which many can leave train."""
    pairs = [(head, tail) for head in range(10) for tail in range(10) if head < tail]
    return [(f"e{head}", f"r{(head + tail) % 2}", f"e{tail}") for head, tail in pairs[:number]]


def same(first, second, texts=True):
    assert first.split_names == second.split_names and list(first.entity_ids) == list(second.entity_ids)
    assert list(first.relation_ids) == list(second.relation_ids)
    for split in first.split_names:
        assert torch.equal(first.split(split), second.split(split)), split
    assert not texts or first.checksum() == second.checksum()
    return True


def refusal(source, **options):
    with pytest.raises(PmdError) as caught:
        graph_from(source, **options)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["pandas", "arrow", "polars", "datasets"])
def test_frames_come_back_with_texts(kind):
    if kind == "polars":
        pytest.importorskip("polars")
    frame = getattr(graph(), f"to_{kind}")(texts=True)
    assert same(graph_from(frame, "odd"), graph())
    assert same(graph_from(getattr(graph(), f"to_{kind}")()), graph(), texts=False)


@pytest.mark.parametrize("kind", ["pandas", "arrow", "polars", "datasets", "tuples", "networkx"])
def test_one_split_at_a_time(kind):
    pytest.importorskip(kind if kind in ("polars", "networkx") else "pandas")
    plain = graph(train=graph().train[[0, 1, 3]])  # networkx holds an edge once
    parts = {
        name: getattr(plain, f"to_{kind}")(split)
        for name, split in [("train", "train"), ("dev", "valid"), ("test", "test")]
    }
    read = graph_from(parts)
    assert {split: sorted(ids(read, split)) for split in SPLITS} == {
        split: sorted(ids(plain, split)) for split in SPLITS
    }
    assert kind == "networkx" or same(read, plain, texts=False)  # its edges are ordered by node
    assert len(parts["train"] if kind != "networkx" else parts["train"].edges) == 3


def test_frames_have_the_columns_that_are_expected():
    frame = graph().to_pandas()
    assert list(frame.columns) == [*PARTS, "split"] and frame.iloc[1].tolist() == ["007", "is_a", "7", "train"]
    assert list(graph().to_pandas("valid").columns) == PARTS
    row = graph().to_arrow("valid", texts=True).to_pylist()[0]
    assert row == {
        **{"head": "None", "relation": "NA", "tail": "nan", "relation_name": "nan"},
        **{"head_name": "nobody", "head_description": "", "tail_name": "NaN", "tail_description": "not a number"},
    }
    assert list(graph().to_datasets()) == ["train", "validation", "test"]
    assert graph().to_tuples("test") == SPLITS["test"] and graph().to_tuples() == SPLITS
    assert graph(valid=torch.empty((0, 3), dtype=torch.long)).to_pandas("valid").empty


def test_tuples_come_back():
    read = graph_from(SPLITS)
    assert same(read, graph(), texts=False)
    assert list(read.entity_names) == ["007", "7", "None", "nan", "true", 'é "q",']  # a name is one line of words


def test_networkx_keeps_all_texts_and_isolated_nodes():
    source = graph(types={"007": ["Person"], "7": ["Number", "Prime"]}, aliases={"007": ["Bond", "Mr Bond"]})
    network = source.to_networkx()
    assert isinstance(network, nx.MultiDiGraph) and network.number_of_edges() == 6  # the duplicate is one edge
    assert network.nodes["007"] == {"name": "James Bond", "type": ["Person"], "aliases": ["Bond", "Mr Bond"]}
    assert network.edges["007", "7", "is_a"] == {"relation_name": "kind of", "split": "train"}
    network.add_node("alone", name="Alone")
    read = graph_from(network, "odd")
    assert {split: set(ids(read, split)) for split in SPLITS} == {split: set(rows) for split, rows in SPLITS.items()}
    assert list(read.entity_names) == graph().entity_names and list(read.relation_names) == graph().relation_names
    assert list(read.entity_descriptions) == graph().entity_descriptions
    assert read.types == {"007": ("Person",), "7": ("Number", "Prime")} and read.aliases == source.aliases
    assert "entities that no triple mentions are left out: 1" in read.notes


def test_weights_and_false_triples_come_back():
    weights = {"train": torch.tensor([0.1, 1.0, 1e-7, 3.0]), "valid": torch.ones(1), "test": torch.tensor([2.0, 0.3])}
    negatives = {"valid": torch.tensor([[0, 0, 0], [1, 1, 1]])}
    whole = graph(weights=weights, negatives=negatives)
    for frame in (whole.to_pandas(texts=True, negatives=True), whole.to_datasets(texts=True, negatives=True)):
        read = graph_from(frame, "odd", weight="weight")
        assert same(read, whole) and read.negatives["valid"].tolist() == negatives["valid"].tolist()
    assert same(graph_from(whole.to_tuples()), whole, texts=False)
    assert {split: part.tolist() for split, part in graph_from(whole.to_tuples()).weights.items()} == {
        split: part.tolist() for split, part in weights.items()
    }
    assert len(whole.to_pandas("valid")) == 1  # false triples only on request
    assert says(refusal(whole.to_pandas()), "column weight holds weights…drop=['weight']…weight='weight'")
    assert not graph_from(whole.to_pandas(), drop=["weight"]).weights


def test_one_list_is_split_by_shares():
    triples = dense()
    frame = pd.DataFrame(triples, columns=["subject", "predicate", "object"])
    shares = pmd.Shares(valid=0.1, test=0.1, seed=3)
    first, second = graph_from(triples, shares=shares), graph_from(frame, shares=shares)
    assert same(first, second, texts=False) and len(first.valid) and len(first.test)
    assert same(first, graph_from((row for row in triples), shares=shares), texts=False)
    assert same(first, graph_from(np.array(triples), shares=shares), texts=False)
    assert same(graph_from(set(triples)), graph_from(sorted(set(triples), key=repr)), texts=False)
    parts = {"train": triples, "test": triples[:1]}
    assert len(graph_from(parts, shares=shares).valid)
    assert says(refusal(parts), "no split valid beside train, test…shares=pmd.Shares()")


@pytest.mark.parametrize("labels", [[0, 1, 2], ["1", "2", "3"], ["h", "r", "t"], ["Source", "edge_type", "Target"]])
def test_columns_by_any_usual_name_or_none(labels):
    frames = {split: pd.DataFrame(rows, columns=labels) for split, rows in SPLITS.items()}
    assert same(graph_from(frames), graph(), texts=False)


def test_columns_that_the_user_names():
    frames = {
        split: pd.DataFrame([row[::-1] for row in rows], columns=["x", "y", "z"]) for split, rows in SPLITS.items()
    }
    columns = {"head": "z", "relation": "y", "tail": "x"}
    assert same(graph_from(frames, columns=columns), graph(), texts=False)
    assert says(
        refusal(frames), "the pandas frame, split train: no head column among 'x', 'y', 'z'…columns={'head': 'x'}"
    )
    unnamed = {split: frame.set_axis(range(3), axis=1) for split, frame in frames.items()}
    assert same(graph_from(unnamed, columns={"head": 2, "relation": 1, "tail": 0}), graph(), texts=False)
    reversed_rows = {split: [row[::-1] for row in rows] for split, rows in SPLITS.items()}
    assert same(graph_from(reversed_rows, columns={"tail": 1, "head": 3}), graph(), texts=False)


def three(rows, columns=PARTS):
    return {split: pd.DataFrame(rows, columns=columns) for split in SPLITS}


@pytest.mark.parametrize(
    "numbers", [[1, 2**62], np.array([3, 4], dtype=np.uint8), [2**70, 5], ["x", 6], pd.Categorical([7, 8])]
)
def test_whole_numbers_become_text(numbers):
    frame = pd.DataFrame({"head": numbers, "relation": ["r", "r"], "tail": ["a", "a"]})
    read = graph_from(in_each(frame))
    assert ids(read, "train") == [(str(number), "r", "a") for number in numbers]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
@pytest.mark.parametrize("other", ["a", 1, 2**70])
def test_missing_ids_are_refused_with_row_and_column(missing, other):
    frame = pd.DataFrame({"s": [other, missing], "p": ["r", "r"], "o": ["a", "b"]})
    assert says(
        refusal({"train": frame, "valid": frame, "test": frame}),
        "pandas frame, split train, row 2: the head (column 's') is empty",
    )
    rows = list(frame.itertuples(index=False))
    assert says(
        refusal({"train": rows, "valid": rows, "test": rows}), "the tuples, split train, row 2: the head is empty"
    )


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ([1.0, 2.5], "row 1: column 'head' holds double values (1.0); store it as text"),
        (["a", 2.5], "row 2: column 'head' holds '2.5' among values of other types"),
        (["a", True], "row 2: column 'head' holds 'True'"),
        (["a", object], "row 2: column 'head' holds \"<class 'object'>\""),
        ([b"a", b"b"], "column 'head' holds binary values; store it as text"),
        ([["a"], ["b"]], "column 'head' holds list<…> values; store it as text"),
        (["a", "\ud800"], "column 'head' holds what is no Unicode text"),
        (["a", ""], "row 2: the head is empty"),
    ],
)
def test_what_is_no_id_is_refused(heads, said):
    frame = pd.DataFrame(
        {"head": pd.Series(heads, dtype=None if type(heads[0]) is float else object), "relation": "r", "tail": "t"}
    )
    assert says(refusal(in_each(frame)), f"the pandas frame, split train…{said}")


def test_names_by_mapping_and_by_frame():
    nodes = {"7": "seven", "007": {"name": "James Bond", "type": "Person", "description": None}, "unseen": "?"}
    frame = pd.DataFrame(
        {"entity_id": ["7", "007", "unseen"], "Name": ["seven", "James  Bond", None], "type": [None, "Person", ""]}
    )
    relations = pd.DataFrame({"relation_id": ["is_a", "NA"], "relation_name": ["kind of", "nan"]})
    first = graph_from(SPLITS, entities=nodes, relations={"is_a": "kind of", "NA": "nan"})
    second = graph_from(SPLITS, entities=frame, relations=relations)
    for read in (first, second):
        assert read.entity_names[:4] == ["James Bond", "seven", "None", "nan"] and read.types == {"007": ("Person",)}
        assert list(read.relation_names) == ["nan", "kind of"] and read.entity_ids == IDS
        assert "entities that no triple mentions are left out: 1" in read.notes
    numbers = graph_from(in_each([(1, "r", 2)]), entities={1: "one", 2: float("nan")})
    assert list(numbers.entity_names) == ["one", "2"]
    assert list(graph_from(graph().to_pandas(texts=True), entities={"7": "VII"}).entity_names)[:2] == [
        "James Bond",
        "VII",
    ]
    void = graph().to_pandas(texts=True).assign(head_name=float("nan"), tail_description=None)
    assert graph_from(void).entity_names[:2] == ["007", "seven"]  # the tails still have names
    scores = pd.DataFrame({"id": ["7", "007"], "name": [1.5, None]})
    assert graph_from(SPLITS, entities=scores).entity_names[:2] == ["007", "1.5"]
    assert says(refusal(SPLITS, entities=["a"]), "entities: a list; give a frame, or a mapping")
    assert says(refusal(SPLITS, relations=pd.DataFrame({"what": ["a"]})), "relations: …column of ids ('what')")


def test_a_column_of_splits_is_followed_and_checked():
    frame = graph().to_pandas()
    assert same(graph_from(frame.replace({"split": {"valid": "Validation"}})), graph(), texts=False)
    further = graph_from(frame.assign(split=[*frame.split[:-1], "hard"]))
    assert further.split_names == ["train", "valid", "test", "hard"] and ids(further, "hard") == SPLITS["test"][1:]
    assert says(refusal(frame.assign(split=[*frame.split[:-1], "testing"])), "two splits are called test")
    assert says(refusal(frame.assign(split=[*frame.split[:-1], None])), "row 7: the split is empty")
    assert says(refusal(frame, drop=["split"]), "cannot be split")
    assert same(graph_from(frame, shares=pmd.Shares()), graph(), texts=False)  # shares are for what is missing
    folds = pd.DataFrame(dense(), columns=PARTS).assign(split=lambda frame: frame.index % 5)
    assert "columns left out: split" in graph_from(folds).notes


def test_columns_beside_the_triples():
    times = three(
        [("a", "r", "b", pd.Timestamp("2020-01-02"), 1), ("b", "r", "a", None, 2)], [*PARTS, "when", "weight"]
    )
    assert says(refusal(times, drop=["when"]), "column weight holds weights")
    kept = graph_from(times, drop=["when"], weight="weight")
    assert kept.weights["train"].tolist() == [1, 2] and "columns left out: when" in kept.notes
    labels = graph_from(three([("a", "r", "b", 1), ("b", "r", "a", -1)], [*PARTS, "label"]))
    assert labels.train.tolist() == [[0, 0, 1]] and labels.negatives["train"].tolist() == [[1, 0, 0]]
    days = three([("a", "r", "b", pd.Timestamp("2020-01-02"))], [*PARTS, "day"])
    assert says(refusal(days), "column day holds times…drop=['day']") and graph_from(days, drop=["time"])
    lists = three([("a", "r", "b", ["x"])], [*PARTS, "extra"])
    assert says(refusal(lists), "column 'extra' holds list") and graph_from(lists, drop=["extra"])


@pytest.mark.parametrize(("fourth", "said"), [(2014, "column 4 holds numbers"), ("2014-01-01", "column 4 holds times")])
def test_a_fourth_of_tuples_is_a_weight_only_if_it_is_a_float(fourth, said):
    rows = in_each([("a", "r", "b", fourth), ("b", "r", "a", fourth)])
    assert says(refusal(rows), f"the tuples, split train: {said}")
    assert graph_from(in_each([("a", "r", "b", 0.5)])).weights["test"].tolist() == [0.5]
    signs = graph_from(in_each([("a", "r", "b", 1), ("b", "r", "a", -1)]))
    assert signs.train.tolist() == [[0, 0, 1]] and not signs.weights


def edges(triples, attribute):
    return nx.DiGraph([(head, tail, {attribute: relation}) for head, relation, tail in triples])


def test_relations_of_networkx_edges():
    rows = [("a", "likes", "b"), (2, "knows", "a")]
    for word in ("relation", "label", "type"):
        read = graph_from(in_each(edges(rows, word)))
        assert ids(read, "train") == [("a", "likes", "b"), ("2", "knows", "a")], word
        assert read.notes[0] == f"the relation of an edge is its {word}"
    other = in_each(edges(rows, "kind"))
    assert says(refusal(other), "no attribute relation, label or type and no text key…columns={'relation': 'kind'}")
    assert ids(graph_from(other, columns={"relation": "kind"}), "train")[0] == ("a", "likes", "b")
    many = nx.MultiDiGraph([("a", "b", "likes"), ("a", "b", "knows")])
    assert ids(graph_from(in_each(many)), "train") == [("a", "likes", "b"), ("a", "knows", "b")]
    many.add_edge("b", "c")  # its key is the number 0
    assert says(refusal(in_each(many)), "networkx graph, split train, row 3: the relation is empty")
    numbered = nx.MultiDiGraph([("a", "b", 5)])
    assert says(refusal(in_each(numbered)), "no text key")
    assert ids(graph_from(in_each(numbered), columns={"relation": "key"}), "test") == [("a", "5", "b")]
    assert says(refusal(nx.Graph([("a", "b")])), "the networkx graph is undirected…to_directed()")
    assert says(refusal(nx.DiGraph()), "the networkx graph has no edges")
    weighted = in_each(nx.DiGraph([("a", "b", {"label": "r", "weight": 0.5})]))
    assert says(refusal(weighted), "column weight holds weights")
    assert graph_from(weighted, weight="weight").weights["train"].tolist() == [0.5]


def test_as_many_relations_as_a_networkx_graph_likes():
    chain = nx.DiGraph()
    for number in range(30):
        chain.add_edge(f"e{number % 7}", f"e{(number * 3 + 1) % 7}", label=f"e{number}")
    assert graph_from(in_each(chain)).num_relations == chain.number_of_edges()


def test_class_labels_of_data_sets_are_names(tmp_path):
    features = datasets.Features({part: datasets.Value("string") for part in PARTS})
    features["relation"] = datasets.ClassLabel(names=["likes", "knows"])
    part = datasets.Dataset.from_dict({"head": ["a", "b"], "relation": [1, 0], "tail": ["b", "a"]}, features)
    read = graph_from(datasets.DatasetDict(train=part, validation=part, test=part.select([1])))
    assert ids(read, "train") == [("a", "knows", "b"), ("b", "likes", "a")] and ids(read, "test") == [
        ("b", "likes", "a")
    ]
    unlabelled = datasets.Dataset.from_dict({"head": ["a"], "relation": [-1], "tail": ["b"]}, features)
    assert says(refusal({"train": unlabelled}), "the data set, split train, row 1: the relation is empty")


def test_rdflib_graphs():
    rdflib = pytest.importorskip("rdflib")

    def statements(*rows):
        network = rdflib.Graph()
        for row in rows:
            network.add(tuple(rdflib.URIRef(f"http://x/{part}") for part in row))
        return network

    train = statements(("a", "r", "b"), ("b", "r", "c"))
    train.add((rdflib.URIRef("http://x/a"), rdflib.RDFS.label, rdflib.Literal("A!", lang="de")))
    read = graph_from({"train": train, "dev": statements(("c", "r", "a")), "test": statements(("b", "r", "a"))})
    assert ids(read, "train") == [
        tuple(f"http://x/{part}" for part in row) for row in (("a", "r", "b"), ("b", "r", "c"))
    ]
    assert ids(read, "valid") == [("http://x/c", "http://x/r", "http://x/a")] and read.entity_names[0] == "A!"
    one = statements(*dense())
    assert len(graph_from(one, shares=pmd.Shares(0.2, 0.2)).test)
    assert says(refusal({"train": train, "valid": [("a", "r", "b")]}), "give rdflib graphs alone")
    assert says(refusal(one, columns={"head": "s"}), "columns does not apply to RDF")


def test_a_graph_is_returned_as_it_is():
    whole = graph()
    assert graph_from(whole) is whole and pmd.graph_from is graph_from
    assert says(refusal(whole, drop=["x"], entities={}), "drop, entities given with a KnowledgeGraph")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("world", "a str is no graph…pandas…Arrow…(head, relation, tail)…networkx…mapping…pmd.load_graph"),
        (5, "a int is no graph"),
        (None, "a NoneType is no graph"),
        ([], "the tuples: there are none"),
        (["abc", "def"], "the tuples, row 1: \"'abc'\""),
        ([("a", "r", "b"), ("a", "r")], "the tuples, row 2: \"('a', 'r')\"; give (head, relation, tail)"),
        ([("a", "r", "b"), ("a", "r", "c", 1.0)], "the tuples, row 2"),
        ({}, "no split train among none"),
        ({"head": ["a"]}, "no split train among 'head'"),
        ({"train": [("a", "r", "b")], "training": [("a", "r", "b")]}, "two splits are called train"),
        ({"train": [("a", "r", "b")], "valid_negatives": [("a", "r", "b")]}, "false triples are no split…column label"),
        ({"train": pd.DataFrame(columns=PARTS)}, "the pandas frame, split train: is empty"),
        ({"train": {"train": [("a", "r", "b")]}}, "a dict is no graph"),
        (pd.DataFrame([["a", "r", "b"]], columns=["head", "head", "tail"]), "two columns are called 'head'"),
        (pa.table({"head": ["a"], "tail": ["b"]}), "the Arrow table: no relation column…columns={'relation': 'head'}"),
        (pd.DataFrame({0: ["a"], 1: ["b"]}), "2 columns, but 3 are needed"),
    ],
)
def test_whatever_is_no_graph_is_refused_in_one_line(source, said):
    assert says(refusal(source), said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"column": {}}, "graph_from: unknown option 'column'; there are columns,…did you mean 'columns'?"),
        ({"columns": ["h", "r", "t"]}, "columns: ['h', 'r', 't'] is no mapping"),
        ({"drop": "time"}, "drop: 'time' is no list; write ['time']"),
        ({"shares": 0.1}, "shares: 0.1 is no pmd.Shares"),
        ({"weight": "w"}, "no column 'w' of weights among 1, 2, 3"),
    ],
)
def test_options_are_checked(options, said):
    assert says(refusal(SPLITS, **options), said)


def test_a_remedy_is_written_as_arguments():
    rows = [(f"h{number % 9}", f"t{number}", "r") for number in range(30)]
    said = refusal(in_each(rows))
    assert says(said, "columns={'head': '1', 'tail': '2', 'relation': '3'}")
    columns = {"head": "1", "tail": "2", "relation": "3"}
    assert graph_from(in_each(rows), columns=columns).num_relations == 1


def test_the_caller_is_warned_of_what_was_understood():
    with pytest.warns(
        UserWarning, match=r"graph 'mine': .*ids serve as names.*duplicate triples in train: 1"
    ) as caught:
        graph_from(SPLITS, "mine")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("package", ["polars", "networkx", "pandas"])
def test_a_package_that_is_missing_is_named(package, monkeypatch):
    monkeypatch.setattr("pmd.core.errors.find_spec", lambda name: None)
    with pytest.raises(PmdError, match=rf"need {package}: pip install 'pmd\[frames\]'"):
        getattr(graph(), f"to_{package}")()


def test_the_bundled_graph_through_every_kind(tmp_path):
    world = load_graph("world")
    for frame in (world.to_pandas(texts=True), world.to_datasets(texts=True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert same(graph_from(frame, "world"), world)


def test_nothing_is_imported_to_recognise_tuples():
    program = """
import sys
from pmd import graph_from
graph_from(dict.fromkeys(["train", "valid", "test"], [("a", "r", "b")]))
print([name for name in ("polars", "networkx", "datasets", "rdflib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

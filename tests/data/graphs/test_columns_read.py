"""Columns and first lines of triples are understood by all files together, and never differently in two of them."""

import pytest

from pmd.data.graphs.sources import load_graph

from ...says import says

pytestmark = pytest.mark.filterwarnings("ignore:graph '")

SPLITS = {
    "train": [("a", "likes", "b"), ("b", "likes", "c"), ("c", "knows", "a")],
    "valid": [("a", "knows", "c")],
    "test": [("c", "likes", "b")],
}
TRIPLES = {split: [list(row) for row in rows] for split, rows in SPLITS.items()}


def write(folder, fourth=None, headers=None, ending=".txt"):
    """The splits, with a fourth column and a first line by split, where they are given."""
    for split, rows in SPLITS.items():
        more = [(word,) for word in fourth[split]] if fourth and split in fourth else [()] * len(rows)
        lines = [headers[split]] if headers and split in headers else []
        lines += ["\t".join(row + extra) for row, extra in zip(rows, more)]
        (folder / f"{split}{ending}").write_text("\n".join(lines) + "\n")
    return folder


def ids(graph):
    entities, relations = graph.entity_ids, graph.relation_ids
    splits = {**{split: graph.split(split) for split in graph.split_names}}
    return {s: [[entities[h], relations[r], entities[t]] for h, r, t in rows.tolist()] for s, rows in splits.items()}


@pytest.mark.parametrize("header", [None, "head\trelation\ttail\tx"])
@pytest.mark.parametrize(("true", "false"), [("1", "0"), ("1", "-1"), ("True", "False")])
def test_labels_are_those_of_all_splits(tmp_path, header, true, false):
    fourth = {"train": [true, false, true], "valid": [true], "test": [true]}
    graph = load_graph(write(tmp_path, fourth, header and dict.fromkeys(SPLITS, header)))
    train = [TRIPLES["train"][0], TRIPLES["train"][2]]
    assert ids(graph) == {**TRIPLES, "train": train}
    assert {split: rows.tolist() for split, rows in graph.negatives.items()} == {"train": [[1, 1, 2]]}


@pytest.mark.parametrize("header", [None, "head\trelation\ttail\tx"])
def test_a_split_of_false_triples_is_refused(tmp_path, load_error, header):
    fourth = {"train": ["0", "1", "0"], "valid": ["0"], "test": ["1"]}  # valid's 0 alone would be a number
    write(tmp_path, fourth, header and dict.fromkeys(SPLITS, header))
    assert says(load_error(tmp_path), f"{tmp_path}/valid.txt: all its triples are labelled false")


def test_usual_headers_that_differ_in_case_are_headers(tmp_path):
    headers = {"train": "Head\tRelation\tTail", "valid": "head\trelation\ttail", "test": ":HEAD \trelation\ttail"}
    assert ids(load_graph(write(tmp_path, headers=headers))) == TRIPLES


def test_usual_headers_of_another_order_are_refused(tmp_path, load_error):
    headers = {**dict.fromkeys(SPLITS, "head\trelation\ttail"), "test": "tail\trelation\thead"}
    assert says(load_error(write(tmp_path, headers=headers)), "…a header (head, relation, tail), but test.txt begins …")


@pytest.mark.parametrize("files", [["train"], ["train", "test"]])
def test_an_unusual_first_line_of_some_files_is_doubted(tmp_path, files):
    graph = load_graph(write(tmp_path, headers=dict.fromkeys(files, "von\tbeziehung\tnach")))
    assert ids(graph)["train"][0] == ["von", "beziehung", "nach"]
    doubts = [note for note in graph.notes if "if it is a header" in note]
    assert doubts == [
        f"{file}.txt, line 1, is read as a triple (von, beziehung, nach): if it is a header, delete it in every file"
        for file in files
    ]
    assert not [note for note in load_graph(write(tmp_path)).notes if "header" in note]


def test_false_triples_in_files_of_their_own_have_the_same_header(tmp_path):
    write(tmp_path, headers=dict.fromkeys(SPLITS, "von\tbeziehung\tnach"))
    (tmp_path / "valid_negatives.txt").write_text("von\tbeziehung\tnach\na\tlikes\tc\nb\tknows\ta\n")
    graph = load_graph(tmp_path)
    assert ids(graph) == TRIPLES and graph.entity_ids == ["a", "b", "c"]
    assert graph.negatives["valid"].tolist() == [[0, 1, 2], [1, 0, 0]]


def test_an_empty_column_is_left_out(tmp_path):
    graph = load_graph(write(tmp_path, {split: [""] * len(rows) for split, rows in SPLITS.items()}))
    assert ids(graph) == TRIPLES and "columns left out: 4 (nothing)" in graph.notes


def test_a_dropped_column_is_none_of_the_triples(tmp_path, load_error):
    for split, rows in SPLITS.items():
        numbered = [f"{number}\t" + "\t".join(row) for number, row in enumerate(rows)]
        (tmp_path / f"{split}.txt").write_text("\n".join(numbered) + "\n")
    assert ids(load_graph(tmp_path, drop=["1"])) == TRIPLES
    assert says(load_error(tmp_path, drop=["1", "2"]), f"{tmp_path}/train.txt, line 1: 2 columns, but 3 are needed …")
    assert says(load_error(tmp_path, drop=["5"]), f"{tmp_path}/train.txt: no column '5' to drop among 1, 2, 3, 4")
    assert says(load_error(tmp_path, drop=["2"], columns={"head": 2}), "drop: column '2' is the head of the triples; …")
    assert says(load_error(tmp_path, columns={"head": 2, "tail": 2}), "columns: 'head' and 'tail' are both column '2'…")


def test_training_triples_alone_may_have_weights(tmp_path, load_error):
    graph = load_graph(write(tmp_path, {"train": ["0.25", "0.5", "1.0"]}), weight="4")
    assert ids(graph) == TRIPLES
    assert {split: weights.tolist() for split, weights in graph.weights.items()} == {"train": [0.25, 0.5, 1.0]}
    assert says(load_error(tmp_path, weight="44"), "…no column '44' of weights among 1, 2, 3, 4")


def test_hidden_files_are_not_read(tmp_path):
    write(tmp_path)
    (tmp_path / "._train.txt").write_bytes(b"\0\5\26\7")
    (tmp_path / ".nodes.csv").write_text("not a table of nodes\n")
    assert ids(load_graph(tmp_path)) == TRIPLES

"""Graphs out of datasets. The Hub is not asked: local folders go through the same `load_dataset`."""

import json
import os

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pmd.core.errors import PmdError
from pmd.data.graphs.files.hub_source import load_dataset_graph
from pmd.data.graphs.sources import load_graph
from pmd.data.graphs.split import Shares

from ...says import says

ROWS = {
    "train": [("00260881", "is_a", "NA"), ("null", "has_part", "00260881")],
    "validation": [("NA", "is_a", "1e5")],
    "test": [("1e5", "has_part", "New_York, NY")],
}
IDS = ["00260881", "1e5", "NA", "New_York, NY", "null"]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No network, no progress bars, and no copies in the user's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def csv_field(value, separator):
    return '"' + value.replace('"', '""') + '"' if separator in value else value


def write_dataset(folder, kind, rows=ROWS, columns=("head", "relation", "tail")):
    """Write one file a split, in one of the formats that `datasets` knows."""
    folder.mkdir()
    for split, triples in rows.items():
        path = folder / f"{split}.{kind}"
        if kind == "parquet":
            table = {name: list(part) for name, part in zip(columns, zip(*triples))}
            if None in triples[0]:  # else a column without any text has a type of its own
                table = {name: pa.array(part, pa.string()) for name, part in table.items()}
            pq.write_table(pa.table(table), path)
        elif kind == "jsonl":
            path.write_text("".join(json.dumps(dict(zip(columns, row))) + "\n" for row in triples))
        else:
            separator = "," if kind == "csv" else "\t"
            lines = [separator.join(csv_field(value, separator) for value in row) for row in [columns, *triples]]
            path.write_text("".join(line + "\n" for line in lines))
    return folder


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "tsv"])
def test_every_format_gives_the_same_graph(tmp_path, kind):
    folder = write_dataset(tmp_path / "mine", kind)
    graph = load_dataset_graph(str(folder), "mine") if kind == "tsv" else load_graph(folder)
    assert graph.name == "mine"
    assert graph.entity_ids == IDS  # text, every one of them
    assert graph.entity_names == ["00260881", "1e5", "NA", "New York, NY", "null"]
    assert graph.entity_descriptions == [""] * 5
    assert graph.relation_ids == ["has_part", "is_a"]
    assert graph.relation_names == ["has part", "is a"]
    assert graph.train.tolist() == [[0, 1, 2], [4, 0, 0]]
    assert graph.valid.tolist() == [[2, 1, 1]]
    assert graph.test.tolist() == [[1, 0, 3]]


def test_quotes_in_a_tsv_are_text(tmp_path):
    rows = {split: [('"a', "r", 'b "c"')] for split in ROWS}
    with pytest.warns(UserWarning, match=r"valid.*train.*: 1.*test.*train.*: 1"):
        folder = write_dataset(tmp_path / "mine", "csv", rows={s: [('a"', "r", "b")] for s in ROWS})
        assert load_graph(folder).entity_ids == ['a"', "b"]
    graph = load_dataset_graph(str(write_dataset(tmp_path / "tabs", "tsv", rows)), "tabs")
    assert graph.entity_ids == ['"a', 'b "c"']


@pytest.mark.parametrize("columns", [("h", "r", "t"), ("Subject", "Predicate", "Object"), ("source", "rel", "target")])
def test_usual_spellings_are_found(tmp_path, columns):
    graph = load_graph(write_dataset(tmp_path / "mine", "parquet", columns=columns))
    assert graph.entity_ids == IDS and graph.test.tolist() == [[1, 0, 3]]


def test_data_subfolders_and_other_split_names(tmp_path):
    rows = {"train": ROWS["train"], "dev": ROWS["validation"], "test": ROWS["test"]}
    folder = tmp_path / "mine"
    folder.mkdir()
    write_dataset(folder / "data", "parquet", rows)
    assert load_graph(folder).valid.tolist() == [[2, 1, 1]]


def test_text_columns_become_names_and_descriptions(tmp_path):
    rows = {
        "train": [("1", "r", "2", "One", "the\nfirst", None, None, "is")],
        "validation": [("2", "r", "1", "Two", None, "Uno", "other", "is")],
        "test": [("2", "r", "3_b", None, "the second", None, None, "is")],
    }
    columns = ["head", "relation", "tail", "head_name", "head_description", "tail_label", "tail_desc", "relation_name"]
    graph = load_graph(write_dataset(tmp_path / "mine", "parquet", rows, columns))
    assert graph.entity_ids == ["1", "2", "3_b"]
    assert graph.entity_names == ["One", "Two", "3 b"]  # the first text counts, an id stands in
    assert graph.entity_descriptions == ["the first", "the second", ""]
    assert graph.relation_names == ["is"]


def test_integer_ids_and_named_columns(tmp_path):
    rows = {split: [(number, "r", 7)] for number, split in enumerate(ROWS)}
    folder = write_dataset(tmp_path / "mine", "parquet", rows, ("from", "how", "to"))
    columns = {"head": "from", "relation": "how", "tail": "to"}
    assert load_graph(folder, columns=columns).entity_ids == ["0", "1", "2", "7"]


def broken(tmp_path, load_error, kind="parquet", rows=ROWS, names=("head", "relation", "tail"), **options):
    return load_error(write_dataset(tmp_path / "bad", kind, rows, names), **options).replace(str(tmp_path), "")


def test_missing_and_empty_splits(tmp_path, load_error):
    message = broken(tmp_path, load_error, rows={"train": ROWS["train"], "test": ROWS["test"]})
    assert says(message, "/bad: no valid.tsv…train, test")


def test_an_empty_csv_split(tmp_path, load_error):
    message = broken(tmp_path, load_error, "csv", ROWS | {"train": []})
    assert says(message, "/bad/train.csv: …empty")


def test_missing_columns_say_what_there_is(tmp_path, load_error):
    message = broken(tmp_path, load_error, names=("head", "label", "tail"))
    assert says(message, "/bad/train.parquet…relation…'head', 'label', 'tail'…--data.columns '{relation: head}'")
    folder = tmp_path / "bad"
    assert says(load_error(folder, columns={"relation": "lable"}), "'lable'…head, label, tail…'label'")
    assert says(load_error(folder, columns={"relatoin": "label"}), "columns: 'relatoin'…head")


def test_an_empty_value_names_its_row(tmp_path, load_error):
    message = broken(tmp_path, load_error, rows=ROWS | {"test": [("a", "r", "b"), ("a", None, "b")]})
    assert says(message, "/bad/test.parquet, row 2: …relation")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("parquet", 0.5, "'tail'…double…text"),
        ("jsonl", "1990-01-01", "'tail'…timestamp[s]…text"),
    ],
)
def test_values_that_would_change_are_refused(tmp_path, load_error, kind, value, words):
    assert says(broken(tmp_path, load_error, kind, {split: [("a", "r", value)] for split in ROWS}), words)


def test_a_damaged_file_is_one_line(tmp_path, load_error):
    folder = write_dataset(tmp_path / "bad", "parquet")
    (folder / "test.parquet").write_bytes(b"PAR1 nothing")
    assert says(load_error(folder), f"{folder}/test.parquet: damaged file (")


def test_an_unreachable_hub_is_one_line(load_error):
    message = load_error("nobody/no-such-dataset")
    assert says(message, "'nobody/no-such-dataset'…HF_HUB_OFFLINE")


def test_a_missing_hub_dataset_is_one_line(monkeypatch, load_error):
    def refuse(*_args, **_options):
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' doesn't exist\non the Hub")

    monkeypatch.setattr(datasets, "load_dataset_builder", refuse)
    assert says(load_error("a/b"), "'a/b'…(DatasetNotFoundError: Dataset 'a/b' doesn't exist on the Hub)…subset")


def test_nothing_is_written_beside_the_data(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    write_dataset(folder / "data", "csv")
    load_graph(folder, cache_dir=str(tmp_path / "elsewhere"))
    assert sorted(os.listdir(folder / "data")) == ["test.csv", "train.csv", "validation.csv"]
    assert (tmp_path / "elsewhere").is_dir()
    with pytest.raises(PmdError, match="subset"):
        load_graph(folder, subset="no_such_configuration")


def test_a_folder_of_one_file_says_to_give_the_file(tmp_path, load_error):
    rows = [(f"e{i}", "r", f"e{(i + 1) % 60}") for i in range(60)]
    folder = write_dataset(tmp_path / "mine", "csv", rows={"kg": rows})
    assert says(load_error(folder), "no split validation…among train…give the file itself, if it is one")
    assert load_graph(folder / "kg.csv").num_entities == 60


def test_a_table_of_triples_beside_one_of_nodes_is_to_be_named(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "facts.csv").write_text("head,relation,tail\n" + "".join(f"{a},r,{b}\n" for a in "abc" for b in "abc"))
    (folder / "nodes.csv").write_text("id,name\na,Ada\nb,Bob\nc,Cid\n")
    with pytest.raises(PmdError, match="give that file, with names and descriptions in a table called nodes"):
        load_graph(folder)
    assert sorted(load_graph(folder / "facts.csv", shares=Shares(valid=0.2, test=0.2)).entity_names) == [
        "Ada",
        "Bob",
        "Cid",
    ]

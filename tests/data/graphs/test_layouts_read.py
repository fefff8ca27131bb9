"""Graphs as other toolkits and data sets publish them: small samples of each layout, and what they become."""

import bz2
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pmd.data.graphs import build, sources
from pmd.data.graphs.files import text_tables, tsv
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.data.texts.strings import Strings

from ...says import says

pytestmark = pytest.mark.filterwarnings("ignore:graph '")

TRIPLES = {
    "train": [("a", "likes", "b"), ("b", "likes", "c"), ("c", "knows", "a")],
    "valid": [("a", "knows", "c")],
    "test": [("c", "likes", "b")],
}
POSITIONS = [[[0, 1, 1], [1, 1, 2], [2, 0, 0]], [[0, 0, 2]], [[2, 1, 1]]]
"""The triples above, when ids are sorted."""


def positions(graph: KnowledgeGraph) -> list[list[list[int]]]:
    return [graph.split(split).tolist() for split in ("train", "valid", "test")]


def lines(rows, separator="\t", header=()):
    return "".join(separator.join(row) + "\n" for row in [*header, *rows])


def write_splits(folder, names=("train", "valid", "test"), ending=".txt", pack=bytes, **style):
    folder.mkdir(exist_ok=True)
    for name, rows in zip(names, TRIPLES.values()):
        (folder / f"{name}{ending}").write_bytes(pack(lines(rows, **style).encode()))
    return folder


def zstd(data):
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as out:
        out.write(data)
    return stream.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("train", "dev", "test"), ("Training", "val", "testing")]
)
@pytest.mark.parametrize("separator", ["\t", " ", ",", ";"])
@pytest.mark.parametrize("header", [(), [("head", "relation", "tail")], [("a1", "b1", "c1")]])
def test_usual_names_and_separators(tmp_path, names, separator, header):
    graph = load_graph(write_splits(tmp_path / "g", names, separator=separator, header=header))
    assert graph.entity_ids == graph.entity_names == ["a", "b", "c"]
    assert positions(graph) == POSITIONS
    assert any("header" in note for note in graph.notes) == bool(header)


@pytest.mark.parametrize(
    ("ending", "pack"),
    [(".tsv", bytes), (".csv", bytes), (".txt.gz", gzip.compress), (".tsv.zst", zstd), (".csv.bz2", bz2.compress)],
)
def test_endings_and_packings(tmp_path, ending, pack):
    separator = "," if "csv" in ending else "\t"
    assert (
        positions(load_graph(write_splits(tmp_path / "g", ending=ending, pack=pack, separator=separator))) == POSITIONS
    )


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_files_with_named_columns(tmp_path, kind):
    for split, rows in TRIPLES.items():
        columns = dict(zip(("subject", "predicate", "object"), map(list, zip(*rows))))
        if kind == "parquet":
            pq.write_table(
                pa.table({"weight_of_nothing": [None] * len(rows), **columns}), tmp_path / f"{split}.parquet"
            )
        else:
            rows = [dict(zip(columns, row)) for row in rows]
            (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert positions(load_graph(tmp_path)) == POSITIONS


def test_ids_without_texts_are_made_readable(tmp_path):
    rows = [("New_York", "locatedIn", "DowntownUSA"), ("New_York", "locatedIn", "x")]
    for split in TRIPLES:
        (tmp_path / f"{split}.txt").write_text(lines(rows))
    graph = load_graph(tmp_path)
    assert graph.entity_names == ["Downtown USA", "New York", "x"] and graph.relation_names == ["located In"]


def test_rotate_dictionaries_give_the_order(tmp_path):
    folder = write_splits(tmp_path / "g")
    (folder / "entities.dict").write_text("0\tc\n1\ta\n2\tb\n3\tunused\n")
    (folder / "relations.dict").write_text("0\tlikes\n1\tknows\n")
    graph = load_graph(folder)
    assert graph.entity_ids == ["c", "a", "b", "unused"] and graph.relation_ids == ["likes", "knows"]
    assert graph.train.tolist() == [[1, 0, 2], [2, 0, 0], [0, 1, 1]]


def openke(folder, order=("head", "tail", "relation")):
    entities, relations = {"a": 1, "b": 2, "c": 0}, {"likes": 0, "knows": 1}
    folder.mkdir(exist_ok=True)
    (folder / "entity2id.txt").write_text("3\r\na\t1\r\nb\t2\r\nc\t0\r\n", newline="")
    (folder / "relation2id.txt").write_text("2\nlikes\t0\nknows\t1\n")
    for split, rows in TRIPLES.items():
        numbers = [{"head": entities[h], "relation": relations[r], "tail": entities[t]} for h, r, t in rows]
        body = "".join(" ".join(str(row[part]) for part in order) + "\n" for row in numbers)
        (folder / f"{split}2id.txt").write_text(f"{len(rows)}\n{body}")
    return folder


def test_openke_files_are_head_tail_relation(tmp_path):
    graph = load_graph(openke(tmp_path / "g"))
    assert graph.entity_ids == ["c", "a", "b"] and graph.relation_ids == ["likes", "knows"]
    assert graph.train.tolist() == [[1, 0, 2], [2, 0, 0], [0, 1, 1]]


def test_openke_files_that_are_cut_or_of_another_order_are_refused(tmp_path, load_error):
    folder = openke(tmp_path / "g", order=("head", "relation", "tail"))
    assert says(load_error(folder), f"{folder}/train2id.txt: relation '2' is not one of 0 to 1; …head, tail, relation")
    openke(folder)
    (folder / "train2id.txt").write_text("4\n1 2 0\n")
    assert says(load_error(folder), f"{folder}/train2id.txt, line 1: …4 triples, but 1 follow")
    (folder / "entity2id.txt").unlink()
    assert says(load_error(folder), f"{folder}/entity2id.txt: …missing")


def test_grail_pairs_of_folders(tmp_path):
    write_splits(tmp_path / "g")
    other = tmp_path / "g_ind"
    other.mkdir()
    for split in TRIPLES:
        (other / f"{split}.txt").write_text("x\tlikes\ty\n")
    graph = load_graph(tmp_path / "g")
    assert graph.split_names == ["train", "valid", "test", "inductive_train", "inductive_valid", "inductive_test"]
    assert graph.candidates("inductive_test").tolist() == [3, 4] and "g_ind" in graph.notes[0]


def test_ilpc_inference_files(tmp_path):
    folder = write_splits(tmp_path / "g")
    for name in ("inference", "inference_validation", "inference_test"):
        (folder / f"{name}.txt").write_text("x\tlikes\ty\n")
    graph = load_graph(folder)
    assert list(graph.splits) == ["inductive_train", "inductive_valid", "inductive_test"]
    assert graph.splits["inductive_test"].tolist() == [[3, 1, 4]]


def test_codex_texts_and_verified_negatives(tmp_path):
    folder = tmp_path / "data" / "triples" / "codex-s"
    folder.mkdir(parents=True)
    write_splits(folder)
    (folder / "valid_negatives.txt").write_text("a\tknows\tb\n")
    (folder / "test_negatives.txt").write_text("a\tlikes\tc\nb\tknows\ta\n")
    texts = {
        "entities": {"a": {"label": "Anna", "description": "a  person"}, "b": {"label": "Bob", "description": None}},
        "relations": {"likes": {"label": "is fond of", "description": "…"}},
    }
    for kind, content in texts.items():
        place = tmp_path / "data" / kind / "en"
        place.mkdir(parents=True)
        (place / f"{kind}.json").write_text(json.dumps(content))
    graph = load_graph(folder)
    assert graph.entity_names == ["Anna", "Bob", "c"] and graph.entity_descriptions == ["a person", "", ""]
    assert graph.relation_names == ["knows", "is fond of"]
    assert {split: rows.tolist() for split, rows in graph.negatives.items()} == {
        "valid": [[0, 0, 1]],
        "test": [[0, 1, 2], [1, 0, 0]],
    }
    assert positions(graph) == POSITIONS
    without = load_graph(write_splits(tmp_path / "plain"))
    assert positions(without) == POSITIONS and not without.negatives


def test_wikidata5m_first_alias_is_the_name(tmp_path):
    for split in TRIPLES:
        (tmp_path / f"wikidata5m_transductive_{split}.txt").write_text("Q1\tP31\tQ2\n")
    (tmp_path / "wikidata5m_entity.txt").write_text("Q1\tBerlin\tBerlin, Germany\nQ2\tcity\nQ3\tunused\tx\n")
    (tmp_path / "wikidata5m_relation.txt").write_text("P31\tinstance of\tis a\n")
    (tmp_path / "wikidata5m_text.txt").write_text("Q1\tThe capital.\n")
    graph = load_graph(tmp_path)
    assert (graph.entity_ids, graph.entity_names) == (["Q1", "Q2"], ["Berlin", "city"])
    assert graph.entity_descriptions == ["The capital.", ""] and graph.relation_names == ["instance of"]
    assert graph.aliases == {"Q1": ["Berlin, Germany"]}
    files = ", ".join(f"wikidata5m_{kind}.txt" for kind in ("entity", "relation", "text"))
    assert graph.notes == (f"texts come from {files}",)


HETIONET = [(f"Gene::{i}", "GiG", f"Gene::{(i * 7 + 1) % 40}") for i in range(40)] + [
    (f"Gene::{i}", "GpBP", f"Process::{i % 5}") for i in range(40)
]


def write_as_wikidata5m(folder, *, aliases: bool = True) -> None:
    """`world` as Wikidata5M is published, with an entity without name, one without description, and one in no triple."""
    world = load_graph("world")
    lines = {"entity": ["Qunused\tnobody\tno one"], "text": ["Qunused\tin no triple"], "relation": []}
    for row, (key, name, text) in enumerate(zip(world.entity_ids, world.entity_names, world.entity_descriptions)):
        if row != 3:
            lines["entity"].append("\t".join([key, name, *(f"{name}  of  {i}" for i in range(row % 3 * aliases))]))
        if text and row != 5:
            lines["text"].append(f"{key}\t  {text}")
    for key, name in zip(world.relation_ids, world.relation_names):
        lines["relation"].append(f"{key}\t{name}\tanother")
    for kind, rows in lines.items():
        (folder / f"wikidata5m_{kind}.txt").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    for split in ("train", "valid", "test"):
        rows = ["\t".join(triple) for triple in zip(*sources.columns_of_ids(world, world.split(split)))]
        (folder / f"wikidata5m_transductive_{split}.txt").write_text("".join(f"{row}\n" for row in rows))


@pytest.mark.parametrize("aliases", [True, False])
@pytest.mark.parametrize("ids", ["many", "few"])
def test_large_text_files_are_the_same_in_arrays(tmp_path, monkeypatch, ids, aliases):
    write_as_wikidata5m(tmp_path, aliases=aliases)
    small = load_graph(tmp_path)
    monkeypatch.setattr(tsv, "BLOCK", 3000)
    monkeypatch.setattr(text_tables, "ROWS", 100)
    if ids == "many":
        monkeypatch.setattr(build, "MANY", 0)
    large = load_graph(tmp_path)
    assert isinstance(large.entity_ids, Strings) == isinstance(large.entity_names, Strings) == (ids == "many")
    assert large.checksum() == small.checksum() and large.notes == small.notes
    assert large.entity_descriptions == small.entity_descriptions
    assert dict(large.aliases) == dict(small.aliases) and len(large.aliases) == len(small.aliases)
    assert bool(large.aliases) == aliases and "Qunused" not in large.aliases


def test_a_text_that_is_there_twice_counts_as_before(tmp_path, monkeypatch):
    write_as_wikidata5m(tmp_path)
    file = tmp_path / "wikidata5m_text.txt"
    key = load_graph("world").entity_ids[0]
    file.write_text(file.read_text("utf-8") + f"{key}\tanother text\n", encoding="utf-8")
    small = load_graph(tmp_path)
    monkeypatch.setattr(tsv, "BLOCK", 3000)
    monkeypatch.setattr(build, "MANY", 0)
    assert load_graph(tmp_path).checksum() == small.checksum() and "another text" in small.entity_descriptions


def test_hetionet_nodes_and_edges_are_split(tmp_path):
    (tmp_path / "hetionet-v1.0-edges.sif.gz").write_bytes(
        gzip.compress(lines(HETIONET, header=[("source", "metaedge", "target")]).encode())
    )
    ids = sorted({key for head, _, tail in HETIONET for key in (head, tail)})
    nodes = [(key, f"the {key.split('::')[1]}", key.split("::")[0]) for key in ids]
    (tmp_path / "hetionet-v1.0-nodes.tsv").write_text(lines(nodes, header=[("id", "name", "kind")]))
    graph = load_graph(tmp_path)
    assert (graph.num_entities, graph.relation_ids) == (45, ["GiG", "GpBP"])
    assert graph.entity_names[0] == "the 0" and graph.types["Gene::0"] == ("Gene",)
    assert sum(len(graph.split(split)) for split in graph.split_names) == 80 and len(graph.test) >= 6
    one = load_graph(tmp_path / "hetionet-v1.0-edges.sif.gz")
    assert one.checksum() == graph.checksum()
    assert any("split with seed 0: train" in note for note in graph.notes)


def test_primekg_is_one_file_with_names_and_types(tmp_path):
    header = "relation,display_relation,x_index,x_id,x_type,x_name,x_source,y_index,y_id,y_type,y_name,y_source\n"
    rows = [
        f'protein_protein,ppi,{i},{i}9,gene/protein,"PHY, {i}",NCBI,{(i + 1) % 40},1,gene/protein,"PHY, {(i + 1) % 40}",NCBI\n'
        for i in range(40)
    ]
    (tmp_path / "kg.csv").write_text(header + "".join(rows) + rows[3])
    graph = load_graph(tmp_path / "kg.csv")
    assert graph.num_entities == 40 and graph.relation_names == ["ppi"]
    assert dict(zip(graph.entity_ids, graph.entity_names))["7"] == "PHY, 7"
    assert graph.types["0"] == ("gene/protein",)
    assert "left out: 1 repeated triples" in graph.notes
    assert "columns left out: x_id, x_source, y_id, y_source" in graph.notes


def test_labels_are_no_facts(tmp_path, write_files):
    """KG-BERT's WN11 and FB13: `1` and `-1` in dev and test."""
    files = {
        "train.tsv": "__dog_1\t_type_of\t__animal_1\n__cat_1\t_type_of\t__animal_1\n",
        "train_1.tsv": "not read\n",
        "dev.tsv": "__dog_1\t_type_of\t__animal_1\t1\n__dog_1\t_type_of\t__cat_1\t-1\n",
        "test.tsv": "__cat_1\t_type_of\t__animal_1\t1\r\n__cat_1\t_type_of\t__dog_1\t-1\r\n",
        "entity2text.txt": "__dog_1\tdog\n__cat_1\tcat\n__animal_1\tanimal\n",
        "relation2text.txt": "_type_of\ttype of\n",
    }
    graph = load_graph(write_files(tmp_path / "WN11", files))
    assert [len(graph.split(split)) for split in graph.split_names] == [2, 1, 1]
    assert graph.negatives["valid"].tolist() == [[0, 0, 1]] and graph.negatives["test"].tolist() == [[1, 0, 0]]
    assert "false triples are kept apart, for classification: 1 of valid, 1 of test" in graph.notes


def test_times_and_weights_are_refused_by_name_or_left_out(tmp_path, write_files, load_error):
    for values, kind, word in (
        (("2014-01-01", "2014-01-02"), "times", "time"),
        (("0.5", "1.0"), "weights", "weight"),
        (("12", "13"), "numbers", "4"),
    ):
        files = {f"{split}.txt": f"a\tr\tb\t{values[0]}\nb\tr\ta\t{values[1]}\n" for split in TRIPLES}
        folder = write_files(tmp_path / kind, files)
        assert says(load_error(folder), f"{folder}/train.txt: column 4 holds {kind} ('{values[0]}'…--data.drop '[4]'")
        assert len(load_graph(folder, drop=[word]).train) == 2
        assert len(load_graph(folder, drop=[4]).train) == 2


def test_weights_are_read_where_the_user_says_so(tmp_path, write_files, load_error):
    files = {f"{split}.tsv": "s\tp\to\tconfidence\na\tr\tb\t0.5\nb\tr\ta\t2\n" for split in TRIPLES}
    folder = write_files(tmp_path / "nell", files)
    assert says(
        load_error(folder), "column confidence holds weights…--data.drop '[confidence]'…--data.weight 'confidence'"
    )
    graph = load_graph(folder, weight="confidence")
    assert graph.weights["train"].tolist() == [0.5, 2.0]
    assert graph.checksum() != load_graph(folder, drop=["weight"]).checksum()
    write_files(folder, {"test.tsv": "s\tp\to\tconfidence\na\tr\tb\t-1\n"})
    assert says(load_error(folder, weight="confidence"), f"{folder}/test.tsv: column confidence holds '-1'…from 0 up")


def test_another_order_of_columns_is_doubted(tmp_path, load_error):
    rows = [(f"e{i}", f"e{(i * 5 + 1) % 24}", ("r", "s")[i % 2]) for i in range(24)]
    for split in TRIPLES:
        (tmp_path / f"{split}.txt").write_text(lines(rows))
    assert says(load_error(tmp_path), "24 relations, 24 of them heads…--data.columns '{head: 1, tail: 2, relation: 3}'")
    graph = load_graph(tmp_path, columns={"head": 1, "tail": 2, "relation": 3})
    assert graph.relation_ids == ["r", "s"]


def test_a_header_in_some_files_only_is_refused(tmp_path, load_error):
    folder = write_splits(tmp_path / "g")
    (folder / "valid.txt").write_text("subject\tpredicate\tobject\na\tknows\tc\n")
    assert says(
        load_error(folder),
        f"{folder}/valid.txt, line 1: a header (subject, predicate, object)…train.txt begins with 'a'",
    )


def test_openbg_questions_without_answers(tmp_path, load_error):
    for split, row in (("train", "a\tr\tb\n"), ("dev", "b\tr\ta\n"), ("test", "a\tr\n")):
        (tmp_path / f"OpenBG500_{split}.tsv").write_text(row)
    (tmp_path / "OpenBG500_entity2text.tsv").write_text("a\tApfel\nb\tBirne\n")
    assert says(load_error(tmp_path), "OpenBG500_test.tsv…2 columns…")
    (tmp_path / "OpenBG500_test.tsv").write_text("b\tr\ta\n")
    assert load_graph(tmp_path).entity_names == ["Apfel", "Birne"]


def test_ogb_mappings_name_the_numbers(tmp_path):
    for split in TRIPLES:
        (tmp_path / f"{split}.csv").write_text("0,0,1\n1,0,0\n")
    (tmp_path / "mapping").mkdir()
    (tmp_path / "mapping" / "nodeidx2entityid.csv.gz").write_bytes(gzip.compress(b"node idx,entity id\n0,Q1\n1,Q2\n"))
    (tmp_path / "mapping" / "reltype2relid.csv.gz").write_bytes(gzip.compress(b"reltype,rel id\n0,P31\n"))
    graph = load_graph(tmp_path)
    assert graph.entity_ids == ["0", "1"] and graph.entity_names == ["Q1", "Q2"] and graph.relation_names == ["P31"]


def test_a_header_of_other_words(tmp_path):
    """One file: words that occur nowhere else, above many triples of few relations; or words that the user chooses."""
    rows = [(f"e{i}", "r", f"e{(i + 1) % 60}") for i in range(60)]
    (tmp_path / "long.tsv").write_text(lines(rows, header=[("who", "does", "what")]))
    assert load_graph(tmp_path / "long.tsv").num_entities == 60
    rows = [(f"e{i % 9}", "r", f"e{i % 7}") for i in range(15)]
    (tmp_path / "short.csv").write_text(lines(rows, ",", header=[("who", "does", "what")]))
    columns = {"head": "what", "relation": "does", "tail": "who"}
    graph = load_graph(tmp_path / "short.csv", columns=columns)
    assert (graph.num_entities, graph.relation_ids) == (9, ["r"])


def test_two_files_of_one_split_are_refused(tmp_path, load_error):
    folder = write_splits(tmp_path / "g")
    write_splits(folder, names=("dev",))
    (folder / "dev.txt").write_text("a\tlikes\tc\n")
    assert says(load_error(folder), f"{folder}: dev.txt and valid.txt both hold the split valid")


def test_a_pointer_of_git_lfs_is_no_graph(tmp_path, load_error):
    (tmp_path / "edges.tsv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")
    assert says(load_error(tmp_path / "edges.tsv"), "edges.tsv: …Git LFS…git lfs pull")


def test_awkward_ids_stay_as_they_are(tmp_path, write_files):
    ids = [
        "nan",
        "None",
        "NA",
        "?",
        "{x}",
        "007",
        '"quoted"',
        "a/b c",
        "<http://x.org/1>",
        "O'Neil",
        "\u0041\u030a",
        "1e5",
        "x",
    ]
    rows = [(key, "r", ids[(i + 1) % len(ids)]) for i, key in enumerate(ids)]
    text = "\ufeff" + lines(rows)
    graph = load_graph(write_files(tmp_path / "g", {f"{split}.tsv": text for split in TRIPLES}))
    assert graph.entity_ids == sorted(ids)


def test_an_id_with_a_tab_or_a_line_break_is_refused(tmp_path, write_files, load_error):
    files = {f"{split}.csv": "a,r,b\nb,r,a\n" for split in TRIPLES} | {"train.csv": 'a,r,b\n"b\n2",r,a\n'}
    folder = write_files(tmp_path / "g", files)
    assert says(load_error(folder), f"{folder}/train.csv, line 2: the head 'b\\n2' holds a tab or a line break")

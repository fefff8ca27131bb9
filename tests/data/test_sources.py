"""`load_graph` and `write_graph`: what loads, to which values, and what every broken input says."""

import gzip
import os
import shutil
import warnings
from collections import Counter

import pytest

from pmd.core.errors import PmdError
from pmd.data import sources
from pmd.data.graph import KnowledgeGraph
from pmd.data.sources import load_graph, registered_names, write_graph

# A description with what trips other readers up: a lone quote, "NA", U+2028 (a line end to str.splitlines).
FILES = {
    "entities.tsv": '00260881\tNA\tsays "hi\u2028there\nnull\tnull\t\nc\t\tonly a description\n',
    "relations.tsv": "_r\tis\n_s\thas\n",
    "train.tsv": "00260881\t_r\tnull\nnull\t_s\tc\n",
    "valid.tsv": "c\t_r\tc\n",
    "test.tsv": "c\t_s\t00260881\n",
}


def write(folder, files=FILES, **changes):
    """Write the files; `train_tsv="…"` changes one, None leaves it out."""
    folder.mkdir(exist_ok=True)
    changes = {name.replace("_tsv", ".tsv").replace("_txt", ".txt"): text for name, text in changes.items()}
    for name, text in (files | changes).items():
        if text is not None:
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def message(source, **options):
    """The message of the PmdError that loading raises: always one line."""
    with pytest.raises(PmdError) as caught:
        load_graph(source, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_folder_becomes_a_graph(tmp_path):
    graph = load_graph(write(tmp_path / "mine"))
    assert graph.name == "mine"
    assert graph.entity_ids == ["00260881", "null", "c"]
    assert graph.entity_names == ["NA", "null", "c"]  # the id stands in for a missing name
    assert graph.entity_descriptions == ['says "hi\u2028there', "", "only a description"]
    assert (graph.relation_ids, graph.relation_names) == (["_r", "_s"], ["is", "has"])
    assert graph.train.tolist() == [[0, 0, 1], [1, 1, 2]]
    assert graph.valid.tolist() == [[2, 0, 2]]
    assert graph.test.tolist() == [[2, 1, 0]]
    assert graph.splits == {} and graph.candidates() is None


def test_gzipped_equals_plain(tmp_path):
    plain = load_graph(write(tmp_path / "plain"))
    zipped = load_graph(
        write(tmp_path / "zipped", {f"{name}.gz": gzip.compress(text.encode()) for name, text in FILES.items()})
    )
    assert zipped.checksum() == plain.checksum()


def test_last_line_may_lack_its_line_feed_and_a_byte_order_mark_is_ignored(tmp_path):
    plain = load_graph(write(tmp_path / "plain"))
    odd = {name: b"\xef\xbb\xbf" + text.removesuffix("\n").encode() for name, text in FILES.items()}
    assert load_graph(write(tmp_path / "odd", odd)).checksum() == plain.checksum()


def test_loading_writes_nothing(tmp_path):
    folder = write(tmp_path / "mine")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    load_graph(folder)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before
    assert os.listdir(tmp_path) == ["mine"]


def test_inductive_files_become_splits(tmp_path):
    folder = write(
        tmp_path / "two",
        entities_tsv=FILES["entities.tsv"] + "x\tX\t\ny\tY\t\n",
        inductive_train_tsv="x\t_r\ty\n",
        inductive_valid_tsv="y\t_r\tx\n",
        inductive_test_tsv="y\t_r\ty\n",
    )
    graph = load_graph(folder)
    assert {name: split.tolist() for name, split in graph.splits.items()} == {
        "inductive_train": [[3, 0, 4]],
        "inductive_valid": [[4, 0, 3]],
        "inductive_test": [[4, 0, 4]],
    }
    assert graph.candidates("test").tolist() == [0, 1, 2]
    assert graph.candidates("inductive_test").tolist() == [3, 4]
    (folder / "inductive_train.tsv").unlink()
    assert f"{folder}: no inductive_train.tsv" in message(folder)


BROKEN = {
    "missing file": (
        {"valid_tsv": None},
        "{folder}: no valid.tsv (plain or .gz); add it. The folder has entities.tsv",
    ),
    "missing entities": ({"entities_tsv": None}, "{folder}: no entities.tsv"),
    "missing column": (
        {"train_tsv": "c\t_r\tc\nc\t_r\n"},
        "{folder}/train.tsv, line 2: 2 columns ('c', '_r'), but 3 are needed (head, relation, tail); add",
    ),
    "too many columns": ({"test_tsv": "c\t_r\tc\t1\n"}, "{folder}/test.tsv, line 1: 4 columns"),
    "two wrongs are no right": (
        {"train_tsv": "c\t_r\nc\t_r\tc\tc\n"},
        "{folder}/train.tsv, line 1: 2 columns",
    ),
    "no description column": (
        {"entities_tsv": "c\tC\n"},
        "{folder}/entities.tsv, line 1: 2 columns ('c', 'C'), but 3 are needed (id, name, description); end the line",
    ),
    "blank line": ({"relations_tsv": "_r\tis\n\n_s\thas\n"}, "{folder}/relations.tsv, line 2: is blank"),
    "unknown entity": (
        {"valid_tsv": "c\t_r\tc\n0260881\t_r\tc\n"},
        "{folder}/valid.tsv, line 2: unknown entity id '0260881' as head (did you mean '00260881'?); correct it",
    ),
    "unknown tail, nothing like it": (
        {"valid_tsv": "c\t_r\tzzzz\n"},
        "{folder}/valid.tsv, line 1: unknown entity id 'zzzz' as tail; correct it, or add it to the entity file",
    ),
    "unknown relation": (
        {"test_tsv": "c\t_rr\tc\n"},
        "{folder}/test.tsv, line 1: unknown relation id '_rr' as relation (did you mean '_r'?)",
    ),
    "duplicate entity": (
        {"entities_tsv": FILES["entities.tsv"] + "null\tagain\t\n"},
        "{folder}/entities.tsv, line 4: entity id 'null' is also on line 2; keep one",
    ),
    "duplicate relation": (
        {"relations_tsv": "_r\tis\n_s\thas\n_r\tis\n"},
        "{folder}/relations.tsv, line 3: relation id '_r' is also on line 1; keep one",
    ),
    "empty id": (
        {"entities_tsv": "c\tC\t\n\tB\t\n"},
        "{folder}/entities.tsv, line 2: the entity id is empty",
    ),
    "empty split": ({"test_tsv": ""}, "{folder}/test.tsv: is empty"),
    "empty inductive split": (
        {"inductive_train_tsv": ""},
        "{folder}/inductive_train.tsv: is empty",
    ),
    "bad UTF-8": (
        {"entities_tsv": b"c\tC\t\nd\tcaf\xe9\t\n"},
        "{folder}/entities.tsv, line 2: not UTF-8 at byte offset 10 (byte 0xe9); convert the file, for example: iconv",
    ),
    "neither name nor description": (
        {"entities_tsv": FILES["entities.tsv"] + "d\t\t\n"},
        "{folder}/entities.tsv, line 4: entity 'd' has neither name nor description",
    ),
    "CRLF": (
        {"train_tsv": "c\t_r\tc\nc\t_s\tc\r\n"},
        "{folder}/train.tsv, line 2: ends with CRLF (Windows line ends); run: sed -i 's/\\r$//' {folder}/train.tsv",
    ),
    "header of triples": (
        {"train_tsv": "Subject\tpredicate\tobject\n" + FILES["train.tsv"]},
        "{folder}/train.tsv, line 1: a header (Subject, predicate, object) where data starts; delete this line",
    ),
    "header of entities": (
        {"entities_tsv": "id\tname\tdescription\n" + FILES["entities.tsv"]},
        "{folder}/entities.tsv, line 1: a header (id, name, …) where data starts; delete this line",
    ),
    "header of relations": (
        {"relations_tsv": "relation_id\tname\n" + FILES["relations.tsv"]},
        "{folder}/relations.tsv, line 1: a header",
    ),
    "not a gzip file": (
        {"train_tsv": None, "train_tsv.gz": b"c\t_r\tc\n"},
        "{folder}/train.tsv.gz: damaged gzip file",
    ),
    "cut gzip file": (
        {"train_tsv": None, "train_tsv.gz": gzip.compress(FILES["train.tsv"].encode())[:-12]},
        "{folder}/train.tsv.gz: damaged gzip file",
    ),
    "plain and gzip": ({"train_tsv.gz": b""}, "{folder}: has both train.tsv and train.tsv.gz; delete one"),
    "CRLF in gzip": (
        {"train_tsv": None, "train_tsv.gz": gzip.compress(b"c\t_r\tc\r\n")},
        "{folder}/train.tsv.gz, line 1: ends with CRLF (Windows line ends); gunzip it, then run: "
        "sed -i 's/\\r$//' {folder}/train.tsv",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_say_file_line_and_remedy(tmp_path, case):
    changes, expected = BROKEN[case]
    folder = write(tmp_path / "broken", **changes)
    found = message(folder)
    assert found.startswith(expected.format(folder=folder)), found


def test_damage_in_the_middle_of_a_gzip_file(tmp_path):
    data = bytearray(gzip.compress("".join(f"c\t_r\tc{i}\n" for i in range(999)).encode()))
    data[len(data) // 2] ^= 0xFF
    folder = write(tmp_path / "broken", **{"train_tsv": None, "train_tsv.gz": bytes(data)})
    assert message(folder).startswith(f"{folder}/train.tsv.gz: damaged gzip file")


def test_entities_may_be_called_like_a_header(tmp_path):
    folder = write(
        tmp_path / "odd",
        entities_tsv="head\thead\t\ntail\ttail\t\nentity\tentity\t\n",
        relations_tsv="relation\tis\n",
        train_tsv="head\trelation\ttail\n",
        valid_tsv="tail\trelation\thead\n",
        test_tsv="tail\trelation\tentity\n",
    )
    assert load_graph(folder).train.tolist() == [[0, 0, 1]]


def test_a_path_that_is_nothing(tmp_path):
    assert "(did you mean 'world'?)" in message("wrld")
    assert "is neither a folder, nor a registered graph" in message(tmp_path / "nobody" / "nothing")
    assert "is neither a folder" in message("./nobody/nothing")
    file = tmp_path / "train.tsv"
    file.write_text("a\n")
    assert message(file).startswith(f"{file}: is a file; give the folder")
    (tmp_path / "empty").mkdir()
    assert message(tmp_path / "empty").endswith("no train.tsv (plain or .gz); add it. The folder has no files")


def test_options_are_for_datasets_only(tmp_path):
    folder = write(tmp_path / "mine")
    assert message(folder, subset="x") == f"{folder}: subset apply to Hub datasets only; leave them out"
    assert "unknown option 'subst' (did you mean 'subset'?)" in message(folder, subst="x")


def test_duplicates_and_overlaps_warn_once_with_counts(tmp_path):
    folder = write(tmp_path / "mine", train_tsv="c\t_r\tc\nc\t_s\t00260881\nc\t_r\tc\nc\t_r\tc\n")
    with pytest.warns(UserWarning) as caught:
        graph = load_graph(folder)
    assert [str(warning.message) for warning in caught] == [
        "graph 'mine': 2 duplicate triples in train; 1 triples of valid are in train as well; "
        "1 triples of test are in train as well"
    ]
    assert caught[0].filename == __file__
    assert len(graph.train) == 4


def test_registering_a_graph_is_one_function(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_REGISTERED", dict(sources._REGISTERED))
    folder = write(tmp_path / "mine")

    @sources.register("tiny")
    def tiny() -> KnowledgeGraph:
        return sources.load_folder(folder, name="tiny")

    assert registered_names() == ["tiny", "world"]
    assert load_graph("tiny").checksum() == load_graph(folder).checksum()
    assert "(did you mean 'tiny'?)" in message("tinny")


def test_world_is_bundled():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = load_graph("world")
    assert graph.name == "world"
    assert min(len(graph.train), len(graph.valid), len(graph.test)) > 0


# KG-BERT and SimKGC

TRIPLES = {"train.tsv": "01\t_is_a\t02\n", "dev.tsv": "02\t_is_a\t01\n", "test.tsv": "02\t_is_a\t02\n"}


def test_kgbert_with_name_and_gloss_in_one_text(tmp_path):
    texts = {
        "entity2text.txt": '09\tunused, in no triple\n02\tcat, a pet; "meow", it says\n01\tdog\n',
        "relation2text.txt": "_is_a\tis a\n",
    }
    graph = load_graph(write(tmp_path / "kgbert", TRIPLES | texts))
    assert graph.entity_ids == ["02", "01"]
    assert graph.entity_names == ["cat", "dog"]
    assert graph.entity_descriptions == ['a pet; "meow", it says', ""]
    assert graph.relation_names == ["is a"]
    assert [graph.split(name).tolist() for name in graph.split_names] == [
        [[1, 0, 0]],
        [[0, 0, 1]],
        [[0, 0, 0]],
    ]


def test_kgbert_with_long_texts_and_lists(tmp_path):
    texts = {
        "entity2text.txt": "01\tDog, the\n02\tCat\n03\tunused\n",
        "entity2textlong.txt": "02\ta  pet\twith a tab\n01\tbarks\n",
        "relation2text.txt": "_is_a\tis a\n",
        "entities.txt": "01\n02\n03\n",
        "relations.txt": "_is_a\n",
    }
    graph = load_graph(write(tmp_path / "kgbert", TRIPLES | texts))
    assert graph.entity_ids == ["01", "02", "03"]  # the list counts, used or not
    assert graph.entity_names == ["Dog, the", "Cat", "unused"]
    assert graph.entity_descriptions == ["barks", "a pet with a tab", ""]


def test_kgbert_errors_name_file_and_line(tmp_path):
    texts = {"entity2text.txt": "01\tdog\n02\n", "relation2text.txt": "_is_a\tis a\n"}
    folder = write(tmp_path / "kgbert", TRIPLES | texts)
    assert message(folder).startswith(f"{folder}/entity2text.txt, line 2: entity '02' has neither name nor desc")
    write(folder, {"entity2text.txt": "01\tdog\n02\tcat\n01\tdog\n"})
    assert message(folder).startswith(f"{folder}/entity2text.txt, line 3: entity id '01' is also on line 1")
    write(folder, {"entity2text.txt": "01\tdog\n03\tcat\n"})
    assert message(folder).startswith(f"{folder}/train.tsv, line 1: unknown entity id '02' as tail")
    write(folder, {"entities.txt": "01\n02\n"})
    assert message(folder).startswith(f"{folder}/entities.txt, line 2: entity '02' has neither name nor desc")
    write(folder, {"entity2text.txt": "01\tdog\n\tcat\n"})
    assert message(folder).startswith(f"{folder}/entity2text.txt, line 2: no id before the tab")
    write(folder, {"entity2text.txt": "01\tdog\n02\tcat\n", "relation2text.txt": "_is_b\tis b\n"})
    assert "unknown relation id '_is_a' as relation (did you mean '_is_b'?)" in message(folder)
    (folder / "dev.tsv").unlink()
    assert message(folder).startswith(f"{folder}: no dev.tsv or valid.tsv or valid.txt or dev.txt (plain or .gz)")


def test_simkgc_wordnet(tmp_path):
    files = {name.replace("dev", "valid").replace(".tsv", ".txt"): text for name, text in TRIPLES.items()}
    files["wordnet-mlj12-definitions.txt"] = "01\t__domestic_dog_NN_1\tbarks; it\n02\t__cat_NN_2\tmeows\n"
    graph = load_graph(write(tmp_path / "WN18RR", files))
    assert graph.entity_names == ["domestic dog", "cat"]
    assert graph.entity_descriptions == ["barks; it", "meows"]
    assert (graph.relation_ids, graph.relation_names) == (["_is_a"], ["is a"])


def test_simkgc_freebase(tmp_path):
    files = {name.replace("dev", "valid").replace(".tsv", ".txt"): text for name, text in TRIPLES.items()}
    files["FB15k_mid2name.txt"] = "01\tNew_York\n02\tParis\n03\tUnused\n"
    files["FB15k_mid2description.txt"] = '01\t"A \\"big\\" city.\\nIt never sleeps."@en\n'
    graph = load_graph(write(tmp_path / "FB15k237", files))
    assert graph.entity_names == ["New York", "Paris"]
    assert graph.entity_descriptions == ['A "big" city. It never sleeps.', ""]


# write_graph


def test_write_and_read_back(tmp_path, random_graph):
    for seed in range(3):
        graph = random_graph(seed)
        folder = write_graph(graph, tmp_path / "new" / f"g{seed}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the random graph has duplicates on purpose
            assert load_graph(folder).checksum() == graph.checksum()
    assert sorted(os.listdir(tmp_path / "new")) == ["g0", "g1", "g2"]


def test_write_keeps_awkward_texts_and_may_fill_an_empty_folder(tmp_path):
    graph = load_graph(write(tmp_path / "mine"))
    (tmp_path / "empty").mkdir()
    assert load_graph(write_graph(graph, tmp_path / "empty")).checksum() == graph.checksum()


def test_write_refuses_and_leaves_nothing(tmp_path, random_graph):
    graph = random_graph()
    full = write(tmp_path / "full")
    with pytest.raises(PmdError, match="exists and is not an empty folder"):
        write_graph(graph, full)
    with pytest.raises(PmdError, match="exists and is not an empty folder"):
        write_graph(graph, full / "train.tsv")
    graph.entity_descriptions[4] = "two\nlines"
    with pytest.raises(PmdError, match=r"entities.tsv, line 5: 'two\\nlines' contains a tab or a line break"):
        write_graph(graph, tmp_path / "new")
    graph.entity_descriptions[4] = ""
    object.__setattr__(graph, "splits", {"extra": graph.test})
    with pytest.raises(PmdError, match="split 'extra' has no file"):
        write_graph(graph, tmp_path / "new")
    object.__setattr__(graph, "splits", {"inductive_train": graph.test[:0]})
    with pytest.raises(PmdError, match="split 'inductive_train' of graph 'random' is empty"):
        write_graph(graph, tmp_path / "new")
    assert os.listdir(tmp_path) == ["full"]


# The real benchmarks


@pytest.mark.parametrize(
    ("name", "entities", "relations", "splits"),
    [
        ("wn18rr", 40_943, 11, [86_835, 3_034, 3_134]),
        ("umls", 135, 46, [5_216, 652, 661]),
        ("fb15k237", 14_541, 237, [272_115, 17_535, 20_466]),
        ("wn18rr_v1_inductive", 3_668, 9, [5_410, 630, 638, 1_618, 185, 188]),
    ],
)
def test_real_counts(shared_data, name, entities, relations, splits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no split has a triple twice, none shares one with another
        graph = load_graph(shared_data / name)
    assert (graph.num_entities, graph.num_relations) == (entities, relations)
    assert [len(graph.split(split)) for split in graph.split_names] == splits
    undescribed = Counter(bool(text) for text in graph.entity_descriptions)[False]
    assert undescribed == {"umls": 11, "fb15k237": 1}.get(name, 0)
    assert all(graph.entity_names)


def test_real_values(shared_data):
    graph = load_graph(shared_data / "wn18rr")
    head, relation, tail = graph.train[0].tolist()
    assert [graph.entity_ids[head], graph.relation_ids[relation], graph.entity_ids[tail]] == [
        "00260881",
        "_hypernym",
        "00260622",
    ]
    assert graph.entity_names[1] == "physical entity"
    assert graph.entity_descriptions[1] == "an entity that has physical existence"
    assert graph.relation_names[0] == "also see"


def test_real_inductive_graphs_share_no_entity(shared_data):
    graph = load_graph(shared_data / "wn18rr_v1_inductive")
    train, inductive = graph.candidates("test"), graph.candidates("inductive_test")
    assert (len(train), len(inductive)) == (2_746, 922)
    assert not set(train.tolist()) & set(inductive.tolist())
    assert len(graph.known_triples("test")) == 5_410 + 630 + 638
    assert len(graph.known_triples("inductive_valid")) == 1_618 + 185 + 188
    assert graph.visible_triples("inductive_test") is graph.splits["inductive_train"]
    assert graph.visible_triples("test") is graph.train


def test_real_data_survives_a_round_trip(shared_data, tmp_path):
    graph = load_graph(shared_data / "wn18rr_v1_inductive")
    folder = write_graph(graph, tmp_path / "copy")
    assert load_graph(folder).checksum() == graph.checksum()
    for name in ("entities.tsv", "relations.tsv", "inductive_test.tsv", "train.tsv"):
        assert (folder / name).read_bytes() == (shared_data / "wn18rr_v1_inductive" / name).read_bytes()
    shutil.rmtree(folder)

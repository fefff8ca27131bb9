"""`load_graph` and `write_graph`: what loads, to which values, and what every broken input says."""

import gzip
import os
import shutil
import warnings
from collections import Counter

import pytest

from pmd.core.errors import PmdError
from pmd.data.graphs import sources
from pmd.data.graphs.files import tsv
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph, registered_names, write_graph
from pmd.data.texts.strings import Strings

from ...says import says

# A description with what trips other readers up: a lone quote, "NA", U+2028 (a line end to str.splitlines).
FILES = {
    "entities.tsv": '00260881\tNA\tsays "hi\u2028there\nnull\tnull\t\nc\t\tonly a description\n',
    "relations.tsv": "_r\tis\n_s\thas\n",
    "train.tsv": "00260881\t_r\tnull\nnull\t_s\tc\n",
    "valid.tsv": "c\t_r\tc\n",
    "test.tsv": "c\t_s\t00260881\n",
}


@pytest.fixture(params=[tsv.BLOCK, 12], ids=["whole", "in blocks"])
def block(request, monkeypatch):
    """Files of entities are read whole, as lists, or as large ones are: in blocks, as arrays."""
    monkeypatch.setattr(tsv, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
def test_a_folder_becomes_a_graph(tmp_path, write_files):
    graph = load_graph(write_files(tmp_path / "mine", FILES))
    assert graph.name == "mine"
    assert graph.entity_ids == ["00260881", "null", "c"]
    assert graph.entity_names == ["NA", "null", "c"]  # the id stands in for a missing name
    assert graph.entity_descriptions == ['says "hi\u2028there', "", "only a description"]
    assert (graph.relation_ids, graph.relation_names) == (["_r", "_s"], ["is", "has"])
    assert graph.train.tolist() == [[0, 0, 1], [1, 1, 2]]
    assert graph.valid.tolist() == [[2, 0, 2]]
    assert graph.test.tolist() == [[2, 1, 0]]
    assert graph.splits == {} and graph.candidates() is None


def test_a_large_graph_is_the_same_in_arrays(monkeypatch):
    small = load_graph("world")
    monkeypatch.setattr(tsv, "BLOCK", 999)
    large = load_graph("world")
    assert isinstance(large.entity_ids, Strings) and isinstance(large.entity_descriptions, Strings)
    assert large.checksum() == small.checksum() and large.notes == small.notes
    assert large.entity_names == small.entity_names and large.types == small.types


@pytest.mark.parametrize("typed", ["{}isels", "{}isels/", "{}facst.nt"])
@pytest.mark.parametrize("where", ["", "{tmp}/", "graphs/"])
def test_a_misspelt_path_is_answered_by_the_nearest_beside_it(
    tmp_path, write_files, load_error, monkeypatch, typed, where
):
    monkeypatch.chdir(tmp_path)
    where = where.format(tmp=tmp_path)
    folder = tmp_path / where
    folder.mkdir(exist_ok=True)
    write_files(folder / "isles", FILES)
    (folder / "facts.nt").touch()
    (folder / "isels.png").touch()
    nearest = "facts.nt" if "nt" in typed else "isles"
    assert load_error(typed.format(where)).endswith(f"(did you mean '{where}{nearest}'?)")


def test_gzipped_equals_plain(tmp_path, write_files):
    plain = load_graph(write_files(tmp_path / "plain", FILES))
    zipped = load_graph(
        write_files(tmp_path / "zipped", {f"{name}.gz": gzip.compress(text.encode()) for name, text in FILES.items()})
    )
    assert zipped.checksum() == plain.checksum()


@pytest.mark.usefixtures("block")
def test_last_line_may_lack_its_line_feed_and_a_byte_order_mark_is_ignored(tmp_path, write_files):
    plain = load_graph(write_files(tmp_path / "plain", FILES))
    odd = {name: b"\xef\xbb\xbf" + text.removesuffix("\n").encode() for name, text in FILES.items()}
    assert load_graph(write_files(tmp_path / "odd", odd)).checksum() == plain.checksum()


@pytest.mark.usefixtures("block")
def test_windows_line_ends_are_read(tmp_path, write_files):
    plain = load_graph(write_files(tmp_path / "plain", FILES))
    windows = {name: text.replace("\n", "\r\n") for name, text in FILES.items()}
    assert load_graph(write_files(tmp_path / "windows", windows)).checksum() == plain.checksum()


def test_loading_writes_nothing(tmp_path, write_files):
    folder = write_files(tmp_path / "mine", FILES)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    load_graph(folder)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before
    assert os.listdir(tmp_path) == ["mine"]


def test_inductive_files_become_splits(tmp_path, write_files, load_error):
    folder = write_files(
        tmp_path / "two",
        FILES
        | {
            "entities.tsv": FILES["entities.tsv"] + "x\tX\t\ny\tY\t\n",
            "inductive_train.tsv": "x\t_r\ty\n",
            "inductive_valid.tsv": "y\t_r\tx\n",
            "inductive_test.tsv": "y\t_r\ty\n",
        },
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
    assert says(load_error(folder), f"{folder}: …inductive_train.tsv")


BROKEN = {
    "missing file": ({"valid.tsv": None}, "{folder}: …valid.tsv…train, test…pmd data split {folder}"),
    "missing entities": ({"entities.tsv": None}, "{folder}: …entities.tsv"),
    "missing column": (
        {"train.tsv": "c\t_r\tc\nc\t_r\n"},
        "{folder}/train.tsv, line 2: 2 columns ('c\\t_r')…3",
    ),
    "too many columns": ({"test.tsv": "c\t_r\tc\tx\n"}, "{folder}/test.tsv: column 4 holds values ('x')…drop"),
    "too few columns": ({"test.tsv": "c\t_r\n"}, "{folder}/test.tsv, line 1: 2 columns…3…(head, relation, tail)"),
    "two wrongs are no right": ({"train.tsv": "c\t_r\nc\t_r\tc\tc\n"}, "{folder}/train.tsv, line 2: 4 columns…2"),
    "no description column": (
        {"entities.tsv": "c\tC\n"},
        "{folder}/entities.tsv, line 1: 2 columns ('c', 'C')…3…(id, name, description)…tab",
    ),
    "blank line": ({"relations.tsv": "_r\tis\n\n_s\thas\n"}, "{folder}/relations.tsv, line 2: …blank"),
    "unknown entity": (
        {"valid.tsv": "c\t_r\tc\n0260881\t_r\tc\n"},
        "{folder}/valid.tsv, line 2: …entity…'0260881'…head…'00260881'",
    ),
    "unknown tail, nothing like it": (
        {"valid.tsv": "c\t_r\tzzzz\n"},
        "{folder}/valid.tsv, line 1: …entity…'zzzz'…tail",
    ),
    "unknown relation": ({"test.tsv": "c\t_rr\tc\n"}, "{folder}/test.tsv, line 1: …relation…'_rr'…'_r'"),
    "duplicate entity": (
        {"entities.tsv": FILES["entities.tsv"] + "null\tagain\t\n"},
        "{folder}/entities.tsv, line 4: …'null'…line 2",
    ),
    "duplicate relation": (
        {"relations.tsv": "_r\tis\n_s\thas\n_r\tis\n"},
        "{folder}/relations.tsv, line 3: …'_r'…line 1",
    ),
    "empty id": ({"entities.tsv": "c\tC\t\n\tB\t\n"}, "{folder}/entities.tsv, line 2: …id…empty"),
    "empty split": ({"test.tsv": ""}, "{folder}/test.tsv: …empty"),
    "empty inductive split": ({"inductive_train.tsv": ""}, "{folder}/inductive_train.tsv: …empty"),
    "bad UTF-8": (
        {"entities.tsv": b"c\tC\t\nd\tcaf\xe9\t\n"},
        "{folder}/entities.tsv, line 2: byte 6 (0xe9) is not UTF-8…iconv",
    ),
    "neither name nor description": (
        {"entities.tsv": FILES["entities.tsv"] + "d\t\t\n"},
        "{folder}/entities.tsv, line 4: …'d'…name…description",
    ),
    "header of triples": (
        {"train.tsv": "Subject\tpredicate\tobject\n" + FILES["train.tsv"]},
        "{folder}/train.tsv, line 1: …header (Subject, predicate, object)…valid.tsv",
    ),
    "header of entities": (
        {"entities.tsv": "id\tname\tdescription\n" + FILES["entities.tsv"]},
        "{folder}/entities.tsv, line 1: …header (id, name",
    ),
    "header of relations": (
        {"relations.tsv": "relation_id\tname\n" + FILES["relations.tsv"]},
        "{folder}/relations.tsv, line 1: …header",
    ),
    "not a gzip file": ({"train.tsv": None, "train.tsv.gz": b"c\t_r\tc\n"}, "{folder}/train.tsv.gz: …gzip"),
    "cut gzip file": (
        {"train.tsv": None, "train.tsv.gz": gzip.compress(FILES["train.tsv"].encode())[:-12]},
        "{folder}/train.tsv.gz: …gzip",
    ),
    "plain and gzip": ({"train.tsv.gz": b""}, "{folder}: …train.tsv…train.tsv.gz"),
}


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_say_file_line_and_remedy(tmp_path, case, write_files, load_error):
    changes, expected = BROKEN[case]
    folder = write_files(tmp_path / "broken", FILES | changes)
    assert says(load_error(folder), expected.format(folder=folder))


def test_damage_in_the_middle_of_a_gzip_file(tmp_path, write_files, load_error):
    data = bytearray(gzip.compress("".join(f"c\t_r\tc{i}\n" for i in range(999)).encode()))
    data[len(data) // 2] ^= 0xFF
    folder = write_files(tmp_path / "broken", FILES | {"train.tsv": None, "train.tsv.gz": bytes(data)})
    assert says(load_error(folder), f"{folder}/train.tsv.gz: …gzip")


def test_entities_may_be_called_like_a_header(tmp_path, write_files):
    folder = write_files(
        tmp_path / "odd",
        FILES
        | {
            "entities.tsv": "head\thead\t\ntail\ttail\t\nentity\tentity\t\n",
            "relations.tsv": "relation\tis\n",
            "train.tsv": "head\trelation\ttail\n",
            "valid.tsv": "tail\trelation\thead\n",
            "test.tsv": "tail\trelation\tentity\n",
        },
    )
    assert load_graph(folder).train.tolist() == [[0, 0, 1]]


def test_a_path_that_is_nothing(tmp_path, load_error):
    assert says(load_error("wrld"), "'world'")
    assert says(load_error(tmp_path / "nobody" / "nothing"), f"{tmp_path}/nobody/nothing…folder")
    assert says(load_error("./nobody/nothing"), "nobody/nothing…folder")
    file = tmp_path / "train.tsv"
    file.write_text("a\n")
    assert says(load_error(file), f"{file}, line 1: 1 column, …head, relation, tail")
    (tmp_path / "model.bin").write_text("a\n")
    assert says(load_error(tmp_path / "model.bin"), f"{tmp_path}/model.bin: …ending")
    (tmp_path / "empty").mkdir()
    assert says(load_error(tmp_path / "empty"), f"{tmp_path}/empty: …train.tsv…no files")


def test_options_are_for_datasets_only(tmp_path, write_files, load_error):
    folder = write_files(tmp_path / "mine", FILES)
    assert says(load_error(folder, subset="x"), f"{folder}: …subset")
    assert says(load_error(folder, subst="x"), "'subst'…'subset'")


def test_duplicates_and_overlaps_warn_once_with_counts(tmp_path, write_files):
    folder = write_files(tmp_path / "mine", FILES | {"train.tsv": "c\t_r\tc\nc\t_s\t00260881\nc\t_r\tc\nc\t_r\tc\n"})
    with pytest.warns(UserWarning) as caught:
        graph = load_graph(folder)
    (warning,) = caught
    assert says(str(warning.message), "'mine'…train: 2…valid…train…: 1…test…train…: 1")
    assert warning.filename == __file__
    assert len(graph.train) == 4


def test_registering_a_graph_is_one_function(tmp_path, monkeypatch, write_files, load_error):
    monkeypatch.setattr(sources, "_REGISTERED", dict(sources._REGISTERED))
    folder = write_files(tmp_path / "mine", FILES)

    @sources.register("tiny")
    def tiny() -> KnowledgeGraph:
        return sources.load_folder(folder, name="tiny")

    assert registered_names() == ["tiny", "world"]
    assert load_graph("tiny").checksum() == load_graph(folder).checksum()
    assert says(load_error("tinny"), "'tiny'")


def test_world_is_bundled():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = load_graph("world")
    assert graph.name == "world"
    assert min(len(graph.train), len(graph.valid), len(graph.test)) > 0


# write_graph


def test_write_and_read_back(tmp_path, random_graph):
    for seed in range(3):
        graph = random_graph(seed)
        folder = write_graph(graph, tmp_path / "new" / f"g{seed}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the random graph has duplicates on purpose
            assert load_graph(folder).checksum() == graph.checksum()
    assert sorted(os.listdir(tmp_path / "new")) == ["g0", "g1", "g2"]


def test_write_keeps_awkward_texts_and_may_fill_an_empty_folder(tmp_path, write_files):
    graph = load_graph(write_files(tmp_path / "mine", FILES))
    (tmp_path / "empty").mkdir()
    assert load_graph(write_graph(graph, tmp_path / "empty")).checksum() == graph.checksum()


def test_write_refuses_and_leaves_nothing(tmp_path, random_graph, write_files):
    graph = random_graph()
    full = write_files(tmp_path / "full", FILES)
    with pytest.raises(PmdError, match="exists"):
        write_graph(graph, full)
    with pytest.raises(PmdError, match="exists"):
        write_graph(graph, full / "train.tsv")
    graph.entity_descriptions[4] = "two\nlines"
    with pytest.raises(PmdError, match=r"entities.tsv, line 5: 'two\\nlines'"):
        write_graph(graph, tmp_path / "new")
    graph.entity_descriptions[4] = ""
    object.__setattr__(graph, "splits", {"extra": graph.test})
    with pytest.raises(PmdError, match="'extra'"):
        write_graph(graph, tmp_path / "new")
    object.__setattr__(graph, "splits", {"inductive_train": graph.test[:0]})
    with pytest.raises(PmdError, match=r"'inductive_train'.*'random'"):
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


def test_triples_alone_are_enough(tmp_path, write_files):
    files = {"train.tsv": "b\tr\ta\na\ts\tb\n", "valid.tsv": "a\tr\tb\n", "test.tsv": "c\tr\ta\n"}
    with pytest.warns(UserWarning, match=r"'bare': .*ids serve as names"):
        graph = load_graph(write_files(tmp_path / "bare", files))
    assert graph.entity_ids == graph.entity_names == ["a", "b", "c"] and graph.relation_names == ["r", "s"]
    assert graph.train.tolist() == [[1, 0, 0], [0, 1, 1]] and graph.test.tolist() == [[2, 0, 0]]

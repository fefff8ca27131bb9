"""What is in files of triples and texts is never taken for something else in silence."""

import bz2
import gzip

import pyarrow as pa
import pytest

from pmd.data.graphs.sources import load_graph

from ...says import says

pytestmark = pytest.mark.filterwarnings("ignore:graph '")

SPLITS = {"train": "a\tr\tb\nb\tr\tc\n", "valid": "c\tr\ta\n", "test": "a\tr\tc\n"}
POSITIONS = [[[0, 0, 1], [1, 0, 2]], [[2, 0, 0]], [[0, 0, 2]]]


def write(folder, ending=".txt", **changed):
    for split, text in {**SPLITS, **changed}.items():
        data = text if isinstance(text, bytes) else text.encode()
        (folder / f"{split}{ending}").write_bytes(data)
    return folder


def positions(graph):
    assert graph.entity_ids == ["a", "b", "c"] and graph.relation_ids == ["r"]
    return [graph.split(split).tolist() for split in SPLITS]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("blank", ["", "\n\n", "\t\t\n", "\r\n\r\n"])
def test_line_ends_and_blank_lines_at_the_end(tmp_path, end, blank):
    texts = {split: "\ufeff" + text.replace("\n", end) + blank for split, text in SPLITS.items()}
    assert positions(load_graph(write(tmp_path, **texts))) == POSITIONS


def test_a_lone_carriage_return_ends_a_line(tmp_path, load_error):
    write(tmp_path, train="a\rx\tr\tb\nb\tr\tc\n")
    assert says(load_error(tmp_path), f"{tmp_path}/train.txt, line 2: 3 columns …, but the first line has 1; …")
    write(tmp_path, train="a\tr\tb\n\nb\tr\tc\n")
    assert says(load_error(tmp_path), f"{tmp_path}/train.txt, line 2: the head is empty; …")


@pytest.mark.parametrize(("separator", "ending"), [(", ", ".csv"), (" , ", ".txt"), (";", ".csv"), ("; ", ".csv")])
def test_blanks_after_commas_and_semicolons_belong_to_no_id(tmp_path, separator, ending):
    texts = {split: text.replace("\t", separator) for split, text in SPLITS.items()}
    assert positions(load_graph(write(tmp_path, ending, **texts))) == POSITIONS


@pytest.mark.parametrize(
    ("odd", "shown"),
    [(" a", "' a'"), ("a\u200b", r"'a\u200b'"), ("a\0", r"'a\x00'"), ("a\xa0", r"'a\xa0'"), ("a\ufeff", r"'a\ufeff'")],
)
def test_ids_that_look_the_same_are_said(tmp_path, odd, shown):
    graph = load_graph(write(tmp_path, valid=f"b\tr\t{odd}\n"))
    assert graph.num_entities == 4 and odd in graph.entity_ids
    (note,) = [note for note in graph.notes if "differ" in note]
    assert says(note, "1 entities differ from others in blanks, …as …") and shown in note and "'a'" in note


def test_ids_of_two_unicode_forms_are_said_but_one_form_is_not(tmp_path):
    graph = load_graph(write(tmp_path, train="Caf\u00e9\tr\tb\nb\tr\tc\n", valid="b\tr\tCafe\u0301\n"))
    assert any(r"'Cafe\u0301' and 'Caf\xe9'" in note for note in graph.notes)
    graph = load_graph(write(tmp_path, train="Cafe\u0301\tr\tb\nb\tr\tc\n", valid="b\tr\tc\n"))
    assert not any("differ" in note for note in graph.notes) and "Cafe\u0301" in graph.entity_ids


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"a\tr\tb\n", mtime=0), "is compressed by gzip; add .gz to its name"),
        (bz2.compress(b"a\tr\tb\n"), "is compressed by bzip2; add .bz2 to its name"),
        (pa.compress(b"a\tr\tb\n", "zstd", asbytes=True), "is compressed by zstd; add .zst to its name"),
        (b"PK\3\4rest", "is a zip archive; unpack it"),
        (b"PAR1rest", "is a Parquet file; give its name the ending .parquet"),
        (b"<http://a> <http://r> <http://b> .\n", "holds N-Triples; give its name the ending .nt"),
        (b"_:a\t<http://r>\t<http://b> .\r\n", "holds N-Triples; give its name the ending .nt"),
    ],
)
def test_contents_of_another_kind_are_named(tmp_path, load_error, data, message):
    assert says(load_error(write(tmp_path, train=data)), f"{tmp_path}/train.txt: {message}")


@pytest.mark.parametrize("pack", [None, gzip.compress, bz2.compress])
@pytest.mark.parametrize("lines_before", [1, 20_000])  # within what is looked at first, and beyond
def test_a_byte_that_is_not_utf8_is_named(tmp_path, load_error, pack, lines_before):
    data = b"a\tr\tb\n" * lines_before + "é\tr\t".encode() + b"caf\xe9\n" + b"a\tr\tb\n"
    name = f"train.tsv{ {None: '', gzip.compress: '.gz', bz2.compress: '.bz2'}[pack] }"
    (tmp_path / name).write_bytes(pack(data) if pack else data)
    place = f"{tmp_path}/{name}, line {lines_before + 1}: byte 9 (0xe9) is not UTF-8"
    assert says(load_error(tmp_path), f"{place}; mend that character; if the whole file has another encoding, …iconv")


def test_a_byte_of_json_that_is_not_utf8_is_named(tmp_path, load_error):
    rows = [b'{"head": "a", "relation": "r", "tail": "b"}\n', b'{"head": "a", "relation": "r", "tail": "\xe9"}\n']
    (tmp_path / "train.jsonl").write_bytes(b"".join(rows))
    assert says(load_error(tmp_path), f"{tmp_path}/train.jsonl, line 2: byte 41 (0xe9) is not UTF-8…")


@pytest.mark.parametrize(("separator", "name"), [("\t", "tab"), (",", "comma"), (";", "semicolon")])
def test_a_line_without_the_separator_of_the_others_is_refused(tmp_path, load_error, separator, name):
    row = separator.join(("a", "r", "b"))
    (tmp_path / "train.txt").write_text(f"{row}\n" * 20 + "a affects b\n")
    message = f"train.txt, line 21: 1 column ('a affects b'), but the first line has 3; mend the line: columns are separated by a {name}"
    assert load_error(tmp_path) == f"{tmp_path}/{message}"


def test_an_unusual_header_of_our_entities_is_refused(tmp_path, load_error):
    write(tmp_path, ".tsv")
    (tmp_path / "entities.tsv").write_text("mid\tlabel\tsense\na\tA\t\nb\tlabel\t\nc\tC\t\n")
    (tmp_path / "relations.tsv").write_text("r\tR\n")
    assert says(load_error(tmp_path), f"{tmp_path}/entities.tsv, line 1: a header (mid, label, …) where data starts; …")
    (tmp_path / "entities.tsv").write_text("a\tlabel\t\nb\tB\t\nc\tC\t\n")  # an entity of this name
    assert load_graph(tmp_path).entity_names == ["label", "B", "C"]


def test_texts_are_found_in_capital_letters(tmp_path):
    write(tmp_path, ".TSV")
    (tmp_path / "Entities.TSV").write_text("a\tA\t\nb\tB\t\nc\tC\t\n")
    (tmp_path / "relations.tsv.GZ").write_bytes(gzip.compress(b"r\tR\n"))
    graph = load_graph(tmp_path)
    assert positions(graph) == POSITIONS and (graph.entity_names, graph.relation_names) == (["A", "B", "C"], ["R"])


def test_an_id_of_two_names_or_numbers_is_refused(tmp_path, load_error):
    write(tmp_path)
    (tmp_path / "nodes.csv").write_text("id,name\na,A\nb,B\na,A\na,other\n")
    assert says(load_error(tmp_path), f"{tmp_path}/nodes.csv, line 1: id 'a' is called 'A' and 'other'; keep one")
    (tmp_path / "nodes.csv").write_text("id,name\na,A\nb,B\na,A\n")
    assert load_graph(tmp_path).entity_names == ["A", "B", "c"]
    (tmp_path / "entities.dict").write_text("0\ta\n1\tb\n2\tc\n3\ta\n")
    assert says(load_error(tmp_path), f"{tmp_path}/entities.dict: id 'a' has two numbers; mend the file")


def test_lists_that_are_not_read_are_said(tmp_path):
    write(tmp_path)
    (tmp_path / "entities.csv").write_text("id,name\na,A\n")
    assert "entities.csv is not read; call it nodes.csv if it holds names" in load_graph(tmp_path).notes


def test_what_is_left_out_of_a_table_of_nodes_is_said(tmp_path):
    write(tmp_path)
    (tmp_path / "nodes.csv").write_text("id,nmae,colour\na,A,red\nB,B,\nno,N,\n")
    columns, ids = (note for note in load_graph(tmp_path).notes if "left out" in note)
    assert says(
        columns, "nodes.csv, line 1: columns left out: 'nmae' (did you mean 'name'?), 'colour'; read are id, name"
    )
    assert says(ids, "nodes.csv: left out are 2 of 3 ids, which no triple has ('B', 'no')…write them as the triples do")
    (tmp_path / "nodes.csv").write_text("id,name\na,A\n")
    assert not [note for note in load_graph(tmp_path).notes if "left out" in note]


def test_a_table_of_nodes_of_other_triples_is_not_used(tmp_path):
    write(tmp_path)
    (tmp_path / "nodes.csv").write_text(
        "id,name,colour\nA,one,red\nA,two,red\nno,N,\n"
    )  # not refused for its two names
    graph = load_graph(tmp_path)
    assert graph.entity_names == ["a", "b", "c"] and not any("come from" in note for note in graph.notes)
    note, names = graph.notes
    end = "('A', 'no'); where they are meant, write them as the triples do"
    assert note == f"nodes.csv is not used: no triple has any of its 2 ids {end}" and "ids serve as names" in names
    (tmp_path / "entities.dict").write_text("0\ta\n1\tb\n2\tc\n3\tno\n")  # listed, though in no triple
    (tmp_path / "nodes.csv").write_text("id,name\nno,N\n")
    assert load_graph(tmp_path).entity_names == ["a", "b", "c", "N"]


def test_relations_that_text_models_cannot_tell_apart_are_said(tmp_path):
    with pytest.warns(
        UserWarning, match="the relation 'inverse_r' has the text that text models ask for heads of 'r' w"
    ):
        load_graph(write(tmp_path, train="a\tr\tb\nb\tinverse_r\tc\na\tr_inverse\tc\n"))
    with pytest.warns(
        UserWarning, match="the relations 'has part' and 'has_part' have the same name: text models"
    ) as all:
        load_graph(write(tmp_path, train="a\tr\tb\nb\thas_part\tc\na\thas part\tc\n"))
    assert not any("heads of" in str(warning.message) for warning in all)

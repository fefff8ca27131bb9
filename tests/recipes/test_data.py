"""`pmd data` as it is typed."""

import json
import re
from pathlib import Path

import pytest

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError


def test_info_of_the_bundled_graph(capsys):
    graph = pmd.load_graph("world")
    dispatch(["data", "info", "world"])
    printed = capsys.readouterr().out
    assert f"world: {graph.num_entities:,} entities, {graph.num_relations} relations" in printed
    row = next(line for line in printed.splitlines() if line.startswith("| train"))
    assert row.split("|")[2].strip() == f"{len(graph.train):,}"
    dispatch(["data", "info", "world", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["splits"]["test"]["triples"] == len(graph.test) and found["checksum"] == graph.checksum()
    assert found["described"] == sum(map(bool, graph.entity_descriptions)) and found["suspects"] == []


def test_suspects_are_named(tmp_path, capsys):
    files = {
        "entities.tsv": "a\tA\t\nb\tB\t\nc\tC\t\n",
        "relations.tsv": "of\tpart of\nhas\thas part\n",
        "train.tsv": "a\tof\tb\nb\thas\ta\nb\thas\tc\n",
        "valid.tsv": "c\tof\ta\n",
        "test.tsv": "c\tof\tb\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    dispatch(["data", "info", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out)["suspects"] == []  # of so few triples nothing is said
    dispatch(["data", "info", str(tmp_path), "--fewest=1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["suspects"] == [{"relation": "of", "other": "has", "inverse": True, "share": 1.0, "triples": 1}]
    assert [found["splits"][name]["leaked"] for name in ("train", "valid", "test")] == [0, 0, 1]
    dispatch(["data", "info", str(tmp_path), "--fewest=1", "--share=0.5"])
    rows = [line for line in capsys.readouterr().out.splitlines() if "inverse" in line]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells == [["has part", "part of", "inverse", "50%", "2"], ["part of", "has part", "inverse", "100%", "1"]]


def test_what_cannot_be_split_is_described(tmp_path, capsys):
    file = tmp_path / "facts.csv"
    file.write_text("head,relation,tail\nq1,lies in,q2\n")
    (tmp_path / "nodes.csv").write_text("id,name,description,type\nq1,Aru,a small island in the north,island\n")
    why = "1 triple cannot be split by valid 0.05 and test 0.1: 0 of them can leave train, since every entity and relation keeps one there"
    with pytest.warns(pmd.PmdWarning, match=f"the triples are not split: {why}; collect more triples"):
        dispatch(["data", "info", str(file)])
    printed = capsys.readouterr().out
    assert "2 entities, 1 relations" in printed and "50.0% of the entities have a name" in printed
    assert "| train" in printed and "| valid" not in printed
    with pytest.raises(PmdError, match=f"^{why}; collect more triples$"):
        pmd.load_graph(file)
    with pytest.raises(PmdError, match=r"valid 0\.0 and test 0\.0 leave nothing"):
        dispatch(["data", "split", str(file), f"--out={tmp_path / 'new'}", "--valid=0", "--test=0"])


def test_the_table_of_the_page_is_read_and_split(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "graphs.md").read_text(encoding="utf-8")
    header, *rows = re.search(r"```\n(facts\.csv +nodes\.csv\n.*?)```", page, re.DOTALL)[1].splitlines()
    at = header.index("nodes.csv")
    for file, columns in (("facts", slice(0, at)), ("nodes", slice(at, None))):
        lines = [row[columns].strip() for row in rows]
        (tmp_path / f"{file}.csv").write_text("".join(f"{line}\n" for line in lines if line))
    graph = pmd.load_graph(tmp_path / "facts.csv")
    assert graph.sizes == "7 entities, 4 relations, 12 / 1 / 1 triples"
    assert graph.entity_names == ["Aru", "Norland", "Belo", "q4", "q5", "Sudland", "q7"]
    dispatch(["data", "split", str(tmp_path / "facts.csv"), "--valid=0.2", f"--out={tmp_path / 'my_graph'}"])
    assert pmd.load_graph(tmp_path / "my_graph").sizes == "7 entities, 4 relations, 10 / 3 / 1 triples"


def test_a_folder_without_valid_is_described_as_it_is(tmp_path, capsys):
    for split, rows in (("train", "a\tr\tb\nb\tr\tc\n"), ("test", "a\tr\tc\n")):
        (tmp_path / f"{split}.tsv").write_text(rows)
    dispatch(["data", "info", str(tmp_path), "--json"])
    splits = json.loads(capsys.readouterr().out)["splits"]
    assert {name: split["triples"] for name, split in splits.items()} == {"train": 2, "test": 1}


def test_convert_and_back(tmp_path, capsys):
    dispatch(["data", "convert", "world", "--to=kg-bert", f"--out={tmp_path / 'bert'}"])
    assert "1,887 entities" in capsys.readouterr().out
    dispatch(["data", "convert", str(tmp_path / "bert"), f"--out={tmp_path / 'tsv'}"])
    assert pmd.load_graph(str(tmp_path / "tsv")).checksum() == pmd.load_graph("world").checksum()


def test_convert_to_one_file_of_ntriples(tmp_path, capsys):
    pytest.importorskip("pyoxigraph")
    arguments = ["--to=nt", "--base=https://kg.example/", f"--out={tmp_path / 'world.nt'}"]
    dispatch(["data", "convert", "world", *arguments])
    assert "world.nt: 1,887 entities" in capsys.readouterr().out
    graph = pmd.load_graph("world")
    key, name = graph.entity_ids[5], graph.entity_names[5]
    label = f'<https://kg.example/{key.replace(":", "%3A")}> <http://www.w3.org/2000/01/rdf-schema#label> "{name}" .'
    assert label in (tmp_path / "world.nt").read_text().splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inform"], "'inform'"),
        (["info", "wrld"], "neither a folder"),
        (["convert", "world", "--out=new", "--to=csv"], "--to|to"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, message):
    with pytest.raises(PmdError, match=message) as caught:
        dispatch(["data", *arguments])
    assert "\n" not in str(caught.value)


def test_help_names_both(capsys):
    dispatch(["data"])
    printed = capsys.readouterr().out
    assert "pmd data info my_graph" in printed and "pmd data convert my_graph" in printed

"""`pmd data` as it is typed."""

import json

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

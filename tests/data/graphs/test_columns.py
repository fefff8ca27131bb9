"""What is read of a file where not all of it is needed."""

import pytest

from pmd.core.errors import PmdError
from pmd.data.graphs.files import tsv
from pmd.data.graphs.files.tsv import count_lines, read_columns
from pmd.models.kge.folder import load_counted, load_for, save
from pmd.models.kge.model import KgeModel

from ...tiny import tiny_graph


@pytest.mark.parametrize("text, lines", [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2), ("a\u2028b\n", 1)])
def test_lines_are_counted(text, lines, tmp_path, monkeypatch):
    (tmp_path / "file").write_text(text)
    for block in (tsv.BLOCK, 1, 2):
        monkeypatch.setattr(tsv, "BLOCK", block)
        assert count_lines(tmp_path / "file") == lines


@pytest.mark.parametrize("block", [4, 1 << 24])
def test_the_first_columns_alone_are_kept_and_all_are_checked(block, tmp_path, monkeypatch):
    monkeypatch.setattr(tsv, "BLOCK", block)
    names, file = ("id", "name", "description"), tmp_path / "entities.tsv"
    file.write_text("a\tA\tone\nb\tB\ttwo\n")
    assert [list(column) for column in read_columns(file, names, 1)] == [["a", "b"]]
    file.write_text("a\tA\tone\nb\tB\n")
    with pytest.raises(PmdError, match="line 2"):
        read_columns(file, names, 1)


def test_a_model_that_answers_reads_no_descriptions(tmp_path):
    graph = tiny_graph()
    model = KgeModel("rotate", num_entities=graph.num_entities, num_relations=graph.num_relations, dim=4)
    save(tmp_path / "model", model, graph)
    entities = tmp_path / "model" / "entities.tsv"
    whole = entities.read_bytes()
    (tmp_path / "model" / "manifest.json").unlink()
    entities.write_bytes(b"\xff" + whole)
    assert load_counted(tmp_path / "model").num_entities == graph.num_entities
    with pytest.raises(PmdError, match=r"entities.tsv, line 1: byte 1 \(0xff\) is not UTF-8"):
        load_for(tmp_path / "model", graph)
    entities.write_bytes(whole[: whole.index(b"\n") + 1])
    for load in (load_counted, lambda folder: load_for(folder, graph)):
        with pytest.raises(PmdError, match="1 lines; restore the file"):
            load(tmp_path / "model")

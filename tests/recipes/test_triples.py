"""`pmd classify`, and `pmd answer` with both ends."""

import io
import json
import re
import subprocess
import sys

import pytest

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.use.questions import parse_triple

from ..asked import own_cache, write_model  # noqa: F401
from ..markdown import tables_of


@pytest.fixture
def asked(tmp_path, random_graph):
    """The folder of a text model with an index, and the model."""
    folder = write_model("text", tmp_path / "model", random_graph(0, valid=30))
    model = pmd.load(folder, random_graph(0, valid=30))
    assert model.judge
    return str(folder), model


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("a\tr\tb", {}),
        ("a\tr\tb\t1", {"label": True}),
        ("a\tr\tb\t-1", {"label": False}),
        ("a\tr\tb\t0", {"label": False}),
        ("a\tr\tb\tFalse", {"label": False}),
        ('{"head": "a", "relation": "r", "tail": "b", "label": true}', {"label": True}),
        ('{"head": "a", "relation": "r", "tail": "b", "label": -1}', {"label": False}),
        ('{"head": "a", "relation": "r", "tail": "b", "label": null}', {}),
    ],
)
def test_a_line_is_a_triple(line, parts):
    assert parse_triple(line) == {"head": "a", "relation": "r", "tail": "b", **parts}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\tr", "2 columns instead of 3 or 4"),
        ("a\tr\tb\t1\t2", "5 columns instead"),
        ("a\tr\tb\tyes", "label: 'yes' is none"),
        ("a\tr\t", "tail: none is given"),
        ('{"head": "a", "tail": "b"}', "relation: none is given"),
        ('{"head": "a", "relation": "r", "tial": "b"}', "'tial' is not a key.*'tail'"),
        ('{"head": 3, "relation": "r", "tail": "b"}', "head: 3 is not a text"),
        ("{", "not a JSON object"),
    ],
)
def test_a_line_that_is_none_is_named(line, message):
    with pytest.raises(PmdError, match=message):
        parse_triple(line)


LINES = ["e1\tr0\te2\t1", "e3\trelation 1\te4\t-1", '{"head": "e5", "relation": "r2", "tail": "e6", "label": 0}']


def test_a_file_is_judged_and_its_labels_measure_the_verdicts(asked, tmp_path, capsys):
    folder, model = asked
    file = tmp_path / "triples.tsv"
    file.write_text("\n".join(LINES) + "\n\n")
    verdicts = [*model.classify_all([(1, 0, 2), (3, 1, 4), (5, 2, 6)])]
    dispatch(["classify", folder, str(file)])
    out = capsys.readouterr().out
    rows = tables_of(out)[0]
    holds = {True: "holds", False: "does not"}
    assert [row[3] for row in rows[1:]] == [holds[verdict.holds] for verdict in verdicts]
    assert [row[0] for row in rows[1:]] == ["name 0", "name 1", "name 2"]
    right = sum(verdict.holds == label for verdict, label in zip(verdicts, (True, False, False)))
    assert f"accuracy {right / 3:.4f}" in out and "on 1 true and 2 false triples" in out
    file.write_text(LINES[0])
    dispatch(["classify", folder, str(file)])
    out = capsys.readouterr().out
    assert "on 1 true and 0 false triples" in out and "nan" not in out


@pytest.mark.parametrize("form", ["tsv", "json"])
def test_lines_for_programs(asked, tmp_path, capsys, monkeypatch, form):
    folder, model = asked
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(LINES).encode())))
    dispatch(["classify", folder, "-", f"--format={form}"])
    printed = capsys.readouterr()
    assert "accuracy" in printed.err and "accuracy" not in printed.out
    lines = printed.out.splitlines()
    _, verdict, _ = model.classify_all([(1, 0, 2), (3, 1, 4), (5, 2, 6)])
    if form == "json":
        assert json.loads(lines[1]) == {**json.loads(json.dumps(verdict.to_dict())), "label": False}
        return
    header, *rows = (line.split("\t") for line in lines)
    assert len(rows) == 3 and header[:3] == ["head", "relation", "tail"]
    assert rows[1][:3] == ["e3", "r1", "e4"] and [float(cell) for cell in rows[1][4:7]] == pytest.approx(
        [verdict.confidence, verdict.probability, verdict.value], abs=1e-4
    )


def test_bad_lines_are_named_and_the_others_judged_if_asked(asked, tmp_path, capsys):
    folder, _ = asked
    file = tmp_path / "triples.tsv"
    file.write_text("e1\tr0\te2\nnobody\tr0\te2\ne1\te2\n")
    with pytest.raises(PmdError, match=r"line 2: head: no entity.*line 3: 2 columns.*--skip-bad judges the other 1"):
        dispatch(["classify", folder, str(file)])
    assert capsys.readouterr().out == ""
    with pytest.raises(PmdError, match=r"not judged.*line 2"):
        dispatch(["classify", folder, str(file), "--skip-bad", "--format=tsv"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(PmdError, match="file: cannot read"):
        dispatch(["classify", folder, str(tmp_path / "gone.tsv")])


def test_answer_with_both_ends(asked, capsys):
    folder, model = asked
    dispatch(["answer", folder, "--head=e1", "--tail=e4", "-k", "4"])
    rows = tables_of(capsys.readouterr().out)[0]
    assert [row[4] for row in rows[1:]] == [answer.id for answer in model.relations(head="e1", tail="e4", top_k=4)]
    dispatch(["answer", folder, "--head=e1", "--tail=e4", "--relation=r0", "--json"])
    verdict = model.classify(head="e1", relation="r0", tail="e4")
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(verdict.to_dict()))
    dispatch(["answer", folder, "--head=e1", "--tail=e4", "--relation=r0"])
    shown = capsys.readouterr().out
    words = "holds" if verdict.holds else "does not hold"
    sure = max(verdict.confidence, 1 - verdict.confidence)
    assert f"\n{words}, {100 * sure:.1f}% sure: so often it is right where half of all triples are false ones" in shown
    assert f"probability {100 * verdict.probability:.1f}% as an answer among all entities" in shown
    assert f"rank {verdict.head_rank:g} among heads" in shown
    head, _, tail = (f"e{row}" for row in model.index.triples("train")[0].tolist())
    relation = model.index.relations.ids[model.index.triples("train")[0, 1]]
    dispatch(["answer", folder, f"--head={head}", f"--tail={tail}", f"--relation={relation}"])
    assert re.search("\nknown: train\nby the model alone: (holds|does not hold), ", capsys.readouterr().out)
    with pytest.raises(PmdError, match="text: both ends are given"):
        dispatch(["answer", folder, "--head=e1", "--tail=e4", "--text=a place"])


@pytest.mark.parametrize("more", [["classify", "{}", "-"], ["answer", "{}", "--head=e1", "--tail=e4"]])
def test_a_text_model_judges_without_torch(asked, more):
    folder, _ = asked
    program = "import sys; from pmd.cli.main import dispatch; dispatch(sys.argv[1:]); "
    program += "print([m for m in ('torch', 'transformers', 'datasets', 'scipy', 'pandas') if m in sys.modules])"
    arguments = [argument.format(folder) for argument in more]
    command = [sys.executable, "-c", program, *arguments]
    result = subprocess.run(command, input="e1\tr0\te2\t1", capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"

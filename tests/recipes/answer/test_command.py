"""`pmd answer`: tables, JSON, files of questions, and what cannot be asked."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.models.kge.folder import load_model
from pmd.models.text.folder import TextModel
from pmd.use.embedding_models import TrainedKge

from ...asked import QUESTION, ask, write_model, write_text
from ...markdown import cells_of
from ...tiny import tiny_graph, tiny_model, tiny_tokenizer


def test_a_table(run, capsys):
    ask(run, *QUESTION, "-k", "48", "--all")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "(Finland town 2 (e08), lies in (r_in), ?)"
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line]
    assert header == ["rank", "name", "id", "score", "known"] and len(rows) == 48
    assert [row[1:3] for row in rows if row[4]] == [["Finland", "e00"]]
    assert [row[4] for row in rows if row[4]] == ["train, test"]
    answers = pmd.load(run / "narrow").answer(head="e08", relation="r_in", top_k=48, all=True)
    assert [[row[2], row[3]] for row in rows] == [[answer.id, f"{answer.score:.4f}"] for answer in answers]
    ask(run, *QUESTION, "-k", "48", "--new")
    new = [line.split("|")[3].strip() for line in capsys.readouterr().out.splitlines()[4:] if line]
    assert new == [row[2] for row in rows if row[2] != "e00"]


def test_what_is_known_comes_first_and_is_limited(run, capsys):
    ask(run, "--tail=e00", "--relation=lies in", "-k", "4")
    known, new = capsys.readouterr().out.split("\n\nnew:\n\n")
    assert known.startswith("(?, lies in (r_in), Finland (e00))\n\nknown:\n\n") and known.endswith("\n\nand 2 more")
    towns = [cells_of(line) for line in known.splitlines() if "town" in line]
    assert len(towns) == 4 and all(town[1].startswith("Finland town") for town in towns)
    assert [town[4].split(",")[0] for town in towns] == ["train"] * 4
    proposed = [cells_of(line) for line in new.splitlines()[2:] if line]
    assert [row[0] for row in proposed] == ["1", "2", "3", "4"]
    assert not any(row[1].startswith("Finland town") for row in proposed)
    answers = pmd.load(run).answer(tail="e00", relation="r_in", top_k=4)
    assert (len(answers.known), answers.num_known) == (4, 6) and "… and 2 more known" in repr(answers)
    ask(run, "--tail=e00", "--relation=lies in", "-k", "4", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["num_known"] == 6 and [answer["id"] for answer in found["known"]] == [town[2] for town in towns]


def test_candidates_are_the_only_ones_to_answer(run, tmp_path, capsys):
    file = tmp_path / "candidates.txt"
    file.write_text("Finland town 1\n\n e13 \nIceland\n")
    ask(run, "--tail=e00", "--relation=lies in", f"--candidates={file}", "--json")
    found = json.loads(capsys.readouterr().out)
    assert [answer["id"] for answer in found["known"]] == ["e07"] and found["num_known"] == 1
    assert sorted(answer["id"] for answer in found["answers"]) == ["e01", "e13"]
    model = pmd.load(run)
    with pytest.raises(PmdError, match=r"^candidates: no entity 'Icland'; did you mean Iceland"):
        model.answer(tail="e00", relation="r_in", candidates=["Icland"])
    with pytest.raises(PmdError, match=r"^candidates: there are none"):
        model.answer(tail="e00", relation="r_in", candidates=[])
    with pytest.raises(PmdError, match=r"^candidates: cannot read .*gone.*give a file of entities"):
        ask(run, "--tail=e00", "--relation=r_in", "--candidates=gone")
    with pytest.raises(PmdError, match=r"^candidates: both ends are given"):
        ask(run, "--tail=e00", "--head=e01", f"--candidates={file}")
    with pytest.raises(PmdError, match=r"^new, all: .*leave one of the two out"):
        ask(run, *QUESTION, "--new", "--all")


def test_strict_types_leave_out_what_never_stands_there(folder, types_file, tmp_path):
    data = shutil.copytree(folder, tmp_path / "typed")
    shutil.copy(types_file, data)
    graph = pmd.load_graph(data)
    model = pmd.load(write_model("rotate", tmp_path / "model", graph), graph)
    asked = {"head": "e08", "relation": "r_in", "top_k": 48, "all": True}
    assert {answer.id for answer in model.answer(**asked, types="strict")} == {f"e0{i}" for i in range(6)}
    assert len(model.answer(**asked)) == len(model.answer(**asked, types="off")) == 48


def test_json_and_nothing_else(run, capsys):
    ask(run, "--tail=e00", "--relation=R IN", "--json", "-k", "3")
    said = capsys.readouterr().out
    found = json.loads(said)
    assert said.count("\n") == 1 and said.endswith("}\n")
    answers = pmd.load(run).answer(tail="Finland", relation="r_in", top_k=3)
    assert found == json.loads(json.dumps(answers.to_dict()))
    assert {part: found[part] for part in ("target", "head", "relation", "tail", "text")} == {
        "target": "head",
        "head": None,
        "relation": {"id": "r_in", "name": "lies in"},
        "tail": {"id": "e00", "name": "Finland"},
        "text": None,
    }
    assert [answer["rank"] for answer in found["answers"]] == [1, 2, 3]
    assert found["answers"][0].keys() == {"rank", "id", "name", "score", "known", "probability"}


def test_a_file_of_questions(run, tmp_path, capsys, monkeypatch):
    file = tmp_path / "asked.tsv"
    places = [f"e{place:02}" for place in range(48)] * 2
    lines = [f"{place}\tr_in\t?" for place in places] + ['{"tail": "Finland", "relation": "speaks"}']
    file.write_text("\n".join(lines) + "\n")
    ask(run, f"--batch={file}", "--json", "-k", "2")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    model = pmd.load(run)
    assert len(found) == 97 and [each["head"]["id"] for each in found[:-1]] == places
    for each in (*found[:3], *found[60:70]):
        alone = model.answer(head=each["head"]["id"], relation="r_in", top_k=2)
        assert [answer["id"] for answer in each["answers"]] == [answer.id for answer in alone]
        assert [a["score"] for a in each["answers"]] == pytest.approx([a.score for a in alone], abs=1e-6)
    assert found[-1]["tail"]["id"] == "e00" and found[-1]["target"] == "head"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + file.read_bytes()), "ascii"))
    ask(run, "--batch=-", "-k", "1")
    assert capsys.readouterr().out.count("lies in (r_in), ?)") == 96


def test_errors_of_a_file_name_all_bad_lines_before_anything_is_answered(run, tmp_path, capsys):
    file = tmp_path / "asked.tsv"
    file.write_text("e01\tr_in\t?\nFindland\tr_in\t?\n")
    message = rf"{file}, line 2: head: no entity 'Findland'; did you mean Finland \(e00\)"
    with pytest.raises(PmdError, match=message):
        ask(run, f"--batch={file}", "--json")
    assert capsys.readouterr().out == ""
    file.write_text("Findland\tr_in\t?\ne01\tr_in\t?\ne02\tr_in\n\n{}\ne02\tr_in\t?\n")
    bad = rf"{file}, line 1: .*'Findland'.*; line 3: 2 columns.*; line 5: give one.*"
    with pytest.raises(PmdError, match=rf"^{bad}; --skip-bad answers the other 2$"):
        ask(run, f"--batch={file}", "--json")
    assert capsys.readouterr().out == ""
    with pytest.raises(PmdError, match=rf"^not answered: {bad}$"):
        ask(run, f"--batch={file}", "--json", "--skip-bad")
    assert [json.loads(line)["head"]["id"] for line in capsys.readouterr().out.splitlines()] == ["e01", "e02"]
    with pytest.raises(PmdError, match=r"batch.*'nowhere'"):
        ask(run, "--batch=nowhere")
    with pytest.raises(PmdError, match=r"batch.*--head"):
        ask(run, f"--batch={file}", "--head=e01")
    file.write_bytes("Zürich\tr_in\t?".encode("latin1"))
    with pytest.raises(PmdError, match=r"batch: '.*', line 1: byte 2 \(0xfc\) is not UTF-8"):
        ask(run, f"--batch={file}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--head=Findland", "--relation=lies in"], r"head:.*'Findland'.*Finland \(e00\)"),
        (["--head=Finland", "--relation=lise in"], r"relation:.*'lise in'.*lies in \(r_in\)"),
        (["--head=Finland", "--relation=owns"], r"'owns'.*lies in \(r_in\), speaks \(r_speaks\)"),
        (["--relation=lies in"], r"head, tail.*text.*none"),
        (["--head=e01", "--text=a town", "--relation=r_in"], r"one of.*head and text"),
        (["--head=e01", "--tail=e02", "--text=a town"], r"text: both ends"),
        (["--head=e01", "--tail=e02", "--coverage=0.9"], r"coverage: both ends"),
        (["--head=e01", "--tail=e02", "--relation=r_in", "--types=strict"], r"types: both ends"),
        (["--head=e01", "--tail=e02", "--relation=r_in", "-k", "3"], r"top_k: both ends.*triple"),
        (["--head=e01", "--relation=r_in", "--max_set=5"], r"max_set: .*coverage"),
        (["--head=e01", "--relation=r_in", "--skip-bad"], r"skip_bad: .*--batch"),
        (["--head=e01"], "relation: none"),
        (["--head=e01", "--relation=r_in", "--target=tail"], "target:.*head"),
        (["--head=e01", "--relation=r_in", "-k", "0"], "top_k: 0"),
        (["--head=e01", "--relation=r_in", "--stage=narow"], "'narow'.*'narrow'"),
        (["--head=e01", "--relation=r_in", "--width=64"], "width 64.*outside 1"),
        (["--text= ", "--relation=r_in"], "text: "),
    ],
)
def test_what_cannot_be_asked(run, options, message):
    with pytest.raises(PmdError, match=message) as caught:
        ask(run, *options)
    assert len(str(caught.value).splitlines()) == 1


def test_a_description_is_for_text_models(tmp_path):
    model = pmd.load(write_model("rotate", tmp_path / "model", tiny_graph()), tiny_graph())
    with pytest.raises(PmdError, match=r"text.*embedding"):
        model.answer(text="a lake", relation="near")


def test_models_that_are_none(run, tmp_path):
    for model, message in (
        (tmp_path / "nowhere", "model:.*'.*nowhere'"),
        (run / "wide" / "index", "model: no folder"),
        (tmp_path, "holds no model"),
    ):
        with pytest.raises(PmdError, match=message):
            ask(model, *QUESTION)
    with pytest.raises(PmdError, match="no run folder"):
        ask(run / "wide", *QUESTION, "--stage=wide")
    (run / "results.json").unlink()
    with pytest.raises(PmdError, match="--resume"):
        ask(run, *QUESTION)


def test_a_folder_of_no_known_graph(tmp_path, capsys):
    folder = write_model("rotate", tmp_path / "alone", tiny_graph())
    with pytest.raises(
        PmdError,
        match=r'no run folder.*--data.path my_graph .in Python graph="my_graph".$',
    ):
        ask(folder, "--head=e7", "--relation=r0")
    with pytest.raises(PmdError, match=r"13.*'world'.*1,887"):
        ask(folder, "--head=e7", "--relation=r0", "--data.path=world")
    assert not (folder / "index").exists()
    with pytest.raises(PmdError, match="no index"):
        TrainedKge(load_model(folder), folder).answer(head="e7", relation="r0")
    first = pmd.load(folder, tiny_graph()).answer(head="e7", relation="r0")
    assert pmd.load(folder).answer(head="e7", relation="r0") == first  # by its own index from now on
    moved = folder.rename(tmp_path / "moved")
    assert pmd.load(moved).answer(head="e7", relation="r0") == first


def test_bars_in_names_do_not_end_a_cell(tmp_path, capsys):
    graph = replace(tiny_graph(), entity_names=[f"a|b {key}" for key in tiny_graph().entity_ids])
    folder = write_model("rotate", tmp_path / "model", graph)
    pmd.load(folder, graph).answer(head="e7", relation="r0")
    ask(folder, "--head=e7", "--relation=r0", "-k", "2", "--all")
    rows = [cells_of(line) for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [5] * 4 and all(row[1] == f"a|b {row[2]}" for row in rows[2:])


def test_an_answer_of_a_text_model_loads_nothing_heavy(folder, tmp_path):
    model = write_text(tmp_path / "text", TextModel(tiny_model(), tiny_tokenizer()), pmd.load_graph(folder))
    first = pmd.load(model, pmd.load_graph(folder)).answer(head="e08", relation="r_in", top_k=1)[0]
    program = "import sys; from pmd.cli.main import dispatch; dispatch(sys.argv[1:]); "
    program += "print([m for m in ('torch', 'transformers', 'datasets', 'scipy', 'pandas') if m in sys.modules])"
    arguments = ["answer", str(model), "--head=e08", "--relation=lies in", "--json", "-k", "1"]
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    answers, heavy = result.stdout.splitlines()
    assert json.loads(answers)["answers"][0]["id"] == first.id and heavy == "[]"


def test_the_command_fails_with_one_line(folder, tmp_path):
    program = "from pmd.cli.main import main; main()"
    arguments = ["answer", str(tmp_path / "nowhere"), "--head=a", "--relation=b"]
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("error: model: no folder") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["answer", "evaluate"])
@pytest.mark.parametrize(
    "text, told",
    [
        ("data: [", r"line 1: expected the node content, but found '<stream end>'; restore it"),
        ("data: {pth: a}", r"data.*'pth'"),
    ],
)
def test_a_broken_config_is_named(run, command, text, told):
    (run / "config.yaml").write_text(text)
    model = ["--model", str(run / "narrow")]
    with pytest.raises(PmdError, match=rf"config.yaml'.*{told}"):
        dispatch([command, *model, *(QUESTION if command == "answer" else ())])

"""Answers of both kinds of model, by value: the scores that are ranked, the marks of a plain loop, what is built when."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

import pmd
from pmd.cli.commands import COMMANDS
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.models.kge.folder import load_named
from pmd.models.kge.folder import save as save_kge
from pmd.models.text import scorer as text_scorer
from pmd.models.text.folder import TextModel
from pmd.models.text.folder import save as save_text
from pmd.settings.shared import DataConfig
from pmd.use import index_writer
from pmd.use import load as trained
from pmd.use.embedding_models import TrainedKge
from pmd.use.index import LEARNED

from ..markdown import cells_of
from ..tiny import tiny_graph, tiny_model, tiny_tokenizer

MODELS = ["text", "wide", "rotate", "reciprocal", "pairre"]


def write_model(kind, folder, graph):
    """A model of random weights in a folder."""
    torch.manual_seed(0)
    if kind in ("text", "wide"):
        settings = {"max_tokens": 24, "neighbours_below": 6, "max_neighbours": 3}
        more = {"widths": [8, 32]} if kind == "wide" else {}
        save_text(folder, TextModel(tiny_model(**settings, **more), tiny_tokenizer()), graph)
        return folder
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    name = "pairre" if kind == "pairre" else "rotate"
    options = {"reciprocal": kind == "reciprocal", "unit_entities": kind == "pairre"}
    save_kge(folder, pmd.KgeModel(name, **sizes, dim=16, widths=(4, 16), **options), graph)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=MODELS)
def asked(request, tmp_path):
    """A model that can be asked, and its folder."""
    folder = write_model(request.param, tmp_path / request.param, tiny_graph())
    return pmd.load(folder, tiny_graph()), folder


def all_queries(graph):
    return [(entity, relation) for entity in range(graph.num_entities) for relation in range(graph.num_relations)]


@pytest.mark.parametrize("width", [None, 4])
@pytest.mark.parametrize("target", ["head", "tail"])
def test_scores_are_those_that_are_ranked(asked, target, width):
    model, folder = asked
    graph, known = tiny_graph(), "head" if target == "tail" else "tail"
    scorer = pmd.load_scorer(folder, graph)
    model = model if width is None else model.crop(width)
    queries = all_queries(graph)
    triples = torch.tensor([(entity, relation, entity) for entity, relation in queries])
    with torch.no_grad():
        expected = scorer.score_all(triples, target, width=width)
    questions = [
        model.question(**{known: graph.entity_ids[entity], "relation": graph.relation_ids[relation]})
        for entity, relation in queries
    ]
    for row, answers in enumerate(model.answer_all(questions, top_k=99, types="off", all=True)):
        assert len(answers) == graph.num_entities and [answer.rank for answer in answers] == [*range(1, 14)]
        scores = torch.tensor([answer.score for answer in answers])
        found = [graph.entity_ids.index(answer.id) for answer in answers]
        torch.testing.assert_close(scores, expected[row][found], atol=5e-6, rtol=0)
        assert (scores.diff() <= 0).all() and sorted(found) == [*range(13)]
        assert [answer.name for answer in answers] == [graph.entity_names[place] for place in found]


def test_another_encoder_answers_by_itself(tmp_path, monkeypatch):
    folder = write_model("text", tmp_path / "text", tiny_graph())
    plain = pmd.load(folder, tiny_graph()).answer(head="e7", relation="near")
    monkeypatch.setattr("pmd.use.text_models.can_read", lambda folder, settings: False)
    other = pmd.load(folder).answer(head="e7", relation="near")
    assert [answer.id for answer in other] == [answer.id for answer in plain]
    assert [a.score for a in other] == pytest.approx([a.score for a in plain], abs=5e-6)


@pytest.mark.parametrize("target", ["head", "tail"])
def test_a_described_entity_is_read_like_one_of_the_graph(target, tmp_path):
    graph, new = tiny_graph(), "a lake [SEP] in the hills, naïve and 東京, " + "that runs through old towns " * 8
    folder = write_model("text", tmp_path / "text", graph)
    larger = replace(
        graph,
        entity_ids=[*graph.entity_ids, "new"],
        entity_names=[*graph.entity_names, ""],
        entity_descriptions=[*graph.entity_descriptions, new],
    )
    expected = pmd.load_scorer(folder, larger).score_all(torch.tensor([[13, 1, 13]]), target)[0, :13]
    answers = pmd.load(folder, graph).answer(text=new, relation="r1", target=target, top_k=13, types="off")
    assert answers.text == new and answers.head is answers.tail is None and answers.target == target
    for answer in answers:
        assert answer.score == pytest.approx(float(expected[int(answer.id[1:])]), abs=5e-6)
        assert answer.known == ()


@pytest.mark.parametrize("seed", [0, 1])
def test_known_answers_are_marked_with_their_splits(seed, random_graph, tmp_path):
    graph = random_graph(seed)
    model = pmd.load(write_model("rotate", tmp_path / "model", graph), graph)
    splits = {name: graph.split(name).tolist() for name in graph.split_names}
    marks = 0
    for entity, relation in all_queries(graph):
        for known in ("head", "tail"):
            asked = {known: graph.entity_ids[entity], "relation": graph.relation_ids[relation]}
            answers, new = (model.answer(**asked, top_k=99, **{which: True}) for which in ("all", "new"))
            assert len(answers) == graph.num_entities
            for answer in answers:
                other = graph.entity_ids.index(answer.id)
                triple = [entity, relation, other] if known == "head" else [other, relation, entity]
                assert list(answer.known) == [name for name, triples in splits.items() if triple in triples]
                marks += len(answer.known)
            assert [answer.id for answer in new] == [answer.id for answer in answers if not answer.known]
            apart, marked = model.answer(**asked, top_k=99), [answer for answer in answers if answer.known]
            assert apart.answers == new.answers and (answers.known, new.known) == ((), ())
            first = {answer.id: min(map([*splits].index, answer.known)) for answer in marked}
            assert list(apart.known) == sorted(marked, key=lambda answer: (first[answer.id], answer.rank))
            assert apart.num_known == len(marked)
    assert marks == 2 * sum(len({tuple(triple) for triple in triples}) for triples in splits.values())


def test_the_two_graphs_of_an_inductive_data_set_stay_apart(random_graph, tmp_path):
    graph = random_graph(entities=14)
    graph = replace(graph, **{name: graph.split(name) % torch.tensor([6, 3, 6]) for name in ("train", "valid", "test")})
    more = {f"inductive_{name}": graph.split(name) + torch.tensor([6, 0, 6]) for name in ("train", "valid", "test")}
    graph = replace(graph, splits=more)
    model = pmd.load(write_model("rotate", tmp_path / "model", graph), graph)
    for split, entity in (("test", 2), ("inductive_test", 8)):
        ids = {graph.entity_ids[place] for place in graph.candidates(split).tolist()}
        assert {answer.id for answer in model.answer(head=f"e{entity}", relation="r0", top_k=99, all=True)} == ids
    assert len(model.answer(head="e13", relation="r0", top_k=99, all=True)) == 14  # of neither


@pytest.fixture(params=["text", "rotate"])
def run(request, folder, tmp_path):
    """A run folder of one kind with two finished stages on a graph of its own."""
    data = shutil.copytree(folder, tmp_path / "towns")
    graph, run = pmd.load_graph(data), tmp_path / "run"
    for stage in ("wide", "narrow"):
        write_model(request.param, run / stage, graph)
    (run / "config.yaml").write_text(yaml.safe_dump({"data": {"path": str(data)}}))
    (run / "results.json").write_text('{"wide": {}, "narrow": {}, "gone": {}}')
    return run


def ask(run, *options):
    dispatch(["answer", str(run), *options])


QUESTION = ("--head=Finland town 2", "--relation=lies in")


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
    with pytest.raises(PmdError, match=r"UTF-8.*byte 1"):
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
        match=r"no run folder.*--data.path my_graph$",
    ):
        ask(folder, "--head=e7", "--relation=r0")
    with pytest.raises(PmdError, match=r"13.*'world'.*1,887"):
        ask(folder, "--head=e7", "--relation=r0", "--data.path=world")
    assert not (folder / "index").exists()
    with pytest.raises(PmdError, match="no index"):
        TrainedKge(*load_named(folder)).answer(head="e7", relation="r0")
    first = pmd.load(folder, tiny_graph()).answer(head="e7", relation="r0")
    assert pmd.load(folder).answer(head="e7", relation="r0") == first  # by its own index from now on
    moved = folder.rename(tmp_path / "moved")
    assert pmd.load(moved).answer(head="e7", relation="r0") == first


@pytest.fixture
def builds(monkeypatch):
    """How often an index is built, and entities are encoded."""
    counts = {"built": 0, "encoded": 0}

    def count(module, name, key):
        real = getattr(module, name)

        def counting(*arguments, **options):
            counts[key] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, counting)

    count(trained, "build", "built")
    count(text_scorer, "encode_texts", "encoded")
    return counts


def first_answer(run):
    return pmd.load(run).answer(head="Finland town 2", relation="lies in", all=True)


def test_bars_in_names_do_not_end_a_cell(tmp_path, capsys):
    graph = replace(tiny_graph(), entity_names=[f"a|b {key}" for key in tiny_graph().entity_ids])
    folder = write_model("rotate", tmp_path / "model", graph)
    pmd.load(folder, graph).answer(head="e7", relation="r0")
    ask(folder, "--head=e7", "--relation=r0", "-k", "2", "--all")
    rows = [cells_of(line) for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [5] * 4 and all(row[1] == f"a|b {row[2]}" for row in rows[2:])


def test_an_index_is_built_once_and_used(run, builds):
    text = pmd.load(run).__class__.__name__ == "TrainedText"
    first = first_answer(run)
    assert builds == {"built": 1, "encoded": int(text)}
    index = {path.name: path.stat().st_mtime_ns for path in (run / "narrow" / "index").iterdir()}
    assert index.keys() == {"index.json", "manifest.json", "columns.safetensors", *(["vectors.npy"] if text else [])}
    assert first_answer(run) == first and first_answer(run / "narrow") == first
    for file in (*(run.parent / "towns").iterdir(), run / "narrow" / "model.safetensors"):
        os.utime(file)  # another time, the same content
    assert first_answer(run) == first
    assert builds == {"built": 1, "encoded": int(text)}
    assert not (run / "wide" / "index").exists() and not list((run / "narrow").glob(".*"))


def test_an_index_of_another_graph_is_built_anew(run, builds, capsys):
    first = first_answer(run)
    with open(run.parent / "towns" / "valid.tsv", "a") as file:
        file.write(f"e08\tr_in\t{first[0].id}\n")
    again = first_answer(run)
    assert builds["built"] == 2 and [answer.id for answer in again] == [answer.id for answer in first]
    assert "valid" in again[0].known and "valid" not in first[0].known
    assert capsys.readouterr().err.count("the graph changed since its index was built; building it anew") == 1
    shutil.rmtree(run.parent / "towns")  # not to be found any more: the index stands for it
    assert first_answer(run) == again and builds["built"] == 2


def test_only_the_name_of_a_bundled_graph_is_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "train.tsv" in trained.graph_file_stats(DataConfig("world"))
    assert trained.graph_file_stats(DataConfig("../data/world")) is None  # beside pmd/data there would be one


def test_a_graph_that_is_named_must_be_there(run, builds):
    first = first_answer(run)
    named = pmd.load(run, str(run.parent / "towns")).answer(head="Finland town 2", relation="lies in", all=True)
    assert named == first and builds["built"] == 1
    for wrong in ("towsn", str(run.parent / "nowhere")):
        with pytest.raises(PmdError, match="neither a folder"):
            pmd.load(run, wrong).answer(head="Finland town 2", relation="lies in")


def test_an_index_of_other_weights_is_built_anew(run, builds, capsys):
    first = first_answer(run)
    model = run / "narrow"
    torch.manual_seed(7)
    if pmd.load(run).__class__.__name__ == "TrainedText":
        tiny_model(seed=7, max_tokens=24, neighbours_below=6, max_neighbours=3).save_pretrained(model)
    else:
        pmd.KgeModel("rotate", num_entities=48, num_relations=2, dim=16, widths=(4, 16)).save_pretrained(model)
    (model / "manifest.json").unlink(missing_ok=True)
    again = first_answer(run)
    assert builds["built"] == 2 and [a.score for a in again] != [a.score for a in first]
    assert capsys.readouterr().err.count("the model changed since its index was built; building it anew") == 1
    graph = pmd.load_graph(run.parent / "towns")
    with torch.no_grad():
        scores = pmd.load_scorer(model, graph).score_all(torch.tensor([[8, 0, 8]]), "tail")[0]
    plain = pmd.load(run).answer(head="e08", relation="r_in", types="off", all=True)
    assert [a.score for a in plain] == pytest.approx(scores.topk(10).values.tolist(), abs=5e-6)


def test_stored_entities_are_taken_only_if_they_are_the_model_s(folder, tmp_path, builds):
    graph, model = pmd.load_graph(folder), TextModel(tiny_model(), tiny_tokenizer())
    right = pmd.load_scorer(write_text(tmp_path / "plain", model, graph), graph).entities
    for name, entities, encodings in (("right", right, 1), ("wrong", right.flip(0), 2)):
        builds["encoded"] = 0
        place = write_text(tmp_path / name, model, graph, entities)
        assert np.allclose(pmd.load(place, graph).index.vectors, right.numpy(), atol=1e-5)
        assert builds["encoded"] == encodings  # a sample, and then all of them


def write_text(folder, model, graph, entities=None):
    save_text(folder, model, graph, entities)
    return folder


def test_an_interrupted_index_is_never_read(run, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pmd.use.index_writer.write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            first_answer(run)
    assert not (run / "narrow" / "index").exists()
    first = first_answer(run)
    with monkeypatch.context() as patch:
        patch.setattr("pmd.use.index_writer.save_file", stop)
        with pytest.raises(KeyboardInterrupt):
            ask(run, "--build")
    assert first_answer(run) == first and not list((run / "narrow").glob(".*"))
    ask(run, "--build")
    assert first_answer(run) == first


def test_a_broken_index_says_how_to_mend_it(run, capsys):
    first, index = first_answer(run), run / "narrow" / "index"
    for name in sorted(path.name for path in index.iterdir()):
        whole = (index / name).read_bytes()
        (index / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(PmdError, match=rf"index.*broken.*pmd answer {run / 'narrow'} --build"):
            first_answer(run)
        ask(run, "--build")
        assert capsys.readouterr().err.endswith(f"{index}: 48 entities\n")
        assert first_answer(run) == first


def test_the_index_of_a_model_that_cannot_be_written_is_in_the_cache(run, tmp_path, monkeypatch):
    cache, write = tmp_path / "cache", index_writer.write_folder
    monkeypatch.setenv("PMD_CACHE", str(cache))
    read_only = [run]

    def write_folder(path, fill):
        if any(folder in path.parents for folder in read_only):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        write(path, fill)

    monkeypatch.setattr(index_writer, "write_folder", write_folder)
    first = first_answer(run)
    (index,) = cache.glob("index-*")
    assert first_answer(run) == first and not (run / "narrow" / "index").exists()
    dispatch(["crop", str(run / "narrow"), "--width=4", f"--out={tmp_path}/small"])
    assert (tmp_path / "small" / "index" / "index.json").is_file()
    (index / "index.json").write_text("{")
    with pytest.raises(PmdError, match=rf"broken.*pmd answer {run / 'narrow'} --build"):
        first_answer(run)
    read_only.append(cache)
    with pytest.raises(PmdError, match=rf"narrow/index: cannot be written, nor can the cache {cache}; set PMD_CACHE"):
        ask(run, "--build")
    read_only.clear()
    ask(run, "--build")
    assert not index.exists() and first_answer(run) == first


def test_an_index_that_lacks_something_is_broken(run):
    first_answer(run)
    file = run / "narrow" / "index" / "index.json"
    facts = json.loads(file.read_text())
    needed = {*facts} - {"format", "types", *LEARNED}
    assert len(needed) == (14 if facts["kind"] == "text" else 11)
    for name in needed:
        file.write_text(json.dumps({key: value for key, value in facts.items() if key != name}))
        with pytest.raises(PmdError, match=rf"index.*broken.*'{name}'"):
            first_answer(run)


def test_an_index_of_before_the_special_tokens_were_noted_has_those_of_bert(run, builds):
    first, file = first_answer(run), run / "narrow" / "index" / "index.json"
    facts = json.loads(file.read_text())
    if facts["kind"] == "text":
        frame = facts.pop("frame")
        assert frame.items() >= {"before": [2], "between": [3], "after": [3], "typed": True}.items()
        file.write_text(json.dumps(facts | {"cls": 2, "sep": 3}))
        built = len(builds)
        assert first_answer(run) == first and len(builds) == built


def test_an_older_index_learns_what_it_lacks_where_the_graph_is_at_hand(run, builds, capsys, tmp_path):
    first, model = first_answer(run), run / "narrow"
    written = model / "index" / "index.json"
    facts = json.loads(written.read_text())
    types = facts.pop("types")
    plain = pmd.load(run).answer(head="e08", relation="r_in", types="off")
    written.write_text(json.dumps(facts))
    alone = shutil.copytree(model, tmp_path / "alone")
    assert pmd.load(alone).answer(head="e08", relation="r_in") == plain
    with pytest.raises(PmdError, match=r"types:.*has none.*--build"):
        pmd.load(alone).answer(head="e08", relation="r_in", types="strict")
    written.write_text(json.dumps(facts))
    capsys.readouterr()
    assert first_answer(run) == first and builds["built"] == 1
    assert "older version, without types; completing it" in capsys.readouterr().err
    assert json.loads(written.read_text())["types"] == types
    assert first_answer(run) == first and not capsys.readouterr().err


def test_an_index_of_another_format_is_built_anew_where_the_graph_is_known(run, builds):
    first, file = first_answer(run), run / "narrow" / "index" / "index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    with pytest.raises(PmdError, match=r"broken.*99.* 1\)"):
        pmd.load(shutil.copytree(run / "narrow", run.parent / "alone")).answer(head="e08", relation="r_in")
    assert first_answer(run) == first and builds["built"] == 2


def test_a_crop_has_the_index_of_its_model(run, builds, tmp_path):
    whole, small = pmd.load(run), []
    widths = (4, whole.widths[-1])
    for width in widths:
        dispatch(["crop", str(run), "--stage=narrow", f"--width={width}", f"--out={tmp_path}/{width}"])
        small.append(pmd.load(tmp_path / str(width)))
    found = [model.answer(head="Finland town 2", relation="lies in", top_k=48) for model in small]
    for width, answers in zip(widths, found):
        expected = whole.crop(width).answer(head="Finland town 2", relation="lies in", top_k=48)
        assert [a.id for a in answers] == [a.id for a in expected]
        assert [a.score for a in answers] == pytest.approx([a.score for a in expected], abs=1e-6)
        assert [a.known for a in answers] == [a.known for a in expected]
    assert builds["built"] == 1 and small[0].index.metadata["dim"] == 4  # the whole model's


def test_a_crop_has_no_index_of_another_model_or_graph(run, tmp_path, builds):
    first, graph = first_answer(run), run.parent / "towns"
    with open(graph / "valid.tsv", "a") as file:
        file.write(f"e08\tr_in\t{first[0].id}\n")
    dispatch(["crop", str(run / "narrow"), "--width=4", f"--out={tmp_path}/other"])
    assert builds["built"] == 2
    found = pmd.load(tmp_path / "other").answer(head="e08", relation="r_in", top_k=48, all=True)
    assert "valid" in next(answer for answer in found if answer.id == first[0].id).known
    graph.rename(tmp_path / "gone")
    index = run / "narrow" / "index" / "index.json"
    stale = {**json.loads(index.read_text()), "model": "0", "model_files": {}}
    for name, text in (("stale", json.dumps(stale)), ("broken", "{")):
        index.write_text(text)
        dispatch(["crop", str(run / "narrow"), "--width=4", f"--out={tmp_path}/{name}"])
        assert (tmp_path / name / "config.json").is_file() and not (tmp_path / name / "index").exists()


def test_weights_that_are_cut_off_are_named(run):
    first_answer(run)
    weights = run / "narrow" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PmdError, match=rf"{weights}: has .* so it is damaged"):
        first_answer(run)
    (weights.parent / "manifest.json").unlink()  # as of an older version
    with pytest.raises(PmdError, match=rf"{weights.parent}.*incomplete metadata"):
        first_answer(run)


def test_files_that_are_lost_or_damaged_are_named(run, capsys):
    first_answer(run)
    stage = run / "narrow"
    files = ["config.json", "model.safetensors", "index/columns.safetensors"]
    files += ["tokenizer.json", "index/vectors.npy"] if (stage / "tokenizer.json").is_file() else []
    for file in files:
        content = (stage / file).read_bytes()
        (stage / file).write_bytes(content[:-40] + b"x" * 50 + content[-40:])
        with pytest.raises(PmdError, match=f"{file.rpartition('/')[2]}: has .* so it is damaged"):
            first_answer(run)
        (stage / file).unlink()
        if "/" not in file:  # an index is built anew
            with pytest.raises(PmdError, match=r"is missing|has no config\.json, so it is damaged"):
                first_answer(run)
        (stage / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(PmdError, match=f"{file.rpartition('/')[2]}: has another checksum"):
            COMMANDS["answer"]([str(run), "--head=e08", "--relation=lies in", "--verify"])
        (stage / file).write_bytes(content)
    COMMANDS["answer"]([str(run), "--head=e08", "--relation=lies in", "--verify"])


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
        ("data: [", r"cannot be read \("),
        ("data: {pth: a}", r"data.*'pth'"),
    ],
)
def test_a_broken_config_is_named(run, command, text, told):
    (run / "config.yaml").write_text(text)
    model = ["--model", str(run / "narrow")]
    with pytest.raises(PmdError, match=rf"config.yaml'.*{told}"):
        dispatch([command, *model, *(QUESTION if command == "answer" else ())])

"""The index that answers are read from: when it is built, when it is refused, and what of it may be lost."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
import torch

import pmd
from pmd.cli.commands import COMMANDS
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.models.text.folder import TextModel
from pmd.settings.shared import DataConfig
from pmd.use import index_writer
from pmd.use import load as trained
from pmd.use.index import LEARNED, LEARNING

from ...asked import ask, first_answer, write_text
from ...says import says
from ...tiny import tiny_model, tiny_tokenizer


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
        patch.setattr("pmd.use.index_writer.write_columns", stop)
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
    needed = {*facts} - {"format", "types", "learning", *LEARNED}
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


def test_what_another_version_learned_is_said_in_a_line(run, builds, capsys):
    first, written = first_answer(run), run / "narrow" / "index" / "index.json"
    facts = json.loads(written.read_text())
    assert facts.pop("learning") == LEARNING
    for version, by in (
        ({}, "an earlier version of pmd"),
        ({"learning": 0}, "another version (learning 0, here 1) of pmd"),
    ):
        written.write_text(json.dumps(facts | version))
        with pytest.warns(pmd.PmdWarning) as said:
            assert first_answer(run) == first and builds["built"] == 1
        assert any(
            says(
                str(warning.message),
                f"verdicts of its index were learned by {by}; learn them anew: pmd answer …narrow --build (with …",
            )
            for warning in said
        )
    ask(run, "--build")
    capsys.readouterr()
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

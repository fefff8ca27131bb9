import json

import datasets
import numpy as np
import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.glue import EncodedSplit, load_diagnostics, load_glue
from pmd.settings.catalogue import AX, TASKS, task_of

from ..tiny import tiny_tokenizer
from ..tiny_glue import rows_of, tiny_split, write_task


@pytest.mark.parametrize("key", TASKS)
def test_every_task_reads_from_a_folder(key, tmp_path):
    task = TASKS[key]
    write_task(tmp_path / task.title, key, test=5)
    data = load_glue(str(tmp_path), task)  # a folder of tasks
    assert [*data.splits] == ["train", *task.validation, *task.test]
    rows = rows_of(task, 24)
    for column, texts in zip(task.columns, data.splits["train"].texts):
        assert list(texts) == [row[column] for row in rows]
    assert data.splits["train"].labels.tolist() == [row["label"] for row in rows]
    assert data.splits["train"].labels.dtype == (np.float32 if task.regression else np.int64)
    assert data.splits[task.test[0]].labels is None
    assert data.splits[task.test[0]].idx.tolist() == [0, 3, 6, 9, 12]
    assert load_glue(str(tmp_path / task.title), task).checksum() == data.checksum()  # the task's own folder


def test_the_hub_gives_the_same(tmp_path, monkeypatch):
    """`datasets` itself, with a table in the place of the download."""
    task = task_of("mrpc")
    write_task(tmp_path, "mrpc", test=5)
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "validation", "test")}
    loaded = datasets.DatasetDict(
        {name: datasets.Dataset.from_json(file, cache_dir=str(tmp_path / "hf")) for name, file in files.items()}
    )
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments: asked.append(arguments) or loaded)
    hub, local = load_glue("nyu-mll/glue", task), load_glue(str(tmp_path), task)
    assert asked == [("nyu-mll/glue", "mrpc")] and hub.checksum() == local.checksum()
    assert hub.splits["test"].labels is None and hub.splits["test"].idx.tolist() == [0, 3, 6, 9, 12]
    del loaded["validation"]
    with pytest.raises(PmdError, match=r"'nyu-mll/glue'.*validation.*train, test"):
        load_glue("nyu-mll/glue", task)


def test_a_hub_out_of_reach_is_said_in_one_line(monkeypatch):
    def fail(*arguments):
        raise ConnectionError("Couldn't reach 'nyu-mll/glue' on the Hub\n(offline)")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(PmdError, match=r"'nyu-mll/glue', rte \(Couldn't reach.*train") as caught:
        load_glue("nyu-mll/glue", task_of("rte"))
    assert "\n" not in str(caught.value)


GOOD = {"sentence1": "a", "sentence2": "b", "label": 1, "idx": 0}


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", r"train.jsonl, line 2.*JSON"),
        ("", r"train.jsonl, line 2.*JSON"),
        ("[1]", r"line 2: '\[1\]'.*JSON"),
        (json.dumps({**GOOD, "sentence2": None}), "line 2.*sentence2; RTE.*sentence1.*sentence2"),
        (json.dumps({"sentence1": "a", "label": 1}), "line 2.*sentence2"),
        (json.dumps({**GOOD, "label": 2}), r"line 2: label.*2; RTE.*0 \(entailment\), 1 \(not_entailment\)"),
        (json.dumps({**GOOD, "label": "1"}), "line 2: label.*'1'"),
        (json.dumps({**GOOD, "label": True}), "line 2: label.*True"),
        (json.dumps({**GOOD, "label": -1}), "line 2: label.*-1"),
        (json.dumps({**GOOD, "label": 10**400}), "line 2: label.*1000000"),
        (json.dumps({**GOOD, "idx": "x7"}), "line 2: idx.*'x7'"),
        (json.dumps({**GOOD, "idx": 2**63}), "line 2: idx.*9223372036854775808"),
        (json.dumps({**GOOD, "sentence2": "a \ud83d b"}), r"line 2: sentence2.*'\\ud83d'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(line, message, tmp_path, write_files):
    good = json.dumps(GOOD)
    write_files(tmp_path, {"train.jsonl": f"{good}\n{line}\n{good}\n", "validation.jsonl": good})
    with pytest.raises(PmdError, match=message) as caught:
        load_glue(str(tmp_path), task_of("rte"))
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path):
    write_task(tmp_path / "RTE", "rte")
    with pytest.raises(PmdError, match=r"'CoLA'.*RTE"):
        load_glue(str(tmp_path), task_of("cola"))
    (tmp_path / "RTE" / "validation.jsonl").unlink()
    with pytest.raises(PmdError, match=r"validation.jsonl.*RTE.*train.jsonl, validation.jsonl"):
        load_glue(str(tmp_path), task_of("rte"))


def test_a_whole_character_may_be_escaped_in_halves(tmp_path, write_files):
    line = json.dumps({**GOOD, "sentence1": "\U0001f600", "idx": -(2**63)})
    assert "\\ud83d\\ude00" in line
    write_files(tmp_path, {"train.jsonl": line, "validation.jsonl": line})
    split = load_glue(str(tmp_path), task_of("rte")).splits["train"]
    assert split.texts[0] == ["\U0001f600"] and split.idx.tolist() == [-(2**63)]


def test_an_empty_file_is_named(tmp_path):
    write_task(tmp_path, "rte")
    (tmp_path / "validation.jsonl").write_text("")
    with pytest.raises(PmdError, match=r"validation\.jsonl.*RTE.*JSON"):
        load_glue(str(tmp_path), task_of("rte"))


@pytest.mark.parametrize("name", ["RTE", "rte", "STS-B"])
def test_the_folder_of_another_task_is_not_read(name, tmp_path, monkeypatch):
    """The columns of these are alike, and labels of 0 and 1 are similarities too."""
    write_task(tmp_path / name, name)
    message = rf"is the folder of {task_of(name).title}, not of MRPC;"
    monkeypatch.chdir(tmp_path / name)
    for path in (str(tmp_path / name), "."):
        with pytest.raises(PmdError, match=message):
            load_glue(path, task_of("mrpc"))
        assert len(load_glue(path, task_of(name)).splits["train"]) == 24
    (tmp_path / name).rename(tmp_path / "mine")  # a name that says nothing
    assert len(load_glue(str(tmp_path / "mine"), task_of("wnli" if name != "STS-B" else "stsb")).splits["train"]) == 24


def test_similarities_go_from_0_to_5(tmp_path, write_files):
    good = json.dumps({**GOOD, "label": 4.8})
    write_files(tmp_path, {"train.jsonl": f"{good}\n{good.replace('4.8', '5.2')}\n", "validation.jsonl": good})
    with pytest.raises(PmdError, match=r"line 2: label.*5\.2; STS-B.*0.*5"):
        load_glue(str(tmp_path), task_of("stsb"))


def test_diagnostics_are_taken_where_they_are(tmp_path):
    write_task(tmp_path / "MNLI", "mnli")
    assert load_diagnostics(str(tmp_path)) is None
    assert load_diagnostics(str(tmp_path / "MNLI")) is None
    lines = [json.dumps(row) for row in rows_of(AX, 4, labelled=False)]
    (tmp_path / "AX").mkdir()
    (tmp_path / "AX" / "test.jsonl").write_text("\n".join(lines))
    assert len(load_diagnostics(str(tmp_path))) == 4


def test_diagnostics_that_cannot_be_fetched_are_said_to_be_left_out(monkeypatch):
    def refuse(path, task, needed):
        raise PmdError(f"data.path: cannot read '{path}'")

    monkeypatch.setattr("pmd.data.glue._from_hub", refuse)
    with pytest.warns(UserWarning, match=r"AX\.tsv.*data\.path.*'some/glue'"):
        assert load_diagnostics("some/glue") is None


@pytest.mark.parametrize("name", ["cola", "rte"])
@pytest.mark.parametrize("length", [8, 9, 10, 64])
def test_texts_are_put_together_as_the_tokenizer_does(name, length, tmp_path):
    tokenizer = tiny_tokenizer()
    split = load_glue(str(write_task(tmp_path, name)), task_of(name)).splits["train"]
    expected = tokenizer(*map(list, split.texts), truncation="longest_first", max_length=length)
    for _ in range(2):  # tokenised, then read from the cache
        encoded = EncodedSplit(split, tokenizer, length, str(tmp_path / "cache"))
        assert [encoded.texts.ids[i].tolist() for i in range(len(encoded))] == expected["input_ids"]
    positions = [5, 0, 11, 2]
    batch = encoded(positions)
    order = [positions[row] for row in batch.texts.rows]
    padded = tokenizer.pad({key: [of[i] for i in order] for key, of in expected.items()}, return_tensors="pt")
    assert all(torch.equal(batch.inputs[key], padded[key]) for key in batch.inputs)
    assert batch.labels.tolist() == [split.labels[i] for i in order]
    assert sorted(row for chunk in encoded.chunks(40) for row in chunk.rows.tolist()) == [*range(len(split))]


def test_real_tasks(shared_data):
    counts = {"cola": (8551, 1043), "mrpc": (3668, 408), "rte": (2490, 277), "stsb": (5749, 1500)}
    for key, (train, validation) in counts.items():
        data = load_glue(str(shared_data / "glue"), task_of(key))
        assert (len(data.splits["train"]), len(data.splits["validation"])) == (train, validation)
    assert data.splits["train"].labels[:2].tolist() == [5.0, np.float32(3.8)]


def test_a_batch_knows_its_positions(tmp_path):
    split = tiny_split(tmp_path, "mnli")
    batch = EncodedSplit(split, tiny_tokenizer(), 24, str(tmp_path / "cache"))([7, 3, 11, 5])
    assert sorted(batch.positions.tolist()) == [3, 5, 7, 11]
    assert batch.labels.tolist() == split.labels[batch.positions].tolist()
    lengths = batch.texts.attention_mask.sum(1).tolist()
    assert lengths == sorted(lengths, reverse=True)

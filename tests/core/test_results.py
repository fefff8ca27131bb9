"""Results of a stage: read by attribute, written back as they were, and named where they are none."""

import json
from pathlib import Path

import pytest

from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.core.run import Run

TEXT = {
    "layers": 3,
    "mask_rate": 0.3,
    "method": "pmd",
    "teacher": "teacher",
    "dim": 16,
    "parameters": 1000,
    "train_seconds": 2.5,
    "entities_per_second": 800.5,
    "metrics": {"test": {"mrr": 0.5}},
    "widths": {"test": {"8": {"mrr": 0.4}, "16": {"mrr": 0.5}}},
}
EMBEDDING = {
    "interaction": "rotate",
    "dim": 8,
    "teacher": None,
    "released": False,
    "start": None,
    "parameters": 80,
    "epochs": 3,
    "train_seconds": 0.125,
    "best_epoch": 2,
    "valid_mrr": 0.25,
    "rank_seconds": {"test": 0.01},
    "metrics": {"test": {"mrr": 0.5}},
}
BERT = {
    "task": "rte",
    "method": "med",
    "layers": 2,
    "teacher": None,
    "start": "finetune",
    "order": None,
    "epochs": 1,
    "steps": 5,
    "train_seconds": 1.0,
    "examples": {"validation": 40},
    "majority": {"validation": {"accuracy": 0.5}},
    "widths": {
        "8": {"score": 0.6, "metrics": {"validation": {"accuracy": 0.6}}, "constant": [], "parameters": 9},
        "16": {"score": 0.7, "metrics": {"validation": {"accuracy": 0.7}}, "parameters": 20, "speedup": 1.0},
    },
}
OLD = {"metrics": {"test": {"mrr": 0.5}}, "dim": 4, "parameters": 40, "of a later version": [1, {"a": None}]}


@pytest.mark.parametrize("stored", [TEXT, EMBEDDING, BERT, OLD])
def test_a_result_is_read_by_attribute_and_written_back_as_it_was(stored, tmp_path):
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"first": stored}))
    run = Run(tmp_path)
    result = run.results["first"]
    for key in StageResult.__annotations__:
        assert getattr(result, key) == stored.get(key)
    run.add_result("second", result)
    written = json.loads(file.read_text())
    assert [*written] == ["first", "second"]
    assert json.dumps(written["first"]) == json.dumps(written["second"]) == json.dumps(stored)


def test_a_field_that_no_family_has_is_an_error():
    with pytest.raises(AttributeError, match="'mrr'"):
        StageResult(**TEXT).mrr  # noqa: B018


def test_metrics_come_by_width():
    assert StageResult(**TEXT).by_width("test") == {8: {"mrr": 0.4}, 16: {"mrr": 0.5}}
    assert StageResult(**EMBEDDING).by_width("test") == {8: {"mrr": 0.5}}
    models = StageResult(**BERT).sub_models
    assert [*models] == [8, 16] and models[16].speedup == 1.0 and models[8].speedup is None
    assert models[8].score == 0.6 and models[16].metrics["validation"]["accuracy"] == 0.7


@pytest.mark.parametrize(
    "stored",
    [
        *(None, [], {}, {"teacher": None}, {"metrics": None}, {"metrics": {"test": 3}}, {"widths": [8, 16]}),
        {"metrics": {"test": {"mrr": 0.5}}},
        {**TEXT, "parameters": "1000"},
        {**TEXT, "metrics": {"test": {"mrr": "0.5"}}},
        {"widths": {"8": {"score": "0.6", "constant": ["validation"]}}},
    ],
)
def test_what_is_no_result_of_a_stage_is_named_with_its_file_and_the_way_out(stored):
    with pytest.raises(PmdError) as caught:
        StageResult.read(stored, Path("runs/a/results.json"))
    message = str(caught.value)
    assert message.startswith("'runs/a/results.json' does not hold a stage's result") and "restore it" in message


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (TEXT, {"test": {8: {"mrr": 0.4}, 16: {"mrr": 0.5}}}),
        (EMBEDDING, {"test": {8: {"mrr": 0.5}}}),
        (BERT, {"validation": {8: {"accuracy": 0.6}, 16: {"accuracy": 0.7}}}),
    ],
)
def test_metrics_by_split_and_width_whatever_the_family(stored, expected):
    result = StageResult(**stored)
    assert {split: result.by_width(split) for split in result.splits} == expected

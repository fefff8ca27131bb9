"""Training from Python: the same results as the commands, typed, and nothing changed in the process."""

import dataclasses
import json
import random
import warnings

import numpy as np
import pytest
import torch

import pmd
from pmd.api.graphs import data_settings
from pmd.api.settings import settings_of
from pmd.core.errors import PmdError
from pmd.settings.kge import KgeConfig, KgeTrainConfig

from ..says import says
from ..tiny_glue import write_bert, write_task

SMALL = {"model": {"dim": 8}, "train": {"epochs": 4, "batch_size": 16, "valid_every": 2, "lr": 0.05, "threads": 1}}
pytestmark = pytest.mark.filterwarnings("ignore:graph '")


@pytest.fixture
def runs(tmp_path):
    return str(tmp_path / "runs")


def test_train_returns_results_models_tables_and_figures(folder, runs):
    run = pmd.train(folder, runs=runs, **SMALL, **{"loss.negatives": 4})
    assert run.stages == ["rotate"] or len(run.stages) == 1
    metrics = run.metrics()
    assert 0 < metrics["mrr"] <= 1 and metrics == run.results[run.stages[0]].metrics["test"]
    frame = run.to_pandas()
    assert frame.loc[0, "mrr"] == metrics["mrr"] and frame.loc[0, "split"] == "test"
    assert run._repr_markdown_() == (run.folder / "table.md").read_text()
    assert run.load().answer(head="Finland town 1", relation="lies in", top_k=3).answers
    for figure, label in ((run.plot_validation(), "epoch"), (run.plot_loss(), "step")):
        assert figure.axes[0].get_xlabel() == label and figure.axes[0].lines
    with pytest.raises(PmdError, match="no stage of several widths"):
        run.plot_widths()
    with pytest.raises(PmdError, match="term: 'los' was not logged"):
        run.plot_loss("los")


def test_settings_are_dataclasses_groups_or_keys_and_the_results_are_the_same(folder, runs):
    config = KgeConfig(runs=runs, train=KgeTrainConfig(epochs=4, batch_size=16, lr=0.05, threads=1))
    one = pmd.train(folder, config, model={"dim": 8})
    two = pmd.train(folder, runs=runs, **SMALL, **{"train.valid_every": 20})
    three = pmd.train(
        folder, runs=runs, **{**SMALL, "train": KgeTrainConfig(epochs=4, batch_size=16, lr=0.05, threads=1)}
    )
    assert one.metrics() == two.metrics() == three.metrics()


def test_a_graph_in_memory_can_be_trained_on_and_asked(folder, runs):
    graph = pmd.load_graph(folder)
    run = pmd.train(graph, runs=runs, **SMALL)
    again = pmd.train(graph, runs=runs, **SMALL)
    assert run.metrics() == again.metrics() == pmd.train(folder, runs=runs, **SMALL).metrics()
    assert len(list((run.folder.parent / "graphs").iterdir())) == 1
    assert pmd.load(run.folder).answer(head="Finland town 1", relation="lies in").answers


def test_nothing_is_left_behind(folder, runs):
    from accelerate.state import PartialState

    PartialState._reset_state()  # of other tests of this process
    threads = torch.get_num_threads()
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    pmd.train(folder, runs=runs, **SMALL)
    drawn = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    assert drawn == (torch.rand(1).item(), np.random.rand(), random.random())
    assert torch.get_num_threads() == threads
    assert not PartialState._shared_state


def test_resume_of_a_finished_run_trains_nothing(folder, runs):
    run = pmd.train(folder, runs=runs, **SMALL)
    lines = (run.folder / "metrics.jsonl").read_text()
    assert pmd.train(resume=run).metrics() == run.metrics()
    assert (run.folder / "metrics.jsonl").read_text() == lines
    with pytest.raises(PmdError, match="leave out model"):
        pmd.train(resume=run, model={"dim": 4})


def test_errors_are_those_of_the_commands(folder, runs):
    for settings, words in (
        ({"train": {"epoch": 3}}, "train.epoch…did you mean 'train.epochs'"),
        ({"train.epochs": "many"}, "train.epochs: 'many' is not a whole number"),
        ({"modle": {"dim": 3}}, "modle"),
        ({"model": {"dim": -1}}, "model.dim"),
    ):
        with pytest.raises(PmdError) as error:
            pmd.train(folder, runs=runs, **settings)
        assert says(str(error.value), words)
    with pytest.raises(PmdError, match="neither a folder"):
        pmd.train("no such graph", runs=runs)


def test_progressive_and_evaluate_and_crop(folder, tmp_path, runs):
    encoder = {"hidden_size": 32, "intermediate_size": 64, "layers": 2, "max_length": 16}
    run = pmd.progressive(
        folder,
        runs=runs,
        encoder=encoder,
        train={"epochs": 1, "batch_size": 16, "threads": 1},
        distill={"epochs": 1, "depths": [1], "mask_rates": [0.1]},
        structure=None,
    )
    assert run.stages == ["teacher", "grade1"]
    first, last = pmd.evaluate([run.folder / "teacher", run.folder / "grade1"])
    assert first.metrics.mrr == pytest.approx(run.metrics("teacher")["mrr"])
    assert last.metrics.mrr == pytest.approx(run.metrics()["mrr"]) and last.rate > 0
    out = pmd.crop(run.folder / "grade1", 16, tmp_path / "narrow")
    assert pmd.load(out).answer(head="Finland town 1", relation="lies in", top_k=2).answers


def test_an_own_teacher_teaches_as_a_stage_does(folder, runs):
    graph = pmd.load_graph(folder)
    wide = pmd.train(graph, runs=runs, **SMALL)
    teacher = pmd.load_scorer(wide.folder / wide.stages[0], graph)
    of_run = pmd.load_scorer(wide.folder, graph)  # its last stage
    assert torch.equal(of_run.score_all(graph.test, "tail"), teacher.score_all(graph.test, "tail"))
    for loss in ({"name": "softmax", "negatives": 4, "shared": 4}, {"name": "softmax"}, {"name": "one_vs_all"}):
        stages = [
            {"name": "wide", "load": str(wide.folder / wide.stages[0])},
            {"name": "taught", "dim": 4, "teacher": "wide"},
        ]
        settings = {"runs": runs, **SMALL, "loss": loss}
        by_stage = pmd.train(graph, stages=stages, **settings)
        by_scores = pmd.train(graph, stages=[stages[0], {**stages[1], "teacher": "own"}], teacher=teacher, **settings)
        alone = pmd.train(graph, stages=[stages[0], {"name": "taught", "dim": 4}], **settings)
        assert by_scores.metrics("taught") == by_stage.metrics("taught") != alone.metrics("taught")
    taught = pmd.train(graph, teacher=teacher, runs=runs, **SMALL)
    assert taught.stages == ["taught"] and taught.results["taught"].teacher == "own"


def test_an_own_teacher_that_is_not_given_or_cannot_learn_is_refused(folder, runs):
    stage = {"name": "taught", "teacher": "own"}
    with pytest.raises(PmdError, match="own is what a program gives"):
        pmd.train(folder, runs=runs, stages=[stage], **SMALL)
    with pytest.raises(PmdError, match="own gives scores alone; leave out release"):
        pmd.train(folder, runs=runs, stages=[{**stage, "release": True}], teacher=object(), **SMALL)


def test_a_callback_sees_every_line_that_is_logged(folder, runs):
    seen = []
    run = pmd.train(folder, runs=runs, callback=seen.append, **SMALL)
    assert seen == [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert {"valid", "loss"} <= {key for values in seen for key in values}


TEXT = {
    # Without neighbours, whose names a training query reads but for its answer, a text is the same when it is scored.
    "encoder": {"hidden_size": 32, "intermediate_size": 64, "layers": 2, "max_length": 16, "neighbours_below": 0},
    "train": {"epochs": 2, "batch_size": 16, "threads": 1},
    "distill": {"epochs": 2, "init": "pretrained", "method": "lkd"},
}


def test_an_own_teacher_teaches_a_text_student_as_a_stage_does(folder, runs):
    graph = pmd.load_graph(folder)
    wide = pmd.progressive(graph, runs=runs, stages=[{"name": "teacher"}], **TEXT)
    scorer = pmd.load_scorer(wide.folder / "teacher", graph)
    scale = float(scorer.model.inverse_temperature.detach())

    class Logits:
        def score_all(self, triples, target):
            return scale * scorer.score_all(triples, target)

    stages = [{"name": "teacher", "load": str(wide.folder / "teacher")}, {"name": "student", "layers": 1}]
    named = pmd.progressive(graph, runs=runs, stages=stages, **TEXT)
    own = pmd.progressive(
        graph, runs=runs, stages=[stages[0], {**stages[1], "teacher": "own"}], teacher=Logits(), **TEXT
    )
    lines = [
        [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()] for run in (named, own)
    ]
    for name in ("ce", "logits"):
        assert lines[0][-1][name] == pytest.approx(lines[1][-1][name], rel=1e-3)
    with pytest.raises(PmdError, match="own gives scores alone; set method to lkd"):
        pmd.progressive(
            graph, runs=runs, stages=[{"name": "s", "teacher": "own", "method": "pkd"}], teacher=Logits(), **TEXT
        )


def test_vectors_are_a_scorer(folder):
    graph = pmd.load_graph(folder)
    model = pmd.KgeModel(
        interaction="complex", num_entities=graph.num_entities, num_relations=graph.num_relations, dim=4
    )
    table = torch.nn.functional.one_hot(torch.arange(graph.num_entities)).float()
    scorer = pmd.VectorScorer(lambda triples, target: model.score_all(triples, target).detach(), table)
    assert pmd.rank(scorer, graph).mrr == pmd.rank(model, graph).mrr


def test_resume_takes_the_runs_of_its_own_command_and_no_config(folder, runs):
    run = pmd.train(folder, runs=runs, **SMALL)
    for arguments, message in (({"config": "kge/world"}, "…leave out config"), ({"seed": 1}, "…leave out seed")):
        with pytest.raises(PmdError) as error:
            pmd.train(resume=run, **arguments)
        assert says(str(error.value), message)
    with pytest.raises(PmdError, match="is a run of another script"):
        pmd.progressive(resume=run)
    assert pmd.train(resume=run).metrics() == run.metrics()


def test_what_is_no_run_or_was_not_ranked_is_named(folder, runs, tmp_path):
    with pytest.raises(PmdError, match="is not a run folder"):
        pmd.TrainedRun(tmp_path / "nowhere")
    run = pmd.train(folder, runs=runs, **SMALL)
    with pytest.raises(PmdError, match="split: 'tset' was not ranked; there are test"):
        run.metrics(split="tset")
    (run.folder / "table.md").unlink()
    assert str(run) == repr(run)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": 3}, "train: 3 is no group of settings; …"),
        ({"train": None}, "train: None is no value; leave it out"),
        ({"data": object()}, "data: <object…is no group of settings; …"),
        ({"runs": None}, "runs: None is no value; leave it out"),
    ],
)
def test_settings_that_are_no_values_or_groups_are_refused(folder, settings, message):
    for function in (pmd.train, pmd.progressive, pmd.fit):
        if function is pmd.fit and "train" in settings:
            continue
        with pytest.raises(PmdError) as error:
            function(pmd.load_graph(folder), **settings)
        assert says(str(error.value), message)


def test_numbers_of_numpy_and_torch_are_numbers():
    numbers = {"epochs": np.int64(3), "lr": np.float64(0.5), "batch_size": torch.tensor(7)}
    config = settings_of(KgeConfig, train=numbers)
    assert config == settings_of(KgeConfig, train={"epochs": 3, "lr": 0.5, "batch_size": 7})


def test_graphs_in_memory_of_the_same_triples_are_kept_apart_by_all_that_they_hold(tmp_path):
    triples = torch.tensor([[0, 0, 1]])
    plain = pmd.KnowledgeGraph("g", ["a", "b"], ["A", "B"], ["", ""], ["r"], ["R"], triples, triples, triples)
    others = [
        dataclasses.replace(plain, negatives={"valid": torch.tensor([[1, 0, 0]])}),
        dataclasses.replace(plain, negatives={"valid": torch.tensor([[1, 0, 1]])}),
        dataclasses.replace(plain, aliases={"a": ["first"]}),
        dataclasses.replace(plain, types={"a": ("first",)}),
    ]
    paths = [data_settings(graph, str(tmp_path), {})["path"] for graph in [*others, plain, *others]]
    assert len(set(paths)) == 5 and paths[:4] == paths[5:]
    for graph, path in zip([*others, plain], paths):
        loaded = pmd.load_graph(path)
        assert {split: rows.tolist() for split, rows in loaded.negatives.items()} == {
            split: rows.tolist() for split, rows in graph.negatives.items()
        }
        assert loaded.aliases == graph.aliases
        assert {key: list(kinds) for key, kinds in loaded.types.items()} == {k: list(v) for k, v in graph.types.items()}


def test_weights_of_the_training_triples_alone_are_enough(tmp_path, runs):
    triples = torch.tensor([[0, 0, 1], [1, 0, 0]])
    graph = pmd.KnowledgeGraph("g", ["a", "b"], ["A", "B"], ["", ""], ["r"], ["R"], triples, triples[:1], triples[1:])
    weighed = dataclasses.replace(graph, weights={"train": torch.tensor([0.5, 2.0])})
    run = pmd.train(weighed, runs=runs, **SMALL)
    (path,) = (run.folder.parent / "graphs").glob("*/g")
    loaded = pmd.load_graph(path, weight="4")
    assert {split: weights.tolist() for split, weights in loaded.weights.items()} == {"train": [0.5, 2.0]}


def test_evaluate_takes_what_holds_a_graph(folder, runs):
    graph = pmd.load_graph(folder)
    ids = (graph.entity_ids, graph.relation_ids, graph.entity_ids)
    splits = {
        split: [tuple(known[position] for known, position in zip(ids, row)) for row in graph.split(split).tolist()]
        for split in ("train", "valid", "test")
    }
    run = pmd.train(splits, runs=runs, **SMALL)
    (record,) = pmd.evaluate(run.folder / run.stages[0], splits)
    (other,) = pmd.evaluate(run.folder / run.stages[0])
    assert record.metrics == other.metrics and record.metrics.mrr == run.metrics()["mrr"]


def test_resume_finds_the_data_from_another_folder(folder, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    run = pmd.train(folder.name, runs=runs, **SMALL)
    monkeypatch.chdir(tmp_path)
    assert pmd.train(resume=run).metrics() == run.metrics()


def test_export_push_and_report_are_the_commands(folder, tmp_path, runs):
    run = pmd.train(folder, runs=runs, **SMALL)
    tables = pmd.export(run.folder, "embeddings", tmp_path / "tables")
    assert tables == tmp_path / "tables" and list(tables.glob("*.tsv"))
    sent = pmd.push(run.folder, "user/model", dry_run=True, out=tmp_path / "sent")
    assert "nothing was sent" in sent and (tmp_path / "sent" / "README.md").is_file()
    page, *others = pmd.report([run.folder], latency_rounds=0)
    assert page == run.folder / "report.html" and all(file.is_file() for file in others)
    with pytest.raises(PmdError, match=r"to: .*'onxx'"):
        pmd.export(run.folder, "onxx", tmp_path / "no")


def test_glue_returns_a_run_of_sub_models(tmp_path, runs):
    data = write_task(tmp_path / "glue" / "RTE", "rte").parent
    write_bert(tmp_path / "bert")
    run = pmd.glue(
        "rte",
        runs=runs,
        data={"path": str(data)},
        model={"name": str(tmp_path / "bert"), "widths": [16, 32], "max_length": 32},
        train={"epochs": 1, "batch_size": 8, "threads": 1},
    )
    assert run.stages == ["finetune", "med"]
    assert set(run.to_pandas()["width"]) == {16, 32} and run.plot_widths("accuracy").axes[0].lines


@pytest.mark.filterwarnings("default:graph '")
def test_what_a_graph_is_like_is_said_when_a_model_is_trained_and_not_again(tmp_path, write_files):
    rows = [f"{a}\tcalls\t{(a * 7 + 3) % 40}\n" for a in range(40)]
    files = {"train.tsv": rows, "valid.tsv": rows[:1], "test.tsv": rows[1:2]}
    graph = write_files(
        tmp_path / "graph", {name: "caller\twhat\tcallee\n" + "".join(part) for name, part in files.items()}
    )
    with pytest.warns(
        pmd.PmdWarning, match="graph 'graph': the first line is a header: caller, what, callee; "
    ) as said:
        run = pmd.train(graph, model={"dim": 4}, train={"epochs": 1, "threads": 1}, runs=str(tmp_path / "runs"))
    assert [warning.filename for warning in said] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.load().answer(head="3", relation="calls")
        pmd.evaluate(run.folder / "rotate")


def test_settings_of_data_beside_a_graph_in_memory_are_kept_or_refused(folder, tmp_path):
    from pmd.api.graphs import data_settings

    graph = pmd.load_graph(folder)
    assert data_settings(graph, str(tmp_path), {"cache": "texts"})["cache"] == "texts"
    with pytest.raises(
        PmdError, match=r"^data.columns: says how a graph is read, and this one is in memory; leave it out"
    ):
        data_settings(graph, str(tmp_path), {"columns": {"head": "a"}})
    with pytest.raises(PmdError, match=r"cahce.*did you mean 'cache'"):
        data_settings(graph, str(tmp_path), {"cahce": "texts"})

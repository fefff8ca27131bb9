"""`pmd evaluate --tasks`: relation prediction and triple classification, by loops and in results.json."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.core.results import StageResult
from pmd.core.run import Run
from pmd.recipes.triples.measure import relation_metrics, triple_metrics
from pmd.reports.triples import triples_section
from pmd.trust.sides import measured

from ..asked import own_cache, run  # noqa: F401
from ..markdown import tables_of
from ..trust.tabled import tabled


@pytest.fixture
def model(random_graph, tmp_path):
    return tabled(random_graph(0, valid=30), tmp_path / "model")


def test_relations_are_ranked_as_by_a_loop(model, random_graph):
    graph = random_graph(0, valid=30)
    known = {tuple(triple) for triple in graph.known_triples().tolist()}
    judge, forward, either = model.judge, [], []
    for head, relation, tail in np.unique(graph.test.numpy(), axis=0).tolist():
        tried = [(head, r, tail) for r in range(3)] + [(tail, r, head) for r in range(3)]
        values = measured(judge.sides(model, np.array(tried)), judge.relations).tolist()
        for ranks, count in ((forward, 3), (either, 6)):
            rivals = [v for t, v in zip(tried[:count], values) if t not in known]
            own = values[relation]
            ranks.append(1 + sum(v > own for v in rivals) + sum(v == own for v in rivals) / 2)
    metrics = relation_metrics(model, graph, "test")
    assert metrics["mrr"] == pytest.approx(np.mean([1 / rank for rank in forward]))
    assert metrics["hits_at_1"] == pytest.approx(np.mean([rank <= 1 for rank in forward]))
    assert metrics["either_direction_mrr"] == pytest.approx(np.mean([1 / rank for rank in either]))
    assert metrics["num_queries"] == len(forward) and metrics["measure"] == judge.relations
    assert relation_metrics(model, graph, "test", 4)["num_queries"] == 4


def test_triples_are_judged_beside_false_ones(model, random_graph):
    graph = random_graph(0, valid=30)
    metrics = triple_metrics(model, graph, "test")
    assert metrics["negatives"] == "hard" and metrics["true"] == len(torch.unique(graph.test, dim=0))
    labelled = replace(graph, negatives={"test": torch.tensor([[0, 1, 2], [3, 2, 4], [5, 0, 6]])})
    metrics = triple_metrics(model, labelled, "test")
    assert metrics["negatives"] == "labelled" and metrics["false"] == 3
    triples = np.concatenate([np.unique(graph.test.numpy(), axis=0), labelled.negatives["test"].numpy()])
    holds = np.array([verdict.holds for verdict in model.classify_all(triples)])
    assert metrics["accuracy"] == pytest.approx((holds == (np.arange(len(triples)) < metrics["true"])).mean())


def test_what_is_measured_is_noted_in_the_run(run, capsys):  # noqa: F811
    before = {"metrics": {"test": {"mrr": 0.5}}, "dim": 8, "parameters": 1}
    for stage in Run(run).finished:
        Run(run).add_result(stage, before)
    dispatch(["evaluate", str(run / "narrow"), "--tasks=relations,triples"])
    relations, triples = tables_of(capsys.readouterr().out)
    stored = json.loads((run / "results.json").read_text())["narrow"]
    assert {key: value for key, value in stored.items() if key not in ("relations", "triples")} == before
    assert f"{stored['relations']['test']['mrr']:.3f}" == relations[1][relations[0].index("MRR")]
    assert f"{stored['triples']['test']['accuracy']:.3f}" == triples[1][triples[0].index("accuracy")]
    dispatch(["evaluate", str(run / "narrow"), "--tasks=triples", "--evaluation.split=valid"])
    assert {*Run(run).results["narrow"].triples} == {"test", "valid"}
    section = triples_section(SimpleNamespace(results=Run(run).results))
    assert [len(table.rows) for table in section.blocks] == [1, 2]
    assert section.blocks[0].rows[0][:2] == ["narrow", "test"]
    assert triples_section(SimpleNamespace(results={"narrow": StageResult(**before)})) is None


def test_a_task_that_there_is_not_is_named(run):  # noqa: F811
    with pytest.raises(PmdError, match="no task 'relation'; there are entities, relations, triples"):
        dispatch(["evaluate", str(run / "narrow"), "--tasks=relation"])

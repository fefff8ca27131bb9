"""Ranking by scores after types: by all widths as by each, off as without, beside neighbours, noted in results and tables."""

import json
import shutil

import pytest
import torch

import pmd
from pmd.cli.main import dispatch
from pmd.evaluation.rerank import NeighbourRerank
from pmd.evaluation.width_ranking import AtWidth
from pmd.recipes.ranking import ranked
from pmd.settings.shared import EvaluationConfig
from pmd.trust.type_learning import learn_types
from pmd.trust.typed_ranking import AfterTypes
from pmd.trust.validation import ValidationScores


@pytest.fixture(scope="module")
def world():
    return pmd.load_graph("world")


@pytest.fixture(scope="module")
def model(world):
    torch.manual_seed(0)
    sizes = {"num_entities": world.num_entities, "num_relations": world.num_relations}
    return pmd.KgeModel("rotate", **sizes, dim=4, widths=(2, 4))


def test_ranks_after_types_are_those_of_adjusted_scores(world, model):
    types = learn_types(world, ValidationScores(model, world))

    class Adjusted:
        def score_all(self, triples, target):
            questions = triples[:, 1] + world.num_relations * (target == "head")
            with torch.no_grad():
                scores = model.score_all(triples, target).numpy()
            return torch.from_numpy(types.adjusted(scores, questions.numpy(), "strict"))

    by_width = ranked(model, world, EvaluationConfig(types="strict"), "test")
    expected = pmd.ranks(Adjusted(), world, "test")
    assert torch.equal(by_width[4].realistic, expected.realistic) and sorted(by_width) == [2, 4]
    rerank = AfterTypes(types, world.num_relations, "strict")
    narrow = pmd.ranks(AtWidth(model, 2), world, "test", rerank=rerank)
    assert torch.equal(by_width[2].realistic, narrow.realistic)
    plain = ranked(model, world, EvaluationConfig(), "test")[4].realistic
    assert (1 / by_width[4].realistic).mean() > 3 * (1 / plain).mean()


def test_types_come_after_neighbours(world, model):
    near = NeighbourRerank(world.train, world.num_entities, 1, 5.0)
    after = AfterTypes.of(model, world, "soft", near, near)
    scores, triples = torch.rand(3, world.num_entities), world.test[:3]
    both = AfterTypes(after.types, world.num_relations, "soft").adjust(
        near.adjust(scores, triples, "tail"), triples, "tail"
    )
    assert torch.equal(after.adjust(scores, triples, "tail"), both)


def test_results_and_tables_say_which_types_were_used(folder, types_file, tmp_path, capsys):
    data = shutil.copytree(folder, tmp_path / "typed")
    shutil.copy(types_file, data)
    options = ["train", f"--data.path={data}", "--model.dim=8", "--train.epochs=2", "--train.threads=1"]
    for types in ("off", "soft"):
        dispatch([*options, f"--runs={tmp_path}", f"--name={types}", f"--evaluation.types={types}"])
    (plain,), (typed,) = (tmp_path.glob(f"{name}-*") for name in ("off", "soft"))
    results = [json.loads((run / "results.json").read_text()) for run in (plain, typed)]
    assert [{stage.get("types") for stage in result.values()} for result in results] == [{None}, {"soft"}]
    assert ["types" in (run / "table.md").read_text() for run in (plain, typed)] == [False, True]
    capsys.readouterr()
    stage = next(typed.glob("*/config.json")).parent
    dispatch(["evaluate", f"--model={stage}", "--evaluation.types=strict"])
    assert "|  strict |" in capsys.readouterr().out.replace("   strict", "  strict")
    dispatch(["data", "info", str(data)])
    assert "3 declared types: town (36), country (6), language (6)" in capsys.readouterr().out

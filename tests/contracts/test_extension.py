"""The examples of docs/extending.md, run as they stand there, through all that is done with a model."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import pmd
from pmd.cli.command import Command, Group
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.data.graphs import sources
from pmd.settings.catalogue import INTERACTIONS, METHODS

from ..recipes.test_text import TINY

GUIDE = Path(__file__).parents[2] / "docs" / "extending.md"


def examples(language):
    """The blocks of the guide in this language, each below so many empty lines that its lines have their numbers."""
    text = GUIDE.read_text(encoding="utf-8")
    for block in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield "\n" * text.count("\n", 0, block.start(1)) + block[1]


@pytest.fixture(scope="module")
def guide(folder, tmp_path_factory):
    """The program that the guide writes, as a module; what it registers is taken away afterwards."""
    program = ModuleType("guide")
    sys.modules |= {"guide": program, "pmd.recipes.count": program}
    log = tmp_path_factory.mktemp("log") / "my_log.jsonl"
    log.write_text(
        "".join(
            json.dumps({"who": f"user {i % 5}", "does": "opens", "what": f"file {i // 5}"}) + "\n" for i in range(60)
        )
    )
    for code in examples("python"):
        code = code.replace("/data/my_graph", str(folder)).replace("/data/my_log.jsonl", str(log))
        exec(compile(code, GUIDE, "exec"), vars(program))
    yield program
    del (
        sys.modules["guide"],
        sys.modules["pmd.recipes.count"],
        sources._REGISTERED["my_graph"],
        sources._REGISTERED["my_log"],
    )
    del INTERACTIONS["distmult"], INTERACTIONS["scaled_transe"]
    del METHODS["embedding"]["score_matching"], METHODS["text"]["vector_matching"]


@pytest.mark.filterwarnings("ignore:graph")
def test_the_layout_is_read(guide):
    graph = pmd.load_graph("my_log")
    assert (graph.num_entities, graph.num_relations) == (17, 1)
    assert sum(map(len, (graph.train, graph.valid, graph.test))) == 60


def test_an_interaction_of_two_parts_is_trained(guide, folder, tmp_path):
    sizes = {"model.interaction": "scaled_transe", "model.dim": 4, "train.epochs": 1, "train.threads": 1}
    run = pmd.train("my_graph", runs=str(tmp_path), **sizes)
    model = run.load().model
    assert model.relation_rows.weight.shape == (model.num_relations, 8)


@pytest.fixture(scope="module")
def runs(guide, tmp_path_factory):
    """A run of embedding models, croppable teacher and student, and one of text models; both of the guide's methods."""
    runs = tmp_path_factory.mktemp("extension")
    shared = ["--data.path=my_graph", f"--runs={runs}", "--train.batch_size=16", "--train.threads=1"]
    student = {"name": "small", "dim": 4, "method": "score_matching", "teacher": "wide", "alpha": 0.1}
    stages = json.dumps([{"name": "wide", "dim": 8, "widths": [2, 4, 8]}, student])
    options = ["--model.interaction=DistMult", "--train.epochs=2", "--train.lr=0.05", "--train.valid_every=1"]
    COMMANDS["train"]([*shared, *options, f"--stages={stages}", "--name=embedding"])
    options = [
        *TINY,
        "--train.epochs=1",
        "--distill.epochs=2",
        "--distill.method=vector_matching",
        "--distill.alpha=0.2",
    ]
    options += ["--distill.depths=[2]", "--distill.mask_rates=[0.2]", f"--data.cache={runs}/cache"]
    COMMANDS["progressive"]([*options, *shared, "--name=text"])
    return {name: next(runs.glob(f"{name}-*")) for name in ("embedding", "text")}


STAGES = pytest.mark.parametrize(
    ("family", "stage"), [("embedding", "small"), ("embedding", "wide"), ("text", "grade2")]
)


def logged(run, stage):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["stage"] == stage]


def test_both_learn_by_their_own_terms(runs):
    """The weights are those of the row; a text method that masks nothing has no mask rate in the results."""
    for family, stage in (("embedding", "small"), ("text", "grade2")):
        assert any("match" in line for line in logged(runs[family], stage))
        result = json.loads((runs[family] / "results.json").read_text())[stage]
        assert result["method"] == f"{'score' if family == 'embedding' else 'vector'}_matching"
    assert json.loads((runs["text"] / "results.json").read_text())["grade2"]["mask_rate"] == 0


@STAGES
def test_ranked_again_they_have_the_metrics_of_the_run(family, stage, runs):
    graph = pmd.load_graph("my_graph")
    metrics = json.loads((runs[family] / "results.json").read_text())[stage]["metrics"]
    again = pmd.rank(pmd.load_scorer(runs[family] / stage, graph), graph, split="test")
    assert again.mrr == pytest.approx(metrics["test"]["mrr"], abs=1e-6)


@STAGES
def test_they_answer(family, stage, runs):
    answers = pmd.load(runs[family] / stage).answer(head="Finland town 1", relation="lies in", top_k=3)
    scores = [answer.score for answer in answers]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)


def test_a_crop_is_the_sub_model_that_was_trained(runs, tmp_path):
    COMMANDS["crop"]([str(runs["embedding"] / "wide"), "--width=4", f"--out={tmp_path}/small"])
    model = pmd.KgeModel.from_pretrained(tmp_path / "small")
    triples = torch.tensor([[0, 0, 1], [2, 1, 3]])
    whole = pmd.KgeModel.from_pretrained(runs["embedding"] / "wide")
    torch.testing.assert_close(model.score(triples), whole.score(triples, width=4))
    h, r, t = model.embed(triples)
    torch.testing.assert_close(model.score(triples), (h * r * t).sum((-1, -2)))


@STAGES
def test_they_are_exported(family, stage, runs, tmp_path):
    to = "embeddings" if family == "embedding" else "sentence-transformers"
    COMMANDS["export"]([str(runs[family] / stage), f"--to={to}", f"--out={tmp_path}/out"])
    text = (tmp_path / "out" / "README.md").read_text()
    assert "⟨h, r, t⟩" in text if family == "embedding" else "sentence_transformers" in text


@STAGES
def test_they_have_cards(family, stage, runs, tmp_path):
    COMMANDS["push"]([str(runs[family] / stage), "user/name", "--dry-run", f"--out={tmp_path}/out"])
    text = (tmp_path / "out" / "README.md").read_text()
    summaries = {"small": "by score matching", "grade2": "by vector matching", "wide": "(MED)"}
    assert (
        summaries[stage] in text
        and "`my_graph`: 48 entities" in text
        and "\nFacts from an atlas, under CC BY 4.0.\n" in text
    )
    assert ("DistMult" in text) == (family == "embedding")


def test_both_runs_are_reported(runs, tmp_path):
    pytest.importorskip("matplotlib")
    COMMANDS["report"]([*map(str, runs.values()), f"--out={tmp_path}/page.html", "--latency_rounds=2"])
    page = (tmp_path / "page.html").read_text()
    assert "grade2" in page and "small" in page and page.count("match") >= 2


@pytest.mark.parametrize(
    ("command", "options", "names"),
    [
        ("train", ["--model.interaction=distmul"], ["model.interaction", "'distmul'", "'distmult'"]),
        (
            "train",
            ['--stages=[{"name": "a", "method": "score_matching"}]'],
            ["stages[0] (a).teacher", "score_matching"],
        ),
        ("progressive", ["--distill.method=vector_match"], ["distill.method", "'vector_match'", "'vector_matching'"]),
        (
            "progressive",
            ["--distill.method=vector_matching", "--distill.alpha=1", "--encoder.layers=2"],
            ["alpha 1.0"],
        ),
    ],
)
def test_their_rows_are_checked(command, options, names, guide):
    with pytest.raises(PmdError) as refused:
        COMMANDS[command](options)
    assert all(name in str(refused.value) for name in names)


def test_a_command_counts(guide, folder, capsys):
    _, entry = examples("py")
    commands = Group("commands of the guide", eval(f"{{{entry}}}", {"Command": Command}))
    commands(["count", "my_graph", "--split=valid"], "pmd")
    assert capsys.readouterr().out.split() == [str(len((folder / "valid.tsv").read_text().splitlines()))]
    with pytest.raises(PmdError, match="'vaild'"):
        commands(["count", "my_graph", "--split=vaild"], "pmd")


def test_a_metric_is_a_formula():
    formula, _ = examples("py")
    values = {"ranks": torch.tensor([1.0, 2.5, 4.0, 10.5])}
    exec(formula, values)
    assert values["hits"] == {"hits_at_1": 0.25, "hits_at_3": 0.5, "hits_at_5": 0.75, "hits_at_10": 0.75}


def test_a_scorer_is_ranked(guide, random_graph):
    """The most frequent entity of its place and relation ranks first, and so does what is as frequent."""
    graph = random_graph()
    ranks = pmd.ranks(guide.Popularity(graph), graph, split="test", filtered=False)
    for (_, relation, tail), rank in zip(graph.test.tolist(), ranks.tail.optimistic.tolist()):
        tails = [t for _, r, t in graph.train.tolist() if r == relation]
        assert rank == 1 + sum(tails.count(e) > tails.count(tail) for e in range(graph.num_entities))

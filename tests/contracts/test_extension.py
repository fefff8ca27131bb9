"""An interaction, an embedding method, a text method and a data set from outside the package, through all that is done
with a model.

What stands above `registered` is all that an extension writes: a class and a row of the catalogue, or a function.
"""

import json

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.types import LossTerms
from pmd.data.graphs import sources
from pmd.distill.kge_supervised import KgeSetup, KgeSupervised, batch_scores
from pmd.distill.teacher import Frozen
from pmd.distill.text_supervised import Supervised, TextSetup
from pmd.models.kge.interactions import ComplEx
from pmd.settings.catalogue import INTERACTIONS, METHODS, Interaction, Method, register

from ..recipes.test_text import TINY


class DistMult(ComplEx):
    """⟨h, r, t⟩ (Yang et al., ICLR 2015)."""

    entity_parts = relation_parts = 1
    complex_parts = False

    def tail(self, h: Tensor, r: Tensor) -> Tensor:
        return h * r

    def head(self, t: Tensor, r: Tensor) -> Tensor:
        return t * r


class ScoreMatching(KgeSupervised):
    """Labels, and the squared distance to the scores of a teacher (`match`)."""

    def __init__(self, model, options, teacher, alpha):
        super().__init__(model, options)
        self.teacher = Frozen(teacher, model.device)
        self.weights = {**self.weights, "match": alpha}

    @classmethod
    def for_stage(cls, setup: KgeSetup) -> "ScoreMatching":
        return cls(setup.student, setup.loss, setup.teacher, setup.stage.alpha)

    def forward(self, batch) -> LossTerms:
        with torch.no_grad():
            taught = batch_scores(self.teacher.model, batch)
        return {**super().forward(batch), "match": mse_loss(batch_scores(self.model, batch), taught)}


class VectorMatching(Supervised):
    """Labels, and the squared distance to the vectors of a teacher of the same width (`match`)."""

    def __init__(self, *arguments, teacher, alpha, **options):
        super().__init__(*arguments, **options)
        self.teacher, self.weights = Frozen(teacher, self.student.device), {"ce": 1 - alpha, "match": alpha}

    @classmethod
    def for_stage(cls, setup: TextSetup) -> "VectorMatching":
        return super().for_stage(setup, teacher=setup.teacher, alpha=setup.distill.alpha)

    def forward(self, batch) -> LossTerms:
        with torch.no_grad():
            taught = self.encode(self.teacher.model, batch)
        own = self.encode(self.student, batch)
        match = sum(mse_loss(mine.pooled, theirs.pooled) for mine, theirs in zip(own, taught))
        return {**super().forward(batch), "match": match}


ROWS = [
    Interaction("distmult", "DistMult", f"{__name__}:DistMult", "⟨h, r, t⟩", product=True),
    Method(
        "score_matching",
        "score matching",
        "embedding",
        f"{__name__}:ScoreMatching",
        "by score matching",
        teacher=True,
        weights=("alpha",),
    ),
    Method(
        "vector_matching",
        "vector matching",
        "text",
        f"{__name__}:VectorMatching",
        "by vector matching",
        teacher=True,
        weights=("alpha",),
    ),
]


@pytest.fixture(scope="module")
def registered(folder):
    """The rows, and a data set by name; taken away afterwards."""
    for row in ROWS:
        register(row)
    sources.register("plugin_towns", "From an atlas.")(lambda: sources.load_folder(folder, "plugin_towns"))
    yield
    del sources._REGISTERED["plugin_towns"]
    del INTERACTIONS["distmult"], METHODS["embedding"]["score_matching"], METHODS["text"]["vector_matching"]


@pytest.fixture(scope="module")
def runs(registered, tmp_path_factory):
    """A run of embedding models, croppable teacher and student, and one of text models; both of our own methods."""
    runs = tmp_path_factory.mktemp("extension")
    shared = ["--data.path=plugin_towns", f"--runs={runs}", "--train.batch_size=16", "--train.threads=1"]
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
    graph, metrics = (
        pmd.load_graph("plugin_towns"),
        json.loads((runs[family] / "results.json").read_text())[stage]["metrics"],
    )
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
    assert summaries[stage] in text and "`plugin_towns`: 48 entities" in text and "\nFrom an atlas.\n" in text
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
def test_their_rows_are_checked(command, options, names, registered):
    with pytest.raises(PmdError) as refused:
        COMMANDS[command](options)
    assert all(name in str(refused.value) for name in names)

"""A run whose last grade has no layers, from training to an answer."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.data.graphs.sources import load_graph
from pmd.models.text.scorer import TextScorer
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.text import resolve_stages
from pmd.settings.text import ProgressiveConfig

from .test_text import TINY


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    options = ["--distill.depths=[2,0]", "--distill.mask_rates=[0.2,0.1]", "--encoder.widths=[4,16]"]
    COMMANDS["progressive"]([*TINY, *options, f"--data.path={folder}", f"--runs={runs}", "--name=bag"])
    return next(runs.glob("bag-*"))


def test_the_last_grade_is_a_bag_without_masks(run):
    result = json.loads((run / "results.json").read_text())["grade0"]
    assert result["layers"] == 0 and result["method"] == "pmd_no_mgfd" and result["mask_rate"] == 0
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    terms = [line for line in logged if line["stage"] == "grade0" and "loss" in line]
    assert terms and all("score" in line and "feature" not in line for line in terms)


def test_it_ranks_as_its_loaded_folder_does(run, folder):
    graph = load_graph(str(folder))
    scorer = pmd.load_scorer(run / "grade0", graph)
    assert isinstance(scorer, TextScorer) and scorer.widths == (4, 16)
    measured = json.loads((run / "results.json").read_text())["grade0"]["metrics"]["test"]["mrr"]
    assert pmd.rank(scorer, graph).mrr == pytest.approx(measured, abs=1e-9)


def test_it_answers_without_torch(run, folder):
    graph = load_graph(str(folder))
    head, relation, _ = graph.test[0].tolist()
    expected = pmd.load_scorer(run / "grade0", graph).score_all(graph.test[:1], "tail")[0]
    pmd.load(run / "grade0").answer(
        head=graph.entity_ids[head], relation=graph.relation_ids[relation]
    )  # builds the index
    program = (
        "import sys, json, pmd\n"
        "answers = pmd.load(sys.argv[1]).answer(head=sys.argv[2], relation=sys.argv[3], top_k=5, all=True, types='off')\n"
        "print(json.dumps([[answer.id, answer.score] for answer in answers]))\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'\n"
    )
    arguments = [str(run / "grade0"), graph.entity_ids[head], graph.relation_ids[relation]]
    said = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    answers = json.loads(said.stdout)
    best = torch.sort(expected, descending=True, stable=True).indices[:5]
    assert [graph.entity_ids.index(key) for key, _ in answers] == best.tolist()
    np.testing.assert_allclose([score for _, score in answers], expected[best], atol=5e-6)


def test_a_cropped_bag_is_a_model(run, folder, tmp_path):
    COMMANDS["crop"]([str(run / "grade0"), "--width=4", f"--out={tmp_path}/small"])
    graph = load_graph(str(folder))
    small = pmd.load_scorer(tmp_path / "small", graph)
    whole = pmd.load_scorer(run / "grade0", graph)
    torch.testing.assert_close(small.score_all(graph.test, "head"), whole.score_all(graph.test, "head", 4))


@pytest.mark.parametrize("target", ["onnx", "sentence-transformers"])
def test_other_programs_make_the_same_vectors(target, run, folder, tmp_path):
    graph, out = load_graph(str(folder)), tmp_path / "out"
    scorer = pmd.load_scorer(run / "grade0", graph)
    if target == "onnx":
        pytest.importorskip("onnxruntime", reason="needs onnxruntime")
        COMMANDS["export"]([str(run / "grade0"), "--to=onnx", f"--out={out}"])
        return  # the export itself compares the vectors of both encoders
    package = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    COMMANDS["export"]([str(run / "grade0"), "--to=sentence-transformers", f"--out={out}"])
    texts = [line.split("\t")[1] for line in (out / "texts.tsv").read_text(encoding="utf-8").splitlines()]
    vectors = package.SentenceTransformer(str(out), device="cpu").encode(texts)
    np.testing.assert_allclose(vectors, scorer.entities, atol=1e-5)


def test_more_layers_than_none_cannot_start_from_a_bag():
    settings = read_config(ProgressiveConfig, [*TINY, "--distill.depths=[0,2]", "--distill.mask_rates=[0.2,0.1]"])
    with pytest.raises(PmdError, match=r"grade2.*layers: 2 layers cannot start from 0; choose 0 to 0"):
        resolve_stages(settings, 4)

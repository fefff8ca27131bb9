"""`pmd shrink`: the model that it writes scores as it was measured to, wherever it is used."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError, PmdWarning
from pmd.core.run import Run
from pmd.models.text.precision import coded
from pmd.recipes.shrink.candidates import Candidate, Shrunk, chosen, front
from pmd.recipes.shrink.measure import tell_missing
from pmd.settings.shrink import ShrinkConfig

from ..trained import made_once
from .test_text import TINY

QUICK = {"questions": 3, "threads": 1}


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    def make(base):
        options = ["--distill.depths=[2,0]", "--distill.mask_rates=[0.2,0.1]", "--encoder.widths=[4,16]"]
        dispatch(["progressive", *TINY, *options, f"--data.path={folder}", f"--runs={base}", "--name=shrunk"])

    return next(made_once(tmp_path_factory, "to_shrink", make).glob("shrunk-*"))


@pytest.fixture(scope="module")
def small(run, tmp_path_factory):
    """The smallest model of all, for keep says nothing."""
    return pmd.shrink(run, tmp_path_factory.mktemp("shrunk") / "small", keep=1e-6, **QUICK)


def made_with(run, out, stage, width, encoders, vectors):
    """The one candidate with these properties."""
    options = {"stages": [stage], "widths": [width], "encoders": [encoders], "vectors": [vectors]}
    return pmd.shrink(run, out, keep=1e-6, **options, **QUICK)


def test_all_combinations_are_compared_and_the_smallest_is_written(run, small):
    rows = small.candidates
    assert len(rows) == 3 * 2 * 3 * 4
    assert len({(row.stage, row.width, row.encoders, row.vectors) for row in rows}) == len(rows)
    assert (small.chosen.stage, small.chosen.width) == ("grade0", 4)
    assert (small.chosen.encoders, small.chosen.vectors) == ("int8", "binary")
    assert small.chosen.megabytes == min(row.megabytes for row in rows)


def test_stages_that_are_not_there_yet_are_named(run, tmp_path, recwarn):
    shutil.copytree(run, tmp_path / "copy")
    tell_missing(Run(tmp_path / "copy"))
    assert not recwarn
    (tmp_path / "copy" / "table.md").unlink()
    with pytest.warns(
        PmdWarning, match="is not finished; .* only teacher, grade2, grade0 can be chosen, until --resume"
    ):
        tell_missing(Run(tmp_path / "copy"))


def test_fp32_of_full_width_is_the_model_itself(run, small, folder):
    graph = pmd.load_graph(folder)
    for stage in ("teacher", "grade2", "grade0"):
        whole = pmd.rank(pmd.load_scorer(run / stage, graph), graph, "valid").mrr
        row = next(
            row
            for row in small.candidates
            if (row.stage, row.width, row.encoders, row.vectors) == (stage, 16, "fp32", "fp32")
        )
        assert row.mrr == pytest.approx(whole, abs=1e-9)
        if stage == "teacher":
            assert row.keeps == pytest.approx(1)


@pytest.mark.parametrize(
    "choice", [("grade2", 4, "int8", "int8"), ("grade0", 16, "fp16", "binary"), ("teacher", 16, "fp32", "fp16")]
)
def test_the_written_model_scores_as_measured(choice, run, folder, tmp_path):
    written = made_with(run, tmp_path / "small", *choice)
    model, graph = tmp_path / "small" / choice[0], pmd.load_graph(folder)
    scorer = pmd.load_scorer(model, graph)
    assert pmd.rank(scorer, graph, "valid").mrr == pytest.approx(written.chosen.mrr, abs=1e-9)
    measured = json.loads((tmp_path / "small" / "results.json").read_text())[choice[0]]
    assert pmd.rank(scorer, graph).mrr == pytest.approx(measured["metrics"]["test"]["mrr"], abs=1e-9)
    assert measured["dim"] == choice[1]
    kept = pmd.rank(scorer, graph).mrr / pmd.rank(pmd.load_scorer(run / "teacher", graph), graph).mrr
    assert written.keeps_on_test == pytest.approx(kept)
    files = (load_file(model / f"{name}.safetensors") for name in ("model", "entities"))
    assert written.chosen.megabytes * 1e6 == pytest.approx(
        sum(array.nbytes for file in files for array in file.values())
    )


def test_answers_without_torch_are_those_that_were_ranked(run, folder, tmp_path):
    for choice in (("grade2", 4, "int8", "binary"), ("grade0", 16, "int8", "int8")):
        out = tmp_path / choice[0]
        made_with(run, out, *choice)
        graph = pmd.load_graph(folder)
        head, relation, _ = graph.test[0].tolist()
        expected = pmd.load_scorer(out / choice[0], graph).score_all(graph.test[:1], "tail")[0]
        question = {"head": graph.entity_ids[head], "relation": graph.relation_ids[relation]}
        pmd.load(out).answer(**question)  # builds the index
        stored = np.load(out / choice[0] / "index" / "vectors.npy")
        assert stored.dtype == (np.uint8 if choice[3] == "binary" else np.int8)
        program = (
            "import sys, json, pmd\n"
            "answers = pmd.load(sys.argv[1]).answer(**json.loads(sys.argv[2]), top_k=5, all=True, types='off')\n"
            "print(json.dumps([[answer.id, answer.score] for answer in answers]))\n"
            "assert 'torch' not in sys.modules, 'torch was loaded'\n"
        )
        arguments = [sys.executable, "-c", program, str(out), json.dumps(question)]
        answers = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
        scores = torch.sort(expected, descending=True).values[:5]
        np.testing.assert_allclose([score for _, score in answers], scores, atol=1e-5)
        np.testing.assert_allclose(
            [score for _, score in answers], [expected[graph.entity_ids.index(key)] for key, _ in answers], atol=1e-5
        )


def test_another_graph_is_coded_alike(run, folder, tmp_path):
    """The entities of a changed graph are encoded anew, and their vectors put into the same codes."""
    made_with(run, tmp_path / "small", "grade2", 16, "fp32", "binary")
    graph = pmd.load_graph(folder)
    changed = replace(graph, entity_descriptions=[f"{text} by the sea" for text in graph.entity_descriptions])
    whole = pmd.load_scorer(run / "grade2", changed).entities.numpy()
    small = pmd.load_scorer(tmp_path / "small" / "grade2", changed)
    np.testing.assert_allclose(small.entities, coded(whole, "binary").decoded, atol=1e-5)
    model = pmd.load(tmp_path / "small" / "grade2", changed)
    np.testing.assert_allclose(model.index.vectors, small.entities, atol=1e-5)


def test_it_is_a_model_like_others(small, folder, tmp_path):
    graph = pmd.load_graph(folder)
    (measured,) = pmd.evaluate(small.folder / "grade0")
    assert measured.metrics.mrr == pytest.approx(small.stored["test"]["model"]["mrr"], abs=1e-9)
    dispatch(["push", str(small.folder), "user/small", "--dry_run=true", f"--out={tmp_path}/sent"])
    assert not (tmp_path / "sent" / "entities.safetensors").exists()
    question = {"head": graph.entity_ids[6], "relation": "r_in"}
    assert pmd.load(tmp_path / "sent").answer(**question) == small.load().answer(**question)
    with pytest.raises(PmdError, match=r"fewer bits \(encoders in int8, vectors in binary\).*shrink"):
        pmd.crop(small.folder / "grade0", 2, tmp_path / "cropped")


def test_the_table_and_the_picture(run, tmp_path, capsys, pictures):
    dispatch(["shrink", str(run), f"--out={tmp_path}/small", "--keep=0.5", "--stages=[grade2]", "--questions=2"])
    said = capsys.readouterr().out
    assert "| **grade2** |" in said and "on validation, and" in said and "of 24 candidates" in said
    assert (tmp_path / "small" / "shrink.md").read_text().count("\n| grade2") == 23 + said.count("\n| grade2")
    assert (tmp_path / "small" / "shrink.png").is_file() and len(pictures[-1].axes) == 2
    names = [text.get_text() for text in pictures[-1].legends[0].get_texts()]
    assert names == [
        *("grade2", "fp32", "fp16", "int8", "binary", "4 wide", "16 wide"),
        "none better",
        "written",
        "MRR of teacher",
    ]
    dispatch(["figure", f"--run={tmp_path}/small", "--what=shrink", f"--out={tmp_path}/again.png"])
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "small" / "shrink.png").read_bytes()
    with pytest.raises(PmdError, match=r"has no shrink.json; name a folder that `pmd shrink` wrote"):
        dispatch(["figure", f"--run={run}", "--what=shrink"])


@pytest.fixture(scope="module")
def structure(folder, tmp_path_factory):
    def make(base):
        sizes = [
            "--model.dim=8",
            "--model.widths=[2,8]",
            "--train.epochs=3",
            "--train.threads=1",
            "--model.interaction=complex",
        ]
        dispatch(["train", *sizes, f"--data.path={folder}", f"--runs={base}", "--name=structure"])

    return next(made_once(tmp_path_factory, "structure_to_fuse", make).glob("structure-*"))


@pytest.mark.parametrize(
    ("part", "vectors", "width"),
    [("fused", "int8", 2), ("fused", "fp32", 8), ("structure", "fp16", 8), ("structure", "fp32", 2)],
)
def test_structure_and_fused_models_score_as_measured(
    part, vectors, width, run, structure, folder, tmp_path, monkeypatch
):
    def choose_it(candidates, config):
        (row,) = (
            row
            for row in candidates
            if row.part == part and width in (row.width, row.structure_width) and row.vectors == vectors
        )
        return row

    monkeypatch.setattr("pmd.recipes.shrink.measure.chosen", choose_it)
    options = {"stages": ["grade0"], "widths": [16], "encoders": ["int8"], "vectors": [*{vectors, "fp32"}], **QUICK}
    written = pmd.shrink(run, tmp_path / "small", structure=structure, **options)
    graph, row = pmd.load_graph(folder), written.chosen
    model = tmp_path / "small" / ("fused" if part == "fused" else row.stage)
    measured = json.loads((tmp_path / "small" / "results.json").read_text())[model.name]["metrics"]["test"]["mrr"]
    scorer = pmd.load_scorer(model, graph)
    assert pmd.rank(scorer, graph).mrr == pytest.approx(measured, abs=1e-9)
    assert pmd.rank(scorer, graph, "valid").mrr >= row.mrr - 1e-9
    if part == "structure":
        assert pmd.rank(scorer, graph, "valid").mrr == pytest.approx(row.mrr, abs=1e-9)
    files = [load_file(file) for file in model.rglob("*.safetensors") if file.parent.name != "index"]
    assert row.megabytes * 1e6 == pytest.approx(sum(array.nbytes for file in files for array in file.values()))
    head, relation, _ = graph.test[0].tolist()
    answers = written.load().answer(
        head=graph.entity_ids[head], relation=graph.relation_ids[relation], all=True, types="off"
    )
    with torch.no_grad():
        expected = scorer.score_all(graph.test[:1], "tail")[0]
    for answer in answers:
        assert answer.score == pytest.approx(expected[graph.entity_ids.index(answer.id)].item(), abs=1e-3)
    dispatch(["push", str(tmp_path / "small"), "user/small", "--dry_run=true", f"--out={tmp_path}/sent"])


def test_the_structure_of_a_run_is_looked_at(run, structure, tmp_path):
    both = shutil.copytree(run, tmp_path / "run")
    shutil.copytree(structure / "complex", both / "structure")
    results = json.loads((both / "results.json").read_text())
    results["structure"] = json.loads((structure / "results.json").read_text())["complex"]
    (both / "results.json").write_text(json.dumps(results))
    options = {"stages": ["grade0"], "widths": [16], "encoders": ["fp32"], "vectors": ["fp32"], "max_mb": 1, **QUICK}
    small = pmd.shrink(both, tmp_path / "small", **options)
    parts = [(row.part, row.stage, row.width, row.structure_width) for row in small.candidates]
    fused = [("fused", "grade0", 16, width) for width in (2, 8)]
    assert parts == [
        ("text", "grade0", 16, None),
        *fused,
        *(("structure", "structure", width, None) for width in (2, 8)),
    ]
    assert small.chosen.mrr == max(row.mrr for row in small.candidates)


def test_what_is_no_embedding_model_is_refused(run, structure, tmp_path):
    with pytest.raises(PmdError, match=r"structure: .* is a text model; give an embedding model"):
        pmd.shrink(run, tmp_path / "small", structure=run / "grade2")
    shutil.copytree(structure / "complex", tmp_path / "alone")
    with pytest.raises(PmdError, match=r"structure: .* in no run folder"):
        pmd.shrink(run, tmp_path / "small", structure=tmp_path / "alone")
    with pytest.raises(PmdError, match=r"run: .* has no text model"):
        pmd.shrink(structure, tmp_path / "small")


@pytest.mark.parametrize("part", ["text", "structure", "fused"])
def test_a_fused_model_is_shrunk(part, run, structure, folder, tmp_path, monkeypatch):
    def choose_it(candidates, config):
        assert [row.part for row in candidates] == ["text", "fused", "fused", "structure", "structure"]
        return next(row for row in candidates if row.part == part)

    monkeypatch.setattr("pmd.recipes.shrink.measure.chosen", choose_it)
    graph = pmd.load_graph(folder)
    fused = pmd.fuse(run / "grade2", structure, tmp_path / "fused", graph, threads=1)
    options = {"widths": [4], "encoders": ["fp16"], "vectors": ["int8"], **QUICK}
    small = pmd.shrink(fused, tmp_path / "small", graph, **options)
    scorer = pmd.load_scorer(tmp_path / "small" / part, graph)
    assert pmd.rank(scorer, graph).mrr == pytest.approx(small.results[part].metrics["test"]["mrr"], abs=1e-9)
    assert small.load().answer(head="e06", relation="r_in")
    dispatch(["push", str(small.folder), "user/small", "--dry_run=true", f"--out={tmp_path}/sent"])


@pytest.mark.parametrize("part", ["text", "structure"])
def test_what_was_shrunk_to_a_fused_model_is_shrunk_again(part, run, structure, folder, tmp_path, monkeypatch):
    options = {"encoders": ["fp16"], "vectors": ["int8"], **QUICK}

    def shrink(source, out, wanted, **more):
        def chosen_part(candidates, config):
            return next(row for row in candidates if row.part == wanted)

        monkeypatch.setattr("pmd.recipes.shrink.measure.chosen", chosen_part)
        return pmd.shrink(source, tmp_path / out, **options, **more)

    shrink(run, "fused", "fused", stages=["grade2"], widths=[4], structure=structure)
    again = shrink(tmp_path / "fused", "again", part)
    noted, graph = again.results[part], pmd.load_graph(folder)
    scorer = pmd.load_scorer(tmp_path / "again" / part, graph)
    assert pmd.rank(scorer, graph).mrr == pytest.approx(noted.metrics["test"]["mrr"], abs=1e-9)
    assert (noted.layers, noted.dim) == ((2, 4) if part == "text" else (None, again.chosen.width))


ROWS = [
    Candidate(
        "text", name, 1, 4, "fp32", "fp32", mrr=mrr, keeps=mrr / 0.5, megabytes=megabytes, milliseconds=milliseconds
    )
    for name, mrr, megabytes, milliseconds in (("a", 0.5, 9, 2), ("b", 0.49, 3, 5), ("c", 0.4, 1, 1), ("d", 0.3, 2, 6))
]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "b"),
        ({"keep": 0.7}, "c"),
        ({"max_mb": 4}, "b"),
        ({"max_ms": 2}, "a"),
        ({"max_mb": 4, "max_ms": 2}, "c"),
        ({"keep": 0.98, "max_ms": 9}, "a"),
    ],
)
def test_what_is_taken(options, name):
    assert chosen(ROWS, ShrinkConfig("run", "out", **options)).stage == name


def test_the_front_has_what_none_beats():
    assert [row.stage for row in front(ROWS, "megabytes")] == ["c", "b", "a"]
    assert [row.stage for row in front(ROWS, "milliseconds")] == ["c", "a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 1.5}, "keep: no candidate has at least 1.5; the most is 1"),
        ({"max_mb": 0.5}, "max_mb: no candidate has at most 0.5; the least is 1"),
    ],
)
def test_limits_that_none_meets_are_refused(options, message):
    with pytest.raises(PmdError, match=message):
        chosen(ROWS, ShrinkConfig("run", "out", **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keep=-1"], "keep: -1"),
        (["--max_mb=0"], "max_mb: 0"),
        (["--vectors=[]"], "vectors: the list is empty"),
        (["--structure_stage=complex"], "structure_stage: there is no structure to have one"),
        (["--stages=[grade3]"], "stages: .*no text model 'grade3'.*teacher, grade2, grade0"),
        (["--teacher=grad2"], "teacher: .*did you mean 'grade2'"),
        (["--widths=[64]"], "widths: no stage has vectors of .64.; the widest have 16"),
    ],
)
def test_refusals(options, message, run, tmp_path):
    with pytest.raises(PmdError, match=message):
        dispatch(["shrink", str(run), f"--out={tmp_path}/small", *options])
    assert not (tmp_path / "small").exists()


def test_only_runs_of_text_models_are_shrunk(folder, tmp_path):
    with pytest.raises(PmdError, match="not a run folder"):
        pmd.shrink(folder, tmp_path / "small")


def test_the_picture_of_the_readme_says_what_its_run_measured():
    """docs/shrink.png is `pmd figure --run docs/results/data/shrink_world --what shrink --out docs/shrink.png`."""
    root = Path(__file__).parents[2]
    shrunk = Shrunk.read(root / "docs" / "results" / "data" / "shrink_world")
    row, readme = shrunk.chosen, (root / "README.md").read_text().replace("\n", " ")
    assert shrunk.facts["asked"]["keep"] == 0.97 and row.layers == 0
    assert f"{len(shrunk.candidates)} models of one run" in readme
    assert f"takes {row.megabytes:.2f} MB and {row.milliseconds:.1f} ms a question" in readme
    assert f"has {shrunk.keeps_on_test:.0%} of".replace("%", " %") in readme

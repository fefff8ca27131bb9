"""`pmd export`: what is written runs by itself and gives the model's numbers."""

import ast
import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.models.kge.folder import save as save_kge
from pmd.models.text.folder import TextModel, load_model
from pmd.models.text.folder import save as save_text
from pmd.recipes.exporting import parquet
from pmd.recipes.exporting import text as export_text
from pmd.use.exporting.onnx import OnnxEncoders, OnnxScorer

from ..tiny import tiny_model, tiny_tokenizer

SETTINGS = {"max_tokens": 24, "neighbours_below": 20, "max_neighbours": 3}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def runtime():
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra `export`")


@pytest.fixture
def make_run(folder, tmp_path):
    """A run folder with one finished stage of random weights on a graph of towns."""

    def make(**settings):
        graph, run = pmd.load_graph(folder), tmp_path / "towns-run"
        save_text(run / "grade1", TextModel(tiny_model(**SETTINGS, **settings), tiny_tokenizer()), graph)
        (run / "config.yaml").write_text(yaml.safe_dump({"data": {"path": str(folder)}}))
        (run / "results.json").write_text('{"grade1": {}}')
        return run

    return make


def graph_of(run):
    return pmd.load_graph(yaml.safe_load((run / "config.yaml").read_text())["data"]["path"])


def export(run, to, *options):
    dispatch(["export", str(run), f"--to={to}", *options])


def example(folder):
    """What the program in a folder's README prints, torch kept out of its way."""
    program = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    guard = "import sys\nsys.modules['torch'] = sys.modules['transformers'] = None\n"
    found = subprocess.run(
        [sys.executable, "-c", guard + program], cwd=folder, capture_output=True, text=True, check=True
    )
    return found.stdout.splitlines()


@pytest.mark.parametrize("settings", [{}, {"tied": True}, {"widths": [8, 16, 32], "width": 16}])
def test_onnx_runs_without_torch_and_answers_alike(settings, runtime, make_run, tmp_path, monkeypatch, capsys):
    run = make_run(**settings)
    monkeypatch.chdir(tmp_path)
    export(run, "onnx")
    out, graph = tmp_path / "towns-run-grade1-onnx", graph_of(run)
    said = capsys.readouterr().out
    files = "encoder.onnx" if "tied" in settings else "entity_encoder.onnx and query_encoder.onnx"
    assert said.startswith(f"{out.name}: {files}, ") and "vectors of 96 texts within " in said
    facts = json.loads((out / "export.json").read_text())
    assert facts["compared"] == 96 and facts["difference"] < 1e-5 and facts["dim"] == settings.get("width", 32)
    scorer = pmd.load_scorer(run / "grade1", graph)
    np.testing.assert_allclose(np.load(out / "entities.npy"), scorer.entities, atol=1e-6)
    scores = scorer.score_all(graph.test[:1], "tail")[0]
    found = {key: float(score) for key, score in (line.split(" ") for line in example(out))}
    np.testing.assert_allclose([*found.values()], scores.topk(10).values, atol=1e-5)
    assert [scores[graph.entity_ids.index(key)].item() for key in found] == pytest.approx([*found.values()], abs=1e-5)
    for name in ("entities.tsv", "relations.tsv"):
        assert (out / name).read_bytes() == (run / "grade1" / name).read_bytes()


def test_the_tokenizer_cuts_and_pads_as_the_model_reads(runtime, make_run, tmp_path):
    from tokenizers import Tokenizer

    run = make_run()
    export(run, "onnx", f"--out={tmp_path}/out")
    graph = graph_of(run)
    texts = [line.split("\t")[1] for line in (tmp_path / "out" / "texts.tsv").read_text().splitlines()]
    text = load_model(run / "grade1").read(graph)
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    read = text.entities(np.arange(48))
    found = tokenizer.encode_batch(texts)
    assert [[i for i, real in zip(row.ids, row.attention_mask) if real] for row in found] == [
        read.ids[i].tolist() for i in range(48)
    ]
    pairs = tokenizer.encode_batch([(written, "inverse lies in") for written in texts])
    asked = text.queries(np.arange(48), np.full(48, 2))
    encoders = OnnxEncoders(tmp_path / "out")
    inputs = [np.array([getattr(row, name) for row in pairs]) for name in ("ids", "attention_mask", "type_ids")]
    np.testing.assert_allclose(encoders.vectors("query", *inputs), encoders.encode("query", asked, text.pad), atol=1e-6)
    assert max(len(row.ids) for row in pairs) == 24


def test_int8_says_what_it_costs(runtime, make_run, tmp_path, capsys):
    run, out = make_run(), tmp_path / "out"
    export(run, "onnx-int8", f"--out={out}")
    graph, said = graph_of(run), capsys.readouterr()
    scorer = pmd.load_scorer(run / "grade1", graph)
    whole = pmd.rank(scorer, graph, "test")
    small = OnnxScorer(OnnxEncoders(out), scorer.text)
    ranked = pmd.rank(small, graph, "test")
    np.testing.assert_array_equal(np.load(out / "entities.npy"), small.entities)
    assert not np.allclose(small.entities, scorer.entities, atol=1e-4)
    line = (
        f"MRR on the test split {whole.mrr:.4f} in fp32, {ranked.mrr:.4f} in int8, "
        f"difference {ranked.mrr - whole.mrr:+.4f} ({whole.num_queries} queries)"
    )
    assert said.out.strip().endswith(line) and "encoding 48 entities" in said.err
    readme = (out / "README.md").read_text()
    assert f"MRR {ranked.mrr:.4f} with 8-bit integers" in readme and f"{whole.mrr:.4f} in fp32" in readme
    assert len(example(out)) == 10


def test_a_graph_that_is_not_the_model_is_not_written(runtime, make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(export_text, "TOLERANCE", 0.0)
    with pytest.raises(PmdError, match=r"to:.*'bert'.*PyTorch"):
        export(make_run(), "onnx", f"--out={tmp_path}/out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("settings", [{}, {"widths": [8, 16, 32], "width": 16}])
def test_sentence_transformers_encodes_alike(settings, make_run, tmp_path, capsys):
    package = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    run, out, dim = make_run(**settings), tmp_path / "out", settings.get("width", 32)
    export(run, "sentence-transformers", f"--out={out}")
    assert capsys.readouterr().out.strip() == f"{out}: the entity encoder, 2 layers, vectors of {dim} dimensions"
    model = package.SentenceTransformer(str(out), device="cpu")
    texts = [line.split("\t")[1] for line in (out / "texts.tsv").read_text().splitlines()]
    scorer = pmd.load_scorer(run / "grade1", graph_of(run))
    np.testing.assert_allclose(model.encode(texts), scorer.entities, atol=1e-5)
    assert model.encode(texts[:1]).shape == (1, dim) and model.max_seq_length == 24
    if settings:
        cropped = package.SentenceTransformer(str(out), device="cpu", truncate_dim=8)
        wanted = pmd.TextScorer(scorer.model.crop(8), scorer.text).entities
        np.testing.assert_allclose(cropped.encode(texts, normalize_embeddings=True), wanted, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"widths": [8, 16, 32], "width": 16}])
def test_parquet_holds_what_a_vector_database_needs(settings, make_run, tmp_path, monkeypatch, capsys):
    run, out, dim = make_run(**settings), tmp_path / "out", settings.get("width", 32)
    monkeypatch.setattr(parquet, "BLOCK", 7)  # several row groups
    export(run, "parquet", f"--out={out}")
    graph, model = graph_of(run), pmd.load(run)
    assert (
        capsys.readouterr().out.strip()
        == f"{out}: {graph.num_entities} entities with vectors of {dim} numbers in Parquet"
    )
    table = pq.read_table(out / "entities.parquet")
    assert table.column("id").to_pylist() == graph.entity_ids
    assert table.column("name").to_pylist() == graph.entity_names
    assert table.column("description").to_pylist() == graph.entity_descriptions
    np.testing.assert_array_equal(table.column("vector").to_pylist(), model.index.vectors)
    pytest.importorskip("duckdb", reason="needs duckdb")
    head, relation = graph.entity_names[3], graph.relation_names[0]
    program = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    program = program.replace('head="…"', f"head={head!r}").replace('relation="…"', f"relation={relation!r}")
    monkeypatch.chdir(out)
    exec(program, {})
    listed = ast.literal_eval(capsys.readouterr().out)
    answers = model.answer(head=head, relation=relation, top_k=graph.num_entities, all=True, types="off")
    scores = {(answer.id, answer.name): answer.score for answer in answers}
    for (key, name, score), answer in zip(listed, answers[:10], strict=True):  # ties may come in another order
        assert score == pytest.approx(answer.score, abs=1e-5)
        assert score == pytest.approx(scores[key, name], abs=1e-5)


def test_embeddings_of_a_stage(folder, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    graph, run = pmd.load_graph(folder), tmp_path / "run"
    model = pmd.KgeModel("rotate", 48, 2, 4)
    save_kge(run / "rotate", model, graph)
    (run / "config.yaml").write_text("data: {}\n")
    (run / "results.json").write_text('{"rotate": {}}')
    monkeypatch.chdir(tmp_path)
    export("run", "embeddings")
    out = tmp_path / "run-rotate-embeddings"
    assert capsys.readouterr().out == f"{out.name}: 48 entities and 2 relations in safetensors and TSV\n"
    rows = [line.split("\t") for line in (out / "entity_embeddings.tsv").read_text().splitlines()]
    assert [row[0] for row in rows] == graph.entity_ids
    np.testing.assert_array_equal(
        np.array([row[1:] for row in rows], dtype=np.float32), model.entities.detach().flatten(1)
    )
    with pytest.raises(PmdError, match="run-rotate-embeddings: exists"):
        export("run", "embeddings")
    with pytest.raises(PmdError, match=r"to: 'run/rotate'.*embedding.*onnx$"):
        export("run", "onnx")


def test_what_cannot_be_exported(make_run, folder, tmp_path, monkeypatch):
    run = make_run()
    for to, model, message in (
        (
            "embeddings",
            run,
            r"text.*onnx, onnx-int8.*embeddings$",
        ),
        ("onnx", tmp_path / "nowhere", "model: no folder"),
    ):
        with pytest.raises(PmdError, match=message):
            export(model, to, f"--out={tmp_path}/out")
    alone = shutil.copytree(run / "grade1", tmp_path / "alone")
    with pytest.raises(PmdError, match=r'in no run folder.*--data.path my_graph .in Python graph="my_graph".$'):
        export(alone, "onnx", f"--out={tmp_path}/out")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(PmdError, match=r"is a BERT"):
        export(tmp_path / "bert", "onnx", f"--out={tmp_path}/out")

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PmdError, match=r"needs onnx:.*'pmd\[export\]'$"):
        export(run, "onnx-int8", f"--out={tmp_path}/out")
    assert not (tmp_path / "out").exists()

"""Exported models by value: graphs beside PyTorch at any shape, tables beside the model's own."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import DistilBertConfig, RobertaConfig

import pmd
from pmd.core.errors import PmdError
from pmd.data.texts.graph_text import GraphText, relation_texts, whole_texts
from pmd.models.kge.folder import Vocabulary
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig, pool
from pmd.models.text.folder import TextModel
from pmd.models.text.scorer import TextScorer, encode_texts
from pmd.models.text.start import save_tokenizer
from pmd.use.exporting import onnx
from pmd.use.exporting.export import check_texts, template_values, write_embeddings
from pmd.use.exporting.onnx import OnnxEncoders, OnnxScorer, write_encoders

from .. import slow
from ..tiny import READING, RELATIONS, tiny_graph, tiny_model, tiny_text, tiny_tokenizer
from ..tiny_encoders import tokenizer_of

SHAPES = [(1, 1), (1, 7), (5, 1), (3, 24), (2, 60)]


@pytest.fixture
def runtime():
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra `export`")


def small(kind):
    """A bi-encoder of random weights of another kind than BERT."""
    sizes = {"vocab_size": 50, "num_attention_heads": 2, "max_position_embeddings": 70, "initializer_range": 0.3}
    if kind == "roberta":
        encoder = RobertaConfig(
            **sizes, hidden_size=16, num_hidden_layers=2, intermediate_size=32, pad_token_id=1, type_vocab_size=1
        )
    else:
        encoder = DistilBertConfig(**sizes, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    torch.manual_seed(0)
    return BiEncoder(BiEncoderConfig(encoder=encoder))


MODELS = {
    "bert": lambda: tiny_model(dropout=0.5),
    "cropped": lambda: tiny_model(widths=[8, 32]).crop(12),
    "tied": lambda: tiny_model(tied=True),
    "roberta": lambda: small("roberta"),
    "distilbert": lambda: small("distilbert"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_graphs_are_the_encoders_at_any_shape(kind, runtime, tmp_path):
    model = MODELS[kind]().train()
    facts = write_encoders(tmp_path, model)
    assert model.training and model.query_encoder.config._attn_implementation == "sdpa"
    assert facts == json.loads((tmp_path / "export.json").read_text())
    assert facts["dim"] == model.dim and facts["widths"] == list(model.widths)
    assert facts["inverse_temperature"] == pytest.approx(20)
    names = ["encoder.onnx"] if kind == "tied" else ["entity_encoder.onnx", "query_encoder.onnx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "export.json"])
    assert len(facts["inputs"]) == (3 if kind in ("bert", "cropped", "tied") else 2)
    encoders, model = OnnxEncoders(tmp_path, threads=1), model.eval()
    generator = torch.Generator().manual_seed(0)
    for role in ("query", "entity"):
        for b, length in SHAPES:
            ids = torch.randint(2, 50, (b, length), generator=generator)
            real = torch.randint(1, length + 1, (b, 1), generator=generator)
            mask = (torch.arange(length) < real).long()
            ids, types = ids * mask + (1 - mask), torch.randint(2, (b, length), generator=generator) * mask
            found = encoders.vectors(role, *(x.numpy() for x in (ids, mask, types)))
            with torch.no_grad():
                wanted = pool(model(role, ids, mask, types)[-1], mask, model.dim)
            assert found.shape == (b, model.dim)
            np.testing.assert_allclose(found, wanted.numpy(), atol=2e-6)
            np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_texts_come_back_in_their_order(runtime, tmp_path):
    model, text = tiny_model(), tiny_text()
    write_encoders(tmp_path, model)
    texts = text.queries(np.array([3, 0, 7, 11, 3]), np.array([0, 1, 2, 5, 4]))
    found = OnnxEncoders(tmp_path).encode("query", texts, text.pad, tokens=40)
    np.testing.assert_allclose(found, encode_texts(model, "query", texts, text.pad).numpy(), atol=2e-6)


def test_the_ranking_of_graphs_is_that_of_the_model(runtime, tmp_path):
    model, text, graph = tiny_model(), tiny_text(), tiny_graph()
    write_encoders(tmp_path, model)
    ours, theirs = TextScorer(model, text), OnnxScorer(OnnxEncoders(tmp_path), text)
    np.testing.assert_allclose(theirs.entities, ours.entities, atol=2e-6)
    for target in ("head", "tail"):
        scores = theirs.score_all(graph.train, target)
        np.testing.assert_allclose(scores, ours.score_all(graph.train, target), atol=5e-6)
    assert pmd.rank(theirs, graph, "train").to_dict() == pmd.rank(ours, graph, "train").to_dict()


def test_8_bit_integers(runtime, tmp_path):
    import onnx as package

    model, text = tiny_model(), tiny_text()
    (tmp_path / "fp32").mkdir()
    (tmp_path / "int8").mkdir()
    write_encoders(tmp_path / "fp32", model)
    assert write_encoders(tmp_path / "int8", model, int8=True)["precision"] == "int8"
    graph = package.load(tmp_path / "int8" / "query_encoder.onnx").graph
    floats = [tensor.name for tensor in graph.initializer if tensor.data_type == 1 and len(tensor.dims) > 1]
    assert floats == []  # no matrix and no table of embeddings stays as it was
    products = [node.op_type for node in graph.node if "MatMul" in node.op_type]
    assert products.count("MatMulInteger") == 2 * 6 and products.count("MatMul") == 2 * 2
    texts = text.entities(np.arange(13))
    whole, small = (OnnxEncoders(tmp_path / kind).encode("entity", texts, text.pad) for kind in ("fp32", "int8"))
    cosines = (whole * small).sum(1)
    assert cosines.min() > 0.99 and cosines.max() < 1 - 1e-6


def test_a_missing_package_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "export.json").write_text('{"dim": 8, "widths": [8], "inputs": []}')
    with pytest.raises(PmdError, match=r"needs onnxruntime:.*'pmd\[export\]'$"):
        onnx.OnnxEncoders(tmp_path)


def test_texts_are_those_that_are_read():
    graph, tokenizer, text = tiny_graph(), tiny_tokenizer(), tiny_text()
    found = whole_texts(graph, READING)
    assert found == [slow.text_of(graph, entity, READING) for entity in range(graph.num_entities)]
    for entity, written in enumerate(found):
        ids, _ = slow.tokens(tokenizer, written, None, READING.max_length)
        assert ids == text.entities(np.array([entity])).ids[0].tolist()


def vocabulary(entities, relations):
    keys, names = [f"e{i}" for i in range(entities)], [f"thing {i}" if i else "" for i in range(entities)]
    return Vocabulary(keys, names, [""] * entities, [f"r{i}" for i in range(relations)], ["likes"] * relations)


@pytest.mark.parametrize(
    ("interaction", "options"),
    [("transe", {}), ("rotate", {"reciprocal": True}), ("complex", {}), ("pairre", {"unit_entities": True})],
)
def test_embeddings(interaction, options, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = pmd.KgeModel(interaction, 5, 2, 4, **options)
    write_embeddings(tmp_path, model, vocabulary(5, 2), "mine")
    with safe_open(tmp_path / "embeddings.safetensors", "np") as stored:
        tables = {name: stored.get_tensor(name) for name in ("entities", "relations")}
        assert stored.metadata()["interaction"] == interaction and stored.metadata()["dim"] == "4"
    parts = 2 if interaction in ("rotate", "complex") else 1
    assert tables["entities"].shape == (5, 4 * parts)
    for entity in range(5):
        row = model.entities[entity].detach()  # (parts, dim): real, imaginary
        if "unit_entities" in options:
            row = row / row.norm()
        np.testing.assert_allclose(tables["entities"][entity], [x for part in row for x in part], atol=1e-7)
    np.testing.assert_array_equal(tables["relations"], model.relations.detach().flatten(1))
    inverse = ["inverse r0", "inverse r1"] if "reciprocal" in options else []
    for name, kind, keys in (
        ("entity_embeddings", "entities", [f"e{i}" for i in range(5)]),
        ("relation_embeddings", "relations", ["r0", "r1", *inverse]),
    ):
        rows = [line.split("\t") for line in (tmp_path / f"{name}.tsv").read_text().splitlines()]
        assert [row[0] for row in rows] == keys
        np.testing.assert_array_equal(np.array([row[1:] for row in rows], dtype=np.float32), tables[kind])
    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    assert lines == ["id\tname", "e0\te0", *(f"e{i}\tthing {i}" for i in range(1, 5))]
    readme = (tmp_path / "README.md").read_text()
    assert ("real and then the imaginary" in readme) == (parts == 2)
    assert ("inverse ID" in readme) == bool(inverse) and ("length 1" in readme) == ("unit_entities" in options)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(readme.split("```python\n")[1].split("```")[0], found)
    np.testing.assert_array_equal(found["vectors"]["e3"], tables["entities"][3])


def test_a_graph_without_a_test_split_has_an_example_of_train():
    graph = tiny_graph()
    for of, split in ((graph, graph.test), (replace(graph, test=graph.test[:0]), graph.train)):
        values = template_values(TextModel(tiny_model(), tiny_tokenizer()), of)
        head, relation, _ = split[0].tolist()
        assert (values["head"], values["relation"]) == (graph.entity_ids[head], graph.relation_names[relation])


@pytest.mark.parametrize("family", ["roberta", "mpnet", "deberta-v2"])  # byte-level pairs, word pieces, unigrams
def test_texts_are_exported_only_if_a_tokenizer_alone_reads_them_alike(family, tmp_path):
    tokenizer = tokenizer_of(family)
    text = GraphText(tiny_graph(), tokenizer, READING)
    written, relations = whole_texts(tiny_graph(), READING), relation_texts(RELATIONS)
    save_tokenizer(tokenizer, tmp_path)
    alone = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    alone.enable_truncation(READING.max_length, strategy="only_first")
    check_texts(alone, written, relations, text)
    joined = [*written]
    joined[0] = joined[0].replace(" ", "")
    with pytest.raises(PmdError, match=r"to: from the text 'Adawrote"):
        check_texts(alone, joined, relations, text)
    alone.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    with pytest.raises(PmdError, match="to: from the text"):
        check_texts(alone, written, relations, text)

"""What every family of encoders must do: read as its own tokenizer and model do, be cut into grades, teach and learn."""

import copy
import json
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel

import pmd
from pmd.core.errors import PmdError
from pmd.data.texts.batches import TripleCollator
from pmd.data.texts.graph_text import GraphText
from pmd.data.texts.masking import mask_positions
from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.models.text.adapters import adapter_targets, add_adapters, merge_adapters
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.encode import encode
from pmd.models.text.encoders import layer_lists, set_dropout
from pmd.models.text.folder import TextModel, load_model, save
from pmd.models.text.numpy_bert import can_read
from pmd.models.text.scorer import TextScorer, encode_texts
from pmd.models.text.start import start
from pmd.models.text.students import evenly_spaced, student_of
from pmd.models.vectors import leading_dimensions
from pmd.settings.catalogue import ENCODERS
from pmd.settings.text import ContrastiveConfig, DistillConfig, EncoderConfig, LoraConfig
from pmd.use.exporting.onnx import OnnxEncoders, write_encoders

from .. import slow
from ..tiny import ENTITIES, READING, TRAIN, supervised_arguments, tiny_graph
from ..tiny_encoders import DEPTH, POSITIONS, checkpoint, config_of, encoder_of, tokenizer_of

ROLES = ("query", "entity")
LAYERS = [[2], [1, 3], [3, 0, 0]]
PROJECTIONS = {
    "distilbert": ["q_lin", "v_lin"],
    "mpnet": ["q", "v"],
    "modernbert": ["Wqkv"],
    "deberta": ["in_proj"],
    "deberta-v2": ["query_proj", "value_proj"],
}
RATES = {
    "distilbert": ({"dropout"}, {"attention_dropout"}),
    "modernbert": ({"embedding_dropout", "mlp_dropout"}, {"attention_dropout"}),
}
USUAL = ({"hidden_dropout_prob"}, {"attention_probs_dropout_prob"})
OFFSET = {"roberta": 2, "mpnet": 2}
"""Rows of the table of positions that no token of a text uses."""

each_family = pytest.mark.parametrize("family", [row.name for row in ENCODERS.values() if row.begins])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the Hub has it, for each family."""
    return cache(lambda family: checkpoint(family, tmp_path_factory.mktemp(family)))


def model_of(family: str, config=None, **settings) -> BiEncoder:
    """A bi-encoder whose layers all differ, without dropout unless the config has some."""
    settings |= {"max_tokens": READING.max_length, "max_neighbours": READING.max_neighbours}
    settings |= {"neighbours_below": READING.neighbours_below}
    model = BiEncoder(BiEncoderConfig(encoder=config or config_of(family), **settings))
    for seed, role in enumerate(ROLES):
        state = encoder_of(family, seed).state_dict()
        model.encoder(role).load_state_dict({name: state[name] for name in model.encoder(role).state_dict()})
    return model.eval()


@cache
def text_of(family: str) -> GraphText:
    return GraphText(tiny_graph(), tokenizer_of(family), READING)


@cache
def batch_of(family: str, tokens: int = 60):
    return TripleCollator(tiny_graph().train, text_of(family), tokens)([*range(0, len(TRAIN), 4)])


def masks_of(family: str, chunks) -> list[torch.Tensor]:
    torch.manual_seed(3)
    return [mask_positions(chunk.input_ids, 0.3, torch.tensor(text_of(family).special)) for chunk in chunks]


@each_family
@pytest.mark.parametrize(("max_length", "below"), [(40, 99), (30, 6), (90, 99)])
def test_composed_texts_are_those_of_the_tokenizer(family, max_length, below):
    reading = replace(READING, max_length=max_length, neighbours_below=below)
    slow.assert_as_tokenised(tiny_graph(), tokenizer_of(family), reading, [*range(len(ENTITIES))])


@each_family
def test_a_teacher_reads_as_the_checkpoint(family, folder):
    model, tokenizer = start(EncoderConfig(name=str(folder(family)), max_length=24), tiny_graph(), 0)
    plain = AutoModel.from_pretrained(folder(family)).eval()
    texts = tokenizer(["Ada wrote", "a long river"], ["near", "part of the whole"], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden, mask = plain(**texts).last_hidden_state, texts["attention_mask"].bool()
        for role in ROLES:
            found = model.eval()(role, texts["input_ids"], texts["attention_mask"], texts.get("token_type_ids"))[0]
            torch.testing.assert_close(found[mask], hidden[mask], atol=1e-6, rtol=0)
    assert model.depth == DEPTH and tokenizer.get_vocab() == tokenizer_of(family).get_vocab()


@each_family
@torch.no_grad()
def test_chunks_are_read_text_by_text(family):
    model, text = model_of(family), text_of(family)
    for role, chunks in zip(ROLES, (batch_of(family).queries, batch_of(family).entities)):
        masks = masks_of(family, chunks)
        chunks = [replace(c, input_ids=c.input_ids.masked_fill(m, text.mask)) for c, m in zip(chunks, masks)]
        found = encode(model, role, chunks, masks=masks, layers=[0, 2, DEPTH])
        assert len(chunks) > 3 and len(found.masked) > 10
        for row, (ids, types, at) in enumerate(slow.unpadded(chunks, masks)):
            last = slow.hidden_of(model, role, ids, types)
            near = partial(torch.testing.assert_close, atol=1e-5, rtol=0)
            near(found.pooled[row], slow.mean_unit(last))
            near(found.masked[found.masked_text == row], last[at])
            assert all(ids[i] == text.mask for i in at)
            near(found.layers[0][row], slow.vector_of(model, role, ids, types, 0))
            near(found.layers[2][row], slow.vector_of(model, role, ids, types, 2))


def gradients(model: BiEncoder, family: str, tokens: int, recompute: bool) -> dict[str, torch.Tensor]:
    model = copy.deepcopy(model).train()
    found = encode(model, "query", batch_of(family, tokens).queries, layers=[1], recompute=recompute)
    target = torch.randn(found.pooled.shape, generator=torch.Generator().manual_seed(1))
    ((found.pooled + found.layers[1]) * target).sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@each_family
def test_chunked_and_recomputed_gradients_are_those_of_one_batch(family):
    model = model_of(family)
    whole, chunked, again = (gradients(model, family, *how) for how in ((10**6, False), (60, False), (60, True)))
    assert whole.keys() == chunked.keys() == again.keys() and len(whole) > 10
    for name, gradient in whole.items():
        torch.testing.assert_close(chunked[name], gradient, atol=1e-5 + 1e-4 * gradient.abs().max().item(), rtol=0)
        assert torch.equal(again[name], chunked[name]), name


def by_hand(encoder: nn.Module, layers: list[int]) -> nn.Module:
    """An encoder that goes through its own chosen layers, whatever its config says."""
    encoder = copy.deepcopy(encoder)
    for name in layer_lists(encoder):
        parent, _, child = name.rpartition(".")
        parent = encoder.get_submodule(parent)
        setattr(parent, child, nn.ModuleList([getattr(parent, child)[layer] for layer in layers]))
    encoder.config.num_hidden_layers = len(layers)  # ALBERT, whose layers are one, counts them by it
    return encoder


@each_family
@pytest.mark.parametrize("layers", LAYERS, ids=str)
@torch.no_grad()
def test_a_student_is_the_chosen_layers(family, layers, tmp_path):
    teacher = model_of(family)
    student = student_of(teacher, layers).eval()
    chunk = batch_of(family).queries[0]
    arguments, real = (chunk.input_ids, chunk.attention_mask, chunk.token_type_ids), chunk.attention_mask.bool()
    student.save_pretrained(tmp_path)
    loaded = BiEncoder.from_pretrained(tmp_path).eval()
    for role in ROLES:
        expected = copy.copy(teacher)
        expected._modules = {f"{role}_encoder": by_hand(teacher.encoder(role), layers)}
        hidden = expected(role, *arguments)[0][real]
        torch.testing.assert_close(student(role, *arguments)[0][real], hidden, atol=1e-5, rtol=0)
        assert torch.equal(loaded(role, *arguments)[0], student(role, *arguments)[0])
    assert student.depth == loaded.depth == len(layers) and student.config.layers == layers
    if family == "modernbert":
        kinds = teacher.config.encoder.layer_types
        assert len(set(kinds)) == 2
        assert student.config.encoder.layer_types == [kinds[layer] for layer in layers]


@each_family
def test_a_grade_of_a_grade_is_cut_from_the_checkpoint(family):
    teacher = model_of(family)
    three = student_of(teacher, evenly_spaced(3, 4))
    one = student_of(three, [1])
    direct = student_of(teacher, [three.config.layers[1]])
    assert one.config.layers == direct.config.layers == [2]
    assert one.config.encoder.to_dict() == direct.config.encoder.to_dict()
    state = direct.state_dict()
    assert one.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


def taught_terms(student: BiEncoder, teacher: BiEncoder, family: str):
    """An objective of PMD and its terms for a batch, the masks always the same."""
    text = text_of(family)
    objective = MaskedFeatureDistillation(
        *supervised_arguments(student, ContrastiveConfig()),
        teacher=teacher,
        distill=DistillConfig(masked_share=1.0),
        mask_rate=0.3,
        mask=text.mask,
        special=torch.tensor(text.special),
    ).train()

    def terms() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return objective(batch_of(family, 10**6))

    return objective, terms


@each_family
def test_a_grade_learns_from_its_teacher(family):
    teacher = model_of(family)
    same = taught_terms(student_of(teacher, [*range(DEPTH)]), teacher, family)[1]()
    assert same["feature"].item() == 0 and same["score"].item() == pytest.approx(0, abs=1e-5)
    student = student_of(teacher, [1, 3], widths=[8, 16])
    objective, terms = taught_terms(student, teacher, family)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        found = terms()
        assert found["feature"] > 0.1
        loss = sum(objective.weights[name] * term for name, term in found.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)


def spread_of(model: BiEncoder, family: str) -> float:
    """How far the vectors of two readings in training are apart."""
    with torch.no_grad():
        first, second = (encode(model.train(), "entity", batch_of(family).entities).pooled for _ in range(2))
    return (first - second).abs().max().item()


@each_family
@pytest.mark.parametrize("option", ["dropout", "attention_dropout"])
def test_a_rate_of_dropout_acts(family, option):
    config, plain = config_of(family), config_of(family)
    set_dropout(config, option, None)
    assert config.to_dict() == plain.to_dict()
    set_dropout(config, option, 0.4)
    changed = {name for name, value in config.to_dict().items() if value != plain.to_dict()[name]}
    assert changed == RATES.get(family, USUAL)[option == "attention_dropout"]
    assert spread_of(model_of(family), family) == 0
    assert spread_of(model_of(family, config), family) > 0.01


@each_family
def test_options_reach_the_encoder_and_positions_are_counted(family, folder):
    longest = POSITIONS - OFFSET.get(family, 0)
    begin = partial(EncoderConfig, name=str(folder(family)), dropout=0.25, attention_dropout=0.15)
    model, _ = start(begin(max_length=longest), tiny_graph(), 0)
    hidden, attention = RATES.get(family, USUAL)
    assert {getattr(model.config.encoder, name) for name in hidden} == {0.25}
    assert {getattr(model.config.encoder, name) for name in attention} == {0.15}
    assert model.config.max_tokens == longest
    with pytest.raises(PmdError, match=rf"^encoder\.max_length: {longest + 1} is more than the {longest} that '"):
        start(begin(max_length=longest + 1), tiny_graph(), 0)


@each_family
def test_adapters_learn_alone_and_are_merged(family):
    model = model_of(family)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    lora = LoraConfig(r=2)
    targets = PROJECTIONS.get(family, ["query", "value"])
    assert adapter_targets(model, lora) == targets
    with pytest.raises(PmdError, match=r"^train\.lora\.targets: no linear layer 'foo'; there are .*" + targets[0]):
        adapter_targets(model, LoraConfig(targets=[targets[0], "foo"]))
    torch.manual_seed(0)
    add_adapters(model, lora)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    adapted = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in trained if name != "log_inverse_temperature"}
    assert adapted == set(targets)
    assert "log_inverse_temperature" in trained
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        pooled = encode(model.train(), "entity", batch_of(family).entities).pooled
        pooled[:, 0].sum().backward()
        optimizer.step()
    chunks = batch_of(family).entities
    with torch.no_grad():
        expected = encode(model.eval(), "entity", chunks).pooled
        merge_adapters(model)
        torch.testing.assert_close(encode(model, "entity", chunks).pooled, expected, atol=1e-5, rtol=0)
    state = model.state_dict()
    assert state.keys() == before.keys()
    different = {name.rsplit(".", 2)[-2] for name in state if not torch.equal(state[name], before[name])}
    assert different == set(targets)


@each_family
def test_a_folder_is_the_model_at_every_width(family, tmp_path):
    text = text_of(family)
    model, graph = model_of(family, widths=[4, 16]), tiny_graph()
    scorer = TextScorer(model, text)
    save(tmp_path / "whole", TextModel(model, tokenizer_of(family)), graph, scorer.entities)
    loaded = load_model(tmp_path / "whole")
    again = loaded.read(graph, str(tmp_path / "cache"))
    assert [a.tolist() for a in again.rows.columns] == [b.tolist() for b in text.rows.columns]
    assert again.frame == text.frame
    assert torch.equal(TextScorer(loaded.model, again).entities, scorer.entities)
    small = TextScorer(model.crop(4), text)
    torch.testing.assert_close(small.entities, leading_dimensions(scorer.entities, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        small.score_all(graph.train, "tail"), scorer.score_all(graph.train, "tail", 4), atol=1e-5, rtol=0
    )


@each_family
def test_questions_are_answered(family, tmp_path, monkeypatch):
    """By NumPy for BERT, by the model itself for all others."""
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))
    graph, place = tiny_graph(), tmp_path / "model"
    save(place, TextModel(model_of(family), tokenizer_of(family)), graph)
    settings = json.loads((place / "config.json").read_text())
    assert can_read(place, settings) == (family == "bert")
    trained = pmd.load(place, graph)
    assert trained.dim == 16 and trained.widths == (16,)
    answers = trained.answer(head="Hub", relation="größer als", top_k=len(ENTITIES), all=True, types="off")
    triple = torch.tensor([[7, 2, 0]])
    scores = pmd.load_scorer(place, graph).score_all(triple, "tail")[0]
    assert len(answers) == len(ENTITIES)
    for answer in answers:
        assert answer.score == pytest.approx(scores[graph.entity_ids.index(answer.id)].item(), abs=1e-5)
    asked = trained.answer(text="Hub: joined to nearly everything", relation="größer als", top_k=1)
    assert -1 <= asked[0].score <= 1


@each_family
def test_onnx_is_the_model_at_any_shape(family, tmp_path):
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra `export`")
    model, text = student_of(model_of(family, tied=True), [1, 3]).eval(), text_of(family)
    write_encoders(tmp_path, model)
    encoders, rows = OnnxEncoders(tmp_path, threads=1), np.arange(len(ENTITIES))
    for texts, role in ((text.entities(rows), "entity"), (text.queries(rows, rows % 6), "query")):
        expected = encode_texts(model, role, texts, text.pad).numpy()
        for tokens in (30, 200):
            np.testing.assert_allclose(encoders.encode(role, texts, text.pad, tokens), expected, atol=1e-5)

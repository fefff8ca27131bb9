import copy
import math

import pytest
import torch
from transformers import AutoConfig, AutoModel, BertConfig, BertModel

from pmd.data.texts.batches import Chunk
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig, pool
from pmd.models.text.students import student_of

from ... import slow
from ...tiny import tiny_batch, tiny_encoder, tiny_model


def chunk() -> Chunk:
    return tiny_batch([0, 1, 2, 8], 400).queries[0]


def read(model: BiEncoder, role: str, part: Chunk | None = None, **options) -> list[torch.Tensor]:
    part = part or chunk()
    model.eval()
    with torch.no_grad():
        return model(role, part.input_ids, part.attention_mask, part.token_type_ids, **options)


MODELS = {
    "untied": lambda: tiny_model(3),
    "tied": lambda: tiny_model(3, tied=True),
    "student": lambda: student_of(tiny_model(4, init_temperature=0.2), [0, 3]),
    "tied student": lambda: student_of(tiny_model(4, tied=True), [2]),
    "student of student": lambda: student_of(student_of(tiny_model(4), [0, 2, 3]), [2]),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_saved_model_comes_back_to_the_bit(kind, tmp_path):
    model = MODELS[kind]()
    with torch.no_grad():
        model.log_inverse_temperature.fill_(1.25)
    model.save_pretrained(tmp_path)
    again = BiEncoder.from_pretrained(tmp_path)
    assert not again.training
    assert again.config.to_dict().keys() == model.config.to_dict().keys()
    assert (again.config.layers, again.config.tied, again.depth) == (
        model.config.layers,
        model.config.tied,
        model.depth,
    )
    assert again.inverse_temperature.item() == model.inverse_temperature.item() == pytest.approx(math.exp(1.25))
    mine, other = model.state_dict(), again.state_dict()
    assert mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)
    for (name, buffer), (same, restored) in zip(model.named_buffers(), again.named_buffers()):
        assert name == same and torch.equal(buffer, restored), name
    for role in ("query", "entity"):
        assert torch.equal(read(model, role)[0], read(again, role)[0])


def test_positions_are_counted_after_loading(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    model = BiEncoder.from_pretrained(tmp_path)
    for role in ("query", "entity"):
        assert model.encoder(role).embeddings.position_ids.tolist() == [[*range(64)]]
        assert not model.encoder(role).embeddings.token_type_ids.any()


@pytest.mark.parametrize("tied", [False, True])
def test_the_auto_classes_know_it(tied, tmp_path):
    model = tiny_model(tied=tied, max_tokens=33, neighbours_below=4, max_neighbours=2)
    model.save_pretrained(tmp_path)
    config, again = AutoConfig.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    assert type(config) is BiEncoderConfig and type(again) is BiEncoder
    assert type(config.encoder) is BertConfig and config.encoder.hidden_size == 32
    assert (config.max_tokens, config.neighbours_below, config.max_neighbours, config.tied) == (33, 4, 2, tied)
    assert torch.equal(read(model, "entity")[0], read(again, "entity")[0])


def test_a_config_survives_its_dictionary(tmp_path):
    config = BiEncoderConfig(encoder=tiny_encoder(3, dropout=0.3), tied=True, init_temperature=0.07, layers=[1, 5, 9])
    for again in (
        BiEncoderConfig(**config.to_dict()),
        BiEncoderConfig.from_dict(config.to_dict()),
        copy.deepcopy(config),
    ):
        assert again.to_dict() == config.to_dict()
        assert type(again.encoder) is BertConfig and again.encoder.hidden_dropout_prob == 0.3
    config.save_pretrained(tmp_path)
    again = BiEncoderConfig.from_pretrained(tmp_path)
    assert (again.tied, again.init_temperature, again.layers) == (True, 0.07, [1, 5, 9])
    assert again.encoder.to_dict() == config.encoder.to_dict()


def test_layers_descend_from_themselves_at_first():
    assert BiEncoderConfig(encoder=tiny_encoder(3)).layers == [0, 1, 2]


@pytest.mark.parametrize("role", ["query", "entity"])
def test_hidden_states_are_those_of_a_plain_bert(role):
    model, part = tiny_model(3), chunk()
    bert = BertModel(tiny_encoder(3), add_pooling_layer=False).eval()
    bert.load_state_dict(model.encoder(role).state_dict())
    with torch.no_grad():
        output = bert(part.input_ids, part.attention_mask, part.token_type_ids, output_hidden_states=True)
    assert torch.equal(read(model, role, part)[0], output.last_hidden_state)
    layers = read(model, role, part, all_layers=True)
    assert len(layers) == 4
    for ours, plain in zip(layers, output.hidden_states):
        assert torch.equal(ours, plain)


def test_types_are_read():
    part, model = chunk(), tiny_model().eval()
    with torch.no_grad():
        without = model("query", part.input_ids, part.attention_mask)[0]
    assert part.token_type_ids.any()
    assert not torch.allclose(without, read(model, "query", part)[0], atol=1e-3)


def test_an_encoder_without_types_is_given_none():
    config = BertConfig(**{**tiny_encoder().to_dict(), "type_vocab_size": 1})
    assert read(BiEncoder(BiEncoderConfig(encoder=config)), "query")[0].isfinite().all()


def test_untied_encoders_differ_and_tied_ones_are_one():
    untied, tied = tiny_model(), tiny_model(tied=True)
    assert not torch.allclose(read(untied, "query")[0], read(untied, "entity")[0], atol=1e-2)
    assert tied.encoder("query") is tied.encoder("entity") and tied.entity_encoder is None
    sizes = [sum(p.numel() for p in model.parameters()) for model in (untied, tied)]
    assert sizes[0] - 1 == 2 * (sizes[1] - 1)


def test_pooling_equals_a_loop_over_the_tokens():
    hidden, lengths = torch.randn(5, 7, 4), [7, 1, 3, 5, 2]
    mask = torch.tensor([[int(i < n) for i in range(7)] for n in lengths])
    pooled = pool(hidden, mask)
    for row, length in enumerate(lengths):
        assert torch.allclose(pooled[row], slow.mean_unit(hidden[row, :length]), atol=1e-6)
    assert torch.allclose(pooled.norm(dim=1), torch.ones(5), atol=1e-6)


def test_pooling_by_hand():
    hidden = torch.tensor([[[3.0, 0.0], [3.0, 8.0], [99.0, 99.0]]])
    assert pool(hidden, torch.tensor([[1, 1, 0]]))[0].tolist() == pytest.approx([0.6, 0.8])


def test_the_temperature_starts_where_it_is_set():
    model = tiny_model(init_temperature=0.05)
    assert model.inverse_temperature.item() == pytest.approx(20, rel=1e-6)
    assert model.log_inverse_temperature.requires_grad
    assert (model.depth, model.dim) == (2, 32)


@pytest.mark.parametrize(
    ("layers", "parameters"), [(12, 217_783_297), (9, 175_256_065), (6, 132_728_833), (3, 90_201_601)]
)
def test_parameters_of_two_bert_base_encoders(layers, parameters):
    with torch.device("meta"):
        model = BiEncoder(BiEncoderConfig(encoder=BertConfig(num_hidden_layers=layers)))
    # Two encoders without the poolers that are never used (1.2 million), and the temperature.
    assert sum(p.numel() for p in model.parameters()) == parameters

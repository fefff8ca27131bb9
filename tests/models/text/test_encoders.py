"""Encoders of any kind: what cannot work is refused, in one line, before anything is trained."""

import pytest
import torch
from transformers import AlbertConfig, AutoModel, ConvBertConfig, EsmConfig, FNetConfig, T5Config

from pmd.core.errors import PmdError
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.start import start
from pmd.models.text.students import student_of
from pmd.settings.text import EncoderConfig
from pmd.use.exporting.export import check_plain

from ...tiny import tiny_graph
from ...tiny_encoders import config_of, encoder_of, tokenizer_of

SMALL = {
    "initializer_range": 0.3,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (
            AlbertConfig(**SMALL, num_hidden_groups=2),
            {},
            r"name: layers of a 'albert' .* share the weights of 2 groups",
        ),
        (ConvBertConfig(**SMALL, embedding_size=16), {}, r"name: a 'convbert' encoder reads padding as a part"),
        (EsmConfig(**SMALL), {}, r"name: a 'esm' encoder of fewer layers needs another .*contact_head"),
        (
            T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2),
            {},
            r"name: a 't5' encoder of fewer layers needs another .*relative_attention_bias",
        ),
        (FNetConfig(**SMALL), {"attention_dropout": 0.1}, r"attention_dropout: a 'fnet' encoder has no such dropout"),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_what_cannot_work_is_refused_before_training(config, options, message, tmp_path):
    tokenizer = tokenizer_of("bert")
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(PmdError, match=rf"^encoder\.{message}") as caught:
        start(EncoderConfig(name=str(tmp_path), max_length=24, **options), tiny_graph(), 0)
    assert "\n" not in str(caught.value)


def test_half_precision_is_trained_in_single(tmp_path):
    encoder = encoder_of("bert").half()
    encoder.save_pretrained(tmp_path)
    tokenizer_of("bert").save_pretrained(tmp_path)
    model, _ = start(EncoderConfig(name=str(tmp_path), max_length=24), tiny_graph(), 0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    weight = model.query_encoder.embeddings.word_embeddings.weight
    assert torch.equal(weight, encoder.embeddings.word_embeddings.weight.float())


def test_a_modernbert_that_begins_later_is_no_encoder_of_others():
    """Its first layer has a norm that `transformers` would leave out."""
    teacher = BiEncoder(BiEncoderConfig(encoder=config_of("modernbert")))
    check_plain(student_of(teacher, [0, 2]))
    for layers in ([2], [0, 0]):
        with pytest.raises(PmdError, match=r"^to: .*'modernbert'.* export to onnx"):
            check_plain(student_of(teacher, layers))

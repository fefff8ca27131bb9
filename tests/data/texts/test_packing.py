import numpy as np
import pytest
import torch

from pmd.data.glue import EncodedSplit
from pmd.data.texts.batches import Chunk
from pmd.data.texts.packing import first_fit, pack
from pmd.distill.bert_finetune import batch_logits, batch_logits_widths

from ...tiny import tiny_tokenizer
from ...tiny_glue import WIDTHS, tiny_classifier, tiny_split


def chunk(*lengths: int) -> Chunk:
    """Texts 1, 2, ... of these lengths, every token the number of its text; the last of each is its second segment."""
    there = torch.arange(lengths[0]) < torch.tensor(lengths)[:, None]
    last = torch.arange(lengths[0]) == torch.tensor(lengths)[:, None] - 1
    ids = torch.arange(1, len(lengths) + 1)[:, None] * there
    return Chunk(ids, there.long(), last.long(), torch.arange(len(lengths)))


def test_texts_share_rows():
    packed = pack(chunk(5, 4, 3, 2, 1))
    assert packed.input_ids.tolist() == [[1, 1, 1, 1, 1], [2, 2, 2, 2, 5], [3, 3, 3, 4, 4]]
    assert packed.token_type_ids.tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 1, 0, 1]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 0], [0, 1, 2, 0, 1]]
    assert packed.first_tokens.tolist() == [[0, 1, 2, 2, 1], [0, 0, 0, 3, 4]]


def test_tokens_see_their_own_text_and_padding_sees_padding():
    packed = pack(chunk(4, 3, 3))
    assert packed.text.tolist() == [[1, 1, 1, 1], [2, 2, 2, 0], [3, 3, 3, 0]]
    mask = packed.inputs["attention_mask"]
    assert mask.shape == (3, 1, 4, 4) and mask.any(-1).all()
    assert mask[1, 0].tolist() == [[True, True, True, False]] * 3 + [[False, False, False, True]]


def test_a_row_takes_the_first_texts_that_fit():
    lengths = np.sort(np.random.default_rng(0).integers(1, 50, 200))[::-1]
    rows, columns = first_fit(lengths, 60)
    for row in range(rows.max() + 1):
        inside = rows == row
        assert columns[inside].tolist() == [0, *np.cumsum(lengths[inside])[:-1]]
        assert lengths[inside].sum() <= 60
    used = np.bincount(rows, lengths)
    # No text would have had room in an earlier row; so all but the last are at least half full.
    assert all(used[:-1] > 30) and rows.max() + 1 <= 11 / 9 * np.ceil(lengths.sum() / 60) + 1


@pytest.mark.parametrize(
    "lengths, size", [((4, 3, 3), 4), ((60,) * 8, 60), ((50, *[30] * 15), 63), ((25, *[11] * 9), 44)]
)
def test_rows_are_longer_than_the_longest_text_where_that_saves_more_than_attention_costs(lengths, size):
    assert pack(chunk(*lengths)).text.shape[1] == size


@pytest.mark.parametrize("task", ["rte", "cola"])
@pytest.mark.parametrize("size", [1, 2, 9])
def test_a_packed_batch_is_read_as_the_padded_one(task, size, tmp_path):
    encoded = EncodedSplit(tiny_split(tmp_path, task), tiny_tokenizer(), 64, str(tmp_path / "cache"))
    batch, model = encoded(range(size)), tiny_classifier().eval()
    assert size == 1 or batch.packed.input_ids.numel() < batch.texts.input_ids.numel()
    packed, padded = batch_logits_widths(model, batch, WIDTHS), model.forward_widths(**batch.inputs)
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=1e-5)
    places = ("bert.embeddings.word_embeddings", "bert.encoder.layer.0.attention.self.value", "classifier")
    weights = [model.get_submodule(place).weight for place in places]
    for own, other in zip(*(torch.autograd.grad(logits.square().sum(), weights) for logits in (packed, padded))):
        torch.testing.assert_close(own, other, atol=1e-4, rtol=1e-4)
    for width in WIDTHS:
        small = model.crop(width)
        torch.testing.assert_close(batch_logits(small, batch), small(**batch.inputs).logits, atol=1e-5, rtol=1e-5)


def test_attention_without_such_masks_reads_padded_texts(tmp_path):
    encoded = EncodedSplit(tiny_split(tmp_path, "rte"), tiny_tokenizer(), 64, str(tmp_path / "cache"))
    batch, model = encoded(range(9)), tiny_classifier().eval()
    expected, small = batch_logits_widths(model, batch, WIDTHS), model.crop(32)
    model.set_attn_implementation("eager")
    torch.testing.assert_close(batch_logits_widths(model, batch, WIDTHS), expected, atol=1e-5, rtol=1e-5)
    small.set_attn_implementation("eager")
    torch.testing.assert_close(batch_logits(small, batch), expected[-1], atol=1e-5, rtol=1e-5)


def test_the_order_of_texts_does_not_matter():
    texts = chunk(5, 4, 3, 2, 1)
    turned = Chunk(
        *(part.flip(0) for part in (texts.input_ids, texts.attention_mask, texts.token_type_ids, texts.rows))
    )
    packed = pack(turned)
    assert packed.input_ids[tuple(packed.first_tokens)].tolist() == [5, 4, 3, 2, 1]
    assert packed.input_ids.flatten().bincount().tolist()[1:] == [5, 4, 3, 2, 1]


def test_many_texts_need_few_rows(tmp_path):
    encoded = EncodedSplit(tiny_split(tmp_path, "rte"), tiny_tokenizer(), 64, str(tmp_path / "cache"))
    batch = encoded(range(len(encoded)))
    real = int(batch.texts.attention_mask.sum())
    assert real == int((batch.packed.text > 0).sum()) <= batch.packed.text.numel() < batch.texts.input_ids.numel()

import math

import pytest
import torch

from pmd.data.texts.masking import mask_positions

from ...tiny import TRAIN, tiny_batch, tiny_text

CLS, SEP, PAD, MASK = 2, 3, 0, 4
SPECIAL = torch.tensor([CLS, SEP, PAD])


def texts(ordinary: list[int], length: int = 70) -> torch.Tensor:
    """[CLS] words [SEP] word [SEP] padding, with so many ordinary tokens a row (one of them in the second part)."""
    rows = [[CLS, *range(10, 9 + n), SEP, 9, SEP] if n else [CLS, SEP] for n in ordinary]
    return torch.tensor([row + [PAD] * (length - len(row)) for row in rows])


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.99])
def test_the_share_is_rounded_half_up(rate):
    ordinary = [*range(61)]
    masks = mask_positions(texts(ordinary), rate, SPECIAL)
    exact = [math.floor(round(rate * n, 9) + 0.5) for n in ordinary]
    assert masks.sum(1).tolist() == exact


def test_special_tokens_are_never_masked():
    ids = texts([*range(1, 40)])
    for seed in range(20):
        torch.manual_seed(seed)
        masked = ids[mask_positions(ids, 0.9, SPECIAL)]
        assert not torch.isin(masked, SPECIAL).any()


def test_special_tokens_of_real_batches_are_never_masked():
    text, batch = tiny_text(), tiny_batch([*range(len(TRAIN))])
    special = torch.tensor(text.special)
    for chunk in [*batch.queries, *batch.entities]:
        mask = mask_positions(chunk.input_ids, 0.99, special)
        for ids, masked in zip(chunk.input_ids.tolist(), mask.tolist()):
            assert not any(hit and i in text.special for i, hit in zip(ids, masked))
        ordinary = ~torch.isin(chunk.input_ids, special)
        assert (mask.sum(1) == (ordinary.sum(1) * 0.99 + 0.5).floor()).all()


def test_no_rate_masks_nothing():
    assert not mask_positions(texts([5, 0, 60]), 0.0, SPECIAL).any()


def test_a_text_without_words_is_left_alone():
    assert not mask_positions(torch.tensor([[CLS, SEP, PAD, PAD], [CLS, SEP, SEP, PAD]]), 0.9, SPECIAL).any()


def test_every_position_is_as_likely():
    torch.manual_seed(0)
    n, draws = 10, 20_000
    ids = texts([n]).expand(draws, -1)
    hits = mask_positions(ids, 0.3, SPECIAL).sum(0)
    ordinary = ~torch.isin(ids[0], SPECIAL)
    assert hits[~ordinary].sum() == 0
    # 3 of 10: mean 6000, standard deviation 65.
    assert (hits[ordinary] - 0.3 * draws).abs().max() < 5 * 65


def test_every_pair_of_positions_is_as_likely():
    torch.manual_seed(0)
    draws = 20_000
    masks = mask_positions(texts([5], 9).expand(draws, -1), 0.4, SPECIAL).float()
    together = masks.T @ masks / draws  # 2 of 5: every pair has the probability 1/10
    pairs = [float(together[i, j]) for i in (1, 2, 3, 4, 6) for j in (1, 2, 3, 4, 6) if i < j]
    assert pairs == pytest.approx([0.1] * 10, abs=0.012)


def test_the_seed_decides():
    ids = texts([40, 30, 20])
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(mask_positions(ids, 0.2, SPECIAL))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])

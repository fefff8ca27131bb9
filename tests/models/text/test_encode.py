import pytest
import torch
from torch.nn.functional import normalize

from pmd.data.texts.masking import mask_positions
from pmd.models.text.encode import Encoded, encode, pool_masked

from ... import slow
from ...tiny import TRAIN, tiny_batch, tiny_model, tiny_text

ALL = [*range(len(TRAIN))]
ROLES = ["query", "entity"]


def parts(role: str, tokens: int = 60):
    batch = tiny_batch(ALL, tokens)
    return batch.queries if role == "query" else batch.entities


def masks_of(chunks, rate: float = 0.3) -> list[torch.Tensor]:
    text = tiny_text()
    torch.manual_seed(3)
    masks = [mask_positions(chunk.input_ids, rate, torch.tensor(text.special)) for chunk in chunks]
    masks[0][0] = False  # a text without any mask
    return masks


@pytest.mark.parametrize("role", ROLES)
def test_chunks_equal_one_padded_batch(role):
    model, whole = tiny_model().eval(), parts(role, 10**6)
    assert len(whole) == 1
    with torch.no_grad():
        expected = encode(model, role, whole).pooled
        for tokens in (1, 24, 60, 200):
            assert len(parts(role, tokens)) > 1
            torch.testing.assert_close(encode(model, role, parts(role, tokens)).pooled, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("role", ROLES)
def test_vectors_equal_texts_read_one_by_one(role):
    model, chunks = tiny_model().eval(), parts(role)
    with torch.no_grad():
        found = encode(model, role, chunks)
        for row, (ids, types, _) in enumerate(slow.unpadded(chunks)):
            expected = slow.vector_of(model, role, ids, types)
            torch.testing.assert_close(found.pooled[row], expected, atol=1e-6, rtol=0)
    assert found.masked.shape == (0, 32) and found.masked_text.shape == (0,) and found.layers == {}


@pytest.mark.parametrize("role", ROLES)
def test_masked_features_are_the_states_at_the_masks(role):
    model, chunks = tiny_model().eval(), parts(role)
    masks = masks_of(chunks)
    with torch.no_grad():
        found = encode(model, role, chunks, masks=masks)
        picked = {}
        for row, (ids, types, at) in enumerate(slow.unpadded(chunks, masks)):
            picked[row] = slow.hidden_of(model, role, ids, types)[at]
    assert len(found.masked) == sum(int(mask.sum()) for mask in masks) > 20
    for row, expected in picked.items():
        torch.testing.assert_close(found.masked[found.masked_text == row], expected, atol=1e-5, rtol=0)


def test_pooled_masked_features_equal_a_loop():
    model, chunks = tiny_model().eval(), parts("query")
    masks = masks_of(chunks, 0.1)
    with torch.no_grad():
        pooled = pool_masked(encode(model, "query", chunks, masks=masks))
        expected = [
            slow.mean_unit(slow.hidden_of(model, "query", ids, types)[at])
            for ids, types, at in slow.unpadded(chunks, masks)
            if at
        ]
    assert len(pooled) == len(expected) < len(slow.unpadded(chunks))
    torch.testing.assert_close(pooled, torch.stack(expected), atol=1e-5, rtol=0)


def test_pooled_masked_features_by_hand():
    masked = torch.tensor([[1.0, 0.0], [0.0, 5.0], [1.0, 0.0]])
    pooled = pool_masked(Encoded(torch.empty(4, 2), masked, torch.tensor([3, 1, 3]), {}))
    assert pooled.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    nothing = Encoded(torch.empty(4, 2), masked[:0], torch.empty(0, dtype=torch.long), {})
    assert pool_masked(nothing).shape == (0, 2)


@pytest.mark.parametrize("role", ROLES)
def test_middle_layers_are_pooled_like_the_last(role):
    model, chunks = tiny_model(4).eval(), parts(role)
    with torch.no_grad():
        found = encode(model, role, chunks, layers=[3, 0, 1, 4])
        for layer in (0, 1, 3, 4):
            for row, (ids, types, _) in enumerate(slow.unpadded(chunks)):
                expected = slow.vector_of(model, role, ids, types, layer)
                torch.testing.assert_close(found.layers[layer][row], expected, atol=1e-6, rtol=0)
    assert torch.equal(found.layers[4], found.pooled)


def gradients(dropout: float, recompute: bool) -> dict[str, torch.Tensor]:
    model, chunks = tiny_model(3, dropout=dropout).train(), parts("query")
    torch.manual_seed(5)
    found = encode(model, "query", chunks, masks=masks_of(chunks), layers=[1], recompute=recompute)
    target = torch.randn(found.pooled.shape, generator=torch.Generator().manual_seed(1))
    loss = (found.pooled * target).sum() + found.masked.square().mean() + found.layers[1][:, 0].sum()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None} | {"loss": loss.detach()}


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_recomputing_gives_the_same_gradients(dropout):
    kept, again = gradients(dropout, False), gradients(dropout, True)
    assert kept.keys() == again.keys() and len(kept) > 30
    for name, gradient in kept.items():
        assert torch.equal(gradient, again[name]), name
    assert gradients(0.0, False)["loss"] != gradients(0.2, False)["loss"]


def test_recomputing_keeps_no_activations():
    model, chunks = tiny_model().train(), parts("query")

    def saved(recompute: bool) -> int:
        sizes = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t)
        with hooks:
            encode(model, "query", chunks, recompute=recompute)
        return sum(sizes)

    assert saved(True) < saved(False) / 10


def test_vectors_are_of_unit_length():
    with torch.no_grad():
        vectors = encode(tiny_model().eval(), "entity", parts("entity")).pooled
    torch.testing.assert_close(vectors, normalize(vectors, dim=1), atol=1e-6, rtol=0)

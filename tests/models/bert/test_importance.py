import pytest
import torch
from torch.nn.functional import cross_entropy

from pmd.core.errors import PmdError
from pmd.models.bert.importance import GROUPS, magnitude, reorder_, taylor

from .test_croppable import assert_same, batch, tiny

SPACES = {"hidden": 32, "pooled": 32, "heads.0": 4, "heads.1": 4, "neurons.0": 48, "neurons.1": 48}


def loss_of(model) -> torch.Tensor:
    return cross_entropy(model(**batch()).logits, torch.tensor([0, 2, 1, 1, 0]))


def worth_of(model, by: str) -> dict[str, torch.Tensor]:
    return magnitude(model) if by == "magnitude" else taylor(model, [loss_of(model)])


@pytest.mark.parametrize("by", ["magnitude", "taylor"])
@pytest.mark.parametrize("groups", [GROUPS, *((group,) for group in GROUPS)])
def test_reordering_keeps_the_function_and_puts_the_best_first(groups, by):
    model = tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        logits, narrow = model(**batch()).logits, model.forward_widths(**batch())[0]
    orders = reorder_(model, worth_of(model, by), groups)
    assert {space.partition(".")[0] for space in orders} == set(groups)
    for space, worth in worth_of(model, by).items():
        # Rounding of the worths of near equals, computed again in another order, is no disorder.
        in_order = (worth[1:] <= worth[:-1] * (1 + 1e-4)).all()
        assert in_order == (space in orders), space
        assert worth.shape == (SPACES[space],)
        if space in orders:
            assert sorted(orders[space].tolist()) == [*range(SPACES[space])]
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        assert_same(model(**batch()).logits, logits)
        assert (model.forward_widths(**batch())[0] - narrow).abs().max() > 0.01


def test_an_encoder_gives_its_outputs_in_the_new_order():
    model = tiny(head=False)
    with torch.no_grad():
        before = model(**batch())
        orders = reorder_(model, magnitude(model))
        after = model(**batch())
    assert_same(after.last_hidden_state, before.last_hidden_state[..., orders["hidden"]])
    assert_same(after.pooler_output, before.pooler_output[..., orders["pooled"]])
    assert orders["hidden"].tolist() != [*range(32)]


def test_a_plain_model_can_be_reordered_too():
    model, plain = tiny(), tiny().crop(32)
    reorder_(model, magnitude(model))
    reorder_(plain, magnitude(plain))
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in plain.state_dict().items())


def test_magnitude_by_hand():
    model = tiny()
    state, found = model.bert.state_dict(), magnitude(model)
    scales = [tensor for name, tensor in state.items() if name.endswith("LayerNorm.weight")]
    assert len(scales) == 5
    assert found["hidden"][3].item() == pytest.approx(sum(scale[3].item() ** 2 for scale in scales), rel=1e-5)
    value = state["encoder.layer.1.attention.self.value.weight"][16:24].norm()
    mixed = state["encoder.layer.1.attention.output.dense.weight"][:, 16:24].norm()
    assert found["heads.1"][2].item() == pytest.approx((value * mixed).item(), rel=1e-5)
    inward = state["encoder.layer.0.intermediate.dense.weight"][7].norm()
    outward = state["encoder.layer.0.output.dense.weight"][:, 7].norm()
    assert found["neurons.0"][7].item() == pytest.approx((inward * outward).item(), rel=1e-5)


def test_taylor_by_hand():
    model = tiny()
    found = taylor(model, (loss_of(model) for _ in range(2)))  # a batch twice counts twice
    loss_of(model).backward()
    change = {name: (p * p.grad).abs() for name, p in model.named_parameters()}
    layer = "bert.encoder.layer.1."
    head = change[layer + "attention.output.dense.weight"][:, 16:24].sum()
    for role in ("query", "key", "value"):
        head = head + change[f"{layer}attention.self.{role}.weight"][16:24].sum()
        head = head + change[f"{layer}attention.self.{role}.bias"][16:24].sum()
    neuron = change[layer + "intermediate.dense.weight"][7].sum() + change[layer + "intermediate.dense.bias"][7]
    neuron = neuron + change[layer + "output.dense.weight"][:, 7].sum()
    hidden = 0.0
    for name, value in change.items():
        if name.endswith("_embeddings.weight") or any(end in name for end in ("self.", "intermediate.dense.weight")):
            hidden += value[:, 5].sum().item() if value.dim() == 2 else 0.0
        elif "LayerNorm" in name or ".output.dense" in name:
            hidden += value[5].sum().item()
    hidden += change["bert.pooler.dense.weight"][:, 5].sum().item()
    pooled = change["bert.pooler.dense.weight"][4].sum() + change["bert.pooler.dense.bias"][4]
    pooled = pooled + change["classifier.weight"][:, 4].sum()
    assert found["heads.1"][2].item() == pytest.approx(2 * head.item(), rel=1e-4)
    assert found["neurons.1"][7].item() == pytest.approx(2 * neuron.item(), rel=1e-4)
    assert found["hidden"][5].item() == pytest.approx(2 * hidden, rel=1e-4)
    assert found["pooled"][4].item() == pytest.approx(2 * pooled.item(), rel=1e-4)


def test_a_neuron_and_a_head_that_do_nothing_come_last():
    for by in ("magnitude", "taylor"):
        model = tiny()
        layer = model.bert.encoder.layer[1]
        with torch.no_grad():
            layer.output.dense.weight[:, 7] = 0
            layer.attention.output.dense.weight[:, 8:16] = 0
        orders = reorder_(model, worth_of(model, by))
        assert orders["neurons.1"][-1] == 7 and orders["heads.1"][-1] == 1, by


def test_what_cannot_be_judged_is_an_error():
    model = tiny()
    with pytest.raises(PmdError, match="no loss"):
        taylor(model, [])
    with pytest.raises(PmdError, match="weights"):
        taylor(model, [torch.ones((), requires_grad=True)])
    with pytest.raises(PmdError, match=r"'head'.*BERT.*heads, neurons, hidden, pooled"):
        reorder_(model, magnitude(model), ["head"])
    model.extra = torch.nn.Linear(2, 2)
    with pytest.raises(PmdError, match=r"'extra\.weight'"):
        reorder_(model, magnitude(model))

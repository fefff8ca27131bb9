"""Labelling: near perfect where embeddings tell classes apart, at chance where they do not."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

import pmd
from pmd.core.errors import PmdError
from pmd.papers.downstream.labelling import (
    LabellingConfig,
    labelling_metrics,
    large_classes,
    prefix_labels,
    split_labels,
    train_labelling,
)
from pmd.papers.downstream.recommend import standardised
from pmd.papers.downstream.table import pca_vectors

LABELS = [f"class {place % 4}" for place in range(400)]
CONFIG = LabellingConfig(epochs=50, l2=[0.01])


def vectors(apart):
    torch.manual_seed(0)
    centres = apart * torch.randn(4, 6)
    return centres[torch.arange(400) % 4] + torch.randn(400, 6)


def test_separable_classes_are_told_apart_and_noise_is_not():
    found = {apart: train_labelling(vectors(apart), LABELS, CONFIG, 0)[1]["test"] for apart in (4.0, 0.0)}
    assert found[4.0]["accuracy"] > 0.95 and found[4.0]["f1"] > 0.95
    assert found[0.0]["accuracy"] == pytest.approx(0.25, abs=0.12)  # of four classes


def test_features_may_have_any_scale():
    """The classifier standardises by the entities that it trains on."""
    scale, shift = torch.tensor([1, 1e-3, 1e3, 1, 10, 0.1]), torch.tensor([0, 5, 0, -3, 0, 1.0])
    classifier, found = train_labelling(vectors(4.0) * scale + shift, LABELS, CONFIG, 0)
    assert found["test"]["accuracy"] > 0.95
    train = split_labels(LABELS, 0)["train"]
    assert classifier[0].mean_ == pytest.approx((vectors(4.0) * scale + shift)[train].mean(0).numpy(), rel=1e-3)


def test_validation_chooses_the_weight_decay():
    """A weight that flattens everything is tried and not taken."""
    torch.manual_seed(0)
    crushed = train_labelling(vectors(4.0), LABELS, LabellingConfig(epochs=50, l2=[1e5]), 0)[1]
    assert crushed["valid"]["accuracy"] < 0.5
    for order in ([1e5, 0.01], [0.01, 1e5]):
        classifier, found = train_labelling(vectors(4.0), LABELS, LabellingConfig(epochs=50, l2=order), 0)
        assert classifier[-1].alpha == 0.01 and found["test"]["accuracy"] > 0.95


def test_splits_are_stratified_and_of_the_seed():
    labels = ["a"] * 50 + ["b"] * 30 + ["c"] * 20
    parts = split_labels(labels, 3)
    assert sorted(place for part in parts.values() for place in part) == [*range(100)]
    counts = {part: Counter(labels[place] for place in places) for part, places in parts.items()}
    assert counts["train"] == {"a": 30, "b": 18, "c": 12}
    assert counts["valid"] == counts["test"] == {"a": 10, "b": 6, "c": 4}
    assert (split_labels(labels, 3)["test"] == parts["test"]).all()
    assert sorted(split_labels(labels, 4)["test"]) != sorted(parts["test"])


def test_the_kinds_of_world_are_labels():
    graph = pmd.load_graph("world")
    entities, labels = prefix_labels(graph)
    assert len(entities) == 1887 and Counter(labels)["currency"] == 267
    kept, small = large_classes(labels, 10)
    assert small == {"region": 5} and len(kept) == 1882 and "region" not in {labels[place] for place in kept}


def test_what_cannot_be_labelled():
    graph = pmd.load_graph("world")
    plain = replace(graph, entity_ids=[*graph.entity_ids[:-1], "nowhere"])
    with pytest.raises(PmdError, match=r"entity 'nowhere'.*'world'"):
        prefix_labels(plain)
    with pytest.raises(PmdError, match=r"1 class\(es\).*10"):
        large_classes(["a"] * 20 + ["b"] * 9, 10)
    with pytest.raises(PmdError, match=r"'b'.*4"):
        train_labelling(torch.randn(24, 2), ["a"] * 20 + ["b"] * 4, CONFIG, 0)


def test_vectors_are_crops_flattened():
    model = pmd.KgeModel("rotate", 12, 2, 4, widths=(2, 4))  # of two parts
    entities = torch.tensor([3, 1])
    found = model.entity_vectors(entities, 2)
    expected = [model.entities[3, 0, 0], model.entities[3, 0, 1], model.entities[3, 1, 0], model.entities[3, 1, 1]]
    assert found[0].tolist() == [value.item() for value in expected]
    assert torch.equal(found, model.crop(2).entity_vectors(entities)) and not found.requires_grad
    assert torch.equal(model.entity_vectors(entities), model.entities[entities].flatten(1))
    for width in (0, 5):
        with pytest.raises(PmdError, match=rf"width {width}.*outside 1.*4"):
            model.entity_vectors(entities, width)


def test_vectors_are_those_that_are_compared():
    """With unit entities those of the sub-model have length 1, both parts together."""
    model = pmd.KgeModel("rotate", 12, 2, 4, unit_entities=True)
    with torch.no_grad():
        model.entities[3, :, :2] = torch.tensor([[1.0, 2.0], [4.0, 2.0]])
    assert model.entity_vectors(torch.tensor([3]), 2)[0].tolist() == pytest.approx([0.2, 0.4, 0.8, 0.4])


def test_principal_components_keep_most_of_the_variance():
    model, everyone = pmd.KgeModel("rotate", 30, 2, 6), torch.arange(30)
    whole = model.entity_vectors(everyone)
    centred = whole - whole.mean(0)
    variances = torch.linalg.svdvals(centred.double()).square()
    found = pca_vectors(model, everyone, 2)  # two of six dimensions, of two parts each
    assert found.shape == (30, 4) and found.square().sum(0).tolist() == pytest.approx(variances[:4].tolist(), rel=1e-4)
    with pytest.raises(PmdError, match=r"PCA: 14.*30.*12"):
        pca_vectors(model, everyone, 7)


def test_standardised_by_some_rows():
    found = standardised(torch.tensor([[1.0, 7], [3, 7], [9, 8]]), slice(2))
    assert found[:, 0].tolist() == [-1, 1, 7] and found[:2, 1].tolist() == [0, 0]


def test_five_of_a_class_are_enough_for_any_split():
    labels = ["a"] * 41 + ["b"] * 5 + ["c"] * 5
    for seed in range(20):
        parts = split_labels(labels, seed)
        assert sorted(place for part in parts.values() for place in part) == [*range(51)]
        for part in ("train", "test"):
            assert {labels[place] for place in parts[part]} == {"a", "b", "c"}
    _, metrics = train_labelling(torch.randn(51, 3), labels, LabellingConfig(epochs=3, l2=[0.01], least=5), 0)
    assert 0 <= metrics["test"]["f1"] <= 1


def test_f1_is_the_mean_over_classes():
    found = labelling_metrics(["a", "a", "a", "b"], ["a", "a", "b", "b"])
    assert found == {"accuracy": 0.75, "f1": pytest.approx((0.8 + 2 / 3) / 2)}

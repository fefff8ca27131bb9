"""Scores of embedding models as inner products: by value, for every interaction that has them."""

import numpy as np
import pytest
import torch

import pmd
from pmd.core.errors import PmdError
from pmd.models.fused.fusion import Fusion
from pmd.models.fused.tables import ProductTables
from pmd.models.fused.weights import FusionWeights, features, logistic
from pmd.models.kge.as_products import product_tables
from pmd.settings.catalogue import INTERACTIONS

ENTITIES, RELATIONS = 7, 3
PRODUCTS = [name for name, row in INTERACTIONS.items() if row.product]
CASES = [
    *((name, {}) for name in PRODUCTS),
    *((name, {"reciprocal": True}) for name in PRODUCTS),
    ("transe", {"norm": "squared"}),
    ("rotate", {"norm": "squared"}),
    ("rotate", {"norm": "squared", "reciprocal": True}),
    ("pairre", {"norm": "squared"}),
    ("pairre", {"norm": "squared", "unit_entities": True, "reciprocal": True}),
    ("transe", {"norm": "squared", "unit_entities": True}),
]


def make(name, options, dim=6):
    torch.manual_seed(0)
    return pmd.KgeModel(name, ENTITIES, RELATIONS, dim, init=1.0, **options)


def fusion_of(tables, known=None):
    known = np.ones(ENTITIES, dtype=bool) if known is None else known
    weights = FusionWeights(np.ones(2), np.full(2 * RELATIONS, 0.5), 0.5)
    return Fusion(tables, weights, known, np.ones(2 * RELATIONS, dtype=bool), np.zeros(ENTITIES, dtype=np.int64))


def entities_of(model):
    return model.entity_embeddings(torch.arange(ENTITIES)).detach().numpy()


def all_scores(fusion, vectors, target):
    entities, relations = np.repeat(np.arange(ENTITIES), RELATIONS), np.tile(np.arange(RELATIONS), ENTITIES)
    questions = relations + RELATIONS * (target == "head")
    return fusion.queries(vectors, entities, questions) @ vectors.T


def expected(model, target):
    entities, relations = np.repeat(np.arange(ENTITIES), RELATIONS), np.tile(np.arange(RELATIONS), ENTITIES)
    with torch.no_grad():
        return model.score_all(torch.from_numpy(np.stack([entities, relations, entities], 1)), target).numpy()


@pytest.mark.parametrize("target", ["head", "tail"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_scores_are_inner_products(name, options, target):
    model = make(name, options)
    fusion = fusion_of(product_tables(model))
    vectors = fusion.candidates(entities_of(model))
    assert vectors.dtype == np.float32 and vectors.shape == (ENTITIES, fusion.tables.width)
    np.testing.assert_allclose(all_scores(fusion, vectors, target), expected(model, target), atol=2e-5)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_leading_dimensions_are_the_cropped_model(name, options):
    model = make(name, options)
    fusion = fusion_of(product_tables(model))
    vectors = fusion.crop_vectors(fusion.candidates(entities_of(model)), 4)
    np.testing.assert_allclose(all_scores(fusion.crop(4), vectors, "head"), expected(model.crop(4), "head"), atol=2e-5)


def test_the_example_of_the_module():
    tables = ProductTables(np.ones((1, 1, 1, 2)), np.array([[[0.0, 1.0]]]), None, squared=True, unit=False)
    query = tables.queries(np.array([[[1.0, 2.0]]]), np.array([0]))
    candidate = tables.candidates(np.array([[[3.0, 0.0]]]))
    assert query.tolist() == [[2, 6, -1, -10]] and candidate.tolist() == [[3, 0, 9, 1]]
    assert (query @ candidate.T).item() == -13


@pytest.mark.parametrize(
    ("name", "norm", "reason"),
    [
        ("transe", "l1", r"TransE with norm l1.*--model\.norm squared"),
        ("rotate", "l2", r"RotatE with norm l2.*--model\.norm squared"),
        ("transh", "squared", r"TransH.*hyperplanes"),
    ],
)
def test_what_is_no_inner_product_is_refused(name, norm, reason):
    with pytest.raises(PmdError, match=reason):
        product_tables(make(name, {"norm": norm}))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_an_entity_that_is_not_known_scores_the_mean_of_the_known(name, options):
    model, known = make(name, options), np.array([True] * 5 + [False] * 2)
    fusion = fusion_of(product_tables(model), known)
    scores = all_scores(fusion, fusion.candidates(entities_of(model)), "tail")[: 5 * RELATIONS]
    means = expected(model, "tail")[: 5 * RELATIONS, :5].mean(1)
    np.testing.assert_allclose(scores[:, 5:], means[:, None].repeat(2, 1), atol=2e-5)


def test_the_known_end_without_structure_has_the_text_alone():
    known, asked = np.array([True, False]), np.array([True, False])
    weights = FusionWeights(np.array([20.0, 2.0]), np.array([0.25, 0.5]), 0.5)
    fusion = Fusion(None, weights, known, asked, np.zeros(2, dtype=np.int64))
    factors = fusion.factors(np.array([0, 1, -1, 0]), np.array([0, 0, 0, 1]), None)
    assert factors.tolist() == [[15, 0.5], [15, 0], [15, 0], [10, 0]]


def test_the_known_end_without_structure_has_the_text_where_all_others_have_none_of_it():
    weights = FusionWeights(np.array([20.0, 2.0]), np.array([1.0, 1.0]), 1.0)
    factors = weights.of(np.array([0, 0, 1]), np.array([True, False, False]))
    assert factors.tolist() == [[0, 2], [20, 0], [20, 0]]


def test_features_are_those_of_a_softmax():
    text, structure = np.array([[0.5, 0.1, 0.1]], dtype=np.float32), np.zeros((1, 3), dtype=np.float32)
    found = features(np.array([10.0, 1.0]), text, structure, np.array([3]))
    logits = np.array([5.0, 1.0, 1.0])
    p = np.exp(logits) / np.exp(logits).sum()
    entropy = -(p * np.log(p)).sum() / np.log(3)
    np.testing.assert_allclose(found, [[np.log(p[0]) / np.log(3), entropy, -1, 1, np.log(4)]], rtol=1e-5)
    assert logistic(np.zeros((1, 5)), np.array([1, 1, 1, 1, 1, 0.0])).tolist() == [0.5]

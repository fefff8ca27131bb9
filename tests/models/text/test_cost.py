"""What a step of a teacher costs, against counts by hand."""

import pytest
import torch

from pmd.data.texts.batches import TripleCollator
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.cost import shapes_of, step_cost
from pmd.settings.text import LoraConfig

from ...tiny import tiny_graph, tiny_text
from ...tiny_teachers import LAYERS, TOKENIZERS, WIDTH, config_of

TEXTS, LENGTH, HEADS, HEAD = 6, 10, 2, 8
SHAPES = [("query", TEXTS, LENGTH), ("entity", TEXTS, LENGTH)]


def model(kind: str, **settings) -> BiEncoder:
    with torch.device("meta"):
        return BiEncoder(BiEncoderConfig(encoder=config_of(kind), tied=True, **settings))


def test_operations_of_a_decoder_by_hand():
    """Queries and outputs have two heads, keys and values one; the feed-forward net has three matrices."""
    matrices = LAYERS * (WIDTH * HEAD * (2 * HEADS + 2) + 3 * WIDTH * 32)
    attention = 2 * LAYERS * HEADS * HEAD * LENGTH  # for each token the products with all others, twice
    forward = 2 * sum(n * length for _, n, length in SHAPES) * (matrices + attention)
    angles = 2 * len(SHAPES) * HEAD // 2 * LENGTH  # of positions: a matrix product in earlier versions of transformers
    qwen = model("qwen3", pooling="last")
    cost, again = step_cost(qwen, SHAPES), step_cost(qwen, SHAPES, recompute=True)
    # The backward pass makes a gradient of each matrix and of each input, none of the angles.
    assert (cost.flops, again.flops) in [(3 * forward, 4 * forward), (3 * forward + angles, 4 * forward + 2 * angles)]
    assert cost.parameters == cost.trained == sum(p.numel() for p in qwen.parameters())
    assert cost.weights == 4 * cost.parameters and cost.optimizer == 12 * cost.parameters
    assert cost.steps_per_second(2.0 * cost.flops) == pytest.approx(2)


def test_recomputed_activations_are_those_of_the_largest_chunk():
    qwen = model("qwen3", pooling="last")
    small, large = ("query", 2, 5), ("entity", 6, 10)
    alone = [step_cost(qwen, [shape]).activations for shape in (small, large)]
    assert 0 < alone[0] < alone[1]
    assert step_cost(qwen, [small, large, small]).activations == alone[1] + 2 * alone[0]
    assert step_cost(qwen, [small, large, small], recompute=True).activations == alone[1]


def test_adapters_on_half_the_bytes():
    """Only they, in fp32, have gradients and moments; fewer operations, for the weights need no gradients."""
    whole, half = model("qwen3"), model("qwen3", half=True)
    full, adapted = step_cost(whole, SHAPES), step_cost(half, SHAPES, lora=LoraConfig(r=2))
    adapters = LAYERS * 2 * (WIDTH + HEADS * HEAD + WIDTH + HEAD)  # of queries and of values
    assert adapted.trained == adapters + 1 and adapted.parameters == full.parameters
    assert adapted.optimizer == 12 * adapted.trained
    assert adapted.weights == 2 * (full.parameters - 1) + 4 * adapted.trained
    assert adapted.flops < full.flops and adapted.activations < full.activations


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_kind_is_counted(kind):
    cost = step_cost(model(kind), SHAPES, lora=LoraConfig(r=2), recompute=True)
    assert cost.flops > 0 and cost.memory == cost.weights + cost.optimizer + cost.activations


def test_the_shapes_of_a_batch():
    batch = TripleCollator(tiny_graph().train, tiny_text(), 60)([0, 5, 9])
    shapes = shapes_of(batch)
    assert [shape[1:] for shape in shapes if shape[0] == "query"] == [tuple(c.input_ids.shape) for c in batch.queries]
    assert sum(n for role, n, _ in shapes if role == "entity") == int(batch.entity.max()) + 1

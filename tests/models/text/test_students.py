import pytest
import torch
from transformers import AlbertConfig

from pmd.core.errors import PmdError
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.students import evenly_spaced, shallower, student_of

from ...tiny import tiny_batch, tiny_model
from ...tiny_glue import tiny_batch as tiny_glue_batch
from ...tiny_glue import tiny_classifier


@pytest.mark.parametrize(
    ("layers", "of", "kept"),
    [
        (3, 12, [2, 6, 10]),
        (6, 12, [1, 3, 5, 7, 9, 11]),
        (12, 12, [*range(12)]),
        (1, 12, [6]),
        (9, 12, [0, 2, 3, 4, 6, 7, 8, 10, 11]),
        (6, 9, [0, 2, 3, 5, 6, 8]),
        (3, 6, [1, 3, 5]),
        (1, 1, [0]),
    ],
)
def test_layers_are_evenly_spaced(layers, of, kept):
    assert evenly_spaced(layers, of) == kept


@pytest.mark.parametrize("of", range(1, 25))
def test_evenly_spaced_layers_are_distinct_and_in_order(of):
    for layers in range(1, of + 1):
        kept = evenly_spaced(layers, of)
        assert len(kept) == layers and kept == sorted(set(kept))
        assert kept[0] >= 0 and kept[-1] < of


def by_hand(model: BiEncoder, role: str, layers: list[int], part) -> torch.Tensor:
    """The embeddings, then the chosen layers of the source, one after the other."""
    encoder = model.encoder(role)
    hidden = encoder.embeddings(input_ids=part.input_ids, token_type_ids=part.token_type_ids)
    mask = (1.0 - part.attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
    for layer in layers:
        output = encoder.encoder.layer[layer](hidden, mask)
        hidden = output[0] if isinstance(output, tuple) else output
    return hidden


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layers", [[0, 1, 2, 3], [0, 3], [2], [3, 1], [1, 1, 2]])
def test_a_student_runs_the_chosen_layers(layers, tied):
    source, part = tiny_model(4, tied=tied).eval(), tiny_batch([0, 1, 2, 8], 400).queries[0]
    with torch.no_grad():
        source.log_inverse_temperature.fill_(0.5)
        student = student_of(source, layers).eval()
        for role in ("query", "entity"):
            found = student(role, part.input_ids, part.attention_mask, part.token_type_ids)[0]
            expected = by_hand(source, role, layers, part)
            real = part.attention_mask.bool()
            torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=0)
    assert student.depth == len(layers) and student.config.layers == layers
    assert student.log_inverse_temperature.item() == 0.5


def test_the_grades_of_twelve_layers():
    source = tiny_model(12)
    expected, teacher = [*range(12)], source
    for layers in (12, 9, 6, 3):
        kept = evenly_spaced(layers, teacher.depth)
        student = student_of(teacher, kept)
        expected = [expected[layer] for layer in kept]
        assert student.depth == layers and student.config.layers == expected
        assert source.depth == 12 and source.config.layers == [*range(12)]
        for new, old in enumerate(expected):
            for role in ("query", "entity"):
                mine = student.encoder(role).encoder.layer[new].state_dict()
                theirs = source.encoder(role).encoder.layer[old].state_dict()
                assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
        teacher = student
    assert expected == [3, 7, 11]


def test_a_student_shares_nothing_with_its_source():
    source = tiny_model(2)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    student = student_of(source, [0, 1])
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    student.config.encoder.hidden_dropout_prob = 0.7
    assert all(torch.equal(before[name], tensor) for name, tensor in source.state_dict().items())
    assert source.config.encoder.hidden_dropout_prob == 0.0


def test_settings_are_inherited():
    source = tiny_model(2, max_tokens=31, neighbours_below=3, max_neighbours=2, init_temperature=0.3, dropout=0.4)
    config = student_of(source, [1]).config
    assert (config.max_tokens, config.neighbours_below, config.max_neighbours) == (31, 3, 2)
    assert config.init_temperature == 0.3 and config.encoder.hidden_dropout_prob == 0.4


@pytest.mark.parametrize("layers", [[2], [0, -1], [0, 1, 5], []])
def test_layers_that_are_not_there_are_an_error(layers):
    with pytest.raises(PmdError, match=r"layers \[.*0.*1"):
        student_of(tiny_model(2), layers)


def test_layers_that_share_weights_in_groups_are_an_error():
    sizes = {
        "vocab_size": 50,
        "embedding_size": 8,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    source = BiEncoder(BiEncoderConfig(encoder=AlbertConfig(**sizes, num_hidden_layers=4, num_hidden_groups=2)))
    with pytest.raises(PmdError, match=r"'albert' .* share the weights of 2 groups"):
        student_of(source, [0])


def test_a_shallower_classifier_computes_with_the_layers_it_kept(tmp_path):
    source = tiny_classifier(num_hidden_layers=4).eval().crop(32)
    student = shallower(source, 2)
    batch = tiny_glue_batch(tmp_path, "rte")
    for old, new in ((1, 0), (3, 1)):
        for a, b in zip(source.bert.encoder.layer[old].parameters(), student.bert.encoder.layer[new].parameters()):
            assert torch.equal(a, b) and a is not b
    source.bert.encoder.layer = torch.nn.ModuleList([source.bert.encoder.layer[i] for i in (1, 3)])
    source.config.num_hidden_layers = 2
    assert torch.equal(student(**batch.inputs).logits, source(**batch.inputs).logits)
    assert not student.training and student.config.num_hidden_layers == 2
    with pytest.raises(PmdError, match=r"layers: 5.*BERT.*2.*1.*2"):
        shallower(source, 5)

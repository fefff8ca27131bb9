"""The slow and plain versions: one text, one row, one position at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.batches import Chunk
from pmd.data.texts.graph_text import GraphText, Reading, entity_text
from pmd.models.text.bi_encoder import BiEncoder, Role


def neighbours(graph: KnowledgeGraph, entity: int, at_most: int) -> list[int]:
    """SimKGC's: of the training graph without directions, by position, the first few."""
    found = set()
    for head, _, tail in graph.train.tolist():
        if head == entity:
            found.add(tail)
        if tail == entity:
            found.add(head)
    return sorted(found - {entity})[:at_most]


def text_of(graph: KnowledgeGraph, entity: int, reading: Reading, without: int | None = None) -> str:
    """What is read for an entity, the answer `without` left out of its neighbours."""
    text = entity_text(graph.entity_names[entity], graph.entity_descriptions[entity])
    if len(graph.entity_descriptions[entity].split()) >= reading.neighbours_below:
        return text
    around = [n for n in neighbours(graph, entity, reading.max_neighbours) if n != without]
    return " ".join([text, *(graph.entity_names[n].strip() for n in around if graph.entity_names[n].strip())])


def relation_of(graph: KnowledgeGraph, relation: int) -> str:
    n = graph.num_relations
    return graph.relation_names[relation] if relation < n else f"inverse {graph.relation_names[relation - n]}"


def tokens(tokenizer, text: str, pair: str | None, max_length: int) -> tuple[list[int], list[int]]:
    """Ids and types that the tokenizer itself gives."""
    how = "only_first" if pair is not None else True
    found = tokenizer(text, pair, truncation=how, max_length=max_length, return_token_type_ids=True)
    return found["input_ids"], found["token_type_ids"]


def found(texts) -> list[tuple[list[int], list[int]]]:
    """Ids and types of `Texts`, text by text."""
    ids = [texts.ids[row].tolist() for row in range(len(texts))]
    return [(row, [int(i >= second) for i in range(len(row))]) for row, second in zip(ids, texts.second)]


def assert_as_tokenised(graph: KnowledgeGraph, tokenizer, reading: Reading, entities: list[int]) -> None:
    """Entities, and queries of all relations, equal what the tokenizer makes of the strings."""
    text, longest = GraphText(graph, tokenizer, reading), reading.max_length
    strings = [text_of(graph, entity, reading) for entity in entities]
    assert found(text.entities(np.array(entities))) == [tokens(tokenizer, s, None, longest) for s in strings]
    relations = range(2 * graph.num_relations)
    rows, asked = (np.array(column) for column in zip(*itertools.product(entities, relations)))
    expected = [
        tokens(tokenizer, string, relation_of(graph, relation), longest)
        for string, relation in itertools.product(strings, relations)
    ]
    assert found(text.queries(rows, asked)) == expected


def hidden_of(model: BiEncoder, role: Role, ids: list[int], types: list[int], layer: int = -1) -> Tensor:
    """Hidden states (L, d) of one text without padding; layer 0 is the embeddings'."""
    arguments = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    if getattr(model.config.encoder, "type_vocab_size", 0) > 1:
        arguments["token_type_ids"] = torch.tensor([types])
    output = model.encoder(role)(**arguments, output_hidden_states=True)
    return output.hidden_states[layer][0]


def mean_unit(rows: Sequence[Tensor] | Tensor) -> Tensor:
    """Mean of vectors (d,), brought to length 1."""
    total = torch.zeros_like(rows[0])
    for row in rows:
        total = total + row
    mean = total / len(rows)
    return mean / mean.square().sum().sqrt()


def vector_of(model: BiEncoder, role: Role, ids: list[int], types: list[int], layer: int = -1) -> Tensor:
    return mean_unit(hidden_of(model, role, ids, types, layer))


def unpadded(chunks: Sequence[Chunk], masks: Sequence[Tensor] | None = None) -> list[tuple]:
    """(ids, types, masked positions) of every text there, in the order of the batch."""
    found = {}
    for position, chunk in enumerate(chunks):
        for row in range(len(chunk.rows)):
            length = int(chunk.attention_mask[row].sum())
            ids, types = chunk.input_ids[row, :length].tolist(), chunk.token_type_ids[row, :length].tolist()
            at = [] if masks is None else [i for i, masked in enumerate(masks[position][row].tolist()) if masked]
            found[int(chunk.rows[row])] = (ids, types, at)
    return [found[row] for row in sorted(found)]


def simkgc_loss(
    query: Tensor,
    tail: Tensor,
    inverse_temperature: float,
    margin: float,
    false_negative: list[list[bool]],
    head: Tensor | None = None,
    head_is_answer: list[bool] | None = None,
    earlier: Tensor | None = None,
    earlier_is_answer: list[list[bool]] | None = None,
    earlier_weight: float = 0.5,
) -> Tensor:
    """The loss of SimKGC's `compute_logits` and `train_epoch`, written out."""
    b = len(query)
    logits = (query @ tail.t() - margin * torch.eye(b)) * inverse_temperature
    for i in range(b):
        for j in range(b):
            if false_negative[i][j]:
                logits[i, j] = -1e4
    columns = [logits]
    if earlier is not None:
        extra = query @ earlier.t() * (inverse_temperature * earlier_weight)
        for i in range(b):
            for j in range(len(earlier)):
                if earlier_is_answer[i][j]:
                    extra[i, j] = -1e4
        columns.append(extra)
    if head is not None:
        own = (query * head).sum(dim=1) * inverse_temperature
        for i in range(b):
            if head_is_answer[i]:
                own[i] = -1e4
        columns.append(own.unsqueeze(1))
    labels = torch.arange(b)
    return cross_entropy(torch.cat(columns, dim=-1), labels) + cross_entropy(logits[:, :b].t(), labels)

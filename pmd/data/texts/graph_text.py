"""The texts of a graph's entities and queries, tokenised once and composed for each batch.

As in SimKGC (Wang et al., ACL 2022, section 3), the text of an entity is `name: description`, and that of a query is the
text of its head and, as second segment, the relation, or `inverse RELATION` for queries of the head. A short description is
followed by the names of the entity's neighbours in the training graph, but in training never by that of the triple's own
answer.

Texts are token ids in ragged arrays. A query is composed from the tokens of its parts, so that only entities and relations
are tokenised, and every distinct text of a batch exists once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from transformers import PreTrainedTokenizerBase

from pmd.core.errors import warn
from pmd.core.files import write_bytes
from pmd.data.graphs.answers import distinct
from pmd.data.graphs.graph import KnowledgeGraph, relation_texts
from pmd.data.texts.compose import TokenTexts
from pmd.data.texts.frames import blank_before, blank_or_space, framing_of
from pmd.data.texts.mapped import MappedColumns
from pmd.data.texts.neighbours import NeighbourTexts
from pmd.data.texts.ragged import Ragged, row_blocks
from pmd.data.texts.strings import Composed

LONGEST = 50_000
"""Characters of a text that are looked at: more than any encoder reads, and a tokenizer may take minutes for a million."""
PART = 1 << 18
"""Texts that are tokenised and kept at a time."""
MAPPED = 1 << 26
"""Bytes of tokens from which they are memory-mapped."""


@dataclass(frozen=True)
class Reading:
    """How texts are formed; `pmd.settings.text.EncoderConfig` describes the fields.

    `prompts` of queries and entities, even empty ones, are of an encoder or decoder of any kind; the others read as BERT does.
    """

    max_length: int = 50
    neighbours_below: int = 20
    max_neighbours: int = 10
    prompts: tuple[str, str] | None = None


class Named(Protocol):
    """Anything with the names and descriptions of entities, by position."""

    @property
    def entity_names(self) -> Sequence[str]: ...

    @property
    def entity_descriptions(self) -> Sequence[str]: ...


def entity_text(name: str, description: str) -> str:
    """`name: description`; the name alone if there is no description, the description alone if it begins with the name."""
    if not description or description.startswith(name):
        return (description or name).strip()
    return f"{name}: {description}".strip()


def entity_texts(named: Named) -> Sequence[str]:
    """The text of each entity without neighbours, made when it is read."""
    return Composed(entity_text, named.entity_names, named.entity_descriptions)


def tokenise(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    longest: int,
    cache: Path | None,
    earlier: Sequence[str] | None = None,
) -> Ragged:
    """Token ids of every text without special tokens, at most `longest` of each, cached on disk and memory-mapped where they are
    many.

    The cache file is named after the tokenizer and the texts, so that a change of either makes a new one. `earlier` are the
    texts of an earlier state of the graph: what stands among them is taken from their file, if that is still there. More than
    `PART` texts are kept part by part, so that it goes on where it was stopped.
    """
    if cache is None:
        return _tokens(texts, tokenizer, longest)
    fingerprint = _fingerprint(tokenizer)
    file = _cache_file(texts, fingerprint, longest, cache)
    if (stored := _cached(file)) is not None:
        return stored
    before = None if earlier is None else _cached(_cache_file(earlier, fingerprint, longest, cache))
    parts = []
    if before is not None:
        ragged = _renewed(texts, earlier, before, tokenizer, longest)
    elif len(texts) <= PART:
        ragged = _tokens(texts, tokenizer, longest)
    else:
        rows = []
        for start in range(0, len(texts), PART):
            part = texts[start : start + PART]
            rows.append(tokenise(part, tokenizer, longest, cache))
            parts.append(_cache_file(part, fingerprint, longest, cache))
        ragged = Ragged.stack(rows)
        del rows  # otherwise they are in memory twice while they are written
    try:
        write_bytes(file, save({"flat": ragged.flat, "offsets": ragged.offsets}))
    except OSError as error:
        remedy = "set PMD_CACHE to a folder that can be"
        warn(f"{cache}: texts cannot be kept ({error.strerror}), which only takes time; {remedy}")
        return ragged
    for part in parts:
        part.unlink(missing_ok=True)
    return (_cached(file) or ragged) if ragged.flat.nbytes > MAPPED else ragged


def _tokens(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, longest: int) -> Ragged:
    def ids(batch: list[str]) -> list[list[int]]:
        return tokenizer(batch, add_special_tokens=False, truncation=True, max_length=longest)["input_ids"]

    parts, words_alone = [], _reads_words_alone(tokenizer)
    for start in range(0, max(1, len(texts)), 10_000):
        batch = [text[:LONGEST] for text in texts[start : start + 10_000]]
        read = [_beginning(text, longest) for text in batch] if words_alone else batch
        rows = ids(read)
        # A word may have no token, as one of control characters: then more of the text is needed.
        short = [i for i, row in enumerate(rows) if len(row) < longest and len(read[i]) < len(batch[i])]
        for i, row in zip(short, ids([batch[i] for i in short]) if short else ()):
            rows[i] = row
        parts.append(Ragged.from_rows(rows))
    return Ragged.stack(parts)


def _beginning(text: str, words: int) -> str:
    """The beginning of a text with at most so many words: the rest of a long one would be tokenised and cut off."""
    rest = text.split(" ", words)[words:]
    return text[: len(text) - len(rest[0])] if rest else text


def _reads_words_alone(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokens of a text are those of its words between blanks, and the last ones are cut, as BERT's are."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or tokenizer.truncation_side != "right" or any(" " in t for t in tokenizer.get_added_vocab()):
        return False
    state = json.loads(backend.to_str())
    kinds = [(state[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer")]
    return kinds == ["BertNormalizer", "BertPreTokenizer"]


def _renewed(
    texts: Sequence[str], earlier: Sequence[str], before: Ragged, tokenizer: PreTrainedTokenizerBase, longest: int
) -> Ragged:
    """The tokens of texts, from those of earlier ones and of the texts that are not among these."""
    rows = {text: row for row, text in enumerate(earlier)}
    new = [*dict.fromkeys(text for text in texts if text not in rows)]
    rows |= {text: len(before) + row for row, text in enumerate(new)}
    return Ragged.stack([before, _tokens(new, tokenizer, longest)]).take([rows[text] for text in texts])


def _cache_file(texts: Sequence[str], fingerprint: str, longest: int, cache: Path) -> Path:
    digest = hashlib.sha256(f"1 {longest} {fingerprint}".encode())
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\0")
    return cache / f"tokens-{digest.hexdigest()[:32]}.safetensors"


def _cached(file: Path) -> Ragged | None:
    """The tokens in a file; None if there is none, or it is damaged."""
    with contextlib.suppress(OSError, SafetensorError), safe_open(file, "numpy") as stored:
        is_large = file.stat().st_size > MAPPED
        flat = MappedColumns(file)["flat"] if is_large else stored.get_tensor("flat")
        return Ragged(flat, stored.get_tensor("offsets"))
    return None


def _fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        # Every call with truncation leaves its arguments in the backend; they do not belong to the tokenizer.
        state.pop("truncation", None)
        state.pop("padding", None)
        return json.dumps(state, sort_keys=True)
    return json.dumps([type(tokenizer).__name__, tokenizer.get_vocab()], sort_keys=True)


class GraphText(TokenTexts):
    """The tokenised texts of a graph.

    Row e < num_entities is the text of entity e with the names of all its neighbours. Further rows, its variants, leave one
    name out (`pmd.data.texts.neighbours`): in training neither text of a triple names the other end.

    `earlier` is an earlier state of the graph: of texts that it had too, no token is made anew.

    Example: if entity 0 of 3 has the neighbours 1 and 2, row 0 is its text and the names of 1 and 2. For the triple (0, r, 1)
    its head is read by row 3 + 0 · 3 + 1 = 4, without the name of 1.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        tokenizer: PreTrainedTokenizerBase,
        reading: Reading,
        *,
        cache: Path | None = None,
        earlier: Named | None = None,
    ):
        frame, blank, prompt = framing_of(tokenizer, reading.prompts)
        self.reading, self.num_relations, self.num_entities = reading, graph.num_relations, graph.num_entities
        self.mask, self.pad = tokenizer.mask_token_id, tokenizer.pad_token_id or 0
        length = reading.max_length + prompt  # which cuts no text
        room = length - frame.longest_before - len(frame.after)

        def tokens_of(texts_in: Callable[[Named], Sequence[str]]) -> Ragged:
            before = None if earlier is None else texts_in(earlier)
            return tokenise(texts_in(graph), tokenizer, room, cache, before)

        base = tokens_of(lambda named: Composed(frame.lead.__add__, entity_texts(named)))
        # A relation that fills the whole text would leave none for the head.
        names = [blank + name for name in relation_texts(graph.relation_names)]
        super().__init__(base, tokenise(names, tokenizer, room // 2, cache), frame, length)
        self.train = graph.train.numpy()
        owners, others = neighbours_read(graph, reading)
        if len(owners):
            blank = blank_before(tokenizer) if reading.prompts is None else blank_or_space(tokenizer)
            names = tokens_of(
                lambda named: Composed(lambda name: name.strip() and blank + name.strip(), named.entity_names)
            )
            self.rows = NeighbourTexts(base, names, owners * self.num_entities + others, room)
            self.rows.check_keys(self.num_relations)

    @property
    def special(self) -> list[int]:
        """Ids that are never masked: the tokens around texts, and padding."""
        frame = self.frame
        return sorted({*frame.before, *(frame.before_two or ()), *frame.between, *frame.after, self.pad})

    def sample(self, count: int) -> np.ndarray:
        """About so many entities (≤ 2 · count,), whose texts are of all lengths."""
        by_length = np.argsort(self.rows.lengths, kind="stable")
        return by_length[:: max(1, len(by_length) // count)]

    def rows_of(self, entities: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The rows (k,) of the texts of entities (k,) that do not name others (k,), the other ends of their triples."""
        return self.rows.without(entities, others) if isinstance(self.rows, NeighbourTexts) else entities

    def counts(self, *, variants: bool = False, size: int = 0) -> np.ndarray:
        """How often each token id stands in the texts of entities and relations, and in the variants that are read in training:
        (ids,), at least `size`."""
        counts = np.bincount(self.relations.flat, minlength=size)
        rows = np.arange(self.num_entities)
        if variants:
            heads, tails = self.train[:, 0], self.train[:, 2]
            read = distinct(np.concatenate([self.rows_of(heads, tails), self.rows_of(tails, heads)]))
            rows = np.concatenate([rows, read[read >= self.num_entities]])
        for part in row_blocks(len(rows)):
            more = np.bincount(self.rows.take(rows[part]).flat, minlength=len(counts))
            counts = more + np.pad(counts, (0, len(more) - len(counts)))
        return counts


def neighbours_read(graph: KnowledgeGraph, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (owner, neighbour), sorted: an entity with a short description, and a neighbour whose name its text has."""
    n, below = graph.num_entities, reading.neighbours_below  # no more words than that are looked for
    short = np.fromiter((len(text.split(None, below)) < below for text in graph.entity_descriptions), bool, n)
    keys = []
    for split in {"train", "inductive_train"} & {*graph.split_names}:
        triples = graph.split(split).numpy()
        for owner, other in ((0, 2), (2, 0)):
            rows = triples[short[triples[:, owner]]]
            keys.append(rows[:, owner] * n + rows[:, other])
    keys = distinct(np.concatenate(keys))
    owners, others = np.divmod(keys[keys % (n + 1) > 0], n)  # n + 1 divides the keys of pairs of an entity and itself
    kept = np.arange(len(owners)) - np.searchsorted(owners, owners) < reading.max_neighbours
    return owners[kept], others[kept]


def whole_texts(graph: KnowledgeGraph, reading: Reading) -> list[str]:
    """The uncut text of each entity: its own text, then the names of its neighbours."""
    texts = [[text] for text in entity_texts(graph)]
    for owner, other in zip(*(pairs.tolist() for pairs in neighbours_read(graph, reading))):
        texts[owner].append(graph.entity_names[other].strip())
    return [" ".join([text, *filter(None, names)]) for text, *names in texts]

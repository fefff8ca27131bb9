"""From tables of triples and the texts beside them to a `KnowledgeGraph`: where all sources meet."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.data.graphs.files.columns import one_chunk
from pmd.data.graphs.files.text_tables import Aliases, TextTable
from pmd.data.graphs.files.triples import Positions, TripleTable
from pmd.data.graphs.files.tsv import quote, words_of
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.split import WHERE_POSSIBLE, Shares
from pmd.data.texts.strings import Strings

SPLIT_HERE = "the triples are split"
"""How the note of a graph begins whose splits were made here."""
MANY = 1 << 20
"""Ids of triples, those of heads and of tails counted apart, from which they are kept as an array."""
FEWEST_TO_DOUBT = 20
"""With fewer triples than this, more relations than entities are no sign of confused columns."""


@dataclass
class Texts:
    """Names and descriptions by id, and what else stands beside the triples.

    `aliases` are further names. `entity_ids` and `relation_ids` are the ids in the order of the source, which may list more
    than triples mention; where they are None, the ids are those of the triples, sorted. `entity_names` and
    `entity_descriptions` are the texts in the order of `entity_ids`, where the source gives them so. `tables` are large files of
    `names`, with aliases, and `descriptions`; their texts go before others.
    """

    names: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    relations: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, Sequence[str]] = field(default_factory=dict)
    types: dict[str, Sequence[str]] = field(default_factory=dict)
    entity_ids: Sequence[str] | None = None
    relation_ids: Sequence[str] | None = None
    entity_names: Sequence[str] | None = None
    entity_descriptions: Sequence[str] | None = None
    tables: dict[str, TextTable] = field(default_factory=dict)

    def of(self, ids: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Mapping[str, Sequence[str]]]:
        """Names, descriptions and aliases of the entities of a graph."""
        if isinstance(ids, Strings) and self.tables and self.entity_ids is None:
            return self._of_tables(ids)
        for kind, table in self.tables.items():
            getattr(self, kind).update(table.first_texts())
        if "names" in self.tables:
            table = self.tables["names"]
            self.aliases |= {key: others.split("\t") for key, others in zip(table.ids, table.others) if others}
        names, descriptions = self.entity_names, self.entity_descriptions
        if names is None:
            names = [self.names.get(key) or words_of(key) for key in ids]
            descriptions = [self.descriptions.get(key, "") for key in ids]
        known = {*ids} if self.aliases else ()
        return names, descriptions, {key: others for key, others in self.aliases.items() if others and key in known}

    def _of_tables(self, ids: Strings) -> tuple[Strings, Strings, Mapping[str, Sequence[str]]]:
        """The same of ids that ascend."""
        columns, aliases = {}, self.aliases
        for kind, others_of in (("names", words_of), ("descriptions", lambda key: "")):
            table, others = self.tables.get(kind), getattr(self, kind)
            if table is None:
                columns[kind] = Strings.of([others.get(key) or others_of(key) for key in ids])
                continue
            columns[kind], further = table.of(ids)
            if kind == "names":
                aliases = Aliases(ids, further)
            missing = np.flatnonzero(columns[kind].rows.lengths == 0)
            more = [others.get(ids[row]) or others_of(ids[row]) for row in missing.tolist()]
            columns[kind] = columns[kind].replaced(missing, more) if any(more) else columns[kind]
        return columns["names"], columns["descriptions"], aliases

    def add_columns(self, tables: Mapping[str, TripleTable]) -> None:
        """Adds the texts that stand in columns of the triples; the first text of an id counts."""
        for table in tables.values():
            for part in ("head", "tail"):
                for kind, texts in (("name", self.names), ("description", self.descriptions)):
                    _add_missing(texts, table.texts_of(part, kind))
                _add_missing(self.types, {key: (text,) for key, text in table.texts_of(part, "type").items()})
            _add_missing(self.relations, table.texts_of("relation", "name"))


def _add_missing(known: dict[str, Any], further: Mapping[str, Any]) -> None:
    known |= {key: text for key, text in further.items() if key not in known}


def graph_of(
    name: str,
    source: str,
    tables: Mapping[str, TripleTable],
    texts: Texts,
    notes: Sequence[str] = (),
    shares: Shares | None = None,
    doubt_order: bool = True,
) -> KnowledgeGraph:
    """The graph of splits, or of the one list of triples `train`, which is split.

    Args:
        source: the folder or file, for errors.
        shares: as in `Options`.
        doubt_order: refuse triples that look as if they stood in another order; False where the source names their parts.

    Raises:
        PmdError: for an id that is not listed, a missing split, and columns that seem to be confused.
    """
    notes = list(notes)
    texts.add_columns(tables)
    entity_ids = texts.entity_ids or _sorted_ids(tables, "head", "tail")
    relation_ids = texts.relation_ids or _sorted_ids(tables, "relation")
    if doubt_order:
        _refuse_other_order(source, entity_ids, relation_ids, tables["train"])
    entities, relations = Positions(entity_ids), Positions(relation_ids)
    triples, negatives, weights = {}, {}, {}
    for split, table in tables.items():
        encoded = torch.from_numpy(table.encode(entities, relations))
        if table.is_true is not None:
            is_true = torch.from_numpy(table.is_true)
            encoded, negatives[split] = encoded[is_true], encoded[~is_true]
            if not len(encoded):
                raise PmdError(f"{table.place}: all its triples are labelled false; every split needs a true one")
        triples[split] = encoded
        if table.weights is not None:
            kept = table.weights if table.is_true is None else table.weights[table.is_true]
            weights[split] = torch.from_numpy(kept)
    if any(map(len, negatives.values())):
        counts = ", ".join(f"{len(rows):,} of {split}" for split, rows in negatives.items() if len(rows))
        notes.append(f"false triples are kept apart, for classification: {counts}")
    is_described = shares is WHERE_POSSIBLE
    if list(triples) == ["train"] or (shares and not is_described and not {"valid", "test"} <= triples.keys()):
        parts = _split(source, triples, shares or Shares(), notes)
        weights |= {part: weights["train"][rows] for part, rows in parts.items()} if weights else {}
        triples |= {part: triples["train"][rows] for part, rows in parts.items()}
    if is_described:
        triples = dict.fromkeys(("valid", "test"), triples["train"][:0]) | triples
    _check_splits(source, triples)
    notes += [
        note for ids, kind in ((entity_ids, "entities"), (relation_ids, "relations")) for note in _alike(ids, kind)
    ]
    has_names = texts.names or texts.entity_names is not None or "names" in texts.tables
    names, descriptions, aliases = texts.of(entity_ids)
    if not has_names:
        notes.append(f"there are no names of entities: ids serve as names{_example(entity_ids)}")
    own_splits = [triples.pop(split) for split in ("train", "valid", "test")]
    return KnowledgeGraph(
        name,
        entity_ids,
        names,
        descriptions,
        relation_ids,
        [texts.relations.get(key) or words_of(key) for key in relation_ids],
        *own_splits,
        splits=triples,
        negatives={split: rows for split, rows in negatives.items() if len(rows)},
        weights=weights,
        aliases=aliases,
        types={key: kinds for key, kinds in texts.types.items() if key in entities},
        notes=tuple(notes),
    )


def _example(ids: Sequence[str]) -> str:
    """Of ids that become names, the first that looks different then."""
    changed = next((key for key in ids if words_of(key) != key), None)
    return "" if changed is None else f", {quote(changed)} as {quote(words_of(changed))}"


def _split(source: str, triples: Mapping[str, Tensor], shares: Shares, notes: list[str]) -> dict[str, Tensor]:
    """By split, the rows of the training triples that become it. What was done is added to `notes`."""
    missing = {"valid", "test"} - triples.keys()
    if shares.inductive and len(missing) < 2:
        raise PmdError(f"{source}: is split already into {', '.join(triples)}; give one file to split it anew")
    try:
        split = replace(shares, **dict.fromkeys({"valid", "test"} - missing, 0.0)).split(triples["train"].numpy())
    except PmdError as error:
        if shares is not WHERE_POSSIBLE:
            raise
        notes.append(f"the triples are not split: {error}")
        return {}
    parts = {part: torch.from_numpy(rows) for part, rows in split.rows.items() if len(rows) or part not in triples}
    counts = ", ".join(f"{part} {len(rows):,}" for part, rows in parts.items() if len(rows))
    notes += [f"{SPLIT_HERE} with seed {shares.seed}: {counts}"]
    notes += [f"left out: {count:,} {reason}" for reason, count in split.left_out.items()]
    return {part: rows for part, rows in parts.items() if len(rows)}


def _check_splits(source: str, splits: Sequence[str] | Mapping[str, object]) -> None:
    for split in ("valid", "test"):
        if split not in splits:
            raise PmdError(
                f"{source}: no {split}.tsv, nor another usual name and ending, beside {', '.join(splits)}; add it, or take it "
                f"from train: pmd data split {source} --out NEW_FOLDER"
            )
    inductive = [split for split in splits if split.startswith("inductive_")]
    if inductive and "inductive_train" not in inductive:  # the only triples that a model may see of the inductive graph
        raise PmdError(f"{source}: {inductive[0]} without inductive_train.tsv, the graph that it asks about; add it")


def _alike(ids: Sequence[str], kind: str) -> Iterator[str]:
    """A note of ids that a reader would take for the same."""
    if isinstance(ids, Strings) and (ids.rows.flat > ord(" ")).all() and (ids.rows.flat < 127).all():
        return
    if all(_looks(key) == key for key in ids):
        return
    first: dict[str, str] = {}
    pairs = [(first[looks], key) for key in ids if first.setdefault(looks := _looks(key), key) != key]
    if pairs:
        example = " and ".join(map(ascii, pairs[0]))
        yield f"{len(pairs):,} {kind} differ from others in blanks, unseen characters or Unicode form alone, as {example}"


def _looks(key: str) -> str:
    """An id without what cannot be seen: composed (NFC), and without blanks around it and control or format characters."""
    if not (key.isascii() and key.isprintable()):
        key = "".join(c for c in unicodedata.normalize("NFC", key) if unicodedata.category(c) not in ("Cc", "Cf"))
    return key.strip()


def _sorted_ids(tables: Mapping[str, TripleTable], *parts: str) -> Sequence[str]:
    """The ids of some columns; many as an array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [one_chunk(table.columns[part]).dictionary for table in tables.values() for part in parts]
    if sum(map(len, columns)) <= MANY:
        return sorted(set().union(*(column.to_pylist() for column in columns)))
    distinct = pa.concat_arrays([column.cast(pa.large_string()) for column in columns]).unique()
    return Strings.of_arrow(distinct.take(pc.sort_indices(distinct)))  # by bytes, which is the order of characters too


def _refuse_other_order(
    source: str, entity_ids: Sequence[str], relation_ids: Sequence[str], train: TripleTable
) -> None:
    """PmdError if most relations are heads as well, or if there are more relations than entities."""
    shared = train.number_of_heads(relation_ids)
    if len(train) > FEWEST_TO_DOUBT and (shared > len(relation_ids) / 2 or len(relation_ids) > len(entity_ids)):
        raise PmdError(
            f"{source}: {len(relation_ids):,} relations, {shared:,} of them heads as well, and {len(entity_ids):,} entities: the "
            f"columns seem not to be head, relation and tail; if they are head, tail and relation, say "
            f"--data.columns '{{head: 1, tail: 2, relation: 3}}'"
        )

"""Writes a graph of any size with the shape of Wikidata5M, in our TSV layout, for measurements. Run by hand.

Wikidata5M (Wang et al., TACL 2021) has 4,594,485 entities, 822 relations and 20,614,279 / 5,163 / 5,133 triples. What is like
it here: triples for each entity, the skew of degrees (half of the tails are drawn by Zipf's law, so that a few entities are in
millions of triples), the skew of relations, and lengths of descriptions: 1.04 GB of gzipped text for 4.8 million entities are
about 85 words each, log-normal, so that some are a line and some a page. Words follow Zipf's law too and are made of
syllables, which tokenizers cut as they cut names. The facts mean nothing: what is learned from them is not measured here.

    python scripts/bench/big_graph.py /tmp/big --entities 1000000
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jsonargparse import auto_cli
from pyarrow import csv

from pmd.cli.errors import run
from pmd.core.files import new_folder, write_folder
from pmd.data.graphs.answers import distinct

TRIPLES_PER_ENTITY = 20_624_575 / 4_594_485
RELATIONS = 822
VALID, TEST = 5_163, 5_133
VOCABULARY = 200_000
BLOCK = 50_000
"""Entities that are written at a time."""
SYLLABLES = [first + vowel + last for first in "bdfgklmnprstvz" for vowel in "aeiou" for last in ("", "n", "r", "s")]
TAB = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")


FILES = {
    "tsv": ("entities.tsv", None, "relations.tsv", "{}.tsv"),
    "wikidata5m": (
        "wikidata5m_entity.txt",
        "wikidata5m_text.txt",
        "wikidata5m_relation.txt",
        "wikidata5m_transductive_{}.txt",
    ),
}
"""By layout, the files of entities, of descriptions where they are apart, of relations and of splits."""


def main(
    out: str,
    entities: int = 4_594_485,
    words: int = 85,
    seed: int = 0,
    layout: Literal["tsv", "wikidata5m"] = "tsv",
) -> None:
    """Write the graph.

    Args:
        out: a new folder.
        entities: how many; triples, relations and splits follow, all of Wikidata5M's for the default.
        words: mean number of words of a description.
        seed: of everything.
        layout: ours, or that of Wikidata5M as it is published, with two aliases for each entity; the graph is the same.
    """
    names_file, texts_file, relations_file, split_file = FILES[layout]
    rng = np.random.default_rng(seed)
    share = entities / 4_594_485
    relations = min(RELATIONS, max(2, round(RELATIONS * share**0.25)))

    def fill(folder: Path) -> None:
        vocabulary = pa.array(_vocabulary(rng))
        ids = np.sort(rng.choice(30 * entities, entities, replace=False)) + 1
        texts = folder / texts_file if texts_file else None
        _write_entities(folder / names_file, texts, ids, vocabulary, words, rng)
        names = _texts(np.full(relations, 2), vocabulary, rng)
        _write(folder / relations_file, _prefixed("P", np.arange(1, relations + 1)), names)
        triples = _triples(entities, relations, rng)
        held_out = [max(10, round(count * share)) for count in (VALID, TEST)]
        ends = np.cumsum([0, *held_out, len(triples) - sum(held_out)])
        for split, begin, end in zip(("valid", "test", "train"), ends, ends[1:]):
            head, relation, tail = triples[begin:end].T
            columns = _prefixed("Q", ids[head]), _prefixed("P", relation + 1), _prefixed("Q", ids[tail])
            _write(folder / split_file.format(split), *columns)

    write_folder(new_folder(out), fill)


def zipf(count: int, largest: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers (count,) below `largest`, k with a probability in proportion to 1 / (k + 1), nearly."""
    return (largest ** rng.random(count)).astype(np.int64).clip(1, largest) - 1


def _vocabulary(rng: np.random.Generator) -> list[str]:
    """Distinct words: frequent ones are short."""
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        syllables = 1 + (len(words) > 200) + (len(words) > 10_000)
        words["".join(SYLLABLES[i] for i in rng.integers(len(SYLLABLES), size=syllables))] = None
    return [*words]


def _texts(lengths: np.ndarray, vocabulary: pa.Array, rng: np.random.Generator) -> pa.Array:
    """Texts of so many words (n,)."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    words = vocabulary.take(pa.array(zipf(int(lengths.sum()), len(vocabulary), rng)))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, words), " ")


def _write_entities(
    file: Path, texts: Path | None, ids: np.ndarray, vocabulary: pa.Array, words: int, rng: np.random.Generator
) -> None:
    mean = np.log(words) - 0.5  # of a log-normal whose deviation is 1
    rare = vocabulary.slice(2_000)  # what names are made of
    parts = ((file, 3),) if texts is None else ((file, 4), (texts, 2))
    with ExitStack() as stack:
        writers = [stack.enter_context(csv.CSVWriter(str(path), _schema(n), write_options=TAB)) for path, n in parts]
        for start in range(0, len(ids), BLOCK):
            block = _prefixed("Q", ids[start : start + BLOCK])
            names = pc.utf8_title(_texts(rng.integers(1, 4, size=len(block)), rare, rng))
            lengths = np.exp(rng.normal(mean, 1, len(block))).astype(np.int64).clip(1, 2_000)
            about = _texts(lengths, vocabulary, rng)
            aliases = [pc.utf8_lower(names), pc.binary_join_element_wise(names, names, " ")]
            tables = [[block, names, about]] if texts is None else [[block, names, *aliases], [block, about]]
            for writer, columns in zip(writers, tables):
                writer.write_table(pa.table(columns, schema=_schema(len(columns))))


def _schema(columns: int) -> pa.Schema:
    return pa.schema([(str(column), pa.string()) for column in range(columns)])


def _triples(entities: int, relations: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct triples (n, 3) in random order: every entity is a head, and some are by far more often."""
    wanted = round(entities * TRIPLES_PER_ENTITY)
    number = rng.permutation(entities)  # a frequent entity stands anywhere in the list
    # Heads have the degrees of log-normal weights; half of the tails follow Zipf's law, the others are drawn evenly.
    weights = np.cumsum(rng.lognormal(0, 0.7, entities))
    keys = np.empty(0, dtype=np.int64)
    while len(keys) < wanted:
        count = int(1.1 * (wanted - len(keys))) + 100
        heads = np.searchsorted(weights, rng.random(count) * weights[-1])
        if not len(keys):
            heads[:entities] = np.arange(entities)
        tails = np.where(rng.random(count) < 0.5, zipf(count, entities, rng), rng.integers(entities, size=count))
        drawn = (heads * relations + zipf(count, relations, rng)) * entities + number[tails]
        keys = distinct(np.concatenate([keys, drawn]))
    keys = rng.permutation(keys)[:wanted]
    queries, tails = np.divmod(keys, entities)
    return np.column_stack([*np.divmod(queries, relations), tails])


def _prefixed(letter: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(letter, pa.array(numbers).cast(pa.string()), "")


def _write(file: Path, *columns: pa.Array) -> None:
    csv.write_csv(pa.table(list(columns), names=[*map(str, range(len(columns)))]), str(file), TAB)


if __name__ == "__main__":
    run(lambda: auto_cli(main))

"""Folders as KG-BERT and SimKGC publish them, loaded as they are.

KG-BERT (Yao, Mao and Luo, 2019): `entity2text.txt`, often `entity2textlong.txt`, `relation2text.txt`. SimKGC
(Wang et al., ACL 2022) reads the files that came with WN18 and FB15k: `wordnet-mlj12-definitions.txt`, or
`FB15k_mid2name.txt` with `FB15k_mid2description.txt`. These also have texts of entities that no triple mentions (14,951
of FB15k, where FB15k-237 has 14,541). As candidates these would change every rank, so they are left out unless
`entities.txt` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.data.graphs.build import Texts
from pmd.data.graphs.files.triples import TripleTable
from pmd.data.graphs.files.tsv import at, find_file, index_ids, need_file, quote, read_columns, read_lines, words_of

_WORDNET = "wordnet-mlj12-definitions.txt"
_FREEBASE = "FB15k_mid2name.txt"
_RDF_LITERAL = re.compile(r'"(.*)"(?:@[\w-]+)?', re.DOTALL)


def is_text_folder(folder: Path) -> bool:
    """Whether the folder has one of the text files that are typical of these layouts."""
    return any(find_file(folder, name) for name in ("entity2text.txt", _WORDNET, _FREEBASE))


def read_text_folder(folder: Path, tables: Mapping[str, TripleTable]) -> Texts:
    """The texts of such a folder. PmdError, one line with file and line number, for whatever is broken."""
    source, names, descriptions = _entity_texts(folder)
    relation_texts = _read_texts(path) if (path := find_file(folder, "relation2text.txt")) else {}
    entity_ids = _ids(folder, "entities.txt", "entity", names, tables, "head", "tail")
    relation_ids = _ids(folder, "relations.txt", "relation", relation_texts, tables, "relation")
    texts = Texts(names, descriptions, relation_texts, entity_ids=entity_ids, relation_ids=relation_ids)
    _check_texts(folder, source, entity_ids, names, descriptions)
    return texts


def _check_texts(
    folder: Path, source: Path, ids: list[str], names: Mapping[str, str], descriptions: Mapping[str, str]
) -> None:
    for position, key in enumerate(ids):
        if names.get(key) or descriptions.get(key):
            continue
        in_list = at(find_file(folder, "entities.txt") or source, position)
        place = at(source, list(names).index(key)) if key in names else in_list
        raise PmdError(f"{place}: entity {quote(key)} has neither name nor description; write one in {source.name}")


def _ids(
    folder: Path, filename: str, kind: str, texts: Mapping[str, str], tables: Mapping[str, TripleTable], *parts: str
) -> list[str]:
    """The graph's ids in the order of the file that lists them, or else of their texts, or else sorted."""
    if path := find_file(folder, filename):
        ids = read_lines(path)
        index_ids(path, kind, ids)
        return ids
    used = set().union(*(table.ids(*parts) for table in tables.values()))
    if not texts:
        return sorted(used)
    # An id without a text is refused when the triples are encoded, with its line and the closest id.
    return [key for key in texts if key in used] if used <= texts.keys() else list(texts)


def _entity_texts(folder: Path) -> tuple[Path, dict[str, str], dict[str, str]]:
    """The file that names come from, names by id, and descriptions by id."""
    if path := find_file(folder, "entity2text.txt"):
        return path, *_kgbert_texts(folder, path)
    if path := find_file(folder, _WORDNET):
        ids, names, glosses = read_columns(path, ("id", "name", "description"))
        index_ids(path, "entity", ids)
        return path, dict(zip(ids, map(_lemma, names))), dict(zip(ids, glosses))
    path = need_file(folder, _FREEBASE)
    names = {key: words_of(text) for key, text in _read_texts(path).items()}
    long = find_file(folder, "FB15k_mid2description.txt")
    return path, names, {key: _literal(text) for key, text in _read_texts(long).items()} if long else {}


def _kgbert_texts(folder: Path, path: Path) -> tuple[dict[str, str], dict[str, str]]:
    texts = _read_texts(path)
    if long := find_file(folder, "entity2textlong.txt"):
        return texts, _read_texts(long)
    # WN18RR's texts are "name, gloss", and no name of WordNet has a comma. Others, as of FB13, are names: "Washington, D.C.".
    halves = {key: text.partition(", ") for key, text in texts.items()}
    if sum(bool(half[1]) for half in halves.values()) < len(halves) / 2:
        return texts, {}
    return {key: half[0] for key, half in halves.items()}, {key: half[2] for key, half in halves.items()}


def _read_texts(path: Path) -> dict[str, str]:
    """Text by id. Lines without a text and tabs inside texts, which the published files have, are accepted."""
    ids, texts = [], []
    for index, line in enumerate(read_lines(path)):
        key, _, text = line.partition("\t")
        if not key:
            raise PmdError(f"{at(path, index)}: no id before the tab; write: id, tab, text")
        ids.append(key)
        texts.append(" ".join(text.split()))
    index_ids(path, "relation" if path.name.startswith("relation") else "entity", ids)
    return dict(zip(ids, texts))


def _lemma(name: str) -> str:
    """`__domestic_dog_NN_1` -> `domestic dog`."""
    return " ".join(name.strip("_").split("_")[:-2]) or name


def _literal(text: str) -> str:
    """`"A \\"city\\"."@en` -> `A "city".`"""
    match = _RDF_LITERAL.fullmatch(text)
    return " ".join(match[1].replace('\\"', '"').replace("\\n", " ").split()) if match else text

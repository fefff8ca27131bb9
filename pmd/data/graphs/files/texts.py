"""The names and descriptions that stand beside triples: in our own layout, KG-BERT's, and those of data sets.

Our own layout and KG-BERT's list the entities, and every one has a text. Of the others whatever texts are there are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pmd.core.errors import PmdError
from pmd.data.graphs.build import Texts
from pmd.data.graphs.files import tsv
from pmd.data.graphs.files.tables import read_table, stem_of, visible_files
from pmd.data.graphs.files.text_folders import is_text_folder, read_text_folder
from pmd.data.graphs.files.text_tables import TextTable, text_rows
from pmd.data.graphs.files.triples import Options, TripleTable, list_in_note
from pmd.data.graphs.files.tsv import (
    at,
    check_ids,
    closest,
    find_file,
    lengths_of,
    need_file,
    quote,
    read_columns,
    refuse_header,
)
from pmd.data.texts.strings import Strings

_NAMES = re.compile(r".*entity2text(short)?")
_DESCRIPTIONS = re.compile(r".*entity2textlong|wikidata5m_text")
_RELATIONS = re.compile(r".*relation2text")
_ALIASES = re.compile(r"wikidata5m_(entity|relation)")
_NODES = re.compile(r"(.*[-_.])?nodes?|entities")
_LISTS = re.compile(r"entities|relations|entity2id|relation2id|type_constrain|aliases|types")
_NODE_COLUMNS = {
    "id": ("id", "entity_id", "node_index", "node_id", "entity", "node"),
    "name": ("name", "label", "node_name", "entity_name", "entity_label", "title"),
    "description": ("description", "desc", "node_description", "entity_description"),
    "type": ("type", "kind", "node_type", "entity_type"),
}


def is_text(path: Path) -> bool:
    """Whether a file holds texts or lists of ids, and no triples."""
    stem = stem_of(path) or ""
    return any(form.fullmatch(stem) for form in (_NAMES, _DESCRIPTIONS, _RELATIONS, _ALIASES, _NODES, _LISTS))


def read_texts(folder: Path, tables: Mapping[str, TripleTable], options: Options, notes: list[str]) -> Texts:
    """The texts of a folder of triples. PmdError, with file, line and remedy, for what cannot be used."""
    if any(find_file(folder, file) for file in ("entities.tsv", "relations.tsv")):
        return _read_own(folder, tables)
    if is_text_folder(folder):
        return read_text_folder(folder, tables)
    texts = Texts()
    _read_lists(folder, texts)
    for path in filter(is_text, visible_files(folder)):
        if _is_nodes(path):
            _read_nodes(path, tables, texts, notes)
        elif _read_file(path, stem_of(path) or "", texts):
            list_in_note(notes, "texts come from ", path.name)
        elif stem_of(path) == "entities" and path.name.lower().endswith((".csv", ".parquet", ".jsonl")):
            notes.append(f"{path.name} is not read; call it nodes{path.suffix} if it holds names")
    for kind in ("entities", "relations"):
        for path in (folder / f"{kind}.json", folder.resolve().parents[1] / kind / options.language / f"{kind}.json"):
            if path.is_file():
                _read_labels(path, kind, texts)
                list_in_note(notes, "texts come from ", path.name)
                break
    return texts


def _read_own(folder: Path, tables: Mapping[str, TripleTable]) -> Texts:
    """`entities.tsv` and `relations.tsv`, which list every id and have no header."""
    path = need_file(folder, "entities.tsv")
    ids, names, descriptions = read_columns(path, ("id", "name", "description"))
    refuse_header(path, ids, names, lambda: set().union(*(table.ids("head", "tail") for table in tables.values())))
    check_ids(path, "entity", ids)
    nameless = np.flatnonzero(lengths_of(names) == 0)
    if (lengths_of(descriptions)[nameless] == 0).any():
        index = next(index for index in nameless.tolist() if not descriptions[index])
        raise PmdError(f"{at(path, index)}: entity {quote(ids[index])} has neither name nor description; write one")
    path = need_file(folder, "relations.tsv")
    relation_ids, relation_names = read_columns(path, ("id", "name"))
    refuse_header(
        path, relation_ids, relation_names, lambda: set().union(*(table.ids("relation") for table in tables.values()))
    )
    check_ids(path, "relation", relation_ids)
    return Texts(
        # An id stands for a missing name as it is: the layout is ours, and what was written is read back.
        relations={key: name or key for key, name in zip(relation_ids, relation_names)},
        aliases=_grouped(folder, "aliases.tsv"),
        types=_grouped(folder, "types.tsv"),
        entity_ids=ids,
        relation_ids=relation_ids,
        entity_names=_named(names, ids, nameless),
        entity_descriptions=descriptions,
    )


def _named(names: Sequence[str], ids: Sequence[str], nameless: np.ndarray) -> Sequence[str]:
    """The names, and ids where there is none."""
    if isinstance(names, Strings) and len(nameless):
        return names.replaced(nameless, [ids[row] for row in nameless.tolist()])
    return [name or key for name, key in zip(names, ids)] if len(nameless) else names


def _grouped(folder: Path, file: str) -> dict[str, list[str]]:
    """The texts of each id in a file of ids and texts, if the folder has it."""
    texts: dict[str, list[str]] = {}
    if path := find_file(folder, file):
        for key, text in zip(*read_columns(path, ("id", "text"))):
            texts.setdefault(key, []).append(text)
    return texts


def _read_file(path: Path, stem: str, texts: Texts) -> bool:
    """Adds the texts of a file; False if it holds none."""
    if (kind := _large_kind(path, stem)) and (table := TextTable.read(path)):
        texts.tables[kind] = table
    elif _NAMES.fullmatch(stem):
        texts.names |= _first_texts(path)
    elif _DESCRIPTIONS.fullmatch(stem):
        texts.descriptions |= _first_texts(path)
    elif _RELATIONS.fullmatch(stem) or stem == "wikidata5m_relation":
        texts.relations |= _first_texts(path)
    elif stem == "wikidata5m_entity":
        for key, names in text_rows(path):
            texts.names[key], texts.aliases[key] = names[0], names[1:]
    else:
        return False
    return True


def _first_texts(path: Path) -> dict[str, str]:
    return {key: texts[0] for key, texts in text_rows(path) if texts[0]}


def _large_kind(path: Path, stem: str) -> str | None:
    """What a large file holds of entities, `names` or `descriptions`; None for others."""
    if path.stat().st_size <= tsv.BLOCK:
        return None
    if _NAMES.fullmatch(stem) or stem == "wikidata5m_entity":
        return "names"
    return "descriptions" if _DESCRIPTIONS.fullmatch(stem) else None


def _is_nodes(path: Path) -> bool:
    stem = stem_of(path) or ""
    return _NODES.fullmatch(stem) is not None and not _LISTS.fullmatch(stem)


def _read_nodes(path: Path, tables: Mapping[str, TripleTable], texts: Texts, notes: list[str]) -> None:
    """Adds a table of nodes whose header names its columns: id, name, perhaps a description and a type. One that has no entity of
    the triples is of other ones, and is not used."""
    table = read_table(path)
    columns = {str(name).lower(): column.to_pylist() for name, column in zip(table.column_names, table.columns)}
    if "1" in columns:  # a file of lines: its first one is the header
        columns = {str(column[0]).lower().lstrip(":#"): column[1:] for column in columns.values()}
    ids = dict.fromkeys(_chosen(columns, at(path, 0))["id"])
    unknown = _in_no_triple(ids, tables, texts.entity_ids or ())
    if not unknown or len(unknown) < len(ids):
        add_nodes(columns, at(path, 0), texts)
        list_in_note(notes, "texts come from ", path.name)
        known = {name for names in _NODE_COLUMNS.values() for name in names}
        if unread := [f"{quote(name)}{closest(name, _NODE_COLUMNS)}" for name in columns if name not in known]:
            read = ", ".join(_NODE_COLUMNS)
            notes.append(f"{at(path.name, 0)}: columns left out: {', '.join(unread)}; read are {read}")
    if unknown:
        notes.append(_unknown_note(path.name, unknown, len(ids), tables, texts.entity_ids or ()))


def _in_no_triple(ids: Iterable[str], tables: Mapping[str, TripleTable], listed: Sequence[str]) -> list[str]:
    """The ids of no entity: in no triple, and not listed as one."""
    entities = {*listed}
    unknown = [key for key in ids if key not in entities]
    for table in tables.values():
        unknown = table.lacked(unknown)
    return unknown


def _unknown_note(
    file: str, unknown: Sequence[str], count: int, tables: Mapping[str, TripleTable], listed: Sequence[str]
) -> str:
    used = {*listed}.union(*(table.ids("head", "tail") for table in tables.values()))
    examples = ", ".join(map(quote, unknown[:3])) + ", …" * (len(unknown) > 3)
    what = f"{file}: left out are {len(unknown):,} of {count:,} ids, which no triple has"
    if len(unknown) == count:
        what = f"{file} is not used: no triple has any of its {count:,} ids"
    return f"{what} ({examples}){closest(unknown[0], used)}; where they are meant, write them as the triples do"


def _chosen(columns: Mapping[str, Sequence[Any]], place: str) -> dict[str, Any]:
    """The columns of a table of nodes by what they hold, None for those that it lacks. PmdError if it lacks that of ids."""
    chosen = {
        kind: next((columns[name] for name in names if name in columns), None) for kind, names in _NODE_COLUMNS.items()
    }
    if chosen["id"] is None:
        header = ", ".join(map(quote, columns))
        raise PmdError(f"{place}: no header with a column of ids ({header}); add one, such as: id, name, description")
    return chosen


def add_nodes(columns: Mapping[str, Sequence[Any]], place: str, texts: Texts) -> Sequence[str]:
    """Adds the texts of a table of nodes: names, perhaps descriptions and types, under any usual name of a column.

    Returns:
        The column of ids.
    """
    chosen = _chosen(columns, place)
    _refuse_two_names(chosen["id"], chosen["name"] or (), place)
    for kind, known in (("name", texts.names), ("description", texts.descriptions)):
        known |= {key: " ".join(text.split()) for key, text in zip(chosen["id"], chosen[kind] or ()) if text}
    for key, kinds in zip(chosen["id"], chosen["type"] or ()):
        if kinds:
            texts.types[key] = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    return chosen["id"]


def _refuse_two_names(ids: Sequence[str], names: Sequence[Any], place: str) -> None:
    first = dict(zip(reversed(ids), reversed(names)))
    if len(first) < len(ids):
        for key, name in zip(ids, names):
            if name != first[key]:
                raise PmdError(
                    f"{place}: id {quote(key)} is called {quote(str(first[key]))} and {quote(str(name))}; keep one"
                )


def _read_lists(folder: Path, texts: Texts) -> None:
    """RotatE's and OpenKE's lists of ids, and OGB's mappings of numbers."""
    for part, files in (
        ("entity_ids", ("entities.dict", "entity2id.txt")),
        ("relation_ids", ("relations.dict", "relation2id.txt")),
    ):
        path = next((folder / file for file in files if (folder / file).is_file()), None)
        if path:
            setattr(texts, part, listed_ids(path, skip=int(path.suffix == ".txt")))
    for path in sorted((folder / "mapping").glob("*idx2*.csv*")) + sorted((folder / "mapping").glob("*type2*.csv*")):
        rows = read_table(path).slice(1)
        names = dict(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist()))
        (texts.relations if path.name.startswith("rel") else texts.names).update(names)


def listed_ids(path: Path, skip: int = 0) -> list[str]:
    """Ids in the order of their numbers, whichever of the two columns holds the numbers.

    Raises:
        PmdError: if the file is missing or does not number the ids from 0.
    """
    if not path.is_file():
        raise PmdError(f"{path}: is missing; it says which id each number stands for")
    columns = [column.to_pylist() for column in read_table(path, skip=skip).columns]
    for numbers, ids in ((columns[-1], columns[0]), (columns[0], columns[-1])):
        if all(number.isdigit() for number in numbers) and sorted(map(int, numbers)) == list(range(len(numbers))):
            if len(set(ids)) < len(ids):
                twice = next(key for position, key in enumerate(ids) if key in ids[:position])
                raise PmdError(f"{path}: id {quote(twice)} has two numbers; mend the file")
            return [key for _, key in sorted(zip(map(int, numbers), ids))]
    raise PmdError(f"{path}: neither column numbers the ids from 0 to {len(columns[0]) - 1}; mend the file")


def _read_labels(path: Path, kind: str, texts: Texts) -> None:
    """CoDEx's `{id: {"label": …, "description": …}}`."""
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
        rows = [(key, text.get("label") or "", text.get("description") or "") for key, text in labels.items()]
    except (ValueError, AttributeError) as error:
        raise PmdError(f"{path}: not of the form {{id: {{label, description}}}} ({error}); download it again") from None
    names = {key: " ".join(name.split()) for key, name, _ in rows if name}
    (texts.relations if kind == "relations" else texts.names).update(names)
    if kind == "entities":
        texts.descriptions |= {key: " ".join(text.split()) for key, _, text in rows if text}

"""Folders and files of triples as toolkits and data sets publish them, recognised by their names and contents.

Splits under any usual name and ending; RotatE's `entities.dict`; OpenKE's `train2id.txt`; GraIL's pairs of folders `X` and
`X_ind`; ILPC's `inference.txt`; CoDEx's verified negatives; and one file, with or without a file of nodes, as of Hetionet and
PrimeKG. The texts beside them are read by `pmd.data.graphs.files.texts`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.data.graphs.build import graph_of
from pmd.data.graphs.files.columns import PARTS
from pmd.data.graphs.files.headers import READ_AS_A_TRIPLE, read_triples
from pmd.data.graphs.files.tables import first_lines, read_table, stem_of, visible_files
from pmd.data.graphs.files.texts import is_text, listed_ids, read_texts
from pmd.data.graphs.files.triples import DEFAULTS, Options, TripleTable
from pmd.data.graphs.files.tsv import at, listing, quote
from pmd.data.graphs.graph import KnowledgeGraph

SPLITS = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "dev", "val"),
    "test": ("test", "testing"),
    "inductive_train": ("inference", "inductive_train"),
    "inductive_valid": ("inference_validation", "inference_valid", "inductive_valid"),
    "inductive_test": ("inference_test", "inductive_test"),
}
"""By split, the names of files that hold it."""

_NEGATIVES = re.compile(r"(train|valid|test)_neg(atives)?")
_FALSE = "_negatives"
_EDGES = re.compile(r".*(edges?|triples?|facts?|relationships)|kg")


def load_folder(folder: Path, name: str, options: Options = DEFAULTS) -> KnowledgeGraph:
    """The graph in a folder. PmdError, with file, line and remedy, for what cannot be used."""
    files = split_files(folder)
    if "train" not in files:
        file = one_file(folder)
        if file is None:
            raise PmdError(
                f"{folder}: no train.tsv, .txt, .csv, … and no one file of triples; add it. {listing(folder)}"
            )
        return load_file(file, name, options)
    notes: list[str] = []
    other = folder.with_name(f"{folder.name}_ind")
    if other.is_dir() and not any(split.startswith("inductive") for split in files):
        files |= {f"inductive_{split}": path for split, path in split_files(other).items()}
        notes.append(f"{other.name} is its inductive graph")
    if _is_openke(files["train"]):
        tables = _read_openke(folder, files)
        notes.append("OpenKE's files: head, tail, relation")
    else:
        tables = _with_negatives(read_triples(files | _negative_files(folder, files), options, notes))
    texts = read_texts(folder, tables, options, notes)
    if texts.entity_ids is not None:
        notes = [note for note in notes if READ_AS_A_TRIPLE not in note]
    return graph_of(name, str(folder), tables, texts, notes, options.shares)


def load_file(path: Path, name: str, options: Options = DEFAULTS) -> KnowledgeGraph:
    """The graph of one file of triples, which is split. Texts are columns of it, or stand beside it."""
    notes: list[str] = []
    tables = read_triples({"train": path}, options, notes)
    return graph_of(name, str(path), tables, read_texts(path.parent, tables, options, notes), notes, options.shares)


def split_files(folder: Path) -> dict[str, Path]:
    """The file of each split that the folder has. PmdError for two files of one split."""
    paths_by_split: dict[str, list[Path]] = {}
    for path in visible_files(folder):
        if split := split_of(stem_of(path) or ""):
            paths_by_split.setdefault(split, []).append(path)
    files = {}
    for split in SPLITS:
        paths = paths_by_split.get(split, [])
        paths = [path for path in paths if not _is_openke(path)] or paths  # some folders hold both forms
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise PmdError(f"{folder}: {names} both hold the split {split}; delete one of them")
        if paths:
            files[split] = paths[0]
    return files


def split_of(stem: str) -> str | None:
    """The split that a file's name without its endings stands for; None for other files."""
    if _NEGATIVES.fullmatch(stem):
        return None
    stem = stem.removesuffix("2id")
    for split, names in SPLITS.items():
        if stem in names:
            return split
    if not stem.startswith(("inference", "inductive_")):
        for split in ("train", "valid", "test"):  # wikidata5m_transductive_train, OpenBG500_dev
            if stem.endswith(tuple(f"{mark}{name}" for name in SPLITS[split] for mark in "_-")):
                return split
    return None


def one_file(folder: Path) -> Path | None:
    """The one file of triples of a folder without splits: named so, or the only one that holds no texts."""
    stems = {path: stem_of(path) for path in visible_files(folder) if not is_text(path)}
    paths = [path for path, stem in stems.items() if stem]
    named = [path for path in paths if _EDGES.fullmatch(stems[path] or "")]
    return named[0] if len(named) == 1 else paths[0] if len(paths) == 1 else None


def _negative_files(folder: Path, files: Mapping[str, Path]) -> dict[str, Path]:
    """The files of false triples, as `valid_negatives`, of the splits that there are."""
    matches = {path: _NEGATIVES.fullmatch(stem_of(path) or "") for path in visible_files(folder)}
    return {f"{match[1]}{_FALSE}": path for path, match in matches.items() if match and match[1] in files}


def _with_negatives(tables: Mapping[str, TripleTable]) -> dict[str, TripleTable]:
    splits = {split: table for split, table in tables.items() if not split.endswith(_FALSE)}
    false = {split: tables.get(f"{split}{_FALSE}") for split in splits}
    return {split: table.with_negatives(false[split]) if false[split] else table for split, table in splits.items()}


def _is_openke(path: Path) -> bool:
    return (stem_of(path) or "").endswith("2id")


def _read_openke(folder: Path, files: dict[str, Path]) -> dict[str, TripleTable]:
    entity_ids, relation_ids = (listed_ids(folder / f"{kind}2id.txt", skip=1) for kind in ("entity", "relation"))
    return {split: _by_number(_openke_table(path), entity_ids, relation_ids) for split, path in files.items()}


def _openke_table(path: Path) -> TripleTable:
    """`head tail relation` as numbers, below a line with their count."""
    count = next(iter(first_lines(path, 1)), "").strip()
    if not count.isdigit():
        raise PmdError(f"{at(path, 0)}: OpenKE's files begin with the number of triples; add it")
    table = read_table(path, encoded=True, skip=1)
    if len(table.column_names) != 3:
        raise PmdError(f"{at(path, 1)}: {len(table.column_names)} columns, but head, tail and relation are needed")
    if len(table) != int(count):
        raise PmdError(f"{at(path, 0)}: announces {int(count):,} triples, but {len(table):,} follow; download it again")
    return TripleTable(dict(zip(("head", "tail", "relation"), table.columns)), str(path), first_line=1)


def _by_number(table: TripleTable, entity_ids: Sequence[str], relation_ids: Sequence[str]) -> TripleTable:
    """A table of numbers as one of ids."""
    import pyarrow as pa

    columns = {}
    for part, ids in zip(PARTS, (entity_ids, relation_ids, entity_ids)):
        array = table.columns[part].combine_chunks()
        values = array.dictionary.to_pylist()
        wrong = next((value for value in values if not value.isdigit() or int(value) >= len(ids)), None)
        if wrong is not None:
            raise PmdError(
                f"{table.place}: {part} {quote(wrong)} is not one of 0 to {len(ids) - 1}; OpenKE's order is head, tail, relation"
            )
        named = pa.array([ids[int(value)] for value in values])
        columns[part] = pa.chunked_array([pa.DictionaryArray.from_arrays(array.indices, named)])
    return TripleTable(columns, table.place, table.first_line)

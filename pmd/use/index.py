"""What a model's folder keeps to answer questions at once: names, known triples, and of a text model its entities.

index/index.json             format, checksums of graph and model, sizes, and how texts are formed
index/columns.safetensors    names as bytes and offsets, known triples as sorted keys, tokens of the texts
index/vectors.npy            of a text model, the encoded entities (num_entities, d), fp32, memory-mapped

Columns are read when they are asked for, by NumPy alone. Graph and model are compared with the index by size and time
of their files, which takes no time; only where these differ are the checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from pmd.core.errors import PmdError
from pmd.core.files import write_folder, write_json
from pmd.data.texts.compose import TokenTexts
from pmd.data.texts.ragged import Ragged
from pmd.use.names import Names, Strings

FORMAT = 1
FACTS = ("kind", "dim", "graph", "graph_name", "graph_files", "splits", "inductive", "model", "model_files")
"""What `index.json` says beside its format and sizes."""
TEXT_FACTS = ("cls", "sep", "pad", "max_length")
"""What it says besides of a text model."""
Stamps = dict[str, list[int]]
"""Size in bytes and time of change in nanoseconds of files by name."""
MODEL_FILES = ("config.json", "tokenizer.json", "model*.safetensors")
GRAPH_ENDINGS = (".tsv", ".gz", ".txt", ".json", ".jsonl", ".csv", ".parquet")


class Index:
    """An index on disk.

    Args:
        folder: its own, `index` in a model's.

    Raises:
        PmdError: if it is broken, there or when a column is read.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self.facts: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            if self.facts["format"] != FORMAT:
                raise ValueError(f"it has format {self.facts['format']}, this version reads {FORMAT}")
            self.num_entities, self.num_relations = self.facts["num_entities"], self.facts["num_relations"]
            for name in FACTS if self.facts["kind"] == "embedding" else (*FACTS, *TEXT_FACTS):
                self.facts[name]  # a KeyError names what is missing
            self._columns = safe_open(folder / "columns.safetensors", "numpy")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise self._broken(error) from None

    def column(self, name: str) -> np.ndarray:
        """A column by its name."""
        try:
            return self._columns.get_tensor(name)
        except (SafetensorError, ValueError) as error:
            raise self._broken(error) from None

    @cached_property
    def vectors(self) -> np.ndarray:
        """The encoded entities (num_entities, d) fp32, memory-mapped."""
        try:
            vectors = np.load(self.folder / "vectors.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise self._broken(error) from None
        if vectors.shape != (self.num_entities, self.facts["dim"]):
            raise self._broken(f"vectors.npy has shape {vectors.shape}")
        return np.asarray(vectors)

    @cached_property
    def entities(self) -> Names:
        """The names of the entities."""
        return self._names("entity", Strings(self._ragged("entity_descriptions")))

    @cached_property
    def relations(self) -> Names:
        """The names of the relations."""
        return self._names("relation")

    @cached_property
    def texts(self) -> TokenTexts:
        """The tokens of a text model's texts, as they were when its entities were encoded."""
        rows, relations = self._ragged("tokens"), self._ragged("relation_tokens")
        return TokenTexts(rows, relations, self.facts["cls"], self.facts["sep"], self.facts["max_length"])

    def known(self, target: str, entity: int, relation: int) -> tuple[np.ndarray, np.ndarray]:
        """The known answers (m,) of a query, ascending, and in which splits they are: bit i for split i."""
        keys, splits = self._known[target]
        first = (entity * self.num_relations + relation) * self.num_entities
        begin, end = np.searchsorted(keys, [first, first + self.num_entities])
        return keys[begin:end] - first, splits[begin:end]

    def splits(self, bits: int) -> list[str]:
        """The names of splits by their bits."""
        return [name for place, name in enumerate(self.facts["splits"]) if bits >> place & 1]

    @cached_property
    def parts(self) -> np.ndarray | None:
        """Of an inductive data set, to which of its two graphs each entity (num_entities,) belongs: 1 train, valid and
        test, 2 inductive, 0 neither. None for other data."""
        return self.column("parts") if self.facts["inductive"] else None

    @cached_property
    def _known(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {target: (self.column(f"{target}_keys"), self.column(f"{target}_splits")) for target in ("head", "tail")}

    def _names(self, kind: str, descriptions: Strings | None = None) -> Names:
        ids, names = (Strings(self._ragged(f"{kind}_{what}")) for what in ("ids", "names"))
        orders = (self.column(f"{kind}_by_id"), self.column(f"{kind}_by_name"))
        return Names(kind, ids, names, *orders, descriptions)

    def _ragged(self, name: str) -> Ragged:
        return Ragged(self.column(name), self.column(f"{name}_offsets"))

    def _broken(self, why: object) -> PmdError:
        reason = f"it has no {why}" if isinstance(why, KeyError) else str(why).strip().splitlines()[0]
        return PmdError(f"{self.folder} is broken ({reason}); build it anew: pmd answer {self.folder.parent} --build")

    def restamp(self, **stamps: Stamps) -> None:
        """Note files whose size or time changed while their content did not; where nothing can be written, not."""
        self.facts |= stamps
        with contextlib.suppress(OSError):
            write_json(self.folder / "index.json", self.facts)


def has_index(model: Path, *, old: bool = False) -> bool:
    """Whether a model's folder has an index that this version reads, or with `old` any; one that is broken counts."""
    try:
        facts = json.loads((model / "index" / "index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return old or not isinstance(facts, dict) or facts.get("format") == FORMAT


def crop_index(index: Index, model: Path, width: int) -> None:
    """Write an index into the folder of a model that is the leading `width` dimensions of the index's own."""

    def fill(aside: Path) -> None:
        shutil.copyfile(index.folder / "columns.safetensors", aside / "columns.safetensors")
        if index.facts["kind"] == "text":
            np.save(aside / "vectors.npy", leading(index.vectors, width))
        write_json(aside / "index.json", index.facts | model_facts(model) | {"dim": width})

    write_folder(model / "index", fill)


def leading(vectors: np.ndarray, width: int | None) -> np.ndarray:
    """The first `width` dimensions of unit vectors (n, d) as unit vectors again; all of them for None."""
    if width is None or width == vectors.shape[1]:
        return vectors
    part = vectors[:, :width]
    return part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder that decide on its answers."""
    return sorted(path for pattern in MODEL_FILES for path in folder.glob(pattern))


def graph_files(folder: Path) -> list[Path]:
    """The files of a graph's folder, and of the folders in it, that may hold data."""
    return sorted(path for depth in ("*", "*/*") for path in folder.glob(depth) if path.suffix in GRAPH_ENDINGS)


def stamps_of(folder: Path, files: Iterable[Path]) -> Stamps:
    """Size and time of change of files."""
    found = ((path.relative_to(folder), path.stat()) for path in files)
    return {path.as_posix(): [status.st_size, status.st_mtime_ns] for path, status in found}


def checksum(files: Iterable[Path]) -> str:
    """SHA-256 of the names and contents of files."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def model_facts(folder: Path) -> dict[str, Any]:
    """Of a model's folder what its index notes."""
    files = model_files(folder)
    stamps = stamps_of(folder, files)  # before the reading: a file that changes meanwhile is looked at again
    return {"model": checksum(files), "model_files": stamps}


def ragged_columns(name: str, rows: Ragged) -> dict[str, np.ndarray]:
    """The two columns as which ragged rows are kept."""
    return {name: rows.flat, f"{name}_offsets": rows.offsets}

"""The index in a model's folder, read to answer questions at once: names, known triples, and the entities of a text model.

index/index.json             metadata: format, checksums of graph and model, sizes, and how texts are composed
index/columns.safetensors    names as bytes and offsets, known triples as sorted keys, tokens of the texts
index/vectors.npy            of a text model, the encoded entities (num_entities, d), fp32, or fp16 where they are many,
                             memory-mapped; of a fused one, its structure part beside them; or in fewer bits (`pmd.models.text.precision`), with what
                             belongs to them in columns.safetensors: `vector_scales`, `vector_centre`

NumPy alone maps a column into memory when it is first needed. To notice a changed graph or model, sizes and times of its files are
compared, which is instant; checksums are compared only where those differ. `pmd.use.index_writer` writes the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from pmd.core.errors import PmdError, first_line
from pmd.core.files import default_cache, write_json
from pmd.core.manifest import check_manifest
from pmd.data.texts.compose import Frame, TokenTexts
from pmd.data.texts.mapped import MappedColumns
from pmd.data.texts.ragged import Ragged
from pmd.data.texts.strings import Strings
from pmd.models.text.precision import CodedVectors
from pmd.settings.catalogue import FAMILIES
from pmd.use.names import Names

FORMAT = 1
INDEX_JSON = "index.json"
COLUMNS = "columns.safetensors"
METADATA = ("kind", "dim", "graph", "graph_name", "graph_files", "splits", "inductive", "model", "model_files")
"""Keys of index.json beside its format and sizes; `graph` and `model` are checksums."""
TEXT_METADATA = ("frame", "pad", "max_length")
"""Keys that only the index of a model that reads texts has."""
COMPLETED = ("types",)
"""Keys with what is learned when an index is written. An older one lacks them, and is completed where its graph is at hand."""
LEARNED = ("judge", "odds")
"""Keys with what was learned from the model's scores on validation: a cropped model learns it anew."""
LEARNING = 1
"""The version of what is learned (`types` and `LEARNED`): one more whenever the same validation triples would teach something else.
index.json has it under `learning`; indexes of before there were versions have none."""
BLOCK = 1 << 16
"""Vectors in fp16 that are compared with queries at a time."""
Columns = dict[str, np.ndarray]
FileStats = dict[str, list[int]]
"""By file name: its size in bytes, and when it was changed, in nanoseconds."""
MODEL_FILES = ("config.json", "tokenizer.json", "model*.safetensors")
FUSED_FILES = ("weights.safetensors", *(f"{part}/{name}" for part in ("text", "structure") for name in MODEL_FILES))
"""The files of a fused model beside these."""
GRAPH_SUFFIXES = (*(".tsv", ".txt", ".csv", ".sif", ".dict", ".json", ".jsonl", ".parquet"), *(".gz", ".zst", ".bz2"))


class Index:
    """An index on disk.

    Args:
        folder: `index` in the folder of a model.

        model: the folder of the model, if the index is not in it.

    Raises:
        PmdError: if it is broken; columns are read, and may raise, later.
    """

    def __init__(self, folder: Path, model: Path | None = None):
        self.folder, self.model = folder, model or folder.parent
        try:
            self.metadata: dict[str, Any] = json.loads((folder / INDEX_JSON).read_text(encoding="utf-8"))
            if self.metadata["format"] != FORMAT:
                raise ValueError(f"it has format {self.metadata['format']}, this version reads {FORMAT}")
            check_manifest(folder)
            self.num_entities, self.num_relations = self.metadata["num_entities"], self.metadata["num_relations"]
            if "cls" in self.metadata:  # older than `frame`: special tokens were BERT's, whatever the encoder
                self.metadata["frame"] = asdict(Frame.of_bert(self.metadata["cls"], self.metadata["sep"]))
            for key in (*METADATA, *(TEXT_METADATA if FAMILIES[self.metadata["kind"]].reads else ())):
                self.metadata[key]  # a KeyError names the missing one
            safe_open(folder / COLUMNS, "numpy")  # refuses a file that is damaged
            self._columns = MappedColumns(folder / COLUMNS)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, PmdError) as error:
            raise self._broken(error) from None

    def column(self, name: str) -> np.ndarray:
        """A column of columns.safetensors."""
        try:
            return self._columns[name]
        except (KeyError, ValueError) as error:
            raise self._broken(error) from None

    @cached_property
    def vectors(self) -> np.ndarray:
        """The encoded entities (num_entities, d) fp32, memory-mapped where they are stored so."""
        return self.stored_vectors.astype(np.float32, copy=False)

    @cached_property
    def stored_vectors(self) -> np.ndarray:
        """The same, memory-mapped where they are stored in fp32 or fp16."""
        try:
            vectors = np.load(self.folder / "vectors.npy", mmap_mode="r")
            if vectors.dtype in (np.int8, np.uint8):
                vectors = CodedVectors(vectors, self.column("vector_scales"), self.column("vector_centre")).decoded
        except (OSError, ValueError, EOFError) as error:
            raise self._broken(error) from None
        if vectors.shape != (self.num_entities, self.metadata["dim"]):
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
        entities, relations = self._ragged("tokens"), self._ragged("relation_tokens")
        return TokenTexts(entities, relations, Frame(**self.metadata["frame"]), self.metadata["max_length"])

    def known_answers(self, target: str, entity: int, relation: int) -> tuple[np.ndarray, np.ndarray]:
        """The known answers of a query.

        Returns:
            Entities (m,), ascending, and for each the splits (m,) that have the triple: bit i stands for split i.
        """
        keys, splits = self._known_triples[target]
        first_key = (entity * self.num_relations + relation) * self.num_entities
        begin, end = np.searchsorted(keys, [first_key, first_key + self.num_entities])
        return keys[begin:end] - first_key, splits[begin:end]

    def splits_of(self, triples: np.ndarray) -> np.ndarray:
        """The splits (b,) that have each triple (b, 3): bit i stands for split i."""
        keys, splits = self._known_triples["tail"]
        wanted = (triples[:, 0] * self.num_relations + triples[:, 1]) * self.num_entities + triples[:, 2]
        if not len(keys):
            return np.zeros(len(wanted), dtype=np.int64)
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[places] == wanted, splits[places], 0)

    def facts_of(self, entity: int) -> tuple[np.ndarray, np.ndarray]:
        """The known triples (m, 3) of an entity, first those that it is the head of, and for each the splits (m,)."""
        triples, splits = [], []
        for target in ("tail", "head"):
            keys, bits = self._known_triples[target]
            begin, end = np.searchsorted(keys, np.array([entity, entity + 1]) * self.num_relations * self.num_entities)
            queries, others = np.divmod(keys[begin:end], self.num_entities)
            same, relations = np.full(len(others), entity), queries % self.num_relations
            heads, tails = (same, others) if target == "tail" else (others, same)
            kept = (heads != tails) | (target == "tail")  # a loop is listed once
            triples.append(np.column_stack([heads, relations, tails])[kept])
            splits.append(bits[begin:end][kept])
        return np.concatenate(triples), np.concatenate(splits)

    def triples(self, *names: str) -> np.ndarray:
        """The distinct triples (m, 3) of these splits, sorted; a split that there is not has none."""
        keys, splits = self._known_triples["tail"]
        bits = sum(1 << i for i, name in enumerate(self.metadata["splits"]) if name in names)
        queries, tails = np.divmod(keys[(splits & bits) > 0], self.num_entities)
        return np.column_stack([*np.divmod(queries, self.num_relations), tails])

    @cached_property
    def valid_negatives(self) -> np.ndarray:
        """The triples (m, 3) that the data set says are false, beside those of the validation split."""
        return self.column("valid_negatives") if "valid_negatives" in self._columns else np.empty((0, 3), np.int64)

    def split_names(self, bits: int) -> tuple[str, ...]:
        """The names of the splits whose bits are set."""
        return tuple(name for i, name in enumerate(self.metadata["splits"]) if bits >> i & 1)

    @cached_property
    def subgraphs(self) -> np.ndarray | None:
        """Of an inductive data set, the graph (num_entities,) of each entity: 1 for that of train, valid and test, 2 for
        the inductive one, 0 for neither. None for other data."""
        return self.column("parts") if self.metadata["inductive"] else None

    def remark_on_learning(self) -> str | None:
        """That what it has learned is of another version, and how it is learned anew; None where that is not so."""
        learned, version = {*COMPLETED, *LEARNED} & self.metadata.keys(), self.metadata.get("learning")
        if not learned or version == LEARNING:
            return None
        by = "an earlier version" if version is None else f"another version (learning {version}, here {LEARNING})"
        return (
            f"{self.model}: the types, probabilities and verdicts of its index were learned by {by} of pmd; learn them anew: "
            f"pmd answer {self.model} --build (with --data.path where the graph is not that of its run)"
        )

    def update(self, **metadata: Any) -> None:
        """Change values of the metadata, on disk too unless the folder is read-only."""
        self.metadata |= metadata
        with contextlib.suppress(OSError):
            write_json(self.folder / INDEX_JSON, self.metadata)

    @cached_property
    def _known_triples(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {target: (self.column(f"{target}_keys"), self.column(f"{target}_splits")) for target in ("head", "tail")}

    def _names(self, kind: str, descriptions: Strings | None = None) -> Names:
        ids, names = Strings(self._ragged(f"{kind}_ids")), Strings(self._ragged(f"{kind}_names"))
        return Names(kind, ids, names, self.column(f"{kind}_by_id"), self.column(f"{kind}_by_name"), descriptions)

    def _ragged(self, name: str) -> Ragged:
        return Ragged(self.column(name), self.column(f"{name}_offsets"))

    def _broken(self, why: object) -> PmdError:
        reason = f"it has no {why}" if isinstance(why, KeyError) else first_line(why)
        return PmdError(f"{self.folder} is broken ({reason}); rebuild it: pmd answer {self.model} --build")


def index_folders(model: Path) -> tuple[Path, Path]:
    """Where a model's index may be: in its folder, or in the cache, which is for folders that cannot be written."""
    name = hashlib.sha256(str(model.resolve()).encode()).hexdigest()[:32]
    return model / "index", default_cache() / f"index-{name}"


def index_folder(model: Path) -> Path:
    """Where a model's index is, or where it would be."""
    own, cached = index_folders(model)
    return cached if cached.is_dir() else own


def has_index(model: Path, *, any_format: bool = False) -> bool:
    """Whether a model's folder has an index of this version's format, or of any; a broken one counts."""
    try:
        metadata = json.loads((index_folder(model) / INDEX_JSON).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return any_format or not isinstance(metadata, dict) or metadata.get("format") == FORMAT


def ragged_columns(name: str, rows: Ragged) -> Columns:
    """Rows of an index, as columns."""
    return {name: rows.flat, f"{name}_offsets": rows.offsets}


def crop_vectors(vectors: np.ndarray, width: int | None) -> np.ndarray:
    """The first `width` dimensions of unit vectors (n, d), scaled to length 1 again; all dimensions for None."""
    if width is None or width == vectors.shape[1]:
        return vectors
    cropped = vectors[:, :width]
    return cropped / np.maximum(np.linalg.norm(cropped, axis=1, keepdims=True), 1e-12)


def products(queries: np.ndarray, vectors: np.ndarray, width: int | None) -> np.ndarray:
    """The scores (b, n) of queries (b, width) and the leading `width` dimensions of vectors (n, d) fp16, made block by block:
    what is in memory is the block, not all vectors in fp32."""
    scores = np.empty((len(queries), len(vectors)), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        block = crop_vectors(vectors[start : start + BLOCK].astype(np.float32), width)
        np.matmul(queries, block.T, out=scores[:, start : start + BLOCK])
    return scores


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder on which its answers depend."""
    return sorted(path for pattern in (*MODEL_FILES, *FUSED_FILES) for path in folder.glob(pattern))


def graph_files(folder: Path) -> list[Path]:
    """The files in a graph's folder and its subfolders that may hold data."""
    return sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.suffix in GRAPH_SUFFIXES)


def file_stats(folder: Path, files: Iterable[Path]) -> FileStats:
    """Size and time of change of files, by their paths in the folder."""
    stats = {path.relative_to(folder).as_posix(): path.stat() for path in files}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def files_checksum(files: Iterable[Path]) -> str:
    """SHA-256 of the names and contents of files."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()

"""What a frozen encoder makes of every text of a training, computed once and kept in files that are memory-mapped.

The distinct queries and entities of all training triples, the variants that leave out a neighbour's name too, are read in
blocks before the first step, each process some of the blocks. A block's texts are always the same, so that its numbers do not
depend on when it is read, by which process, or whether the run was stopped before; they differ from those of a batch by
rounding alone, since texts are padded with other neighbours. A file is named after the encoder's weights and the texts, and
every block has a checksum: one that is missing or damaged is read again.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pmd.core.bars import Bar
from pmd.core.distributed import rank, wait_for_all, world_size
from pmd.core.errors import PmdError
from pmd.data.texts.batches import TripleCollator
from pmd.data.texts.compose import Texts
from pmd.data.texts.graph_text import GraphText
from pmd.data.texts.ragged import Ragged
from pmd.models.text.bi_encoder import BiEncoder, Role

BLOCK = 2048
"""Texts that are read, sorted by length, and written at a time."""

Make = Callable[[Role, Texts], np.ndarray]
"""What is kept of texts: the rows of all, one text after the other."""


@dataclass(frozen=True)
class Form:
    """What a file holds of each text: one row of `width` numbers, or one for each of its tokens.

    `setting` is the option that asks for it, named where the disk is full.
    """

    width: int
    dtype: type[np.floating]
    by_token: bool
    what: str
    setting: str


@dataclass(frozen=True, eq=False)
class RowFile:
    """Rows of numbers in a file, those of text i at `offsets[i]` to `offsets[i + 1]`, found by the texts' keys (n,), which
    ascend."""

    path: Path
    keys: np.ndarray
    offsets: np.ndarray
    form: Form

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-len(self.keys) // BLOCK)

    @property
    def sums(self) -> Path:
        """The file of the blocks' checksums."""
        return self.path.with_suffix(".sums")

    @property
    def row_size(self) -> int:
        """Bytes of a row."""
        return self.form.width * np.dtype(self.form.dtype).itemsize

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.offsets[-1]) * self.row_size

    def rows(self) -> Ragged:
        """The rows of all texts, read from the file when they are looked at."""
        shape = (int(self.offsets[-1]), self.form.width)
        return Ragged(np.memmap(self.path, self.form.dtype, "r", shape=shape), self.offsets)

    def __call__(self, keys: np.ndarray) -> Tensor:
        """The rows (m, width) of the texts with these keys, one text after the other."""
        return torch.from_numpy(self.rows().take(np.searchsorted(self.keys, keys)).flat)

    def prepare(self) -> None:
        """Make the files, empty, unless they are there. PmdError if the disk has no room."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for path, size in ((self.path, self.size), (self.sums, 4 * self.blocks)):
            if path.is_file() and path.stat().st_size == size:
                continue
            free = shutil.disk_usage(path.parent).free
            if size > free:
                raise PmdError(
                    f"'{path.parent}': {self.form.what} take {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
                    f"make room, or set {self.form.setting}"
                )
            with open(path, "wb") as file:
                file.truncate(size)

    def _place(self, block: int) -> tuple[int, int]:
        """The first row of a block, and the row after its last."""
        ends = np.minimum([block * BLOCK, (block + 1) * BLOCK], len(self.keys))
        return tuple(self.offsets[ends].tolist())

    def is_whole(self, block: int) -> bool:
        """Whether a block's rows are those that were written."""
        noted = np.fromfile(self.sums, np.uint32, 1, offset=4 * block)
        return zlib.crc32(np.ascontiguousarray(self.rows().flat[slice(*self._place(block))])) == noted[0]

    def write(self, block: int, rows: np.ndarray) -> None:
        """Write the rows of a block, then their checksum."""
        for path, content, start in (
            (self.path, rows.tobytes(), self._place(block)[0] * self.row_size),
            (self.sums, np.uint32(zlib.crc32(rows)).tobytes(), 4 * block),
        ):
            with open(path, "r+b") as file:  # not by the map: a full disk would end the process there
                file.seek(start)
                file.write(content)


def keep(
    encoder: BiEncoder,
    text: GraphText,
    collate: TripleCollator,
    form: Form,
    make: Make,
    folder: Path,
    tag: Sequence[int],
    label: str,
) -> tuple[RowFile, RowFile]:
    """What `make` makes of all queries and entities of a training, by the keys of `TripleCollator.distinct_texts`.

    Args:
        encoder: whose weights, with the texts and the numbers of `tag`, name the files.
        text: the graph's texts as the encoder reads them.
        folder: of the files; those of another encoder or of other texts are removed.
        label: heading of the progress bar.

    Raises:
        PmdError: if the disk has no room.
    """
    keys, rows = collate.distinct_texts()
    name = checksum(encoder, text, keys, rows, tag)
    read: dict[Role, Callable[[np.ndarray], Texts]] = {"query": collate.queries_of(text), "entity": text.entities}
    files: dict[Role, RowFile] = {
        role: RowFile(folder / f"{name}-{plural}", numbers, _offsets(read[role], numbers, form), form)
        for role, plural, numbers in (("query", "queries", keys), ("entity", "entities", rows))
    }
    if rank() == 0:
        for path in folder.glob("*"):
            if not path.name.startswith(name):
                path.unlink()
        for file in files.values():
            file.prepare()
    wait_for_all()
    blocks = [(role, file, block) for role, file in files.items() for block in range(file.blocks)]
    share = blocks[rank() :: world_size()]
    bar = Bar(len(share), 0, label, shown=rank() == 0, unit="blocks", leave=False)
    with bar:
        for done, (role, file, block) in enumerate(share, start=1):
            if not file.is_whole(block):
                file.write(block, make(role, read[role](file.keys[block * BLOCK : (block + 1) * BLOCK])))
            bar.count(done)
    wait_for_all()
    return files["query"], files["entity"]


def _offsets(read: Callable[[np.ndarray], Texts], keys: np.ndarray, form: Form) -> np.ndarray:
    if not form.by_token:
        return np.arange(len(keys) + 1)
    lengths = [read(keys[start : start + BLOCK]).ids.lengths for start in range(0, len(keys), BLOCK)]
    return np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)


def checksum(encoder: BiEncoder, text: GraphText, *others: Sequence[int] | np.ndarray) -> str:
    """A name for an encoder's weights and precision, the texts as it reads them, and other integers."""
    digest = hashlib.sha256()
    digest.update(f"1 {BLOCK} {encoder.device.type} {_precision(encoder)} {text.frame}".encode())
    digest.update(encoder.config.to_json_string().encode())
    for name, weight in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    for ragged in (text.rows, text.relations):
        for part in ragged.columns:
            digest.update(np.ascontiguousarray(part))
    for numbers in others:
        digest.update(np.ascontiguousarray(numbers, dtype=np.int64))
    return digest.hexdigest()[:32]


def _precision(encoder: BiEncoder) -> str:
    device = encoder.device.type
    return str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else "as it is"

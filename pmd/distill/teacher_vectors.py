"""A frozen teacher of texts is asked once: what it makes of every text of a training, kept in files that are memory-mapped.

The distinct queries and entities of all training triples, the variants that leave out a neighbour's name too, are read in
blocks before the first step, each process some of the blocks. A block's texts are always the same, so that its numbers do not
depend on when it is read, by which process, or whether the run was stopped before; they differ from those of a batch by
rounding alone, since texts are padded with other neighbours. A file is named after the teacher's weights and the texts, and
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
from tqdm import tqdm

from pmd.core.bars import shows_bars
from pmd.core.distributed import rank, wait_for_all, world_size
from pmd.core.errors import PmdError
from pmd.data.texts.batches import TripleCollator, chunks
from pmd.data.texts.compose import Texts
from pmd.data.texts.graph_text import GraphText
from pmd.models.text.bi_encoder import BiEncoder, Role
from pmd.models.text.encode import Encoded, encode

BLOCK = 2048
"""Texts that are read, sorted by length, and written at a time."""


@dataclass(frozen=True, eq=False)
class VectorFile:
    """Rows of numbers (n, width) in a file, found by their keys (n,), which ascend."""

    path: Path
    keys: np.ndarray
    width: int

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-len(self.keys) // BLOCK)

    @property
    def sums(self) -> Path:
        """The file of the blocks' checksums."""
        return self.path.with_suffix(".sums")

    @property
    def size(self) -> int:
        """Bytes."""
        return 4 * len(self.keys) * self.width

    def rows(self) -> np.ndarray:
        """All rows, read from the file when they are looked at."""
        return np.memmap(self.path, np.float32, "r", shape=(len(self.keys), self.width))

    def __call__(self, keys: np.ndarray) -> Tensor:
        """The rows (m, width) of some of the keys (m,)."""
        return torch.from_numpy(self.rows()[np.searchsorted(self.keys, keys)])

    def prepare(self) -> None:
        """Make the files, empty, unless they are there. PmdError if the disk has no room."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for path, size in ((self.path, self.size), (self.sums, 4 * self.blocks)):
            if path.is_file() and path.stat().st_size == size:
                continue
            free = shutil.disk_usage(path.parent).free
            if size > free:
                raise PmdError(
                    f"'{path.parent}': the teacher's vectors take {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
                    "make room, or set distill.ask_once to false"
                )
            with open(path, "wb") as file:
                file.truncate(size)

    def is_whole(self, block: int) -> bool:
        """Whether a block's rows are those that were written."""
        noted = np.fromfile(self.sums, np.uint32, 1, offset=4 * block)
        start = block * BLOCK
        return zlib.crc32(np.ascontiguousarray(self.rows()[start : start + BLOCK])) == noted[0]

    def write(self, block: int, rows: np.ndarray) -> None:
        """Write the rows of a block, then their checksum."""
        for path, content, start in (
            (self.path, rows.tobytes(), 4 * block * BLOCK * self.width),
            (self.sums, np.uint32(zlib.crc32(rows)).tobytes(), 4 * block),
        ):
            with open(path, "r+b") as file:  # not by the map: a full disk would end the process there
                file.seek(start)
                file.write(content)


def ask_once(
    teacher: BiEncoder,
    text: GraphText,
    collate: TripleCollator,
    layers: Sequence[int],
    folder: Path,
    *,
    label: str = "",
) -> tuple[VectorFile, VectorFile]:
    """What a teacher makes of all queries and entities of a training, by the keys of `TripleCollator.distinct_texts`.

    Args:
        text: the graph's texts as the teacher reads them.
        layers: middle layers whose pooled states are kept behind the vectors.
        folder: of the files; those of another teacher or of other texts are removed.
        label: heading of the progress bar.

    Raises:
        PmdError: if the disk has no room.
    """
    keys, rows = collate.distinct_texts()
    name = checksum(teacher, text, keys, rows, [*layers, collate.tokens])
    width = teacher.dim + len(layers) * teacher.hidden_size
    files = VectorFile(folder / f"{name}-queries", keys, width), VectorFile(folder / f"{name}-entities", rows, width)
    if rank() == 0:
        for path in folder.glob("*"):
            if not path.name.startswith(name):
                path.unlink()
        for file in files:
            file.prepare()
    wait_for_all()
    queries, entities = files
    blocks = [("query", queries, block) for block in range(queries.blocks)]
    blocks += [("entity", entities, block) for block in range(entities.blocks)]
    read: dict[Role, Callable[[np.ndarray], Texts]] = {"query": collate.queries_of(text), "entity": text.entities}
    share = blocks[rank() :: world_size()]
    for role, file, block in tqdm(share, label, leave=False, disable=rank() > 0 or not shows_bars()):
        if not file.is_whole(block):
            texts = read[role](file.keys[block * BLOCK : (block + 1) * BLOCK])
            file.write(block, _ask(teacher, role, texts, text.pad, collate.tokens, layers))
    wait_for_all()
    return files


@torch.no_grad()
def _ask(teacher: BiEncoder, role: Role, texts: Texts, pad: int, tokens: int, layers: Sequence[int]) -> np.ndarray:
    """The vectors of texts, with the pooled states of `layers` behind them: (n, width)."""
    moved = [chunk.to(teacher.device) for chunk in chunks(texts, pad, tokens)]
    encoded = encode(teacher, role, moved, layers=layers)
    return torch.cat([encoded.pooled, *encoded.layers.values()], dim=1).float().cpu().numpy()


def as_encoded(rows: Tensor, dim: int, layers: Sequence[int]) -> Encoded:
    """What `_ask` put side by side."""
    pooled, others = rows[:, :dim], rows[:, dim:].chunk(max(1, len(layers)), dim=1)
    nothing = torch.empty(0, dtype=torch.long, device=rows.device)
    return Encoded(pooled, rows[:0], nothing, dict(zip(layers, others)))


def checksum(teacher: BiEncoder, text: GraphText, *others: Sequence[int] | np.ndarray) -> str:
    """A name for a teacher's weights and precision, the texts as it reads them, and other integers."""
    digest = hashlib.sha256()
    digest.update(f"1 {BLOCK} {teacher.device.type} {_precision(teacher)} {text.frame}".encode())
    digest.update(teacher.config.to_json_string().encode())
    for name, weight in teacher.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    for ragged in (text.rows, text.relations):
        for part in ragged.columns:
            digest.update(np.ascontiguousarray(part))
    for numbers in others:
        digest.update(np.ascontiguousarray(numbers, dtype=np.int64))
    return digest.hexdigest()[:32]


def _precision(teacher: BiEncoder) -> str:
    device = teacher.device.type
    return str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else "as it is"

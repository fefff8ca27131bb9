"""Several processes read the distinct texts of a batch together: each its share, and all get the vectors of all.

Every process has the whole batch, in the same chunks as a single process would read. Text after text, in their order of
length, goes to one process after the other, so that all have as many of each length. What a batch is told from (masks, losses)
is of the whole batch, so that several processes are one, and no text is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from pmd.core.distributed import all_gather, rank, world_size
from pmd.data.texts.batches import Chunk
from pmd.models.text.bi_encoder import BiEncoder, Role
from pmd.models.text.encode import Encoded, encode


def own_rows(chunks: Sequence[Chunk]) -> Iterator[Tensor]:
    """Of each chunk, which of its rows are this process's."""
    starts = accumulate((len(chunk.rows) for chunk in chunks), initial=0)
    for start, chunk in zip(starts, chunks):
        yield torch.arange((rank() - start) % world_size(), len(chunk.rows), world_size(), device=chunk.rows.device)


def read_together(
    model: BiEncoder,
    role: Role,
    chunks: Sequence[Chunk],
    *,
    masks: Sequence[Tensor] | None = None,
    whole: bool = True,
    **options: Any,
) -> Encoded:
    """What the encoder makes of the texts of all chunks; masked features are those of this process's share alone.

    Args:
        masks: of all texts.
        whole: whether the vectors are those of all texts, or of this process's share.
        options: further ones of `encode`.
    """
    if world_size() == 1:
        return encode(model, role, chunks, masks=masks, **options)
    own = [(chunk, rows, n) for n, (chunk, rows) in enumerate(zip(chunks, own_rows(chunks))) if len(rows)]
    no_share = not own
    if no_share:  # it reads a text for nothing: all processes train the same parameters
        own = [(chunks[0], chunks[0].rows.new_zeros(1), 0)]
    own_masks = None if masks is None else [masks[n][rows] & (not no_share) for _, rows, n in own]
    encoded = encode(model, role, [chunk.take(rows) for chunk, rows, _ in own], masks=own_masks, **options)
    return _with_others(encoded, torch.cat([chunk.rows for chunk in chunks])) if whole else encoded


def _with_others(encoded: Encoded, rows: Tensor) -> Encoded:
    """This process's vectors with those of the others; `rows` (n,) are the numbers of all texts in their order."""
    count = -(-len(rows) // world_size())  # of a process, at most
    place = torch.empty_like(rows)
    for process in range(world_size()):
        numbers = rows[process :: world_size()].sort().values
        place[numbers] = process * count + torch.arange(len(numbers), device=rows.device)

    def gathered(vectors: Tensor) -> Tensor:
        filled = torch.nn.functional.pad(vectors.float(), (0, 0, 0, count - len(vectors)))
        return all_gather(filled)[place].to(vectors.dtype)

    layers = {layer: gathered(vectors) for layer, vectors in encoded.layers.items()}
    return replace(encoded, pooled=gathered(encoded.pooled), layers=layers)

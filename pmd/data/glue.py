"""GLUE (Wang et al., ICLR 2019): a task's texts from the Hub or from JSON lines, tokenised once, padded by the batch.

Two ways in, one form: columns of text, labels and `idx` as the Hub data set `nyu-mll/glue` has them. Texts are kept as
token ids in ragged arrays (cached on disk by tokenizer and text); a pair is put together, and cut, from the tokens of
its parts. `datasets` is imported only when the Hub is asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from pmd.core.errors import PmdError
from pmd.data.graphs.tsv import at, read_lines
from pmd.data.texts.batches import Chunk, chunks
from pmd.data.texts.compose import Frame, Texts
from pmd.data.texts.graph_text import default_cache, tokenise
from pmd.data.texts.packing import Packed, pack
from pmd.data.texts.ragged import Ragged
from pmd.settings.tasks import AX, TASKS, GlueTask, key_of

HIGHEST = 5.0
"""Similarities of STS-B go from 0 to this."""

WHOLE = 100_000
"""More tokens than a text has: which text of a pair is the longer one is decided before either is cut."""

HALVES = re.compile("[\ud800-\udfff]")
"""Halves of characters, which JSON can escape one by one and no file can hold."""


@dataclass(frozen=True, eq=False)
class GlueSplit:
    """n examples: `texts`, one or two columns of n; `labels` (n,), integers, floats for a regression, or None; `idx` (n,)."""

    name: str
    texts: tuple[Sequence[str], ...]
    labels: np.ndarray | None
    idx: np.ndarray

    def __len__(self) -> int:
        return len(self.idx)

    def first(self, n: int) -> GlueSplit:
        """The first n examples; all for 0."""
        if not n:
            return self
        labels = None if self.labels is None else self.labels[:n]
        return replace(self, texts=tuple(column[:n] for column in self.texts), labels=labels, idx=self.idx[:n])


@dataclass(frozen=True, eq=False)
class GlueData:
    """A task and its splits by name: train, those of validation, and those of test that there are."""

    task: GlueTask
    splits: dict[str, GlueSplit] = field(repr=False)

    @property
    def name(self) -> str:
        return self.task.title

    def checksum(self) -> str:
        """Of the texts and labels of train and validation."""
        digest = hashlib.sha256()
        for name in ("train", *self.task.validation):
            split = self.splits[name]
            for column in split.texts:
                digest.update("\0".join(column).encode())
            digest.update(split.labels.tobytes())
        return digest.hexdigest()


def load_glue(path: str, task: GlueTask, train_examples: int = 0) -> GlueData:
    """A task from a folder of JSON lines or from a data set of the Hub; see `GlueDataConfig`.

    Args:
        train_examples: only the first so many; all for 0.

    Raises:
        PmdError: if a split is missing or a row cannot be used: which file and line, and the remedy.
    """
    needed = ("train", *task.validation)
    if Path(path).is_dir():
        folder = _folder(Path(path), task, f"{needed[0]}.jsonl")
        found = {name: folder / f"{name}.jsonl" for name in (*needed, *task.test)}
        missing = next((found[name] for name in needed if not found[name].is_file()), None)
        if missing is not None:
            raise PmdError(
                f"{missing}: no such file; {task.title} needs {', '.join(f'{name}.jsonl' for name in needed)}"
            )
        splits = {name: _read(file, task, name) for name, file in found.items() if file.is_file()}
    else:
        splits = _from_hub(path, task, needed)
    if len(splits["train"]) == 0 or any(splits[name].labels is None for name in needed):
        raise PmdError(f"data.path: '{path}' has no labelled examples of {task.title} in {', '.join(needed)}; add them")
    return GlueData(task, {**splits, "train": splits["train"].first(train_examples)})


def load_diagnostics(path: str) -> GlueSplit | None:
    """The examples of the diagnostic set (AX), or None where the folder has none, or, with a warning, the Hub data set.

    Raises:
        PmdError: for a row of a folder's file that cannot be used.
    """
    if not Path(path).is_dir():
        try:
            return _from_hub(path, AX, AX.test)["test"]
        except PmdError as error:
            warnings.warn(f"the diagnostic set is left out, AX.tsv is not written: {error}", stacklevel=2)
            return None
    folders = (entry for entry in (Path(path), *sorted(Path(path).iterdir())) if key_of(entry.name) == AX.key)
    file = next((folder / "test.jsonl" for folder in folders if (folder / "test.jsonl").is_file()), None)
    return None if file is None else _read(file, AX, "test")


def _folder(path: Path, task: GlueTask, file: str) -> Path:
    """The folder itself, unless it is named after another task, or the one in it that is named after the task."""
    if (path / file).is_file():
        other = TASKS.get(key_of(os.path.basename(os.path.abspath(path))), task)
        if other.key != task.key:
            raise PmdError(
                f"data.path: '{path}' is the folder of {other.title}, not of {task.title}; give that one, or the "
                "folder of both"
            )
        return path
    inside = sorted(entry for entry in path.iterdir() if entry.is_dir())
    for entry in inside:
        if key_of(entry.name) == task.key:
            return entry
    listed = ", ".join(entry.name for entry in inside) or "no folders"
    raise PmdError(
        f"data.path: '{path}' has no {file} and no folder '{task.title}' (it has {listed}); give one that has"
    )


def _read(file: Path, task: GlueTask, split: str) -> GlueSplit:
    """A file of one JSON object a line."""
    if file.stat().st_size == 0:
        raise PmdError(f"{file}: is empty; give it the examples of {task.title}, one JSON object a line")
    rows: list[Any] = []
    lines = read_lines(file)
    try:
        rows.extend(map(json.loads, lines))
    except ValueError as error:
        reason = str(error).split(":")[0]
        raise PmdError(f"{at(file, len(rows))}: no JSON ({reason}); every line is one object") from None
    broken = next((i for i, row in enumerate(rows) if not isinstance(row, dict)), None)
    if broken is not None:
        raise PmdError(f"{at(file, broken)}: {lines[broken][:40]!r} is no JSON object; give one with {task.columns[0]}")
    columns = {name: [row.get(name) for row in rows] for name in (*task.columns, "label", "idx")}
    return _checked(columns, task, split, lambda i: at(file, i))


def _from_hub(path: str, task: GlueTask, needed: Sequence[str]) -> dict[str, GlueSplit]:
    import datasets

    try:
        loaded = datasets.load_dataset(path, task.key)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise PmdError(
            f"data.path: cannot load '{path}', {task.key} ({reason}); give a folder with {needed[0]}.jsonl or with a folder of "
            "each task, or nyu-mll/glue"
        ) from None
    missing = next((name for name in needed if name not in loaded), None)
    if missing is not None:
        raise PmdError(f"data.path: '{path}' has no split {missing} (it has {', '.join(loaded)}); use nyu-mll/glue")
    splits = {}
    for name in (split for split in (*needed, *task.test) if split in loaded):
        table = loaded[name]
        empty = [None] * len(table)
        columns = {
            column: list(table[column]) if column in table.column_names else empty
            for column in (*task.columns, "label", "idx")
        }
        splits[name] = _checked(columns, task, name, lambda i, name=name: f"'{path}', {task.key}, {name}, row {i}")
    return splits


def _checked(columns: dict[str, list[Any]], task: GlueTask, split: str, place: Any) -> GlueSplit:
    """The columns as a split. PmdError for a text or label that is none, at its place."""
    for name in task.columns:
        broken = next((i for i, text in enumerate(columns[name]) if not isinstance(text, str)), None)
        if broken is not None:
            value = columns[name][broken]
            wrong = f"has no {name}" if value is None else f"{name} is {value!r:.60}, not a text"
            raise PmdError(f"{place(broken)}: {wrong}; {task.title} reads {' and '.join(task.columns)}")
        broken = next((i for i, text in enumerate(columns[name]) if HALVES.search(text)), None)
        if broken is not None:
            half = HALVES.search(columns[name][broken]).group()
            raise PmdError(f"{place(broken)}: {name} has {half!r}, half of a character; give both halves, or none")
    n, numbers = len(columns[task.columns[0]]), columns["idx"]
    known = [own is None or (type(own) is int and -(2**63) <= own < 2**63) for own in numbers]
    if not all(known):
        broken = known.index(False)
        raise PmdError(
            f"{place(broken)}: idx is {numbers[broken]!r:.60}; give the number of the example (64 bits), or leave it out"
        )
    idx = np.array([i if own is None else own for i, own in enumerate(numbers)], dtype=np.int64)
    labels, found = None, columns["label"]
    # The Hub marks what is not labelled by -1.
    if n and not (split in task.test and all(label is None or label == -1 for label in found)):
        number = [type(label) in (int, float) and abs(label) <= HIGHEST for label in found]
        values = np.array([label if good else np.nan for label, good in zip(found, number)], dtype=np.float64)
        if task.regression:
            allowed, right = f"a number from 0 to {HIGHEST:g}", (values >= 0) & (values <= HIGHEST)
        else:
            allowed = f"one of {', '.join(f'{i} ({name})' for i, name in enumerate(task.labels))}"
            right = np.isin(values, np.arange(task.num_labels))
        if not right.all():
            broken = int(np.argmin(right))
            raise PmdError(f"{place(broken)}: label is {found[broken]!r:.60}; {task.title} needs {allowed}")
        labels = values.astype(np.float32 if task.regression else np.int64)
    return GlueSplit(split, tuple(columns[name] for name in task.columns), labels, idx)


@dataclass(frozen=True, eq=False)
class GlueBatch:
    """b examples: texts by falling length, padded and packed; their labels (b,) and positions (b,) in the split, in that order."""

    texts: Chunk
    packed: Packed
    labels: Tensor
    positions: Tensor

    @classmethod
    def of(cls, texts: Chunk, labels: Tensor, positions: Tensor) -> GlueBatch:
        """A batch on the CPU of texts that are sorted by falling length."""
        return cls(texts, pack(texts), labels, positions)

    def to(self, device: torch.device) -> GlueBatch:
        moved = (part.to(device, non_blocking=True) for part in (self.labels, self.positions))
        return GlueBatch(self.texts.to(device), self.packed.to(device), *moved)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Padded ids, mask and segments (b, L), as a BERT takes them."""
        return inputs(self.texts)


def inputs(chunk: Chunk) -> dict[str, Tensor]:
    """Ids, mask and segments of a chunk, as a BERT takes them."""
    return {name: getattr(chunk, name) for name in ("input_ids", "attention_mask", "token_type_ids")}


class EncodedSplit:
    """A split as a BERT reads it: [CLS] a [SEP], or [CLS] a [SEP] b [SEP] with b as second segment.

    Args:
        max_length: with the special tokens; of a pair that is longer the longer text is cut first, as
            `truncation="longest_first"` has it.
        cache: folder for token ids; None for the default.
    """

    def __init__(self, split: GlueSplit, tokenizer: PreTrainedTokenizerBase, max_length: int, cache: str | None = None):
        for token in ("cls", "sep", "pad"):
            if getattr(tokenizer, f"{token}_token_id") is None:
                raise PmdError(f"model.name: its tokenizer has no {token} token; choose a BERT")
        self.split, self.pad = split, tokenizer.pad_token_id
        folder = Path(cache) if cache else default_cache()
        parts = [tokenise(column, tokenizer, WHOLE, folder) for column in split.texts]
        self.texts = _composed(parts, Frame.of_bert(tokenizer.cls_token_id, tokenizer.sep_token_id), max_length)

    def __len__(self) -> int:
        return len(self.split)

    def __call__(self, positions: Sequence[int]) -> GlueBatch:
        """The examples at some positions as one batch, padded to its longest text."""
        rows = np.asarray(positions)
        texts = Texts(self.texts.ids.take(rows), self.texts.second[rows])
        (chunk,) = chunks(texts, self.pad, tokens=int(texts.ids.lengths.max()) * len(rows))
        return GlueBatch.of(chunk, self._labels[rows][chunk.rows], torch.from_numpy(rows)[chunk.rows])

    def chunks(self, tokens: int) -> Iterator[Chunk]:
        """All texts in padded chunks of similar length; `rows` says which they are."""
        return chunks(self.texts, self.pad, tokens)

    @cached_property
    def _labels(self) -> Tensor:
        return torch.from_numpy(self.split.labels)


def _composed(parts: list[Ragged], frame: Frame, max_length: int) -> Texts:
    lengths = [part.lengths for part in parts]
    room = max_length - len(parts) - 1
    if len(parts) == 1:
        cut = [np.minimum(lengths[0], room)]
    else:
        # The longer text gives way until both are alike; then they share the room, the odd token to the longer.
        a, b = lengths
        share = room // 2 + (room % 2) * (a > b)
        first = np.minimum(a, np.maximum(share, room - b))
        cut = [first, np.minimum(b, room - first)]
    return frame.around(*(part.take(np.arange(len(part)), longest) for part, longest in zip(parts, cut)))

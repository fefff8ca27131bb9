"""GLUE (Wang et al., ICLR 2019): the texts of a task from the Hub or from JSON lines, tokenised once, padded for each batch.

From either source a split is columns of texts, labels and `idx`, named as in the Hub data set `nyu-mll/glue`. Texts are token
ids in ragged arrays (cached on disk by tokenizer and text); a pair is composed, and cut, from the tokens of its two texts.
`datasets` is imported only for the Hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from pmd.core.distributed import share_of
from pmd.core.errors import PmdError, first_line, warn
from pmd.core.files import default_cache
from pmd.core.types import moved
from pmd.data.graphs.files.tsv import at, read_lines
from pmd.data.texts.batches import Chunk, chunks
from pmd.data.texts.compose import Frame, Texts
from pmd.data.texts.graph_text import tokenise
from pmd.data.texts.packing import Packed, pack
from pmd.data.texts.ragged import Ragged
from pmd.settings.catalogue import AX, TASKS, GlueTask, task_key

MAX_SIMILARITY = 5.0
"""Similarities of STS-B go from 0 to this."""

UNCUT = 100_000
"""More tokens than any text has: texts are tokenised whole, since the longer one of a pair is cut."""

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character: JSON can escape it by itself, but UTF-8 cannot encode it."""


@dataclass(frozen=True, eq=False)
class GlueSplit:
    """n examples: `texts`, one or two columns; `labels` (n,), integers, or floats for a regression, or None; `idx` (n,)."""

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
    """A task and its splits by name: train, those of validation, and those of test that the source has."""

    task: GlueTask
    splits: dict[str, GlueSplit] = field(repr=False)

    @property
    def name(self) -> str:
        return self.task.title

    def checksum(self) -> str:
        """SHA-256 of the texts and labels of train and validation."""
        digest = hashlib.sha256()
        for name in ("train", *self.task.validation):
            split = self.splits[name]
            for column in split.texts:
                digest.update("\0".join(column).encode())
            digest.update(split.labels.tobytes())
        return digest.hexdigest()


def load_glue(path: str, task: GlueTask, train_examples: int = 0) -> GlueData:
    """Load a task.

    Args:
        path: a folder of JSON lines or a data set of the Hub; see `pmd.settings.glue.GlueDataConfig`.
        train_examples: keep only this many from the start of the training split; 0 for all.

    Raises:
        PmdError: if a split is missing or a row cannot be used, with its file and line.
    """
    needed = ("train", *task.validation)
    if Path(path).is_dir():
        folder = _task_folder(Path(path), task, f"{needed[0]}.jsonl")
        files = {name: folder / f"{name}.jsonl" for name in (*needed, *task.test)}
        missing = next((files[name] for name in needed if not files[name].is_file()), None)
        if missing is not None:
            raise PmdError(
                f"{missing}: no such file; {task.title} needs {', '.join(f'{name}.jsonl' for name in needed)}"
            )
        splits = {name: _read(file, task, name) for name, file in files.items() if file.is_file()}
    else:
        splits = _from_hub(path, task, needed)
    if len(splits["train"]) == 0 or any(splits[name].labels is None for name in needed):
        raise PmdError(f"data.path: '{path}' has no labelled examples of {task.title} in {', '.join(needed)}; add them")
    return GlueData(task, {**splits, "train": splits["train"].first(train_examples)})


def load_diagnostics(path: str) -> GlueSplit | None:
    """The examples of the diagnostic set (AX); None if the folder has none or, with a warning, the Hub data set has none.

    Raises:
        PmdError: for a row of a folder's file that cannot be used.
    """
    if not Path(path).is_dir():
        try:
            return _from_hub(path, AX, AX.test)["test"]
        except PmdError as error:
            warn(f"the diagnostic set is left out, AX.tsv is not written: {error}")
            return None
    folders = (entry for entry in (Path(path), *sorted(Path(path).iterdir())) if task_key(entry.name) == AX.key)
    file = next((folder / "test.jsonl" for folder in folders if (folder / "test.jsonl").is_file()), None)
    return None if file is None else _read(file, AX, "test")


def _task_folder(path: Path, task: GlueTask, file: str) -> Path:
    """The folder itself if it has the file, or the one in it that is named after the task.

    Raises:
        PmdError: if the folder is named after another task, or there is no such folder.
    """
    if (path / file).is_file():
        other = TASKS.get(task_key(os.path.basename(os.path.abspath(path))), task)
        if other.key != task.key:
            raise PmdError(
                f"data.path: '{path}' is the folder of {other.title}, not of {task.title}; give the folder of "
                f"{task.title}, or the folder of both"
            )
        return path
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    for folder in folders:
        if task_key(folder.name) == task.key:
            return folder
    listed = ", ".join(folder.name for folder in folders) or "no folders"
    raise PmdError(
        f"data.path: '{path}' has no {file} and no folder '{task.title}' (it has {listed}); give one that has"
    )


def _read(file: Path, task: GlueTask, split: str) -> GlueSplit:
    """The split in a file with a JSON object on each line."""
    if file.stat().st_size == 0:
        raise PmdError(f"{file}: is empty; give it the examples of {task.title}, one JSON object a line")
    rows: list[Any] = []
    lines = read_lines(file)
    try:
        rows.extend(map(json.loads, lines))
    except ValueError as error:
        reason = str(error).split(":")[0]
        raise PmdError(f"{at(file, len(rows))}: not JSON ({reason}); every line must be one object") from None
    wrong = next((i for i, row in enumerate(rows) if not isinstance(row, dict)), None)
    if wrong is not None:
        text = f"{lines[wrong][:40]!r}"
        raise PmdError(f"{at(file, wrong)}: {text} is not a JSON object; give one with {task.columns[0]}")
    columns = {name: [row.get(name) for row in rows] for name in (*task.columns, "label", "idx")}
    return _checked_split(columns, task, split, lambda i: at(file, i))


def _from_hub(path: str, task: GlueTask, needed: Sequence[str]) -> dict[str, GlueSplit]:
    import datasets

    try:
        loaded = datasets.load_dataset(path, task.key)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = first_line(error)[:160]
        raise PmdError(
            f"data.path: cannot load '{path}', {task.key} ({reason}); give a folder with {needed[0]}.jsonl, a folder with a "
            "folder for each task, or nyu-mll/glue"
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
        splits[name] = _checked_split(
            columns, task, name, lambda i, name=name: f"'{path}', {task.key}, {name}, row {i}"
        )
    return splits


def _checked_split(
    columns: dict[str, list[Any]], task: GlueTask, split: str, place_of: Callable[[int], str]
) -> GlueSplit:
    """A split of these columns. PmdError, with the place of the row, for a text, an idx or a label that cannot be used."""
    for name in task.columns:
        for i, text in enumerate(columns[name]):
            if not isinstance(text, str):
                wrong = f"has no {name}" if text is None else f"{name} is {text!r:.60}, not a text"
                raise PmdError(f"{place_of(i)}: {wrong}; {task.title} reads {' and '.join(task.columns)}")
            if half := SURROGATE.search(text):
                raise PmdError(
                    f"{place_of(i)}: {name} has {half.group()!r}, half of a character; give both halves, or neither"
                )
    for i, number in enumerate(columns["idx"]):
        if number is not None and not (type(number) is int and -(2**63) <= number < 2**63):
            raise PmdError(
                f"{place_of(i)}: idx is {number!r:.60}; give the number of the example (64 bits), or leave it out"
            )
    idx = np.array([i if number is None else number for i, number in enumerate(columns["idx"])], dtype=np.int64)
    # The Hub marks unlabelled examples by -1.
    unlabelled = split in task.test and all(label is None or label == -1 for label in columns["label"])
    labels = None if unlabelled or not len(idx) else _labels(columns["label"], task, place_of)
    return GlueSplit(split, tuple(columns[name] for name in task.columns), labels, idx)


def _labels(values: list[Any], task: GlueTask, place_of: Callable[[int], str]) -> np.ndarray:
    """Labels (n,): integers, or floats for a regression. PmdError for one that the task does not have."""
    if task.regression:
        allowed = f"a number from 0 to {MAX_SIMILARITY:g}"
    else:
        allowed = f"one of {', '.join(f'{i} ({name})' for i, name in enumerate(task.labels))}"
    for i, value in enumerate(values):
        is_number = type(value) in (int, float)
        if not (is_number and (0 <= value <= MAX_SIMILARITY if task.regression else value in range(task.num_labels))):
            raise PmdError(f"{place_of(i)}: label is {value!r:.60}; {task.title} needs {allowed}")
    return np.array(values, dtype=np.float32 if task.regression else np.int64)


@dataclass(frozen=True, eq=False)
class GlueBatch:
    """b examples by falling length: their texts, padded and packed, labels (b,) and positions (b,) in the split. `weight` is
    that of `KgeBatch`."""

    texts: Chunk
    packed: Packed
    labels: Tensor
    positions: Tensor
    weight: float = 1.0

    @classmethod
    def of(cls, texts: Chunk, labels: Tensor, positions: Tensor) -> GlueBatch:
        """A batch of texts on the CPU that are sorted by falling length."""
        return cls(texts, pack(texts), labels, positions)

    def to(self, device: torch.device) -> GlueBatch:
        return moved(self, device)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The arguments of a BERT: padded ids, mask and token types (b, L)."""
        return inputs(self.texts)


def inputs(chunk: Chunk) -> dict[str, Tensor]:
    """The arguments of a BERT: ids, mask and token types (c, L) of a chunk."""
    return {name: getattr(chunk, name) for name in ("input_ids", "attention_mask", "token_type_ids")}


class EncodedSplit:
    """A split as a BERT reads it: [CLS] a [SEP], or [CLS] a [SEP] b [SEP] with b as second segment.

    Args:
        max_length: special tokens included; of a longer pair the longer text is cut first, as in `transformers` with
            `truncation="longest_first"`.
        cache: folder for token ids; None for the default.

    Raises:
        PmdError: for a tokenizer without a [CLS], [SEP] or padding token.
    """

    def __init__(self, split: GlueSplit, tokenizer: PreTrainedTokenizerBase, max_length: int, cache: str | None = None):
        for token in ("cls", "sep", "pad"):
            if getattr(tokenizer, f"{token}_token_id") is None:
                raise PmdError(f"model.name: its tokenizer has no {token} token; choose a BERT")
        self.split, self.pad = split, tokenizer.pad_token_id
        folder = Path(cache) if cache else default_cache()
        columns = [tokenise(column, tokenizer, UNCUT, folder) for column in split.texts]
        self.texts = _compose(columns, Frame.of_bert(tokenizer.cls_token_id, tokenizer.sep_token_id), max_length)

    def __len__(self) -> int:
        return len(self.split)

    def __call__(self, positions: Sequence[int]) -> GlueBatch:
        """The examples at these positions as one batch, padded to its longest text."""
        rows = np.asarray(positions)
        texts = Texts(self.texts.ids.take(rows), self.texts.second[rows])
        (chunk,) = chunks(texts, self.pad, tokens=int(texts.ids.lengths.max()) * len(rows))
        return GlueBatch.of(chunk, self._labels[rows][chunk.rows], torch.from_numpy(rows)[chunk.rows])

    def share(self, positions: Sequence[int], process: int, processes: int) -> GlueBatch:
        """The rows of one of several processes of the batch of these positions."""
        own = positions[share_of(len(positions), process, processes)]
        return replace(self(own), weight=len(own) * processes / len(positions))

    def chunks(self, tokens: int) -> Iterator[Chunk]:
        """All texts in padded chunks of similar length; their `rows` are positions in the split."""
        return chunks(self.texts, self.pad, tokens)

    @cached_property
    def _labels(self) -> Tensor:
        return torch.from_numpy(self.split.labels)


def _compose(columns: list[Ragged], frame: Frame, max_length: int) -> Texts:
    """The texts (n,) of one or two columns (n,), cut to `max_length` tokens with the special ones."""
    special = len(frame.before) + len(frame.after) + (len(columns) - 1) * len(frame.between)
    room = max_length - special
    lengths = [column.lengths for column in columns]
    kept = [np.minimum(lengths[0], room)]
    if len(columns) == 2:
        # The longer text is cut until both have the same length, then both; an odd token is kept of the longer one.
        # Lengths 9 and 3 in a room of 8 become 5 and 3; lengths 9 and 6 in a room of 7 become 4 and 3.
        a, b = lengths
        share = room // 2 + (room % 2) * (a > b)
        first = np.minimum(a, np.maximum(share, room - b))
        kept = [first, np.minimum(b, room - first)]
    rows = np.arange(len(columns[0]))
    return frame.around(*(column.take(rows, longest) for column, longest in zip(columns, kept)))

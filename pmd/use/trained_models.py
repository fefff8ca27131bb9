"""Trained models that answer questions about their graph and can be cropped.

torch is imported for an embedding model only: a BERT-like text model answers without it (`pmd.models.text.numpy_bert`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pmd.core.errors import PmdError
from pmd.core.files import new_folder
from pmd.data.texts.compose import TokenTexts
from pmd.data.texts.ragged import Ragged
from pmd.models.families import check_width, width_of
from pmd.models.text.numpy_bag import NumpyBag, is_bag
from pmd.models.text.numpy_bert import NumpyBert, can_read
from pmd.use.answers import AnsweringModel, Question
from pmd.use.index import Index, crop_vectors

if TYPE_CHECKING:
    from pmd.models.kge.folder import Vocabulary
    from pmd.models.kge.model import KgeModel


@dataclass(frozen=True, eq=False)
class TrainedKge(AnsweringModel):
    """An embedding model, and the vocabulary of its graph: what its rows are.

    `open_index` opens the index of its graph, which questions need.
    """

    model: KgeModel
    vocabulary: Vocabulary
    open_index: Callable[[], Index] | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The trained widths; the last one is the model's own."""
        return self.model.widths

    def crop(self, width: int) -> TrainedKge:
        """A model of the leading `width` dimensions, at best one of `widths`. PmdError if it does not have so many."""
        return replace(self, model=self.model.crop(width))

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write a folder that `pmd.load` reads. PmdError if the folder is not new."""
        from pmd.models.kge.folder import save

        folder = new_folder(folder)
        save(folder, self.model, self.vocabulary)
        return folder

    def scores(self, questions: Sequence[Question]) -> np.ndarray:
        """The scores (b, num_entities) of all entities as answers."""
        import torch

        scores = np.empty((len(questions), self.model.num_entities), dtype=np.float32)
        for target in ("head", "tail"):
            rows = [row for row, question in enumerate(questions) if question.target == target]
            # The entry at `target` is not read.
            triples = [(questions[row].entity, questions[row].relation, questions[row].entity) for row in rows]
            if rows:
                with torch.no_grad():
                    scores[rows] = self.model.eval().score_all(torch.tensor(triples), target).numpy()
        return scores

    def check_text(self, text: str) -> None:
        raise PmdError("text: an embedding model knows the entities of its graph alone; ask a text model")


@dataclass(frozen=True, eq=False)
class TrainedText(AnsweringModel):
    """A text model in its folder; `settings` is its config.json.

    It compares the `width` leading dimensions of its vectors, by default all of them.
    """

    folder: Path
    settings: dict[str, Any]
    open_index: Callable[[], Index] | None = None
    width: int | None = None

    @property
    def dim(self) -> int:
        """The width of the vectors that are compared."""
        return self.width or width_of(self.settings)

    @property
    def widths(self) -> tuple[int, ...]:
        """The trained widths; the last one is the model's own."""
        return (*(width for width in self.settings.get("widths") or () if width < self.dim), self.dim)

    def crop(self, width: int) -> TrainedText:
        """The same model, answering by the leading `width` dimensions. PmdError if it does not have so many."""
        check_width(width, self.dim)
        return replace(self, width=width)

    def scores(self, questions: Sequence[Question]) -> np.ndarray:
        """The cosines (b, num_entities) of all entities as answers."""
        return crop_vectors(self.queries(questions), self.width) @ self._candidates.T

    def queries(self, questions: Sequence[Question]) -> np.ndarray:
        """The vectors (b, d) of questions."""
        return np.concatenate([self._encode(self._query(question)) for question in questions])

    def _query(self, question: Question):
        inverse = self.index.num_relations if question.target == "head" else 0
        relation = np.array([question.relation + inverse])
        if question.text is None:
            return self.index.texts.queries(np.array([question.entity]), relation)
        return self._described(question.text).queries(np.array([0]), relation)

    def _described(self, text: str) -> TokenTexts:
        """Texts with a single entity: one without a name, which has this description."""
        texts = self.index.texts
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids[: texts.room]
        return TokenTexts(Ragged.from_rows([ids]), texts.relations, texts.frame, texts.max_length)

    @cached_property
    def _candidates(self) -> np.ndarray:
        return crop_vectors(self.index.vectors, self.width)

    @cached_property
    def _tokenizer(self):
        from tokenizers import Tokenizer

        file = self.folder / "tokenizer.json"
        if not file.is_file():
            raise PmdError(f"text: '{self.folder}' has no tokenizer.json; save its tokenizer there")
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _encode(self) -> Callable[..., np.ndarray]:
        """What encodes texts: NumPy where the encoder is a BERT or has no layers, otherwise the model itself."""
        if is_bag(self.settings):
            return NumpyBag(self.folder, self.settings).vectors
        if can_read(self.folder, self.settings):
            return NumpyBert(self.folder, self.settings).vectors
        from pmd.models.text.bi_encoder import BiEncoder
        from pmd.models.text.scorer import encode_texts

        model = BiEncoder.from_pretrained(self.folder)
        return lambda texts: encode_texts(model, "query", texts, self.index.metadata["pad"]).numpy()

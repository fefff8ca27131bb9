"""The query encoder of grade 0 in NumPy, as `pmd.models.text.bag` has it in torch; a test holds one to the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pmd.data.texts.compose import Texts
from pmd.models.text.numpy_bert import gelu
from pmd.models.text.precision import read_weights


def is_bag(settings: Mapping[str, Any]) -> bool:
    """Whether the bi-encoder of these settings (its config.json) is of grade 0."""
    return settings.get("encoder", {}).get("model_type") == "pmd_bag"


class NumpyBag:
    """The query encoder of a folder of grade 0; arguments as for `NumpyBert`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.width = settings.get("width") or settings["encoder"]["hidden_size"]
        self.typed = settings["encoder"]["type_vocab_size"] > 1
        weights = read_weights(folder / "model.safetensors", "query_encoder.")
        tables = (weights[f"{name}.weight"] for name in ("pieces", "relation", "gate", "shift"))
        self.pieces, self.relation, self.gate, self.shift = tables
        self.special = settings["encoder"]["special"]

    def vectors(self, texts: Texts) -> np.ndarray:
        """Unit vectors (n, d) fp32."""
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        for row, second in enumerate(texts.second):
            pooled = self.hidden(texts.ids[row], int(second)).mean(0)[: self.width]
            vectors[row] = pooled / max(np.linalg.norm(pooled), 1e-12)
        return vectors

    def hidden(self, ids: np.ndarray, second: int) -> np.ndarray:
        """The vectors (L, d) of one text of L pieces whose second segment begins at `second`."""
        x = self.pieces[ids]
        x[np.isin(ids, self.special)] = 0
        if not self.typed or second >= len(ids):
            return x
        hidden = gelu(x[second:].mean(0) @ self.relation.T)
        first = x[:second] * (1 + hidden @ self.gate.T)
        return np.concatenate([first, x[second:]]) + hidden @ self.shift.T

"""The query encoder of a text model in NumPy, a BERT's here: one question, answered before torch would be loaded.

Importing torch and the BERT of transformers takes several seconds, a question to a small student some milliseconds.
This is the forward pass of BERT (Devlin et al., NAACL 2019) for one text at a time, without padding and dropout,
on the weights as the bi-encoder's folder holds them; a test holds it to the vectors of the bi-encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pmd.data.texts.compose import Texts
from pmd.models.text.precision import read_weights


def can_read(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the bi-encoder of these settings (its config.json) is one that this module knows."""
    encoder = settings.get("encoder", {})
    plain = encoder.get("model_type") == "bert" and encoder.get("hidden_act") == "gelu"
    plain = plain and encoder.get("position_embedding_type", "absolute") == "absolute"
    plain = plain and settings.get("pooling", "mean") == "mean" and not settings.get("half")
    return plain and not encoder.get("is_decoder") and (folder / "model.safetensors").is_file()


class NumpyBert:
    """The query encoder of a bi-encoder's folder.

    Args:
        folder: with its model.safetensors.
        settings: its config.json.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        encoder = settings["encoder"]
        self.layers, self.heads = encoder["num_hidden_layers"], encoder["num_attention_heads"]
        self.epsilon, self.typed = encoder["layer_norm_eps"], encoder["type_vocab_size"] > 1
        self.width = settings.get("width") or encoder["hidden_size"]
        self.weights = read_weights(folder / "model.safetensors", "query_encoder.")

    def vectors(self, texts: Texts) -> np.ndarray:
        """Unit vectors (n, d) fp32."""
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        for row, second in enumerate(texts.second):
            ids = texts.ids[row]
            hidden = self.hidden(ids, (np.arange(len(ids)) >= second).astype(np.int64))
            pooled = hidden.mean(0)[: self.width]
            vectors[row] = pooled / max(np.linalg.norm(pooled), 1e-12)
        return vectors

    def hidden(self, ids: np.ndarray, types: np.ndarray) -> np.ndarray:
        """The last hidden states (L, d) of one text of L tokens."""
        x = self._embedding("word", ids) + self._embedding("position", np.arange(len(ids)))
        # Without a second type the bi-encoder passes none, and all tokens are of the first.
        x += self._embedding("token_type", types if self.typed else np.zeros_like(types))
        x = self._norm("embeddings", x)
        for layer in range(self.layers):
            x = self._layer(f"encoder.layer.{layer}", x)
        return x

    def _layer(self, name: str, x: np.ndarray) -> np.ndarray:
        attention = f"{name}.attention"
        q, k, v = (
            self._linear(f"{attention}.self.{part}", x).reshape(len(x), self.heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )  # (heads, L, d / heads)
        weights = softmax(q @ k.swapaxes(1, 2) / np.float32(np.sqrt(q.shape[-1])))
        context = (weights @ v).swapaxes(0, 1).reshape(x.shape)
        x = self._norm(f"{attention}.output", x + self._linear(f"{attention}.output.dense", context))
        inner = gelu(self._linear(f"{name}.intermediate.dense", x))
        return self._norm(f"{name}.output", x + self._linear(f"{name}.output.dense", inner))

    def _embedding(self, kind: str, ids: np.ndarray) -> np.ndarray:
        return self.weights[f"embeddings.{kind}_embeddings.weight"][ids]

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self.epsilon))
        return x * self.weights[f"{name}.LayerNorm.weight"] + self.weights[f"{name}.LayerNorm.bias"]


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """x Φ(x), by an erf that is off by at most 1.5e-7 (Abramowitz and Stegun, 7.1.26): NumPy has none, and SciPy's
    takes longer to import than a question takes to answer."""
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(factor)) * t
    erf = np.copysign(1 - series * np.exp(-z * z), x)
    return x * (1 + erf) / 2

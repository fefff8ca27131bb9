"""Bi-encoders as ONNX graphs, which run without torch: token ids in, unit vectors out.

Mean over the tokens, crop and length are in the graph; batch and length are free. It is made of ONNX's own operators,
by the exporter that traces: of a BERT its graph runs faster than that of the `torch.export` one, which needs another
package and takes minutes.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pmd.core.errors import PmdError
from pmd.core.files import write_json
from pmd.data.texts.batches import chunks
from pmd.data.texts.compose import Texts
from pmd.models.text.bi_encoder import BiEncoder, Role, pool
from pmd.models.text.scorer import TextScorer

ROLES: tuple[Role, Role] = ("query", "entity")
OUTPUT = "vectors"
FACTS = "export.json"
OPSET = 17  # the first with layer normalisation as one operator


def needed(module: str) -> ModuleType:
    """A module of the extra `export`. PmdError if it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise PmdError(f"export to ONNX needs {module.split('.')[0]}: pip install 'pmd[export]'") from None


class _Encoder(nn.Module):
    """An encoder with its pooling, as one graph."""

    def __init__(self, model: BiEncoder, role: Role):
        super().__init__()
        self.model, self.role = model, role

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        hidden = self.model(self.role, input_ids, attention_mask, token_type_ids)[-1]
        return pool(hidden, attention_mask, self.model.dim)


def inputs_of(model: BiEncoder) -> list[str]:
    """What its encoders read, integers (b, L) each."""
    types = getattr(model.config.encoder, "type_vocab_size", 0) > 1
    return ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]


def write_encoders(folder: Path, model: BiEncoder, *, int8: bool = False) -> dict[str, Any]:
    """Write the encoders of a model into a folder, a tied one once, and export.json, which says what they are.

    Args:
        model: on the CPU.
        int8: matrices and embeddings as 8-bit integers, see `quantise`.

    Returns:
        What export.json says.
    """
    tied = model.entity_encoder is None
    files = {role: "encoder.onnx" if tied else f"{role}_encoder.onnx" for role in ROLES}
    for file, role in {file: role for role, file in files.items()}.items():
        if not int8:
            write_encoder(folder / file, model, role)
            continue
        with TemporaryDirectory(dir=folder) as aside:
            write_encoder(Path(aside) / file, model, role)
            quantise(Path(aside) / file, folder / file)
    facts = {"format": 1, "precision": "int8" if int8 else "fp32", "encoders": files, "inputs": inputs_of(model)}
    facts |= {"output": OUTPUT, "dim": model.dim, "widths": list(model.widths)}
    facts |= {"max_tokens": model.config.max_tokens, "inverse_temperature": model.inverse_temperature.item()}
    write_json(folder / FACTS, facts)
    return facts


@torch.no_grad()
def write_encoder(file: Path, model: BiEncoder, role: Role) -> None:
    """Write one encoder of a model on the CPU as an ONNX graph in fp32."""
    names = inputs_of(model)
    # Two texts, one of them padded: all that is asked of batch, length and mask is in the traced graph.
    example = [torch.ones(2, 3, dtype=torch.long) for _ in names]
    example[1][1, 2] = 0
    if len(names) > 2:
        example[2].zero_()
    axes = {name: {0: "batch", 1: "length"} for name in names} | {OUTPUT: {0: "batch"}}
    was_training, graph = model.training, _Encoder(model, role).eval()
    with _plain_attention(model.encoder(role)), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing; whether the graph is right is measured
        torch.onnx.export(
            graph,
            tuple(example),
            file,
            dynamo=False,
            input_names=names,
            output_names=[OUTPUT],
            dynamic_axes=axes,
            opset_version=OPSET,
        )
    model.train(was_training)


@contextmanager
def _plain_attention(encoder: PreTrainedModel) -> Iterator[None]:
    """Attention as products and a softmax: its graph is shorter than that of the fused kernel."""
    before = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        encoder.set_attn_implementation(before)


def quantise(file: Path, out: Path) -> None:
    """Matrices, with a scale for each output, and embeddings as 8-bit integers; inputs of a product are scaled as they
    come.

    Of the range of a weight half is used: where a processor has no VNNI, sums of two products of whole range overflow
    their 16 bits, unseen.
    """
    quantization = needed("onnxruntime.quantization")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises to optimise the graph first, which ONNX Runtime does on loading
    try:
        quantization.quantize_dynamic(
            file,
            out,
            op_types_to_quantize=["MatMul", "Gather"],
            per_channel=True,
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        logging.disable(before)


class OnnxEncoders:
    """The encoders of a folder that `write_encoders` wrote.

    Args:
        folder: with export.json.
        threads: of a call; by default as many as torch has.
    """

    def __init__(self, folder: str | os.PathLike[str], threads: int | None = None):
        facts = json.loads((Path(folder) / FACTS).read_text(encoding="utf-8"))
        self.dim, self.widths, self.inputs = facts["dim"], tuple(facts["widths"]), facts["inputs"]
        runtime = needed("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        sessions = {
            file: runtime.InferenceSession(Path(folder) / file, options, providers=["CPUExecutionProvider"])
            for file in set(facts["encoders"].values())
        }
        self._sessions = {role: sessions[file] for role, file in facts["encoders"].items()}

    def vectors(self, role: Role, *inputs: np.ndarray) -> np.ndarray:
        """Unit vectors (b, d) of ids, mask and, where they are read, token types, (b, L) each."""
        return self._sessions[role].run([OUTPUT], dict(zip(self.inputs, inputs)))[0]

    def encode(self, role: Role, texts: Texts, pad: int, tokens: int = 4096) -> np.ndarray:
        """Unit vectors (n, d) fp32 of texts, sorted by length on the way."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for chunk in chunks(texts, pad, tokens):
            inputs = (chunk.input_ids.numpy(), chunk.attention_mask.numpy(), chunk.token_type_ids.numpy())
            vectors[chunk.rows.numpy()] = self.vectors(role, *inputs)
        return vectors


class OnnxScorer(TextScorer):
    """Cosines by ONNX encoders on a graph: the ranking of a `TextScorer`, its texts encoded by them."""

    model: OnnxEncoders

    def encode(self, role: Role, texts: Texts) -> Tensor:
        return torch.from_numpy(self.model.encode(role, texts, self.text.pad, self.tokens))

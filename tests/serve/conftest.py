"""The model that is served."""

from pathlib import Path

import pytest

import pmd
from pmd.models.text.folder import TextModel, save

from ..conftest import build_random_graph
from ..tiny import tiny_graph, tiny_model, tiny_tokenizer
from ..trained import made_once


@pytest.fixture(scope="session")
def student(tmp_path_factory):
    """The folder of a text model of random weights, with its index."""

    def make(folder: Path) -> None:
        settings = {"max_tokens": 24, "neighbours_below": 6, "max_neighbours": 3}
        save(folder, TextModel(tiny_model(**settings), tiny_tokenizer()), tiny_graph())
        pmd.load(folder, tiny_graph()).index  # noqa: B018

    return made_once(tmp_path_factory, "served", make)


@pytest.fixture(scope="session")
def sure_student(tmp_path_factory):
    """The folder of another, over a graph with enough validation triples to learn probabilities."""

    def make(folder: Path) -> None:
        graph = build_random_graph(0, entities=20, train=70, valid=30)
        settings = {"max_tokens": 24, "neighbours_below": 6, "max_neighbours": 3}
        save(folder, TextModel(tiny_model(**settings), tiny_tokenizer()), graph)
        pmd.load(folder, graph).index  # noqa: B018

    return made_once(tmp_path_factory, "sure", make)

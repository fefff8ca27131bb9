"""Models that are asked in the tests of many rooms: random weights in folders and runs, and how often an index is built."""

import shutil

import pytest
import torch
import yaml

import pmd
from pmd.cli.main import dispatch
from pmd.models.kge.folder import save as save_kge
from pmd.models.text import scorer as text_scorer
from pmd.models.text.folder import TextModel
from pmd.models.text.folder import save as save_text
from pmd.use import load as trained

from .tiny import tiny_model, tiny_tokenizer

MODELS = ["text", "wide", "rotate", "reciprocal", "pairre"]


def write_model(kind, folder, graph):
    """A model of random weights in a folder."""
    torch.manual_seed(0)
    if kind in ("text", "wide"):
        settings = {"max_tokens": 24, "neighbours_below": 6, "max_neighbours": 3}
        more = {"widths": [8, 32]} if kind == "wide" else {}
        save_text(folder, TextModel(tiny_model(**settings, **more), tiny_tokenizer()), graph)
        return folder
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    name = "pairre" if kind == "pairre" else "rotate"
    options = {"reciprocal": kind == "reciprocal", "unit_entities": kind == "pairre"}
    save_kge(folder, pmd.KgeModel(name, **sizes, dim=16, widths=(4, 16), **options), graph)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["text", "rotate"])
def run(request, folder, tmp_path):
    """A run folder of one kind with two finished stages on a graph of its own."""
    data = shutil.copytree(folder, tmp_path / "towns")
    graph, run = pmd.load_graph(data), tmp_path / "run"
    for stage in ("wide", "narrow"):
        write_model(request.param, run / stage, graph)
    (run / "config.yaml").write_text(yaml.safe_dump({"data": {"path": str(data)}}))
    (run / "results.json").write_text('{"wide": {}, "narrow": {}, "gone": {}}')
    return run


def ask(run, *options):
    dispatch(["answer", str(run), *options])


QUESTION = ("--head=Finland town 2", "--relation=lies in")


@pytest.fixture
def builds(monkeypatch):
    """How often an index is built, and entities are encoded."""
    counts = {"built": 0, "encoded": 0}

    def count(module, name, key):
        real = getattr(module, name)

        def counting(*arguments, **options):
            counts[key] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, counting)

    count(trained, "build", "built")
    count(text_scorer, "encode_texts", "encoded")
    return counts


def first_answer(run):
    return pmd.load(run).answer(head="Finland town 2", relation="lies in", all=True)


def write_text(folder, model, graph, entities=None):
    save_text(folder, model, graph, entities)
    return folder

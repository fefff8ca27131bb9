"""Each page has a desk of its own, and everything that is trained on it is small."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..trained import made_once
from .desk import ENCODER, write_desk, write_more, write_whole


@pytest.fixture
def desk(tmp_path_factory, tmp_path, monkeypatch) -> Path:
    """The current folder, with all that the pages name."""
    made = made_once(tmp_path_factory, "desk", write_desk)
    desk = shutil.copytree(made, tmp_path / "desk", symlinks=True)
    monkeypatch.chdir(desk)
    monkeypatch.setattr("pmd.api.fitting.plan.seconds_per_step", lambda *_: 30.0)
    for module, name in (("pmd.recipes.text", "progressive"), ("pmd.recipes.kge", "train_kge")):
        monkeypatch.setattr(f"{module}.{name}", smaller(getattr(pytest.importorskip(module), name)))
    return desk


@pytest.fixture
def large_desk(desk, tmp_path_factory) -> Path:
    """The desk with an embedding model to fuse, the fused model, and files of entities."""
    made = made_once(tmp_path_factory, "large_desk", lambda folder: write_more(desk, folder))
    shutil.copytree(made, desk, symlinks=True, dirs_exist_ok=True)
    return desk


@pytest.fixture
def whole_desk(tmp_path_factory, tmp_path, monkeypatch) -> Path:
    """The current folder, with what the long commands name, and nothing made smaller."""
    desk = shutil.copytree(made_once(tmp_path_factory, "desk", write_desk), tmp_path / "desk", symlinks=True)
    shutil.rmtree(desk / "runs" / "glue-stsb-…")  # a page has runs of its own
    write_whole(desk)
    monkeypatch.chdir(desk)
    return desk


def smaller(recipe: Callable[..., Any]) -> Callable[..., Any]:
    """The recipe with less of all that takes time: an epoch of two small grades."""

    def run(config: Any, earlier: Any = None, **hooks: Any) -> Any:
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=1, threads=1))
        if hasattr(config, "encoder"):
            config.encoder = dataclasses.replace(config.encoder, name="scratch", layers=2, **ENCODER)
            config.distill = dataclasses.replace(config.distill, epochs=1)
            if config.stages is None and config.distill.depths != []:
                config.distill = dataclasses.replace(config.distill, depths=[1], mask_rates=[0.1])
        return recipe(config, earlier, **hooks)

    return run

"""The loss terms of a run of each family, step by step, are those that earlier code logged."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from pmd.cli.main import dispatch
from pmd.settings.med import BEFORE

from ..compat.make import RUNS
from ..values import assert_values

STORED = Path(__file__).parents[1] / "compat" / "runs"


def settings_of(run: Path) -> dict:
    """The settings of a run of earlier code, with what they did not say yet of MED's recipe."""
    settings = yaml.safe_load((run / "config.yaml").read_text())
    for part in (settings, *(settings.get("stages") or ())):
        if (part.get("med") or {}).get("recipe") == "med":
            part["med"] = {**BEFORE, **part["med"]}
    return settings


def curves_of(run: Path) -> dict[str, list[dict]]:
    """The first lines of each stage in a run's metrics.jsonl, without their times; rounding adds up in later ones."""
    curves = {}
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        values = {key: value for key, value in line.items() if key != "seconds"}
        curves.setdefault(line["stage"], []).append(values)
    return {stage: lines[:20] for stage, lines in curves.items()}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_logs_what_it_logged(run, tmp_path, monkeypatch):
    for data in ("towns", "RTE", "bert"):
        shutil.copytree(STORED / data, tmp_path / data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings_of(STORED / run)))
    dispatch([RUNS[run][0], "--config=config.yaml", "--name=again", "--runs=runs"])
    (again,) = (tmp_path / "runs").glob("again-*")
    assert_values(curves_of(again), curves_of(STORED / run), rel=1e-3)

"""A graph to train on in seconds, and a table of models trained on it: made once for all workers."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from pmd.cli.commands import COMMANDS

med_command = COMMANDS["table"]["med"]


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that all workers share. The first that needs it makes it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    done = folder.with_name(f"{name}.done")
    with FileLock(folder.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Towns, their countries and languages: regular enough to learn a little in seconds."""
    return made_once(tmp_path_factory, "towns", write_towns)


def write_towns(folder: Path) -> None:
    countries = [f"{name}land" for name in ("Fin", "Ice", "Green", "Swazi", "Thai", "Po")]
    towns = [f"{country} town {i}" for country in countries for i in range(6)]
    languages = [f"{country}ish" for country in countries]
    entities = [*countries, *towns, *languages]
    rows = [f"e{i:02}\t{name}\ta place or a tongue, number {i}\n" for i, name in enumerate(entities)]
    place = {name: f"e{i:02}" for i, name in enumerate(entities)}
    triples = [f"{place[c]}\tr_speaks\t{place[language]}\n" for c, language in zip(countries, languages)]
    triples += [f"{place[town]}\tr_in\t{place[town.split()[0]]}\n" for town in towns]
    (folder / "entities.tsv").write_text("".join(rows))
    (folder / "relations.tsv").write_text("r_in\tlies in\nr_speaks\tspeaks\n")
    for name, part in (("train", triples), ("valid", triples[6::9]), ("test", triples[8::9])):
        (folder / f"{name}.tsv").write_text("".join(part))


@pytest.fixture(scope="session")
def table(folder, tmp_path_factory):
    """A small `pmd table med` that is done, of three widths of four rivals and a croppable model, and its options."""
    base = {"data.path": folder, "model.dim": 8, "model.widths": "[2,4,8]", "evaluation.split": "train"}
    base |= {"train.epochs": 6, "train.batch_size": 16, "train.lr": 0.05, "train.valid_every": 6, "train.threads": 1}
    options = [f"--base.{key}={value}" for key, value in {**base, "loss.negatives": 4}.items()]
    options += ["--methods=[dt,ext_v,bkd,ta]", '--croppable=[{"name": "best"}]', "--seeds=[0,1]"]
    made = made_once(tmp_path_factory, "table", lambda out: med_command([*options, f"--out={out}"]))
    out = shutil.copytree(made, tmp_path_factory.mktemp("table") / "table")  # some tests write into it
    return SimpleNamespace(out=out, options=[*options, f"--out={out}"])


@pytest.fixture
def types_file(folder, tmp_path):
    """The types of the entities of `folder`: countries, towns and languages."""
    kinds = ["country"] * 6 + ["town"] * 36 + ["language"] * 6
    file = tmp_path / "types.tsv"
    file.write_text("".join(f"e{i:02}\t{kind}\n" for i, kind in enumerate(kinds)))
    return file


@pytest.fixture
def pictures(monkeypatch):
    """The pictures that were saved meanwhile, as matplotlib knows them."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    saved, save = [], figure.savefig

    def savefig(self, *arguments, **options):
        saved.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(figure, "savefig", savefig)
    return saved

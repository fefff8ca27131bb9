"""What the models of a row retain: counted from the ranks that their stages kept, and summed up in the table."""

import json
import shutil
import statistics
from pathlib import Path

import pytest
from safetensors.torch import load_file

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.results import StageResult
from pmd.evaluation.width_ranking import ranks_widths
from pmd.papers.med import models_of, training_seconds
from pmd.recipes import ranking

med_command = COMMANDS["table"]["med"]


def test_the_models_of_a_row():
    main, assistants = Path("s/main"), Path("s/assistants")
    assert models_of("best", (2, 4, 8), Path("s")) == {2: main / "best", 4: main / "best", 8: main / "best"}
    assert models_of("dt", (2, 8), Path("s")) == {2: main / "dt-2", 8: main / "dt-8"}
    assert models_of("ta", (2, 8), Path("s")) == {2: assistants / "ta-2", 8: main / "dt-8"}


def counted(row, folder, seed):
    """Answered and kept by width, query by query."""
    graph, hits = pmd.load_graph(folder), {}
    for width, model in models_of(row, (2, 4, 8), seed).items():
        ranks = pmd.ranks(pmd.load_scorer(model, graph).crop(width), graph, "train")
        hits[width] = [rank <= 10 for rank in ranks.realistic.tolist()]
    found = {str(width): [0, 0] for width in hits}
    for query in zip(*hits.values()):
        if any(query):
            first = query.index(True)
            counts = found[[*found][first]]
            counts[0] += 1
            counts[1] += all(query[first:])
    return found


def test_retention_by_row_and_seed(table, folder):
    found = json.loads((table.out / "results.json").read_text())["retention"]
    assert [*found] == ["dt", "ext_v", "bkd", "best", "ta"]
    for row, seeds in found.items():
        assert seeds == [counted(row, folder, table.out / f"seed{seed}") for seed in (0, 1)]
    # Something is kept and something lost: else nothing was compared.
    assert all(0.05 < sum(k for _, k in of.values()) / sum(a for a, _ in of.values()) < 0.95 for of in found["dt"])
    assert len({json.dumps(seeds) for seeds in found.values()}) == 5
    lines = (table.out / "table.md").read_text().split("Ability retention ratio")[1].splitlines()
    for title, row in (("DT", "dt"), ("best", "best")):
        ratios = [sum(k for _, k in of.values()) / sum(a for a, _ in of.values()) for of in found[row]]
        narrow = [of["2"][1] / of["2"][0] for of in found[row]]
        cells = [cell.strip() for line in lines if line.startswith(f"| {title} ") for cell in line.split("|")[2:4]]
        assert cells == [f"{statistics.fmean(part):.3f} ± {statistics.stdev(part):.3f}" for part in (ratios, narrow)]


def test_stages_keep_their_ranks(table, folder):
    graph = pmd.load_graph(folder)
    for stage in ("main/dt-8", "main/ext_v-2", "main/best", "assistants/ta-4"):
        run, name = stage.split("/")
        model = pmd.load_scorer(table.out / "seed1" / stage, graph)
        expected = ranks_widths(model, graph, "train")
        if name != "best":
            expected = {model.dim: pmd.ranks(model, graph, "train")}
        found = load_file(table.out / "seed1" / run / "ranks" / f"{name}.safetensors")
        assert {*found} == {f"train/{width}" for width in expected}
        assert all(found[f"train/{width}"].tolist() == of.realistic.tolist() for width, of in expected.items())


@pytest.fixture
def ranked(monkeypatch):
    """The widths of the models that are ranked for their retention."""
    found = []

    def counting(function):
        def call(model, *arguments, **options):
            found.append(model.widths)
            return function(model, *arguments, **options)

        return call

    monkeypatch.setattr(ranking, "ranks", counting(pmd.ranks))
    monkeypatch.setattr(ranking, "ranks_widths", counting(ranks_widths))
    return found


def test_what_is_ranked_is_not_ranked_again(table, ranked):
    """Only what is missing or broken is, and kept anew."""
    kept = table.out / "seed1" / "main" / "ranks"
    files = [table.out / "results.json", table.out / "table.md", *sorted(kept.iterdir())]
    before = [file.read_bytes() for file in files]
    med_command(table.options)
    assert ranked == []
    (kept / "best.safetensors").unlink()
    (kept / "dt-2.safetensors").write_bytes(before[0])
    (kept / "dt-4.safetensors").write_bytes((kept / "dt-2.safetensors").read_bytes()[:20])
    shutil.copy(kept / "bkd-2.safetensors", kept / "dt-8.safetensors")  # another width
    med_command(table.options)
    assert sorted(ranked) == [(2,), (2, 4, 8), (4,), (8,)]  # a croppable model in one pass
    assert [file.read_bytes() for file in files] == before


def test_a_table_may_be_moved(table, tmp_path, ranked, monkeypatch):
    shutil.copytree(table.out, tmp_path / "moved")
    (tmp_path / "moved" / "table.md").unlink()
    monkeypatch.setattr("pmd.papers.med.train_kge", None)  # nothing is left to train
    monkeypatch.chdir(tmp_path)
    med_command([*table.options[:-1], "--out=moved"])
    assert ranked == []
    for name in ("results.json", "table.md"):
        assert (tmp_path / "moved" / name).read_bytes() == (table.out / name).read_bytes()


def test_seconds_count_all_that_a_row_needs():
    trained = {
        "dt-8": 10,
        "dt-4": 3,
        "dt-2": 2,
        "bkd-4": 5,
        "bkd-2": 4,
        "dualde_first-4": 1,
        "dualde-4": 1.5,
        "best": 12,
    }
    results = {name: StageResult(train_seconds=seconds) for name, seconds in trained.items()}
    results["ext-4"] = StageResult()
    results["assistant-4"] = results["assistant-8"] = StageResult(train_seconds=0.0)
    results["ta-4"] = StageResult(train_seconds=6, teacher="assistant-8")
    results["ta-2"] = StageResult(train_seconds=7, teacher="assistant-4")
    found = {row: training_seconds(results, row, 8) for row in ("dt", "ext", "bkd", "dualde", "ta", "best")}
    assert found == {"dt": 15, "ext": 10, "bkd": 19, "dualde": 12.5, "ta": 10 + 6 + 7 + 5, "best": 12}

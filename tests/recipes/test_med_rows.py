"""What the models of a row retain: counted from the saved models, once, and summed up in the table."""

import json
import statistics
from pathlib import Path

import pmd
from pmd.evaluation.width_ranking import ranks_widths
from pmd.recipes import med_rows
from pmd.recipes.commands import med_command
from pmd.recipes.med_rows import models_of, training_seconds


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


def test_what_is_recorded_is_not_ranked_again(table, monkeypatch):
    files = [table.out / "results.json", table.out / "table.md", table.out / "seed1" / "main" / "retention.json"]
    before = [file.read_text() for file in files]
    ranked = []

    def counting(function):
        def call(model, *arguments, **options):
            ranked.append(model.widths)
            return function(model, *arguments, **options)

        return call

    monkeypatch.setattr(med_rows, "ranks", counting(pmd.ranks))
    monkeypatch.setattr(med_rows, "ranks_widths", counting(ranks_widths))
    med_command(table.options)
    assert ranked == []
    files[2].write_text(json.dumps({row: of for row, of in json.loads(before[2]).items() if row not in ("best", "dt")}))
    med_command(table.options)
    assert sorted(ranked) == [(2,), (2, 4, 8), (4,), (8,)]  # a croppable model in one pass
    assert [json.loads(file.read_text()) for file in (files[0], files[2])] == [json.loads(before[i]) for i in (0, 2)]
    assert files[1].read_text() == before[1]


def test_seconds_count_all_that_a_row_needs():
    taken = {"dt-8": 10, "dt-4": 3, "dt-2": 2, "bkd-4": 5, "bkd-2": 4, "dualde_first-4": 1, "dualde-4": 1.5, "best": 12}
    results = {name: {"train_seconds": seconds, "teacher": None} for name, seconds in taken.items()}
    results["ext-4"] = {"teacher": None}
    results["assistant-4"] = results["assistant-8"] = {"train_seconds": 0.0}
    results["ta-4"] = {"train_seconds": 6, "teacher": "assistant-8"}
    results["ta-2"] = {"train_seconds": 7, "teacher": "assistant-4"}
    found = {row: training_seconds(results, row, 8) for row in ("dt", "ext", "bkd", "dualde", "ta", "best")}
    assert found == {"dt": 15, "ext": 10, "bkd": 19, "dualde": 12.5, "ta": 10 + 6 + 7 + 5, "best": 12}

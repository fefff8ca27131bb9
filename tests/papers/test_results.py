"""From run folders to the tables of a page: what is read, how it is compared, and what is written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.evaluation.paired import paired_bootstrap
from pmd.papers.results.adding import added, refuse_other_draws
from pmd.papers.results.command import unfinished
from pmd.papers.results.folders import cells_of, dualde_cells
from pmd.papers.results.lineage import lineage
from pmd.papers.results.pages import records_shown, rendered
from pmd.papers.results.record import collected, machine_text, read_record, shown_command, write_record
from pmd.recipes.ranking import read_ranks

from ..markdown import tables_of
from ..trained import made_once

DOCS = Path(__file__).parents[2] / "docs" / "results"
COMPAT = Path(__file__).parents[1] / "compat" / "runs"
results = COMMANDS["results"]

VARIANTS = [
    {"name": "alone", "options": ["--distill.method=none"]},
    {"name": "LKD, one by one", "options": ["--distill.method=lkd", "--distill.epochs=2"]},
]


@pytest.fixture(scope="session")
def comparison(folder, tmp_path_factory):
    """A small `pmd table compare` of two methods, two seeds and two splits."""

    def make(out):
        base = out / "base.yaml"
        base.write_text(
            f"data: {{path: {folder}}}\n"
            "encoder: {layers: 2, hidden_size: 8, heads: 1, intermediate_size: 8, vocab_size: 300, max_length: 16}\n"
            "train: {epochs: 3, batch_size: 16, lr: 1e-2, threads: 1}\n"
            "distill: {depths: [2, 1], mask_rates: [0, 0]}\n"
            "evaluation: {split: [train, test]}\n"
        )
        options = [f"--base={base}", f"--out={out}/out", "--seeds=[0,1]", f"--variants={json.dumps(VARIANTS)}"]
        COMMANDS["table"]["compare"](options)

    return made_once(tmp_path_factory, "comparison", make) / "out"


@pytest.fixture
def pages(comparison, tmp_path):
    """A folder of pages with the record of the comparison."""
    results(["collect", str(comparison), "--name=small", f"--pages={tmp_path}", "--against=[alone]"], "pmd results")
    return tmp_path


def test_rows_and_seeds_of_another_day_are_added(comparison, pages, tmp_path, capsys):
    whole = read_record(pages / "data" / "small.json")
    for seed in (0, 1):  # a folder for each seed, as two machines would have them
        shutil.copytree(comparison, tmp_path / f"day{seed}")
        shutil.rmtree(tmp_path / f"day{seed}" / f"seed{1 - seed}")
        stored = json.loads((tmp_path / f"day{seed}" / "results.json").read_text())
        (tmp_path / f"day{seed}" / "results.json").write_text(
            json.dumps({row: [values[seed]] for row, values in stored.items()})
        )

    def collect(day, *more):
        results(["collect", str(tmp_path / day), "--name=two", f"--pages={tmp_path}", *more], "pmd results")
        return read_record(tmp_path / "data" / "two.json")

    collect("day0", "--against=[alone]")
    capsys.readouterr()
    whole_again = collect("day1", "--add=true")
    by_place = lambda record: {(e["row"], e["column"], e["seed"]): e["metrics"] for e in record["entries"]}  # noqa: E731
    assert by_place(whole_again) == by_place(whole)
    assert whole_again["about"]["seeds"] == [0, 1] and whole_again["epochs"] == whole["epochs"]
    assert whole_again["about"]["train_seconds"] == pytest.approx(whole["about"]["train_seconds"], abs=0.2)
    assert whole_again["paired"]["pairs"] == []  # those of day0 speak of one seed of two
    assert "; 24 comparisons of rows with more seeds now are left out" in capsys.readouterr().out
    with pytest.raises(PmdError, match="all of these models are in the file"):
        collect("day1", "--add=true")


def test_what_is_added_to_a_record_must_fit(tmp_path):
    synthetic(tmp_path)
    record = read_record(tmp_path / "data" / "tiny.json")
    record["paired"]["pairs"][2]["seeds"] = [0]  # all that c has
    entry = {"group": "", "row": "c", "column": "y", "seed": 0, "metrics": {"test": {"mrr": 0.3, "new": 1.0}}}
    more = {
        **record,
        "entries": [entry],
        "epochs": [{**record["epochs"][1], "epochs": "5"}],
        "seconds": {"a": 1.0, "d": 2.0},
    }
    result, lost = added(record, more)
    assert (
        lost == 0 and result["paired"]["pairs"] == record["paired"]["pairs"]
    )  # of rows and seeds that are as they were
    assert {(e["row"], e["column"]): e["epochs"] for e in result["epochs"]}["a", "y"] == "4 or 5"
    assert result["seconds"] == {"c": 5.0, "d": 2.0}
    third = {**record["entries"][0], "seed": 2}
    newer = {**more, "entries": [third, {**third, "row": "b"}]}
    result, lost = added(record, newer)
    assert lost == 1 and [pair["row"] for pair in result["paired"]["pairs"]] == ["b", "c"]
    assert result["paired"]["pairs"][0]["column"] == "y"
    other = {**record["entries"][0], "metrics": {"test": {"mrr": 0.5, "mr": 1.0}}}
    with pytest.raises(PmdError, match=r"'a' x of seed 0 has m.* in the file .*; the runs cannot be compared"):
        added(record, {**more, "entries": [other]})
    with pytest.raises(PmdError, match="1000 resamples by query; ask for the same"):
        refuse_other_draws(record, 200, "query")


def mrr_of(comparison, row, stage, split):
    return [Run(comparison / f"seed{seed}" / row).results[stage].metrics[split]["mrr"] for seed in (0, 1)]


def test_a_record_holds_what_the_runs_say(comparison, pages):
    record = read_record(pages / "data" / "small.json")
    stored = json.loads((comparison / "results.json").read_text())
    places = [(e["row"], e["column"], e["seed"]) for e in record["entries"]]
    stages = ("teacher", "grade2", "grade1")
    assert sorted(places) == sorted((row, stage, seed) for row in stored for stage in stages for seed in (0, 1))
    for entry in record["entries"]:
        metrics = stored[entry["row"]][entry["seed"]][entry["column"]]["metrics"]
        assert {*entry["metrics"]} == {*metrics} == {"train", "test"}
        for split, values in entry["metrics"].items():
            stored_values = {**metrics[split], **{f"triples_{k}": v for k, v in metrics[split]["triples"].items()}}
            assert values == pytest.approx({name: stored_values[name] for name in values}, abs=1e-6)
            assert {"triples_mrr", "triples_mr"} <= values.keys() and "head" not in values
            assert {"mrr", "mr", "hits_at_1", "hits_at_3", "hits_at_10"} <= values.keys()
    epochs = {(e["row"], e["column"]): e["epochs"] for e in record["epochs"]}
    lkd = "LKD, one by one"
    assert epochs == {
        **dict.fromkeys([("alone", stage) for stage in stages], "3"),
        (lkd, "teacher"): "3",
        (lkd, "grade2"): "3 + 2, by teacher",
        (lkd, "grade1"): "3 + 2 + 2, by grade2",
    }
    about = record["about"]
    assert (about["data"], about["seeds"]) == (["towns"], [0, 1])
    runs = [Run(path.parent) for path in comparison.glob("seed*/*/config.yaml")]
    assert len(runs) == 6  # two teachers among them
    seconds = sum(result.train_seconds for run in runs for result in run.results.values())
    assert about["train_seconds"] == pytest.approx(seconds, abs=0.06)
    assert about["machines"][0].endswith("1 thread, fp32") and len(about["commits"][0]) == 10


def test_rows_are_compared_triple_by_triple(comparison, pages, capsys):
    pairs = read_record(pages / "data" / "small.json")["paired"]["pairs"]
    assert len(pairs) == 3 * 2 * 4 and {pair["baseline"] for pair in pairs} == {"alone"}
    for pair in pairs:
        stage = pair["column"], pair["split"]
        ranks = [
            [
                read_ranks(comparison / f"seed{seed}" / row / stage[0], stage[1], [8])[8].numpy()
                for seed in pair["seeds"]
            ]
            for row in ("lkd__one_by_one", "alone")
        ]
        expected = paired_bootstrap(*ranks, pair["metric"], unit="triple")
        assert {name: pair[name] for name in vars(expected)} == pytest.approx(vars(expected), abs=1e-6)
        if pair["metric"] == "mrr":
            means = [np.mean(mrr_of(comparison, row, *stage)) for row in ("lkd__one_by_one", "alone")]
            assert pair["difference"] == pytest.approx(means[0] - means[1], abs=1e-6)
    capsys.readouterr()
    results(["paired", str(comparison), "--rows=['LKD, one by one', alone]"], "pmd results")
    on_train, on_test = tables_of(capsys.readouterr().out)
    assert [row[0] for row in on_train] == ["column", "teacher", "grade2", "grade1"]
    (pair,) = (p for p in pairs if (p["column"], p["split"], p["metric"]) == ("grade1", "train", "hits_at_3"))
    numbers = f"{pair['difference']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}] {pair['above']:.1%}"
    assert on_train[3][on_train[0].index("Hits@3")] == numbers
    assert on_train[1][1] == on_test[1][1] == "+0.000 [+0.000, +0.000] 0.0%"  # one teacher for both


def synthetic(pages):
    """A record of three rows, two columns and two seeds with round numbers."""
    values = {"a": ((0.1, 0.3), (0.5, 0.5)), "b": ((0.4, 0.4), (0.2, 0.4)), "c": ((0.2,), ())}
    entries = [
        {"group": "", "row": row, "column": column, "seed": seed, "metrics": {"test": {"mrr": mrr, "mr": 10 * mrr}}}
        for row, columns in values.items()
        for column, seeds in zip(("x", "y"), columns)
        for seed, mrr in enumerate(seeds)
    ]
    pair = {"group": "", "baseline": "a", "seeds": [0, 1], "split": "test", "metric": "mrr", "row": "b"}
    pairs = [
        {**pair, "column": "x", "difference": 0.2, "low": 0.1, "high": 0.3, "above": 1.0},
        {**pair, "column": "y", "difference": -0.2, "low": -0.3, "high": -0.1, "above": 0.0},
        {**pair, "column": "x", "row": "c", "difference": 0.1, "low": -0.1, "high": 0.3, "above": 0.7},
    ]
    epochs = [("a", "x", "3"), ("a", "y", "4"), ("b", "x", "3"), ("b", "y", "4"), ("c", "x", "3 + 1, by a")]
    record = {
        "about": {
            "data": ["towns"],
            "commands": ["pmd table compare --base b"],
            "seeds": [0, 1],
            "commits": ["0123456789"],
            "machines": ["a processor, 2 cores, 1 thread, fp32"],
            "dates": ["2026-01-01"],
            "train_seconds": 7260.0,
        },
        "entries": entries,
        "epochs": [{"group": "", "row": row, "column": column, "epochs": text} for row, column, text in epochs],
        "seconds": {"a": 1234.4, "c": 5.0},
        "paired": {"samples": 1000, "unit": "query", "pairs": pairs},
    }
    write_record(pages / "data" / "tiny.json", record)
    assert read_record(pages / "data" / "tiny.json") == record
    assert max(len(line) for line in (pages / "data" / "tiny.json").read_text().splitlines()) < 300


def shown(pages, options):
    return rendered(f"<!-- results: tiny {options} -->\n<!-- end -->", pages / "data")


def test_a_page_is_filled_in(tmp_path):
    synthetic(tmp_path)
    page = "# t\n\n<!-- results: tiny better=a seconds=true -->\nold\n<!-- end -->\n\nkept\n"
    expected = """# t

<!-- results: tiny better=a seconds=true -->
| MRR, test   |                 x |                 y |   training (s) |   seeds |
|:------------|------------------:|------------------:|---------------:|--------:|
| a           |     0.200 ± 0.141 | **0.500 ± 0.000** |          1,234 |       2 |
| b           | **0.400 ± 0.000 ↑** |   0.300 ± 0.141 ↓ |                |       2 |
| c           |             0.200 |                   |              5 |       1 |

↑ better, ↓ worse than "a": the 95 % interval of the difference between these trained models, over 1,000 resamples of
the queries (the same for both, averaged over the seeds that both have), is above, or below, 0.

| epochs   | x           | y   |
|:---------|:------------|:----|
| a, b     | 3           | 4   |
| c        | 3 + 1, by a |     |

Measured on towns; seeds 0, 1; a processor, 2 cores, 1 thread, fp32; 2 h 01 min of training in all; commit 0123456789;
2026-01-01.

```bash
pmd table compare --base b
```
<!-- end -->

kept
"""
    once = rendered(page, tmp_path / "data")
    assert once.replace(" ", "").replace("-", "") == expected.replace(" ", "").replace("-", "")
    assert rendered(once, tmp_path / "data") == once
    (tmp_path / "page.md").write_text(page)
    results(["render", f"--pages={tmp_path}"], "pmd results")
    assert (tmp_path / "page.md").read_text() == once
    assert records_shown(page) == ["tiny"]


def test_what_a_page_may_ask_for(tmp_path):
    synthetic(tmp_path)
    (table,) = tables_of(shown(tmp_path, "metric=mr,mrr columns=x rows=c|a about=false"))
    assert table == [
        ["x, test", "MR", "MRR", "seeds"],
        ["a", "2.000 ± 1.414", "0.200 ± 0.141", "2"],
        ["c", "2.000", "0.200", "1"],
    ]
    (table,) = tables_of(shown(tmp_path, "percent=true about=false columns=y"))
    assert table == [["MRR, test", "y"], ["a", "50.0 ± 0.0"], ["b", "30.0 ± 14.1"]]
    (table,) = tables_of(shown(tmp_path, "show=paired better=a"))
    assert table == [
        ["MRR over a, test", "x", "y"],
        ["b", "+0.200 [+0.100, +0.300]", "-0.200 [-0.300, -0.100]"],
        ["c", "+0.100 [-0.100, +0.300]", ""],
    ]
    (table,) = tables_of(shown(tmp_path, "show=epochs columns=x"))
    assert table == [["epochs", "all"], ["a, b", "3"], ["c", "3 + 1, by a"]]
    assert "**" not in shown(tmp_path, "metric=mr about=false")  # less is better there


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("spilt=test", "no option 'spilt'.*did you mean.*split"),
        ("show=tables", "no show 'tables'; choose among table, paired"),
        ("group=b", "no group 'b'"),
        ("split=valid", "nothing was measured on 'valid'"),
        ("about=no", "about=no; write true or false"),
        ("rows=a|d", "no row 'd'; there are a, b, c"),
        ("columns=z", "no column 'z'; there are x, y"),
        ("metric=mrr,mr", "2 metrics of 2 columns"),
        ("metric=hits_at_1", "'hits_at_1' was not measured"),
        ("better=b", "nothing was compared with 'b'; collect it with --against"),
    ],
)
def test_what_a_page_asks_for_in_vain(tmp_path, options, said):
    synthetic(tmp_path)
    with pytest.raises(PmdError, match=f"results: tiny: .*{said}"):
        shown(tmp_path, options)


@pytest.mark.parametrize(
    "page", ["<!-- results: a -->\n", "<!-- results: a -->\n<!--end-->\nkept\n<!-- results: b -->\n<!-- end -->\n"]
)
def test_a_block_without_an_end_takes_nothing_with_it(page, tmp_path):
    with pytest.raises(PmdError, match="the block 'results: a' has no end"):
        rendered(page, tmp_path)


def test_the_embedding_and_the_fused_model_of_a_text_run_have_an_origin(comparison, tmp_path):
    run = Run(shutil.copytree(comparison / "seed0" / "alone", tmp_path / "run"))
    whole = {
        name: value
        for name, value in vars(run.results["teacher"]).items()
        if name not in ("layers", "epochs", "teacher")
    }
    run.add_result("structure", {**whole, "epochs": 40})
    run.add_result("fused", whole)
    assert [lineage(run)[name] for name in ("structure", "fused")] == ["40", "?"]


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(PmdError, match=r"none\.json' is missing; `pmd results collect FOLDER --name none`"):
        rendered("<!-- results: none -->\n<!-- end -->", tmp_path)


def test_croppable_models_and_their_rivals(table, tmp_path):
    cells = {(cell.row, cell.column, cell.seed): cell for cell in cells_of([table.out])}
    widths = ("2", "4", "8")
    rows = {"DT": widths, "Ext-V": widths, "BKD": widths[:2], "TA": widths[:2], "best": widths}
    assert {*cells} == {(row, width, seed) for row, columns in rows.items() for width in columns for seed in (0, 1)}
    assert cells["Ext-V", "8", 1].stage == cells["DT", "8", 1].stage == "dt-8"
    stored = json.loads((table.out / "results.json").read_text())["results"]
    for (row, column, seed), cell in cells.items():
        if row != "TA":
            key = row.lower().replace("-", "_")
            assert cell.metrics["train"]["mrr"] == stored[key][column][seed]["metrics"]["train"]["mrr"]
        assert read_ranks(cell.folder, "train", [cell.width]) is not None
    record = collected([str(table.out)], ["DT"], None, 200, "triple")
    epochs = {(e["row"], e["column"]): e["epochs"] for e in record["epochs"]}
    assert epochs["DT", "4"] == epochs["best", "2"] == epochs["Ext-V", "2"] == "6"
    assert epochs["BKD", "2"] == "6, by dt-8 (6)"
    assert {*record["seconds"]} == {*rows}
    ours = [pair for pair in record["paired"]["pairs"] if (pair["row"], pair["column"]) == ("Ext-V", "8")]
    assert [pair["difference"] for pair in ours] == [0] * 4
    write_record(tmp_path / "t.json", record)
    (shown_table,) = tables_of(rendered("<!-- results: t about=false seconds=true -->\n<!-- end -->", tmp_path))
    assert shown_table[0] == ["MRR, train", "2", "4", "8", "training (s)"]
    assert [row[0] for row in shown_table[1:]] == [*dict.fromkeys(e["row"] for e in record["entries"])]


def test_dualdes_rows_and_single_runs(monkeypatch):
    cells = {(cell.group, cell.row, cell.column) for cell in dualde_cells(0, [Run(COMPAT / "dual")])}
    assert {row for _, row, _ in cells} == {"Tea.", "no-DS", "DS", "−S2"}
    monkeypatch.setattr("pmd.papers.results.folders.row_of", lambda stage, _: None if stage.teacher is None else "DS")
    assert {cell.row for cell in dualde_cells(0, [Run(COMPAT / "dual")])} == {"DS"}  # a stage without a row has no cell
    one = cells_of([COMPAT / "dual"])
    run = Run(COMPAT / "dual")
    assert [(cell.row, cell.column) for cell in one] == [(name, str(r.dim)) for name, r in run.results.items()]
    (taught,) = (name for name in run.results if name.startswith("taught"))
    first, start = run.results[taught].epochs, run.results[run.results[taught].start].epochs
    assert lineage(run)[taught] == f"{start} + {first}, by teacher ({run.results['teacher'].epochs})"
    glue = cells_of([COMPAT / "glue"])
    model = Run(COMPAT / "glue").results["med"].sub_models
    by_row = {cell.row: cell for cell in glue if cell.stage == "med"}
    assert {*by_row} == {f"med, {width}" for width in model}
    for width, sub_model in model.items():
        (metrics,) = by_row[f"med, {width}"].metrics.values()
        assert metrics == {**next(iter(sub_model.metrics.values())), "score": sub_model.score}


def test_a_file_of_both_sides_of_a_benchmark(tmp_path):
    """At the rate that is best on validation on the mean over the seeds."""
    file = tmp_path / "quality.jsonl"
    scores = {
        ("pmd", 0.1): (0.5, 0.7),
        ("pmd", 0.2): (0.8, 0.3),
        ("pykeen", 0.1): (0.2, 0.2),
        ("pykeen", 0.2): (0.4, 0.1),
    }
    noted = {
        "data": "a/umls",
        "dim": 4,
        "epochs": 7,
        "environment": {"cpu_count": 2, "device": "cpu", "processor": "p"},
    }
    lines = [
        {
            "side": side,
            "interaction": "rotate",
            "seed": seed,
            "lr": lr,
            "valid": v,
            "test": v / 2,
            "seconds": 3.0,
            **noted,
        }
        for (side, lr), valid in scores.items()
        for seed, v in enumerate(valid)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = collected([str(file)], [], "kge_quality", 100, "query")
    tests = {(e["row"], e["column"], e["seed"]): e["metrics"]["test"]["mrr"] for e in record["entries"]}
    assert tests == {
        ("RotatE", "pmd", 0): 0.25,
        ("RotatE", "pmd", 1): 0.35,
        ("RotatE", "PyKEEN", 0): 0.2,
        ("RotatE", "PyKEEN", 1): 0.05,
    }
    assert {entry["epochs"] for entry in record["epochs"]} == {"7"}
    assert record["about"]["data"] == ["umls"] and record["about"]["train_seconds"] == 12
    assert record["about"]["machines"] == ["p, 2 cores, 1 thread"]
    file.write_text("[]\n")
    with pytest.raises(PmdError, match=r"is not a file of kge_quality\.py"):
        cells_of([file])


def test_folders_that_cannot_be_read(comparison, tmp_path):
    with pytest.raises(PmdError, match="is neither a run nor the folder of a comparison"):
        cells_of([tmp_path])
    with pytest.raises(PmdError, match=r"are both .*of seed 0; leave one out"):
        cells_of([comparison, comparison])
    out = tmp_path / "out"
    shutil.copytree(comparison, out)
    shutil.rmtree(out / "seed1" / "alone" / "ranks")
    with pytest.raises(PmdError, match=r"no ranks of train by query; make them: pmd evaluate .*--keep_ranks true"):
        collected([str(out)], ["alone"], None, 100, "query")
    with pytest.raises(PmdError, match=r"there is no row 'alon'; .*did you mean.*alone"):
        collected([str(out)], ["alon"], None, 100, "query")
    assert lineage(Run(out / "seed0" / "lkd__one_by_one"))["grade1"] == "3 + 2 + 2, by grade2"  # moved with its teacher
    with pytest.raises(PmdError, match="name two"):
        results(["paired", str(out), "--rows=[alone]"], "pmd results")
    with pytest.raises(PmdError, match="--samples: 10 give no interval"):
        results(["paired", str(out), "--rows=[alone, alone]", "--samples=10"], "pmd results")


def test_what_a_comparison_lacks_is_named(comparison, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(comparison, out)
    (out / "results.json").unlink()
    with pytest.raises(PmdError, match=r"out/results\.json' is missing, .*; repeat `pmd table compare`"):
        cells_of([out])
    run = out / "seed0" / "alone"
    (run / "results.json").unlink()
    with pytest.raises(PmdError, match=r"alone' has no finished stage \('.*alone/results\.json' is missing\); let its"):
        cells_of([run])


def test_columns_that_a_row_has_of_some_seeds_are_named():
    row = {"group": "", "row": "a"}
    entries = [{**row, "column": column, "seed": seed} for column, seed in (("x", 0), ("x", 1), ("y", 0))]
    entries += [{**row, "row": "b", "column": "x", "seed": 0}]  # a row that another seed has not is one of fewer seeds
    assert unfinished(entries) == ["y of 'a', seed 1"]


def test_commands_and_machines_in_words():
    command = "python scripts/med.py --config configs/med/t.yaml --base.data.path=/a/b/umls --out '/x y/z' --s '[0,1]'"
    shown = "python scripts/med.py --config configs/med/t.yaml --base.data.path=DIR/umls --out DIR/z --s '[0,1]'"
    assert shown_command(command) == shown
    assert shown_command("pmd train --config /a/b/pmd/configs/kge/x.yaml") == "pmd train --config configs/kge/x.yaml"
    assert shown_command("pmd glue --models '[/a/b/c, d/e, /f]'") == "pmd glue --models '[DIR/c, d/e, /f]'"
    gpu = {"processor": "p", "cpu_count": 16, "device": "cuda:0", "device_name": "a GPU", "processes": 2}
    assert machine_text({**gpu, "precision": "bf16"}) == "p, 16 cores, a GPU, 2 processes, bf16"
    old = {"platform": "Linux", "cpu_count": 2, "device": "cpu", "threads": 2}
    assert machine_text(old) == "Linux, 2 cores, 2 threads"


def test_the_pages_of_the_docs_are_as_their_data_say():
    pages = {page: page.read_text(encoding="utf-8") for page in DOCS.glob("*.md")}
    assert {page.name for page in pages} >= {"pmd.md", "med.md", "dualde.md", "glue.md", "embeddings.md"}
    for page, text in pages.items():
        assert rendered(text, DOCS / "data") == text, f"{page} is out of date: pmd results render"
    shown_names = {name for text in pages.values() for name in records_shown(text)}
    assert shown_names == {file.stem for file in (DOCS / "data").glob("*.json")}

"""A run as a page: its numbers, its two forms, and that it needs nothing beside it."""

import functools
import html
import json
import re
import shlex
import shutil
from base64 import b64decode
from dataclasses import asdict
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import torch

import pmd
from pmd.cli.commands import COMMANDS
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.evaluation.retention import retained, retention_ratio
from pmd.evaluation.tables import Strong, Table, stored_tables, write_tables
from pmd.evaluation.width_ranking import AtWidth, ranks_widths
from pmd.models.kge import folder as kge
from pmd.reports.page import as_markdown, block_markdown, escaped
from pmd.reports.ranking import varied
from pmd.reports.record import gradient_norms, read_metrics, terms

from ..markdown import tables_of
from ..tiny_glue import write_bert, write_task

glue_command = COMMANDS["glue"]
progressive_command = COMMANDS["progressive"]
report_command = COMMANDS["report"]
train_command = COMMANDS["train"]

ODD = "Fin & <b>land|*1*"
SMALL = [
    "--train.epochs=3",
    "--train.batch_size=16",
    "--train.log_every=1",
    "--train.valid_every=1",
    "--train.threads=1",
]
KGE = [*SMALL, "--model.dim=8", "--train.lr=0.05", "--loss.negatives=4"]
TEXT = [
    *SMALL,
    "--encoder.layers=2",
    "--encoder.hidden_size=16",
    "--encoder.heads=2",
    "--encoder.intermediate_size=32",
    "--encoder.vocab_size=300",
    "--encoder.max_length=24",
    "--train.epochs=1",
    "--distill.epochs=1",
    "--train.lr=3e-3",
]
QUICK = ["--latency_rounds=2", "--threads=1", "--min_queries=2"]


class Page(HTMLParser):
    """The tables of a page as lists of cells, with their captions, and its visible text."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.captions, self.text, self.cell, self.in_caption = [], [], [], None, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.cell = ""
        elif tag == "figcaption":
            self.in_caption = True
            self.captions.append("")

    def handle_endtag(self, tag):
        if tag in ("th", "td"):
            self.tables[-1][-1].append(self.cell)
            self.cell = None
        elif tag == "figcaption":
            self.in_caption = False

    def handle_data(self, text):
        self.text.append(text)
        if self.cell is not None:
            self.cell += text
        if self.in_caption:
            self.captions[-1] += text

    def rows(self, *header):
        """The rows of the first table whose columns begin so."""
        found = next(table for table in self.tables if tuple(table[0][: len(header)]) == header)
        return {row[0]: dict(zip(found[0], row)) for row in found[1:]}


def reported(run, *more, name="report"):
    report_command([str(run), *QUICK, f"--out={run}/{name}.html", *more])
    text = (run / f"{name}.html").read_text()
    return SimpleNamespace(html=text, page=Page(text), markdown=(run / f"{name}.md").read_text())


report_of = functools.cache(reported)
"""The page of a run that no test changes."""


@pytest.fixture(scope="module")
def graph_folder(folder, tmp_path_factory):
    """The towns; a country of an odd name."""
    place = tmp_path_factory.mktemp("odd") / "towns"
    shutil.copytree(folder, place)
    names = (place / "entities.tsv").read_text().replace("\tFinland\t", f"\t{ODD}\t")
    (place / "entities.tsv").write_text(names)
    return place


@pytest.fixture(scope="module")
def runs(graph_folder, tmp_path_factory):
    """A function: the run of a kind, trained when it is first asked for."""
    place, made = tmp_path_factory.mktemp("runs"), {}
    (place / "empty.yaml").write_text("{}")
    shared = [f"--data.path={graph_folder}", f"--runs={place}"]
    text = [f"--config={place}/empty.yaml", *TEXT, *shared, f"--data.cache={place}/cache"]

    def glue(name):
        write_bert(place / "bert")
        write_task(place / "glue" / "RTE", "RTE")
        values = {
            "task": "rte",
            "data.path": place / "glue",
            "data.cache": place / "cache",
            "model.name": place / "bert",
        }
        values |= {"model.widths": [8, 16, 32], "model.max_length": 24, "train.batch_size": 8, "train.lr": 0.003}
        values |= {"train.epochs": 1, "train.threads": 1, "evaluation.speed_rounds": 1, "runs": place, "name": name}
        glue_command([f"--config={place}/empty.yaml", *(f"--{key}={value}" for key, value in values.items())])

    makers = {
        "croppable": lambda name: train_command([*KGE, *shared, f"--name={name}", "--model.widths=[2,4,8]"]),
        "dual": lambda name: train_command([*KGE, *shared, f"--name={name}", "--dual.students=[4]"]),
        "text": lambda name: progressive_command([*text, f"--name={name}"]),
        "textwidths": lambda name: progressive_command([*text, f"--name={name}", "--encoder.widths=[8,16]"]),
        "glue": glue,
    }

    def run(kind):
        if kind not in made:
            makers[kind](kind)
            (made[kind],) = place.glob(f"{kind}-*")
        return made[kind]

    return run


def slow_ranks(scorer, graph):
    """Filtered realistic ranks of both sides of every test triple, one by one: {(row, target): rank}."""
    known = {tuple(triple) for triple in graph.known_triples("test").tolist()}
    found = {}
    for row, (head, relation, tail) in enumerate(graph.test.tolist()):
        for target in ("head", "tail"):
            with torch.no_grad():
                scores = scorer.score_all(torch.tensor([[head, relation, tail]]), target)[0].tolist()
            true = head if target == "head" else tail
            above = ties = 0
            for entity, score in enumerate(scores):
                triple = (entity, relation, tail) if target == "head" else (head, relation, entity)
                if entity != true and triple not in known:
                    above += score > scores[true]
                    ties += score == scores[true]
            found[row, target] = 1 + above + ties / 2
    return found


@pytest.mark.parametrize(("kind", "stage"), [("croppable", "rotate"), ("dual", "taught-4"), ("text", "grade1")])
def test_the_numbers_of_the_page(kind, stage, runs, graph_folder):
    run = runs(kind)
    page = report_of(run).page
    results = json.loads((run / "results.json").read_text())
    metrics = results[stage]["metrics"]["test"]
    row = page.rows("grade" if kind == "text" else "model", "layers" if kind == "text" else "dim")[stage]
    assert (row["parameters"], row["MRR"]) == (f"{results[stage]['parameters']:,}", f"{metrics['mrr']:.3f}")
    assert (row["Hits@10"], row["MR"]) == (f"{metrics['hits_at_10']:.3f}", f"{metrics['mr']:.1f}")
    sides = page.rows("model", "MRR", "MRR, head")[stage]
    assert (
        sides["MRR, head"] == f"{metrics['head']['mrr']:.3f}" and sides["MRR, tail"] == f"{metrics['tail']['mrr']:.3f}"
    )
    graph = pmd.load_graph(str(graph_folder))
    ranks = slow_ranks(pmd.load_scorer(run / stage, graph), graph)
    relations = page.rows("relation", "queries")
    assert len(relations) == len(set(graph.test[:, 1].tolist()))
    for place, name in enumerate(graph.relation_names):
        own = {key: rank for key, rank in ranks.items() if graph.test[key[0], 1] == place}
        if own:
            mrr = sum(1 / rank for rank in own.values()) / len(own)
            heads = [1 / rank for (_, target), rank in own.items() if target == "head"]
            assert relations[name]["queries"] == str(len(own))
            assert relations[name][f"MRR, {stage}"] == f"{mrr:.3f}"
            assert relations[name]["MRR, head"] == f"{sum(heads) / len(heads):.3f}"


@pytest.mark.parametrize(("kind", "stage"), [("croppable", "rotate"), ("textwidths", "grade1")])
def test_widths_and_retention(kind, stage, runs, graph_folder):
    run = runs(kind)
    page = report_of(run).page
    widths = json.loads((run / "results.json").read_text())[stage]["widths"]["test"]
    row = page.rows(*(["model"] if kind == "croppable" else ["grade", "layers"]), *widths)[stage]
    assert {width: row[width] for width in widths} == {width: f"{of['mrr']:.3f}" for width, of in widths.items()}
    graph = pmd.load_graph(str(graph_folder))
    scorer = pmd.load_scorer(run / stage, graph)
    if kind == "croppable":
        ranks = ranks_widths(scorer, graph, "test")
    else:
        ranks = {width: pmd.ranks(AtWidth(scorer, width), graph, "test") for width in scorer.widths}
    ranks = {width: of.realistic for width, of in ranks.items()}
    row = page.rows("model", "all")[stage]
    assert row["all"] == f"{retention_ratio(retained(ranks).values()):.3f}"
    for width, (answered, kept) in [*retained(ranks).items()][:-1]:
        assert row[f"from {width}"] == (f"{kept / answered:.3f}" if answered else "")


def test_examples_are_the_models_own_answers(runs, graph_folder):
    page = report_of(runs("croppable")).page
    graph = pmd.load_graph(str(graph_folder))
    scorer = pmd.load_scorer(runs("croppable") / "rotate", graph)
    known = {tuple(triple) for triple in graph.known_triples("test").tolist()}
    ranks, queries = slow_ranks(scorer, graph), {}
    for row, (head, relation, tail) in enumerate(graph.test.tolist()):
        for target, true in (("head", head), ("tail", tail)):
            ends = [
                "?" if side == target else graph.entity_names[end] for side, end in (("head", head), ("tail", tail))
            ]
            with torch.no_grad():
                order = scorer.score_all(graph.test[row : row + 1], target)[0].argsort(descending=True, stable=True)[:3]
            first = []
            for entity in order.tolist():
                triple = (entity, relation, tail) if target == "head" else (head, relation, entity)
                marked = entity != true and triple in known
                first.append(graph.entity_names[entity] + " (known)" * marked)
            query = f"({ends[0]}, {graph.relation_names[relation]}, {ends[1]})"
            queries[query, graph.entity_names[true]] = [f"{ranks[row, target]:,.10g}", *first]
    tables = [table for table in page.tables if table[0][0] == "query"]
    assert len(tables) == 2
    for table in tables:
        for query, wanted, *rest in table[1:]:
            assert rest == queries[query, wanted]
    right, wrong = ([row[2] for row in table[1:]] for table in tables)
    assert set(right) == {"1"} and float(wrong[0]) == max(ranks.values())


def test_the_command_beside_the_examples_answers(runs, capsys):
    written = report_of(runs("croppable"))
    (command,) = (line for line in written.markdown.splitlines() if line.startswith("pmd answer"))
    shown = next(table for table in written.page.tables if table[0][0] == "query")[1]
    capsys.readouterr()
    words = shlex.split(command)
    assert words[2] == str(runs("croppable") / "rotate")
    dispatch(words[1:])
    assert shown[1] in capsys.readouterr().out


RUNS = ["croppable", "dual", "text", "textwidths", "glue", "table"]


@pytest.mark.parametrize("kind", RUNS)
def test_every_kind_of_run(kind, runs, table):
    """Both forms hold the same tables, and the page needs nothing beside it."""
    run = table.out if kind == "table" else runs(kind)
    found = report_of(run)
    assert not re.search(r"https?://|<script|<link|<iframe|@import|url\(", found.html)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in re.findall(r'\bsrc="([^"]*)"', found.html))
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', found.html))
    ids = re.findall(r'\bid="([^"]*)"', found.html)
    assert len(ids) == len(set(ids)) and set(re.findall(r'href="#([^"]*)"', found.html)) <= set(ids)
    pictures = [b64decode(picture) for picture in re.findall(r"base64,([^\"]*)", found.html)]
    assert pictures == [(run / file).read_bytes() for file in re.findall(r"\]\(<(.*?)>\)", found.markdown)]
    assert len(pictures) >= 2 and all(picture.startswith(b"<?xml") for picture in pictures)
    tables = tables_of(re.sub(r"```.*?```", "", found.markdown, flags=re.DOTALL))
    assert len(tables) >= 2
    assert tables == [
        [[escaped(cell).replace(r"\|", "|") for cell in row] for row in table] for table in found.page.tables
    ]
    if kind != "table":
        lines = read_metrics(run)[0]
        for term, by_stage in terms(lines).items():
            several = sum(map(len, by_stage.values())) > 1  # a single point is no picture
            assert any(f"{term} by step" in caption.lower() for caption in found.page.captions) == several, term
        assert any(caption.startswith("Validation") for caption in found.page.captions)
        assert (
            f"pmd {'glue' if kind == 'glue' else 'progressive' if 'text' in kind else 'train'} --config" in found.html
        )


def test_a_table_of_methods_and_a_glue_run_show_what_their_recipes_wrote(runs, table):
    for run in (table.out, runs("glue")):
        tables = report_of(run).page.tables
        assert all(table in tables for table in tables_of((run / "table.md").read_text()))
    assert "majority class: every example answered" in report_of(runs("glue")).html
    assert "<strong>" in report_of(table.out).html


def test_a_comparison_of_an_older_version_is_shown_as_it_was_written(table, tmp_path):
    for name in ("results.json", "table.md"):
        shutil.copy(table.out / name, tmp_path)
    found = reported(tmp_path)
    written = (tmp_path / "table.md").read_text().strip()
    assert written in html.unescape(found.html) and written in found.markdown
    assert "repeat its command, which trains nothing again" in "".join(found.page.text)


def test_captions_and_notes_of_tables_are_kept(tmp_path):
    table = Table(("a", "b"), [["x", Strong("1")]], "above", notes=["† none.", "k of n"])
    write_tables(tmp_path, {}, [table])
    (kept,) = stored_tables(tmp_path)
    assert asdict(kept) == {**asdict(table), "columns": ["a", "b"], "left": []} and isinstance(kept.rows[0][1], Strong)
    assert (tmp_path / "table.md").read_text().split("\n\n")[::2] == ["above", "† none."]
    assert stored_tables(tmp_path / "none") == []


def test_odd_names_are_written_as_they_are(runs):
    found = report_of(runs("croppable"))
    for table in found.page.tables:
        assert not any("<b>" in cell and ODD not in cell for row in table for cell in row)
    assert "<b>" not in found.html and "<b>" not in found.markdown
    assert escaped(ODD) == r"Fin &amp; &lt;b&gt;land\|\*1\*"
    text = block_markdown(Table(("name", "MRR"), [[ODD, Strong("0.1")]]), runs("croppable"))
    assert text.splitlines()[-1].replace(" ", "") == r"|Fin&amp;&lt;b&gt;land\|\*1\*|**0.1**|"
    assert as_markdown("a_b *c*", [], runs("croppable")) == "# a_b \\*c\\*\n"


def test_what_is_measured_is_kept(runs, tmp_path, monkeypatch):
    run = tmp_path / "copy"
    shutil.copytree(runs("croppable"), run, ignore=shutil.ignore_patterns("report*"))
    first = reported(run)

    def never(*arguments, **options):
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr("pmd.reports.ranking.details", never)
        patch.setattr("pmd.reports.ranking.milliseconds", never)
        patch.setattr("pmd.data.graphs.sources.read_graph", never)
        assert reported(run).html == first.html
        report_command([str(run), "--latency_rounds=0", "--min_queries=2"])
        assert "milliseconds" in first.html and "milliseconds" not in (run / "report.html").read_text()
        with pytest.raises(AssertionError, match="measured again"):
            reported(run, "--fresh=true")
    (run / "report" / "measured.json").write_text("{")  # broken: measured anew
    assert "Relations" in reported(run).html
    # Another model in the place of the first: it is ranked, and the page says that it is not what the run noted.
    other = pmd.load(run / "rotate")
    for parameter in other.model.parameters():
        torch.nn.init.normal_(parameter)
    kge.save(tmp_path / "other", other.model, kge.load_vocabulary(run / "rotate"))
    shutil.rmtree(run / "rotate")
    shutil.move(tmp_path / "other", run / "rotate")
    again = reported(run)
    ranked = pmd.rank(other.model, pmd.load_graph(read_path(run)), "test").mrr
    assert f"Ranked again, rotate has an MRR of {ranked:.4f}" in "".join(again.page.text)


def read_path(run):
    return re.search(r"path: (.*)", (run / "config.yaml").read_text())[1]


def test_nothing_is_ranked_where_it_need_not_be(runs, tmp_path):
    run = tmp_path / "copy"
    shutil.copytree(runs("dual"), run, ignore=shutil.ignore_patterns("report*"))
    page = reported(run, "--rank=false").page
    assert not any(table[0][0] in ("relation", "query") for table in page.tables)
    assert [*page.rows("model", "dim")] == ["teacher", "alone-4", "first-4", "taught-4"]
    assert not (run / "report" / "measured.json").exists()


def test_the_graph_of_a_run_may_be_gone_or_changed(runs, graph_folder, tmp_path):
    run, moved = tmp_path / "copy", tmp_path / "graph"
    shutil.copytree(runs("croppable"), run, ignore=shutil.ignore_patterns("report*"))
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(read_path(run), str(moved)))
    (run / "env.json").unlink()  # which notes the place as well
    text = "".join(reported(run).page.text)
    assert "The graph of this run cannot be read:" in text and "is left out" in text
    shutil.copytree(graph_folder, moved)
    (moved / "test.tsv").write_text((graph_folder / "test.tsv").read_text().splitlines()[0] + "\n")
    found = reported(run)
    assert "The graph has changed since this run." in "".join(found.page.text)
    assert not any(table[0][0] == "relation" for table in found.page.tables)
    assert "rotate" in found.page.rows("model", "dim")


def test_a_run_that_was_cut_off(runs, tmp_path):
    run = tmp_path / "cut"
    shutil.copytree(runs("dual"), run, ignore=shutil.ignore_patterns("report*", "table.md"))
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({"teacher": results["teacher"]}))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([*lines, '{"stage": "taught-4", "ep']))
    page = reported(run).page
    text = "".join(page.text)
    assert "under way, or was interrupted: finished stages: teacher." in text
    assert f"pmd train --resume {run}" in text
    assert f"metrics.jsonl: line {len(lines) + 1} cannot be read and is left out." in text
    assert [*page.rows("model", "dim")] == ["teacher"] and "relation" in [table[0][0] for table in page.tables]
    (run / "results.json").unlink()
    (run / "metrics.jsonl").unlink()
    assert "No stage is finished yet." in "".join(reported(run).page.text)


def test_several_runs_on_one_page(runs, table, tmp_path):
    out = tmp_path / "all.html"
    dispatch(["report", str(runs("croppable")), str(runs("text")), str(table.out), f"--out={out}", *QUICK])
    page = Page(out.read_text())
    assert page.tables[0][0][:3] == ["run", "model", "ranked"]
    named = {}
    for run in (runs("croppable"), runs("text")):
        for stage, result in json.loads((run / "results.json").read_text()).items():
            named[run.name, stage] = f"{result['metrics']['test']['mrr']:.3f}"
    assert {(row[0], row[1]): row[4] for row in page.tables[0][1:]} == named
    assert page.tables[1][1:] == [[table.out.name, "A comparison of several runs"]]
    best = max(named.values())
    assert f"<strong>{best}</strong>" in out.read_text()
    of_best = next(run for (run, _), mrr in named.items() if mrr == best)
    assert f"The best model is in the run {of_best}. " in out.read_text()
    assert (tmp_path / "all.md").is_file() and (tmp_path / "all" / "run2-term-ce-1.svg").is_file()


def test_stages_are_chosen(runs):
    page = reported(runs("dual"), "--stages=[alone-4]", name="alone").page
    assert next(iter(page.rows("relation", "queries").values())).keys() >= {"MRR, alone-4"}
    with pytest.raises(PmdError, match="has no finished stage 'alone'; there are teacher, alone-4, first-4, taught-4"):
        reported(runs("dual"), "--stages=[alone]")


def test_what_is_no_run_is_refused(runs, tmp_path):
    with pytest.raises(PmdError, match="--run: no folder 'nowhere'; give a run folder"):
        report_command(["nowhere"])
    with pytest.raises(PmdError, match=r"is no run folder \(it has no config.yaml\)"):
        report_command([str(tmp_path)])
    with pytest.raises(PmdError, match=f"is a stage of a run; give the run: {runs('dual')}"):
        report_command([str(runs("dual") / "teacher")])
    with pytest.raises(PmdError, match=r"--out: '.*page.pdf' is no page; end it with .html"):
        report_command([str(runs("dual")), f"--out={tmp_path}/page.pdf"])
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(PmdError, match=r"results.json' cannot be read"):
        report_command([str(tmp_path)])
    (tmp_path / "config.yaml").write_text("a: [")
    (tmp_path / "results.json").unlink()
    with pytest.raises(PmdError, match=r"config.yaml', line 1: .*; restore it"):
        report_command([str(tmp_path)])


def test_examples_are_of_as_many_kinds_as_possible():
    queries = [("head", 0), ("head", 1), ("tail", 2), ("head", 3), ("tail", 4)]
    assert varied(queries, lambda query: query[0], 3) == [("head", 0), ("tail", 2), ("head", 1)]


def test_lines_that_are_no_metrics_are_named(tmp_path):
    good = {"stage": "a", "epoch": 0, "step": 1, "loss": 2.0, "lr": 0.1, "seconds": 3, "ce": 2.0}
    rows = [json.dumps(good), "{", "[1]", '{"stage": "a"}', json.dumps({**good, "loss": 1.5}), "\xff"]
    (tmp_path / "metrics.jsonl").write_bytes("\n".join(rows).encode("latin-1"))
    lines, broken = read_metrics(tmp_path)
    assert broken == [2, 3, 4, 6] and len(lines) == 2
    assert terms(lines) == {"loss": {"a": {1: 1.5}}, "ce": {"a": {1: 2.0}}}


def test_norms_of_gradients_have_pictures_of_their_own(runs, tmp_path):
    """One of each stage, and they are not taken for terms of the loss."""
    run = shutil.copytree(runs("text"), tmp_path / "run")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if "loss" in line:
            line |= {"grad_ce": 2.0 / line["step"], "grad_score": 0.0}
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert terms(lines) == terms(read_metrics(runs("text"))[0])
    stages = [*dict.fromkeys(line["stage"] for line in lines)]
    logged = {line["step"]: 2.0 / line["step"] for line in lines if line["stage"] == stages[0] and "loss" in line}
    assert gradient_norms(lines)[stages[0]] == {"ce": logged, "score": dict.fromkeys(logged, 0.0)}
    captions = reported(run, name="norms").page.captions
    assert [f"Gradients of the weighted terms of {stage} by step" for stage in stages] == [
        caption for caption in captions if "radient" in caption
    ]
    assert not any("term grad" in caption for caption in captions)


def test_captions_are_labels(runs):
    """Who cannot see a picture hears its caption."""
    found = report_of(runs("croppable"))
    labels = [html.unescape(label) for label in re.findall(r'<img alt="([^"]*)"', found.html)]
    assert len(labels) == found.html.count("<img") and set(labels) <= set(found.page.captions)

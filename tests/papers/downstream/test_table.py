"""Table 5 end to end: one command, its rows and columns, goes on where it stopped."""

import json
import shutil

import pytest
import torch

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.papers.downstream import table as recipe
from pmd.papers.downstream.labelling import LabellingConfig, prefix_labels, train_labelling
from pmd.settings.parsing.config_files import CONFIGS
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.kge import resolve_kge_stages

downstream_command = COMMANDS["table"]["downstream"]

TINY = [
    "--base.model.dim=8",
    "--base.model.widths=[2,4,8]",
    "--base.train.epochs=2",
    "--base.train.threads=1",
    "--base.loss.negatives=4",
    "--seeds=[0,1]",
    "--ncf.epochs=2",
    "--ncf.weight_decay=[1e-5]",
    "--labelling.epochs=5",
    "--labelling.l2=[0.01]",
]
SHOP = [*TINY, "--shop.users=60", "--shop.items=40", "--shop.groups=3"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("downstream")
    downstream_command([*SHOP, f"--out={out}", "--methods=[pca,ext,dualde]"])
    return out


def test_every_row_and_width_is_there(out):
    found = json.loads((out / "results.json").read_text())
    every, narrow = {"2", "4", "8"}, {"2", "4"}
    widths = {"dt": every, "pca": narrow, "ext": narrow, "dualde": narrow, "best": every}
    for task, expected in (("labelling", widths), ("recommendation", {"none": {""}, **widths})):
        cells = found["results"][task]
        assert {row: {*of} for row, of in cells.items()} == expected
        assert all(len(seeds) == 2 for of in cells.values() for seeds in of.values())
    assert found["results"]["recommendation"]["dt"]["2"] != found["results"]["recommendation"]["dt"]["4"]


def test_the_table_shows_means_and_spread(out):
    found = json.loads((out / "results.json").read_text())["results"]
    tables = (out / "table.md").read_text().split("\n\n")
    assert tables[0::2] == [
        "labelling, transe, accuracy by width",
        "labelling, transe, f1 by width",
        "recommendation, transe, ndcg@5 by width",
        "recommendation, transe, ndcg@10 by width",
    ]
    labelling, recommendation = (
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        for table in (tables[1], tables[7])
    )
    assert labelling[0] == ["method", "2", "4", "8", "training (s)"]
    assert [line[0] for line in labelling[2:]] == ["DT", "PCA", "Ext", "DualDE", "best"]
    values = [seed["test"]["accuracy"] for seed in found["labelling"]["dt"]["4"]]
    assert labelling[2][2].strip("*").startswith(f"{sum(values) / 2:.3f} ± ")
    assert labelling[3][3] == "" and recommendation[2][0] == "no embedding"
    assert len({cell.strip("*") for cell in recommendation[2][1:4]}) == 1  # no width: the same everywhere
    for column, width in enumerate(("2", "4", "8"), start=1):
        means = {line[0]: float(line[column].strip("*").split()[0]) for line in recommendation[2:] if line[column]}
        bold = [line[0] for line in recommendation[2:] if line[column].startswith("**")]
        assert bold and all(means[row] == max(means.values()) for row in bold), width


def test_training_counts_all_that_a_row_needs(out):
    seconds = json.loads((out / "results.json").read_text())["seconds"]
    for seed in (0, 1):
        stages = json.loads((out / f"seed{seed}" / "main" / "results.json").read_text())
        took = {name: stage.get("train_seconds", 0) for name, stage in stages.items()}
        assert seconds["dt"][seed] == pytest.approx(took["dt-2"] + took["dt-4"] + took["dt-8"])
        assert seconds["pca"][seed] == seconds["ext"][seed] == took["dt-8"] > 0
        both = sum(took[f"{stage}-{width}"] for stage in ("dualde_first", "dualde") for width in (2, 4))
        assert seconds["dualde"][seed] == pytest.approx(took["dt-8"] + both)
        assert seconds["best"][seed] == took["best"] > 0


def test_cells_are_what_python_gives(out, tmp_path):
    """A row of the table again, by hand: a croppable model cut to a width."""
    from pmd.papers.downstream.interactions import read_labels

    graph = pmd.load_graph(out / "shop")
    entities, labels = read_labels(graph, out / "shop" / "labels.tsv")
    model = pmd.load(out / "seed1" / "main" / "best").crop(4).model
    settings = LabellingConfig(epochs=5, l2=[0.01])
    _, metrics = train_labelling(model.entity_vectors(entities), labels, settings, seed=1)
    found = json.loads((out / "results.json").read_text())["results"]
    assert metrics == found["labelling"]["best"]["4"][1]


def test_the_same_command_goes_on(out, monkeypatch, capsys):
    options = [*SHOP, f"--out={out}", "--methods=[pca,ext,dualde]"]
    table, results = (out / "table.md").read_text(), out / "seed1" / "tasks" / "results.json"
    cells = json.loads(results.read_text())
    dropped = cells.pop("recommendation_best-2")
    results.write_text(json.dumps(cells))
    trained = []
    train = recipe.train_ncf
    monkeypatch.setattr(recipe, "train_ncf", lambda *arguments: trained.append(1) or train(*arguments))
    monkeypatch.setattr(recipe, "train_kge", lambda *arguments: pytest.fail("trained again"))
    downstream_command(options)
    assert len(trained) == 1 and json.loads(results.read_text())["recommendation_best-2"] == dropped
    assert capsys.readouterr().out.strip() == table.strip()
    with pytest.raises(PmdError, match=r"tasks'.*ncf.factors 16.*3"):
        downstream_command([*options, "--ncf.factors=3"])
    with pytest.raises(PmdError, match=r"shop'.*--shop.*--out"):
        downstream_command([*options, "--shop.seed=5"])


@pytest.mark.parametrize("name", ["labels", "interactions", "train"])
def test_cells_of_other_data_are_refused(name, out, tmp_path):
    shutil.copytree(out, tmp_path / "copy")
    file = tmp_path / "copy" / "shop" / f"{name}.tsv"
    lines = file.read_text().splitlines(keepends=True)
    changed = {"labels": lines[0].replace("group", "gruop"), "interactions": "", "train": ""}[name]  # one is dropped
    file.write_text(changed + "".join(lines[1:]))
    shop = tmp_path / "shop"
    (tmp_path / "copy" / "shop").rename(shop)  # a folder of one's own: a drawn one is compared with what is drawn
    for seed in (0, 1):
        for place in (tmp_path / "copy" / f"seed{seed}").glob("*/config.yaml"):
            place.write_text(
                place.read_text().replace(str(out / "shop"), str(shop)).replace(str(out), f"{tmp_path}/copy")
            )
    options = [*TINY, f"--out={tmp_path}/copy", f"--base.data.path={shop}", "--methods=[pca,ext,dualde]"]
    said = rf"seed0/tasks'.*checksums.{name} '\w{{12}}'.*'\w{{12}}'"
    with pytest.raises(PmdError, match=r"seed0/main' was run on other data" if name == "train" else said):
        downstream_command(options)


def test_rows_whose_names_look_like_widths(out, tmp_path):
    """A croppable row may be called like the width of another."""
    graph, entities = pmd.load_graph(out / "shop"), torch.arange(9)
    main = out / "seed0" / "main"
    (tmp_path / "main").mkdir()
    for name, source in {"best": "best", "best-4": "dt-8", "dt-8": "dt-8", "dt-4": "dt-4"}.items():
        shutil.copytree(main / source, tmp_path / "main" / name)
    for row, width, source in (("best", 4, "best"), ("best-4", 4, "dt-8"), ("dt", 4, "dt-4"), ("dt", 8, "dt-8")):
        found = recipe.features_of(tmp_path, graph, row, width, [2, 4, 8])(entities)
        assert torch.equal(found, pmd.load(main / source).model.entity_vectors(entities, width)), row


def test_world_is_labelled_by_its_prefixes(tmp_path, capsys):
    more = ["--base.train.epochs=20", "--base.train.lr=0.05", "--labelling.epochs=30", "--seeds=[0]", "--methods=[]"]
    downstream_command([*TINY, "--base.data.path=world", f"--out={tmp_path}", *more])
    said = capsys.readouterr()
    assert "labelling: fewer than 10 entities, left out: region (5)" in said.err
    assert "recommendation" not in said.out
    found = json.loads((tmp_path / "results.json").read_text())["results"]["labelling"]
    most = max(prefix_labels(pmd.load_graph("world"))[1].count(kind) for kind in ("language", "zone")) / 1882
    assert found["best"]["8"][0]["test"]["accuracy"] > most + 0.1  # always the largest class


@pytest.mark.parametrize("name", ["shop", "world"])
def test_configs_can_run(name):
    path = CONFIGS / "downstream" / f"{name}.yaml"
    config = read_config(recipe.DownstreamConfig, ["--config", str(path)])
    stages = {stage.name: stage.lr for stage in resolve_kge_stages(recipe.run_settings(config))}
    assert config.base.data.path == name and config.seeds == [0, 1, 2]
    assert (stages["dt-4"], stages["dualde-4"]) == (0.1, 0.1) and stages["croppable"] == stages[
        "dt-64"
    ] == config.base.train.lr


def test_the_papers_widths():
    config = read_config(recipe.DownstreamConfig, ["--config", "downstream/shop_paper"])
    stages = {stage.name: stage for stage in resolve_kge_stages(recipe.run_settings(config))}
    assert [stages[f"dt-{width}"].dim for width in (10, 100, 500)] == [10, 100, 500]
    assert (stages["med"].med.improvement, stages["best"].med.recipe) == ("literal", "best")


def test_what_cannot_be_done_is_said(tmp_path, out, folder):
    start = [*TINY, f"--out={tmp_path}/x"]
    wide = [*SHOP, f"--out={tmp_path}/x", "--base.model.dim=128", "--base.model.widths=[2,61,128]"]
    for task in ("labelling", "recommendation"):
        with pytest.raises(PmdError, match=r"PCA: 61.*60.*128.*width"):
            downstream_command([*wide, f"--tasks=[{task}]"])
    with pytest.raises(PmdError, match=r"--shop\.items.*'world'"):
        downstream_command([*start, "--base.data.path=world", "--shop.items=40"])
    with pytest.raises(PmdError, match=r"two widths.*one seed"):
        downstream_command([*start, "--seeds=[]"])
    with pytest.raises(PmdError, match=r"--tasks: 'towns.*'.*interactions.tsv"):
        downstream_command([*start, f"--base.data.path={folder}"])
    with pytest.raises(PmdError, match="--tasks: 'world'"):
        downstream_command([*start, "--base.data.path=world", "--tasks=[recommendation]"])
    with pytest.raises(PmdError, match="--croppable: 'pca'"):
        downstream_command([*start, '--croppable=[{"name": "pca"}]'])
    with pytest.raises(PmdError, match=r"--tuned: width 3.*\[2, 4, 8\]"):
        downstream_command([*start, '--tuned=[{"width": 3}]'])
    with pytest.raises(PmdError, match=r"--croppable.*'joint'.*med\.recipe"):
        downstream_command([*start, '--croppable=[{"name": "joint"}]'])
    with pytest.raises(PmdError, match=r"ncf\.epochs: 0"):
        downstream_command([*start, "--ncf.epochs=0"])
    with pytest.raises(PmdError, match=r"labelling\.l2:"):
        downstream_command([*start, "--labelling.l2=[]"])
    with pytest.raises(PmdError, match=r"labelling\.least: 4.*5"):
        downstream_command([*start, "--labelling.least=4"])
    labels = tmp_path / "labels.tsv"
    labels.write_text("currency:EUR\tmoney\ncurrency:EURO\tmoney\n")
    with pytest.raises(PmdError, match=r"line 2: 'world'.*'currency:EURO'.*'currency:EUR"):
        downstream_command([*start, "--base.data.path=world", f"--labels={labels}"])
    broken = tmp_path / "broken"
    shutil.copytree(out / "shop", broken)
    (broken / "interactions.tsv").write_text("user:0\titem:1\n")
    with pytest.raises(PmdError, match=r"interactions.tsv, line 1: 2 columns.*3.*\(user, item, part\)"):
        downstream_command([*start, f"--base.data.path={broken}"])
    assert not [*tmp_path.glob("x/seed*")]

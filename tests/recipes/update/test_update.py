"""Models of a newer graph: the same answers as an index built afresh, rows by ids, and nothing loaded for another graph."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.models.kge.folder import load_named
from pmd.use.index import Index

from ...says import says
from ...trained import made_once
from ..test_fuse import write_parts

RUNS = ("text", "complex", "fused")


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """A run of an embedding, and one of text and structure, of random encoders, over `towns`."""

    def make(base):
        graph = pmd.load_graph(shutil.copytree(folder, base / "towns"))
        write_parts(base, graph)
        pmd.fuse(base / "text", base / "complex", base / "fused", base / "towns", threads=1)
        settings = {"model.dim": 8, "train.epochs": 3, "train.batch_size": 16, "train.threads": 1}
        trained = pmd.train(base / "towns", "fit/embedding", runs=str(base), **settings)
        shutil.move(trained.folder, base / "trained")

    base = made_once(tmp_path_factory, "updated", make)
    base = shutil.copytree(base, tmp_path_factory.mktemp("updated") / "made")
    old = pmd.load_graph(base / "towns")
    for name in ("text", "complex"):
        pmd.load(base / name, old).index  # noqa: B018
    pmd.load(base / "fused").index  # noqa: B018
    return SimpleNamespace(base=base, old=old)


@pytest.fixture
def newer(made, tmp_path):
    """A newer state: a town is gone, another is new, one has another name and one another text; entities from behind."""
    folder = shutil.copytree(made.base / "towns", tmp_path / "newer")
    rows = [line.split("\t") for line in (folder / "entities.tsv").read_text().splitlines()]
    rows = [row for row in rows if row[0] != "e40"]
    rows[0][1], rows[8][2] = "Finland the great", "a place whose text is new"
    rows.append(["e99", "Newtown", "a town that was founded last year"])
    (folder / "entities.tsv").write_text("".join("\t".join(row) + "\n" for row in rows[::-1]))
    for split in ("train", "valid", "test"):
        lines = (folder / f"{split}.tsv").read_text().splitlines()
        kept = [line for line in lines if "e40" not in line.split("\t")]
        (folder / f"{split}.tsv").write_text("".join(f"{line}\n" for line in kept))
    with open(folder / "train.tsv", "a") as file:
        file.write("e99\tr_in\te01\n")
    with open(folder / "valid.tsv", "a") as file:
        file.write("e02\tr_in\te01\n")
    return folder


def updated(made, name, newer, out, **settings):
    pmd.update(made.base / name, newer, out, threads=1, **settings)
    return out / "fused" if name == "fused" else out


@pytest.mark.parametrize("name", ["text", "fused"])
def test_an_updated_index_is_that_of_a_new_one(made, newer, tmp_path, name, capsys):
    folder, graph = updated(made, name, newer, tmp_path / "out"), pmd.load_graph(newer)
    assert "encoding 48 entities" not in capsys.readouterr().err
    fresh = shutil.copytree(folder, tmp_path / "fresh")
    for path in (fresh / "index", fresh / "manifest.json", *fresh.glob("**/entities.safetensors")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    ours, theirs = pmd.load(folder, graph).index, pmd.load(fresh, graph).index
    assert "encoding 48 entities" in capsys.readouterr().err
    assert [*ours.entities.ids] == graph.entity_ids and ours.metadata["graph"] == graph.checksum()
    for column in ("tokens", "tokens_offsets", "tail_keys", "tail_splits", "head_keys", "entity_names"):
        np.testing.assert_array_equal(ours.column(column), theirs.column(column))
    np.testing.assert_allclose(ours.vectors, theirs.vectors, atol=1e-6)
    asked = {"head": "Newtown", "relation": "lies in", "top_k": 48, "all": True}
    answers = [pmd.load(path, graph).answer(**asked) for path in (folder, fresh)]
    assert [answer.id for answer in answers[0]] == [answer.id for answer in answers[1]]
    assert next(answer for answer in answers[0] if answer.id == "e01").known == ("train",)


def test_what_was_learned_can_be_kept(made, newer, tmp_path):
    folder = updated(made, "text", newer, tmp_path / "out", keep_learned=True)
    old, now = Index(made.base / "text" / "index"), Index(folder / "index")
    assert {key: now.metadata[key] for key in ("odds", "judge", "types")} == {
        key: old.metadata[key] for key in ("odds", "judge", "types")
    }
    columns = load_file(old.folder / "columns.safetensors")
    assert all((now.column(name) == columns[name]).all() for name in columns if name.startswith("odds_"))
    afresh = pmd.load(updated(made, "text", newer, tmp_path / "afresh"))
    assert (now.column("types_weights") == afresh.index.column("types_weights")).all()
    asked = {"head": "e99", "relation": "r_in", "types": "off"}
    assert [each.id for each in pmd.load(folder).answer(**asked)] == [each.id for each in afresh.answer(**asked)]
    (newer / "relations.tsv").write_text("".join((newer / "relations.tsv").read_text().splitlines(True)[::-1]))
    with pytest.raises(PmdError, match="keep_learned: the graph has other relations now, or in another order"):
        updated(made, "text", newer, tmp_path / "other", keep_learned=True)


def test_only_texts_that_changed_are_encoded(made, newer, tmp_path):
    facts = json.loads((updated(made, "text", newer, tmp_path / "out") / "update.json").read_text())
    old, now = Index(made.base / "text" / "index"), Index(tmp_path / "out" / "index")
    before = {row.tobytes() for row in (old.texts.rows[i] for i in range(old.num_entities))}
    new = [i for i in range(now.num_entities) if now.texts.rows[i].tobytes() not in before]
    assert facts["encoded"] == len(new) < now.num_entities
    ids = {now.entities.ids[i] for i in new}
    # Changed themselves; neighbours of the renamed one, whose name stands in their texts; and the new one's neighbour.
    assert {"e00", "e08", "e99", "e06", "e07", "e01"} <= ids and "e30" not in ids


def test_rows_of_an_embedding_follow_ids(made, newer, tmp_path):
    old, old_vocabulary = load_named(made.base / "complex")
    model, vocabulary = load_named(updated(made, "complex", newer, tmp_path / "out"))
    assert [*vocabulary.entity_ids] == pmd.load_graph(newer).entity_ids
    for row, key in enumerate(vocabulary.entity_ids):
        if key != "e99":
            assert torch.equal(model.entities[row], old.entities[[*old_vocabulary.entity_ids].index(key)])
    assert torch.equal(model.relations, old.relations) and model.widths == old.widths == (2, 8)


def test_a_new_entity_is_placed_by_its_facts(made, newer, tmp_path):
    ranks = {}
    for steps in (0, 100):
        folder, graph = updated(made, "complex", newer, tmp_path / str(steps), steps=steps), pmd.load_graph(newer)
        position = graph.entity_ids.index("e99")
        fact = graph.train[(graph.train[:, 0] == position)]
        scorer = pmd.load_scorer(folder, graph)
        with torch.no_grad():
            ranks[steps] = [
                int((scorer.score_all(fact, target) >= scorer.score(fact)).sum()) for target in ("head", "tail")
            ]
    assert sum(ranks[100]) < sum(ranks[0]) and ranks[100][1] <= 2


def test_new_relations_have_no_embedding(made, newer, tmp_path):
    with open(newer / "relations.tsv", "a") as file:
        file.write("r_twin\tis twinned with\n")
    with open(newer / "train.tsv", "a") as file:
        file.write("e99\tr_twin\te06\n")
    with pytest.raises(PmdError) as error:
        updated(made, "complex", newer, tmp_path / "refused")
    assert says(str(error.value), "data.path…complex…r_twin…train anew") and not (tmp_path / "refused").exists()
    folder, graph = updated(made, "fused", newer, tmp_path / "out"), pmd.load_graph(newer)
    assert "none for 1 new relations" in (tmp_path / "out" / "table.md").read_text()
    model = pmd.load(folder)
    alone = pmd.load(folder / "text", graph)
    asked = {"head": "Newtown", "relation": "is twinned with", "top_k": 48, "types": "off"}
    assert [answer.id for answer in model.answer(**asked)] == [answer.id for answer in alone.answer(**asked)]


def test_an_embedding_is_not_loaded_for_a_newer_graph(made, newer, tmp_path):
    graph = pmd.load_graph(newer)
    with pytest.raises(PmdError, match="pmd update"):
        pmd.load_scorer(made.base / "complex", graph)
    with pytest.raises(PmdError, match="pmd update"):
        pmd.load(made.base / "complex", graph).answer(head="Newtown", relation="lies in")
    folder = updated(made, "complex", newer, tmp_path / "out")
    with pytest.raises(PmdError, match="pmd update"):
        pmd.load_scorer(folder, made.old)


def test_an_updated_run_is_used_like_any_other(made, newer, tmp_path, capsys):
    out = tmp_path / "newer-run"
    run = pmd.TrainedRun(made.base / "trained").update(newer, out, threads=1)
    stage = out / run.stages[-1]
    for name in ("results.json", "config.yaml", "table.md"):
        assert (out / name).is_file()
    facts = json.loads((out / "update.json").read_text())
    assert facts["trained_on"]["checksum"] == made.old.checksum()
    assert facts["graph"]["checksum"] == pmd.load_graph(newer).checksum() == (out / "data.sha256").read_text().strip()
    (metrics,) = pmd.evaluate(stage, evaluation={"split": "valid"})
    assert metrics.metrics.num_queries == 2 * len(pmd.load_graph(newer).valid)
    assert run.load().answer(head="Newtown", relation="lies in")[0].id
    dispatch(["crop", str(out), "--width", "4", "--out", str(tmp_path / "small")])
    assert pmd.load(tmp_path / "small").answer(head="Newtown", relation="lies in")
    dispatch(["export", str(out), "--to", "embeddings", "--out", str(tmp_path / "tables")])
    dispatch(["push", str(out), "me/towns", "--dry-run", "--out", str(tmp_path / "sent")])
    card = (tmp_path / "sent" / "README.md").read_text()
    assert "trained on an earlier state" in card
    assert "valid, when trained" in capsys.readouterr().out or "when trained" in (out / "table.md").read_text()
    again = pmd.update(out, newer, tmp_path / "again", threads=1)
    repeated = json.loads((again.folder / "update.json").read_text())
    assert repeated["trained_on"] == facts["trained_on"] and len(repeated["history"]) == 1
    assert not sum(sum(kinds.values()) for kinds in repeated["changes"].values())


def test_a_graph_that_changed_in_its_place(made, newer, tmp_path, capsys):
    """By default the newer graph is what is now in the place of the run's; the index tells what it was."""
    run = shutil.copytree(made.base / "trained", tmp_path / "run")
    place = shutil.copytree(made.base / "towns", tmp_path / "place")
    environment = json.loads((run / "env.json").read_text()) | {"data": str(place)}
    (run / "env.json").write_text(json.dumps(environment))
    shutil.rmtree(run / "complex" / "index", ignore_errors=True)
    shutil.rmtree(place)
    shutil.copytree(newer, place)
    with pytest.raises(PmdError, match=r"no index yet.*--build --data.path"):
        pmd.update(run)
    dispatch(["answer", str(run), "--build", "--data.path", str(made.base / "towns")])
    dispatch(["update", str(run), "--dry-run"])
    assert "entities" in capsys.readouterr().out and not (tmp_path / "run-updated").exists()
    result = pmd.update(run, threads=1)
    assert result.folder == tmp_path / "run-updated"
    assert result.load().index.num_entities == 48

"""Entities by type: which are drawn, where, and how well their types separate."""

import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.models.kge.folder import save
from pmd.papers.figure_types import draw_entities, embeddings, entity_types, frame, layout, purity, spaced

from ..reports.test_figure_methods import texts

figure_command = COMMANDS["figure"]


def clusters(distance, size=20):
    """Two clouds (2 · size, 3) so far apart, and which is which."""
    vectors = np.random.default_rng(0).normal(size=(2 * size, 3))
    vectors[size:] += distance
    return vectors, np.repeat(["a", "b"], size)


def test_purity_against_a_loop():
    vectors, labels = clusters(1.0)
    shares = []
    for i, vector in enumerate(vectors):
        others = [j for j in np.linalg.norm(vectors - vector, axis=1).argsort() if j != i][:10]
        shares.append(np.mean([labels[j] == labels[i] for j in others]))
    assert 0.5 < np.mean(shares) < 1
    assert purity(vectors, labels) == pytest.approx(np.mean(shares))
    assert purity(*clusters(100.0)) == 1
    assert purity(np.array([[0.0], [1.0], [3.0]]), np.array(["a", "a", "b"])) == pytest.approx(1 / 3)  # all are near


def test_types_by_id_or_file(tmp_path):
    ids = ["zone:a", "zone:b:c", "town:a", "other"]
    assert entity_types(ids, None) == ["zone", "zone", "town", None]
    file = tmp_path / "types.tsv"
    file.write_text("other\tx\ntown:a\ty\nother\tz\nunknown\tx\n")
    assert entity_types(ids, str(file)) == [None, None, "y", "x"]
    with pytest.raises(PmdError, match=r"--types:"):
        entity_types(["e1", "e2"], None)
    with pytest.raises(PmdError, match=rf"'{file}'"):
        entity_types(["town:a", "zone:a"], str(file))


def test_the_largest_types_are_drawn():
    sizes = {"a": 300, "b": 5, "c": 251, "d": 3, "e": 4}
    types = [None, *(kind for kind, size in sizes.items() for _ in range(size)), None]
    chosen, labels = draw_entities(types)
    assert {kind: (labels == kind).sum() for kind in {*labels}} == {"a": 250, "c": 250, "b": 5, "e": 4}
    assert len({*chosen}) == len(chosen) and [types[i] for i in chosen] == labels.tolist()
    assert (draw_entities(types)[0] == chosen).all()  # the same in every picture
    assert chosen[labels == "a"].max() > 250  # at random, not the first


def test_a_layout_separates_and_turns():
    vectors, labels = clusters(100.0)
    points = layout(vectors)
    assert points.shape == (40, 2) and purity(points, labels) == 1
    before = points @ np.array([[0.0, -1.0], [1.0, 0.0]])  # a quarter turn
    turned = layout(vectors, before)
    assert turned == pytest.approx(before, abs=1e-3)
    assert pdist(turned) == pytest.approx(pdist(points), rel=1e-4)  # nothing but turned


def test_every_place_is_in_its_frame():
    wide, high = np.array([[0.0, 0.0], [10.0, 2.0]]), np.array([[1.0, 0.0], [2.0, 8.0]])
    assert [*frame(wide).items()] == [("xlim", pytest.approx((-0.3, 10.3))), ("ylim", pytest.approx((-3.24, 5.24)))]
    assert frame(high) == {"xlim": pytest.approx((-3.8, 6.8)), "ylim": pytest.approx((-0.24, 8.24))}


@pytest.mark.parametrize("unit", [False, True])
def test_embeddings_are_those_that_are_compared(unit, folder, tmp_path):
    model = pmd.KgeModel("rotate", num_entities=48, num_relations=2, dim=8, unit_entities=unit)
    save(tmp_path / "model", model, pmd.load_graph(folder))
    found = embeddings(tmp_path / "model", 3, np.array([5, 0]))
    expected = model.entities[[5, 0], :, :3].flatten(1).detach()
    expected = torch.nn.functional.normalize(expected) if unit else expected
    assert found == pytest.approx(expected.numpy())


def test_widths_of_the_columns():
    assert spaced((4,)) == [4] and spaced((4, 8)) == [4, 8] and spaced(range(10, 650, 10)) == [10, 330, 640]


def shares(picture):
    """What stands under the panels, in per cent."""
    return [int(axis.get_xlabel().removeprefix("same type nearby: ").removesuffix("%")) for axis in picture.axes]


def titles(picture):
    return [axis.get_title() for axis in picture.axes]


def test_a_run_is_drawn(table, types_file, tmp_path, pictures):
    main = table.out / "seed0" / "main"
    figure_command([f"--run={main}", "--what=tsne", f"--types={types_file}", f"--out={tmp_path}/tsne.svg"])
    (picture,) = pictures
    chosen, labels = draw_entities(entity_types([f"e{i:02}" for i in range(48)], str(types_file)))
    expected = [purity(embeddings(main / "best", width, chosen), labels) for width in (2, 4, 8)]
    assert shares(picture) == [round(100 * share) for share in expected] and len(set(expected)) == 3
    assert titles(picture) == [f"best, width {width}" for width in (2, 4, 8)]
    chance = (36 / 48) ** 2 + 2 * (6 / 48) ** 2
    assert f"same type nearby: share of an entity's 10 nearest embeddings; {chance:.0%} by chance" in texts(picture)
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["town", "country", "language"]
    caption, _, header, _, row = (tmp_path / "tsne.md").read_text().splitlines()
    assert f"{chance:.0%} by chance" in caption and [c.strip() for c in header.split("|")[2:5]] == ["2", "4", "8"]
    assert [cell.strip() for cell in row.split("|")[1:5]] == ["best", *(f"{share:.3f}" for share in expected)]


def test_a_table_is_drawn(table, types_file, tmp_path, pictures):
    out = f"--out={tmp_path}/tsne.svg"
    figure_command([f"--run={table.out}", "--what=tsne", "--widths=[2,8]", f"--types={types_file}", out])
    (picture,) = pictures
    assert titles(picture) == ["best, width 2", "best, width 8", "Ext-V, width 2", "Ext-V (its teacher), width 8"]
    chosen, labels = draw_entities(entity_types([f"e{i:02}" for i in range(48)], str(types_file)))
    main = table.out / "seed0" / "main"
    models = [(main / "best", 2), (main / "best", 8), (main / "ext_v-2", 2), (main / "dt-8", 8)]
    assert shares(picture) == [round(100 * purity(embeddings(*model, chosen), labels)) for model in models]


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        ("", ["--widths=[2,5]"], r"--widths: 5.*\[2, 4, 8\]"),
        ("", ["--rows=[dualde]"], "--rows:.*'dualde'.*ext_v, bkd"),
        ("seed0/main", ["--widths=[9]"], "--widths: 9.*outside 1.*8.*width.*'best'"),
        ("seed0/main", ["--rows=[rest]"], "--rows:.*'rest'.*bkd-2"),
        ("seed0/assistants", [], "--rows:.*assistant-"),
        ("seed0", [], "pmd train.*pmd table med"),
        ("seed0/main", ["--types=none.tsv"], "none.tsv:"),
        ("seed0/main", [], "--types:"),
    ],
)
def test_what_cannot_be_drawn(run, options, message, table, tmp_path):
    with pytest.raises(PmdError, match=message):
        figure_command([f"--run={table.out / run}", "--what=tsne", f"--out={tmp_path}/tsne.svg", *options])
    assert not (tmp_path / "tsne.svg").exists()


def test_a_missing_library_is_named(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(PmdError, match=r"scikit-learn.*'pmd\[plot\]'"):
        figure_command([f"--run={table.out}", "--what=tsne"])

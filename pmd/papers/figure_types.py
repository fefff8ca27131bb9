"""Entities by type, laid out by their embeddings at several widths (Figure 7 of MED, Zhu et al., ACL 2025, Appendix E).

Of the largest types so many entities each are drawn at random, the same ones in every panel. t-SNE lays them out; what
it shows is said as a number under each panel, measured in the embedding itself and not in the picture.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes

from pmd.core.errors import PmdError
from pmd.data.graphs.tsv import read_columns
from pmd.models.kge.folder import load, load_vocabulary
from pmd.models.kge.vectors import entity_vectors
from pmd.papers.med_rows import models_of
from pmd.report.figure_methods import read_table
from pmd.report.plotting import COLOURS, figure
from pmd.settings.med_table import TITLES

TYPES, ENTITIES = 4, 250
"""The paper's: types in a picture, and entities of each, at most."""
NEIGHBOURS = 10
MARKERS = "os^D"
Models = dict[str, dict[int, Path]]
"""The folder of a model, by row and width."""


def by_type(
    folder: Path, rows: Sequence[str] | None, widths: Sequence[int] | None, types: str | None, path: Path
) -> None:
    """A panel for each row and width. PmdError where the folder has no such models, or its entities no types."""
    if importlib.util.find_spec("sklearn") is None:
        raise PmdError("this picture needs scikit-learn: pip install 'pmd[plot]'")
    table = (folder / "results.json").is_file() and not (folder / "config.yaml").is_file()
    models = (of_table if table else of_run)(folder, rows, widths)
    ids = load_vocabulary(next(iter(next(iter(models.values())).values()))).entity_ids
    chosen, labels = drawn(entity_types(ids, types))
    kinds = [kind for kind, _ in Counter(labels.tolist()).most_common()]
    columns = len(next(iter(models.values())))
    chance = sum((labels == kind).mean() ** 2 for kind in kinds)
    with figure(path, columns, rows=len(models), size=(3.8, 3.7)) as axes:
        panels = iter(axes if isinstance(axes, list) else [axes])
        for row, of_row in models.items():
            before = None
            for width, model in of_row.items():
                axis = next(panels)
                vectors = embeddings(model, width, chosen)
                before = points = layout(vectors, before)
                for kind, colour, marker in zip(kinds, COLOURS, MARKERS):
                    of_kind = points[labels == kind]
                    axis.scatter(*of_kind.T, s=14, color=colour, marker=marker, alpha=0.7, linewidth=0, label=kind)
                axis.set(xticks=[], yticks=[], aspect="equal", **frame(points))
                axis.spines[:].set(visible=True, color="#bbbbbb")
                axis.grid(visible=False)
                axis.set_title(f"{name_of(row, model)}, width {width}", fontsize=13)
                axis.set_xlabel(f"same type nearby: {purity(vectors, labels):.0%}", fontsize=12)
        picture = axis.figure
        shapes = {
            "loc": "outside upper center",
            "ncols": len(kinds),
            "fontsize": 13,
            "markerscale": 2,
            "frameon": False,
        }
        picture.legend(*axis.get_legend_handles_labels(), **shapes)
        picture.supxlabel(
            f"same type nearby: share of an entity's {NEIGHBOURS} nearest embeddings; {chance:.0%} by chance",
            fontsize=11,
        )


def of_table(folder: Path, rows: Sequence[str] | None, widths: Sequence[int] | None) -> Models:
    """Models of a folder of `pmd table med`, of its first seed; by default the paper's rows."""
    known = read_table(folder)["results"]
    columns = sorted(map(int, known["dt"]))
    croppable = [row for row in known if row not in TITLES]
    rows = rows or [row for row in (*croppable[:1], "dualde", "ext_v") if row in known]
    for row in rows:
        if row not in known:
            raise PmdError(f"--rows: '{row}' is none of {', '.join(known)}")
    widths = widths or spaced(columns)
    for width in widths:
        if width not in columns:
            raise PmdError(f"--widths: {width} is none of {columns}, the widths of '{folder}'")
    seed = min(folder.glob("seed*"), key=lambda path: int(path.name.removeprefix("seed")))
    models = {row: models_of(row, columns, seed) for row in rows}
    return {row: {width: of_row[width] for width in widths} for row, of_row in models.items()}


def of_run(folder: Path, rows: Sequence[str] | None, widths: Sequence[int] | None) -> Models:
    """Models of a run of `pmd train`; by default its croppable ones."""
    stages = sorted(path.parent for path in folder.glob("*/config.json"))
    if not stages:
        raise PmdError(f"--run: '{folder}' holds no trained model; give a folder of `pmd train` or `pmd table med`")
    known = {stage.name: load(stage) for stage in stages}
    rows = rows or [name for name, model in known.items() if len(model.widths) > 1]
    if not rows:
        raise PmdError(f"--rows: no model of '{folder}' is croppable; choose some of {', '.join(known)}")
    for row in rows:
        if row not in known:
            raise PmdError(f"--rows: '{row}' is none of {', '.join(known)}")
        for width in widths or ():
            if not 1 <= width <= known[row].dim:
                raise PmdError(f"--widths: {width} is outside 1 to {known[row].dim}, the width of '{row}'")
    widths = widths or spaced(known[rows[0]].widths)
    return {row: dict.fromkeys(widths, folder / row) for row in rows}


def name_of(row: str, model: Path) -> str:
    """What a panel is called: a method, or the teacher in its widest place."""
    teacher = model.name.startswith("dt-") and not model.name.startswith(row)
    return f"{TITLES.get(row, row)}{' (its teacher)' * teacher}"


def spaced(widths: Sequence[int]) -> list[int]:
    """The narrowest, the middle one and the widest."""
    return sorted({widths[0], widths[len(widths) // 2], widths[-1]})


def entity_types(ids: Sequence[str], file: str | None) -> list[str | None]:
    """The type of each entity, None where it is not known; of one that a file names twice, the first.

    Raises:
        PmdError: if fewer than two types are known.
    """
    if file:
        entities, kinds = read_columns(Path(file), ("entity", "type"))
        named = dict(zip(reversed(entities), reversed(kinds)))
        found = [named.get(key) for key in ids]
    else:
        found = [key.partition(":")[0] if ":" in key else None for key in ids]
    if len({*found} - {None}) < 2:
        place = f"in '{file}'" if file else "before the colon of their ids"
        raise PmdError(f"--types: the entities have no two types {place}; give a file of lines ENTITY<TAB>TYPE")
    return found


def drawn(types: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n,) of entities of the largest types, and their types (n,)."""
    random = np.random.default_rng(0)
    types = np.array([kind or "" for kind in types])
    largest = [kind for kind, _ in Counter(types[types != ""].tolist()).most_common(TYPES)]
    of_each = [random.permutation(np.flatnonzero(types == kind))[:ENTITIES] for kind in largest]
    chosen = np.concatenate(of_each)
    return chosen, types[chosen]


def embeddings(model: Path, width: int, entities: np.ndarray) -> np.ndarray:
    """(n,) positions -> (n, parts · width): the embeddings as a sub-model compares them."""
    return entity_vectors(load(model), torch.from_numpy(entities), width).numpy()


def layout(vectors: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """(n, d) embeddings -> (n, 2) places by t-SNE, turned and mirrored (it knows no directions) to lie as `before`."""
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(vectors) - 1) / 3)
    points = TSNE(perplexity=perplexity, random_state=0).fit_transform(vectors)
    points = points - points.mean(0)
    return points if before is None else points @ orthogonal_procrustes(points, before)[0]


def frame(points: np.ndarray) -> dict[str, tuple[float, float]]:
    """Limits of a panel around places (n, 2), five units wide for four high."""
    low, high = points.min(0), points.max(0)
    middle, shape = (low + high) / 2, np.array([5, 4])
    half = 0.53 * max((high - low) / shape) * shape  # a little air
    return {f"{name}lim": (middle[i] - half[i], middle[i] + half[i]) for i, name in enumerate("xy")}


def purity(vectors: np.ndarray, labels: np.ndarray) -> float:
    """The share of the nearest embeddings of an entity that are of its type, mean over entities (n, d), in [0, 1]."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(vectors) - 1)).fit(vectors)
    found = nearest.kneighbors(return_distance=False)  # (n, k), itself not among them
    return float((labels[found] == labels[:, None]).mean())

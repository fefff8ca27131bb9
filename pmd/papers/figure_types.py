"""Figure 7 of MED (Zhu et al., ACL 2025, Appendix E): entities by type, laid out by their embeddings at several widths.

An equal number of entities of each of the largest types is drawn at random, the same ones in every panel. t-SNE lays them
out; what it shows is said as a number under each panel, measured in the embedding itself and not in the picture. The
numbers stand in a table beside the picture, too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes

from pmd.core.errors import PmdError, need_package
from pmd.core.files import write_text
from pmd.data.graphs.files.tsv import read_columns
from pmd.evaluation.tables import seeds_table
from pmd.models.kge.folder import load_model, load_vocabulary
from pmd.papers.med import models_of
from pmd.reports.figure_methods import chosen, read_table
from pmd.reports.pictures import COLOURS, MARKS, figure
from pmd.settings.med_table import TITLES

TYPES, ENTITIES = 4, 250
"""The paper's: types in a picture, and entities of each, at most."""
NEIGHBOURS = 10
Models = Mapping[str, Mapping[int, Path]]
"""The folder of a model, by row and width."""


def by_type(
    folder: Path, rows: Sequence[str] | None, widths: Sequence[int] | None, types: str | None, path: Path
) -> None:
    """A panel for each row and width. PmdError where the folder has no such models, or its entities no types."""
    need_package("scikit-learn", "this picture needs", "plot", "sklearn")
    is_table = (folder / "results.json").is_file() and not (folder / "config.yaml").is_file()
    models = (models_of_table if is_table else models_of_run)(folder, rows, widths)
    panels = [(row, width, model) for row, by_width in models.items() for width, model in by_width.items()]
    positions, labels = draw_entities(entity_types(load_vocabulary(panels[0][2]).entity_ids, types))
    by_size = [name for name, _ in Counter(labels.tolist()).most_common()]
    by_chance = sum((labels == name).mean() ** 2 for name in by_size)
    with figure(path, len(panels) // len(models), rows=len(models), size=(3.8, 3.7)) as axes:
        axes = axes if isinstance(axes, list) else [axes]
        latest: dict[str, np.ndarray] = {}
        measured: dict[str, dict[int, list[float]]] = defaultdict(dict)
        for axis, (row, width, model) in zip(axes, panels):
            vectors = embeddings(model, width, positions)
            latest[row] = layout(vectors, latest.get(row))
            scatter(axis, latest[row], labels, by_size)
            axis.set_title(f"{name_of(row, model)}, width {width}", fontsize=13)
            measured[row][width] = [purity(vectors, labels)]
            axis.set_xlabel(f"same type nearby: {measured[row][width][0]:.0%}", fontsize=12)
        legend = {"ncols": len(by_size), "fontsize": 13, "markerscale": 2, "frameon": False}
        picture = axes[0].figure
        picture.get_layout_engine().set(h_pad=0.1)  # between what stands under a panel and the next one's title
        picture.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", **legend)
        note = f"same type nearby: share of an entity's {NEIGHBOURS} nearest embeddings; {by_chance:.0%} by chance"
        picture.supxlabel(note, fontsize=11)
    columns = [*dict.fromkeys(width for _, width, _ in panels)]
    table = seeds_table(["method"], columns, measured, f"{note[0].upper()}{note[1:]}.", titles=TITLES, mark_best=True)
    write_text(path.with_suffix(".md"), table.markdown() + "\n")


def scatter(axis: Any, points: np.ndarray, labels: np.ndarray, types: Sequence[str]) -> None:
    """The places (n, 2) of entities, in the colour and mark of their type."""
    for name, colour, mark in zip(types, COLOURS, MARKS):
        of_type = points[labels == name]
        axis.scatter(*of_type.T, s=14, color=colour, marker=mark, alpha=0.7, linewidth=0, label=name)
    axis.set(xticks=[], yticks=[], aspect="equal", **frame(points))
    axis.spines[:].set(visible=True, color="#bbbbbb")
    axis.grid(visible=False)


def models_of_table(folder: Path, rows: Sequence[str] | None, widths: Sequence[int] | None) -> Models:
    """Models of a folder of `pmd table med`, of its first seed; by default the paper's rows."""
    known = read_table(folder)["results"]
    columns = sorted(map(int, known["dt"]))
    croppable = [row for row in known if row not in TITLES]
    rows = [*chosen(known, rows or [row for row in (*croppable[:1], "dualde", "ext_v") if row in known])]
    unknown = next((width for width in widths or () if width not in columns), None)
    if unknown is not None:
        raise PmdError(f"--widths: {unknown} is none of {columns}, the widths of '{folder}'")
    seed = min(folder.glob("seed*"), key=lambda path: int(path.name.removeprefix("seed")))
    models = {row: models_of(row, columns, seed) for row in rows}
    return {row: {width: of_row[width] for width in widths or spaced(columns)} for row, of_row in models.items()}


def models_of_run(folder: Path, rows: Sequence[str] | None, widths: Sequence[int] | None) -> Models:
    """Models of a run of `pmd train`; by default its croppable ones."""
    stages = sorted(path.parent for path in folder.glob("*/config.json"))
    if not stages:
        raise PmdError(f"--run: '{folder}' holds no trained model; give a folder of `pmd train` or `pmd table med`")
    known = {stage.name: load_model(stage) for stage in stages}
    rows = rows or [name for name, model in known.items() if len(model.widths) > 1]
    if not rows:
        raise PmdError(f"--rows: no model of '{folder}' is croppable; choose some of {', '.join(known)}")
    for row, model in chosen(known, rows).items():
        for width in widths or ():
            if not 1 <= width <= model.dim:
                raise PmdError(f"--widths: {width} is outside 1 to {model.dim}, the width of '{row}'")
    return {row: dict.fromkeys(widths or spaced(known[rows[0]].widths), folder / row) for row in rows}


def name_of(row: str, model: Path) -> str:
    """The name of a panel: a method, or its teacher, which stands for its widest model."""
    is_teacher = model.name.startswith("dt-") and not model.name.startswith(row)
    return f"{TITLES.get(row, row)}{' (its teacher)' * is_teacher}"


def spaced(widths: Sequence[int]) -> list[int]:
    """The narrowest, the middle one and the widest."""
    return sorted({widths[0], widths[len(widths) // 2], widths[-1]})


def entity_types(ids: Sequence[str], file: str | None) -> list[str | None]:
    """The type of each entity, None where it is not known; of one that a file names twice, the first. PmdError if fewer
    than two types are known."""
    if file:
        entities, names = read_columns(Path(file), ("entity", "type"))
        type_of = dict(zip(reversed(entities), reversed(names)))
        types = [type_of.get(key) for key in ids]
    else:
        types = [key.partition(":")[0] if ":" in key else None for key in ids]
    if len({*types} - {None}) < 2:
        source = f"in '{file}'" if file else "before the colon of their ids"
        raise PmdError(f"--types: the entities have no two types {source}; give a file of lines ENTITY<TAB>TYPE")
    return types


def draw_entities(types: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n,) of entities of the largest types, and their types (n,)."""
    random = np.random.default_rng(0)
    types = np.array([name or "" for name in types])
    largest = [name for name, _ in Counter(types[types != ""].tolist()).most_common(TYPES)]
    positions = np.concatenate([random.permutation(np.flatnonzero(types == name))[:ENTITIES] for name in largest])
    return positions, types[positions]


def embeddings(model: Path, width: int, entities: np.ndarray) -> np.ndarray:
    """(n,) positions -> (n, parts · width): the embeddings as a sub-model compares them."""
    return load_model(model).entity_vectors(torch.from_numpy(entities), width).numpy()


def layout(vectors: np.ndarray, previous: np.ndarray | None = None) -> np.ndarray:
    """(n, d) embeddings -> (n, 2) places by t-SNE, which knows no directions: turned and mirrored to match `previous`."""
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(vectors) - 1) / 3)
    points = TSNE(perplexity=perplexity, random_state=0).fit_transform(vectors)
    points = points - points.mean(0)
    return points if previous is None else points @ orthogonal_procrustes(points, previous)[0]


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
    neighbours = nearest.kneighbors(return_distance=False)  # (n, k), the entity itself is not among them
    return float((labels[neighbours] == labels[:, None]).mean())

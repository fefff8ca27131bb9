"""`pmd shrink`: the table and the picture of all candidates, and what the model that was written keeps."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pmd.core.files import write_text
from pmd.evaluation.tables import Strong, Table, joined
from pmd.recipes.shrink.candidates import Candidate, Shrunk, front
from pmd.recipes.shrink.measure import measure_and_write
from pmd.reports.shrink_picture import COSTS, picture
from pmd.settings.shrink import ShrinkConfig

COLUMNS = ("model", "layers", "width", "encoders", "vectors", "MB", "ms", "MRR, valid", "kept", "front")
PICTURE = "shrink.png"


def shrink(config: ShrinkConfig) -> str:
    """Compare, write and report; the table of the candidates that none beats, and what the model keeps. Errors as of
    `measure_and_write`."""
    shrunk = measure_and_write(config, draw)
    picture = f"\n{Path(config.out) / PICTURE}: all {len(shrunk.candidates)} candidates" if has_pictures() else ""
    return f"{joined(front_table(shrunk))}\n\n{sentence(shrunk)}{picture}"


def has_pictures() -> bool:
    """Whether what draws them is installed."""
    return find_spec("matplotlib") is not None


def draw(shrunk: Shrunk, folder: Path) -> None:
    """Write shrink.md and, where matplotlib is installed, shrink.png into a folder."""
    tables = joined(front_table(shrunk), table(shrunk, shrunk.candidates, "All candidates"))
    write_text(folder / "shrink.md", f"{tables}\n\n{sentence(shrunk)}\n")
    if has_pictures():
        picture(folder / PICTURE, shrunk)


def front_table(shrunk: Shrunk) -> Table:
    """The candidates that none beats at no more megabytes, or at no more milliseconds."""
    fronts = [*front(shrunk.candidates, "megabytes"), *front(shrunk.candidates, "milliseconds"), shrunk.chosen]
    rows = sorted(dict.fromkeys(fronts), key=lambda row: (row.megabytes, row.milliseconds))
    caption = f"{len(rows)} of {len(shrunk.candidates)} candidates: those that none beats in MRR at no more MB, or at no more ms"
    return table(shrunk, rows, caption)


def table(shrunk: Shrunk, rows: Sequence[Candidate], caption: str) -> Table:
    """A row for each candidate; the one that was written is in bold."""
    fronts = {COSTS[cost].split(",")[0]: front(shrunk.candidates, cost) for cost in COSTS}
    cells = [
        [
            Strong(group_of(row)) if row == shrunk.chosen else group_of(row),
            "" if row.layers is None else str(row.layers),
            str(row.width) + (f" + {row.structure_width}" if row.structure_width else ""),
            row.encoders,
            row.vectors,
            f"{row.megabytes:.3f}",
            f"{row.milliseconds:.2f}",
            f"{row.mrr:.4f}",
            f"{row.keeps:.1%}",
            ", ".join(name for name, best in fronts.items() if row in best),
        ]
        for row in rows
    ]
    timed = shrunk.facts["timed"]
    notes = [
        f"MB: weights and entity vectors. ms: median of {timed['questions']} questions, one thread, measured on {timed['processor']}; it "
        f"does not depend on the precision. MRR of {shrunk.facts['valid_queries']:,} validation queries; kept: of that of "
        f"{shrunk.teacher['stage']}, {shrunk.teacher['mrr']:.4f}."
    ]
    return Table(COLUMNS, cells, caption, left=("encoders", "vectors", "front"), notes=notes)


def sentence(shrunk: Shrunk) -> str:
    """What the model is and keeps."""
    row, name = shrunk.chosen, shrunk.teacher["stage"]
    text = f"{shrunk.folder}: {row.name}, {row.megabytes:.2f} MB, {row.milliseconds:.2f} ms; keeps {row.keeps:.1%} of {name}'s MRR on validation"
    if not shrunk.test:
        return text
    model, teacher = shrunk.test["model"]["mrr"], shrunk.test["teacher"]["mrr"]
    return f"{text}, and {shrunk.keeps_on_test:.1%} on test ({model:.4f} of {teacher:.4f})"


def group_of(row: Candidate) -> str:
    """The name of its marks."""
    return f"{row.stage}, fused" if row.part == "fused" else row.stage

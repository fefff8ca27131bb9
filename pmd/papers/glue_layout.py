"""The layout of Table 6 of MED (Zhu et al., ACL 2025): methods and sizes by tasks, beside the published rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from pmd.core.results import SubModelResult
from pmd.evaluation.tables import Table
from pmd.recipes.glue_tables import COLUMNS, MAJORITY, Column, Runs, constant_mark, legend, majority_metrics, percent

# Zhu et al., ACL 2025, Table 6: development sets. BERT, HAT and MED are the authors' own runs; BERT6 and BERT4 they quote from
# Jung et al. (2023) and Zhou et al. (2022). Columns: millions of parameters, speed-up, MNLI-m, MNLI-mm, MRPC F1/acc., QNLI,
# QQP F1/acc., RTE, SST-2 ("STS-2" in the paper), STS-B Pearson/Spearman. CoLA is not in the table. Cells as printed: the F1
# of HAT on MRPC at 17.5 and 6.36 M, below its accuracy, seems to have changed places with it.
_PUBLISHED = """
BERT        | 110  | 1.0 | 84.4 | 85.3 | 88.6/84.1 | 89.7 | 89.6/91.1 | 67.5 | 92.5 | 88.8/88.5
BERT6-BKD   | 66   | 2.0 | 82.2 | 82.9 | 86.2/80.8 | 88.5 | 88.0/91.0 | 65.4 | 90.9 | 88.2/87.8
BERT6-PKD   | 66   | 2.0 | 82.3 | 82.6 | 86.4/81.0 | 88.6 | 87.9/91.0 | 63.9 | 90.8 | 88.5/88.1
BERT6-MiniLM| 66   | 2.0 | 82.2 | 82.6 | 84.6/78.1 | 89.5 | 87.2/90.5 | 61.5 | 90.2 | 87.8/87.5
BERT6-RKD   | 66   | 2.0 | 82.4 | 82.9 | 86.9/81.8 | 88.9 | 88.1/91.2 | 65.2 | 91.0 | 88.4/88.1
BERT6-FSD   | 66   | 2.0 | 82.4 | 83.0 | 87.1/82.2 | 89.0 | 88.1/91.2 | 66.6 | 91.0 | 88.7/88.3
BERT4-BKD   | 55   | 2.9 | 80.5 | 80.9 | 87.2/83.1 | 87.5 | 86.6/90.4 | 65.2 | 90.2 | 84.5/84.2
BERT4-PKD   | 55   | 2.9 | 80.9 | 81.3 | 87.0/82.9 | 87.7 | 86.8/90.5 | 66.1 | 90.5 | 84.3/84.0
BERT4-MetaDistil | 55 | 2.9 | 82.4 | 82.7 | 88.4/84.2 | 88.6 | 87.8/90.8 | 67.8 | 91.8 | 86.3/86.0
BERT-HAT    | 54   | 2.0 | 70.8 | 71.6 | 81.2/74.8 | 65.3 | 76.1/80.4 | 52.7 | 84.3 | 79.6/80.1
BERT-MED    | 54   | 2.0 | 82.7 | 83.3 | 88.0/84.0 | 86.8 | 89.1/90.7 | 67.2 | 91.9 | 87.6/87.2
BERT-HAT    | 17.5 | 4.7 | 63.6 | 64.2 | 68.4/78.4 | 61.1 | 69.0/79.7 | 47.2 | 82.9 | 74.1/75.8
BERT-MED    | 17.5 | 4.7 | 81.2 | 82.4 | 86.1/82.0 | 86.4 | 83.8/86.2 | 64.6 | 88.2 | 86.1/86.4
BERT-HAT    | 6.36 | 5.2 | 59.9 | 60.0 | 66.5/77.3 | 60.1 | 66.5/77.1 | 46.2 | 81.7 | 71.9/70.4
BERT-MED    | 6.36 | 5.2 | 72.6 | 73.7 | 84.1/78.1 | 86.0 | 79.6/82.7 | 61.7 | 86.9 | 82.8/81.6
"""

_PUBLISHED_COLUMNS = ("MNLI-m", "MNLI-mm", "MRPC", "QNLI", "QQP", "RTE", "SST-2", "STS-B")
Models = Mapping[Column, Sequence[SubModelResult]]
"""The results of a row, one for each seed, by column."""


def published_rows(columns: Sequence[Column]) -> list[list[str]]:
    """The rows of the paper's Table 6 with the given columns; columns that the paper does not have are empty."""
    rows = []
    for line in _PUBLISHED.strip().splitlines():
        name, parameters, speedup, *published = (cell.strip() for cell in line.split("|"))
        by_title = dict(zip(_PUBLISHED_COLUMNS, published))
        cells = [by_title.get(column.title, "") for column in columns]
        scores = [fmean(map(float, cell.split("/"))) for cell in cells if cell]
        mean = f"{fmean(scores):.1f}" if len(scores) == len(columns) else ""
        rows.append([f"{name} (published)", parameters, f"{speedup}×", *cells, mean])
    return rows


def layout_table(runs: Runs, published: bool = True, titles: Mapping[str, str] | None = None) -> Table:
    """Methods and sizes down, tasks across, ×100, mean ± standard deviation over seeds; then the scores of the majority
    class, and the published rows. `titles` are the rows of stages that are not called after themselves.

    The last column is the mean over the columns shown, each the mean of its metrics; of the seeds' means where there
    are several. A row that misses a column has none.
    """
    columns = [column for column in COLUMNS if column.task in runs]
    sizes = dict.fromkeys(
        (width, stage)
        for seeds in runs.values()
        for results in seeds
        for stage, result in results.items()
        for width in [*result.sub_models][::-1]
    )
    rows = []
    for width, stage in sorted(sizes, key=lambda size: -size[0]):  # like the paper: by size
        models = {
            column: [
                results[stage].sub_models[width]
                for results in runs[column.task]
                if stage in results and width in results[stage].sub_models
            ]
            for column in columns
        }
        every = [model for of_column in models.values() for model in of_column]
        speedups = [model.speedup for model in every if model.speedup]
        rows.append(
            [
                stage if stage.endswith(f"-{width}") else f"{(titles or {}).get(stage, stage)}, {width}",
                f"{fmean(model.parameters for model in every) / 1e6:.3g}",
                f"{fmean(speedups):.1f}×" if speedups else "",
                *score_cells(models),
                mean_cell(models),
            ]
        )
    majority = {column: majority_metrics(runs, column.task) for column in columns}
    if any(majority.values()):
        models = {column: [SubModelResult(metrics=metrics)] * bool(metrics) for column, metrics in majority.items()}
        rows.append([MAJORITY, "", "", *score_cells(models), mean_cell(models)])
    headers = ["model", "#P (M)", "speed-up", *(column.header for column in columns), "mean"]
    return Table(headers, [*rows, *(published_rows(columns) if published else [])], notes=legend(runs))


def score_cells(models: Models) -> list[str]:
    """The metrics of each column; empty for one that is missing."""
    return [
        "/".join(percent([model.metrics[column.split][metric] for model in seeds]) for metric in column.metrics)
        + constant_mark(seeds, [column.split])
        if seeds
        else ""
        for column, seeds in models.items()
    ]


def mean_cell(models: Models) -> str:
    """The mean over the columns, seed by seed as far as all columns go."""
    seeds = min(map(len, models.values()))
    return percent(
        [
            fmean(fmean(cell[seed].metrics[column.split].values()) for column, cell in models.items())
            for seed in range(seeds)
        ]
    )

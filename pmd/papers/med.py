"""Tables 3, 4, 7, 10 and 12 and Figure 5 of MED (Zhu et al., ACL 2025): MED beside its rivals by width, the seconds their
training takes, and what wide models retain of narrow ones.

A config says what all share, which settings each width has of its own, and which ways of training one croppable model are
compared. From that come the stages of a run, one for each method and width:

- `DT`: trained alone; the widest is the teacher of the others;
- `Ext`, `Ext-L`, `Ext-V`: its leading dimensions, as they are, ordered by the loss without them, or by their size;
- `BKD`: soft labels of the teacher; `TA`: of a middle-sized student of it; `IterDE`: of the next wider student;
- `DualDE`: in two stages, the second with the teacher released;
- and the croppable ones, each a single model of all widths; and for Table 4 models of few parameters, one width each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from torch import Tensor

from pmd.core.results import StageResult
from pmd.evaluation.retention import Retained, retained
from pmd.evaluation.tables import Table, parameters_at, seeds_table, write_tables
from pmd.models.kge.folder import load_for
from pmd.papers.seeds import announce, check_seeds, finished_run
from pmd.recipes.kge import train_kge
from pmd.recipes.ranking import load_data, ranked, read_ranks, write_ranks
from pmd.reports.figure_methods import retention_table
from pmd.settings.catalogue import METRICS, Metric
from pmd.settings.entity_encoders import EarlConfig, NodePieceConfig
from pmd.settings.kge import KgeConfig
from pmd.settings.med_table import ORDERS, TITLES, MedTableConfig, assistant_stages, check_table, run_settings
from pmd.settings.stages.kge import check_kge_run
from pmd.training.device import accelerator_for

Results = dict[str, dict[int, list[StageResult]]]
"""The results of the seeds by row and width."""


def med_table(config: MedTableConfig) -> str:
    """Train everything that is not there yet; the tables in Markdown. PmdError for settings that cannot work, before
    anything starts."""
    check_table(config)
    check_seeds(Path(config.out), config.seeds)
    widths = config.base.model.widths
    settings = run_settings(config)
    check_kge_run(settings)
    results: Results = defaultdict(lambda: defaultdict(list))
    retention: dict[str, list[dict[str, Retained]]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    encoded: dict[str, list[StageResult]] = defaultdict(list)
    text = ""
    for seed in config.seeds:
        announce(f"== seed {seed}")
        folder = Path(config.out) / f"seed{seed}"
        settings = replace(settings, seed=seed)
        run = finished_run(settings, folder / "main", [stage.name for stage in settings.stages], train_kge)
        stages = run.results
        if "ta" in config.methods:
            tables = replace(settings.model, nodepiece=NodePieceConfig(), earl=EarlConfig())
            taught = replace(settings, model=tables, stages=assistant_stages(config, stages, run.folder))
            names = [stage.name for stage in taught.stages]
            stages |= finished_run(taught, folder / "assistants", names, train_kge).results
        add_seed(results, stages, config)
        for row in config.encoded:
            encoded[row.name].append(stages[row.name])
        for row, counts in retained_by([*results], widths, settings, folder).items():
            retention[row].append(counts)
            seconds[row].append(training_seconds(stages, row, widths[-1]))
        means = {row: fmean(by_seed) for row, by_seed in seconds.items()}
        stored = {"seconds": means, "retention": retention, "results": results}
        tables = [*tables_of(config, results, means), retention_table(retention, widths, titles=TITLES)]
        if encoded:
            stored |= {"encoded": encoded}
            tables.append(parameters_table(config, results, encoded))
        text = write_tables(Path(config.out), stored, tables)
    return text


def add_seed(results: Results, stages: Mapping[str, StageResult], config: MedTableConfig) -> None:
    """Add the results of one seed's stages, by row and width."""
    split, widths = config.base.evaluation.splits[0], config.base.model.widths
    for name, result in stages.items():
        method, _, width = name.rpartition("-")
        if result.widths:
            by_width = result.by_width(split)
            for column in widths:
                results[name][column].append(StageResult(**{**vars(result), "metrics": {split: by_width[column]}}))
        elif method in config.methods or method == "dt":
            results[method][int(width)].append(result)
    for method in ORDERS:  # the whole teacher is the crop of its own width
        if method in results:
            results[method][widths[-1]].append(stages[f"dt-{widths[-1]}"])


def models_of(row: str, widths: Sequence[int], folder: Path) -> dict[int, Path]:
    """The saved models of a row by width, in the folder of one seed.

    A croppable row is one model. Where the widest of the others has no teacher, it is the teacher itself, so that all
    rows have the same widths.
    """
    if row not in TITLES:
        return dict.fromkeys(widths, folder / "main" / row)
    *narrow, widest = widths
    run = folder / ("assistants" if row == "ta" else "main")
    return {**{width: run / f"{row}-{width}" for width in narrow}, widest: folder / "main" / f"dt-{widest}"}


def training_seconds(results: Mapping[str, StageResult], row: str, widest: int) -> float:
    """Seconds of training for the models of all widths of a row, from the results of one seed: those of its teacher, of
    first stages and of its assistants are among them."""
    stages = [row] if row in results else [name for name in results if name.rpartition("-")[0] in (row, f"{row}_first")]
    assistants = {results[name].teacher for name in stages if row == "ta"} - {f"assistant-{widest}"}
    stages += [name.replace("assistant", "bkd") for name in assistants]
    stages += [] if row == "dt" or row in results else [f"dt-{widest}"]
    return sum(results[name].train_seconds or 0.0 for name in stages)


def retained_by(
    rows: Sequence[str], widths: Sequence[int], settings: KgeConfig, folder: Path
) -> dict[str, dict[str, Retained]]:
    """What the models of each row retain of narrower ones, within the first 10 of the first ranked split.

    Args:
        rows: finished ones.
        settings: of the run: graph, split and device.
        folder: of one seed. Its stages have kept their ranks; where those are missing or broken, a model is ranked again.

    Returns:
        By row and width, as `retained` counts.
    """
    models = {row: models_of(row, widths, folder) for row in rows}
    widths_of: dict[Path, set[int]] = defaultdict(set)
    for by_width in models.values():
        for width, model in by_width.items():
            widths_of[model].add(width)
    split = settings.evaluation.splits[0]
    ranks = {model: read_ranks(model, split, its_widths) for model, its_widths in widths_of.items()}
    missing = [model for model, by_width in ranks.items() if by_width is None]
    if missing:
        ranks |= ranked_again(missing, settings)
    counts = {row: retained({w: ranks[model][w] for w, model in by_width.items()}) for row, by_width in models.items()}
    return {row: {str(width): list(pair) for width, pair in by_width.items()} for row, by_width in counts.items()}


def ranked_again(models: Sequence[Path], settings: KgeConfig) -> dict[Path, dict[int, Tensor]]:
    """The realistic ranks of saved models by width, which are kept."""
    config, graph, device = settings.evaluation, load_data(settings), accelerator_for(settings.train).device
    split, realistic = config.splits[0], {}
    for folder in models:
        announce(f"ranking {folder} for its retention")
        by_width = ranked(load_for(folder, graph).to(device), graph, config, split)
        write_ranks(folder, split, by_width)
        realistic[folder] = {width: ranks.realistic for width, ranks in by_width.items()}
    return realistic


def tables_of(config: MedTableConfig, results: Results, seconds: Mapping[str, float]) -> list[Table]:
    """Each metric and Effi by width."""
    widths, split = config.base.model.widths, config.base.evaluation.splits[0]

    def values(value: Callable[[StageResult, int], float]) -> dict[str, dict[int, list[float]]]:
        return {
            row: {width: [value(result, width) for result in seeds] for width, seeds in cells.items()}
            for row, cells in results.items()
        }

    def table_of(metric: Metric) -> Table:
        by_width = values(lambda result, _: result.metrics[split][metric.name])
        return methods_table(f"{graph}: {metric.title} by width", by_width, widths, seconds, metric=metric)

    graph, caption = f"{config.base.model.interaction}, {split}", "Effi: MRR / millions of parameters"
    effi = values(lambda result, width: result.metrics[split]["mrr"] / (parameters_at(result, width) / 1e6))
    return [
        *(table_of(METRICS["ranking"][name]) for name in config.metrics),
        seeds_table(["method"], widths, effi, caption, titles=TITLES, digits=1),
    ]


def methods_table(
    caption: str,
    values: Mapping[str, Mapping[int, Sequence[float]]],
    widths: Sequence[int],
    seconds: Mapping[str, float],
    titles: Mapping[str, str] = TITLES,
    metric: Metric | None = None,
) -> Table:
    """Methods down, widths across; the best mean of a width is bold. The last column is the seconds of the training.

    Args:
        metric: that of the values: their digits, and whether more is better; default three digits, the more the better.
    """
    last = {"training (s)": [f"{seconds[row]:,.0f}" if row in seconds else "" for row in values]}
    form = {"digits": metric.digits, "more_is_better": metric.more_is_better} if metric else {}
    return seeds_table(["method"], widths, values, caption, titles=titles, last=last, mark_best=True, **form)


def parameters_table(config: MedTableConfig, results: Results, encoded: Mapping[str, Sequence[StageResult]]) -> Table:
    """The layout of Table 4: models alone, croppable ones and those of few parameters, with how many these are, and Effi."""
    split, croppable = config.base.evaluation.splits[0], [row.name for row in config.croppable]
    models = {
        (TITLES.get(row, row), str(width)): [(result, width) for result in seeds]
        for row in ("dt", *croppable)
        for width, seeds in results[row].items()
    }
    models |= {(name, str(seeds[0].dim)): [(result, result.dim) for result in seeds] for name, seeds in encoded.items()}
    columns = {metric.title: metric.name for name in config.metrics if (metric := METRICS["ranking"][name])}
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for key, seeds in models.items():
        counts = [parameters_at(result, width) / 1e6 for result, width in seeds]
        metrics = [result.metrics[split] for result, _ in seeds]
        values[key] = {title: [of_seed[name] for of_seed in metrics] for title, name in columns.items()}
        values[key]["Effi"] = [of_seed["mrr"] / count for of_seed, count in zip(metrics, counts)]
    sizes = [f"{parameters_at(*seeds[0]) / 1e6:.3g}" for seeds in models.values()]
    caption = f"{config.base.model.interaction}, {split}: by parameters; Effi: MRR / millions of parameters"
    return seeds_table(["method", "dim"], [*columns, "Effi"], values, caption, last={"#P (M)": sizes})

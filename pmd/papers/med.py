"""MED beside its rivals: methods by widths (Table 3 of Zhu et al., ACL 2025), with what their training takes (Table 7)
and what wide models retain of narrow ones (Figure 5).

A config says what all share, which settings each width has of its own, and which ways of training one croppable model are
compared. From that come the stages of a run, one for each method and width:

- `DT`: trained alone; the widest is the teacher of the others;
- `Ext`, `Ext-L`, `Ext-V`: its leading dimensions, as they are, ordered by the loss without them, or by their size;
- `BKD`: soft labels of the teacher; `TA`: of a middle-sized student of it; `IterDE`: of the next wider student;
- `DualDE`: in two stages, the second with the teacher released;
- and the croppable ones, each a single model of all widths.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pmd.core.files import write_json, write_text
from pmd.evaluation.retention import Retained, ratio
from pmd.papers.med_rows import retained_by, training_seconds
from pmd.papers.seeds import finished_run
from pmd.recipes.kge import train_kge
from pmd.recipes.tables import by_width, markdown, spread
from pmd.settings.kge_stages import check_kge_run
from pmd.settings.med_table import ORDERS, TITLES, MedTableConfig, assistant_stages, check_table, run_settings

Results = dict[str, dict[int, list[dict[str, Any]]]]
"""Results of the seeds by row and width."""
Retention = dict[str, list[dict[str, Retained]]]
"""What is retained, by row, seed and the narrowest width that answers."""


def med_table(config: MedTableConfig) -> str:
    """Train everything that is not there yet; the tables in Markdown.

    Raises:
        PmdError: for settings that cannot work, before anything starts.
    """
    check_table(config)
    widths = config.base.model.widths
    settings = run_settings(config)
    check_kge_run(settings)
    results: Results = {}
    retention: Retention = {}
    seconds: dict[str, list[float]] = {}
    for seed in config.seeds:
        print(f"== seed {seed}", file=sys.stderr, flush=True)
        folder = Path(config.out) / f"seed{seed}"
        settings = replace(settings, seed=seed)
        stages = [stage.name for stage in settings.stages]
        run = finished_run(settings, folder / "main", stages, train_kge)
        found = dict(run.results)
        if "ta" in config.methods:
            taught = replace(settings, stages=assistant_stages(config, found, run.folder))
            names = [stage.name for stage in taught.stages]
            found |= finished_run(taught, folder / "assistants", names, train_kge).results
        collect(results, found, config)
        for row, counts in retained_by([*results], widths, settings, folder).items():
            retention.setdefault(row, []).append(counts)
            seconds.setdefault(row, []).append(training_seconds(found, row, widths[-1]))
        write(config, results, retention, {row: statistics.fmean(of) for row, of in seconds.items()})
    return (Path(config.out) / "table.md").read_text(encoding="utf-8")


def collect(results: Results, found: dict[str, Any], config: MedTableConfig) -> None:
    """Add the results of one seed, by row and width."""
    split = config.base.evaluation.splits[0]
    widest = config.base.model.widths[-1]
    for name, result in found.items():
        method, _, width = name.rpartition("-")
        if "widths" in result:
            found_at = {int(w): metrics for w, metrics in by_width(result, split).items()}
            for w, metrics in ((w, found_at[w]) for w in config.base.model.widths):
                results.setdefault(name, {}).setdefault(w, []).append({**result, "metrics": {split: metrics}})
        elif method in config.methods or method == "dt":
            results.setdefault(method, {}).setdefault(int(width), []).append(result)
    for method in ORDERS:  # the whole teacher is the crop of its own width
        if method in results:
            results[method].setdefault(widest, []).append(found[f"dt-{widest}"])


def write(config: MedTableConfig, results: Results, retention: Retention, seconds: dict[str, float]) -> None:
    split = config.base.evaluation.splits[0]
    plain = {row: {str(width): found for width, found in cells.items()} for row, cells in results.items()}
    out = Path(config.out)
    write_json(out / "results.json", {"seconds": seconds, "retention": retention, "results": plain})
    widths, name = config.base.model.widths, config.base.model.interaction
    parts = [
        f"{name}, {split}: MRR by width\n\n{method_table(results, widths, split, 'mrr', seconds)}",
        f"{name}, {split}: Hits@10 by width\n\n{method_table(results, widths, split, 'hits_at_10', seconds)}",
        f"Effi: MRR / millions of parameters\n\n{effi_table(results, widths, split)}",
        f"Ability retention ratio: of the queries that some width answers within the first 10, the share that all wider "
        f"ones answer too; and by the narrowest that answers\n\n{retention_table(retention, widths)}",
    ]
    write_text(out / "table.md", "\n\n".join(parts) + "\n")


def method_table(results: Results, widths: Sequence[int], split: str, key: str, seconds: dict[str, float]) -> str:
    """Methods down, widths across; the best mean of a width is bold."""
    cells = {
        row: {w: [r["metrics"][split][key] for r in found] for w, found in of.items()} for row, of in results.items()
    }
    best = {w: max(sum(of[w]) / len(of[w]) for of in cells.values() if w in of) for w in widths}
    rows = []
    for row, of in cells.items():
        texts = [spread(of.get(w, [])) for w in widths]
        texts = [
            f"**{text}**" if w in of and sum(of[w]) / len(of[w]) == best[w] else text for w, text in zip(widths, texts)
        ]
        rows.append([TITLES.get(row, row), *texts, f"{seconds[row]:,.0f}"])
    return markdown(["method", *(str(w) for w in widths), "training (s)"], rows)


def effi_table(results: Results, widths: Sequence[int], split: str) -> str:
    """MRR per million parameters, methods down, widths across."""
    rows = []
    for row, of in results.items():
        texts = []
        for w in widths:
            found = of.get(w, [])
            each = [r["metrics"][split]["mrr"] / (r["parameters"] * w / r["dim"] / 1e6) for r in found]
            texts.append(spread(each, digits=1))
        rows.append([TITLES.get(row, row), *texts])
    return markdown(["method", *(str(w) for w in widths)], rows)


def retention_table(retention: Retention, widths: Sequence[int]) -> str:
    """Methods down; the ratio, then that of what each width is the narrowest to answer. Above the widest is nothing to
    lose what it answers, so it has no column."""
    *narrow, _ = map(str, widths)
    rows = []
    for row, seeds in retention.items():
        # A width that is the first to answer nothing has nothing to retain.
        parts = [[ratio([of[width]]) for of in seeds if of[width][0]] for width in narrow]
        rows.append([TITLES.get(row, row), *map(spread, [[ratio(of.values()) for of in seeds], *parts])])
    return markdown(["method", "all", *(f"from {width}" for width in narrow)], rows)

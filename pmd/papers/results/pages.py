"""Tables of records in pages of Markdown: a page marks their places, and `rendered` fills them in.

    <!-- results: NAME metric=mrr better="no distillation" -->
    what stands here is replaced
    <!-- end -->

NAME is a record, DATA/NAME.json. The options:

    show      `table` (the default: rows by columns), `paired` (differences to the row `better`), `epochs` or `about`
    split     by default the first
    group     where a comparison has several tables; by default the first
    metric    by default mrr, or `score` of GLUE; several, with a comma between them, take the place of the columns;
              triples_mrr … are of triples, with the mean of their two ranks
    columns   which to show, with commas; needed where a table has several metrics and columns
    rows      which to show, with | between them
    better    mark what is better (↑) or worse (↓) than that row by the paired bootstrap
    seconds   true: a column with the seconds of training
    percent   true: ×100, with one digit
    about     false: without what it was measured by, and with how many epochs
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError, nearest
from pmd.evaluation.tables import Strong, Table, duration, seeds_table, table_of
from pmd.papers.results.record import paired_of, read_record
from pmd.settings.catalogue import METRICS

BLOCK = re.compile(r"(<!-- results: (?P<options>[^\n]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
MARKER = re.compile(r"<!-- (results: [^\n]+?|end) -->")
WIDTH = 120
"""Characters of a line of text."""


@dataclass(frozen=True)
class Block:
    """What a place in a page shows; the module says what the options mean."""

    name: str
    show: str = "table"
    split: str = ""
    group: str = ""
    metric: str = ""
    columns: str = ""
    rows: str = ""
    better: str = ""
    seconds: str = "false"
    percent: str = "false"
    about: str = "true"

    @classmethod
    def parsed(cls, text: str) -> Block:
        """From what a page writes. PmdError for an option that there is not."""
        name, *options = shlex.split(text)
        names = [field.name for field in fields(cls)][1:]
        given = dict(option.partition("=")[::2] for option in options)
        for option in given:
            if option not in names:
                raise PmdError(
                    f"results: {name}: no option '{option}'; there are {', '.join(names)}{nearest(option, names)}"
                )
        for option in ("seconds", "percent", "about"):
            if given.get(option, "true") not in ("true", "false"):
                raise PmdError(f"results: {name}: {option}={given[option]}; write true or false")
        return cls(name, **given)


def rendered(page: str, data: Path) -> str:
    """A page with all its tables filled in from the records in `data`. PmdError for what a record does not have."""

    def filled(match: re.Match[str]) -> str:
        block = Block.parsed(match["options"])
        return f"{match[1]}{block_text(block, read_record(data / f'{block.name}.json'))}\n{match[3]}"

    _check_ends(page)
    return BLOCK.sub(filled, page)


def _check_ends(page: str) -> None:
    """PmdError for a block without an end: what follows it would be taken for its content."""
    begun = None
    for marker in [*MARKER.findall(page), "results: "]:
        if begun and marker != "end":
            raise PmdError(f"results: the block '{begun}' has no end; write <!-- end --> below its table")
        begun = None if marker == "end" else marker


def records_shown(page: str) -> list[str]:
    """The names of the records that a page shows."""
    return [Block.parsed(match["options"]).name for match in BLOCK.finditer(page)]


def block_text(block: Block, record: Mapping[str, Any]) -> str:
    """What a place shows, in Markdown."""
    shown = {"table": _table_and_about, "paired": paired_text, "epochs": epochs_text, "about": about_text}
    if block.show not in shown:
        raise PmdError(f"results: {block.name}: no show '{block.show}'; choose among {', '.join(shown)}")
    return shown[block.show](_resolved(block, record), record)


def _resolved(block: Block, record: Mapping[str, Any]) -> Block:
    """With the first group, split and metric of the record where the page names none."""
    entries = record["entries"]
    group = block.group or entries[0]["group"]
    metrics = next((entry["metrics"] for entry in entries if entry["group"] == group), None)
    if metrics is None:
        raise PmdError(f"results: {block.name}: no group '{group}'; there are {', '.join(_names(entries, 'group'))}")
    split = block.split or next(iter(metrics))
    usual = "mrr" if "mrr" in metrics.get(split, ()) else "score"
    return replace(block, group=group, split=split, metric=block.metric or usual)


def _names(entries: Sequence[Mapping[str, Any]], part: str) -> list[str]:
    return [*dict.fromkeys(entry[part] for entry in entries)]


def _columns(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the columns in the order of the record; widths from narrow to wide."""
    names = _names(entries, "column")
    return sorted(names, key=int) if all(name.isdigit() for name in names) else names


def _table_and_about(block: Block, record: Mapping[str, Any]) -> str:
    parts = [results_table(block, record).markdown()]
    parts += [legend(block, record)] if block.better else []
    parts += [about_text(block, record)] if block.about == "true" else []
    return "\n\n".join(parts)


def chosen(block: Block, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries that a table shows. PmdError if it names a row or column that is not there, or nothing is left."""
    entries = [
        entry for entry in record["entries"] if entry["group"] == block.group and block.split in entry["metrics"]
    ]
    for part, wanted in (("column", _listed(block.columns, ",")), ("row", _listed(block.rows, "|"))):
        names = _names(entries, part)
        for name in wanted:
            if name not in names:
                raise PmdError(
                    f"results: {block.name}: no {part} '{name}'; there are {', '.join(names)}{nearest(name, names)}"
                )
        entries = [entry for entry in entries if not wanted or entry[part] in wanted]
    if not entries:
        raise PmdError(f"results: {block.name}: nothing was measured on '{block.split}'; choose another split")
    return entries


def _listed(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator)] if text else []


def results_table(block: Block, record: Mapping[str, Any]) -> Table:
    """Means over seeds: rows down, and across the columns or, of one column, several metrics. The best are bold."""
    entries, metrics = chosen(block, record), _listed(block.metric, ",")
    columns = _columns(entries)
    if len(metrics) > 1 and len(columns) > 1:
        raise PmdError(
            f"results: {block.name}: {len(metrics)} metrics of {len(columns)} columns; choose one of columns="
        )
    places = [(title(metric), metric, columns[0]) for metric in metrics] if len(metrics) > 1 else []
    places = places or [(column, metrics[0], column) for column in columns]
    for metric in metrics:
        if not any(metric in entry["metrics"][block.split] for entry in entries):
            raise PmdError(f"results: {block.name}: '{metric}' was not measured; choose another metric")
    scale, digits = (100, 1) if block.percent == "true" else (1, 3)
    rows = {
        row: {
            header: [
                scale * entry["metrics"][block.split][metric]
                for entry in entries
                if (entry["row"], entry["column"]) == (row, column) and metric in entry["metrics"][block.split]
            ]
            for header, metric, column in places
        }
        for row in _names(entries, "row")
    }
    label = f"{columns[0]}, {block.split}" if len(metrics) > 1 else f"{title(metrics[0])}, {block.split}"
    ranking = [METRICS["ranking"].get(metric.removeprefix("triples_")) for metric in metrics]
    best = all(metric is None or metric.more_is_better for metric in ranking)
    headers = [header for header, _, _ in places]
    table = seeds_table([label], headers, rows, last=_last(block, record, entries), mark_best=best, digits=digits)
    return _marked(table, block, record, places) if block.better else table


def title(metric: str) -> str:
    """What tables call a metric."""
    known = {**METRICS["ranking"], **METRICS["glue"]}
    if metric.startswith("triples_"):
        return f"{title(metric.removeprefix('triples_'))} of triples"
    return known[metric].title if metric in known else metric.replace("_", " ")


def _last(block: Block, record: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The last columns: seconds of training if they are asked for, and how many seeds a row has where rows differ."""
    rows, last = _names(entries, "row"), {}
    if block.seconds == "true":
        seconds = record["seconds"]
        last["training (s)"] = [f"{seconds[row]:,.0f}" if row in seconds else "" for row in rows]
    seeds = [len({entry["seed"] for entry in entries if entry["row"] == row}) for row in rows]
    return last if len({*seeds}) == 1 else {**last, "seeds": [str(number) for number in seeds]}


def pairs_of_block(block: Block, record: Mapping[str, Any]) -> dict[tuple[str, str, str], Any]:
    """The comparisons with the row `better` by row, column and metric. PmdError if there are none."""
    pairs = {
        (pair["row"], pair["column"], pair["metric"]): paired_of(pair)
        for pair in record["paired"]["pairs"]
        if (pair["baseline"], pair["group"], pair["split"]) == (block.better, block.group, block.split)
    }
    if not pairs:
        raise PmdError(
            f"results: {block.name}: nothing was compared with '{block.better}'; collect it with --against '[{block.better}]'"
        )
    return pairs


def _marked(table: Table, block: Block, record: Mapping[str, Any], places: Sequence[tuple[str, str, str]]) -> Table:
    """The table with an arrow in each cell that is better or worse than that of the row `better`."""
    pairs = pairs_of_block(block, record)

    def marked(row: str, position: int, cell: str) -> str:
        pair = pairs.get((row, places[position][2], places[position][1])) if position < len(places) else None
        arrow = " ↑" if pair and pair.better else " ↓" if pair and pair.worse else ""
        return type(cell)(cell + arrow) if arrow else cell

    rows = [[row, *(marked(row, i, cell) for i, cell in enumerate(cells))] for row, *cells in table.rows]
    return replace(table, rows=rows)


def legend(block: Block, record: Mapping[str, Any]) -> str:
    """What the arrows mean."""
    paired = record["paired"]
    drawn = {"query": "queries", "triple": "triples, each with its two queries"}[paired["unit"]]
    return wrapped(
        f'↑ better, ↓ worse than "{block.better}": the 95 % interval of the difference between these trained models, over '
        f"{paired['samples']:,} resamples of the {drawn} (the same for both, averaged over the seeds that both have), is above, or below, 0."
    )


def paired_text(block: Block, record: Mapping[str, Any]) -> str:
    """Differences to the row `better` with their 95 % intervals; what is above 0 as a whole is bold."""
    pairs, metrics = pairs_of_block(block, record), _listed(block.metric, ",")
    entries = chosen(block, record)
    several = len(metrics) > 1
    rows = []
    for row in _names(entries, "row"):
        cells = {
            (f"{column} {title(metric)}" if several else column): pairs.get((row, column, metric))
            for column in _columns(entries)
            for metric in metrics
        }
        if any(cells.values()):
            label = f"{'' if several else title(metrics[0]) + ' '}over {block.better}, {block.split}"
            rows.append({label: row, **{column: difference_text(pair) for column, pair in cells.items()}})
    return f"{table_of(rows).markdown()}\n\n{legend(block, record)}"


def difference_text(pair: Any) -> str:
    """A difference and its interval; bold if it is above 0 as a whole."""
    if pair is None:
        return ""
    text = f"{pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]"
    return Strong(text) if pair.better else text


def epochs_text(block: Block, record: Mapping[str, Any]) -> str:
    """The epochs behind every model: rows that agree in all columns share a line, and so do columns of all rows."""
    entries = [entry for entry in record["epochs"] if entry["group"] == block.group]
    shown = {(entry["row"], entry["column"]) for entry in chosen(block, record)}
    entries = [entry for entry in entries if (entry["row"], entry["column"]) in shown]
    by_row: dict[str, dict[str, str]] = {}
    for entry in entries:
        by_row.setdefault(entry["row"], {})[entry["column"]] = entry["epochs"]
    if all(len({*cells.values()}) == 1 for cells in by_row.values()):
        by_row = {row: {"all": next(iter(cells.values()))} for row, cells in by_row.items()}
        columns = ["all"]
    else:
        columns = _columns(entries)
    rows: dict[tuple[str, ...], list[str]] = {}
    for row, cells in by_row.items():
        rows.setdefault(tuple(cells.get(column, "") for column in columns), []).append(row)
    table = [[", ".join(names), *cells] for cells, names in rows.items()]
    return Table(["epochs", *columns], table, left=columns).markdown()


def about_text(block: Block, record: Mapping[str, Any]) -> str:
    """How many epochs the models have behind them, and the command, seeds, machine, time and commit of a record."""
    about = record["about"]
    seeds = f"seed{'s' if len(about['seeds']) > 1 else ''} {', '.join(map(str, about['seeds']))}"
    facts = [
        f"{', '.join(about['data'])}; {seeds}",
        "; ".join(about["machines"]),
        f"{duration(about['train_seconds'])} of training in all",
        f"commit {', '.join(about['commits'])}" if about["commits"] else "",
        ", ".join(about["dates"]),
    ]
    commands = "".join(f"\n{command}" for command in about["commands"])
    fence = f"\n\n```bash{commands}\n```" if commands else ""
    sentence = wrapped("Measured on " + "; ".join(filter(None, facts)) + ".")
    return f"{epochs_text(block, record)}\n\n{sentence}{fence}"


def wrapped(text: str) -> str:
    """A paragraph in lines of at most `WIDTH` characters."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)

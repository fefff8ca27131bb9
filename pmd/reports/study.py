"""A study of `pmd tune` as a page: its trials, how the best value rose, and what the options had to do with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.files import read_object
from pmd.evaluation.tables import Table, table_of
from pmd.reports.page import Block, Picture, Section, Text
from pmd.reports.pictures import SHOWN, figure, lines, look, marks, name_axes, points, shortened
from pmd.settings.catalogue import METRICS, Metric

TRIALS = "trials.json"
"""The file that makes a folder a study."""
REMEDY = "repeat the command that made it"


def is_study(folder: str | Path) -> bool:
    """Whether a folder is that of a study."""
    return (Path(folder).expanduser() / TRIALS).is_file()


def read_study(folder: str | Path) -> dict[str, Any]:
    """What a study noted. PmdError if it cannot be read."""
    path = Path(folder).expanduser()
    study = read_object(path / TRIALS, REMEDY)
    if not {"metric", "judged", "space", "trials", "importance"} <= study.keys():
        raise PmdError(f"'{path / TRIALS}' does not hold the trials of a study; {REMEDY}")
    return study


def study_lede(study: Mapping[str, Any]) -> str:
    """The result in a sentence."""
    metric, values = metric_of(study), [record["value"] for record in complete(study)]
    if not values:
        return f"No trial of {len(study['trials'])} has come to its end."
    best = (max if metric.more_is_better else min)(values)
    return f"The best of {len(study['trials'])} trials has {metric.text(best)} as {study['judged']}."


def study_sections(study: Mapping[str, Any], files: Callable[[str], Path]) -> list[Section]:
    """All that there is to say about a study."""
    records = study["trials"]
    counts = [
        f"{sum(record['state'] == state for record in records)} {state}" for state in ("complete", "pruned", "failed")
    ]
    facts = {
        "judged by": study["judged"],
        "trials": ", ".join(counts),
        "time": f"{sum(record['seconds'] for record in records) / 60:,.0f} minutes",
        **{f"{path} from": text for path, text in study["space"].items()},
    }
    sections = [Section("Study", [Table(("what", ""), [[*fact] for fact in facts.items()], left=("",))])]
    sections.append(Section("Trials", [table_of_trials(records, metric_of(study))]))
    pictures = validation_curves(study, files("validation.svg"))
    if len(complete(study)) > 1:  # of one trial there is nothing to compare
        pictures = [history(study, files("history.svg")), *pictures]
        sections.append(Section("Options", options(study, files)))
    if pictures:
        sections.insert(2, Section("History", [pictures]))
    return sections


def metric_of(study: Mapping[str, Any]) -> Metric:
    return METRICS["ranking"][study["metric"]]


def complete(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials that have a value."""
    return [record for record in study["trials"] if record["value"] is not None]


def history(study: Mapping[str, Any], path: Path) -> Picture:
    """The value of each trial, and the best so far."""
    metric, records = metric_of(study), complete(study)
    numbers, values = zip(*((record["trial"], record["value"]) for record in records))
    better = max if metric.more_is_better else min
    best = [better(values[: count + 1]) for count in range(len(values))]
    with figure(path) as axis:
        axis.plot(numbers, values, **look(0, linestyle="none", markersize=6))
        axis.plot(numbers, best, drawstyle="steps-post", **look(1, marker="", linewidth=2))
        axis.margins(0.06)
        name_axes(axis, "trial", metric.title)
    return Picture(path, "Value of each trial, and the best so far as a line")


def options(study: Mapping[str, Any], files: Callable[[str], Path]) -> list[Block]:
    """What each option had to do with the value."""
    metric, records = metric_of(study), complete(study)
    pictures = []
    if study["importance"]:
        path = files("importance.svg")
        marks(path, [*study["importance"]], {"share": [*study["importance"].values()]}, "share in the value")
        pictures.append(Picture(path, "How much of the differences each option explains (PED-ANOVA)"))
    for number, name in enumerate(study["space"]):
        path, values = files(f"option{number}.svg"), [record["values"][name] for record in records]
        slice_of(path, name, values, [record["value"] for record in records], metric.title)
        pictures.append(Picture(path, f"{name}: value of each trial"))
    few = Text("With few trials, these pictures show little more than chance.", "note")
    return [*([few] if len(records) < 10 else []), pictures]


def slice_of(path: Path, name: str, values: Sequence[Any], scores: Sequence[float], title: str) -> None:
    """The scores by the values of an option; what is no number has a tick of its own."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        points(path, {name: [*zip(values, scores)]}, name, title, joined=False)
        return
    names = sorted({str(value) for value in values})
    with figure(path) as axis:
        axis.plot([names.index(str(value)) for value in values], scores, **look(0, linestyle="none", markersize=8))
        axis.set_xticks(range(len(names)), [shortened(value) for value in names])
        axis.margins(0.12)
        name_axes(axis, name, title)


def validation_curves(study: Mapping[str, Any], path: Path) -> list[Picture]:
    """Validation by epoch of the trials that came furthest; none where nothing was validated."""
    validated = [record for record in ranked(study["trials"], metric_of(study)) if record["valid"]]
    curves = {
        f"trial {record['trial']}": {int(epoch): value for epoch, value in record["valid"].items()}
        for record in validated[:SHOWN]
    }
    if not curves:
        return []
    lines(path, curves, "epoch", "MRR, valid")
    return [Picture(path, "Validation MRR by epoch of the best trials")]


def ranked(records: Sequence[Mapping[str, Any]], metric: Metric) -> list[Mapping[str, Any]]:
    """The trials, best first, then those that were pruned, then those that failed."""
    sign, states = -1 if metric.more_is_better else 1, ("complete", "pruned", "failed")
    return sorted(records, key=lambda record: (states.index(record["state"]), sign * (record["value"] or 0.0)))


def table_of_trials(records: Sequence[Mapping[str, Any]], metric: Metric) -> Table:
    """A row for each trial, the best one first."""
    rows = [
        {
            "trial": str(record["trial"]),
            f"{metric.title}, valid": metric.text(record["value"]),
            **{path: value_text(value) for path, value in record["values"].items()},
            "seconds": f"{record['seconds']:,.0f}",
            "": f"{record['state']}: {record['reason']}" if record["reason"] else "",
        }
        for record in ranked(records, metric)
    ]
    return table_of(rows, left=("",))


def value_text(value: Any) -> str:
    """A value of an option."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""A record and more runs of the same comparison, which another machine or another day has made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pmd.core.errors import PmdError

SAME = 1.5e-6
"""Two roundings of one number to the digits of a record differ by less."""


def refuse_other_draws(record: Mapping[str, Any], samples: int, unit: str) -> None:
    """PmdError if a record has comparisons, and by another number of resamples or of another unit."""
    paired = record["paired"]
    if paired["pairs"] and (paired["samples"], paired["unit"]) != (samples, unit):
        raise PmdError(f"--add: the file has {paired['samples']} resamples by {paired['unit']}; ask for the same")


def added(record: Mapping[str, Any], more: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The `record` with what `more` has beside it, and how many comparisons were lost: those of rows that now have more seeds,
    as they speak of some of them.

    A model that both have must have the same numbers: then what was trained for both, as a teacher, was the same too.

    Raises:
        PmdError: if a model has other numbers in `more`, or if `more` has nothing that is new.
    """
    entries = {_place(entry, "seed"): entry for entry in record["entries"]}
    before = len(entries)
    for entry in more["entries"]:
        _check_same(entries.setdefault(_place(entry, "seed"), entry), entry)
    if len(entries) == before:
        raise PmdError("--add: all of these models are in the file already")
    places = [pair for one in (record, more) for pair in one["paired"]["pairs"]]
    whole = {_compared(pair): pair for pair in places if pair["seeds"] == _common_seeds(pair, entries)}
    lost = {_compared(pair) for pair in places} - whole.keys()
    new_record = {
        "about": _about(record["about"], more["about"]),
        "entries": [*entries.values()],
        "epochs": _epochs([*record["epochs"], *more["epochs"]]),
        "seconds": _seconds(record["seconds"], more["seconds"]),
        "paired": {**more["paired"], "pairs": [*whole.values()]},
    }
    return new_record, len(lost)


def _place(cell: Mapping[str, Any], *more: str) -> tuple:
    return tuple(cell[name] for name in ("group", "row", "column", *more))


def _compared(pair: Mapping[str, Any]) -> tuple:
    return _place(pair, "baseline", "split", "metric")


def _check_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for split, numbers in new["metrics"].items():
        stored = old["metrics"].get(split, {})
        for name in numbers.keys() & stored.keys():
            if abs(stored[name] - numbers[name]) > SAME:
                where = " ".join(filter(None, [new["group"], f"'{new['row']}'", new["column"]]))
                raise PmdError(
                    f"--add: {where} of seed {new['seed']} has {name} {numbers[name]} on {split}, in the file {stored[name]}; "
                    "the runs cannot be compared: collect them under another --name"
                )


def _common_seeds(pair: Mapping[str, Any], entries: Mapping[tuple, Any]) -> list[int]:
    """The seeds that both rows of a comparison have."""
    seeds = [
        {entry["seed"] for entry in entries.values() if _place(entry) == (pair["group"], pair[name], pair["column"])}
        for name in ("row", "baseline")
    ]
    return sorted(seeds[0] & seeds[1])


def _epochs(cells: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Those of each cell once, those that differ from day to day beside each other."""
    texts: dict[tuple, list[str]] = {}
    for cell in cells:
        texts.setdefault(_place(cell), []).extend(cell["epochs"].split(" or "))
    return [
        {"group": group, "row": row, "column": column, "epochs": " or ".join(dict.fromkeys(of_cell))}
        for (group, row, column), of_cell in texts.items()
    ]


def _seconds(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Those of rows that were run on one day alone: of others there are means over some of the seeds."""
    return {row: value for row, value in {**one, **other}.items() if not (row in one and row in other)}


def _about(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    lists = {
        name: [*dict.fromkeys([*one[name], *other[name]])] for name in one if name not in ("seeds", "train_seconds")
    }
    return {
        **lists,
        "seeds": sorted({*one["seeds"], *other["seeds"]}),
        "train_seconds": round(one["train_seconds"] + other["train_seconds"], 1),
    }

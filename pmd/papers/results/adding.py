"""A record and more runs of the same comparison, which another machine or another day has made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pmd.core.errors import PmdError

SAME = 1e-6
"""Numbers of a model that was trained twice may differ by the rounding of a record."""


def added(record: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The `record` with what `more` has beside it.

    A model that both have must have the same numbers: then what was trained for both, as a teacher, was the same too. A paired
    comparison stays if it is of all seeds that both of its rows now have.

    Raises:
        PmdError: if a model has other numbers in `more`, or if another number of resamples or another unit was drawn.
    """
    entries = {_place(entry, "seed"): entry for entry in record["entries"]}
    for entry in more["entries"]:
        _check_same(entries.setdefault(_place(entry, "seed"), entry), entry)
    drawn = {name: more["paired"][name] for name in ("samples", "unit")}
    if any(record["paired"][name] != value for name, value in drawn.items()):
        raise PmdError(
            f"--add: the file has {record['paired']['samples']} resamples by {record['paired']['unit']}; ask for the same"
        )
    pairs = {
        _place(pair, "baseline", "split", "metric"): pair for one in (record, more) for pair in one["paired"]["pairs"]
    }
    epochs = {_place(cell): cell for one in (record, more) for cell in one["epochs"]}
    return {
        "about": _about(record["about"], more["about"]),
        "entries": [*entries.values()],
        "epochs": [*epochs.values()],
        "seconds": {**record["seconds"], **more["seconds"]},
        "paired": {
            **drawn,
            "pairs": [pair for pair in pairs.values() if pair["seeds"] == _common_seeds(pair, entries)],
        },
    }


def _place(cell: Mapping[str, Any], *more: str) -> tuple:
    return tuple(cell[name] for name in ("group", "row", "column", *more))


def _check_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for split, numbers in new["metrics"].items():
        for name, value in numbers.items():
            before = old["metrics"].get(split, {}).get(name)
            if before is None or abs(before - value) > SAME:
                where = " ".join(filter(None, [new["group"], f"'{new['row']}'", new["column"]]))
                raise PmdError(
                    f"--add: {where} of seed {new['seed']} has {name} {value} on {split}, in the file {before}; "
                    "the runs cannot be compared: collect them under another --name"
                )


def _common_seeds(pair: Mapping[str, Any], entries: Mapping[tuple, Any]) -> list[int]:
    """The seeds that both rows of a comparison have."""
    seeds = [
        {entry["seed"] for entry in entries.values() if _place(entry) == (pair["group"], pair[name], pair["column"])}
        for name in ("row", "baseline")
    ]
    return sorted(seeds[0] & seeds[1])


def _about(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    lists: dict[str, Sequence] = {
        name: [*dict.fromkeys([*one[name], *other[name]])] for name in one if name not in ("seeds", "train_seconds")
    }
    return {
        **lists,
        "seeds": sorted({*one["seeds"], *other["seeds"]}),
        "train_seconds": round(one["train_seconds"] + other["train_seconds"], 1),
    }

"""Comparing what runs write, key by key."""

from typing import Any

import pytest


def assert_values(found: Any, expected: Any, *, rel: float = 1e-6, place: str = "") -> None:
    """The same keys all the way down, and numbers that differ by no more than rounding does."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key, value in expected.items():
            assert_values(found[key], value, rel=rel, place=f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for position, value in enumerate(expected):
            assert_values(found[position], value, rel=rel, place=f"{place}[{position}]")
    elif not isinstance(expected, float):
        assert found == expected, place
    else:
        assert found == pytest.approx(expected, rel=rel, abs=rel), place

"""Every Python block of README and docs is run as it stands, in the order of its page, beside tiny graphs and runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[2]
BLOCKS = Sybil(parsers=[PythonCodeBlockParser()])
ELSEWHERE = ("docs/extending.md",)
"""By contracts/test_extension.py, which goes on with what it registers."""
SLOW = ("docs/python.md", "docs/shrink.md", "docs/tuning.md")
"""More than a second; most of the first two is README's block again."""
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if "reference" not in page.parts]


def blocks_of(page: Path) -> list:
    return list(BLOCKS.parse(page).examples())


WITH_BLOCKS = [page.relative_to(ROOT).as_posix() for page in PAGES if blocks_of(page)]


def test_there_are_many():
    assert sum(len(blocks_of(ROOT / page)) for page in WITH_BLOCKS) > 15


@pytest.mark.filterwarnings("ignore:graph '")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page in SLOW else ())
        for page in WITH_BLOCKS
        if page not in ELSEWHERE
    ],
)
def test_the_blocks_of_a_page_run(page, desk):
    for block in blocks_of(ROOT / page):
        block.evaluate()

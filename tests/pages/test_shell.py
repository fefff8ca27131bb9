"""The commands of README and the pages for users are run as they stand, beside tiny graphs and runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pmd.cli.command import Group
from pmd.cli.commands import COMMANDS
from pmd.cli.main import dispatch

from ..contracts.test_shell_lines import COMMAND, MEASUREMENT, arguments, commands
from ..contracts.test_shell_lines import PAGES as ALL_PAGES
from ..markdown import tables_of
from . import test_long_pages


def examples_of(group: Group, prefix: str) -> Iterator[tuple[str, Sequence[str]]]:
    for name, entry in group.commands.items():
        if isinstance(entry, Group):
            yield from examples_of(entry, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", entry.examples


ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/start.md", "docs/use.md")
SLOW_PAGES = tuple(
    f"docs/{name}.md" for name in ("graphs", "text", "embeddings", "fuse", "shrink", "hub", "trust", "results/dualde")
)
"""Pages of which the shell blocks are run, in no gate; those of the others are run by test_long_pages."""
EXAMPLES = dict(examples_of(COMMANDS, "pmd"))
"""By command, the lines that its help and its page in the reference show."""
ELSEWHERE = {
    "scripts/progressive.py": "test_main_job, with its numbers",
    "pmd progressive": "test_main_job and docs/shrink.md's Python",
    "pmd serve": "tests/serve",
    "pmd completion": "tests/cli/test_completion.py",
    "pmd COMMAND": "a placeholder",
    "pmd report RUN RUN": "a placeholder",
    "pmd table": "tests/papers",
    "pmd results": "tests/papers/test_results.py",
    "pmd glue": "tests/recipes/test_glue.py",
    "pmd launch": "tests/cli/test_launch.py",
    "pmd tune": "tests/api/test_tune.py",
    "pmd fuse": "tests/recipes/test_fuse.py",
    "pmd update": "tests/recipes/update",
    "pmd fit newer": "tests/api/test_fit_from.py",
    "pmd evaluate RUN/grade1 RUN/rotate": "tests/recipes/test_tasks.py",
    "pmd answer user/": "a model of the Hub",
    "pmd crop runs/glue": "tests/recipes/test_crop.py",
    "pmd export runs/world-… --to onnx": "tests/recipes/test_export.py",
    "pmd push runs/world-… user/world-grade3": "the Hub",
    "pmd data split facts.csv --valid 0.2 --out my_graph": "tests/recipes/test_data.py; the desk has a folder of that name",
    "pmd answer runs/my_graph-… --head Aru": "the graph of docs/graphs.md alone has it",
    "pmd crop runs/world-widths-…": "tests/recipes/test_text_widths.py",
    "pmd crop runs/my_graph-rotate-…": "tests/recipes/test_crop.py",
    "pmd answer small": "what the line above it writes",
    "scripts/figure.py --run runs/med": "tests/papers/test_med.py",
    "scripts/downstream.py": "tests/papers/downstream",
    "scripts/dualde.py": "tests/papers/test_dualde.py",
    "scripts/med.py": "tests/papers/test_med.py",
    "source <(": "tests/cli/test_completion.py",
}
WHOLE = {name for name in ELSEWHERE if len(name.split()) == 2}
SLOW = ("pmd suggest", "pmd report", "pmd shrink", "pmd fit", "pmd figure", "pmd train", "pmd push")
"""What takes more than two seconds; the last two are run in the gate by the Python of the pages."""


LARGE = ("my_graph-rotate-…", "world-complex-…", "both", "countries.txt", "types.tsv", "my_graph-…")
"""What the large desk has besides."""


def lines() -> list:
    quick = dict.fromkeys(line for page in PAGES for line in commands(ROOT / page))
    quick |= dict.fromkeys(line for examples in EXAMPLES.values() for line in examples)
    others = dict.fromkeys(line for page in SLOW_PAGES for line in commands(ROOT / page, inline=False))
    here = [line for line in quick | others if not line.startswith(tuple(ELSEWHERE))]
    is_slow = {line: line.startswith(SLOW) or line not in quick for line in here}
    return [pytest.param(line, marks=pytest.mark.slow if is_slow[line] else ()) for line in here]


def test_the_commands_of_every_page_are_run():
    shown = [page for page in ALL_PAGES if commands(page, inline=False, pattern=f"{COMMAND}|{MEASUREMENT}")]
    others = [f"docs/{name}.md" for name in (*test_long_pages.PAGES, "serve")]
    assert not {page.relative_to(ROOT).as_posix() for page in shown} - {*PAGES, *SLOW_PAGES, *others}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_command_has_an_example_that_is_run(name):
    run = {line.values[0] for line in lines()}
    assert run & {*EXAMPLES[name]} or any(f"{name} ".startswith(f"{whole} ") for whole in WHOLE)
    assert all(
        (ROOT / re.split("[,;]", place)[0]).exists() for place in ELSEWHERE.values() if place.startswith("tests/")
    )


@pytest.mark.filterwarnings("ignore:graph '")
@pytest.mark.parametrize("line", lines(), ids=lambda line: line[:60])
def test_a_line_runs(line, request, capsys):
    request.getfixturevalue("large_desk" if any(name in line for name in LARGE) else "desk")
    dispatch(arguments(line))
    assert capsys.readouterr().out


def printed_blocks(page: Path) -> list[tuple[str, str]]:
    """What is typed and what is printed, of each block that shows both."""
    blocks = re.findall(r"^```console\n\$ (.*?)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(line, printed) for line, printed in blocks if printed.strip()]


def masked(text: str) -> str:
    """A text with a 0 in place of every number, so that what another model answers looks alike."""
    return re.sub(r"-?\d+", "0", text)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_shown_is_what_is_printed_but_for_the_numbers_of_a_tiny_model(page, desk, capsys):
    for line, shown in printed_blocks(ROOT / page):
        dispatch(arguments(line))
        printed = capsys.readouterr().out
        around = [[row for row in text.splitlines() if row and not row.startswith("|")] for text in (shown, printed)]
        assert around[0] == around[1]
        (known, new), (known_shown, new_shown) = tables_of(printed), tables_of(shown)
        assert [list(map(masked, row)) for row in known] == [list(map(masked, row)) for row in known_shown]
        assert new[0] == new_shown[0] and len(new) == len(new_shown)
        for row, row_shown in zip(new[1:], new_shown[1:]):
            numbers = [cell for cell in map(masked, row) if re.fullmatch(r"[0.%]+", cell)]
            assert numbers == [cell for cell in map(masked, row_shown) if re.fullmatch(r"[0.%]+", cell)]

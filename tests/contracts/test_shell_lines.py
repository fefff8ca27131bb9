"""Every command in README and docs is one that its parser takes: no option in them is misspelt or gone."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from pmd.cli.main import dispatch

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "results").glob("*.md"))]
OTHERS = ("launch", "completion")
"""Commands that take those of other programs, and none of their own."""
NAMES = {
    "med": "table med",
    "compare": "table compare",
    "downstream": "table downstream",
    "dualde": "table dualde",
    "cost": "table cost",
    "glue_table": "table glue",
}
"""Scripts whose command has another name."""


def commands(page: Path, inline: bool = True) -> list[str]:
    """The commands of `pmd` and of scripts/ in its shell blocks and, if `inline`, between single backticks, as one would type them."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```(?:bash|console)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    if inline:
        lines += [
            " ".join(quoted.split())
            for quoted in re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        ]
    found = [re.search(r"(?:^|\s)(pmd [a-z]+ .*|scripts/[a-z_]+\.py .*)", line.removeprefix("$ ")) for line in lines]
    return [match[1] for match in found if match and not {"COMMAND", "…", "|"} & set(match[1].split())]


def arguments(line: str) -> list[str]:
    """What follows `pmd`, without a comment and what a pipe or a loop adds."""
    line = re.sub(r"(?<=[ _])(\$s|S)\b", "0", line)  # a seed
    words = shlex.split(re.sub(r"[;|>].*$", "", line) if "'" not in line else line, comments=True)
    if words[0] == "pmd":
        return words[1:]
    name = Path(words[0]).stem
    return [*NAMES.get(name, name).split(), *words[1:]]


LINES = sorted({line for page in PAGES for line in commands(page)})


def test_there_are_many():
    assert len(LINES) > 100


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:60])
def test_a_command_is_one_that_its_parser_takes(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = arguments(line)
    if words[-1] in ("--config", "--from"):
        words.pop()  # named without a value
    if words[0] in OTHERS or any(word in ("C", "S.yaml", "--help", "runs/tune-…/best.yaml") for word in words):
        pytest.skip("of another program, or a placeholder")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), pytest.raises(SystemExit) as end:
        dispatch([*words, "--print_config"])
    assert not end.value.code, printed.getvalue()[-300:]

"""Every command in README and docs is one that its parser takes: no option in them is misspelt or gone."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
from pathlib import Path

import jsonargparse
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
COMMAND = r"pmd [a-z]+ .*|scripts/[a-z_]+\.py .*"
MEASUREMENT = r"scripts/bench/[a-z_]+\.py.*"


def commands(page: Path, inline: bool = True, pattern: str = COMMAND) -> list[str]:
    """The commands of `pmd` and of scripts/ in its shell blocks and, if `inline`, between single backticks, as one would type them."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```(?:bash|console)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    if inline:
        lines += [
            " ".join(quoted.split())
            for quoted in re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        ]
    found = [re.search(rf"(?:^|\s)({pattern})", line.removeprefix("$ ")) for line in lines]
    return [match[1] for match in found if match and not {"COMMAND", "…", "|"} & set(match[1].split())]


def arguments(line: str) -> list[str]:
    """What follows `pmd`, without a comment and what a pipe or a loop adds."""
    line = re.sub(r"(?<=[ _])(\$s|S)\b", "0", line)  # a seed
    words = shlex.split(re.sub(r"[;|>].*$", "", line) if "'" not in line else line, comments=True)
    if words[0] == "pmd":
        return words[1:]
    name = Path(words[0]).stem
    return [*NAMES.get(name, name).split(), *words[1:]]


def own_lines(script: Path) -> list[str]:
    """The commands in the docstring of a measurement, but for those that say which options are optional."""
    found = re.findall(r"^    python (scripts/bench/.*)", script.read_text(encoding="utf-8"), re.MULTILINE)
    return [line for line in found if "[-" not in line]


LINES = sorted({line for page in PAGES for line in commands(page)})
MEASUREMENTS = {line for page in PAGES for line in commands(page, pattern=MEASUREMENT)}
MEASUREMENTS |= {line for script in (ROOT / "scripts" / "bench").glob("*.py") for line in own_lines(script)}


def test_there_are_many():
    assert len(LINES) > 100 and len(MEASUREMENTS) > 40


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:60])
def test_a_command_is_one_that_its_parser_takes(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = arguments(line)
    if words[-1] in ("--config", "--from"):
        words.pop()  # named without a value
    if words[0] in OTHERS or any(word in ("C", "S.yaml", "--help", "runs/tune-my_graph-…/best.yaml") for word in words):
        pytest.skip("of another program, or a placeholder")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), pytest.raises(SystemExit) as end:
        dispatch([*words, "--print_config"])
    assert not end.value.code, printed.getvalue()[-300:]


@pytest.mark.parametrize("line", sorted(MEASUREMENTS), ids=lambda line: line.removeprefix("scripts/bench/")[:60])
def test_a_measurement_is_one_that_its_script_takes(line, monkeypatch):
    script, *words = shlex.split(line, comments=True)
    parsed = []
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "scripts" / "bench")
    monkeypatch.setattr(
        jsonargparse,
        "auto_cli",
        lambda main, **options: parsed.append(jsonargparse.auto_parser(main, **options).parse_args(words)),
    )
    runpy.run_path(script, run_name="__main__")
    assert parsed

"""Tables of Markdown as lists of cells."""

from __future__ import annotations

import re


def cells_of(line: str) -> list[str]:
    """The cells of a row of a pipe table."""
    line = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)]


def tables_of(text: str) -> list[list[list[str]]]:
    """The tables of a text, each a list of rows: the header first, cells in bold without their stars."""
    tables: list[list[list[str]]] = []
    previous = ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not previous.startswith("|"):
                tables.append([])
            if not re.fullmatch(r"[|:-]+", line):
                tables[-1].append([re.sub(r"^\*\*(.+)\*\*$", r"\1", cell) for cell in cells_of(line)])
        previous = line
    return tables

"""A report as a list of sections, written twice from the same blocks: a page of HTML that needs nothing beside it, and
Markdown with its pictures in a folder."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pmd.core.files import write_text
from pmd.core.printing import printable
from pmd.evaluation.tables import Strong, Table

LONG_NAME = 16
"""Letters of a name that may be broken into lines."""


@dataclass(frozen=True)
class Text:
    """A paragraph; a `note` says what is missing or odd, `code` is printed as it is. With a `summary` it is long, and opens
    at a click on that."""

    text: str
    style: str = "plain"
    summary: str = ""


@dataclass(frozen=True)
class Picture:
    """An SVG file with what it shows; `wide` ones take the whole width, and scroll where there is too little."""

    file: Path
    caption: str
    wide: bool = False

    @property
    def source(self) -> str:
        """The file itself as an address."""
        return f"data:image/svg+xml;base64,{b64encode(self.file.read_bytes()).decode()}"


Block = Text | Table | list[Picture]
"""Pictures of one block stand side by side as far as there is room."""


@dataclass(frozen=True)
class Section:
    """A heading, which is also in the table of contents, and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Part:
    """The report of one run, or what compares several; the lede says the result in a sentence."""

    title: str
    sections: Sequence[Section]
    lede: str = ""


def write_page(path: Path, title: str, parts: Sequence[Part]) -> list[Path]:
    """Write `path` and, beside it, the same in Markdown; both files."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).parent)
    options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True, "undefined": StrictUndefined}
    options["finalize"] = lambda value: value if hasattr(value, "__html__") else printable(str(value))
    environment = Environment(loader=folder, **options)
    environment.filters |= {"anchor": anchor, "look": table_look}
    types = {"strong": Strong, "table": Table, "pictures": list}
    environment.tests |= {name: lambda value, cls=cls: isinstance(value, cls) for name, cls in types.items()}
    write_text(path, environment.get_template("report.html.jinja").render(title=title, parts=parts))
    markdown = path.with_suffix(".md")
    write_text(markdown, as_markdown(title, parts, path.parent))
    return [path, markdown]


def table_look(table: Table) -> str:
    """The style of a table: one column of texts, or long names in the first."""
    if len(table.columns) == 2 and table.left:
        return "facts"
    return "long" if any(len(row[0]) > LONG_NAME for row in table.rows) else ""


def as_markdown(title: str, parts: Sequence[Part], folder: Path) -> str:
    """The same in Markdown; pictures are named from `folder`."""
    several = len(parts) > 1
    paragraphs = [f"# {escaped(title)}"]
    for part in parts:
        paragraphs += [f"## {escaped(part.title)}"] * several + [escaped(part.lede)] * bool(part.lede)
        for section in part.sections:
            paragraphs.append(f"##{'#' * several} {escaped(section.title)}")
            paragraphs += [block_markdown(block, folder) for block in section.blocks]
    return "\n\n".join(paragraphs) + "\n"


def block_markdown(block: Block, folder: Path) -> str:
    """A block as paragraphs of Markdown."""
    if isinstance(block, Table):
        return block.markdown(escaped)
    if isinstance(block, Text):
        text = fenced(block.text) if block.style == "code" else escaped(block.text)
        lead = "> " if block.style == "note" else f"{escaped(block.summary)}:\n\n" if block.summary else ""
        return lead + text
    captions = [escaped(picture.caption) for picture in block]
    files = [picture.file.relative_to(folder).as_posix() for picture in block]
    return "\n\n".join(f"![{caption}](<{file}>)\n\n*{caption}*" for caption, file in zip(captions, files))


def fenced(text: str) -> str:
    """Text as code, behind a fence that is not in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}\n{printable(text.strip())}\n{fence}"


def escaped(text: str) -> str:
    """Text that Markdown leaves as it is, on one line."""
    text = re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", printable(" ".join(text.split())))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def anchor(text: str) -> str:
    """A heading as an id."""
    return re.sub(r"\W+", "-", text.lower()).strip("-") or "part"

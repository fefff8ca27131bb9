"""A report as a list of sections, written twice from the same blocks: a page of HTML that needs nothing beside it, and
Markdown with its pictures in a folder."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pmd.core.files import write_text
from pmd.recipes.tables import cells_of, markdown

TEMPLATE = "report.html.jinja"
INKS = {
    "#000000": "currentColor",
    "#ffffff": "none",
    "#0072b2": "var(--c1)",
    "#d55e00": "var(--c2)",
    "#009e73": "var(--c3)",
    "#e69f00": "var(--c4)",
    "#cc79a7": "var(--c5)",
    "#56b4e9": "var(--c6)",
    "#222222": "var(--g1)",
    "#666666": "var(--g2)",
    "#999999": "var(--g3)",
    "#bbbbbb": "var(--g4)",
    "#555555": "var(--muted)",
}
"""Colours of pictures as the page's own, which are others in the dark."""


LONG = 16
"""Letters of a name that may be broken into lines."""


class Strong(str):
    """A cell that stands out."""


@dataclass(frozen=True)
class Text:
    """A paragraph; a `note` says what is missing or odd, `code` is printed as it is."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Table:
    """Cells are printed as given; those of columns in `words` are set to the left, like the first."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    words: Sequence[str] = ()
    kind: str = "table"

    @property
    def look(self) -> str:
        """What the page sets otherwise: one column of texts, or long names in the first."""
        if len(self.columns) == 2 and self.words:
            return "facts"
        return "long" if any(len(row[0]) > LONG for row in self.rows) else ""

    @property
    def left(self) -> list[bool]:
        return [place == 0 or name in self.words for place, name in enumerate(self.columns)]


@dataclass(frozen=True)
class Picture:
    """An SVG file with what it shows; `wide` ones take the whole width, and scroll where there is too little."""

    file: Path
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side as far as there is room."""

    pictures: Sequence[Picture]
    kind: str = "pictures"


@dataclass(frozen=True)
class Folded:
    """A file that is long, under its name."""

    summary: str
    text: str
    kind: str = "folded"


@dataclass
class Section:
    """A heading, which is also in the table of contents, and what stands under it."""

    title: str
    blocks: list[Any] = field(default_factory=list)


@dataclass
class Part:
    """The report of one run, or what compares several."""

    title: str
    sections: list[Section]
    lede: str = ""


def write_page(path: Path, title: str, parts: Sequence[Part]) -> Path:
    """Write `path` and, beside it, the same in Markdown; the file of that."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"slug": slug, "svg": inline, "strong": lambda cell: isinstance(cell, Strong)}
    page = environment.get_template(TEMPLATE).render(title=title, parts=parts)
    write_text(path, page)
    other = path.with_suffix(".md")
    write_text(other, as_markdown(title, parts, path.parent))
    return other


def inline(picture: Picture, name: str) -> str:
    """The drawing of an SVG file for a page: in the page's colours and letters, its ids begun with `name`."""
    text = picture.file.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r"#[0-9a-fA-F]{6}\b", lambda found: INKS.get(found[0].lower(), found[0]), text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    width, height = (float(size) for size in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups())
    label = html.escape(picture.caption, quote=True)
    # A point of matplotlib's is four thirds of a pixel.
    least = f"; min-width: {width * 1.1:.0f}px" if picture.wide else ""
    sizes = f'style="max-width: {width * (1.35 if picture.wide else 1.6):.0f}px{least}"'
    opening = f'<svg role="img" aria-label="{label}" viewBox="0 0 {width:g} {height:g}" {sizes}>'
    return opening + text[text.index(">") + 1 :]


def as_markdown(title: str, parts: Sequence[Part], folder: Path) -> str:
    """The same in Markdown; pictures are named from `folder`."""
    lines, deep = [f"# {words(title)}"], len(parts) > 1
    for part in parts:
        if deep:
            lines.append(f"## {words(part.title)}")
        if part.lede:
            lines.append(words(part.lede))
        for section in part.sections:
            lines.append(f"{'###' if deep else '##'} {words(section.title)}")
            lines += [text for block in section.blocks for text in block_lines(block, folder)]
    return "\n\n".join(lines) + "\n"


def block_lines(block: Any, folder: Path) -> list[str]:
    """A block as paragraphs of Markdown."""
    if block.kind == "table":
        align = ["left" if left else "right" for left in block.left]
        rows = [
            [f"**{words(cell)}**" if isinstance(cell, Strong) else words(cell) for cell in row] for row in block.rows
        ]
        table = markdown([words(name) for name in block.columns], rows, align)
        return [words(block.caption), table] if block.caption else [table]
    if block.kind == "pictures":
        return [
            f"![{words(picture.caption)}](<{picture.file.relative_to(folder).as_posix()}>)\n\n*{words(picture.caption)}*"
            for picture in block.pictures
        ]
    if block.kind == "folded":
        return [f"{words(block.summary)}:", fenced(block.text)]
    if block.kind == "code":
        return [fenced(block.text)]
    return [f"> {words(block.text)}" if block.kind == "note" else words(block.text)]


def fenced(text: str) -> str:
    """Text as code, behind a fence that is not in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}\n{text.strip()}\n{fence}"


def words(text: str) -> str:
    """Text that Markdown leaves as it is, on one line."""
    text = re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slug(text: str) -> str:
    """A heading as an id."""
    return re.sub(r"\W+", "-", text.lower()).strip("-") or "part"


def read_tables(text: str) -> list[Table]:
    """The tables of a file of Markdown that a recipe wrote, with the line above each as its caption, to which the last
    one's takes what is said below it."""
    found, said = [], []
    for piece in re.split(r"\n\s*\n", text.strip()):
        rows = piece.splitlines()
        if len(rows) < 2 or not all(row.startswith("|") for row in rows):
            said.append(" ".join(piece.split()))
            continue
        header, _, *body = map(cells_of, rows)
        cells = [[Strong(cell[2:-2]) if re.fullmatch(r"\*\*.+\*\*", cell) else cell for cell in row] for row in body]
        found.append(Table(header, cells, said[-1] if said else ""))
        said = []
    if found and said:
        captions = [part for part in (found[-1].caption, *said) if part]
        found[-1] = replace(found[-1], caption=" ".join(part if part[-1] in ".!?" else f"{part}." for part in captions))
    return found

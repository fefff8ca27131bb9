"""Links go somewhere: relative ones to files and headings that exist, external ones to well-formed addresses, papers to those that are cited."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = [page for page in sorted((ROOT / "docs").rglob("*.[mi][dp]*")) if page.suffix in (".md", ".ipynb")]
PAGES = [*sorted(ROOT.glob("*.md")), *(page for page in DOCS if "reference" not in page.parts)]
NAMES_PAPERS = [*PAGES, ROOT / "CITATION.cff", *(ROOT / "pmd").rglob("*.py"), *(ROOT / "pmd").rglob("*.yaml")]
PAPERS = (ROOT / "pmd" / "hub" / "papers.bib").read_text(encoding="utf-8")
BY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def links_of(page: Path) -> list[str]:
    return re.findall(r"\]\(([^()\s]+)\)", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """Of its headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@BY_PAGE
def test_relative_links_lead_to_files_and_headings_that_exist(page):
    for link in links_of(page):
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        if not link.startswith(("http:", "https:")) and "reference" not in Path(place).parts:  # written with the site
            assert target.exists(), link
            assert not anchor or anchor in anchors_of(target), link


@BY_PAGE
def test_external_links_are_well_formed_and_by_https(page):
    for link in re.findall(r"\bhttps?:[^\s\"'`<>)\]\\]*", page.read_text(encoding="utf-8")):
        link = link.rstrip(".,;:")
        here = urlsplit(link).hostname in ("127.0.0.1", "localhost")
        assert here or re.fullmatch(r"https://([a-z0-9-]+\.)+[a-z]+(/[\w.~%+=&?/-]*)?(#[\w-]+)?", link), link


def test_the_papers_that_are_named_are_those_that_are_cited():
    cited = set(re.findall(r"^  (?:eprint|doi) = \{(.+)\}", PAPERS, re.MULTILINE))
    named = {}
    for file in NAMES_PAPERS:
        text = file.read_text(encoding="utf-8")
        found = re.findall(
            r"arxiv(?:\.org/(?:abs|pdf)/|[:\s]\s*)(\d{4}\.\d{4,5})|\b(10\.\d{4,9}/[\w.()-]+)", text, re.I
        )
        named |= {arxiv or doi: file for arxiv, doi in found}
    assert len(named) >= 3
    assert not {paper: file for paper, file in named.items() if paper not in cited}


def test_the_citation_file_gives_the_address_of_each_paper():
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    for key in ("pmd2024", "med2025", "dualde2022"):
        entry = PAPERS.partition(f"@inproceedings{{{key},")[2].partition("\n}")[0]
        fields = dict(re.findall(r"^  (\w+) = \{+(.*?)\}+,?$", entry, re.MULTILINE))
        expected = (fields["title"], int(fields["year"]), f"https://arxiv.org/abs/{fields['eprint']}")
        assert expected in [(each["title"], each["year"], each["url"]) for each in references]


def test_the_release_makes_the_links_of_the_readme_absolute():
    release = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    edit = re.search(r"sed -E '(.*?)' README\.md", release, re.DOTALL)[1].replace("ADDRESS", "https://example.org/pmd")
    done = subprocess.run(["sed", "-E", edit, ROOT / "README.md"], capture_output=True, text=True, check=True).stdout
    links, made = links_of(ROOT / "README.md"), re.findall(r"\]\(([^()\s]+)\)", done)
    assert len(links) == len(made) > 30
    for link, absolute in zip(links, made):
        kind = "raw" if link.endswith(".png") else "blob"
        assert absolute == (link if link.startswith("https:") else f"https://example.org/pmd/{kind}/vVERSION/{link}")

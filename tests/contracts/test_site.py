"""The site is built without a warning: no broken link, no missing reference, and a page for every command and public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pmd
from pmd.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]


def test_the_site_is_whole_and_asks_no_other_host(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-d", tmp_path / "doctrees", "docs", tmp_path / "site"]
    built = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    site = tmp_path / "site"
    assert all((site / "reference" / "python" / f"{name}.html").is_file() for name in pmd.__all__)
    assert all(any((site / "reference" / "commands").glob(f"pmd-{name}*.html")) for name in COMMANDS.commands)
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|<link[^>]*href)="(?:https?:)?//[^"]*"', text), page

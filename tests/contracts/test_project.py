"""What stands beside the code agrees with it: version, Python versions, forms and workflow are what their readers expect."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def test_the_citation_has_the_version_and_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_the_changelog_tells_of_this_version_or_announces_it():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## Unreleased$", text, re.MULTILINE)
    assert f"## {PROJECT['version']}" in text or f"will be {PROJECT['version']}" in text


def test_the_workflow_tries_every_python_from_the_oldest_allowed():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "gate.yml").read_text(encoding="utf-8"))
    versions = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert f">={versions[0]}" == PROJECT["requires-python"]
    assert versions == [f"3.{minor}" for minor in range(10, 10 + len(versions))]
    oldest = workflow["jobs"]["oldest"]["steps"]
    assert {"python-version": versions[0]} in [step.get("with") for step in oldest]
    assert any("--resolution lowest-direct" in step.get("run", "") for step in oldest)


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", [ROOT / ".github" / "workflows" / "gate.yml"]),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"]),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_for_other_programs_have_their_form(schema, files):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_container_file_has_nothing_to_mend():
    linter = shutil.which("hadolint") or Path(sys.executable).with_name("hadolint")
    if not Path(linter).exists():
        pytest.skip("hadolint, of the extra test, is for Linux on x86-64 alone")
    checked = subprocess.run([str(linter), str(ROOT / "Containerfile")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_papers_of_the_methods_are_to_be_cited():
    entries = (ROOT / "pmd" / "hub" / "papers.bib").read_text()
    cited = {
        (each["title"], each["year"]) for each in yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    }
    for key in ("pmd2024", "med2025", "dualde2022"):
        entry = entries.partition(f"@inproceedings{{{key},")[2].partition("\n}")[0]
        title, year = re.search(r"title = \{\{(.*?)\}\}", entry)[1], re.search(r"year = \{(\d+)\}", entry)[1]
        assert (title, int(year)) in cited

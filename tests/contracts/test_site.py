"""The site is built without a warning: no broken link, no missing reference, and a page for every command and public name."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

import pmd
from pmd.api.settings import parser_of
from pmd.cli.commands import COMMANDS
from pmd.cli.main import dispatch
from pmd.settings.kge import KgeConfig
from pmd.settings.text import ProgressiveConfig

ROOT = Path(__file__).parents[2]
SPEC = spec_from_file_location("reference_pages", ROOT / "docs" / "_ext" / "reference_pages.py")
REFERENCE = module_from_spec(SPEC)
SPEC.loader.exec_module(REFERENCE)
BY_NAME = dict(REFERENCE.commands_of(COMMANDS, "pmd"))


def test_the_site_is_whole_and_asks_no_other_host(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-d", tmp_path / "doctrees", "docs", tmp_path / "site"]
    built = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    site = tmp_path / "site"
    for name in (*pmd.__all__, *REFERENCE.returned_types()):
        assert (site / "reference" / "python" / f"{name}.html").is_file()
    assert all(any((site / "reference" / "commands").glob(f"pmd-{name}*.html")) for name in COMMANDS.commands)
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|<link[^>]*href)="(?:https?:)?//[^"]*"', text), page


@pytest.mark.parametrize("name", BY_NAME)
def test_every_option_of_a_command_stands_on_its_page(name):
    page = REFERENCE.command_page(name, BY_NAME[name])
    for action in BY_NAME[name].parser(name)._actions:
        for option in (option for option in action.option_strings if option.startswith("--")):
            is_group = f"\n## {option[2:]}\n" in page
            assert f"`{option}`" in page or is_group or option.endswith((".help", "+")), option


def test_options_and_files_of_the_methods_page_exist():
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    marked = re.findall(r"`([^`]+)`", text)
    files = [name for name in marked if name.startswith("pmd/")]
    options = [name for name in marked if re.fullmatch(r"[a-z]+(\.[a-z_0-9]+)+", name)]
    of_commands = re.findall(r"`(--[a-z_]+)` of `(pmd [a-z]+)`", text)
    known = {option for config in (ProgressiveConfig, KgeConfig) for option in options_of(config)}
    assert len(files) > 50 and len(options) > 55 and len(of_commands) >= 5
    assert not [name for name in files if not (ROOT / name).exists()]
    assert not [name for name in options if name not in known]
    assert not [(option, name) for option, name in of_commands if not takes(BY_NAME[name], option)]


def takes(command, option: str) -> bool:
    return any(option in action.option_strings for action in command.parser("pmd")._actions)


def options_of(config: type) -> set[str]:
    return {action.dest for action in parser_of(config)._actions}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name.startswith("pmd table") else ()) for name in BY_NAME]
)
def test_the_settings_that_a_page_shows_as_yaml_are_what_its_command_takes(name, tmp_path, capsys):
    shown = REFERENCE.defaults_of(BY_NAME[name])
    (tmp_path / "settings.yaml").write_text(shown or "{}")
    if shown:
        with pytest.raises(SystemExit) as end:
            dispatch([*name.split()[1:], f"--config={tmp_path}/settings.yaml", "--print_config"])
        printed = yaml.safe_load(capsys.readouterr().out)
        assert not end.value.code and yaml.safe_load(shown).items() <= printed.items()

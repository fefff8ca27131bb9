"""What editors and type checkers read of the package is what the functions take: pmd/__init__.pyi."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parents[2]
TYPED = ROOT / "tests" / "typed"


def test_the_stub_is_what_the_script_writes():
    spec = spec_from_file_location("stub", ROOT / "scripts" / "typed" / "stub.py")
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.OUT.read_text(encoding="utf-8") == script.written(), "python scripts/typed/stub.py"


def test_a_type_checker_accepts_right_calls_and_refuses_each_wrong_one(tmp_path):
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "pmd/__init__.pyi", "tests/typed"]
    checked = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    refused = set(re.findall(r"^(\S+?):(\d+): error: .*\[([\w-]+)\]$", checked.stdout, re.MULTILINE))
    lines = (TYPED / "wrong.py").read_text(encoding="utf-8").splitlines()
    expected = {
        ("tests/typed/wrong.py", str(number), line.rpartition("  # ")[2])
        for number, line in enumerate(lines, 1)
        if "  # " in line
    }
    assert refused == expected, checked.stdout

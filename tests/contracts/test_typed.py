"""What editors and type checkers read of the package is what the functions take: pmd/__init__.pyi."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from ..pages.test_python_blocks import ROOT, WITH_BLOCKS, blocks_of

TYPED = ROOT / "tests" / "typed"


def test_the_stub_is_what_the_script_writes():
    spec = spec_from_file_location("stub", ROOT / "scripts" / "typed" / "stub.py")
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.OUT.read_text(encoding="utf-8") == script.written(), "python scripts/typed/stub.py"


def test_a_type_checker_accepts_right_calls_and_the_pages_and_refuses_each_wrong_call(tmp_path):
    for page in WITH_BLOCKS:
        source = "\n".join(block.parsed for block in blocks_of(ROOT / page))
        (tmp_path / f"{Path(page).stem}_page.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--cache-dir", tmp_path / "cache"]
    command += ["--disable-error-code=override"]  # the `for_stage` of a method takes what its users give
    command += ["pmd/__init__.pyi", "tests/typed", *sorted(tmp_path.glob("*_page.py"))]
    checked = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    refused = set(re.findall(r"^(\S+?):(\d+): error: .*\[([\w-]+)\]$", checked.stdout, re.MULTILINE))
    lines = (TYPED / "wrong.py").read_text(encoding="utf-8").splitlines()
    expected = {
        ("tests/typed/wrong.py", str(number), line.rpartition("  # ")[2])
        for number, line in enumerate(lines, 1)
        if "  # " in line
    }
    assert refused == expected, checked.stdout

"""Killed, resumed, and byte for byte what a run that never stopped leaves: a few kills of those that the script makes."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench" / "kills.py"


def test_a_killed_run_ends_like_one_that_never_stopped(tmp_path):
    few = ["--families=[embedding]", "--random=1", "--aimed=3", "--every_rename=false", "--fresh=false"]
    done = subprocess.run([sys.executable, SCRIPT, *few, f"--out={tmp_path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *wrong, row = done.stdout.strip().splitlines()
    name, *counts = (cell.strip() for cell in row.strip("|").split("|"))
    at_random, aimed, renames, *bad = map(int, counts)
    assert name == "embedding" and at_random >= 1 and aimed == 3 and renames > 8
    assert bad == [0, 0, 0], "\n".join(wrong)

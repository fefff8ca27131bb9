"""The files of docs/cluster.md: accelerate reads the one, and the other does with stand-ins what it says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
JOB = re.search(r"```bash\n(#!/bin/bash.*?)```", PAGE, re.DOTALL)[1]
SAVES = "#!/bin/bash\ntrap 'echo saved; kill %1; exit 143' TERM\necho $@\nsleep 20 & wait\n"


@pytest.fixture
def job(tmp_path) -> Path:
    (tmp_path / "job.sh").write_text(JOB)
    return tmp_path / "job.sh"


def test_accelerate_reads_its_file(tmp_path):
    (tmp_path / "four.yaml").write_text(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    config = load_config_from_file(str(tmp_path / "four.yaml"))
    assert isinstance(config, ClusterConfig)
    assert (config.num_processes, config.num_machines, config.mixed_precision) == (4, 1, "no")


def test_the_job_is_a_script_without_remarks(job):
    shellcheck = shutil.which("shellcheck") or Path(sys.executable).with_name("shellcheck")
    for command in (["bash", "-n"], [str(shellcheck)]):
        checked = subprocess.run([*command, str(job)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("ends", "status", "requeued"), [(SAVES, 143, "requeue 7\n"), ("#!/bin/bash\nexit 2\n", 2, "")]
)
def test_a_job_whose_time_is_over_waits_for_the_run_and_is_submitted_again(ends, status, requeued, job, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("pmd", ends), ("scontrol", f'#!/bin/bash\necho "$@" >> {tmp_path}/asked\n')):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    with subprocess.Popen(["bash", str(job)], env=environment, stdout=subprocess.PIPE, text=True) as started:
        if requeued:
            assert "--resume auto" in started.stdout.readline()
            started.send_signal(signal.SIGTERM)
            assert started.stdout.readline() == "saved\n"
    asked = tmp_path / "asked"
    assert started.returncode == status and (asked.read_text() if asked.exists() else "") == requeued

"""The files of docs/cluster.md do what the page says: accelerate reads its own, and the job runs with stand-ins. Its costs are computed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
JOB = re.search(r"```bash\n(#!/bin/bash.*?)```", PAGE, re.DOTALL)[1]
SAVES = "#!/bin/bash\ntrap 'echo saved; kill %1; exit 143' TERM\necho $@\nsleep 20 & wait\n"


@pytest.fixture
def job(tmp_path) -> Path:
    (tmp_path / "job.sh").write_text(JOB)
    return tmp_path / "job.sh"


FILES = dict(re.findall(r"```yaml\n# (\w+)\.yaml\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize(
    ("name", "kind", "processes", "machines", "on_cpu"),
    [
        ("gpu", "NO", 1, 1, False),
        ("gpus", "MULTI_GPU", 4, 1, False),
        ("cpus", "MULTI_GPU", 2, 1, True),
        ("machines", "MULTI_GPU", 8, 2, False),
    ],
)
def test_accelerate_reads_a_file(name, kind, processes, machines, on_cpu, tmp_path):
    (tmp_path / "file.yaml").write_text(FILES[name])
    config = load_config_from_file(str(tmp_path / "file.yaml"))
    assert isinstance(config, ClusterConfig) and config.distributed_type == kind
    assert (config.num_processes, config.num_machines, config.use_cpu) == (processes, machines, on_cpu)
    assert config.mixed_precision == "no" and len(FILES) == 4


@pytest.mark.slow
def test_the_file_for_cpus_starts_its_processes(tmp_path):
    (tmp_path / "cpus.yaml").write_text(FILES["cpus"])
    (tmp_path / "asks.py").write_text(
        "from accelerate import Accelerator\nprint(f'one of {Accelerator().num_processes}')\n"
    )
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "cpus.yaml", "asks.py"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    asked = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert asked.stdout.count("one of 2") == 2, asked.stderr


def test_the_costs_are_what_the_script_computes_from_the_pages():
    spec = spec_from_file_location("wikidata5m", ROOT / "scripts" / "bench" / "wikidata5m.py")
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.with_table(PAGE) == PAGE, "python scripts/bench/wikidata5m.py --write true"
    assert script.duration(119) == "119 s" and script.duration(5400) == "90 min" and script.duration(129600) == "36 h"


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


@pytest.mark.slow
def test_one_launcher_on_each_of_two_machines_makes_one_run(folder, tmp_path):
    """Both on this one, with a process each."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text("#!/bin/bash\necho localhost\n")
    program.chmod(0o755)
    (tmp_path / "wn18rr").symlink_to(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launcher = re.search(r"```bash\n(torchrun .*?)```", PAGE, re.DOTALL)[1].strip()
    launcher = launcher.replace("--nproc_per_node 4", "--nproc_per_node 1").replace("29500", port)
    launcher += " --model.dim 8 --train.epochs 1 --train.batch_size 16 --train.threads 1"
    environment = {**os.environ, "PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {"ACCELERATE_USE_CPU": "true", "SLURM_JOB_NODELIST": "two"}
    machines = [
        subprocess.Popen(["bash", "-c", launcher], cwd=tmp_path, env={**environment, "SLURM_NODEID": node})
        for node in "01"
    ]
    assert [machine.wait() for machine in machines] == [0, 0]
    (made,) = (tmp_path / "runs").iterdir()
    assert (made / "results.json").is_file()
    assert json.loads((made / "env.json").read_text())["processes"] == 2

"""Which cores are free, read from files as Linux has them, and how many threads are taken. No test looks at this machine's load."""

import os
import re
import subprocess
import sys

import pytest

from pmd.core import cores
from pmd.core.cores import Cores, Reading, Watch, busy_seconds, changed, cores_between, described, group_limits

TICKS = os.sysconf("SC_CLK_TCK")

STAT = """cpu  110849 21345 12967 120513 336 0 117 91 0 0
cpu0 45661 12377 5541 69212 88 1 20 44 7 0
cpu1 65188 8967 7425 51301 248 2 96 46 0 0
cpu10 100 0 0 900 0 0 0 0 0 0
intr 1 2 3
ctxt 4
"""


@pytest.mark.parametrize(
    ("allowed", "ticks"),
    [
        ({0}, 45661 + 12377 + 5541 + 1 + 20 + 44),  # a guest's time is in the user's already
        ({1}, 65188 + 8967 + 7425 + 2 + 96 + 46),
        ({10}, 100),
        ({0, 1}, 63644 + 81724),
        (set(), 0),
    ],
)
def test_busy_is_all_but_idle_on_the_allowed_cpus(allowed, ticks):
    assert busy_seconds(STAT, allowed) == ticks / TICKS


@pytest.fixture
def tree(tmp_path):
    """Writes files under a root of their own, which it gives."""

    def write(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


VERSION_2 = {
    "proc/self/cgroup": "0::/user.slice/job.scope\n",
    "sys/fs/cgroup/user.slice/job.scope/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/user.slice/job.scope/cpu.stat": "usage_usec 2500000\nuser_usec 2000000\n",
    "sys/fs/cgroup/user.slice/cpu.max": "400000 100000\n",
    "sys/fs/cgroup/user.slice/cpu.stat": "usage_usec 7000000\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 9000000\n",  # the root has no quota
}
VERSION_1 = {
    "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n",
    # In a container the group's own folder is where all groups are outside.
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpuacct/cpuacct.usage": "3000000000\n",
}


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        (VERSION_2, [(1.5, 2.5), (4.0, 7.0)]),
        (VERSION_2 | {"sys/fs/cgroup/user.slice/cpu.max": "max 100000\n"}, [(1.5, 2.5)]),
        (VERSION_1, [(2.0, 3.0)]),
        (VERSION_1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, []),
        ({"proc/self/cgroup": "0::/\n"}, []),
        ({"proc/self/cgroup": "4:memory:/a\n"}, []),
    ],
)
def test_quotas_of_control_groups(files, limits, tree):
    assert list(group_limits(tree(files))) == limits


def test_the_time_of_a_run_is_that_of_all_its_processes(tree):
    def process(number, parent, *times):
        return {
            f"proc/{number}/stat": f"{number} (a (b) c) S {parent} 0 0 0 0 0 0 0 0 0 {' '.join(map(str, times))} 20 0"
        }

    files = process(10, 1, 1, 2, 3, 4) | process(11, 10, 10, 20, 0, 0) | process(12, 11, 100, 0, 0, 0)
    root = tree(files | process(13, 1, 1000, 0, 0, 0))
    assert cores.family_seconds(root, 10) == 140 / TICKS
    assert cores.family_seconds(root, 11) == 130 / TICKS
    assert cores.family_seconds(root, 99) == 0


def test_a_reading_takes_all_together(tree, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr(os, "getpid", lambda: 10)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    own = {"proc/10/stat": "10 (python) R 9 0 0 0 0 0 0 0 0 0 5 6 0 0 20 0"}
    reading = cores.read(
        tree(VERSION_2 | own | {"proc/stat": STAT, "proc/9/stat": "9 (sh) S 1" + " 0" * 9 + " 7 7 0 0 1"})
    )
    assert reading.limits == [(2, 145368 / TICKS), (1.5, 2.5), (4.0, 7.0)] and reading.run_seconds == 11 / TICKS
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(os, "getppid", lambda: 9)
    assert cores.read(tree({})).run_seconds == 25 / TICKS  # the launcher, and so the other processes of the run


def test_without_such_files_all_cores_are_taken_to_be_free(tmp_path, monkeypatch):
    for name in ("sched_getaffinity", "sysconf"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    before, after = cores.read(tmp_path), cores.read(tmp_path)
    assert before.limits == [(6, 0.0)] and before.run_seconds == 0
    assert cores_between(before, after._replace(time=before.time + 1)) == (6, 6)


@pytest.mark.parametrize(
    ("limits", "own", "expected"),
    [
        ([(2, 0.0)], 0.0, (2, 2)),
        ([(2, 0.06)], 0.0, (2, 2)),  # what always runs somewhere
        ([(2, 2.0)], 0.0, (2, 1)),  # one busy process for two seconds
        ([(2, 2.0)], 2.0, (2, 2)),  # it is this run
        ([(2, 4.0)], 0.0, (2, 1)),  # never less than one
        ([(2, 9.0)], 0.0, (2, 1)),
        ([(64, 61.0)], 0.0, (64, 33)),
        ([(64, 0.0), (2.0, 0.0)], 0.0, (2, 2)),  # a quota
        ([(64, 0.0), (1.5, 0.0)], 0.0, (1, 1)),
        ([(64, 0.0), (0.5, 0.0)], 0.0, (1, 1)),
        ([(64, 8.0), (4.0, 2.0)], 0.0, (4, 3)),  # used by others in the same group
        ([(64, 8.0), (4.0, 2.0)], 2.0, (4, 4)),
        ([(4, 7.9), (3.0, 0.0)], 0.0, (3, 1)),
    ],
)
def test_free_cores(limits, own, expected):
    before = Reading(100.0, [(limit, 50.0) for limit, _ in limits], 7.0)
    after = Reading(102.0, [(limit, 50.0 + used) for limit, used in limits], 7.0 + own)
    assert cores_between(before, after) == expected


ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "no"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none"}
PLAIN = "PATH=/bin\0HOME=/root\0"
SET = "PATH=/bin\0OMP_NUM_THREADS=4\0"


@pytest.mark.parametrize(
    ("variables", "started_with", "command", "threads"),
    [
        ({}, None, "", 0),
        ({"OMP_NUM_THREADS": "4"}, None, "", 4),
        ({"OMP_NUM_THREADS": "1"}, None, "", 1),
        ({"OMP_NUM_THREADS": "4,2"}, None, "", 4),
        ({"OMP_NUM_THREADS": ""}, None, "", 0),
        ({"OMP_NUM_THREADS": "many"}, None, "", 0),
        ({"OMP_NUM_THREADS": "1", **ACCELERATE}, PLAIN, "accelerate\0launch\0a.py", 0),
        ({"OMP_NUM_THREADS": "2", **ACCELERATE}, PLAIN, "accelerate\0launch\0--cpu\0a.py", 0),
        ({"OMP_NUM_THREADS": "4", **ACCELERATE}, SET, "accelerate\0launch\0a.py", 4),
        ({"OMP_NUM_THREADS": "3", **ACCELERATE}, PLAIN, "accelerate\0launch\0--num_cpu_threads_per_process\0003", 3),
        ({"OMP_NUM_THREADS": "3", **ACCELERATE}, PLAIN, "accelerate\0launch\0--num_cpu_threads_per_process=3", 3),
        ({"OMP_NUM_THREADS": "1", **TORCHRUN}, PLAIN, "torchrun\0a.py", 0),
        ({"OMP_NUM_THREADS": "1", **TORCHRUN}, "OMP_NUM_THREADS=1\0PATH=/bin\0", "torchrun\0a.py", 1),
        # No /proc: a launcher's own number is nearly always 1.
        ({"OMP_NUM_THREADS": "1", **TORCHRUN}, None, "", 0),
        ({"OMP_NUM_THREADS": "4", **ACCELERATE}, None, "", 4),
    ],
)
def test_what_the_user_asks_for_is_told_from_what_a_launcher_sets(variables, started_with, command, threads, tree):
    launcher = {} if started_with is None else {"proc/7/environ": started_with, "proc/7/cmdline": command}
    assert cores.threads_asked(variables, tree(launcher), parent=7) == threads


SHOW = """
import os, sys
from pmd.core.cores import threads_asked
sys.stdout.write(f"{threads_asked(os.environ)} {os.environ['OMP_NUM_THREADS']}\\n")  # at once: processes write side by side
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="needs /proc")
@pytest.mark.parametrize(
    ("given", "launcher", "shown"),
    [
        (None, ["accelerate.commands.launch"], "0 1"),
        ("2", ["accelerate.commands.launch"], "2 2"),
        (None, ["torch.distributed.run", "--standalone", "--nproc_per_node=2"], "0 1"),
    ],
)
def test_the_launchers_themselves(given, launcher, shown, tmp_path):
    (tmp_path / "show.py").write_text(SHOW)
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"OMP_NUM_THREADS": given} if given else {}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, tmp_path / "show.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.splitlines()) == {shown}


@pytest.fixture
def start(monkeypatch):
    """Sets the cores as they are at the start."""

    def as_they_are(usable, free):
        monkeypatch.setattr(cores, "cores_at_start", lambda: Cores(usable, free))

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return as_they_are


@pytest.mark.parametrize(
    ("usable", "free", "processes", "asked", "count"),
    [
        (2, 2, 1, None, 2),
        (2, 1, 1, None, 1),
        (16, 16, 4, None, 4),
        (16, 7, 4, None, 1),
        (2, 2, 4, None, 1),
        (2, 1, 1, "8", 8),
        (16, 16, 4, "8", 8),
    ],
)
def test_threads_are_what_is_asked_or_what_is_free(usable, free, processes, asked, count, start, monkeypatch):
    start(usable, free)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cores.thread_count(processes) == count


@pytest.mark.parametrize(
    ("usable", "free", "variables", "policy"),
    [
        (2, 2, {}, None),
        (2, 1, {}, "PASSIVE"),
        (2, 1, {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        (2, 1, {"GOMP_SPINCOUNT": "1000"}, None),
        (2, 1, {"KMP_BLOCKTIME": "1"}, None),
    ],
)
def test_threads_sleep_while_they_wait_where_they_are_not_alone(usable, free, variables, policy, start, monkeypatch):
    start(usable, free)
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    cores.sleep_while_waiting()  # torch is loaded: too late
    assert os.environ.get("OMP_WAIT_POLICY") == variables.get("OMP_WAIT_POLICY")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    cores.sleep_while_waiting()
    assert os.environ.get("OMP_WAIT_POLICY") == policy
    if policy == "PASSIVE":
        monkeypatch.delenv("OMP_WAIT_POLICY")


@pytest.mark.parametrize(
    ("threads", "found", "text"),
    [
        (1, Cores(1, 1), "1 thread"),
        (2, Cores(2, 2), "2 threads"),
        (1, Cores(2, 2), "1 thread"),
        (1, Cores(2, 1), "1 of 2 cores free: 1 thread"),
        (3, Cores(16, 14), "14 of 16 cores free: 3 threads"),
    ],
)
def test_threads_are_described(threads, found, text):
    assert described(threads, found) == text


@pytest.mark.parametrize(
    ("threads", "start", "now", "words"),
    [
        (2, (2, 2), (2, 2), None),
        (2, (2, 2), (2, 1), "1 of 2 .* 2 thread.* resume it"),
        (1, (2, 2), (2, 1), None),  # the user's one thread has its core still
        (2, (2, 1), (2, 1), None),  # as it was asked for
        (1, (2, 1), (2, 2), "2 of 2 .* 1 thread.* new run"),
        (1, (2, 1), (2, 1), None),
        (8, (16, 9), (16, 7), "7 of 16 .* 8 thread.* resume it"),
        (8, (16, 9), (16, 12), None),  # as the user wants it
    ],
)
def test_another_load_is_remarked(threads, start, now, words):
    remark = changed(threads, Cores(*start), Cores(*now))
    assert remark is None if words is None else re.search(words, remark)


def test_a_watch_speaks_once(start, monkeypatch):
    start(2, 2)
    clock, used = [0.0], [0.0]
    monkeypatch.setattr(cores.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(cores, "read", lambda: Reading(clock[0], [(2, used[0])], 0.0))
    watch, said = Watch(2), []
    for step in range(1, 99):  # two seconds each; other work comes at the 20th
        clock[0] += 2.0
        used[0] += 2.0 if step > 20 else 0.0
        said += [(step, remark)] if (remark := watch.remark()) else []
    ((step, remark),) = said
    assert 20 < step <= 60 and "1 of 2 cores" in remark

"""`pmd completion`: the script of bash is sourced and asked as bash asks it."""

import json
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout

import pytest

from pmd.cli.main import dispatch
from pmd.core.errors import PmdError

ASKED = {
    "pmd an": ["answer"],
    "pmd ": ["progressive", "train", "answer", "data", "completion"],
    "pmd answer --he": ["--head", "--help"],
    "pmd answer RUN --json --he": ["--head"],  # a flag takes no value
    "pmd answer RUN --qu": ["--quiet"],
    "pmd answer RUN --target h": ["head"],
    "pmd answer my_": ["my_run"],
    "pmd answer my_run --batch q": ["questions.tsv"],
    "pmd push my_run user/name --dry": ["--dry_run"],
    "pmd report my_run my_": ["my_run"],
    "pmd train --data.pa": ["--data.path"],
    "pmd train --config q": ["questions.tsv"],
    "pmd train --model.interaction ro": ["rotate"],
    "pmd train --med.dynamic --model.d": ["--model.dim"],  # a flag that may be null takes no value either
    "pmd train --resume my_": ["my_run"],
    "pmd glue --task st": ["stsb"],
    "pmd progressive --distill.method pmd_": ["pmd_no_mgfd"],
    "pmd table compare --metric hits": ["hits_at_1", "hits_at_3", "hits_at_10"],
    "pmd data info my_": ["my_run"],
    "pmd data con": ["convert"],
    "pmd data convert my_run --to k": ["kg-bert"],
    "pmd completion b": ["bash"],
}


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    place = tmp_path_factory.mktemp("completion")
    with open(place / "script", "w", encoding="utf-8") as file, redirect_stdout(file):
        dispatch(["completion", "bash"])
    (place / "my_run").mkdir()
    (place / "questions.tsv").touch()
    return place


def test_the_script_is_one_of_bash(bash):
    assert subprocess.run(["bash", "-n", bash / "script"], capture_output=True, text=True).stderr == ""


def test_what_is_completed(bash):
    program = ["source ./script"]
    for line in ASKED:
        words = shlex.join([*line.split(), *([""] if line.endswith(" ") else [])])
        program += [f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()"]
        program += ["_shtab_pmd; echo ${COMPREPLY[*]}"]
    result = subprocess.run(["bash", "-c", "\n".join(program)], cwd=bash, capture_output=True, text=True, check=True)
    answers = result.stdout.splitlines()
    for (line, wanted), found in zip(ASKED.items(), answers, strict=True):
        assert set(wanted) <= set(found.split()), line
        typed = line.split(" ")[-1]
        assert all(word.startswith(typed) for word in found.split())


@pytest.mark.parametrize(("shell", "first"), [("zsh", "#compdef pmd"), ("tcsh", "complete pmd")])
def test_other_shells(shell, first, capsys):
    dispatch(["completion", shell])
    printed = capsys.readouterr().out
    assert first in printed and "answer" in printed and "kg-bert" in printed


def test_a_shell_that_there_is_not():
    with pytest.raises(PmdError, match=r"shell: 'fisch'.*bash, zsh, tcsh"):
        dispatch(["completion", "fisch"])


def test_other_commands_start_without_it():
    program = "import sys, json; from pmd.cli.main import dispatch; dispatch(['--help']); "
    program += "print(json.dumps([m for m in ('shtab', 'torch', 'transformers', 'numpy') if m in sys.modules]))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.splitlines()[-1]) == []

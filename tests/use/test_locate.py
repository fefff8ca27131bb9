"""Models from the Hub: what is fetched of them, and which revision."""

import json

import huggingface_hub.constants
import pytest

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.use.locate import locate

from ..hub.conftest import hub  # noqa: F401
from ..hub.server import Repo

READ = ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "entities.tsv", "index/index.json")
OTHERS = ("pytorch_model.bin", "onnx/model.onnx", "training_args.bin", "modeling.py", "tf_model.h5", "picture.png")


@pytest.fixture
def repo(hub, tmp_path, monkeypatch):  # noqa: F811
    """A repository of two branches with more than a model in it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    found = hub.repos["user/name"] = Repo()
    for branch in ("main", "small"):
        files = {name: f"{name} of {branch}".encode() for name in (*READ, *OTHERS, "index/vectors.npy", "README.md")}
        found.commit(branch, {**files, "config.json": json.dumps({"of": branch}).encode()}, "a model")
    return found


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_read_is_fetched(repo, hub):  # noqa: F811
    assert files(locate("user/name")) == {*READ, "index/vectors.npy", "README.md"}
    assert not any(hub.count("GET", name) for name in OTHERS)


def test_a_revision(repo):
    for revision, of in ((None, "main"), ("small", "small"), (repo.branches["small"], "small")):
        folder = locate("user/name", revision=revision)
        assert json.loads((folder / "config.json").read_text()) == {"of": of}
    with pytest.raises(PmdError, match=r"'user/name'.*revision 'other'"):
        pmd.load("user/name", revision="other")


@pytest.mark.parametrize("name", ["world-…", "world"])
def test_a_run_that_is_named_by_its_beginning_is_proposed(name, tmp_path):
    for run in ("world-complex-20260101-120000", "world-20260102-120000", "other-20260103-120000"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "config.yaml").touch()
    with pytest.raises(
        PmdError, match=r"no folder '.*world.*newest run whose name begins so is .*/world-20260102-120000\)"
    ):
        locate(str(tmp_path / name))


def test_what_lies_here_has_no_revisions(tmp_path):
    for act in (
        lambda: pmd.load(tmp_path, revision="main"),
        lambda: dispatch(["answer", str(tmp_path), "--revision=main", "--head=a", "--relation=b"]),
    ):
        with pytest.raises(PmdError, match=r"revision: '.*'.*folder"):
            act()

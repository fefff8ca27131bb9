"""The upload over HTTP against a small Hub: what arrives, what is refused, and what a broken connection leaves."""

import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import load, save_file

from pmd.core.errors import PmdError
from pmd.hub import push as module
from pmd.hub.push import push, sendable

WEIGHTS = np.arange(3000, dtype=np.float32)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "index").mkdir(parents=True)
    save_file({"weights": WEIGHTS}, folder / "model.safetensors")
    np.save(folder / "index" / "vectors.npy", WEIGHTS.reshape(30, 100))
    (folder / "config.json").write_text('{"dim": 4}')
    (folder / "entities.tsv").write_text("e0\tÖl\t\n")
    (folder / "README.md").write_text("---\nlibrary_name: pmd\n---\n\n# model\n")
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def send(folder, repo="user/name", **options):
    return push(folder, repo, message="a run, grade3", **options)


def refusal(folder, repo="user/name", **options):
    """The one line of a push that fails; the folder is as it was."""
    before = contents(folder)
    with pytest.raises(PmdError) as caught:
        send(folder, repo, **options)
    assert len(str(caught.value).splitlines()) == 1 and contents(folder) == before
    return str(caught.value)


@pytest.mark.parametrize("chunk_size", [None, 5000])
def test_everything_arrives_in_one_commit(chunk_size, hub, folder):
    hub.chunk_size = chunk_size
    said = send(folder)
    held = hub.files("user/name")
    assert {name: held[name] for name in held if name != ".gitattributes"} == contents(folder)
    assert hub.repos["user/name"].messages == ["initial commit", "a run, grade3"]
    assert said == f"{hub.url}/user/name, commit {hub.repos['user/name'].branches['main'][:8]}"
    assert hub.repos["user/name"].private is False
    parts = sum(-(-len(content) // 5000) for content in hub.objects.values())
    assert len(hub.objects) == 2 and hub.count("PUT", "/lfs/") == (parts if chunk_size else 2)


def test_a_private_one_and_a_branch(hub, folder):
    said = send(folder, private=True, revision="small")
    assert hub.repos["user/name"].private is True
    assert set(hub.files("user/name", "small")) == {*contents(folder), ".gitattributes"}
    assert set(hub.files("user/name")) == {".gitattributes"} and "/user/name (small), commit" in said


def test_a_public_one_does_not_pass_for_private(hub, folder):
    send(folder)
    assert refusal(folder, private=True, update=True).startswith("private: 'user/name' exists and is public")


def test_what_a_name_holds_is_not_overwritten_by_mistake(hub, folder):
    send(folder)
    before = dict(hub.files("user/name"))
    save_file({"weights": 2 * WEIGHTS}, folder / "model.safetensors")
    said = refusal(folder)
    assert said == ("repo: 'user/name' holds 5 files already; add --update to write over them, or choose another name")
    assert hub.files("user/name") == before


def test_an_update_replaces_the_model_and_leaves_the_rest(hub, folder, capsys):
    larger = {"model-00001-of-00002.safetensors": b"", "index/columns.safetensors": b"", "merges.txt": b"a b\n"}
    send(folder)
    own = {"picture.png": b"png", "run.log": b"", "LICENSE.txt": b"", "docs/usage.md": b"", "eval_results.json": b"{}"}
    hub.files("user/name").update({"pytorch_model.bin": b"", **own, **larger})
    (folder / "index" / "vectors.npy").unlink()
    save_file({"weights": 2 * WEIGHTS}, folder / "model.safetensors")
    send(folder, update=True)
    held = hub.files("user/name")
    assert set(held) == {*contents(folder), ".gitattributes", *own}  # nothing of the old model
    *_, said = capsys.readouterr().err.splitlines()
    assert said.startswith("user/name: removed files of the earlier model: ") and all(name in said for name in larger)
    np.testing.assert_array_equal(load(held["model.safetensors"])["weights"], 2 * WEIGHTS)
    assert len(hub.repos["user/name"].commits) == 3  # the first model stays in the history


def test_a_new_branch_holds_what_is_sent_and_no_more(hub, folder):
    send(folder)
    (folder / "index" / "vectors.npy").unlink()
    send(folder, revision="other")
    repo = hub.repos["user/name"]
    assert repo.branches.keys() == {"main", "other"} and "index/vectors.npy" in hub.files("user/name")
    held = hub.files("user/name", "other")
    assert {name: held[name] for name in held if name != ".gitattributes"} == contents(folder)
    assert "holds 4 files" in refusal(folder, revision="other")


def test_a_new_branch_that_was_cut_off_is_taken_up_again(hub, folder):
    send(folder)
    (folder / "index" / "vectors.npy").unlink()
    hub.failing = {"/commit/": 503}
    assert refusal(folder, revision="other").endswith("repeat the command later to continue")
    assert set(hub.files("user/name", "other")) == {".gitattributes"}
    hub.failing = {}
    send(folder, revision="other")
    assert set(hub.files("user/name", "other")) == {*contents(folder), ".gitattributes"}


def test_a_new_branch_of_a_repository_whose_history_was_squashed(hub, folder):
    send(folder)
    repo = hub.repos["user/name"]
    repo.parents[repo.branches["main"]] = None
    hub.files("user/name")["picture.png"] = b"png"
    (folder / "index" / "vectors.npy").unlink()
    send(folder, revision="other")
    assert set(hub.files("user/name", "other")) == {*contents(folder), ".gitattributes"}


def test_no_token(hub, folder, monkeypatch):
    monkeypatch.setattr(module, "get_token", lambda: None)
    assert refusal(folder) == "no token: set HF_TOKEN, or log in with `hf auth login`"
    assert hub.requests == []
    send(folder, token="hf_right")


@pytest.mark.parametrize(
    ("token", "repo", "message"),
    [
        ("hf_wrong", "user/name", "'user/name': the Hub refuses the token (401); make one with write access"),
        ("hf_reading", "user/name", "'user/name': this token may not write there (403: You don't have the rights"),
        ("hf_right", "others/name", "'others/name': this token may not write there (403: You don't have the rights"),
    ],
)
def test_a_refused_token(token, repo, message, hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    assert refusal(folder, repo).startswith(message)
    assert hub.repos == {} and token not in refusal(folder, repo)


def test_a_connection_that_breaks_once_is_taken_up_again(hub, folder):
    hub.drops = 1
    send(folder)
    assert set(hub.files("user/name")) == {*contents(folder), ".gitattributes"}
    assert hub.count("PUT", "/lfs/") == 3


def test_a_connection_that_stays_broken_loses_nothing(hub, folder):
    hub.drops = -1
    said = refusal(folder)
    assert said.startswith("'user/name': the connection broke (")
    assert said.endswith("); nothing is lost, repeat the command to continue")
    assert set(hub.files("user/name")) == {".gitattributes"}  # half a model is not seen
    hub.drops = 0
    send(folder)  # what exists and is empty needs no --update
    assert set(hub.files("user/name")) == {*contents(folder), ".gitattributes"}


def test_what_has_arrived_is_not_sent_again(hub, folder):
    hub.failing = {"/commit/": 503}
    assert refusal(folder) == (
        "'user/name': the Hub answers 503; nothing is lost, repeat the command later to continue"
    )
    assert hub.count("PUT", "/lfs/") == 2
    hub.failing = {}
    send(folder)
    assert hub.count("PUT", "/lfs/") == 2
    assert set(hub.files("user/name")) == {*contents(folder), ".gitattributes"}


def test_no_hub_at_all(hub, folder):
    hub.shutdown()
    hub.server_close()
    assert refusal(folder).startswith("'user/name': the connection broke (")


def test_offline(hub, folder, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.utils._http, "_GLOBAL_CLIENT", None, raising=False)
    assert refusal(folder) == "HF_HUB_OFFLINE is set, so nothing can be sent; unset it"


def test_a_card_that_the_hub_refuses(hub, folder):
    (folder / "README.md").write_text("---\nlicense: no such licence\n---\n")
    assert refusal(folder).startswith("'user/name': the Hub refuses this (")
    assert set(hub.files("user/name")) == {".gitattributes"}


@pytest.mark.parametrize("repo", ["name", "user/", "a/b/c", "user/na me", ""])
def test_names_that_cannot_be(repo, hub, folder):
    assert refusal(folder, repo).startswith(f"repo: '{repo}' ")
    assert hub.requests == []


class Code:
    def __reduce__(self):
        return print, ("this would have run",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pytorch_model.bin", b"", "only .safetensors"),
        ("model.pt", b"", "only .safetensors"),
        ("modeling.py", b"", "only .safetensors"),
        (".DS_Store", b"", "only .safetensors"),
        ("more.safetensors", pickle.dumps(Code()), "is not a plain .safetensors file"),
        ("more.npy", pickle.dumps(Code()), "is not a plain .npy file"),
        ("tokenizer.json", b"{", "is not a plain .json file"),
        ("config.json", json.dumps({"auto_map": {"AutoModel": "modeling.Model"}}).encode(), "auto_map asks for code"),
    ],
)
def test_only_data_is_sent(name, content, message, hub, folder, capfd):
    (folder / name).write_bytes(content)
    said = refusal(folder)
    assert str(folder / name) in said and message in said
    assert hub.requests == [] and "this would have run" not in capfd.readouterr().out


def test_an_array_of_objects_is_a_pickle(folder):
    np.save(folder / "names.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    with pytest.raises(PmdError, match=r"names.npy: is not a plain .npy file"):
        sendable(folder)


def test_the_files_and_their_sizes(folder):
    assert sendable(folder) == {name: len(content) for name, content in sorted(contents(folder).items())}

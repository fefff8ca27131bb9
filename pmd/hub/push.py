"""Sends a model's folder to the Hub: one commit of files that were checked, or an error of one line that says what to do.

Only data is sent: weights without pickles, texts, and a config that asks for no code. Nothing on the Hub is overwritten
unless the user asks for it, and no local file is changed. A push that broke off can be repeated; files that have arrived
are not sent again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RevisionNotFoundError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError, safe_open

from pmd.core.errors import PmdError, first_line

ENDINGS = (".safetensors", ".npy", ".json", ".tsv", ".md", ".txt")
"""The endings of files that may be sent."""

NAMES = ("training.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json")
NAMES += ("vocab.txt", "vocab.json", "merges.txt", "entities.tsv", "relations.tsv")
STALE = (
    *("*.safetensors", "*.safetensors.index.json", "*.npy", "*.bin", "*.pt", "*.pth", "index/*"),
    *NAMES,
    *(f"{part}/{name}" for part in ("text", "structure") for name in (*NAMES, "config.json")),
)
"""Files of an earlier model that an update removes, so that the two do not mix; other files may be the user's and stay."""

FAILURES = (HfHubHTTPError.__bases__[0], OSError, RuntimeError, ValueError)
"""What a call of the Hub may raise. The first is the base of all errors of the HTTP library that huggingface_hub uses;
which library that is depends on its version."""


def check_repo(repo: str) -> None:
    """PmdError if this cannot be a Hub id."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise PmdError(f"repo: '{repo}' cannot be a Hub id ({first_line(error)}); give user/name") from None
    if repo.count("/") != 1:
        raise PmdError(f"repo: '{repo}' does not say whose it is; give user/name")


def check_token(token: str | None) -> None:
    """PmdError if no token is given and huggingface_hub finds none."""
    if (token or get_token()) is None:
        raise PmdError("no token: set HF_TOKEN, or log in with `hf auth login`")


def sendable(folder: Path) -> dict[str, int]:
    """The sizes in bytes of a folder's files, by their paths in the folder.

    Raises:
        PmdError: if one of them is not plain data.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        if not path.name.endswith(ENDINGS):
            raise PmdError(f"{path}: only {', '.join(ENDINGS)} files are sent; remove it, or move it out of the folder")
        try:
            _check_data(path)
        except (ValueError, EOFError, SafetensorError) as error:
            raise PmdError(
                f"{path}: is not a plain {path.suffix} file ({first_line(error)}); remove or repair it"
            ) from None
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _check_data(path: Path) -> None:
    """ValueError for a file that is not what its name says, or that makes others run code."""
    if path.suffix == ".safetensors":
        safe_open(path, "numpy")
    elif path.suffix == ".npy":
        np.load(path, mmap_mode="r", allow_pickle=False)
    elif path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "auto_map" in content:
            raise ValueError("auto_map asks for code from the Hub")


def push(
    folder: Path,
    repo: str,
    *,
    message: str,
    private: bool = False,
    update: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Send a folder; returns the address of the model on the Hub.

    Args:
        folder: holds a model and its README.md.
        repo: `user/name`; the repository is made if there is none.
        message: of the commit.
        private: make the repository private.
        update: overwrite what the branch holds, and remove files of an earlier model that this one does not have.
        revision: the branch; a new one holds this folder alone. Default main.
        token: default HF_TOKEN, or that of `hf auth login`.

    Raises:
        PmdError: if the Hub refuses it or cannot be reached.
    """
    check_repo(repo)
    files = sendable(folder)
    check_token(token)
    api = HfApi(token=token, library_name="pmd")
    with _in_one_line(repo):
        _make(api, repo, private)
        held, new = _branch(api, repo, revision)
        if held and not (update or new):
            raise PmdError(
                f"repo: '{repo}' holds {len(held)} files already; add --update to write over them, or choose another name"
            )
        old = held if new else [name for name in held if any(fnmatch(name, pattern) for pattern in STALE)]
        stale = [name for name in old if name not in files]
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in files]
        operations += [CommitOperationDelete(path_in_repo=name) for name in stale]
        sent = api.create_commit(repo, operations, commit_message=message, revision=revision)
    if stale and not new:
        print(f"{repo}: removed files of the earlier model: {', '.join(stale)}", file=sys.stderr)
    return f"{api.endpoint}/{repo}" + (f" ({revision})" if revision else "") + f", commit {sent.oid[:8]}"


def _make(api: HfApi, repo: str, private: bool) -> None:
    """Make the repository unless it exists."""
    api.create_repo(repo, private=private, exist_ok=True)
    if private and not api.repo_info(repo).private:
        raise PmdError(f"private: '{repo}' exists and is public; make it private on its page, or choose another name")


def _branch(api: HfApi, repo: str, revision: str | None) -> tuple[list[str], bool]:
    """The files that a branch holds, without the Hub's own, and whether it was made for this push.

    A new branch begins at the first commit of main, which holds no model: if the push then breaks off, its repetition
    finds an empty branch.
    """
    try:
        held, new = api.list_repo_files(repo, revision=revision), False
    except RevisionNotFoundError:
        first = api.list_repo_commits(repo)[-1].commit_id
        api.create_branch(repo, branch=revision, revision=first)
        held, new = api.list_repo_files(repo, revision=revision), True
    return [name for name in held if name != ".gitattributes"], new


@contextmanager
def _in_one_line(repo: str) -> Iterator[None]:
    """Raise errors of the Hub, of the connection to it, and of threads that met one, as PmdError."""
    try:
        yield
    except PmdError:
        raise
    except FAILURES as error:
        raise PmdError(_explained(_innermost(error), repo)) from None


def _innermost(error: BaseException) -> BaseException:
    """The first cause of an error, unless an answer of the Hub says more."""
    while not isinstance(error, HfHubHTTPError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _explained(error: BaseException, repo: str) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing can be sent; unset it"
    if type(error) is ValueError:
        return f"'{repo}': the Hub refuses this ({' '.join(str(error).split())})"
    if not isinstance(error, HfHubHTTPError):
        return f"'{repo}': the connection broke ({first_line(error)}); nothing is lost, repeat the command to continue"
    status = error.response.status_code
    reason = first_line(error.server_message or error)
    if status == 401:
        return (
            f"'{repo}': the Hub refuses the token (401); make one with write access at huggingface.co/settings/tokens, "
            "then set HF_TOKEN or run `hf auth login`"
        )
    if status == 403:
        return f"'{repo}': this token may not write there (403: {reason}); use one with write access, or a name of your own"
    if status == 429 or status >= 500:
        return f"'{repo}': the Hub answers {status}; nothing is lost, repeat the command later to continue"
    return f"'{repo}': the Hub refuses this ({status}: {reason})"

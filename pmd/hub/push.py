"""Sending a model's folder to the Hub: one commit of the files that were checked, or one line that says what to do.

Only data is sent: weights without pickles, texts, and a config that asks for no code. Nothing is overwritten unless
that is asked for, and nothing here is changed: a push that broke off is repeated, and what has arrived is not sent again.
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
"""What is ever sent."""

STALE = (
    *("*.safetensors", "*.safetensors.index.json", "*.npy", "*.bin", "*.pt", "*.pth", "index/*"),
    *("entities.tsv", "relations.tsv", "training.json", "tokenizer*.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.txt", "vocab.json", "merges.txt"),
)
"""Files of an earlier model that an update removes, lest the two be mixed; whatever else is there is somebody's."""

FAILURES = (HfHubHTTPError.__bases__[0], OSError, RuntimeError, ValueError)
"""What a call of the Hub may raise; the first is the base of all errors of the HTTP library that huggingface_hub uses,
which is another one in every other version."""


def check_repo(repo: str) -> None:
    """PmdError if this cannot be a Hub id."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise PmdError(f"repo: '{repo}' cannot be a Hub id ({first_line(error)}); give user/name") from None
    if repo.count("/") != 1:
        raise PmdError(f"repo: '{repo}' says not whose it is; give user/name")


def check_token(token: str | None) -> None:
    """PmdError if there is no token, neither this one nor one that huggingface_hub finds."""
    if (token or get_token()) is None:
        raise PmdError("no token: set HF_TOKEN, or log in with `hf auth login`")


def sendable(folder: Path) -> dict[str, int]:
    """The files of a folder and their sizes in bytes, by their place in it.

    Raises:
        PmdError: if one of them is more than data.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        if not path.name.endswith(ENDINGS):
            raise PmdError(f"{path}: only {', '.join(ENDINGS)} files are sent; remove it, or move it elsewhere")
        try:
            _check(path)
        except (ValueError, EOFError, SafetensorError) as error:
            raise PmdError(
                f"{path}: is no plain {path.suffix} file ({first_line(error)}); remove it, or mend it"
            ) from None
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _check(path: Path) -> None:
    """ValueError for a file that is not what its name says, or that would have others run code."""
    if path.suffix == ".safetensors":
        safe_open(path, "numpy")
    elif path.suffix == ".npy":
        np.load(path, mmap_mode="r", allow_pickle=False)
    elif path.suffix == ".json":
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and "auto_map" in found:
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
    """Send a folder; the address of the model on the Hub.

    Args:
        folder: with a model and its README.md.
        repo: `user/name`, which is made if there is none.
        message: of the commit.
        private: whether only its owner can see what is made.
        update: write over what the branch holds; files of an earlier model that are not in this one go.
        revision: the branch, made if there is none, to hold this folder alone; default main.
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
        print(f"{repo}: of the earlier model were removed: {', '.join(stale)}", file=sys.stderr)
    return f"{api.endpoint}/{repo}" + (f" ({revision})" if revision else "") + f", commit {sent.oid[:8]}"


def _make(api: HfApi, repo: str, private: bool) -> None:
    """Make the repository unless it exists."""
    api.create_repo(repo, private=private, exist_ok=True)
    if private and not api.repo_info(repo).private:
        raise PmdError(f"private: '{repo}' exists and is public; make it private on its page, or choose another name")


def _branch(api: HfApi, repo: str, revision: str | None) -> tuple[list[str], bool]:
    """The files that a branch holds, without those of the Hub's own, and whether it was made for this push.

    It is made from the first commit of main, which holds nothing of a model: a push that breaks off after that finds
    an empty branch when it is repeated.
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
    """Errors of the Hub, of the connection to it, and of threads that have met one, as PmdError."""
    try:
        yield
    except PmdError:
        raise
    except FAILURES as error:
        raise PmdError(_explained(_innermost(error), repo)) from None


def _innermost(error: BaseException) -> BaseException:
    """What has gone wrong at first, unless an answer of the Hub says more."""
    while not isinstance(error, HfHubHTTPError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _explained(error: BaseException, repo: str) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing is sent; unset it"
    if type(error) is ValueError:
        return f"'{repo}': the Hub refuses this ({' '.join(str(error).split())})"
    if not isinstance(error, HfHubHTTPError):
        return f"'{repo}': the connection to the Hub broke ({first_line(error)}); nothing here is lost, the same command goes on"
    status = error.response.status_code
    said = error.server_message or first_line(error)
    if status == 401:
        return f"'{repo}': the Hub refuses the token (401); make one that may write at huggingface.co/settings/tokens, then set HF_TOKEN or run `hf auth login`"
    if status == 403:
        return f"'{repo}': this token may not write there (403: {first_line(said)}); use one with the right to write, or a name of your own"
    if status == 429 or status >= 500:
        return f"'{repo}': the Hub answers {status}; nothing here is lost, the same command later goes on"
    return f"'{repo}': the Hub refuses this ({status}: {first_line(said)})"

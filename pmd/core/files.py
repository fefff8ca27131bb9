"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError

ABANDONED = 24 * 3600
"""Seconds after which a folder that was begun and not put in its place is nobody's any more."""


EXCHANGES = 100
"""So often a folder is put in the place of one that others have put there meanwhile."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """An object of JSON, empty if there is no such file. PmdError, ending in the `remedy`, if it is broken."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise PmdError(f"'{path}' cannot be read ({error}); {remedy}") from None
    if not isinstance(stored, dict):
        raise PmdError(f"'{path}' holds no values by name but {stored!r:.60}; {remedy}")
    return stored


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a folder beside `path`, then put it in the place of `path`.

    Of several that write the same one at once, the last stays; where `fill` or the exchange fails, the old one does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    # A name of its own for each process; the folder in it, unlike this one, is open to whom the umask says.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", ignore_cleanup_errors=True) as place:
        aside = Path(place) / "new"
        aside.mkdir()
        fill(aside)
        for file in aside.rglob("*"):  # safetensors are written for their owner alone
            if file.is_file():
                file.chmod(0o644)
        for attempt in range(EXCHANGES):
            if _exchange(aside, path, Path(place) / f"old{attempt}"):
                return
    raise PmdError(f"{path}: others write there all the time; go on when they are done, or choose another place")


def _clear(path: Path) -> None:
    """Remove what processes that were killed left beside a folder; where that is missing, it may be all there is of it."""
    for left in path.parent.glob(f".{path.name}.*") if path.exists() else ():
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            if left.is_dir() and time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def _exchange(new: Path, path: Path, old: Path) -> bool:
    """Move what is at `path` to `old` and `new` to `path`; False if another process was quicker to put something there."""
    try:
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, old)
        os.replace(new, path)
    except BaseException as error:
        if old.exists() and not path.exists():
            with contextlib.suppress(OSError):
                os.replace(old, path)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def new_folder(path: str | os.PathLike[str]) -> Path:
    """The path of a folder to be made. PmdError if there is something already, save for an empty folder."""
    folder = Path(path).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PmdError(f"{folder}: exists and is not an empty folder; choose another place, or remove it first")
    if folder.exists():
        if folder.samefile(os.curdir):
            raise PmdError(f"{folder}: is the current folder; name a new one in it, or go elsewhere")
        folder.rmdir()
    return folder

"""Files and folders that are written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from pmd.core.errors import PmdError, first_line, not_utf8

ABANDONED_AFTER = 24 * 3600
"""Seconds after which a temporary folder is assumed to be left by a killed process, and removed."""
ASIDE = re.compile(r"\.(.+)\.[a-z0-9_]{8}")
"""The names that files and folders have until they are complete."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the operating system where a disk, or a user's share of it, is full."""
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of the operating system where a folder may be read and not written."""


def default_cache() -> Path:
    """Where tokenised texts are kept, and the indexes of models in read-only folders: $PMD_CACHE, or `pmd` in the user's
    cache folder."""
    return Path(os.environ.get("PMD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pmd")


@contextlib.contextmanager
def room_for(folder: Path, needed: int | None = None) -> Iterator[None]:
    """Where something is written to a folder. PmdError if the disk is full.

    Args:
        needed: about how many bytes, where that is known. PyTorch does not say why it cannot write: there the disk counts as full
            if it has not so many left.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, PmdError) or not (is_full(error) or _free(folder) < (needed or 0)):
            raise
        raise PmdError(full_disk(folder, needed)) from None


def is_full(error: Exception) -> bool:
    """Whether an error says that there is no room; safetensors has the words alone."""
    words = any(os.strerror(number) in str(error) for number in FULL)
    return words or (isinstance(error, OSError) and error.errno in FULL)


def full_disk(folder: Path, needed: int | None = None) -> str:
    """What is said where a folder has no room for so many bytes."""
    wanted = f"about {_size(needed)} are needed and " if needed else ""
    return f"{folder}: the disk is full: {wanted}{_size(_free(folder))} are left; free some space, or choose another folder"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"


def _free(folder: Path) -> int:
    """The bytes that are left for a folder, which need not be there yet."""
    return shutil.disk_usage(_nearest(folder)).free


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def reserve(file: Path) -> None:
    """Take the room of a file on the disk: to write through a map where there is none ends the process without a word."""
    if hasattr(os, "posix_fallocate"):
        with open(file, "r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file: whoever reads it meanwhile gets the old content or the new, never a part of it. PmdError if the disk is
    full."""
    with room_for(path.parent, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(content)
                file.close()
                os.chmod(file.name, 0o644)
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, as `write_bytes` does; objects such as a `StageResult` are written as their attributes."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=vars) + "\n")


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file. PmdError, ending with the `remedy`, if it is broken."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise PmdError(f"'{path}' cannot be read ({error}); {remedy}") from None
    if not isinstance(stored, dict):
        raise PmdError(f"'{path}' does not hold a JSON object but {stored!r:.60}; {remedy}")
    return stored


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that a mapping has twice; YAML's reader would drop the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in names:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is there twice", key.start_mark)
            names.add(key.value)
        return super().construct_mapping(node, deep)


def read_mapping(file: Path, place: str, remedy: str = "") -> dict[str, Any]:
    """The settings by name in a YAML file. PmdError, with the `place` and the line, if there are none; it ends with the `remedy`, by
    default how to correct the file."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        settings = yaml.load(text, _EachKeyOnce)
    except UnicodeDecodeError as error:
        raise not_utf8(place, error) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line
        indented = [*text.splitlines(), ""][line].startswith("\t")
        reason = "is indented by a tab; YAML takes blanks alone" if indented else error.problem
        end = "" if indented else f"; {remedy or 'correct its YAML'}"
        raise PmdError(f"{place}, line {line + 1}: {reason}{end}") from None
    except (yaml.YAMLError, ValueError) as error:  # a 13th month
        raise PmdError(f"{place}: {first_line(error)}; {remedy or 'correct its YAML'}") from None
    if not isinstance(settings, dict):
        content = "holds nothing" if settings is None else f"holds no settings by name but {settings!r:.40}"
        raise PmdError(f"{place}: {content}; {remedy or 'write settings as NAME: VALUE'}")
    return settings


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a temporary folder beside `path`, then move that to `path`.

    If several processes write the same folder at once, the last one wins. If `fill` or the move fails, the old content
    of `path` remains. PmdError if the disk is full.
    """
    with room_for(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        _write_aside(path, fill)


def _write_aside(path: Path, fill: Callable[[Path], None]) -> None:
    # tempfile makes a folder for its owner only; the one inside it gets the usual permissions.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", ignore_cleanup_errors=True) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        fill(new)
        for file in new.rglob("*"):  # safetensors makes files for their owner only
            if file.is_file():
                file.chmod(0o644)
        while not _move(new, path, Path(tempfile.mkdtemp(dir=temporary)) / "old"):
            pass


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary folders of killed processes, but only if `path` exists: else one may hold its old content."""
    for temporary in path.parent.glob(f".{path.name}.*") if path.exists() else ():
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            if temporary.is_dir() and time.time() - temporary.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(temporary, ignore_errors=True)


def _move(new: Path, path: Path, old: Path) -> bool:
    """Move what is at `path` to `old`, and `new` to `path`; False if another process has put a folder there in between."""
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


def tidy(folder: Path, without: Collection[str] = ()) -> None:
    """Remove what killed processes left in a folder that no other process writes to, and finish what they began to move.

    Args:
        without: names of files and folders that are left alone.
    """
    for path in sorted(folder.rglob(".*")):
        aside = ASIDE.fullmatch(path.name)
        if aside is None or {aside[1], *path.relative_to(folder).parts} & {*without} or not path.exists():
            continue
        if path.is_dir():
            _finish_move(path, path.with_name(aside[1]))
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _finish_move(temporary: Path, path: Path) -> None:
    """Move what `write_folder` has written completely to its path, if nothing is there."""
    if any(temporary.glob("tmp*")) and not path.exists():  # made for the old content once the new is complete
        content = [temporary / "new", *temporary.glob("tmp*/old")]
        os.replace(next(part for part in content if part.is_dir()), path)


def new_folder(path: str | os.PathLike[str]) -> Path:
    """The path of a new folder; an empty one is removed. PmdError if anything else is there, or if nothing can be written there."""
    folder = Path(path).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PmdError(f"{folder}: exists and is not an empty folder; choose another name, or remove it first")
    if folder.exists():
        if folder.samefile(os.curdir):
            raise PmdError(f"{folder}: is the current folder; name a new folder in it")
        folder.rmdir()
    if not os.access(_nearest(folder), os.W_OK):
        raise PmdError(f"{folder}: cannot be written, for '{_nearest(folder)}' is read-only; choose another place")
    return folder


def folder_name(name: str) -> str:
    """A graph's name as that of a folder: the names of Hub data sets have a slash."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"

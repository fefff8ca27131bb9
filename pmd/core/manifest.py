"""The manifest of a saved model: its files with their sizes and checksums, so that a lost or damaged one is told, not guessed.

A tokenizer that is missing would be made up by `transformers`, and bytes more or less in a matrix would be read as other
numbers. Sizes are compared whenever a model is opened, checksums where the user asks for it. Files that came later
(an index, a report) are not in it, and folders of older versions have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path

from pmd.core.errors import PmdError
from pmd.core.files import read_object, write_folder, write_json

MANIFEST = "manifest.json"


def write_manifest(folder: Path, *, without: Collection[str] = ("index",)) -> None:
    """Note the files of a model's folder, in those of its parts too.

    Args:
        without: files and folders that change by themselves. What readers may edit (`*.md`) is left out, too.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.relative_to(folder).parts[0] not in without]
    for path in (path for path in files if path.name == MANIFEST):  # of the parts
        path.unlink()
    noted = [path for path in files if path.is_file() and path.suffix != ".md"]
    write_json(folder / MANIFEST, {path.relative_to(folder).as_posix(): _noted(path) for path in noted})


def write_model(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write a model's folder with its manifest, aside and renamed."""

    def fill_and_note(aside: Path) -> None:
        fill(aside)
        write_manifest(aside)

    write_folder(folder, fill_and_note)


def check_manifest(folder: Path, *, checksums: bool = False, remedy: str | None = None) -> None:
    """PmdError if a file that the manifest of a folder names is missing or of another size, or has another checksum; it ends
    with the `remedy`."""
    remedy = remedy or f"copy or download it anew, or remove {folder / MANIFEST} if you changed it"
    for name, noted in read_object(folder / MANIFEST, "remove it, or restore the folder").items():
        path = folder / name
        if not isinstance(noted, dict) or not noted.keys() >= {"size", "sha256"}:
            raise PmdError(
                f"{folder / MANIFEST}: says no size and checksum of {name}; remove it, or restore the folder"
            )
        try:
            size = path.stat().st_size
        except OSError:
            raise PmdError(f"{path}: is missing; {remedy}") from None
        if size != noted["size"]:
            raise PmdError(f"{path}: has {size:,} bytes in place of {noted['size']:,}, so it is damaged; {remedy}")
        if checksums and _checksum(path) != noted["sha256"]:
            raise PmdError(f"{path}: has another checksum than when it was written, so it is damaged; {remedy}")


def _noted(path: Path) -> dict[str, int | str]:
    return {"size": path.stat().st_size, "sha256": _checksum(path)}


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

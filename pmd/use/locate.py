"""Finds the model that the user names: in a run, in the folder of a stage, or on the Hub. Imports nothing heavy."""

from __future__ import annotations

import re
from glob import escape
from pathlib import Path

from pmd.core.errors import PmdError, first_line, nearest
from pmd.core.run import Run


def check_folder(option: str, model: str) -> None:
    """Refuse what is plainly no model, before the Hub is asked for it."""
    folder = Path(model)
    if (folder / "config.yaml").is_file():
        stages = sorted(path.parent.name for path in folder.glob("*/config.json"))
        raise PmdError(
            f"{option}: '{model}' is a run; choose one of its stages: {', '.join(stages) or 'none is finished'}"
        )
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise PmdError(f"{option}: '{model}' holds no model (no config.json); give a stage's folder in a run")
    if not folder.is_dir() and (model.count("/") != 1 or folder.parent.is_dir()):
        alike = [path.parent for path in folder.parent.glob(f"{escape(folder.name.rstrip('…'))}*/config.yaml")]
        newest = f" (the newest run whose name begins so is {max(alike, key=_begun)})" if alike else ""
        raise PmdError(f"{option}: no folder '{model}'{newest}; give a run, a stage's folder in one, or a Hub id")


def _begun(run: Path) -> str:
    """When a run began, as its name says; after all others, for runs are named by it."""
    return max(re.findall(r"-(\d{8}-\d{6})", run.name), default="")


def locate(model: str, stage: str | None = None, revision: str | None = None) -> Path:
    """The folder of a model.

    Args:
        model: the folder itself, a run or a Hub id.
        stage: of a run; by default the last finished one.
        revision: of a Hub id: a branch, a tag or a commit; by default main.

    Raises:
        PmdError: if there is no such model.
    """
    folder = Path(model).expanduser()
    if revision is not None and folder.is_dir():
        raise PmdError(f"revision: '{model}' is a folder here, and only the Hub has revisions; leave the option out")
    if (folder / "config.yaml").is_file():
        return stage_folder(folder, stage)
    if stage is not None:
        raise PmdError(f"stage: '{model}' is no run folder, and only a run has stages; leave the option out")
    check_folder("model", str(folder))
    return folder if folder.is_dir() else _downloaded(model, revision)


def stage_folder(run: Path, stage: str | None) -> Path:
    """The folder of a finished stage of a run, by default the last one. PmdError if there is none."""
    finished = Run(run).loadable
    there = [name for name in Run(run).finished if (run / name).is_dir()]
    wanted = there[-1:] if stage is None else [name for name in there if name == stage]
    if damaged := set(wanted) - set(finished):
        folder = run / damaged.pop()
        raise PmdError(f"'{folder}' has no config.json, so it is damaged; restore it, or remove it and --resume {run}")
    if not finished:
        raise PmdError(f"'{run}': no stage is finished yet; go on with --resume {run}")
    if stage is None:
        return run / finished[-1]
    if stage not in finished:
        raise PmdError(
            f"stage: '{run}' has no finished stage '{stage}'; there are {', '.join(finished)}{nearest(stage, finished)}"
        )
    return run / stage


def _downloaded(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    from pmd.hub.push import ENDINGS

    try:
        # Only what `pmd push` sends: a repository may also have pickles, and models for other programs.
        return Path(snapshot_download(model, revision=revision, allow_patterns=[f"*{ending}" for ending in ENDINGS]))
    except (OSError, ValueError) as error:
        where = f" in revision '{revision}'" if revision else ""
        raise PmdError(
            f"model: no folder '{model}', and the Hub gives none of that id{where} ({first_line(error)})"
        ) from None

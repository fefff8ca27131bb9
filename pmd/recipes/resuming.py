"""What a run that goes on does before its stages: what it may take as it is, what it refuses, and what it removes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pmd.core.errors import PmdError
from pmd.core.files import tidy
from pmd.core.manifest import check_manifest
from pmd.core.run import Run
from pmd.recipes.banner import say
from pmd.settings.med import as_begun

if TYPE_CHECKING:
    from pmd.recipes.stages import FamilyRun


def stages_as_begun(stages: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """The stages of a run that goes on, by name: what its file of settings does not say is as it was when it began."""
    stored = run.settings
    own = {stage["name"]: stage.get("med") for stage in stored.get("stages") or ()}

    def as_it_was(name: str, stage: Any) -> Any:
        croppable = getattr(stage, "med", None) is not None
        return replace(stage, med=as_begun(stage.med, own.get(name) or stored.get("med") or {})) if croppable else stage

    return {name: as_it_was(name, stage) for name, stage in stages.items()}


def ready_to_resume(family_run: FamilyRun, run: Run) -> list[str]:
    """The stages of a run that need not be trained again.

    Raises:
        PmdError: if the rest of a stage would be trained with other random numbers, if results.json is broken, or a stage damaged.
    """
    noted, accelerator = run.environment, family_run.accelerator
    before = noted.get("processes"), str(noted.get("device")).partition(":")[0]
    now = accelerator.num_processes, accelerator.device.type
    begun = next(run.folder.glob("checkpoint/*/state"), None)
    if noted and before != now:
        changed = f"'{run.folder}' was trained by {before[0]} process(es) on {before[1]}, not by {now[0]} on {now[1]}"
        if begun:
            raise PmdError(f"{changed}; start as many there, or remove '{begun.parent}' to train that stage anew")
        say(family_run.accelerator, f"{changed}: the remaining stages get other random numbers")
    refuse_damaged_stages(family_run, run)
    for name in run.results.keys() - set(run.loadable):
        say(family_run.accelerator, f"{name} is finished, but its model is not in '{run.folder}': it is trained anew")
    return run.loadable


def refuse_damaged_stages(family_run: FamilyRun, run: Run) -> None:
    """PmdError if a stage that is trained has lost a file, or if one that others are still to be made from is not what was
    saved."""
    pending = [stage for name, stage in family_run.stages.items() if name not in run.loadable]
    used = {getattr(stage, key, None) for stage in pending for key in ("teacher", "start", "crop")}
    for name in family_run.stages:
        folder = run.folder / name
        remedy = f"restore it, or remove '{folder}' to train {name} anew"
        check_manifest(folder, checksums=name in used, remedy=remedy)


def tidy_run(family_run: FamilyRun) -> None:
    """Remove what a killed process left in the run folder. An index may be written by a program that answers meanwhile."""
    if family_run.run.main:
        tidy(family_run.run.folder, without=("checkpoint", "index", "tracking"))
    family_run.accelerator.wait_for_everyone()

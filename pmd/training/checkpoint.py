"""The state of a training on disk, from which it goes on to the bit as if it had never stopped.

state/model.safetensors, optimizer.bin, random_states_RANK.pkl   written by `accelerate`, read back as tensors and plain values
state/training.json                                              how far training has come, and its schedule
best.safetensors                                                 the weights that validated best

A folder from elsewhere runs no code: nothing in it is unpickled but what `torch.load(weights_only=True)` lets pass.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import RNG_STATE_NAME, load
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.serialization import safe_globals

from pmd.core.files import room_for, write_json

TRAINING = "training.json"
PICKLED = "custom_checkpoint_*.pkl"
"""Files of older versions in place of training.json: progress and schedule."""
ARRAYS = [(np.empty(0).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
"""What makes an array of a state (one of the random numbers), by its names in NumPy 1 and 2: either reads the other's."""


class Checkpoint:
    """The folder of a training's state; every process has such an object.

    Args:
        folder: holds `state`, and `best.safetensors` once there was a validation.
        accelerator: what it has prepared is saved and loaded.
    """

    def __init__(self, folder: Path, accelerator: Accelerator):
        self.folder, self.accelerator = folder, accelerator
        self.state, self.best = folder / "state", folder / "best.safetensors"

    def exists(self) -> bool:
        """Whether there is a state. One whose replacement was cut short is put in place first; all processes must ask."""
        new, old = self.folder / "state.new", self.folder / "state.old"
        if self.accelerator.is_main_process and old.is_dir() and not self.state.is_dir():
            os.replace(new if new.is_dir() else old, self.state)
        self.accelerator.wait_for_everyone()
        return self.state.is_dir()

    def save(self, training: dict[str, Any], needed: int = 0) -> None:
        """Write the state to a new folder, which then replaces the last one. Every process writes its own part.

        Args:
            training: progress and schedule, for training.json.
            needed: about how many bytes that takes.

        Raises:
            PmdError: if the disk is full; the last state is still there.
        """
        with room_for(self.folder, needed):
            try:
                self._save(training)
            except Exception:
                if self.accelerator.is_main_process:  # what is half written would only take the room that is wanted
                    shutil.rmtree(self.folder / "state.new", ignore_errors=True)
                raise

    def _save(self, training: dict[str, Any]) -> None:
        accelerator, current = self.accelerator, self.state
        new, old = self.folder / "state.new", self.folder / "state.old"
        if accelerator.is_main_process:
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(new))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_json(new / TRAINING, training)
            if current.exists():
                os.replace(current, old)
            os.replace(new, current)
            shutil.rmtree(old, ignore_errors=True)
        accelerator.wait_for_everyone()

    def load(self) -> dict[str, Any]:
        """Load the state into what the accelerator has prepared; returns what `save` was given. Any error of the files."""
        with safe_globals(ARRAYS):
            return self._load()

    def _load(self) -> dict[str, Any]:
        load(self.state / f"{RNG_STATE_NAME}_{self.accelerator.process_index}.pkl")  # accelerate would do without
        pickled = sorted(self.state.glob(PICKLED))
        if (self.state / TRAINING).is_file() or not pickled:
            training = json.loads((self.state / TRAINING).read_text(encoding="utf-8"))
            self.accelerator.load_state(str(self.state))
        else:
            progress, schedule = (load(file, weights_only=True) for file in pickled)
            training = {"progress": progress, "schedule": schedule}
            # accelerate would unpickle these files whatever they hold, so it does not get to see them.
            with TemporaryDirectory() as folder:
                for file in set(self.state.iterdir()) - set(pickled):
                    (Path(folder) / file.name).symlink_to(file.resolve())
                self.accelerator.load_state(folder)
        return training

    def check_best(self) -> None:
        """An error if the best weights are missing or damaged."""
        safe_open(self.best, "pt")

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Keep the weights that validated best; the main process calls it. PmdError if the disk is full."""
        aside = self.best.with_suffix(".new")
        with room_for(self.folder, sum(value.nbytes for value in weights.values())):
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({name: value.contiguous().clone() for name, value in weights.items()}, aside)
            os.replace(aside, self.best)

    def load_best(self) -> dict[str, Tensor]:
        return load_file(self.best)

"""The one training loop, on `accelerate`: any objective, any examples, one process or several.

It knows neither models nor data: an `Objective` turns batches into named loss terms, and `validate` is a callable. On
Ctrl-C the current step is finished and the state is saved; the same call with the same checkpoint folder then continues,
to the bit as if it had never stopped.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import RNG_STATE_NAME, broadcast_object_list, load
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader

from pmd.core.errors import PmdError, first_line
from pmd.core.types import Objective
from pmd.settings.shared import LoopConfig
from pmd.training.bar import Bar
from pmd.training.batching import epoch_batches, steps_per_epoch
from pmd.training.gradients import gradient_norms
from pmd.training.optim import optimizer_for, schedule_for

BEST = "best.safetensors"
"""The file in a checkpoint's folder with the weights that validated best."""


class Interrupted(KeyboardInterrupt):
    """A run was stopped on request; its folder holds all that is needed to resume it."""


@dataclass
class Progress:
    """How far training has come; part of every checkpoint."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = float("-inf")
    best_epoch: int = -1
    means: dict[str, float] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def fit(
    objective: Objective,
    num_examples: int,
    collate: Callable[[list[int]], Any],
    settings: LoopConfig,
    accelerator: Accelerator,
    checkpoint: Path,
    *,
    seed: int,
    label: str = "",
    log: Callable[..., None] = lambda **values: None,
    monitor: Callable[[], dict[str, float]] = dict,
    validate: Callable[[], dict[str, float]] | None = None,
) -> Progress:
    """Train an objective in place.

    Args:
        num_examples: training examples; batches are drawn from their positions.
        collate: positions -> a batch with `.to(device)`.
        checkpoint: folder of the state of this training; if it exists, training continues from it.
        seed: decides the order of the examples.
        label: the heading of the progress bar.
        log: called with the values of each line of the metrics file.
        monitor: further values to log, such as the temperature.
        validate: called every `valid_every` epochs, for values to log. The weights with the greatest `valid` are kept.

    Returns:
        How far training came; `means` holds the last running means of the loss terms.

    Raises:
        Interrupted: on Ctrl-C, once the state is saved.
        PmdError: if a loss term is not finite.
    """
    training = _Training(objective, num_examples, settings, accelerator, checkpoint, seed, label, log)
    training.resume()
    with training.bar, _Stop() as stop:
        while not training.done:
            for batch in training.batches(collate):
                terms, norms = training.step(batch)
                if training.logs(training.progress.step):
                    training.note(terms, norms, monitor)
                training.save_when_due(stop)
            training.end_epoch()
            if validate is not None and training.validates_this_epoch:
                training.keep_best(validate())
        training.stop_if_asked(stop)
    return training.finished()


class _Training:
    """A training in progress: the steps of `fit`, and the state that they share."""

    def __init__(
        self,
        objective: Objective,
        num_examples: int,
        settings: LoopConfig,
        accelerator: Accelerator,
        checkpoint: Path,
        seed: int,
        label: str,
        log: Callable[..., None],
    ):
        self.num_examples, self.settings, self.seed = num_examples, settings, seed
        self.checkpoint, self.label, self.log = checkpoint, label, log
        if num_examples < accelerator.num_processes:
            raise PmdError(
                f"{num_examples} training examples are too few for {accelerator.num_processes} processes; start fewer"
            )
        self.steps = steps_per_epoch(num_examples, settings.batch_size) * settings.epochs
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        optimizer = optimizer_for(settings.optimizer, objective, settings.lr, settings.weight_decay, objective.rates)
        self.schedule = schedule_for(settings.schedule, optimizer, min(settings.warmup, self.steps // 10), self.steps)
        self.progress = Progress()
        # A new one for the same processes and devices: what is registered for checkpoints cannot be unregistered.
        self.accelerator = Accelerator(mixed_precision=accelerator.mixed_precision)
        self.accelerator.register_for_checkpointing(self.progress, self.schedule)
        self.objective = objective
        self.wrapped, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.out_of_patience = False

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one."""
        if (self.checkpoint / "state").is_dir():
            self.load_state()
        self.bar = Bar(self.steps, self.progress.step, self.label, shown=self.accelerator.is_main_process)
        self.started, self.saved = time.monotonic() - self.progress.seconds, time.monotonic()
        self.wrapped.train()

    def load_state(self) -> None:
        """Load the checkpoint. PmdError, with the remedy, if a file of it is missing or damaged."""
        state, numbers = self.checkpoint / "state", f"{RNG_STATE_NAME}_{self.accelerator.process_index}.pkl"
        try:
            load(state / numbers)  # without its random numbers, accelerate would go on with others
            self.accelerator.load_state(str(state))
            if self.progress.best_epoch >= 0:
                safe_open(self.checkpoint / BEST, "pt")
        except Exception as error:
            why = first_line(error)
            raise PmdError(
                f"'{self.checkpoint}' is damaged ({why}); restore it, or remove it to train {self.label} anew"
            ) from None

    @property
    def done(self) -> bool:
        return self.out_of_patience or self.progress.epoch >= self.settings.epochs

    def logs(self, step: int) -> bool:
        """Whether there is a line for a step, which count from 1."""
        return step % self.settings.log_every == 0 or step == self.steps

    @property
    def validates_this_epoch(self) -> bool:
        epoch, every = self.progress.epoch, self.settings.valid_every
        return every > 0 and (epoch % every == 0 or epoch == self.settings.epochs)

    def batches(self, collate: Callable[[list[int]], Any]) -> DataLoader:
        """The rest of this process's batches of the epoch."""
        positions = epoch_batches(
            self.num_examples,
            self.settings.batch_size,
            seed=self.seed,
            epoch=self.progress.epoch,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        # Iterating a DataLoader draws from the global generator, unless it has one of its own.
        return DataLoader(
            range(self.num_examples),
            batch_sampler=positions[self.progress.step_in_epoch :],
            collate_fn=collate,
            num_workers=self.settings.workers,
            generator=torch.Generator(),
        )

    def step(self, batch: Any) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Learn from one batch; returns its loss terms with their weighted sum, `loss`, and what `gradient_norms` wants."""
        with self.accelerator.autocast():
            terms = self.wrapped(batch.to(self.accelerator.device))
            loss = self.objective.total(terms)
        norms = {}
        if self.settings.gradient_norms and self.logs(self.progress.step + 1):
            norms = gradient_norms(self.objective.weights, terms, self.parameters, self.accelerator)
        self.accelerator.backward(loss)
        if self.settings.grad_clip:
            self.accelerator.clip_grad_norm_(self.parameters, self.settings.grad_clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.progress.step_in_epoch += 1
        self.progress.seconds = time.monotonic() - self.started
        return {"loss": loss, **terms}, norms

    def note(self, terms: dict[str, Tensor], norms: dict[str, float], monitor: Callable[[], dict[str, float]]) -> None:
        """Log and show a step: running means of the terms over about the last ten logged steps, and, not shown, the norms
        of this step's gradients."""
        progress = self.progress
        for name, term in terms.items():
            value = float(term.detach())
            if not math.isfinite(value):
                raise PmdError(
                    f"{self.label}: loss term '{name}' became {value} at step {progress.step}; lower train.lr"
                )
            progress.means[name] = 0.9 * progress.means[name] + 0.1 * value if name in progress.means else value
        values = {**progress.means, **monitor()}
        position = {"stage": self.label, "epoch": progress.epoch, "step": progress.step}
        self.log(**position, seconds=round(progress.seconds, 3), **values, **norms, lr=self.schedule.get_last_lr()[0])
        self.bar.show(progress.step, values)

    def end_epoch(self) -> None:
        self.progress.epoch, self.progress.step_in_epoch = self.progress.epoch + 1, 0

    def keep_best(self, values: dict[str, float]) -> None:
        """Log a validation, and save the weights if it is the best so far; after too many without improvement, stop."""
        progress, settings = self.progress, self.settings
        # All processes must continue or stop together: the main process's numbers count.
        values = broadcast_object_list([values])[0]
        self.log(stage=self.label, epoch=progress.epoch, step=progress.step, **values)
        self.bar.say(f"epoch {progress.epoch}/{settings.epochs}  valid {values['valid']:.4f}")
        if values["valid"] > progress.best:
            progress.best, progress.best_epoch = values["valid"], progress.epoch
            if self.accelerator.is_main_process:
                self.checkpoint.mkdir(parents=True, exist_ok=True)
                weights = {name: value.contiguous().clone() for name, value in self.objective.state_dict().items()}
                save_file(weights, self.checkpoint / BEST)
        elif settings.patience:
            self.out_of_patience = progress.epoch - progress.best_epoch >= settings.patience * settings.valid_every

    def save_when_due(self, stop: _Stop) -> None:
        """Save the state if the last save is too old, or if any process was asked to stop; in that case raise Interrupted."""
        due = time.monotonic() - self.saved > 60 * self.settings.save_minutes
        stopping, saving = _agree(self.accelerator, stop.asked, due)
        if stopping or saving:
            _save(self.accelerator, self.checkpoint)
            self.saved = time.monotonic()
        if stopping:
            raise Interrupted

    def stop_if_asked(self, stop: _Stop) -> None:
        """Raise Interrupted if a process was asked to stop during the last validation; the state is saved as fully trained."""
        if _agree(self.accelerator, stop.asked)[0]:
            self.progress.epoch = self.settings.epochs
            _save(self.accelerator, self.checkpoint)
            raise Interrupted

    def finished(self) -> Progress:
        """Load the best weights into the objective; returns how far training came."""
        self.accelerator.wait_for_everyone()
        if self.progress.best_epoch >= 0:
            self.objective.load_state_dict(load_file(self.checkpoint / BEST))  # copied to where the parameters are
        self.accelerator.free_memory()
        return self.progress


def _save(accelerator: Accelerator, checkpoint: Path) -> None:
    """Write the state to a new folder, which then replaces the last one. Every process writes its own part."""
    new, old, current = (checkpoint / name for name in ("state.new", "state.old", "state"))
    if accelerator.is_main_process:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(new))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if current.exists():
            os.replace(current, old)
        os.replace(new, current)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def _agree(accelerator: Accelerator, *asked: bool) -> list[bool]:
    """For each question whether any process says yes: all must stop or save at the same step."""
    if accelerator.num_processes == 1:
        return list(asked)
    flags = torch.tensor(asked, dtype=torch.float, device=accelerator.device)
    return (accelerator.reduce(flags, "sum") > 0).tolist()


class _Stop:
    """Ctrl-C and SIGTERM ask to stop after the current step; a second Ctrl-C stops at once."""

    def __enter__(self) -> _Stop:
        self.asked = False
        self._old = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._ask)
        except ValueError:  # not in the main thread, where Python allows no handlers
            pass
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

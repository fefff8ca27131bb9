"""The one training loop, on `accelerate`: any objective, any examples, one process or several.

It knows neither models nor data: an `Objective` turns batches into named loss terms, `validate` is a
callable. It survives Ctrl-C: the step in hand is finished, the state is saved, and the same call with
the same checkpoint folder goes on to the bit where it stopped.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from tqdm import tqdm

from pmd.core.errors import PmdError
from pmd.core.types import Objective
from pmd.train.batching import epoch_batches, steps_per_epoch
from pmd.train.optim import optimizer_for, schedule_for


class Interrupted(KeyboardInterrupt):
    """A run stopped on request, with all in its folder that it goes on from."""


@dataclass
class FitSettings:
    """What the loop needs to know; the fields are those of `pmd.settings.shared.LoopConfig` and `KgeTrainConfig`."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    warmup: int
    grad_clip: float
    seed: int
    log_every: int = 10
    save_minutes: float = 5.0
    valid_every: int = 0
    patience: int = 0
    optimizer: str = "adamw"
    schedule: str = "linear"


@dataclass
class Progress:
    """Where training stands; part of every checkpoint."""

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
    settings: FitSettings,
    accelerator: Accelerator,
    checkpoint: Path,
    *,
    label: str = "",
    log: Callable[..., None] = lambda **values: None,
    monitor: Callable[[], dict[str, float]] = dict,
    validate: Callable[[], dict[str, float]] | None = None,
    workers: int = 0,
) -> Progress:
    """Train an objective in place.

    Args:
        num_examples: training examples; batches are drawn from their positions.
        collate: positions -> a batch with `.to(device)`.
        checkpoint: folder of the state of this training; if there, training goes on from it.
        label: what the progress bar is headed with.
        log: called with the values of one line of the metrics file.
        monitor: further values worth a line, such as the temperature.
        validate: numbers worth a line, asked every `valid_every` epochs. The one named `valid` is to be maximised: the
            best state is kept.

    Returns:
        Where training ended; `means` holds the last running means of the loss terms.

    Raises:
        Interrupted: on Ctrl-C, once the state is saved.
        PmdError: if a loss term is not finite.
    """
    steps_each = steps_per_epoch(num_examples, settings.batch_size)
    total = steps_each * settings.epochs
    optimizer = optimizer_for(settings.optimizer, objective, settings.lr, settings.weight_decay)
    schedule = schedule_for(settings.schedule, optimizer, min(settings.warmup, total // 10), total)
    plain = objective
    objective, optimizer = accelerator.prepare(objective, optimizer)
    progress = Progress()
    accelerator._custom_objects.clear()
    accelerator.register_for_checkpointing(progress, schedule)
    if (checkpoint / "state").is_dir():
        accelerator.load_state(str(checkpoint / "state"))

    best_file = checkpoint / "best.safetensors"
    bar = _Bar(total, progress.step, label, shown=accelerator.is_main_process)
    started, saved = time.monotonic() - progress.seconds, time.monotonic()
    trained = [p for p in plain.parameters() if p.requires_grad]
    objective.train()
    with _Stop() as stop:
        while progress.epoch < settings.epochs:
            batches = epoch_batches(
                num_examples,
                settings.batch_size,
                seed=settings.seed,
                epoch=progress.epoch,
                rank=accelerator.process_index,
                world=accelerator.num_processes,
            )
            # Iterating a DataLoader draws from the global generator, unless it has one of its own.
            loader = DataLoader(
                range(num_examples),
                batch_sampler=batches[progress.step_in_epoch :],
                collate_fn=collate,
                num_workers=workers,
                generator=torch.Generator(),
            )
            for batch in loader:
                with accelerator.autocast():
                    terms = objective(batch.to(accelerator.device))
                    loss = plain.total(terms)
                accelerator.backward(loss)
                if settings.grad_clip:
                    accelerator.clip_grad_norm_(trained, settings.grad_clip)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                progress.step += 1
                progress.step_in_epoch += 1
                progress.seconds = time.monotonic() - started
                if progress.step % settings.log_every == 0 or progress.step == total:
                    _note(progress, {"loss": loss, **terms}, label)
                    values = {**progress.means, **monitor(), "lr": schedule.get_last_lr()[0]}
                    log(
                        stage=label,
                        epoch=progress.epoch,
                        step=progress.step,
                        seconds=round(progress.seconds, 3),
                        **values,
                    )
                    bar.show(progress.step, {**progress.means, **monitor()})
                due = time.monotonic() - saved > 60 * settings.save_minutes
                stopping, saving = _agree(accelerator, stop.asked, due)
                if stopping or saving:
                    _save(accelerator, checkpoint)
                    saved = time.monotonic()
                if stopping:
                    bar.close()
                    raise Interrupted
            progress.epoch, progress.step_in_epoch = progress.epoch + 1, 0
            last = progress.epoch == settings.epochs
            if validate is not None and settings.valid_every and (last or progress.epoch % settings.valid_every == 0):
                # All processes must go on, or stop, together: the main one's numbers count.
                values = broadcast_object_list([validate()])[0]
                log(stage=label, epoch=progress.epoch, step=progress.step, **values)
                bar.say(f"epoch {progress.epoch}/{settings.epochs}  valid {values['valid']:.4f}")
                value = values["valid"]
                if value > progress.best:
                    progress.best, progress.best_epoch = value, progress.epoch
                    if accelerator.is_main_process:
                        checkpoint.mkdir(parents=True, exist_ok=True)
                        save_file({k: v.contiguous().clone() for k, v in plain.state_dict().items()}, best_file)
                elif (
                    settings.patience
                    and progress.epoch - progress.best_epoch >= settings.patience * settings.valid_every
                ):
                    break
        stopping = _agree(accelerator, stop.asked)[0]
    bar.close()
    if stopping:  # asked during the last validation
        progress.epoch = settings.epochs
        _save(accelerator, checkpoint)
        raise Interrupted
    accelerator.wait_for_everyone()
    if progress.best_epoch >= 0:
        plain.load_state_dict(load_file(best_file))  # copied to where the parameters are
    accelerator.free_memory()
    return progress


def _note(progress: Progress, terms: dict[str, torch.Tensor], label: str) -> None:
    """Update the running means, about the last ten noted steps."""
    for name, value in terms.items():
        value = float(value.detach())
        if value != value or value in (float("inf"), float("-inf")):
            raise PmdError(f"{label}: loss term '{name}' became {value} at step {progress.step}; lower train.lr")
        progress.means[name] = 0.9 * progress.means[name] + 0.1 * value if name in progress.means else value


def _save(accelerator: Accelerator, checkpoint: Path) -> None:
    """Write the state aside, then put it in place of the last one. Every process writes its own part."""
    aside, old, place = (checkpoint / name for name in ("state.new", "state.old", "state"))
    if accelerator.is_main_process:
        for leftover in (aside, old):
            shutil.rmtree(leftover, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(aside))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if place.exists():
            os.replace(place, old)
        os.replace(aside, place)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def _agree(accelerator: Accelerator, *asked: bool) -> list[bool]:
    """Whether any process said yes, question by question: all must stop or save at the same step."""
    if accelerator.num_processes == 1:
        return list(asked)
    flags = torch.tensor(asked, dtype=torch.float, device=accelerator.device)
    return (accelerator.reduce(flags, "sum") > 0).tolist()


class _Stop:
    """Ctrl-C and SIGTERM ask to stop after the step in hand; a second Ctrl-C stops at once."""

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


class _Bar:
    """A progress bar with the loss terms on a terminal; a line for every tenth of the way elsewhere."""

    def __init__(self, total: int, step: int, label: str, *, shown: bool):
        self.total, self.label, self.shown = total, label, shown
        self.terminal = sys.stderr.isatty()
        self.tenth = step * 10 // max(1, total)
        self.started, self.first = time.monotonic(), step
        self.bar = None
        if shown and self.terminal:
            self.bar = tqdm(total=total, initial=step, desc=label, dynamic_ncols=True, unit="step", leave=True)

    def show(self, step: int, values: dict[str, float]) -> None:
        text = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(text)
        elif self.shown and (step * 10 // self.total > self.tenth or step == self.total):
            self.tenth = step * 10 // self.total
            speed = (step - self.first) / max(1e-9, time.monotonic() - self.started)
            print(f"{self.label}  {step}/{self.total}  {speed:.2f} steps/s  {text}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line of its own, under the bar or among the lines."""
        if self.shown:
            tqdm.write(f"{self.label}  {text}", file=sys.stderr)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

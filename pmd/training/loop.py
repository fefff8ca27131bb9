"""The one training loop, on `accelerate`: any objective, any examples, one process or several.

It knows neither models nor data: an `Objective` turns batches into named loss terms, and `validate` is a callable. On
Ctrl-C the current step is finished and the state is saved; the same call with the same checkpoint folder then continues,
to the bit as if it had never stopped (`pmd.training.checkpoint`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.utils.data import DataLoader

from pmd.core.bars import Bar
from pmd.core.distributed import means_over_processes, together
from pmd.core.errors import PmdError, first_line
from pmd.core.files import write_text
from pmd.core.types import Objective
from pmd.settings.shared import LoopConfig
from pmd.training.batching import Order, epoch_batches, share_of_batch, steps_per_epoch
from pmd.training.checkpoint import Checkpoint
from pmd.training.gradients import gradient_norms
from pmd.training.optim import optimizer_for, schedule_for
from pmd.training.stopping import Interrupted, Stop

SHOWN = 3
"""Examples of a batch that a message names."""


@dataclass
class Progress:
    """How far training has come; part of every checkpoint. `lines` counts what was logged; -1 if an older version did not."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = float("-inf")
    best_epoch: int = -1
    means: dict[str, float] = field(default_factory=dict)
    lines: int = 0


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
    rewind: Callable[[int], None] = lambda lines: None,
    monitor: Callable[[], dict[str, float]] = dict,
    validate: Callable[[], dict[str, float]] | None = None,
    order: Order | None = None,
    describe: Callable[[Sequence[int]], list[str]] = lambda positions: list(map(str, positions)),
) -> Progress:
    """Train an objective in place.

    Args:
        num_examples: training examples; batches are drawn from their positions.
        collate: positions -> a batch with `.to(device)`; see `pmd.training.batching.share_of_batch` for several processes.
        checkpoint: folder of the state of this training; if it exists, training continues from it.
        seed: decides the order of the examples.
        label: the heading of the progress bar.
        log: called with the values of each line of the metrics file.
        rewind: called before training begins or goes on, with how many lines were logged when the state was saved: later ones
            will be logged again.
        monitor: further values to log, such as the temperature.
        validate: called every `valid_every` epochs, for values to log. The weights with the greatest `valid` are kept.
        order: of the examples; by default a random one.
        describe: names the examples at positions, for what is said of a batch whose loss is not finite.

    Returns:
        How far training came; `means` holds the last running means of the loss terms.

    Raises:
        Interrupted: on Ctrl-C, once the state is saved.
        PmdError: if a loss term is not finite, with the step and the examples of its batch; nothing of it is saved.
    """
    training = _Training(objective, num_examples, settings, accelerator, checkpoint, seed, label, log, describe)
    training.resume(rewind)
    with training.bar, Stop() as stop:
        while not training.done:
            for batch in training.batches(collate, order):
                terms, norms = training.step(batch)
                if training.logs(training.progress.step):
                    training.note(terms, norms, monitor)
                else:
                    training.bar.tick(training.progress.step)
                training.save_when_due(stop)
            training.check_finite()
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
        describe: Callable[[Sequence[int]], list[str]],
    ):
        self.describe = describe
        self.unchecked: list[tuple[int, list[int], dict[str, Tensor]]] = []
        """Steps since the last check: numbers, positions of their examples, and loss terms. To look at each at once would
        let a GPU wait."""
        self.num_examples, self.settings, self.seed = num_examples, settings, seed
        self.label, self.log_line = label, log
        whole = steps_per_epoch(num_examples, settings.batch_size)
        smallest = num_examples // whole
        if smallest < accelerator.num_processes:
            raise PmdError(
                f"batches of {smallest} training examples are too small for {accelerator.num_processes} processes; "
                "start fewer, or raise the batch size"
            )
        self.epoch_steps = min(whole, settings.epoch_steps or whole)
        self.steps = self.epoch_steps * settings.epochs
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        optimizer = optimizer_for(settings.optimizer, objective, settings.lr, settings.weight_decay, objective.rates)
        self.schedule = schedule_for(settings.schedule, optimizer, min(settings.warmup, self.steps // 10), self.steps)
        self.progress = Progress()
        # A new one for the same processes and devices: what one has prepared belongs to all its checkpoints.
        self.accelerator = Accelerator(mixed_precision=accelerator.mixed_precision)
        self.checkpoint = Checkpoint(checkpoint, self.accelerator)
        self.objective = objective
        self.wrapped, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.out_of_patience = False

    def resume(self, rewind: Callable[[int], None]) -> None:
        """Continue from the checkpoint, if there is one."""
        if self.checkpoint.exists():
            self.load_state()
        if self.progress.lines >= 0:
            rewind(self.progress.lines)
        self.bar = Bar(self.steps, self.progress.step, self.label, shown=self.accelerator.is_main_process)
        self.started, self.saved = time.monotonic() - self.progress.seconds, time.monotonic()
        self.wrapped.train()

    def load_state(self) -> None:
        """Load the checkpoint. PmdError, with the remedy, if a file of it is missing or damaged."""
        try:
            training = self.checkpoint.load()
            self.progress = Progress(**{"lines": -1, **training["progress"]})
            self.schedule.load_state_dict(training["schedule"])
            if self.progress.best_epoch >= 0:
                self.checkpoint.check_best()
        except Exception as error:
            raise PmdError(
                f"'{self.checkpoint.folder}' is damaged ({first_line(error)}); restore it, or remove it to train"
                f" {self.label} anew"
            ) from None

    def save_state(self) -> None:
        weights = sum(parameter.nbytes for parameter in self.parameters)  # an optimiser keeps two numbers for each
        state = {"progress": vars(self.progress), "schedule": self.schedule.state_dict()}
        self.checkpoint.save(state, 3 * weights)
        self.saved = time.monotonic()

    def log(self, **values: Any) -> None:
        """Log a line of values, and count it."""
        self.log_line(stage=self.label, epoch=self.progress.epoch, step=self.progress.step, **values)
        self.progress.lines += self.progress.lines >= 0

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

    def batches(self, collate: Callable[[list[int]], Any], order: Order | None) -> DataLoader:
        """The rest of this process's batches of the epoch."""
        positions = epoch_batches(
            self.num_examples,
            self.settings.batch_size,
            seed=self.seed,
            epoch=self.progress.epoch,
            order=order,
        )[: self.epoch_steps]
        self.positions = positions
        processes = self.accelerator.process_index, self.accelerator.num_processes
        # Iterating a DataLoader draws from the global generator, unless it has one of its own.
        return DataLoader(
            range(self.num_examples),
            batch_sampler=positions[self.progress.step_in_epoch :],
            collate_fn=partial(share_of_batch, collate, *processes),
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
        values = {name: term.detach() for name, term in {**terms, "loss": loss}.items()}
        self.unchecked.append((self.progress.step + 1, self.positions[self.progress.step_in_epoch], values))
        self.progress.step += 1
        self.progress.step_in_epoch += 1
        self.progress.seconds = time.monotonic() - self.started
        return {"loss": loss, **terms}, norms

    def check_finite(self) -> None:
        """PmdError at the first step since the last check with a loss term that is not finite; its examples are written down."""
        steps, self.unchecked = self.unchecked, []
        if not steps:
            return
        means = iter(means_over_processes([term for _, _, terms in steps for term in terms.values()]))
        named = ((step, positions, name, next(means)) for step, positions, terms in steps for name in terms)
        wrong = next((found for found in named if not math.isfinite(found[-1])), None)
        if wrong is None:
            return
        step, positions, name, value = wrong
        examples = self.describe(positions)
        file = self.checkpoint.folder / "not_finite.txt"
        if self.accelerator.is_main_process:
            write_text(file, "".join(f"{example}\n" for example in examples))
        raise PmdError(
            f"{self.label}: loss term '{name}' became {value} at step {step}, on {', '.join(examples[:SHOWN])}"
            f"{f' and {len(examples) - SHOWN} more (all in {file})' if len(examples) > SHOWN else ''}; lower train.lr"
        )

    def note(self, terms: dict[str, Tensor], norms: dict[str, float], monitor: Callable[[], dict[str, float]]) -> None:
        """Log and show a step: running means of the terms over about the last ten logged steps, and, not shown, the norms
        of this step's gradients."""
        self.check_finite()
        progress = self.progress
        for name, value in zip(terms, means_over_processes([*terms.values()])):
            progress.means[name] = 0.9 * progress.means[name] + 0.1 * value if name in progress.means else value
        values = {**progress.means, **monitor()}
        self.log(seconds=round(progress.seconds, 3), **values, **norms, lr=self.schedule.get_last_lr()[0])
        self.bar.show(progress.step, values)

    def end_epoch(self) -> None:
        self.progress.epoch, self.progress.step_in_epoch = self.progress.epoch + 1, 0

    def keep_best(self, values: dict[str, float]) -> None:
        """Log a validation, and save the weights if it is the best so far; after too many without improvement, stop."""
        progress, settings = self.progress, self.settings
        # All processes must continue or stop together: the main process's numbers count.
        values = broadcast_object_list([values])[0]
        self.log(**values)
        self.bar.say(f"epoch {progress.epoch}/{settings.epochs}  valid {values['valid']:.4f}")
        if values["valid"] > progress.best:
            progress.best, progress.best_epoch = values["valid"], progress.epoch
            with together():
                if self.accelerator.is_main_process:
                    self.checkpoint.save_best(self.objective.state_dict())
        elif settings.patience:
            self.out_of_patience = progress.epoch - progress.best_epoch >= settings.patience * settings.valid_every

    def save_when_due(self, stop: Stop) -> None:
        """Save the state if the last save is too old, or if any process was asked to stop; in that case raise Interrupted."""
        due = time.monotonic() - self.saved > 60 * self.settings.save_minutes
        number, saving = _largest(self.accelerator, stop.asked, due)
        if number or saving:
            self.check_finite()
            self.save_state()
        if number:
            raise Interrupted(number)

    def stop_if_asked(self, stop: Stop) -> None:
        """Raise Interrupted if a process was asked to stop during the last validation; the state is saved as fully trained."""
        (number,) = _largest(self.accelerator, stop.asked)
        if number:
            self.progress.epoch = self.settings.epochs
            self.save_state()
            raise Interrupted(number)

    def finished(self) -> Progress:
        """Load the best weights into the objective; returns how far training came."""
        self.accelerator.wait_for_everyone()
        if self.progress.best_epoch >= 0:
            self.objective.load_state_dict(self.checkpoint.load_best())  # copied to where the parameters are
        self.accelerator.free_memory()
        return self.progress


def _largest(accelerator: Accelerator, *numbers: int) -> list[int]:
    """The largest of each number over all processes, which must stop or save at the same step."""
    if accelerator.num_processes == 1:
        return [int(number) for number in numbers]
    gathered = accelerator.gather(torch.tensor([numbers], dtype=torch.int64, device=accelerator.device))
    return gathered.amax(0).tolist()

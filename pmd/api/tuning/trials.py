"""The trials of a study: what is refused before the first, the run of each, and what is written after it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import optuna
import torch
from accelerate.utils.memory import should_reduce_batch_size
from optuna.trial import Trial, TrialState

from pmd.api.tuning.judge import Judge
from pmd.api.tuning.space import Option, applied, read_space, space_file, value_at
from pmd.api.tuning.study import STATES, Study, refuse_other_study
from pmd.core.distributed import refuse_processes
from pmd.core.errors import PmdError, first_line
from pmd.core.files import folder_name, write_json, write_text
from pmd.core.printing import say
from pmd.core.run import Run, as_yaml, held
from pmd.data.graphs.sources import load_graph
from pmd.recipes.stages import run_stages
from pmd.reports.study import TRIALS, table_of_trials, value_text
from pmd.settings.catalogue import FAMILIES
from pmd.settings.parsing.config_files import CONFIGS
from pmd.settings.stages.kge import SAMPLED
from pmd.settings.tune import TuneConfig, check_tuning, kind_of
from pmd.training.stopping import Interrupted, resumable

FAMILY_RUNS = {"embedding": "pmd.recipes.kge:KgeRun", "text": "pmd.recipes.text:TextRun"}
HOPELESS = 3
"""So many trials may fail before the first that does not."""
KILLED = 2
"""A trial that was killed so many times, by the system for its memory perhaps, has failed."""


@dataclass
class Tuning:
    """A study that is about to begin or to go on.

    Args:
        config: the settings that the user gave; the trials rank the validation split alone.
        family: what trains them.
    """

    config: Any
    options: TuneConfig
    family: Callable[..., Any]
    judge: Judge
    space: Mapping[str, Option]
    study: Study
    callback: Callable[[dict[str, Any]], None] | None = None

    def run(self) -> None:
        """Run trials until there are as many as were asked for, the time is over, or the space has no others."""
        study, options = self.study, self.options
        study.remove_models()
        while len(study.done) < options.trials and study.seconds < 60 * (options.minutes or math.inf):
            drawn = study.next()
            if drawn is None:
                say(f"every value of the space was tried: {len(study.done)} trials")
                break
            self.try_settings(*drawn)
            self.write()
            failed = [trial for trial in study.done if trial.state is TrialState.FAIL]
            if len(failed) == len(study.done) >= HOPELESS:
                raise PmdError(
                    f"the first {len(failed)} trials all failed, the last one so: {failed[-1].user_attrs['reason']}"
                )
        self.write()

    def try_settings(self, trial: Trial, values: Mapping[str, Any]) -> None:
        """Run a trial, or go on with it, and note how it ended."""
        shown = ", ".join(f"{path} {value_text(value)}" for path, value in values.items())
        say(f"trial {trial.number} ({len(self.study.done) + 1} of {self.options.trials}): {shown}")
        attributes, began = trial.user_attrs, time.monotonic()
        before, killed = attributes.get("seconds", 0.0), attributes.get("starts", 0)
        if killed >= KILLED:
            self.study.tell(trial, TrialState.FAIL, reason=f"it was killed {killed} times")
            return
        trial.set_user_attr("starts", killed + 1)
        ended: tuple[TrialState, float | None, str]
        try:
            ended = self.outcome(trial, values)
        except Interrupted:
            trial.set_user_attr("starts", 0)
            raise
        finally:
            trial.set_user_attr("seconds", before + time.monotonic() - began)
        self.study.tell(trial, *ended)
        state, value, reason = ended
        best = self.study.best
        said = f"{STATES[state]}, {reason}" if value is None else self.judge.text(value)
        so_far = f"; the best is trial {best.number}, {self.judge.text(best.value)}" if best else ""
        say(f"trial {trial.number}: {said}{so_far}\n")

    def outcome(self, trial: Trial, values: Mapping[str, Any]) -> tuple[TrialState, float | None, str]:
        """How a trial ends: its state, its value, and the reason where it has none."""
        try:
            return TrialState.COMPLETE, self.trained(trial, values), ""
        except optuna.TrialPruned as pruned:
            return TrialState.PRUNED, None, str(pruned)
        except (PmdError, MemoryError, RuntimeError) as error:
            lacks_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or should_reduce_batch_size(error)
            if not isinstance(error, PmdError) and not lacks_memory:
                raise
            return TrialState.FAIL, None, f"out of memory ({first_line(error)})" if lacks_memory else str(error)

    def trained(self, trial: Trial, values: Mapping[str, Any]) -> float:
        """The value of the run of a trial, which is begun or continued. `optuna.TrialPruned` if others were better at the
        same epoch."""
        config = replace(
            applied(self.config, values), runs=str(self.study.folder / "trials"), name=f"{trial.number:03}"
        )
        config = replace(config, evaluation=replace(config.evaluation, split="valid"))
        threads = Run(self.study.run_folder(0)).threads_of(1)  # sums depend on it: all trials have that of the first
        if not config.train.threads and threads:
            config = replace(config, train=replace(config.train, threads=threads))
        run = Run(self.study.run_folder(trial.number))
        if not (run.folder / "config.yaml").is_file():
            run.start(config)
        judge = Judge.of(self.options, config, self.family(config).stages)  # names and epochs of stages may vary
        reported = max(trial.storage.get_trial(trial._trial_id).intermediate_values, default=-1)

        def watch(line: dict[str, Any]) -> None:
            if self.callback is not None:
                self.callback({"trial": trial.number, **line})
            value = judge.validation(line)
            if value is None or line["epoch"] <= reported:
                return
            trial.report(value, line["epoch"])
            if line["epoch"] < judge.epochs and trial.should_prune():
                raise optuna.TrialPruned(f"epoch {line['epoch']}: MRR {value:.3f} on valid, low beside other trials")

        return judge.value(run_stages(self.family, config, run, callback=watch, banner=False).results)

    @property
    def settings_of_best(self) -> Any:
        """The settings of the best trial, with the evaluation that the user asked for."""
        return applied(self.config, self.study.values(self.study.best))

    def write(self) -> None:
        """Write the trials, their table, and the settings of the best."""
        study, folder, judge = self.study, self.study.folder, self.judge
        records, best = study.records(judge.sign), study.best
        write_json(
            folder / TRIALS,
            {
                "metric": judge.metric.name,
                "judged": judge.name,
                "best": best.number if best else None,
                "space": {path: str(option) for path, option in self.space.items()},
                "importance": study.importance(),
                "trials": records,
            },
        )
        write_text(folder / "table.md", f"{judge.name}\n\n{table_of_trials(records, judge.metric).markdown()}\n")
        if best is not None:
            command = FAMILIES[kind_of(self.config, ())].command
            lines = [
                f"# Trial {best.number}, the best of {len(records)} by {judge.name}: {judge.text(best.value)}.",
                f"# pmd {command} --config {folder / 'best.yaml'}",
                as_yaml(self.settings_of_best),
            ]
            write_text(folder / "best.yaml", "\n".join(lines))


def begin(config: Any, options: TuneConfig, callback: Callable[..., None] | None = None) -> Tuning:
    """The study that the settings ask for, new or as far as it is. PmdError for what cannot be tuned."""
    check_tuning(options)
    refuse_processes()
    kind = kind_of(config, ())
    family = resolve_name(FAMILY_RUNS[kind])
    stages = family(config).stages
    judge = Judge.of(options, config, stages)
    usual = usual_space(config, stages)
    name = options.space or f"tune/{usual}"
    file = space_file(name)
    space = read_space(file, config, family, bundled=file.is_relative_to(CONFIGS))
    graph = load_graph(config.data.path, **config.data.options)
    identity = {
        "graph": graph.checksum(),
        "judged": judge.name,
        "pruner": options.pruner,
        "space": {path: str(option) for path, option in space.items()},
        "settings": compared(config),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    named = f"tune-{folder_name(config.name or graph.name)}-{usual}-{key}"
    folder = Path(options.out).expanduser() if options.out else Path(config.runs) / named
    refuse_other_study(folder, identity)
    pruner = pruner_of(options.pruner, judge, config.train.valid_every)
    first = {path: value_at(config, path, stages[judge.stage]) for path in space}
    study = Study(folder, space, config.seed, pruner, first)
    say(
        f"study      {folder}: {len(study.done)} of {options.trials} trials are done",
        f"judged by  {judge.name}",
        f"space      {name}",
        *(f"           {path}: {option}" for path, option in space.items()),
    )
    if options.pruner != "none" and pruner is None:
        say("no trial is pruned: nothing is validated while a run is trained (train.valid_every is 0)")
    return Tuning(config, options, family, judge, space, study, callback)


def tuning(config: Any, options: TuneConfig, callback: Callable[..., None] | None = None) -> Tuning:
    """The study, after its trials. PmdError if none of them came to its end."""
    with resumable():
        made = begin(config, options, callback)
        with held(made.study.folder / "study.yaml"):
            made.run()
    if made.study.best is None:
        raise PmdError(f"no trial of '{made.study.folder}' has come to its end; raise --trials or --minutes")
    return made


def usual_space(config: Any, stages: Mapping[str, Any]) -> str:
    """The name of the bundled space that suits a run."""
    if kind_of(config, ()) == "text":
        return "progressive" if any(stage.teacher != "none" for stage in stages.values()) else "text"
    if any(stage.widths for stage in stages.values()):
        return "med"
    if any(stage.teacher for stage in stages.values()):
        return "dualde"
    return "embedding" if config.loss.name in SAMPLED else "embedding_all"


def compared(config: Any) -> dict[str, Any]:
    """The settings that all calls of one study share: not its place, nor the graph's, which its checksum tells."""
    settings = asdict(config)
    for name in ("name", "runs"):
        del settings[name]
    del settings["data"]["path"], settings["data"]["cache"], settings["train"]["report_to"]
    return settings


def pruner_of(name: str, judge: Judge, valid_every: int) -> Any:
    """The pruner of optuna; None for none."""
    if name == "none" or not valid_every:
        return None
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=valid_every, max_resource=judge.epochs)
    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=judge.epochs // 4)

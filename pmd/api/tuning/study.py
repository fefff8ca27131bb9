"""The study in its folder: which trials there are, what comes next, and what is written down of them.

study.yaml    what is tuned: settings, space, metric, and the graph's checksum   study.db   optuna's own record
trials/       a run folder for each trial; only the best keeps its models        table.md   the trials, best first
trials.json   the same for a report and for programs                              best.yaml  the settings of the best trial
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from pmd.api.tuning.space import Option
from pmd.core.errors import PmdError
from pmd.core.files import write_json, write_text
from pmd.core.run import flat, read_settings

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
REPEATS = 20
"""After so many draws in a row that were tried before, the space is held to be exhausted."""
KEPT = ("tracking",)
"""What a trial's run folder keeps beside its files, once the trial is over and is not the best."""


class Study:
    """Trials of settings, kept in a folder.

    Args:
        folder: of the study.
        space: the options that vary.
        seed: of the settings that are drawn; those of a trial depend on it, on the trial's number and on earlier trials.
        pruner: of optuna; None to let every trial end.
        first: values by option that the first trial takes where the space has them.
    """

    def __init__(self, folder: Path, space: Mapping[str, Option], seed: int, pruner: Any, first: Mapping[str, Any]):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.space, self.seed = folder, space, seed
        storage = f"sqlite:///{folder.resolve() / 'study.db'}"
        self.optuna = optuna.create_study(
            storage=storage,
            study_name="tune",
            direction="maximize",
            load_if_exists=True,
            pruner=pruner or optuna.pruners.NopPruner(),
        )
        if not self.all:
            values = {path: space[path].stored(value) for path, value in first.items() if space[path].has(value)}
            self.optuna.enqueue_trial(values)

    @property
    def all(self) -> list[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False)

    @property
    def done(self) -> list[FrozenTrial]:
        """The trials that are over; none of them repeats another."""
        return [trial for trial in self.all if trial.state in STATES and "repeats" not in trial.user_attrs]

    @property
    def best(self) -> FrozenTrial | None:
        """The trial with the best value; of several, the first."""
        complete = [trial for trial in self.done if trial.state is TrialState.COMPLETE]
        return max(complete, key=lambda trial: trial.value, default=None)

    @property
    def seconds(self) -> float:
        """What all trials took together."""
        return sum(trial.user_attrs.get("seconds", 0.0) for trial in self.all)

    def next(self) -> tuple[Trial, dict[str, Any]] | None:
        """A trial that was begun and is not over, or else a new one, with its values by option; None if the space has no
        others."""
        begun = next((trial for trial in self.all if trial.state is TrialState.RUNNING), None)
        if begun is not None:
            return self._drawn(Trial(self.optuna, begun._trial_id))
        for _ in range(REPEATS if len(self.done) < math.prod(option.size for option in self.space.values()) else 0):
            # Seeded for each trial by itself: a study that goes on draws what one that never stopped would.
            self.optuna.sampler = TPESampler(seed=(self.seed * 1000 + len(self.all)) % 2**32)
            trial, values = self._drawn(self.optuna.ask())
            earlier = [other.number for other in self.done if other.params == trial.params]
            if not earlier:
                return trial, values
            trial.set_user_attr("repeats", earlier[0])
            self.optuna.tell(trial, state=TrialState.FAIL)
        return None

    def _drawn(self, trial: Trial) -> tuple[Trial, dict[str, Any]]:
        return trial, {path: option.suggest(trial) for path, option in self.space.items()}

    def tell(self, trial: Trial, state: TrialState, value: float | None = None, reason: str = "") -> None:
        """Note that a trial is over. The models of all but the best are removed."""
        folder = self.run_folder(trial.number)
        if reason:
            trial.set_user_attr("reason", reason)
        write_json(folder / "trial.json", {"trial": trial.number, "state": STATES[state], "reason": reason or None})
        self.optuna.tell(trial, value if state is TrialState.COMPLETE else None, state=state)
        self.remove_models()

    def run_folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / "trials" / f"{number:03}"

    def remove_models(self) -> None:
        """Leave of each trial that is over what it noted, and of the best its models too."""
        best = self.best
        for trial in self.done:
            if best is None or trial.number != best.number:
                for folder in self.run_folder(trial.number).glob("*/"):
                    if folder.name not in KEPT:
                        shutil.rmtree(folder, ignore_errors=True)

    def values(self, trial: FrozenTrial) -> dict[str, Any]:
        """The values of a trial by option."""
        return {path: self.space[path].restored(value) for path, value in trial.params.items()}

    def records(self, sign: int) -> list[dict[str, Any]]:
        """What is known of each trial that is over, in their order; `sign` is -1 where less is better."""
        return [
            {
                "trial": trial.number,
                "state": STATES[trial.state],
                "value": None if trial.value is None or trial.state is not TrialState.COMPLETE else sign * trial.value,
                "values": self.values(trial),
                "valid": {int(epoch): value for epoch, value in trial.intermediate_values.items()},
                "seconds": round(trial.user_attrs.get("seconds", 0.0), 1),
                "reason": trial.user_attrs.get("reason"),
            }
            for trial in self.done
        ]

    def importance(self) -> dict[str, float]:
        """The share of each option in how well trials did (PED-ANOVA); empty where trials are too few to say."""
        complete = [trial for trial in self.done if trial.state is TrialState.COMPLETE]
        if len(complete) < 4 or len({trial.value for trial in complete}) == 1:
            return {}
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                evaluator = optuna.importance.PedAnovaImportanceEvaluator()
                return optuna.importance.get_param_importances(self.optuna, evaluator=evaluator)
            except (ValueError, RuntimeError):
                return {}


def refuse_other_study(folder: Path, identity: dict[str, Any]) -> None:
    """Note what is tuned on the first call; PmdError, naming the first difference, if a later call tunes something else."""
    file = folder / "study.yaml"
    asked = json.loads(json.dumps(identity))
    if not file.is_file():
        if folder.exists() and any(folder.iterdir()):
            raise PmdError(f"--out: '{folder}' holds something else than a study; name another folder, or an empty one")
        write_text(file, yaml.safe_dump(asked, sort_keys=False, allow_unicode=True))
        return
    stored = flat(read_settings(file))
    asked = flat(asked)
    for key in dict.fromkeys([*asked, *stored]):
        if stored.get(key) != asked.get(key):
            if key == "graph":
                raise PmdError(f"'{folder}' is a study of another graph than data.path holds now; choose another --out")
            raise PmdError(
                f"'{folder}' is a study with {key} {stored.get(key)!r}, not {asked.get(key)!r}; choose another --out"
            )

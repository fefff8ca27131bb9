"""What a report needs of a run's models beyond what the run noted: metrics by relation, retention, examples, and the time
that one query takes. It is measured once and kept in RUN/report/measured.json, with the checksums of graph and models.

Nothing heavy is imported unless something is to be measured.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pmd.core.errors import PmdError
from pmd.core.files import write_json
from pmd.core.run import Run
from pmd.report.pictures import some
from pmd.report.record import Record, read_object
from pmd.settings.shared import DataConfig
from pmd.use.index import files_checksum, model_files
from pmd.use.load import graph_file_stats, loaded

FORMAT = 1
TIMED = 6
"""Widths of a croppable model that are timed, at most."""


class Measured:
    """The measurements of a run.

    Args:
        record: of a run that ranks.
        threads: for the ranking on a CPU; 0 for OMP_NUM_THREADS, or else for all free cores.
        fresh: forget what was measured before.

    `note` says why nothing can be measured, where that is so.
    """

    def __init__(self, record: Record, *, threads: int = 0, fresh: bool = False):
        self.record, self.threads, self.note = record, threads, ""
        self.file = record.folder / "report" / "measured.json"
        self.facts: dict[str, Any] = {}
        if not fresh:
            with contextlib.suppress(PmdError):  # what is broken is measured anew
                self.facts = read_object(self.file)
        if self.facts.get("format") != FORMAT:
            self.facts = {"format": FORMAT}
        self.data = DataConfig(**record.config["data"])
        self.graph = None
        try:
            self._check_graph()
        except PmdError as error:
            self.note = f"The graph of this run cannot be read: {error}"

    def _check_graph(self) -> None:
        """Forget what was measured on another graph. A graph that is not here is taken to be as it was."""
        stats = graph_file_stats(self.data)
        if "graph" in self.facts and stats in (None, self.facts["graph_files"]):
            return
        self.graph = loaded(self.data)
        found = self.graph.checksum()
        if Run(self.record.folder).data_checksum not in (None, found):
            self.note = "The graph has changed since this run."
            return
        if self.facts.get("graph") != found:
            self.facts = {"format": FORMAT}
        triples = [len(self.graph.split(name)) for name in ("train", "valid", "test")]
        sizes = {"entities": self.graph.num_entities, "relations": self.graph.num_relations, "triples": triples}
        self.facts |= {"graph": found, "graph_files": stats, "sizes": sizes}

    def model(self, stage: str) -> str:
        """The checksum of a stage's model; empty if it has none any more."""
        files = model_files(self.record.folder / stage)
        return files_checksum(files) if files else ""

    def details(self, stages: Sequence[str], split: str) -> dict[str, dict[str, Any]]:
        """By stage, what `pmd.report.ranking.details` finds."""
        key = {"split": split, "evaluation": self.record.config["evaluation"]}
        found = self.facts.setdefault("details", {})
        wanted = {stage: {**key, "model": self.model(stage)} for stage in stages}
        wanted = {stage: of for stage, of in wanted.items() if of["model"]}
        missing = [stage for stage, of in wanted.items() if found.get(stage, {}).get("of") != of]
        if missing and not self.note:
            from pmd.report.ranking import details, device_for

            device, graph = device_for(self.threads), self._graph()
            for stage in missing:
                print(f"ranking {split} with {stage} for its relations and examples", file=sys.stderr, flush=True)
                scorer = self._scorer(stage, device)
                found[stage] = {"of": wanted[stage], **details(scorer, graph, key["evaluation"], split)}
                self._keep()
        return {stage: found[stage] for stage, of in wanted.items() if found.get(stage, {}).get("of") == of}

    def latency(self, split: str, rounds: int) -> dict[str, Any]:
        """Milliseconds of one query by stage and width, with the machine and the date; empty for no rounds, or where
        nothing can be measured.

        Models are timed together, in turns, or not at all: those of another day would not compare.
        """
        if not rounds:
            return {}
        models = {stage: self.model(stage) for stage in self.record.ranked(split)}
        of = {"machine": machine(), "models": {stage: model for stage, model in models.items() if model}}
        found = self.facts.get("latency", {})
        if found.get("of") == of and rounds <= found["rounds"]:
            return found
        if self.note or not of["models"]:
            return {}
        from pmd.report.ranking import milliseconds

        print(f"timing single queries of {', '.join(of['models'])}", file=sys.stderr, flush=True)
        scorers = {stage: self._scorer(stage, "cpu") for stage in of["models"]}
        widths = {
            stage: some([int(width) for width in self.record.results[stage].get("widths", {}).get(split, {})], TIMED)
            for stage in of["models"]
        }
        times = milliseconds(scorers, widths, self._graph().split(split), rounds)
        date = time.strftime("%Y-%m-%d %H:%M")
        self.facts["latency"] = {"of": of, "rounds": rounds, "date": date, "milliseconds": times}
        self._keep()
        return self.facts["latency"]

    def _graph(self) -> Any:
        if self.graph is None:
            self.graph = loaded(self.data)
        return self.graph

    def _scorer(self, stage: str, device: Any) -> Any:
        from pmd.use.scorers import load_scorer

        return load_scorer(self.record.folder / stage, self._graph(), device=device, cache=self.data.cache)

    def _keep(self) -> None:
        """Write the measurements down; where nothing can be written, they are made again by the next report."""
        with contextlib.suppress(OSError):
            write_json(self.file, self.facts)


def machine() -> dict[str, Any]:
    """This machine: its processor, and how many cores it has."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    name = names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
    return {"processor": name, "cores": os.cpu_count(), "system": platform.system()}

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
from functools import cached_property
from typing import Any

from pmd.core.cores import processor_name
from pmd.core.errors import PmdError
from pmd.core.files import read_object, write_json
from pmd.core.run import Run
from pmd.reports.pictures import evenly_spaced
from pmd.reports.record import RunRecord
from pmd.settings.shared import DataConfig
from pmd.use.index import files_checksum, model_files
from pmd.use.load import graph_file_stats, graph_of_run

FORMAT = 1
TIMED = 6
"""The most widths of a croppable model that are timed."""


class Measured:
    """The measurements of a run.

    Args:
        record: of a run that ranks.
        data: the graph, if it is not where the run noted.
        threads: for the ranking on a CPU; 0 for OMP_NUM_THREADS, or else for all free cores.
        fresh: forget what was measured before.

    `note` says why nothing can be measured, where that is so.
    """

    def __init__(self, record: RunRecord, *, data: DataConfig | None = None, threads: int = 0, fresh: bool = False):
        self.record, self.threads, self.note = record, threads, ""
        self.file = record.folder / "report" / "measured.json"
        self.facts: dict[str, Any] = {}
        if not fresh:
            with contextlib.suppress(PmdError):  # what is broken is measured again
                self.facts = read_object(self.file, "")
        if self.facts.get("format") != FORMAT:
            self.facts = {"format": FORMAT}
        try:
            self.data = data or graph_of_run(record.folder / "stage")
            self._check_graph()
        except PmdError as error:
            self.note = f"The graph of this run cannot be read: {error}"

    @cached_property
    def graph(self) -> Any:
        from pmd.data.graphs.sources import read_graph

        return read_graph(self.data.path, **self.data.options)

    def _check_graph(self) -> None:
        """Forget what was measured on another graph. A graph that is not here is taken to be as it was."""
        stats = graph_file_stats(self.data)
        if "graph" in self.facts and stats in (None, self.facts["graph_files"]):
            return
        graph_checksum = self.graph.checksum()
        noted = Run(self.record.folder).data_checksum
        if noted is not None and not self.graph.has_checksum(noted):
            self.note = "The graph has changed since this run."
            return
        if self.facts.get("graph") != graph_checksum:
            self.facts = {"format": FORMAT}
        triples = [len(self.graph.split(name)) for name in ("train", "valid", "test")]
        sizes = {"entities": self.graph.num_entities, "relations": self.graph.num_relations, "triples": triples}
        self.facts |= {"graph": graph_checksum, "graph_files": stats, "sizes": sizes}

    def models(self, stages: Sequence[str]) -> dict[str, str]:
        """The checksums of the stages' models, of those that are still there."""
        files = {stage: model_files(self.record.folder / stage) for stage in stages}
        return {stage: files_checksum(of_stage) for stage, of_stage in files.items() if of_stage}

    def details(self, stages: Sequence[str], split: str) -> dict[str, dict[str, Any]]:
        """By stage, what `pmd.reports.ranking.details` measures."""
        evaluation = self.record.config["evaluation"]
        kept, details = self.facts.setdefault("details", {}), {}
        for stage, model in self.models(stages).items():
            key = {"split": split, "evaluation": evaluation, "model": model}
            if kept.get(stage, {}).get("of") != key:
                if self.note:
                    continue
                from pmd.reports import ranking

                print(f"ranking {split} with {stage} for its relations and examples", file=sys.stderr, flush=True)
                scorer = self._scorer(stage, ranking.device_for(self.threads))
                kept[stage] = {"of": key, **ranking.details(scorer, self.graph, evaluation, split)}
                self._keep()
            details[stage] = kept[stage]
        return details

    def trust(self, stages: Sequence[str], split: str) -> dict[str, dict[str, Any]]:
        """By stage, how far its probabilities and answer sets can be trusted (`pmd.trust.reliability`)."""
        kept, trust = self.facts.setdefault("trust", {}), {}
        for stage, model in self.models(stages).items():
            key = {"split": split, "model": model}
            if kept.get(stage, {}).get("of") != key:
                if self.note:
                    continue
                from pmd.use.load import load

                print(f"asking {stage} the questions of {split}, for its probabilities", file=sys.stderr, flush=True)
                try:
                    kept[stage] = {"of": key, **load(self.record.folder / stage, self.graph).measure_trust(split)}
                except PmdError as error:  # no index can be built
                    kept[stage] = {"of": key, "missing": str(error)}
                self._keep()
            trust[stage] = kept[stage]
        return trust

    def latency(self, split: str, rounds: int) -> dict[str, Any]:
        """Milliseconds of one query by stage and width, with the machine and the date; empty for no rounds, or where
        nothing can be measured.

        Models are timed together, in turns, or not at all: times of different days would not compare.
        """
        if not rounds:
            return {}
        key = {"machine": machine(), "models": self.models([*self.record.ranked(split)])}
        kept = self.facts.get("latency", {})
        if kept.get("of") == key and rounds <= kept["rounds"]:
            return kept
        if self.note or not key["models"]:
            return {}
        from pmd.reports.ranking import milliseconds

        print(f"timing single queries of {', '.join(key['models'])}", file=sys.stderr, flush=True)
        scorers = {stage: self._scorer(stage, "cpu") for stage in key["models"]}
        widths = {stage: evenly_spaced([*self.record.results[stage].by_width(split)], TIMED) for stage in scorers}
        times = milliseconds(scorers, widths, self.graph.split(split), rounds)
        date = time.strftime("%Y-%m-%d %H:%M")
        self.facts["latency"] = {"of": key, "rounds": rounds, "date": date, "milliseconds": times}
        self._keep()
        return self.facts["latency"]

    def _scorer(self, stage: str, device: Any) -> Any:
        from pmd.use.load import load_scorer

        return load_scorer(self.record.folder / stage, self.graph, device=device, cache=self.data.cache)

    def _keep(self) -> None:
        """Write the measurements down; where nothing can be written, they are made again by the next report."""
        with contextlib.suppress(OSError):
            write_json(self.file, self.facts)


def machine() -> dict[str, Any]:
    """This machine: its processor, and how many cores it has."""
    return {"processor": processor_name(), "cores": os.cpu_count(), "system": platform.system()}

"""What a run says to the user before its stages begin, and between them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from pmd.core.cores import cores_at_start, described
from pmd.core.printing import printable
from pmd.evaluation.tables import markdown
from pmd.training.device import precision_of


@dataclass(frozen=True)
class Banner:
    """What a run prints first: lines by their headings, and a table of the stages."""

    lines: Mapping[str, str]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    align: Sequence[str] | None = None

    def text(self, folder: Path, accelerator: Accelerator) -> str:
        """The lines and the table, with those of the run's folder and of its machine."""
        threads = described(torch.get_num_threads(), cores_at_start())
        precision = "" if accelerator.mixed_precision == "no" else f", {precision_of(accelerator)}"
        machine = f"{accelerator.device}, {accelerator.num_processes} process(es), {threads}{precision}"
        lines = {"run": str(folder), **self.lines, "device": machine}
        text = "\n".join(f"{heading:<11}{line}" for heading, line in lines.items())
        return f"{text}\n\n{markdown(self.columns, self.rows, self.align)}\n"


def say(accelerator: Accelerator, text: str) -> None:
    """Print a remark, once for all processes."""
    if accelerator.is_main_process:
        print(printable(text), file=sys.stderr, flush=True)

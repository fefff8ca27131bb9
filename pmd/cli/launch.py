"""`pmd launch`: a command in several processes on this machine, as `torchrun` starts them, without a traceback of the launcher
where one of them, or the user, ends the run."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from jsonargparse import ArgumentParser

from pmd.cli.command import Command
from pmd.core.errors import PmdError
from pmd.settings.parsing.parse import instantiate, parse

HANDLED = "--signals-to-handle"
"""The option of torchrun for the signals that it hands on; PyTorch 2.8 has none, and dies of SIGUSR1."""


@dataclass
class LaunchConfig:
    """Run a command in several processes on this machine.

    Args:
        processes: how many; on GPUs, one for each.
        command: the command; what follows it is its own.
        max_restarts: start all of them again so often where one has died; the run goes on.
    """

    processes: int
    command: str
    max_restarts: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class LaunchCommand(Command):
    """Starts other commands.

    Args:
        started: their names.
    """

    started: Sequence[str]

    def act(self, parser: ArgumentParser, arguments: Sequence[str]) -> None:
        at = next((at for at, argument in enumerate(arguments) if argument in self.started), len(arguments))
        config = instantiate(parser, parse(parser, arguments[: at + 1]), LaunchConfig)
        if config.command not in self.started:
            raise PmdError(f"launch: '{config.command}' runs in one process; in several: {', '.join(self.started)}")
        launch(config, arguments[at + 1 :])


def launch(config: LaunchConfig, arguments: Sequence[str]) -> None:
    """Run a command with its arguments; SystemExit with the status of what ended it, unless all went well."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, main

    from pmd.core.devices import best_device

    if config.processes < 1:
        raise PmdError(f"processes: {config.processes} is no number of processes; start 1 or more")
    if best_device().type == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    logging.disable(logging.ERROR)  # the processes say what is wrong themselves
    options = [f"--nproc-per-node={config.processes}", f"--max-restarts={config.max_restarts}"]
    if HANDLED in get_args_parser().format_help() and hasattr(signal, "SIGUSR1"):
        options.append(f"{HANDLED}=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")
    try:
        main(["--standalone", *options, "-m", "pmd", config.command, *arguments])
    except SignalException as stop:
        sys.exit(128 + stop.sigval)
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        sys.exit(status if status > 0 else 128 - status)

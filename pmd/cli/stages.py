"""Commands that train the stages of a run, or go on with one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pmd.cli.command import Command
from pmd.core.errors import PmdError
from pmd.core.launch import is_restarted, launch
from pmd.core.printing import printable
from pmd.core.run import Run
from pmd.settings.parsing.parse import instantiate, parse

RESUME_OPTIONS = ("--resume", "--runs", "--data.path")
"""The options that may be given with --resume; the others are those of the run. Its data may have been moved."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StagesCommand(Command):
    """A command that trains the stages of a run, or with `--resume` goes on with a run.

    Args:
        key: a setting that only the runs of this command have.
        default: the name of the bundled config that is used without --config.
        check: raises PmdError for a config that cannot work.
    """

    key: str
    short: Mapping[str, str] = field(default_factory=lambda: {"--report_to": "--train.report_to"})
    default: str | None = None
    check: Callable[[Any], None] = lambda config: None

    stopped = "go on with --resume {run}"

    def parser(self, prog: str | None = None) -> ArgumentParser:
        parser = super().parser(prog)
        text = "the run folder to go on with; without a value, the newest one; `auto`: the newest one that this command has"
        text += " begun, or a new one"
        parser.add_argument("--resume", nargs="?", const="latest", help=text)
        return parser

    def act(self, parser: ArgumentParser, arguments: Sequence[str]) -> None:
        names = {argument.split("=")[0]: argument for argument in arguments if argument.startswith("--")}
        # The default config is used whole or not at all: one that is named does not inherit from it.
        use_default = self.default is not None and "--config" not in names
        if use_default and {"-h", "--help"} & {*arguments}:
            values = vars(parse(parser, ["--config", self.default]).as_flat())
            parser = self.parser(parser.prog)  # another one, for that of the process must keep its defaults
            parser.set_defaults({name: value for name, value in values.items() if name not in ("config", "resume")})
        options = parse(parser, ["--config", self.default, *arguments] if use_default else arguments)
        if options.resume in (None, "auto"):
            config = self.checked(parser, options)
            run = begun_before(config, auto=options.resume == "auto")
        else:
            run, config = self.named_run(parser, options, names)
        finished = run.loadable if run else None
        # torch is imported only now, after wrong options have been refused.
        run = resolve_name(self.function)(config, run)
        if run.main:
            if finished == run.loadable:
                print("all stages were finished before; nothing was trained\n", file=sys.stderr)
            print(printable((run.folder / "table.md").read_text(encoding="utf-8")))
            print(f"run folder: {run.folder}", file=sys.stderr)

    def named_run(self, parser: ArgumentParser, options: Namespace, names: Mapping[str, str]) -> tuple[Run, Any]:
        """The run that --resume names, and its config; `names` are the options that are given."""
        others = [argument for name, argument in names.items() if name not in RESUME_OPTIONS]
        if others:
            raise PmdError(f"--resume goes on with the run's own settings; leave out {others[0]}")
        run = Run.open(options.resume, runs=options.runs, key=self.key)
        path = options.data.path if "--data.path" in names else None
        options = parse(parser, ["--config", str(run.folder / "config.yaml")])
        options.data.path = path or run.data_path(options.data.path)
        return run, self.checked(parser, options)

    def checked(self, parser: ArgumentParser, options: Namespace) -> Any:
        """The config of options. PmdError if it cannot work."""
        config = instantiate(parser, options, resolve_name(self.config))
        self.check(config)
        check_place(config.data.path)
        return config


def check_place(path: str) -> None:
    """Refuse data at a path that is plainly one and not there: later it would be refused too, but after torch was imported."""
    if re.match(r"[~./]|[^/]*/[^/]*/", path) and not Path(path).expanduser().exists():
        raise PmdError(f"data.path: '{path}' is neither a folder nor a file; correct it, or name a data set")


def begun_before(config: Any, *, auto: bool) -> Run | None:
    """The run that goes on in place of a new one: what this command began before a launcher started it again or, with
    `auto`, the newest run that has its settings. None if there is none."""
    run = Run.alike(config, launch()) if is_restarted() and launch() else None
    if run is None and auto:
        run = Run.alike(config)
    if run is not None:
        config.data.path = run.data_path(config.data.path)
        if os.environ.get("RANK", "0") == "0":
            print(f"goes on with {run.folder}", file=sys.stderr)
    return run

"""`pmd tune`: its own options beside those of the runs that it tries, which are of one kind or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pkgutil import resolve_name

from jsonargparse import ArgumentParser

from pmd.cli.command import Command
from pmd.core.printing import printable
from pmd.settings.parsing.parse import instantiate, parse
from pmd.settings.tune import DEFAULTS, KINDS, TuneConfig, kind_of


@dataclass(frozen=True, kw_only=True, eq=False)
class TuneCommand(Command):
    """A command whose options are those of a run of embedding models or, where a config, an option or `--kind` says so, of a
    text model."""

    more: Sequence[str] = ("pmd.settings.tune:TuneConfig",)

    def act(self, parser: ArgumentParser, arguments: Sequence[str]) -> None:
        given = dict(_named(arguments))
        kind = given.get("kind", "auto")
        if kind not in KINDS:  # a wrong one is refused below
            kind = kind_of(given.get("config"), {name.partition(".")[0] for name in given})
        config_class = KINDS[kind]
        if kind != "embedding":
            config = f"{config_class.__module__}:{config_class.__name__}"
            parser = replace(self, config=config).parser(parser.prog)
        if kind in DEFAULTS and "config" not in given:
            arguments = ["--config", DEFAULTS[kind], *arguments]
        options = parse(parser, arguments)
        config, tuning = (instantiate(parser, options, part) for part in (config_class, TuneConfig))
        for text in resolve_name(self.function)(config, tuning):
            print(printable(text))


def _named(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """The options by their names, with their values."""
    following = [*arguments[1:], ""]
    pairs = [(argument.partition("="), after) for argument, after in zip(arguments, following)]
    return [(name[2:], value if equals else after) for (name, equals, value), after in pairs if name.startswith("--")]

"""`pmd suggest`: the most plausible facts that a graph lacks, as a table or a file; a search that was stopped goes on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pmd.core.bars import Bar
from pmd.core.errors import PmdError
from pmd.core.files import write_bytes, write_text
from pmd.core.printing import say
from pmd.data.graphs.rdf.iris import BASE, check_base
from pmd.recipes.answer import lines_of
from pmd.recipes.triples.suggested import FORMATS, SUFFIXES, Shown
from pmd.settings.shared import DataConfig
from pmd.training.stopping import Interrupted
from pmd.trust.missing.search import State
from pmd.use.answers import TrainedModel
from pmd.use.load import load
from pmd.use.locate import locate
from pmd.use.suggesting import Known, Suggestions, Wanted

SECONDS_BETWEEN_SAVES = 10.0
SECONDS_BEFORE_BAR = 2.0
"""A search that takes no longer shows no progress."""
PRECISION_AT = (10, 100, 1_000, 10_000)


@dataclass
class SuggestConfig:
    """Find the most plausible facts that a graph lacks: relation and both ends are open.

    Args:
        model: a run folder, a stage's folder in one, or a Hub id.
        stage: stage of a run folder; by default the last finished one.
        revision: branch, tag or commit of a Hub id; by default main.
        top: number of suggestions.
        relations: only this relation, or these: `'[REL, REL]'`, by ids or names.
        about: only facts with this entity, or with one of these, at either end, by ids or names.
        heads: a file of the only entities that may be heads, by id or name, one a line; `-` is stdin.
        tails: a file of the only entities that may be tails.
        types: `soft` orders as answers are ordered; `strict` leaves out entities whose type does not fit their place, and need not ask for
            them, which is several times as fast.
        seen: only entities that stand at that end of the relation in training already.
        per_relation: at most so many suggestions of a relation; by default a fifth of top (equal parts if there are fewer than five
            relations), and at least 10; top with --about.
        per_entity: at most so many with the same entity; by default a twentieth of top, and at least 10; top with --about.
        at_least: the least probability that a suggestion has as an answer for its head and for its tail; the higher, the quicker.
        known: facts of which splits are known, and so left out: `all`, or `train`, and then it is said how many of the suggestions stand in
            the others.
        why: say what speaks for each suggestion, as `pmd answer --why` does.
        format: `table` of names, `tsv` of ids and names with a header, `jsonl`, an object a line, or `nt` (N-Triples); by default the
            one that the ending of --out says, else a table.
        base: of N-Triples, the IRI that ids are put under that are none.
        out: the file to write. A search that is stopped leaves OUT.state beside it, and the same command goes on.
        data: the graph, needed if the model's folder is not in a run and has no index.
    """

    model: str
    stage: str | None = None
    revision: str | None = None
    top: int = 100
    relations: list[str] | str | None = None
    about: list[str] | str | None = None
    heads: str | None = None
    tails: str | None = None
    types: Literal["soft", "strict"] = "soft"
    seen: bool = False
    per_relation: int | None = None
    per_entity: int | None = None
    at_least: float = 0.01
    known: Known = "all"
    why: bool = False
    format: Literal["table", "tsv", "jsonl", "nt"] | None = None
    base: str = BASE
    out: str | None = None
    data: DataConfig | None = None


def suggest(config: SuggestConfig) -> Iterator[str]:
    """The suggestions, or what was written where.

    Raises:
        PmdError: for a model, names and options that cannot be used, and for a file that cannot be written.
    """
    out = None if config.out is None else Path(config.out).expanduser()
    shown = Shown(format_of(config.format, out), config.base)
    if shown.format == "nt":
        check_base(config.base)
    elif config.base != BASE:
        raise PmdError(f"base: N-Triples have one, and a {shown.format} has none; leave it out, or say --format nt")
    if out is not None:
        check_out(out)
    wanted = wanted_of(config)
    model = load(locate(config.model, config.stage, config.revision), config.data)
    suggestions = search(model, wanted, None if out is None else out.with_name(f"{out.name}.state"))
    reasons = []
    if config.why:
        reasons = [
            model.why(**{part: getattr(each, part)[0] for part in ("head", "relation", "tail")}) for each in suggestions
        ]
    text = shown.text(suggestions, reasons)
    if out is None:
        yield text.removesuffix("\n")
    else:
        write_text(out, text)
        out.with_name(f"{out.name}.state").unlink(missing_ok=True)
        yield f"{out}: {len(suggestions):,} suggestions"
    for remark in remarks(suggestions, wanted):
        say(remark)


def format_of(name: str | None, out: Path | None) -> str:
    """The format that is asked for, or that a file's ending says. PmdError for an ending that says none."""
    if name is not None or out is None:
        return name or "table"
    if out.suffix.lower() not in SUFFIXES:
        raise PmdError(
            f"out: '{out}' ends in none of {', '.join(SUFFIXES)}; name it so, or say --format ({', '.join(FORMATS)})"
        )
    return SUFFIXES[out.suffix.lower()]


def check_out(out: Path) -> None:
    """PmdError, before anything is sought, for a file that could not be written."""
    if out.exists():
        raise PmdError(f"out: '{out}' exists; choose another name, or remove it first")
    try:
        write_bytes(probe := out.with_name(f"{out.name}.probe"), b"")
        probe.unlink()
    except OSError as error:
        raise PmdError(f"out: '{out}' cannot be written ({error.strerror}); choose another place") from None


def wanted_of(config: SuggestConfig) -> Wanted:
    """What is sought. PmdError if a file of entities cannot be read."""
    names = ("top", "types", "seen", "per_relation", "per_entity", "at_least", "known")
    options: dict[str, Any] = {name: getattr(config, name) for name in names}
    options |= {name: listed(getattr(config, name)) for name in ("relations", "about")}
    for end in ("heads", "tails"):
        if getattr(config, end) is not None:
            lines, _ = lines_of(getattr(config, end), end, "entities")
            options[end] = [line.strip() for line in lines if line.strip()]
    return Wanted(**options)


def listed(names: list[str] | str | None) -> list[str] | None:
    """Several names, or the one that is given by itself."""
    return [names] if isinstance(names, str) else names


def search(model: TrainedModel, wanted: Wanted, file: Path | None) -> Suggestions:
    """The suggestions. With a file, the search can be stopped and goes on from there. PmdError for a file of another search."""
    index = model.index
    settings = json.dumps({"model": index.metadata["model"], "graph": index.metadata["graph"], **asdict(wanted)})
    state = None if file is None else stored_state(file, settings)
    bars, begun = [], time.monotonic()
    saved = begun

    def progress(done: int, total: int, now: State) -> None:
        nonlocal saved
        if not bars and time.monotonic() - begun >= SECONDS_BEFORE_BAR:
            bars.append(Bar(total, done, "suggest", shown=True))
        if bars:
            bars[0].show(done, {})
        if file is not None and time.monotonic() - saved >= SECONDS_BETWEEN_SAVES:
            write_bytes(file, now.to_bytes(settings))
            saved = time.monotonic()

    going_on = state or State()
    try:
        return model.suggest(**asdict(wanted), progress=progress, state=going_on)
    except KeyboardInterrupt:
        if file is None:
            raise
        write_bytes(file, going_on.to_bytes(settings))
        raise Interrupted from None
    finally:
        for bar in bars:
            bar.__exit__()


def stored_state(file: Path, settings: str) -> State | None:
    """How far a search was; None if it has not begun. PmdError for that of another search, and for a damaged file."""
    if not file.exists():
        return None
    try:
        stored, state = State.from_bytes(file.read_bytes())
    except (ValueError, KeyError, OSError, EOFError):
        raise PmdError(f"out: '{file}' cannot be read as the state of a search; remove it to begin anew") from None
    if stored != settings:
        raise PmdError(
            f"out: '{file}' is of a search with another model or other options; remove it, or choose another --out"
        )
    print(f"going on from {file}", file=sys.stderr)
    return state


def remarks(suggestions: Suggestions, wanted: Wanted) -> Iterator[str]:
    """Why there are fewer than were asked for, and how many stand in splits that were not known."""
    if len(suggestions) < wanted.top:
        reasons = [f"no other that is allowed has a probability of {wanted.at_least:g} as either answer (--at_least)"]
        if suggestions.held_back:
            reasons = [f"{suggestions.held_back:,} more are held back by --per_relation and --per_entity"]
        yield f"{len(suggestions):,} suggestions instead of {wanted.top:,}: {reasons[0]}"
    if suggestions.withheld and len(suggestions):
        shares = [f"{suggestions.precision(k):.3f} of the first {k:,}" for k in counts(len(suggestions))]
        yield (
            f"{', '.join(shares)} stand in {' or '.join(suggestions.withheld)}, which were not known: a lower bound of how many hold, "
            f"for the graph is incomplete"
        )


def counts(number: int) -> Sequence[int]:
    """The numbers of suggestions whose precision is said."""
    return [k for k in PRECISION_AT if k < number] + [number]

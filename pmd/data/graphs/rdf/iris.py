"""Ids as IRIs, and triples of ids as lines of N-Triples, with the standard library alone."""

from __future__ import annotations

import re
from urllib.parse import quote as percent_encode

from pmd.core.errors import PmdError
from pmd.data.graphs.files.tsv import quote

BASE = "http://example.org/"
"""What ids that are no IRIs are put under if nothing else is said."""
IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(urn|tag|info|mailto|tel|doi|did|geo|ark):", re.IGNORECASE)
"""How ids begin that are IRIs; `Gene::9021` and `currency:EUR` have the form of one, but a kind in place of the scheme."""
_NOT_IN_IRIS = re.compile(r"[\x00-\x20<>\"{}|^`\\]")


def check_ending(base: str) -> None:
    """PmdError for a base that ids would run into."""
    if not base.endswith(("/", "#")):
        raise PmdError(
            f"base: {quote(base)} ends in neither / nor #, so ids would run into it; write {quote(base + '/')}"
        )


def check_base(base: str) -> None:
    """PmdError for a base that is no IRI, too."""
    if not is_iri(base):
        raise PmdError(f"base: {quote(base)} is no IRI; write one such as {BASE}")
    check_ending(base)


def base_line(base: str) -> str:
    """The comment that restores ids under the base."""
    return f"# pmd base <{base}>\n"


def is_iri(key: str) -> bool:
    """Whether an id is an IRI as it stands."""
    return IRI.match(key) is not None and _NOT_IN_IRIS.search(key) is None


def triple_line(head: str, relation: str, tail: str, base: str) -> str:
    """A triple of ids; those that are no IRIs are percent-encoded under `base`, relations under `base` + `relation/`."""
    ends = [key if is_iri(key) else base + percent_encode(key, safe="") for key in (head, tail)]
    between = relation if is_iri(relation) else f"{base}relation/{percent_encode(relation, safe='')}"
    return f"<{ends[0]}> <{between}> <{ends[1]}> .\n"
